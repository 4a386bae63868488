"""Subspace: the coordinates in which a pruned network can move."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from landscape.data_store.params import Array, ParamSpec
from landscape.data_store.records import Checkpoint


@dataclass(frozen=True, eq=False)
class Subspace:
    """Free coordinates of a point; all others (pruned weights, buffers) stay as they are.

    Parameters
    ----------
    size
        Length n of a point: weights, then floating-point buffers.
    free
        Places of the free coordinates in a point, increasing, int64 (d,).
    """

    size: int
    free: Array

    @classmethod
    def of(cls, checkpoint: Checkpoint, *, one_dimensional: bool = True) -> Subspace:
        """The weights that a checkpoint's mask keeps, and all that is never pruned.

        Without `one_dimensional`, tensors of one dimension (biases, normalisation scales) are
        held fixed, as filter-normalised directions hold them (Li et al. 2018).
        """
        kept = checkpoint.mask.kept.copy()
        if not one_dimensional:
            kept &= in_matrices(checkpoint.spec)
        return cls(len(checkpoint.point), np.flatnonzero(kept))

    @property
    def dims(self) -> int:
        """Number d of free coordinates."""
        return len(self.free)

    def embed(self, vectors: Array) -> Array:
        """Vectors (..., d) as displacements of points (..., n), 0 elsewhere."""
        whole = np.zeros((*vectors.shape[:-1], self.size), dtype=vectors.dtype)
        whole[..., self.free] = vectors
        return whole

    def restrict(self, vectors: Array) -> Array:
        """The free coordinates (..., d) of vectors (..., n)."""
        return vectors[..., self.free]


def in_matrices(spec: ParamSpec) -> Array:
    """Which weights lie in tensors of two or more dimensions: bool (size,)."""
    inside = np.zeros(spec.size, dtype=np.bool_)
    for name, place in spec.slices.items():
        inside[place] = len(spec.shape(name)) >= 2
    return inside
