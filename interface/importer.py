"""Importer: foreign checkpoints, tickets and level files as a run of the store."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from landscape.arrivals import Arrival, Reader
from landscape.data_store import layout
from landscape.data_store.address import check_run_name
from landscape.data_store.errors import LandscapeError, UsageError
from landscape.data_store.files import SIZE_LIMIT
from landscape.data_store.level_file import level_image
from landscape.data_store.lock import holding
from landscape.data_store.params import array_digest
from landscape.data_store.store import Run, Store
from landscape.data_store.version import own_version
from landscape.subject import Context, Subject

MOST_LEVELS = 9999


@dataclass(frozen=True, eq=False)
class Collected:
    """Levels that were read, fitted and numbered, and the manifest of their run."""

    arrivals: tuple[Arrival, ...]
    description: Mapping[str, Any]


def import_run(
    store: Store,
    name: str,
    paths: Sequence[Path],
    *,
    task: str | None = None,
    model: str | None = None,
    data: Path | None = None,
    by_order: bool = False,
) -> Run:
    """Foreign files as the levels of a run, in the order given; see `collect` and `keep`."""
    check_run_name(name)
    found = collect(
        paths, task=task, model=model, data=data, by_order=by_order, size_limit=store.size_limit
    )
    return keep(store, name, found)[0]


def collect(
    paths: Sequence[Path],
    *,
    task: str | None = None,
    model: str | None = None,
    data: Path | None = None,
    by_order: bool = False,
    size_limit: int = SIZE_LIMIT,
) -> Collected:
    """Read and check everything that is to become a run; nothing is written.

    Parameters
    ----------
    paths
        State dicts (``.pt``, ``.pth``, ``.safetensors``), level files and tickets (``.h5``),
        and folders of open_lth, whose levels follow each other.
    task, model
        Needed for state dicts; what tickets and runs state otherwise. Only these run code.
    data
        Folder of data sets.
    by_order
        Match tensors of other names by position.
    size_limit
        Largest file in bytes.

    Raises `UsageError` and `LandscapeError` for files that cannot be read, do not fit the
    network, or are of different networks, tasks or models.
    """
    subject = Subject(Context(None, task, model, data), needs_network=True)
    reader = Reader(subject, by_order=by_order, size_limit=size_limit)
    arrivals = tuple(arrival for path in paths for arrival in reader.arrivals(path))
    if not arrivals:
        raise UsageError("there is nothing to import; give at least one file or folder")
    if len(arrivals) > MOST_LEVELS:
        raise UsageError(f"a run holds up to {MOST_LEVELS} levels, not {len(arrivals)}")
    first = arrivals[0].level.mask
    for arrival in arrivals[1:]:
        difference = first.spec.mismatch(arrival.level.mask.spec)
        if difference:
            raise LandscapeError(
                f"{arrivals[0].source} and {arrival.source} hold different networks: {difference}"
            )
    numbered = tuple(
        replace(a, level=replace(a.level, number=i, origins=_digests(a)))
        for i, a in enumerate(arrivals)
    )
    return Collected(numbered, _describe(numbered, subject))


def _digests(arrival: Arrival) -> dict[str, str]:
    """Digests of the points a level began from."""
    spec = arrival.level.mask.spec
    return {part: point.digest(spec) for part, point in arrival.origins.items()}


def _describe(arrivals: Sequence[Arrival], subject: Subject) -> dict[str, Any]:
    """The manifest of an imported run: what its files or the options say of task and model."""
    given = {"task": subject.context.task, "model": subject.context.model}
    config = {what: given[what] or _agreed(arrivals, what) for what in ("task", "model")}
    if given["task"] is None:
        data = _agreed(arrivals, "data")
        held_out = _agreed(arrivals, "validation_size")
        config |= {} if held_out is None else {"validation_size": held_out}
        few = _agreed(arrivals, "max_examples")
        config |= {} if few is None else {"max_examples": few}
    else:
        examples = {name: len(split) for name, split in subject.task.splits.items()}
        data = {"digest": subject.task.digest, "examples": examples}
    sources = [file for arrival in arrivals for file in arrival.files]
    return {
        "config": {**config, "levels": len(arrivals)},
        "spec": arrivals[0].level.mask.spec.to_json(),
        "data": data or {"digest": None, "examples": {}},
        "imported": {
            "sources": [{"name": name, "sha256": digest} for name, digest in sources],
            "levels": [_content(arrival) for arrival in arrivals],
        },
        "provenance": {
            "landscape": own_version(),
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
        },
    }


def _agreed(arrivals: Sequence[Arrival], what: str) -> Any:
    """What the files state of their run, None if none does; raises if they contradict."""
    stated = {json.dumps(a.record[what]): a.source for a in arrivals if what in a.record}
    if len(stated) > 1:
        (mine, one), (theirs, other), *_ = stated.items()
        raise LandscapeError(
            f"{one} says that its {what} is {mine}, and {other} {theirs}; give --task and --model "
            "to say which is meant"
        )
    return json.loads(next(iter(stated), "null"))


def _content(arrival: Arrival) -> str:
    """Digest of all that a level's file will hold."""
    level, spec = arrival.level, arrival.level.mask.spec
    points = {name: point.digest(spec) for name, point in level.points.items()}
    header = [points, level.mask.prunable, level.origins, level.status, repr(level.metrics)]
    text = json.dumps(header, sort_keys=True)
    return array_digest(spec.digest, text, level.mask.packed(), level.trace.values)


