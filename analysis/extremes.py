"""The extreme eigenpairs of a symmetric matrix that is known by its products only."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

import numpy as np
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh

from landscape.data_store.errors import LandscapeError
from landscape.data_store.params import Array

DENSE = 256
_ASYMMETRY = 3e-3  # far above rounding, also that of TF32
_TAKES_RNG = "rng" in inspect.signature(eigsh).parameters  # from scipy 1.17 on, else its own


class Symmetric(Protocol):
    """A symmetric matrix (d, d), such as a `MaskedHessian`."""

    @property
    def dims(self) -> int:
        """Its size d."""
        ...

    def product(self, vectors: Array) -> Array:
        """The matrix times each row of `vectors` (m, d): (m, d)."""
        ...


@dataclass(frozen=True, eq=False)
class Eigenpairs:
    """Eigenvalues in falling order, from the two ends of a spectrum or all of them.

    Parameters
    ----------
    values
        Float64 (m,).
    vectors
        Of length 1, the largest entry positive, a row each: (m, d). Those of one end are
        orthogonal.
    residuals
        ``|H v - λ v|`` (m,): some eigenvalue lies within this distance of λ.
    ends
        How many of the rows count from the largest, and how many from the smallest: (2,).
    settled
        Whether all that were asked for at the two ends were found to the tolerance: bool (2,).
    """

    values: Array
    vectors: Array
    residuals: Array
    ends: Array
    settled: Array

    @property
    def whole(self) -> bool:
        """Whether these are all eigenvalues of the matrix."""
        return bool(len(self.values) == self.vectors.shape[1])

    def row(self, rank: int) -> int | None:
        """Where the eigenvalue of a rank stands: 1 is the largest, -1 the smallest."""
        known = self.ends[0] if rank > 0 else self.ends[1]
        if abs(rank) > known:
            return None
        return rank - 1 if rank > 0 else len(self.values) + rank


def eigenpairs(
    matrix: Symmetric,
    top: int,
    bottom: int,
    *,
    seed: int = 0,
    tolerance: float = 1e-4,
    restarts: int = 100,
) -> Eigenpairs:
    """The `top` largest and the `bottom` smallest eigenvalues, by sign, not by size.

    A matrix of up to 256 dimensions, or four for each eigenvalue asked for, is written out and
    solved whole. Else scipy's ``eigsh`` (ARPACK: Lanczos with implicit restarts) looks for each
    end from a random vector. An end is settled if every residual ``|H v - λ v|`` is within
    `tolerance` times the largest of all the eigenvalues found, in absolute value. Of one that
    is not, only what was found is returned: its rows may skip an eigenvalue.

    Parameters
    ----------
    matrix
        Symmetric (d, d). Small departures from symmetry, by rounding, do no harm.
    top, bottom
        How many eigenvalues of each end; there need not be so many.
    seed
        Of the random first vectors.
    tolerance
        Largest residual, relative to the largest eigenvalue. Products in single precision reach
        about 1e-6.
    restarts
        Most restarts of each end.

    Raises `FloatingPointError` if a product is not finite, `LandscapeError` if the products are
    not those of a symmetric matrix (tried on all of a small one, on two vectors of others).

    Cost: d products, or at most about ``20 + restarts × max(k + 1, 20 - k)`` for an end of k.
    Source: Lehoucq, Sorensen & Yang (1998), ARPACK Users' Guide.
    """
    if solved_whole(matrix.dims, top, bottom):
        return _solved(matrix)
    start, other = np.random.default_rng([seed, 0]).standard_normal((2, matrix.dims))
    images = _product(matrix, np.stack([start, other]))
    if not images.any():
        return _of_zero(matrix.dims, top, bottom)
    _require_symmetry(other @ images[0] - start @ images[1], images)
    search = _Search(matrix, start, tolerance, restarts, seed)
    upper = search.end("LA", top)
    # From far above, what is relative to an eigenvalue is relative to the whole spectrum.
    above = 2 * float(abs(upper[0]).max(initial=0.0))
    lower = replace(search, above=above, tolerance=tolerance / 4).end("SA", bottom)
    values = np.concatenate([upper[0], lower[0]])
    vectors = _turned(np.concatenate([upper[1], lower[1]]))
    residuals = _residuals(matrix, values, vectors)
    limit = tolerance * abs(values).max(initial=0.0)
    ends = np.array([len(upper[0]), len(lower[0])])
    fine = np.split(residuals <= limit, ends[:1])
    settled = np.array(
        [len(part) == want and part.all() for part, want in zip(fine, (top, bottom), strict=True)]
    )
    return Eigenpairs(values, vectors, residuals, ends, settled)


def solved_whole(dims: int, top: int, bottom: int) -> bool:
    """Whether `eigenpairs` solves a matrix of this size whole, and not just its ends."""
    return dims <= max(DENSE, 4 * top, 4 * bottom)


def leading(
    matrix: Symmetric, count: int, seed: int, *, tolerance: float = 1e-4, restarts: int = 100
) -> tuple[Array, Array]:
    """The `count` largest eigenvalues (count,) and their vectors (count, d): `eigenpairs`, sure.

    Raises `LandscapeError` if there are not so many, or if they did not settle.
    """
    if count > matrix.dims:
        raise LandscapeError(
            f"{count} eigenvalues of a matrix of {matrix.dims} dimensions were asked for; "
            f"ask for at most {matrix.dims}"
        )
    found = eigenpairs(matrix, count, 0, seed=seed, tolerance=tolerance, restarts=restarts)
    if not found.settled[0]:
        raise LandscapeError(
            f"the {count} leading eigenvalues did not settle to {tolerance:g} in {restarts} "
            "restarts; ask for fewer, allow more restarts or a larger tolerance"
        )
    return found.values[:count], found.vectors[:count]


def _product(matrix: Symmetric, vectors: Array) -> Array:
    """Products that are finite."""
    products = matrix.product(vectors)
    if not np.isfinite(products).all():
        raise FloatingPointError("a product of the matrix is not finite")
    return products


def _turned(vectors: Array) -> Array:
    """The same or opposite vectors, so that the largest entry of each is positive."""
    largest = np.take_along_axis(vectors, abs(vectors).argmax(axis=1)[:, None], axis=1)
    return np.where(largest < 0, -vectors, vectors)


def _require_symmetry(departure: Array, products: Array) -> None:
    """Raise if products depart from symmetry by more than rounding, for their length."""
    difference, length = float(np.linalg.norm(departure)), float(np.linalg.norm(products))
    if difference > _ASYMMETRY * length:
        raise LandscapeError(
            f"the Hessian products are not symmetric: u H v and v H u differ by "
            f"{difference / length:.2g} of their size; the network has an operation whose second "
            "derivatives are wrong (torch's fused weight_norm is one), use another for it"
        )


def _residuals(matrix: Symmetric, values: Array, vectors: Array) -> Array:
    """``|H v - λ v|`` of each pair."""
    if not len(values):
        return np.zeros(0)
    lengths: Array = np.linalg.norm(_product(matrix, vectors) - values[:, None] * vectors, axis=1)
    return lengths


def _solved(matrix: Symmetric) -> Eigenpairs:
    """All eigenpairs, from the matrix itself."""
    size = matrix.dims
    if not size:
        return _of_zero(0, 0, 0)
    written = _product(matrix, np.eye(size))
    _require_symmetry(written - written.T, written)
    values, columns = np.linalg.eigh((written + written.T) / 2)
    values, vectors = values[::-1], _turned(columns.T[::-1])
    residuals = np.linalg.norm(vectors @ written - values[:, None] * vectors, axis=1)
    return Eigenpairs(values, vectors, residuals, np.array([size, size]), np.ones(2, np.bool_))


def _of_zero(size: int, top: int, bottom: int) -> Eigenpairs:
    """Eigenpairs of the zero matrix, on which ARPACK cannot start."""
    count = top + bottom
    return Eigenpairs(
        values=np.zeros(count),
        vectors=np.eye(count, size),
        residuals=np.zeros(count),
        ends=np.array([top, bottom]),
        settled=np.ones(2, np.bool_),
    )


@dataclass(frozen=True, eq=False)
class _Search:
    """How ``eigsh`` looks for the ends of a spectrum, which it sees from `above`."""

    matrix: Symmetric
    start: Array
    tolerance: float
    restarts: int
    seed: int
    above: float = 0.0

    def end(self, which: Literal["LA", "SA"], count: int) -> tuple[Array, Array]:
        """Values in falling order and vectors, of those that were found."""
        size = self.matrix.dims
        if not count:
            return np.zeros(0), np.zeros((0, size))
        options: dict[str, Any] = {"rng": np.random.default_rng([self.seed, 1])}
        try:
            values, columns = eigsh(
                LinearOperator((size, size), matvec=self._seen, dtype=np.float64),
                k=count,
                which=which,
                v0=self.start,
                tol=self.tolerance,
                maxiter=self.restarts,
                **(options if _TAKES_RNG else {}),
            )
        except ArpackNoConvergence as partly:
            values, columns = partly.eigenvalues, partly.eigenvectors
        order = np.argsort(-values, kind="stable")
        return values[order] + self.above, columns.T[order]

    def _seen(self, vector: Array) -> Array:
        """``(H - above) v``."""
        flat = np.ravel(vector)
        seen: Array = _product(self.matrix, flat[None])[0] - self.above * flat
        return seen
