"""The points of a level: stored ones, and those that follow from stored ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from landscape.data_store.address import Address
from landscape.data_store.errors import UsageError
from landscape.data_store.level_file import read_level
from landscape.data_store.records import Checkpoint, Level, Point

if TYPE_CHECKING:
    from landscape.data_store.store import Run


def checkpoint(run: Run, place: Address) -> Checkpoint:
    """The checkpoint of `run` at `place`.

    ``final`` and ``step-K`` are stored in the level; ``init`` and ``rewind`` are objects of
    the store; ``ticket`` is rewind ⊙ mask, ``baseline`` the previous level's final ⊙ mask,
    ``mask`` the final weights with the level's mask (for overlap).

    Raises `UsageError` for a level or part that the run does not have.
    """
    level = run.level(place.level if place.level is not None else "last")
    point = _point(run, level, place.part)
    is_final = place.part in ("final", "mask")
    return Checkpoint(
        spec=level.mask.spec,
        theta=point.theta,
        mask=level.mask,
        buffers=point.buffers,
        metrics=level.metrics if is_final else {},
        trace=level.trace if is_final else None,
        address=str(Address(run.name, level.number, place.part)),
        level=level.number,
        part=place.part,
        status=level.status,
        home=str(run.root),
    )


def _point(run: Run, level: Level, part: str) -> Point:
    """Weights and buffers of one part of a level."""
    if part in ("init", "rewind"):
        return run.point(level.origins[part])
    if part == "ticket":
        start = run.point(level.origins["rewind"])
        return Point(level.mask.apply(start.theta), start.buffers)
    if part == "baseline":
        if level.number == 0:
            raise UsageError(
                f"{run.name}@0 has no baseline: it is the previous level's final weights on this "
                "level's mask, so it begins at level 1"
            )
        previous = run.level(level.number - 1).points["final"]
        return Point(level.mask.apply(previous.theta), previous.buffers)
    name = "final" if part == "mask" else part
    if name not in level.points:
        steps = ", ".join(p for p in level.points if p != "final") or "none"
        raise UsageError(
            f"{run.name}@{level.number} keeps no {part}; snapshots of this run: {steps} "
            "(train with --snapshots)"
        )
    return level.points[name]


def file_checkpoint(path: Path) -> Checkpoint:
    """The final weights in a level file outside a store."""
    level = read_level(path)
    final = level.points["final"]
    return Checkpoint(
        spec=level.mask.spec,
        theta=final.theta,
        mask=level.mask,
        buffers=final.buffers,
        metrics=level.metrics,
        trace=level.trace,
        address=str(path),
        level=level.number,
        status=level.status,
    )