def keep(store: Store, name: str, found: Collected) -> tuple[Run, bool]:
    """Store what was collected as a run; whether anything had to be written.

    The manifest goes first and states the content of every level, so a killed import is gone on
    with by repeating it, which stores just the levels that are missing.

    Raises `LandscapeError` if another process writes the run, or it is there with other content.
    """
    check_run_name(name)
    run = Run(store.root, name, store.size_limit)
    with holding(run):
        if run.exists:
            _require_same(run, found)
        elif run.levels:
            raise LandscapeError(
                f"{layout.run_folder(store.root, name)} holds levels without their run.json; "
                "restore it, or import under another --name"
            )
        else:
            store.create(name, found.description)
        missing = [a for a in found.arrivals if a.level.number not in run.levels]
        for arrival in missing:
            _store_level(run, arrival)
    return run, bool(missing)


def _store_level(run: Run, arrival: Arrival) -> None:
    """Store the points a level began from, then the level."""
    level, spec = arrival.level, arrival.level.mask.spec
    for part, digest in level.origins.items():
        run.save_point(digest, spec, arrival.origins[part])
    run.save_level(level.number, level_image(replace(level, run=run.identity)))


def _require_same(run: Run, found: Collected) -> None:
    """Raise unless a run of this name was imported from the same content."""
    old, new = run.description, found.description
    if "imported" not in old:
        raise LandscapeError(
            f"run {run.name!r} was trained, not imported; import under another --name"
        )
    if old["imported"]["levels"] != new["imported"]["levels"]:
        raise LandscapeError(
            f"run {run.name!r} was imported from other weights; import these under another --name"
        )
    for what in ("task", "model"):
        if old["config"][what] != new["config"][what]:
            raise LandscapeError(
                f"run {run.name!r} was imported with {what} {old['config'][what]!r}, not "
                f"{new['config'][what]!r}; import under another --name"
            )


def default_name(path: Path) -> str:
    """A run's name made of a file's or folder's; raises `UsageError` if nothing remains of it."""
    name = re.sub(r"[^a-z0-9._-]+", "-", path.resolve().stem.lower()).lstrip("._-")[:64]
    try:
        return check_run_name(name)
    except UsageError:
        raise UsageError(f"{path} gives no name for a run; give --name") from None
