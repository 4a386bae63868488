"""Lanczos: functions of a symmetric matrix that is known by its products only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from landscape.data_store.params import Array

Product = Callable[[Array], Array]
Function = Callable[[Array], Array]
_BREAKDOWN = 1e-10  # an off-diagonal entry this small against the largest ends a Krylov space


@dataclass(frozen=True, eq=False)
class Krylov:
    """Krylov spaces of a symmetric matrix H from m start vectors z: ``V^T H V = T``.

    Parameters
    ----------
    diagonal
        Diagonal of each tridiagonal T, float64 (m, k).
    beside
        Its entries beside the diagonal, (m, k - 1).
    basis
        Orthonormal rows V, (m, k, n), the first along z; zero where the space ended early.
    norms
        ``||z||``, (m,).
    """

    diagonal: Array
    beside: Array
    basis: Array
    norms: Array

    @cached_property
    def eigen(self) -> tuple[Array, Array]:
        """Eigenvalues (m, k) and eigenvectors (m, k, k) of T."""
        count, steps = self.diagonal.shape
        tridiagonal = np.zeros((count, steps, steps))
        at = np.arange(steps)
        tridiagonal[:, at, at] = self.diagonal
        tridiagonal[:, at[1:], at[:-1]] = self.beside
        known = np.isfinite(tridiagonal).all(axis=(1, 2))
        tridiagonal[~known] = 0.0  # eigh would raise
        values, vectors = np.linalg.eigh(tridiagonal)
        values[~known], vectors[~known] = np.nan, np.nan
        return values, vectors

    @property
    def nodes(self) -> Array:
        """Ritz values, increasing: nodes of the Gauss quadrature of each z, (m, k)."""
        return self.eigen[0]

    @property
    def weights(self) -> Array:
        """Weights of the nodes: (m, k), each row summing to 1.

        ``sum_j weights_j g(nodes_j) = z^T g(H) z / ||z||^2``, exact for polynomials g of degree
        below 2k (Golub and Meurant 2010, theorem 6.2).
        """
        return np.square(self.eigen[1][:, 0, :])

    def forms(self, function: Function) -> Array:
        """Quadratic forms ``z^T g(H) z``: (m,).

        Their mean over random z with ``E z z^T = I`` is the trace of g(H): stochastic Lanczos
        quadrature (Ubaru, Chen and Saad 2017). Their standard deviation over the square root
        of their number is its standard error.
        """
        sums: Array = (self.weights * function(self.nodes)).sum(axis=1)
        return np.square(self.norms) * sums

    def applied(self, function: Function) -> Array:
        """``g(H) z`` as ``||z|| V^T g(T) e_1``: (m, n), exact for g of degree below k."""
        values, vectors = self.eigen
        small = np.einsum("mij,mj,mj->mi", vectors, function(values), vectors[:, 0, :])
        combined: Array = np.matmul((self.norms[:, None] * small)[:, None, :], self.basis)[:, 0]
        return combined

    def shortened(self, steps: int) -> Krylov:
        """What the first `steps` products gave."""
        return Krylov(
            self.diagonal[:, :steps], self.beside[:, : steps - 1], self.basis[:, :steps], self.norms
        )


def krylov(product: Product, starts: Array, steps: int, apart: Array | None = None) -> Krylov:
    """Krylov spaces of up to `steps` dimensions from each row of `starts`, reorthogonalised.

    Parameters
    ----------
    product
        The matrix times each row of an array: (m, n) to (m, n).
    starts
        Vectors z (m, n), none of them zero.
    steps
        Dimensions k. A space that is invariant sooner is shorter: its T is filled up with
        entries that have no weight.
    apart
        Orthonormal rows (r, n) to stay orthogonal to, as `starts` are: the spaces are then those
        of ``Pi H Pi`` with ``Pi = I - apart^T apart``. Projecting the products alone would not
        do: what rounding leaves there grows from step to step.

    Returns
    -------
    Krylov
        Float64. Orthonormal to rounding: every vector is orthogonalised twice against all
        before it. A product that is not finite makes the nodes and weights of its row NaN.

    Notes
    -----
    `steps` products of m vectors, ``4 m n k^2`` operations and 8 m n k bytes.
    Source: Golub and Meurant (2010), Matrices, Moments and Quadrature, section 4.1.
    """
    count, size = starts.shape
    basis = np.zeros((count, steps, size))
    diagonal, beside = np.zeros((count, steps)), np.zeros((count, max(steps - 1, 0)))
    norms = np.linalg.norm(starts, axis=1)
    basis[:, 0] = starts / norms[:, None]
    alive = np.ones(count, dtype=np.bool_)
    scale = np.zeros(count)
    for step in range(steps):
        image = np.asarray(product(basis[:, step]), dtype=np.float64)
        entry = np.einsum("mn,mn->m", basis[:, step], image)
        # A decoupled entry has no weight, but functions are asked for there: one in the spectrum.
        diagonal[:, step] = np.where(alive, entry, diagonal[:, 0])
        if step + 1 == steps:
            break
        for _ in range(2):
            if apart is not None:
                image = image - (image @ apart.T) @ apart
            along = np.matmul(basis[:, : step + 1], image[:, :, None])
            image = image - np.matmul(along[:, None, :, 0], basis[:, : step + 1])[:, 0]
        length = np.linalg.norm(image, axis=1)
        scale = np.maximum(scale, np.maximum(np.abs(entry), length))
        alive = alive & (length > _BREAKDOWN * scale)
        beside[:, step] = np.where(alive, length, 0.0)
        basis[alive, step + 1] = image[alive] / length[alive, None]
    return Krylov(diagonal, beside, basis, norms)


def on_sphere(draws: Array) -> Array:
    """Rows of `draws` (m, n) at length ``sqrt(n)``: Gaussian ones become probes of a trace.

    ``E z z^T = I`` still, and the trace of the identity has no error.
    """
    probes: Array = draws * (np.sqrt(draws.shape[1]) / np.linalg.norm(draws, axis=1, keepdims=True))
    return probes
