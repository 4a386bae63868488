"""Preconditioner: a linear map close to ``H^(-1/2)``, from Hessian products alone.

Few eigenvectors V of H are set apart, ``H ~ V diag(lambda) V^T + Pi H Pi`` with
``Pi = I - V V^T``, and the map is ``P = V diag(f(lambda)) V^T + Pi p(Pi H Pi) Pi`` with
``f(h) = (h² + damping²)^(-1/4)`` and a fixed polynomial p fitted to f. P is linear whatever V and p
are worth: ``P z`` is exact, and so is the density of its direction but for ``log |det P|``, whose
second part is the trace of ``log |p|`` and is estimated by stochastic Lanczos quadrature with an
error bar. A Krylov approximation of ``H^(-1/2) z`` that is made for each z by itself would not be
linear in z, and its density unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np

from landscape.analysis.lanczos import Krylov, Product, krylov
from landscape.analysis.volume.polynomial import Polynomial
from landscape.analysis.volume.proposals import Draws, damped
from landscape.data_store.params import Array

DAMPINGS = tuple(10.0**-j for j in range(1, 9))
_CONVERGED = 1e-4  # a Ritz vector is set apart when its residual is this small against its value
_ROUNDS = 2  # of setting apart: a second one finds the copies of multiple eigenvalues
_HULL_WEIGHT = 1e-3  # of the whole interval in the fit, so that p is sane between the nodes
_POSITIVE = 1e-7  # a Ritz value below this, against the largest, is no positive curvature
_NO_WEIGHT = 1e-13  # of a node that fills up a space that ended
_CHEAP = 2  # products that give the mean of a cubic exactly


@dataclass(frozen=True, eq=False)
class Deflation:
    """A symmetric matrix with some directions set apart.

    Parameters
    ----------
    values
        Rayleigh quotients of these directions, (r,).
    vectors
        The directions, orthonormal rows (r, n).
    """

    values: Array
    vectors: Array

    @classmethod
    def of(cls, product: Product, starts: Array, steps: int) -> Deflation:
        """The directions that Lanczos runs from each of `starts` (k, n), one after the other, find.

        Those of converged Ritz vectors, at the ends of the spectrum first of all. A space that
        is exhausted (n at most `steps`) is set apart whole.
        """
        found = cls(np.empty(0), np.empty((0, starts.shape[1])))
        for start in starts:
            left = starts.shape[1] - len(found.values)
            if not left:
                break
            # One step more than dimensions left, so that an exhausted space is seen to end.
            rest = found.outside(start[None])
            space = krylov(product, rest, min(steps, left + 1), found.vectors)
            values, vectors = _converged(space)
            # Rounding only: Ritz vectors are orthonormal and orthogonal to the former ones.
            vectors = np.linalg.qr(found.outside(vectors).T)[0].T
            found = cls(
                np.concatenate([found.values, values]),
                np.concatenate([found.vectors, vectors]),
            )
        return found

    def outside(self, rows: Array) -> Array:
        """``Pi x`` for each row."""
        if not len(self.values):
            return rows
        for _ in range(2):
            rows = rows - (rows @ self.vectors.T) @ self.vectors
        return rows


def _converged(space: Krylov) -> tuple[Array, Array]:
    """Ritz values and vectors of small residual from a single Krylov space."""
    steps = space.diagonal.shape[1]
    short = space.shortened(steps - 1)
    values, small = (part[0] for part in short.eigen)
    vectors = small.T @ short.basis[0]
    residual = np.abs(space.beside[0, -1] * small[-1])
    there = np.linalg.norm(vectors, axis=1) > 0.5  # those that fill an ended space up are zero
    chosen = there & (residual <= _CONVERGED * np.abs(values))
    return values[chosen], vectors[chosen]


@dataclass(frozen=True, eq=False)
class Sample:
    """What one batch of probes z gives.

    Parameters
    ----------
    draws
        Directions ``P z``.
    terms
        Estimates for each probe, (m,) each: ``map`` of ``log |det P|``, ``curvature`` of the log
        determinant of the damped H; their cubic controls ``map_control``, ``curvature_control``;
        ``map_short``, ``curvature_short`` from fewer products; ``least``, the smallest Ritz
        value.
    """

    draws: Draws
    terms: Mapping[str, Array]


@dataclass(frozen=True, eq=False)
class Preconditioner:
    """The map P of this file, and the log determinants of P and of the damped H.

    Parameters
    ----------
    deflation
        What is set apart of H.
    steps
        Products for each direction.
    damping
        Absolute, in units of H.
    polynomial
        The p.
    map_control, curvature_control
        Cubics close to ``log |p|`` and to the logarithm of the damped curvature.
    curvature_damping
        Damping of the curvature whose determinant is estimated: 0 where H is positive.
    least, largest
        Smallest eigenvalue and largest absolute one seen.
    """

    deflation: Deflation
    steps: int
    damping: float
    polynomial: Polynomial
    map_control: Polynomial
    curvature_control: Polynomial
    curvature_damping: float
    least: float
    largest: float

    @property
    def positive(self) -> bool:
        """Whether no curvature that is zero or negative was seen."""
        return bool(self.least > _POSITIVE * self.largest)

    def draws(self, z: Array, space: Krylov, rest: Array) -> Draws:
        """Directions P z from z (m, n), their part outside V, and its Krylov space."""
        along = z @ self.deflation.vectors.T
        factors = damped(self.deflation.values, self.damping) ** -0.5
        mapped = (along * factors) @ self.deflation.vectors
        if rest.any():
            mapped = mapped + space.applied(self.polynomial)
        return Draws.of(z, mapped)

    def sample(self, product: Product, z: Array) -> Sample:
        """Directions and log determinants from Gaussian vectors (m, n); `steps` products each."""
        rest, space = self._space(product, z, self.steps)
        short = space.shortened(max(1, space.nodes.shape[1] * 3 // 4))
        terms = self._controls(space)
        for name, function, apart in self._logarithms():
            terms[name] = apart + self._trace(space, function)
            terms[f"{name}_short"] = apart + self._trace(short, function)
        terms["least"] = _least(space)
        return Sample(self.draws(z, space, rest), terms)

    def controls(self, product: Product, z: Array) -> dict[str, Array]:
        """The cubic controls alone, from Gaussian vectors (m, n); two products each."""
        return self._controls(self._space(product, z, _CHEAP)[1])

    def _space(self, product: Product, z: Array, steps: int) -> tuple[Array, Krylov]:
        """The part of z outside V, and its Krylov space; that of anything if V is everything."""
        rest = self.deflation.outside(z)
        if len(self.deflation.values) >= z.shape[1]:
            ones = np.ones((len(z), 1))
            return np.zeros_like(z), Krylov(ones, ones[:, 1:], np.zeros((*z.shape, 1)), ones[:, 0])
        most = z.shape[1] - len(self.deflation.values)
        return rest, krylov(product, rest, min(steps, most), self.deflation.vectors)

    def _controls(self, space: Krylov) -> dict[str, Array]:
        """Estimates of the cubics' traces: two products are enough."""
        short = space.shortened(min(_CHEAP, space.diagonal.shape[1]))
        return {
            "map_control": self._trace(short, self.map_control),
            "curvature_control": self._trace(short, self.curvature_control),
        }

    def _trace(self, space: Krylov, function: Callable[[Array], Array]) -> Array:
        """Estimates of the trace of a function of ``Pi H Pi`` outside V: (m,)."""
        size, apart = self.deflation.vectors.shape[1], len(self.deflation.values)
        mean = (space.weights * function(space.nodes)).sum(axis=1)
        return np.asarray((size - apart) * mean)

    def _logarithms(self) -> Sequence[tuple[str, Callable[[Array], Array], float]]:
        """Names, functions whose traces are wanted, and their parts in V."""
        known = self.deflation.values

        def curvature(h: Array) -> Array:
            return _log_curvature(h, self.curvature_damping)

        return (
            ("map", self._log_map, float(-0.5 * np.log(damped(known, self.damping)).sum())),
            ("curvature", curvature, float(curvature(known).sum())),
        )

    def _log_map(self, h: Array) -> Array:
        """``log |p|``."""
        return np.asarray(np.log(np.abs(self.polynomial(h))))

    def to_arrays(self) -> dict[str, Array]:
        """All of it as arrays; `from_arrays` puts it together again."""
        arrays = {"values": self.deflation.values, "vectors": self.deflation.vectors}
        numbers = (self.steps, self.damping, self.curvature_damping, self.least, self.largest)
        for name in ("polynomial", "map_control", "curvature_control"):
            for part in fields(Polynomial):
                arrays[f"{name}_{part.name}"] = getattr(getattr(self, name), part.name)
        return {**arrays, "numbers": np.array(numbers, dtype=np.float64)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array]) -> Preconditioner:
        """What `to_arrays` took apart."""
        steps, damping, curvature_damping, least, largest = arrays["numbers"].tolist()
        p, map_control, curvature_control = (
            Polynomial(*(arrays[f"{name}_{part.name}"] for part in fields(Polynomial)))
            for name in ("polynomial", "map_control", "curvature_control")
        )
        return cls(
            Deflation(arrays["values"], arrays["vectors"]),
            int(steps),
            damping,
            p,
            map_control,
            curvature_control,
            curvature_damping,
            least,
            largest,
        )


