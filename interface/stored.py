"""Stored results, as a report reads them: those asked alike in one dataset, none computed."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from landscape.command_lines import analysis_command, questions, settings_class
from landscape.data_store.errors import LandscapeError
from landscape.data_store.join import case, cases, join
from landscape.data_store.result_file import Result, Variable
from landscape.data_store.results import read_stored

if TYPE_CHECKING:
    import xarray as xr

    from landscape.data_store.store import Store

Row = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Alike:
    """Results of one kind, version, task, network and settings.

    Parameters
    ----------
    kind, task, model, settings
        What they share.
    rows
        Their rows of the catalogue.
    """

    kind: str
    task: str
    model: str
    settings: Mapping[str, Any]
    rows: Sequence[Row]

    def dataset(
        self, store: Store, named: Callable[[str], str]
    ) -> tuple[xr.Dataset | None, list[str]]:
        """All of them as one dataset, and what is wrong with files that could not be read.

        Coordinates along what they are about: ``result``, the beginning of each id, and ``line``,
        what `named` makes of the run of its last checkpoint.
        """
        read: list[tuple[Row, Result]] = []
        faults = []
        for row in self.rows:
            try:
                path = store.root / row["path"]
                found = read_stored(path, root=store.root, limit=store.size_limit)
                case(found)
                read.append((row, found))
            except LandscapeError as error:
                faults.append(str(error))
        if not read:
            return None, faults
        try:
            return _labelled(read, named), faults
        except (LandscapeError, ValueError, TypeError) as error:
            return None, [*faults, f"{self.kind} results that cannot be joined: {error}"]

    def commands(self, levels: Mapping[str, Sequence[int]]) -> list[str]:
        """What asks for all of them again: a run where all its levels were asked about.

        Parameters
        ----------
        levels
            Finished levels by run.
        """
        left = {str(row["inputs"]): row for row in self.rows}
        whole = []
        for run in dict.fromkeys(row["run"] for row in self.rows if row["run"] in levels):
            for way in self._ways():
                settings = {**self.settings, **way}
                own = questions(self.kind, [f"{run}@{n}" for n in levels[run]], settings)
                if own and all(question in left for question in own):
                    whole.append(analysis_command(self.kind, [run], settings))
                    left = {key: row for key, row in left.items() if key not in own}
        foreign = {} if all(row["run"] for row in self.rows) else self._foreign()
        settings = {**self.settings, **foreign}
        return [*whole, *(analysis_command(self.kind, key.split(" "), settings) for key in left)]

    def _ways(self) -> list[dict[str, str]]:
        """Settings, not recorded, by which a run alone makes other questions."""
        cls = settings_class(self.kind)
        has_pairs = cls is not None and "pairs" in {field.name for field in fields(cls)}
        return [{"pairs": "all"}, {}] if has_pairs else [{}]

    def _foreign(self) -> dict[str, str]:
        """What files of other programs need to be told."""
        return {"task": self.task, "model": self.model}


def alike(rows: Sequence[Row]) -> list[Alike]:
    """Results by how they were asked, in order of kind, version, task, network and settings."""
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        key = tuple(str(row[n] or "") for n in ("kind", "version", "task", "model", "settings"))
        groups.setdefault(key, []).append(row)
    return [
        Alike(kind, task, model, json.loads(settings), sorted(found, key=_order))
        for (kind, _, task, model, settings), found in sorted(groups.items())
    ]


def about(rows: Sequence[Row], runs: Collection[str]) -> list[Row]:
    """The results that one of these runs has a checkpoint in."""
    return [
        row
        for row in rows
        if any(address.rpartition("@")[0] in runs for address in str(row["inputs"]).split(" "))
    ]


def missing(
    kind: str, found: Sequence[Alike], levels: Mapping[str, Sequence[int]], **settings: Any
) -> list[tuple[str, int, int]]:
    """Runs that an analysis with its defaults was not asked about on all levels.

    Returns name, how many of its questions are stored with any settings, and how many there are.
    """
    stored = {str(row["inputs"]) for one in found for row in one.rows}
    result = []
    for run, numbers in levels.items():
        own = questions(kind, [f"{run}@{n}" for n in numbers], settings)
        there = sum(question in stored for question in own)
        if there < len(own):
            result.append((run, there, len(own)))
    return result


def _order(row: Row) -> tuple[Any, ...]:
    """Rows by run and level, those between two runs last."""
    run, other = row["run"] or "", row["run_b"] or ""
    return run != other, run, other, row["level"] or 0, row["level_b"] or 0, row["id"]


def _labelled(read: Sequence[tuple[Row, Result]], named: Callable[[str], str]) -> xr.Dataset:
    """Results in one dataset, with their ids and the names of their lines."""
    parts = [part for _, part in read]
    along = case(parts[0])
    counts = [cases(part, along) for part in parts]
    labels = {
        "result": ("result", [str(row["id"])[:10] for row, _ in read]),
        "line": ("line of a plot", [named(_subject(row)) for row, _ in read]),
    }
    more = {
        name: Variable(
            (along,), np.repeat(values, counts), {"long_name": title, "units": "1"},
            is_coordinate=True,
        )
        for name, (title, values) in labels.items()
    }  # fmt: skip
    whole = join(parts)
    return Result(whole.record, {**whole.variables, **more}).dataset()


def _subject(row: Row) -> str:
    """The run a result is about: of its last checkpoint, or else how that is called."""
    return str(row["run_b"] or str(row["inputs"]).rpartition(" ")[2])
