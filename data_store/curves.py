"""Training curves: the traces of several runs as one dataset."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from landscape.data_store.errors import LandscapeError
from landscape.data_store.schemas.training import TRAINING
from landscape.data_store.transfer import transfer

if TYPE_CHECKING:
    import xarray as xr

    from landscape.data_store.records import Level
    from landscape.data_store.store import Run


def training(runs: Sequence[Run]) -> xr.Dataset:
    """The training curves of several runs as one dataset; schema ``training``.

    Branches of one run that differ only in the level they begin at are one row, at its levels,
    called by what their names share; so are those pruned to several densities at one level,
    numbered from 1 by density. Levels or steps that a row lacks are NaN,
    with status ``absent``. Coordinates say where the masks of a row were found and where they
    were trained, as `landscape.data_store.transfer.transfer` has it.

    Raises `LandscapeError` if no level is finished.
    """
    rows = rows_of(runs)
    numbers = sorted({number for row in rows for number in row.levels})
    steps = sorted(
        {s for row in rows for level in row.levels.values() for s in level.trace.column("step")}
    )
    if not numbers:
        names = ", ".join(run.name for run in runs)
        raise LandscapeError(f"no level of {names} is finished yet; train on first")
    curves = [n for n, v in TRAINING.variables.items() if v.dims == ("run", "level", "step")]
    shape = (len(rows), len(numbers), len(steps))
    arrays: dict[str, Any] = {
        name: np.full(shape if name in curves else shape[:2], np.nan) for name in TRAINING.variables
    }
    arrays["status"] = np.full(shape[:2], 2, dtype=np.int8)
    for r, row in enumerate(rows):
        for number, level in row.levels.items():
            where = (r, numbers.index(number))
            at = np.searchsorted(steps, level.trace.column("step"))
            for name in curves:
                arrays[name][where][at] = level.trace.column(name)
            for name, value in _level_numbers(level).items():
                arrays[name][where] = value
    coords = {
        "run": [row.name for row in rows],
        "level": numbers,
        "step": steps,
        "criterion": [row.config.get("criterion", "") for row in rows],
        "strategy": [row.strategy for row in rows],
        "seed": [row.config.get("seed", np.nan) for row in rows],
        **{name: [row.config.get(name, "") for row in rows] for name in ("model", "scope")},
    }
    transfers = [transfer(row.run) for row in rows]
    coords |= {name: [said[name] for said in transfers] for name in transfers[0]}
    return TRAINING.build(coords, arrays)


@dataclass(frozen=True, eq=False)
class Row:
    """A run, or the branches of one kind from the levels of one run.

    Parameters
    ----------
    name
        The run's name, or what the names of the branches share.
    run
        The run, or the first of the branches.
    config
        Its settings.
    strategy
        How it is pruned and trained again, in words.
    levels
        The finished levels by number.
    """

    name: str
    run: Run
    config: dict[str, Any]
    strategy: str
    levels: dict[int, Level]


def rows_of(runs: Sequence[Run]) -> list[Row]:
    """The runs, those branches together that differ only in the level they begin at."""
    families: dict[str, list[tuple[Run, dict[str, Any]]]] = {}
    for run in runs:
        families.setdefault(_family(run), []).append((run, run.description))
    rows = []
    for family in families.values():
        run, record = family[0]
        config, branch = record["config"], record.get("branch", {})
        levels = _levels([member for member, _ in family], [own for _, own in family])
        name = _shared_name([member.name for member, _ in family])
        rows.append(Row(name, run, config, strategy(config, branch), levels))
    return rows


def _shared_name(names: list[str]) -> str:
    """What several names begin with, without the number that tells them apart."""
    if len(names) == 1:
        return names[0]
    length = 0
    while len({name[: length + 1] for name in names}) == 1 and length < len(names[0]):
        length += 1
    return names[0][:length].rstrip("-_.0123456789") or names[0]


def _levels(family: list[Run], records: list[dict[str, Any]]) -> dict[int, Level]:
    """The levels of one row: a run's own; of branches their parent's, or by falling density."""
    if len(family) == 1:
        return {number: family[0].level(number) for number in family[0].unbroken_levels}
    finished = [(r, run.level(0)) for r, run in zip(records, family, strict=True) if run.levels]
    begins = [_begins_at(record) for record, _ in finished]
    if len(set(begins)) < len(begins):
        found = sorted((level for _, level in finished), key=lambda lv: -lv.mask.density)
        return dict(enumerate(found, start=1))
    return {number: level for number, (_, level) in zip(begins, finished, strict=True)}


def _family(run: Run) -> str:
    """What branches of one level each share that belong together; a run's own name if none."""
    record = run.description
    if "branch" not in record or record["config"]["levels"] != 1:
        return run.name
    shared = {k: v for k, v in record["branch"].items() if k not in _OF_ONE}
    parent = str(record["branch"]["parent"]).rpartition("@")[0]
    return json.dumps([parent, record["config"], shared], sort_keys=True)


def _begins_at(record: Mapping[str, Any]) -> int:
    """The level of its parent that a branch begins at."""
    return int(str(record["branch"]["parent"]).rpartition("@")[2])


def strategy(config: Mapping[str, Any], branch: Mapping[str, Any]) -> str:
    """How a run is pruned and trained again, in words: ``magnitude``, ``magnitude, finetune``.

    Parameters
    ----------
    config, branch
        Settings of the run, and what its manifest says of where it branched off, if it did.

    >>> strategy({"criterion": "magnitude", "retrain": "reinit"}, {"mask": "preserved"})
    'magnitude, reinit'
    """
    words = [str(config.get("criterion", ""))]
    mask = branch.get("mask", "preserved")
    words += [_MASKS.get(mask, mask)] if mask != "preserved" else []
    words += [config["retrain"]] if config.get("retrain", "rewind") != "rewind" else []
    words += [f"noise {config['init_noise']:g}"] if config.get("init_noise") else []
    words += [f"on {config['task']}"] if branch.get("transfer") else []
    return ", ".join(words)


_OF_ONE = ("parent", "digest", "mask_density")  # what branches that are one row may differ in
_MASKS = {"pruned": "one-shot", "permuted": "random ticket", "permuted-layers": "random by layer"}


def _level_numbers(level: Level) -> dict[str, float]:
    """The per-level variables of a training dataset."""
    row = level.trace.early_stop_row
    column = level.trace.column
    metrics = level.metrics
    return {
        "density": level.mask.density,
        "early_stop_step": np.nan if row is None else column("step")[row],
        "early_stop_test_error": np.nan if row is None else column("test_error")[row],
        "final_train_loss": metrics.get("train_loss", np.nan),
        "final_train_error": metrics.get("train_error", np.nan),
        "final_test_loss": metrics.get("test_loss", np.nan),
        "final_test_error": metrics.get("test_error", np.nan),
        "status": 1 if level.status == "diverged" else 0,
    }
