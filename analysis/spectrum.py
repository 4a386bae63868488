"""The trace and the spectral density of a symmetric matrix, from random probes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from landscape.analysis.extremes import Symmetric
from landscape.analysis.lanczos import krylov
from landscape.data_store.params import Array

_PROBES = 2  # the stream of random probes beside those of `extremes`
_MARGIN = 5.0  # widths between the outermost eigenvalue and the end of the grid


def probed(
    matrix: Symmetric, known: Array, steps: int, *, seed: int, number: int
) -> dict[str, Array]:
    """What one random probe says of the part of a matrix H that is orthogonal to `known` rows.

    With ``P = I - Q Q^T`` for the orthonormal known vectors Q and a probe z of random signs
    (Rademacher), Lanczos' method on ``P H P`` from ``P z`` gives a tridiagonal matrix whose
    eigenvalues are the nodes and whose eigenvectors' squared first entries are the weights of a
    quadrature rule: ``sum w f(node) = z^T P f(PHP) P z / |P z|^2``, exact for polynomials f up
    to degree ``2 steps - 1``.

    Parameters
    ----------
    matrix
        Symmetric (d, d).
    known
        Orthonormal vectors to leave out (k, d); eigenvectors, for the rule to be one of H.
    steps
        Lanczos steps k; at most d are made.
    seed, number
        The probe is a function of these two.

    Returns
    -------
    dict
        ``nodes`` and ``weights`` (steps,), the weights of sum 1, nodes that were not needed of
        weight 0; ``quadratic`` (), ``z^T P H P z``, whose mean is the trace of ``P H P``. All 0
        if nothing of the probe is left.

    Raises `FloatingPointError` if a product is not finite.

    Cost: `steps` products; memory for `steps` vectors, against which each is orthogonalised.
    Source: Golub and Meurant (2010), Matrices, Moments and Quadrature, section 4.1, by `krylov`;
    Ghorbani, Krishnan and Xiao (2019), section 2.
    """
    signs = np.random.default_rng([seed, _PROBES, number]).choice([-1.0, 1.0], matrix.dims)
    start = _outside(known, signs[None])
    nodes, weights = np.zeros(steps), np.zeros(steps)
    length = float(np.linalg.norm(start))
    if length <= 1e-12 * math.sqrt(matrix.dims):
        return {"nodes": nodes, "weights": weights, "quadratic": np.zeros(())}

    def product(vectors: Array) -> Array:
        """``P H P`` times vectors that P leaves as they are."""
        products = matrix.product(vectors)
        if not np.isfinite(products).all():
            raise FloatingPointError("a product of the matrix is not finite")
        return _outside(known, products)

    rule = krylov(product, start, min(steps, matrix.dims))
    count = rule.nodes.shape[1]
    nodes[:count], weights[:count] = rule.nodes[0], rule.weights[0]
    return {"nodes": nodes, "weights": weights, "quadratic": rule.forms(lambda x: x)[0]}


def _outside(known: Array, vectors: Array) -> Array:
    """Vectors (m, d) without their parts in the span of orthonormal rows (k, d)."""
    for _ in range(2):
        vectors = vectors - (vectors @ known.T) @ known
    return vectors


def trace(known: Array, quadratics: Array) -> tuple[float, float]:
    """The trace and its standard error, from known eigenvalues (k,) and probes (p,) of the rest.

    The mean of ``z^T P H P z`` over random signs z is the trace of ``P H P`` (Hutchinson 1990);
    the known eigenvalues add theirs without error, and take the largest part of the variance
    ``2 (|PHP|_F^2 - sum of the squared diagonal)`` away (as in Hutch++, Meyer et al. 2021). The
    standard error is that of the mean of the probes, with p - 1 degrees of freedom; it is 0
    without probes (nothing is left to guess) and NaN with one.

    >>> trace(np.array([5.0, 3.0]), np.array([1.0, 2.0, 3.0]))
    (10.0, 0.5773502691896258)
    """
    if not len(quadratics):
        return float(known.sum()), 0.0
    return float(known.sum() + quadratics.mean()), float(_error_of_mean(quadratics[:, None])[0])


def _error_of_mean(rows: Array) -> Array:
    """Standard error of the mean over rows (p, ...); NaN for a single row."""
    if len(rows) < 2:
        return np.full(rows.shape[1:], np.nan)
    spread: Array = rows.std(axis=0, ddof=1) / math.sqrt(len(rows))
    return spread


@dataclass(frozen=True, eq=False)
class Axis:
    """Where a spectral density is known, and how it is smoothed.

    The grid is even in ``s = arsinh(eigenvalue / scale)``: linear around 0, logarithmic beyond
    `scale` on both sides, so that a bulk near 0 and eigenvalues thousands of times larger are
    seen in one curve.

    Parameters
    ----------
    eigenvalue
        Increasing (g,).
    scale
        Eigenvalue at which the grid goes over from linear to logarithmic.
    width
        Standard deviation of the smoothing Gaussian, in s: about the relative width far from 0,
        and in units of `scale` near it.
    """

    eigenvalue: Array
    scale: float
    width: float

    @classmethod
    def over(cls, values: Array, *, points: int, width: float, linear: float) -> Axis:
        """The grid that holds `values` and five widths more on both sides.

        Its scale is `linear` times the largest of the values in absolute value, and `linear`
        itself if all are 0.
        """
        largest = float(abs(values).max(initial=0.0))
        scale = linear * (largest or 1.0)
        places = np.arcsinh(values / scale)
        low, high = places.min(initial=0.0), places.max(initial=0.0)
        grid = np.linspace(low - _MARGIN * width, high + _MARGIN * width, points)
        return cls(scale * np.sinh(grid), scale, width)

    def bumps(self, values: Array) -> Array:
        """The density (values, g) that each of some eigenvalues alone would have."""
        places = np.arcsinh(self.eigenvalue / self.scale)
        off = (places - np.arcsinh(values / self.scale)[:, None]) / self.width
        stretched = np.hypot(self.eigenvalue, self.scale)  # d eigenvalue / d s
        bumps: Array = np.exp(-(off**2) / 2) / (math.sqrt(2 * math.pi) * self.width * stretched)
        return bumps


def spectral_density(
    axis: Axis, known: Array, nodes: Array, weights: Array, dims: int
) -> tuple[Array, Array]:
    """Share of the eigenvalues per unit of eigenvalue on a grid (g,), and its standard error.

    ``p = (sum over the k known of bump + (d - k) mean over the probes of sum w bump(node)) / d``,
    with the bumps of `axis`: Gaussians in s, turned into densities of the eigenvalue. It
    integrates to 1. An eigenvalue that stands alone has the height it should: its bump is known
    exactly, not weighted by a probe.

    Parameters
    ----------
    axis
        Grid and smoothing.
    known
        Eigenvalues (k,) that the probes left out.
    nodes, weights
        Quadrature rules of the p probes, (p, steps), as `probed` gives them.
    dims
        Number d of all eigenvalues.

    The standard error is of the mean over the probes: NaN with one, 0 without any (all is known).
    It holds nothing of a rule's own coarseness, which is of the order of the probes' spectrum over
    ``steps^2`` near its ends and over ``steps`` inside: features finer than that are not seen.
    Source: Ghorbani, Krishnan & Xiao (2019), section 2; arsinh in the place of their linear axis.
    """
    sharp = axis.bumps(known).sum(axis=0) / dims
    if not len(nodes):
        return sharp, np.zeros_like(sharp)
    share = (dims - len(known)) / dims
    each = share * np.array([w @ axis.bumps(row) for row, w in zip(nodes, weights, strict=True)])
    return sharp + each.mean(axis=0), _error_of_mean(each)