Score = Callable[[Draws], float]


def preconditioner(
    product: Product,
    starts: Array,
    steps: int,
    damping: float | None = None,
    score: Score | None = None,
) -> Preconditioner | None:
    """A map close to ``H^(-1/2)``; None if H is zero or not finite along the starts.

    Parameters
    ----------
    product
        H times each row: (m, n) to (m, n).
    starts
        Gaussian vectors (at least 3, n): two are spent on setting eigenvectors apart, the others
        on the spectrum of the rest. They must not be used again as probes.
    steps
        Products for each direction; one more than the degree of p.
    damping
        Against the largest absolute eigenvalue; None tries `DAMPINGS` and keeps the one with
        the lowest score.
    score
        Of the directions of a damping: smaller is better, NaN is worst. Without it, None means
        the third of `DAMPINGS`.

    Cost: at most ``4 steps`` products for setting apart and `steps` for each other start.
    """
    deflation = Deflation.of(product, starts[:_ROUNDS], 2 * steps)
    z = starts[_ROUNDS:]
    blank = Polynomial(np.zeros(1), np.empty(0), np.ones(1))
    made = Preconditioner(deflation, steps, 1.0, blank, blank, blank, 0.0, 1.0, 1.0)
    rest, space = made._space(product, z, steps)
    whole = not rest.any()
    seen = deflation.values if whole else np.append(deflation.values, space.nodes)
    largest = float(np.abs(seen).max())
    least = float(np.append(deflation.values, [] if whole else _least(space)).min())
    if not np.isfinite(largest) or largest == 0.0:
        return None
    nodes, weights = _measure(space)

    def with_damping(relative: float) -> Preconditioner:
        absolute = relative * largest
        curvature_damping = 0.0 if least > _POSITIVE * largest else absolute
        goal = damped(nodes, absolute) ** -0.5
        p = Polynomial.fit(nodes, weights / np.square(goal), goal, steps)
        return Preconditioner(
            deflation,
            steps,
            absolute,
            p,
            Polynomial.fit(nodes, weights, np.log(np.abs(p(nodes))), 2 * _CHEAP),
            Polynomial.fit(nodes, weights, _log_curvature(nodes, curvature_damping), 2 * _CHEAP),
            curvature_damping,
            least,
            largest,
        )

    if damping is not None:
        return with_damping(damping)
    if score is None:
        return with_damping(DAMPINGS[2])
    tried = [with_damping(relative) for relative in DAMPINGS]
    scores = [score(one.draws(z, space, rest)) for one in tried]
    return tried[int(np.argmin([np.inf if np.isnan(s) else s for s in scores]))]


def _least(space: Krylov) -> Array:
    """Smallest Ritz value of each space that has any weight."""
    return np.asarray(np.where(space.weights > _NO_WEIGHT, space.nodes, np.inf).min(axis=1))


def _log_curvature(h: Array, damping: float) -> Array:
    """Logarithm of the damped curvature, finite at 0."""
    return np.asarray(np.log(np.maximum(damped(h, damping), np.finfo(np.float64).tiny)))


def _measure(space: Krylov) -> tuple[Array, Array]:
    """Nodes and weights of the mean spectral measure, and a little of the whole interval."""
    nodes, weights = space.nodes.ravel(), space.weights.ravel() / len(space.nodes)
    low, high = nodes.min(), nodes.max()
    count = 4 * space.nodes.shape[1]
    angles = (np.arange(count) + 0.5) * np.pi / count
    hull = (low + high) / 2 + (high - low) / 2 * np.cos(angles)
    hull_weights = np.full(count, _HULL_WEIGHT / count)
    return np.concatenate([nodes, hull]), np.concatenate([weights, hull_weights])
