"""Axes: the lines and planes that a surface can be asked for, and what is known of their axes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from landscape.analysis.directions import filter_normalised, gaussian, isotropic
from landscape.analysis.extremes import leading
from landscape.analysis.landscape import Landscape
from landscape.analysis.masked_hessian import MaskedHessian
from landscape.analysis.plane import Plane, along, through
from landscape.analysis.subspace import Subspace
from landscape.analysis.trajectory import principal_directions
from landscape.analysis.work import Work
from landscape.data_store.errors import LandscapeError
from landscape.data_store.params import Array
from landscape.data_store.records import Checkpoint


@dataclass(frozen=True, eq=False)
class Axes:
    """A line or plane, and what is known of its axes.

    Parameters
    ----------
    plane
        The points.
    words
        Where each axis points.
    facts
        Variables (a,) by name: ``eigenvalue`` or ``explained_variance``.
    seeds
        Seed and number of the draw of each axis, empty if it was not drawn.
    spanned
        Whether it was laid through the checkpoints, so that it is drawn around them.
    """

    plane: Plane
    words: tuple[str, ...]
    facts: Mapping[str, Array] = field(default_factory=dict)
    seeds: tuple[str, ...] = ("", "")
    spanned: bool = False

    @property
    def digests(self) -> list[str]:
        """SHA-256 of the float64 bytes of each direction (n,), little-endian, in hex."""
        return [
            hashlib.sha256(d.astype("<f8").tobytes()).hexdigest() for d in self.plane.directions
        ]


def random_axes(origin: Checkpoint, count: int, normalization: str, seed: int) -> Axes:
    """Random directions in the weights that a checkpoint keeps.

    Draws of one seed are the same for all checkpoints of a network before their masks are
    applied. Buffers do not move.

    Parameters
    ----------
    origin
        The checkpoint.
    count
        Number of axes.
    normalization
        ``filter``: see `filter_normalised`; ``unit``: uniform on the sphere, of length 1;
        ``none``: standard normal as drawn.
    seed
        Of the draws.

    Raises `LandscapeError` if the checkpoint has no weights to move.
    """
    plane = along(origin, _drawn(origin, count, normalization, seed))
    words = tuple(f"random direction {k + 1}" for k in range(count))
    return Axes(plane, words, seeds=tuple(f"{seed}/{k}" for k in range(count)))


def checkpoint_axes(points: Sequence[Checkpoint], count: int, seed: int) -> Axes:
    """Orthonormal axes through the first checkpoints; a random second one where two are given.

    Raises as `through`.
    """
    names = [p.address or f"checkpoint {i + 1}" for i, p in enumerate(points)]
    words = [f"from {names[0]} to {names[1]}"]
    if count == 1:
        return Axes(through(points[:2]), tuple(words), spanned=True)
    if len(points) > 2:
        words.append(f"at right angles, to {names[2]}")
        return Axes(through(points[:3]), tuple(words), spanned=True)
    words.append("random, at right angles")
    across = _drawn(points[0], 1, "filter", seed)[0]
    seeds = ("", f"{seed}/0")
    return Axes(through(points, across), tuple(words), seeds=seeds, spanned=True)


def eigenvector_axes(
    origin: Checkpoint,
    count: int,
    landscape: Landscape,
    work: Work,
    *,
    split: str,
    places: Array | None,
    seed: int,
) -> Axes:
    """Leading eigenvectors of the Hessian in the weights that a checkpoint keeps, of length 1.

    Of the two signs, that is taken which makes the largest entry positive. They are one block of
    `work`. Cost: see `leading`.

    Raises `LandscapeError` if the curvature is not finite, or as `leading`.
    """
    subspace = Subspace.of(origin)

    def found() -> dict[str, Array]:
        hessian = MaskedHessian(landscape, origin.point, subspace, split, places)
        try:
            values, vectors = leading(hessian, count, seed)
        except FloatingPointError as error:
            raise LandscapeError(
                f"the curvature at {origin.address or 'the first checkpoint'} is not finite, so "
                "it has no eigenvectors; ask for other directions"
            ) from error
        largest = np.take_along_axis(vectors, abs(vectors).argmax(axis=1)[:, None], axis=1)
        return {"values": values, "vectors": vectors * np.sign(largest)}

    block = work.block("eigenvectors", found)
    words = tuple(f"Hessian eigenvector {k + 1}" for k in range(count))
    plane = along(origin, subspace.embed(block["vectors"]))
    return Axes(plane, words, {"eigenvalue": block["values"]})


def principal_axes(points: Sequence[Checkpoint], count: int) -> Axes:
    """Principal components of a trajectory, from its last checkpoint.

    Raises as `principal_directions`.
    """
    directions, shares = principal_directions(points, count)
    words = tuple(f"principal component {k + 1}" for k in range(count))
    plane = along(points[-1], directions)
    return Axes(plane, words, {"explained_variance": shares}, spanned=True)


def _drawn(origin: Checkpoint, count: int, normalization: str, seed: int) -> Array:
    """Random displacements of points (count, n) in the weights that a checkpoint keeps."""
    spec, kept = origin.spec, origin.mask.kept
    draws = gaussian(spec.size, seed, range(count))
    if normalization == "filter":
        drawn = filter_normalised(draws, origin.theta, kept, spec)
    elif normalization == "unit" and kept.any():
        drawn = isotropic(draws, kept)
    else:
        drawn = np.where(kept, draws, 0.0)
    buffers = np.zeros((count, len(origin.point) - spec.size))
    return np.concatenate([drawn, buffers], axis=1)
