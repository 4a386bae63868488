"""Random directions from a point: isotropic or filter-normalised, in the subspace of a mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from landscape.data_store.params import Array, ParamSpec

_DIRECTIONS = 0xD1  # keeps these draws apart from other draws of the same seed


def gaussian(size: int, seed: int, numbers: Sequence[int] | Array) -> Array:
    """Standard normal vectors: float64 (k, size), one for each of `numbers` (k,).

    Row `number` is a function of (size, seed, number) alone, whatever else is drawn: draws for
    checkpoints of one network are equal before they are masked (common random numbers), and a
    batch can be drawn again by itself.
    """
    rows = np.empty((len(numbers), size))
    for row, number in zip(rows, numbers, strict=True):
        np.random.default_rng([_DIRECTIONS, seed, int(number)]).standard_normal(out=row)
    return rows


def isotropic(draws: Array, kept: Array) -> Array:
    """Unit vectors, uniform on the sphere of the kept coordinates: (k, n).

    Parameters
    ----------
    draws
        Gaussian vectors (k, n).
    kept
        Boolean (n,); the other coordinates become 0. At least one must be kept.
    """
    masked = np.where(kept, draws, 0.0)
    unit: Array = masked / np.linalg.norm(masked, axis=1, keepdims=True)
    return unit


def filter_normalised(draws: Array, theta: Array, kept: Array, spec: ParamSpec) -> Array:
    """Directions in which every filter has exactly the norm of its weights: (k, n).

    ``d_f <- d_f ||w_f|| / ||d_f||`` for each filter f (entry of the first axis) of each tensor
    of two or more dimensions, after the mask has been applied to d; 0 in all other tensors
    (biases, normalisation scales), in pruned weights and in filters that are pruned whole or
    zero. So ``||d||`` is the same for all draws. The directions are uniform on a product of
    spheres, one for each filter, not on one sphere.

    Source: Li et al. (2018), section 4, and their code (``ignore='biasbn'``), without its
    1e-10; Huang et al. (2020) rescale exactly, as here. That the mask goes first is ours: the
    other order leaves pruned filters with too little norm.

    Parameters
    ----------
    draws
        Gaussian vectors (k, n).
    theta
        Weights (n,), pruned entries 0.
    kept
        Boolean (n,).
    spec
        Tensors of the n weights.
    """
    filters = Filters.of(spec)
    masked = np.where(kept & filters.inside, draws, 0.0)
    wanted = filters.norms(np.where(kept, theta.astype(np.float64), 0.0))
    have = filters.norms(masked)
    factors = np.divide(wanted, have, out=np.zeros_like(have), where=have > 0)
    directions: Array = masked * filters.spread(factors)
    return directions


@dataclass(frozen=True, eq=False)
class Filters:
    """The filters of a network as stretches of its flat vector.

    Parameters
    ----------
    starts
        First place of each stretch, int64 (s,): filters in tensors of two or more dimensions,
        whole tensors otherwise. Together they cover the vector.
    sizes
        Their lengths, (s,).
    inside
        Which of the n weights lie in filters, bool (n,).
    """

    starts: Array
    sizes: Array
    inside: Array

    @classmethod
    def of(cls, spec: ParamSpec) -> Filters:
        """The filters of the tensors of `spec`; axis 0 is the filter, as torch has it."""
        sizes: list[int] = []
        inside = np.zeros(spec.size, dtype=np.bool_)
        for name, place in spec.slices.items():
            shape, length = spec.shape(name), place.stop - place.start
            inside[place] = len(shape) >= 2
            if length:
                count = shape[0] if len(shape) >= 2 else 1
                sizes += [length // count] * count
        lengths = np.array(sizes, dtype=np.int64)
        return cls(np.cumsum(lengths) - lengths, lengths, inside)

    def sums(self, values: Array) -> Array:
        """Sums over each stretch: (..., n) to (..., s)."""
        summed: Array = np.add.reduceat(values, self.starts, axis=-1)
        return summed

    def norms(self, vectors: Array) -> Array:
        """Euclidean norm in each stretch: (..., n) to (..., s)."""
        return np.sqrt(self.sums(np.square(vectors)))

    def spread(self, values: Array) -> Array:
        """One value for each stretch to all its weights: (..., s) to (..., n)."""
        return np.repeat(values, self.sizes, axis=-1)


def filter_scales(theta: Array, kept: Array, spec: ParamSpec) -> Array:
    """Root mean square of the kept weights of each weight's filter: float64 (n,).

    ``||w_f|| / sqrt(k_f)`` with k_f weights kept: the unit of length in filter-normalised
    coordinates. 0 where `filter_normalised` never moves: outside filters, where pruned, and in
    filters that are zero.
    """
    filters = Filters.of(spec)
    counts = filters.sums(kept.astype(np.float64))
    norms = filters.norms(np.where(kept, theta.astype(np.float64), 0.0))
    rms = np.divide(norms, np.sqrt(counts), out=np.zeros_like(norms), where=counts > 0)
    scales: Array = np.where(kept & filters.inside, filters.spread(rms), 0.0)
    return scales
