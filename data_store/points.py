"""The points of a level: stored ones, and those that follow from stored ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from landscape.data_store import layout
from landscape.data_store.address import Address
from landscape.data_store.errors import DamagedFile, OtherFormat, UsageError
from landscape.data_store.files import SIZE_LIMIT
from landscape.data_store.level_file import read_level
from landscape.data_store.records import Checkpoint, Level, Point
from landscape.data_store.truth import truth

if TYPE_CHECKING:
    from landscape.data_store.store import Run


def checkpoint(run: Run, place: Address) -> Checkpoint:
    """The checkpoint of `run` at `place`.

    ``final`` and ``step-K`` are stored in the level; ``init`` and ``rewind`` are objects of
    the store, both of the run; ``ticket`` is what the level was trained from ⊙ mask, see below;
    ``baseline`` the previous level's final ⊙ mask, ``mask`` the final weights with the level's mask
    (for overlap), ``planted`` the ticket hidden in what the run began with, ``target`` that with
    its outputs rescaled, as `landscape.data_store.truth` says. An imported level may know its
    ticket only, or nothing of where it began.

    A level that is rewound was trained from the rewind point, through which a dense level 0 passes
    too. A level that starts from new or noisy weights, or goes on from trained ones, keeps these
    with it; without noise, those that go on are bit for bit ``baseline``, or at level 0 of a branch
    the parent's final weights.

    Raises `UsageError` for a level or part that the run does not have.
    """
    level = run.level(place.level if place.level is not None else "last")
    if place.part in ("planted", "target"):
        return truth(run, level, place.part)
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
        return _origin(run, level, part)
    if part == "ticket" and part not in level.points:
        start = _origin(run, level, part)
        return Point(level.mask.apply(start.theta), start.buffers)
    if part == "baseline":
        if level.number == 0:
            raise UsageError(
                f"{run.name}@0 has no baseline: it is the previous level's final weights on this "
                "level's mask, so it begins at level 1"
            )
        previous = run.level(level.number - 1)
        if difference := previous.mask.spec.mismatch(level.mask.spec):
            raise DamagedFile(
                f"levels {previous.number} and {level.number} of run {run.name!r} "
                f"hold different networks: {difference}; one was copied there"
            )
        before = previous.points["final"]
        return Point(level.mask.apply(before.theta), before.buffers)
    name = "final" if part == "mask" else part
    if name not in level.points:
        steps = ", ".join(p for p in level.points if p.startswith("step-")) or "none"
        raise UsageError(
            f"{run.name}@{level.number} keeps no {part}; snapshots of this run: {steps} "
            "(train with --snapshots)"
        )
    return level.points[name]


def _origin(run: Run, level: Level, part: str) -> Point:
    """A point that a level began from; raises `UsageError` if an imported one is unknown."""
    kept = "rewind" if part == "ticket" and part not in level.origins else part
    if kept not in level.origins:
        known = ", ".join(sorted(level.origins)) or "nothing"
        raise UsageError(
            f"{run.name}@{level.number} was imported and its {part} is unknown; of where it began "
            f"the store knows {known}"
        )
    point = run.point(level.origins[kept])
    if point.theta.shape != (level.mask.spec.size,):
        raise DamagedFile(
            f"{run.name}@{level.number} begins from a point of {point.theta.size} weights, but has "
            f"{level.mask.spec.size}; it was not written by landscape"
        )
    return point


def file_checkpoint(path: Path, *, limit: int = SIZE_LIMIT) -> Checkpoint:
    """The final weights in a level file outside a store, or the weights of a ticket.

    Raises as `read_level`.
    """
    try:
        level = read_level(path, limit=limit)
    except OtherFormat as error:
        if error.found != layout.TICKET_FORMAT:
            raise
        from landscape.data_store.ticket_file import read_ticket

        return read_ticket(path, limit=limit)[0]
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
