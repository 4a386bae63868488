"""MaskedHessian: the Hessian of a loss in the free coordinates of a pruned network."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse.linalg import LinearOperator

from landscape.analysis.landscape import Landscape
from landscape.analysis.subspace import Subspace
from landscape.data_store.errors import LandscapeError
from landscape.data_store.params import Array


@dataclass(frozen=True, eq=False)
class MaskedHessian:
    """Hessian of the mean loss at a point, in the d free coordinates of a subspace.

    ``H_S = P^T H P``, where the columns of P (n, d) are the unit vectors of the free coordinates:
    the submatrix of the whole Hessian with their rows and columns.

    Parameters
    ----------
    landscape
        The loss.
    theta
        Point (n,): weights, then floating-point buffers.
    subspace
        The free coordinates.
    split
        Split of the data that the loss is a mean over.
    places
        Numbers of the examples of the split to use; all if None.
    """

    landscape: Landscape
    theta: Array
    subspace: Subspace
    split: str = "train"
    places: Array | None = None

    @property
    def dims(self) -> int:
        """Number d of free coordinates."""
        return self.subspace.dims

    def product(self, vectors: Array) -> Array:
        """``H_S v`` of each row of `vectors` (m, d): float64 (m, d).

        Exact up to the rounding of the landscape. Cost: m Hessian products, each a few times a
        gradient over the examples. Raises `LandscapeError` for vectors of another shape.
        """
        if vectors.ndim != 2 or vectors.shape[1] != self.dims:
            raise LandscapeError(
                f"vectors of shape {vectors.shape} do not fit the subspace; "
                f"expected (any, {self.dims})"
            )
        whole = self.landscape.hessian_product(
            self.theta,
            self.subspace.embed(np.asarray(vectors, dtype=np.float64)),
            split=self.split,
            places=self.places,
        )
        return self.subspace.restrict(whole).astype(np.float64)

    def operator(self) -> LinearOperator:
        """The same as a symmetric scipy operator (d, d), for ``eigsh`` and its kin."""
        return LinearOperator(
            (self.dims, self.dims),
            matvec=lambda vector: self.product(np.reshape(vector, (1, -1)))[0],
            matmat=lambda columns: self.product(np.asarray(columns).T).T,
            dtype=np.float64,
        )
