"""Inventory: what there is of some runs, and what could not be read."""

from __future__ import annotations

import doctest
import shutil
from pathlib import Path

import pytest

from landscape import inventory as module
from landscape.data_store.errors import UsageError
from landscape.data_store.store import Store, open_store
from landscape.inventory import more, taken, told_apart
from tests.support.reported import keep


@pytest.fixture
def store(small_store: Store, tmp_path: Path) -> Store:
    """A copy of the small store with a result about each run."""
    root = tmp_path / "store"
    shutil.copytree(small_store.root, root)
    shutil.rmtree(root / "results", ignore_errors=True)
    for run in ("imp", "random"):
        keep(root, "barrier", [f"{run}@0", f"{run}@1"])
    return Store(root)


def test_everything_unless_runs_are_named(store: Store) -> None:
    found = taken(store, None)
    assert list(found.runs) == ["imp", "random"]
    assert len(found.rows) == 2
    assert found.levels == {"imp": [0, 1, 2], "random": [0, 1, 2]}
    assert found.faults == []
    assert found.listed["imp"]["levels"] == 3


def test_only_what_is_about_the_runs_named(store: Store) -> None:
    found = taken(store, ["imp", "imp"])
    assert list(found.runs) == ["imp"]
    assert [row["run"] for row in found.rows] == ["imp"]
    assert "random" in found.described


def test_a_run_that_is_not_there_is_refused(store: Store) -> None:
    with pytest.raises(UsageError, match="unknown run 'nobody'"):
        taken(store, ["nobody"])


def test_a_damaged_run_is_left_out_and_named(store: Store) -> None:
    path = store.root / "runs" / "random" / "run.json"
    path.write_bytes(path.read_bytes()[:-40])
    found = taken(store, None)
    assert list(found.runs) == ["imp"]
    assert any("run.json" in fault for fault in found.faults)


def test_an_empty_store(tmp_path: Path) -> None:
    found = taken(open_store(tmp_path / "empty"), None)
    assert (dict(found.runs), found.rows, found.faults) == ({}, [], [])


def test_strategies_in_words(store: Store) -> None:
    found = taken(store, None)
    assert (found.strategy("imp"), found.strategy("random")) == ("magnitude", "random")
    assert found.strategy("nobody") == ""
    assert found.words("imp", "magnitude") == "magnitude"
    found.described["imp"]["config"]["densities"] = "multishot"
    assert found.words("imp", "magnitude") == "magnitude, multishot"


def test_words_that_all_share_tell_nothing_apart() -> None:
    assert told_apart([]) == []
    assert told_apart(["imp"]) == ["imp"]
    assert told_apart(["a, x", "a, y"]) == ["a, x", "a, y"]


def test_what_is_left_out_is_counted() -> None:
    assert more(0) == []
    assert more(3) == ["# and 3 more"]


def test_examples_in_docstrings_run() -> None:
    outcome = doctest.testmod(module)
    assert outcome.attempted > 0
    assert outcome.failed == 0
