"""Inventory: what a store has of some runs, before anything is made of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from landscape.data_store.catalog import Catalog
from landscape.data_store.curves import strategy
from landscape.data_store.errors import LandscapeError
from landscape.data_store.store import Run
from landscape.stored import Row, about

if TYPE_CHECKING:
    from landscape.data_store.store import Store

MOST_COMMANDS = 30


@dataclass(frozen=True, eq=False)
class Inventory:
    """What there is to report.

    Parameters
    ----------
    store
        The store.
    runs
        The runs of the report, by name.
    described
        Manifests of all readable runs of the store, by name.
    rows
        Rows of the catalogue of the results.
    listed
        Rows of the catalogue of the runs.
    levels
        Finished levels of all readable runs of the store, by name.
    faults
        Sentences about files that could not be read.
    """

    store: Store
    runs: Mapping[str, Run]
    described: Mapping[str, dict[str, Any]]
    rows: Sequence[Row]
    listed: Mapping[str, Row]
    levels: Mapping[str, Sequence[int]]
    faults: Sequence[str]

    def strategy(self, run: str) -> str:
        """How a run is pruned and trained again, in words; empty if it is not known."""
        found = self.described.get(run)
        if found is None or "imported" in found:
            return "imported" if found else ""
        if "planted" in found:
            return "planted"
        return strategy(found["config"], found.get("branch", {}))

    def words(self, run: str, strategy: str) -> str:
        """A strategy with the schedule of a run, where that is not by rates."""
        schedule = self.described.get(run, {}).get("config", {}).get("densities")
        return f"{strategy}, {schedule}" if schedule not in (None, "rate") else strategy


def taken(store: Store, runs: Sequence[str] | None) -> Inventory:
    """Look through a store."""
    described: dict[str, dict[str, Any]] = {}
    unreadable = []
    every = {name: Run(store.root, name, store.size_limit) for name in store}
    for name, run in every.items():
        try:
            described[name] = run.description
        except LandscapeError as error:
            unreadable.append(str(error))
    chosen = list(described) if runs is None else [store[name].name for name in runs]
    catalog = Catalog(store.root, store.size_limit)
    rows, faults = catalog.listing("results")
    listed = {row["run"]: row for row in catalog.rows("runs")}
    if runs is not None:
        rows = about(rows, set(chosen))
    known = {name: every[name] for name in dict.fromkeys(chosen) if name in described}
    levels = {name: every[name].levels for name in described}
    found = list(dict.fromkeys([*unreadable, *faults]))
    return Inventory(store, known, described, rows, listed, levels, found)


def told_apart(names: Sequence[str]) -> list[str]:
    """Names made of words with commas, without those words after the first that all have.

    >>> told_apart(["snip, dense, multishot", "random, dense, multishot", "snip, dense"])
    ['snip, multishot', 'random, multishot', 'snip']
    """
    lists = [name.split(", ") for name in names]
    common = set(lists[0][1:]).intersection(*(words[1:] for words in lists)) if lists else set()
    return [", ".join([w[0], *(word for word in w[1:] if word not in common)]) for w in lists]


def more(count: int) -> list[str]:
    """A line that says how many commands were left out."""
    return [f"# and {count} more"] if count > 0 else []


def text(value: object) -> str:
    """A setting as text.

    >>> text(None), text(True), text([1, 2])
    ('–', 'yes', '1, 2')
    """
    if value is None or value in ([], ()):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
