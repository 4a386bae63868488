"""Bowls: landscapes whose sublevel sets have known volumes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.fft import dct, idct
from scipy.special import gammaln, logsumexp

from landscape.analysis.landscape import Evaluation, Examples
from landscape.data_store.params import Array


def log_ball(dims: int) -> float:
    """Log volume of the unit ball: ``(n/2) log pi - log Gamma(n/2 + 1)``.

    >>> round(float(np.exp(log_ball(3))), 4)
    4.1888
    """
    return float(dims / 2 * np.log(np.pi) - gammaln(dims / 2 + 1))


@dataclass(frozen=True, eq=False)
class Rotation:
    """A fixed random rotation of n coordinates that mixes all of them, in n log n steps.

    Two rounds of random signs, a permutation and a cosine transform. No coordinate axis is left
    near an axis of the rotated one, as it would be after a few reflections.
    """

    signs: Array
    order: Array

    @classmethod
    def random(cls, dims: int, seed: int) -> Rotation:
        """The rotation of a seed."""
        rng = np.random.default_rng([seed, dims])
        signs = rng.choice([-1.0, 1.0], size=(2, dims))
        return cls(signs, np.array([rng.permutation(dims) for _ in range(2)]))

    def forward(self, rows: Array) -> Array:
        """Each row turned: (m, n) to (m, n)."""
        for signs, order in zip(self.signs, self.order, strict=True):
            rows = dct(rows[:, order] * signs, norm="ortho")
        return rows

    def back(self, rows: Array) -> Array:
        """The inverse of `forward`."""
        for signs, order in zip(self.signs[::-1], self.order[::-1], strict=True):
            turned = np.empty_like(rows)
            turned[:, order] = idct(rows, norm="ortho") * signs
            rows = turned
        return rows


@dataclass(frozen=True, eq=False)
class Bowl:
    """A `Landscape` with loss ``s + bend s s_1`` around a centre, s a quadratic form.

    ``s = ½ sum lambda_i y_i²`` with y the displacement, rotated or not, and s_1 the part of the
    first `bent` coordinates. Without a bend it is a quadratic bowl. With one, its sublevel sets
    are no ellipsoids but star-shaped, and their Hessian at the centre does not know it.

    Parameters
    ----------
    eigenvalues
        The lambda (n,), above 0: of the Hessian at the centre.
    centre
        Where the loss is 0, (n,).
    rotation
        None for a bowl along the axes.
    bend, bent
        Strength in 1 / nats, and number of coordinates in s_1.
    """

    eigenvalues: Array
    centre: Array
    rotation: Rotation | None = None
    bend: float = 0.0
    bent: int = 0

    def examples(self, split: str) -> int:  # noqa: ARG002 - as the protocol has it
        """One, the formula."""
        return 1

    def evaluate(
        self,
        anchors: Array,
        coefficients: Array,
        *,
        split: str,  # noqa: ARG002
        places: Array | None = None,  # noqa: ARG002
    ) -> Evaluation:
        """Loss at ``coefficients @ anchors`` by the anchors' inner products.

        With c the coefficients of the anchors and -1 for the centre, ``2 s = c^T G c``. Costs a
        rotation of each anchor and m² n operations, then little for each row.
        """
        rows = self._turned(np.concatenate([anchors, self.centre[None]]).astype(np.float64))
        rows *= np.sqrt(self.eigenvalues)
        weights = np.column_stack([coefficients, np.full(len(coefficients), -1.0)])
        first = rows[:, : self.bent]
        total = 0.5 * np.einsum("ki,ij,kj->k", weights, rows @ rows.T, weights, optimize=True)
        part = 0.5 * np.einsum("ki,ij,kj->k", weights, first @ first.T, weights, optimize=True)
        zeros = np.zeros(len(coefficients))
        return Evaluation(total + self.bend * total * part, zeros + np.nan, zeros, zeros, 1)

    def per_example(
        self,
        anchors: Array,
        coefficients: Array,
        *,
        split: str,
        places: Array | None = None,  # noqa: ARG002
    ) -> Examples:
        """The same, of its one example."""
        answer = self.evaluate(anchors, coefficients, split=split)
        return Examples(answer.loss[:, None], answer.error[:, None])

    def gradient(
        self,
        theta: Array,
        *,
        split: str,  # noqa: ARG002
        places: Array | None = None,  # noqa: ARG002
    ) -> Array:
        """``lambda y (1 + bend s_1)``, and ``+ bend s lambda y`` in the first coordinates."""
        y = self._turned((theta - self.centre)[None])
        halves = 0.5 * self.eigenvalues * np.square(y)
        slope = self.eigenvalues * y
        bent = self.bend * np.where(self._inside, slope * halves.sum(), 0.0)
        slope = slope * (1 + self.bend * halves[:, : self.bent].sum()) + bent
        gradient: Array = self._turned_back(slope)[0]
        return gradient

    def hessian_product(
        self,
        theta: Array,
        vectors: Array,
        *,
        split: str,  # noqa: ARG002
        places: Array | None = None,  # noqa: ARG002
    ) -> Array:
        """The Hessian at `theta` times each row; ``lambda`` at the centre."""
        y, v = self._turned((theta - self.centre)[None]), self._turned(vectors)
        slope = self.eigenvalues * y
        halves = 0.5 * slope * y
        first = np.where(self._inside, slope, 0.0)
        image = self.eigenvalues * v * (1 + self.bend * halves[:, : self.bent].sum())
        image += self.bend * np.where(self._inside, self.eigenvalues * v * halves.sum(), 0.0)
        image += self.bend * ((v @ first.T) * slope + (v @ slope.T) * first)
        return self._turned_back(image)

    @cached_property
    def _inside(self) -> Array:
        """Which turned coordinates are in s_1."""
        return np.arange(len(self.eigenvalues)) < self.bent

    def _turned(self, rows: Array) -> Array:
        """Rows in the coordinates of the eigenvalues."""
        return rows.copy() if self.rotation is None else self.rotation.forward(rows)

    def _turned_back(self, rows: Array) -> Array:
        """The inverse of `_turned`."""
        return rows if self.rotation is None else self.rotation.back(rows)

    def log_volume(self, level: float) -> float:
        """Log volume of ``{loss <= level}``, exact but for a one-dimensional quadrature.

        ``log omega_n + (n/2) log(2 level) - ½ sum log lambda + log E t^(n/2)``, where
        ``t + bend level h t² = 1`` and h, the share of s_1 in s, is Beta(bent/2, (n - bent)/2).
        """
        dims = len(self.eigenvalues)
        plain = log_ball(dims) + dims / 2 * np.log(2 * level)
        plain -= 0.5 * float(np.log(self.eigenvalues).sum())
        if not self.bend:
            return float(plain)
        a, b = self.bent / 2, (dims - self.bent) / 2

        def log_power(h: Array) -> Array:
            power: Array = np.log(2 / (1 + np.sqrt(1 + 4 * self.bend * level * h))) * dims / 2
            return power

        return float(plain + _log_beta_mean(log_power, a, b))


def _log_beta_mean(log_value: Callable[[Array], Array], a: float, b: float) -> float:
    """``log E exp(log_value(h))`` for h of Beta(a, b), by the trapezoid rule in its logit."""
    u = np.linspace(-40.0, 40.0, 400_001)
    log_h, log_rest = -np.logaddexp(0.0, -u), -np.logaddexp(0.0, u)
    log_density = a * log_h + b * log_rest + gammaln(a + b) - gammaln(a) - gammaln(b)
    return float(logsumexp(log_density + log_value(np.exp(log_h)), b=u[1] - u[0]))


def log_uniform_spectrum(dims: int, seed: int) -> Array:
    """Eigenvalues log-uniform on [1, 100]: (n,)."""
    draws = np.random.default_rng([seed, dims]).random(dims)
    spectrum: Array = np.power(100.0, draws)
    return spectrum


def network_spectrum(dims: int, seed: int) -> Array:
    """A spectrum like a network's: ten eigenvalues in [1, 100], the bulk in [1e-4, 1e-2]: (n,).

    Both log-uniform, in random order. Sagun et al. (2018), figure 1, for the shape.
    """
    rng = np.random.default_rng([seed, dims])
    spectrum = 1e-4 * np.power(100.0, rng.random(dims))
    few = min(10, dims // 2)
    spectrum[rng.choice(dims, few, replace=False)] = np.power(100.0, rng.random(few))
    return spectrum
