"""Mask: which weights of a network are kept."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from landscape.data_store.errors import LandscapeError
from landscape.data_store.params import Array, ParamSpec


@dataclass(frozen=True, eq=False)
class Mask:
    """A binary mask over the prunable tensors of a network.

    Parameters
    ----------
    spec
        The network's parameters, n in all.
    prunable
        Names of the tensors a criterion may prune (the density's denominator),
        in the spec's order.
    kept
        Boolean (n,); True where the weight is kept, and everywhere outside `prunable`.
    """

    spec: ParamSpec
    prunable: tuple[str, ...]
    kept: Array

    def __post_init__(self) -> None:
        for name in self.prunable:
            if name not in self.spec.slices:
                raise LandscapeError(f"prunable tensor {name!r} is not among the parameters")
        if self.kept.shape != (self.spec.size,) or self.kept.dtype != np.bool_:
            raise LandscapeError(
                f"a mask needs booleans of shape ({self.spec.size},), "
                f"got {self.kept.dtype} of shape {self.kept.shape}"
            )
        if not self.kept[~self.covered].all():
            raise LandscapeError("a mask prunes weights outside its prunable tensors")

    @classmethod
    def dense(cls, spec: ParamSpec, prunable: tuple[str, ...]) -> Mask:
        """The mask that keeps everything."""
        return cls(spec, prunable, np.ones(spec.size, dtype=np.bool_))

    @classmethod
    def from_zeros(cls, spec: ParamSpec, theta: Array) -> Mask:
        """The mask of a foreign file: exact zeros of tensors with two or more axes are pruned."""
        prunable = tuple(n for n, s in zip(spec.names, spec.shapes, strict=True) if len(s) >= 2)
        mask = cls.dense(spec, prunable)
        return cls(spec, prunable, ~(mask.covered & (theta == 0)))

    @cached_property
    def covered(self) -> Array:
        """Boolean (n,), True on the prunable weights."""
        covered = np.zeros(self.spec.size, dtype=np.bool_)
        for name in self.prunable:
            covered[self.spec.slices[name]] = True
        return covered

    @property
    def prunable_size(self) -> int:
        """Number of weights a criterion may prune."""
        return int(self.covered.sum())

    @property
    def kept_size(self) -> int:
        """Number of prunable weights that are kept."""
        return int(np.count_nonzero(self.kept[self.covered]))

    @property
    def density(self) -> float:
        """Fraction of the prunable weights that are kept; NaN if none is prunable."""
        return self.kept_size / self.prunable_size if self.prunable_size else float("nan")

    def layer(self, name: str) -> Array:
        """The mask of one tensor, as a flat boolean view."""
        return self.kept[self.spec.slices[name]]

    def apply(self, theta: Array) -> Array:
        """`theta` (n,) with pruned entries set to the bit pattern +0.0; a copy."""
        return np.where(self.kept, theta, np.zeros((), dtype=theta.dtype))

    def is_within(self, other: Mask) -> bool:
        """True if every weight kept here is kept in `other` (nested masks)."""
        return bool(np.all(other.kept | ~self.kept))

    def packed(self) -> Array:
        """The prunable bits, eight to a byte, as uint8; `unpack` reads them back."""
        return np.packbits(self.kept[self.covered])

    @classmethod
    def unpack(cls, spec: ParamSpec, prunable: tuple[str, ...], bits: Array) -> Mask:
        """The mask whose prunable bits `packed` wrote."""
        mask = cls.dense(spec, prunable)
        size = mask.prunable_size
        if bits.dtype != np.uint8 or bits.shape != ((size + 7) // 8,):
            raise LandscapeError(
                f"a packed mask of {size} weights needs {(size + 7) // 8} bytes, got {bits.shape}"
            )
        kept = mask.kept.copy()
        kept[mask.covered] = np.unpackbits(bits, count=size).astype(np.bool_)
        return cls(spec, prunable, kept)
