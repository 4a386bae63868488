"""Question: a body around a checkpoint, and the draws and products that estimators ask of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np

from landscape.analysis.directions import gaussian
from landscape.analysis.masked_hessian import MaskedHessian
from landscape.analysis.subspace import Subspace
from landscape.analysis.volume.rays import Body, Radii
from landscape.analysis.work import Work
from landscape.data_store.params import Array
from landscape.data_store.records import Checkpoint

_ANCHOR_BYTES, _KRYLOV_BYTES = 2**26, 2**28
_MOST_AT_ONCE = 256


class Settings(Protocol):
    """The options that estimators read; see `landscape.analysis.volume.volume.VolumeSettings`."""

    @property
    def rays(self) -> int:
        """Rays of plain and of diagonal proposals."""
        ...

    @property
    def probes(self) -> int:
        """Probes of the Hessian."""
        ...

    @property
    def lanczos_steps(self) -> int:
        """Hessian products for each."""
        ...

    @property
    def damping(self) -> float | None:
        """Least curvature against the largest."""
        ...

    @property
    def seed(self) -> int:
        """Of everything drawn."""
        ...


@dataclass(frozen=True, eq=False)
class Question:
    """What all estimators are asked.

    Parameters
    ----------
    checkpoint
        The centre.
    subspace
        Coordinates that move: n of them.
    units
        Length of each in which the volume is measured, (n,).
    filtered
        Whether the literature's estimator draws filter-normalised directions.
    body
        The sublevel set.
    headroom
        Cutoff minus the loss at the centre, in nats per example; NaN if it is no loss.
    settings
        Of `volume`: ``rays``, ``probes``, ``lanczos_steps``, ``damping``, ``seed``.
    work
        Where blocks are computed.
    """

    checkpoint: Checkpoint
    subspace: Subspace
    units: Array
    filtered: bool
    body: Body
    headroom: float
    settings: Settings
    work: Work

    @property
    def dims(self) -> int:
        """Number n of coordinates that move."""
        return self.subspace.dims

    @property
    def log_units(self) -> float:
        """Log volume of the unit cell, in Euclidean units."""
        return float(np.log(self.units).sum())

    def gaussian(self, numbers: Array) -> Array:
        """Standard normal vectors of the moving coordinates: (k, n), masked from full ones."""
        size = self.checkpoint.spec.size
        rows = [
            gaussian(size, self.settings.seed, [number])[0, self.subspace.free]
            for number in numbers
        ]
        return np.array(rows).reshape(len(numbers), self.dims)

    def radii(self, directions: Array) -> Radii:
        """Euclidean radii along unit vectors (k, n)."""
        return self.body.radii(self.subspace.embed(directions.astype(self.body.centre.dtype)))

    def batches(self, count: int, at_once: int) -> list[Array]:
        """The numbers 0 … count - 1, in batches."""
        most = int(np.clip(at_once, 1, _MOST_AT_ONCE))
        return [np.arange(i, min(i + most, count)) for i in range(0, count, most)]

    def ray_batches(self) -> list[Array]:
        """Numbers of the rays, so many at once that their directions take 64 MiB."""
        centre = self.body.centre
        return self.batches(self.settings.rays, _ANCHOR_BYTES // (centre.nbytes or 1))

    def probe_batches(self, count: int, steps: int) -> list[Array]:
        """Numbers of probes, so many at once that their Krylov spaces take 256 MiB."""
        return self.batches(count, _KRYLOV_BYTES // (8 * steps * max(self.dims, 1)))

    def hessian(self) -> MaskedHessian:
        """The Hessian of the loss in the moving coordinates."""
        body = self.body
        return MaskedHessian(body.landscape, body.centre, self.subspace, body.split, body.places)

    def blocks(
        self,
        name: str,
        batches: list[Array],
        compute: Callable[[Array], Mapping[str, Array]],
    ) -> dict[str, Array]:
        """The arrays of all batches, one after the other, each batch a block of work."""
        found = [
            self.work.block(f"{name} {numbers[0]}", partial(compute, numbers))
            for numbers in batches
        ]
        return {key: np.concatenate([part[key] for part in found]) for key in found[0]}
