"""The sections about runs: what they are, their settings, how good their levels are."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from landscape.data_store.store import Store, open_store
from landscape.inventory import taken
from landscape.run_sections import runs, trained


@pytest.fixture
def store(small_store: Store, tmp_path: Path) -> Store:
    """A copy of the small store without results."""
    root = tmp_path / "store"
    shutil.copytree(small_store.root, root)
    shutil.rmtree(root / "results", ignore_errors=True)
    return Store(root)


def table(chart) -> list[dict]:
    names = [column.name for column in chart.numbers.columns]
    return [dict(zip(names, row, strict=True)) for row in chart.numbers.rows]


def test_runs_have_a_row_each(store: Store) -> None:
    section = runs(taken(store, None))
    rows = table(section.charts[0])
    assert [row["run"] for row in rows] == ["imp", "random"]
    error = store["imp"].level(2).metrics["test_error"]
    assert rows[0]["test_accuracy"] == pytest.approx(1 - error, abs=0)
    assert rows[0]["density"] == store["imp"].level(2).mask.density
    assert (rows[0]["levels"], rows[0]["asked"], rows[0]["status"]) == (3, 3, "done")
    lines = [command.line for command in section.charts[0].commands]
    assert lines[0].startswith("landscape train --name imp --task digits")


def test_settings_are_told_apart(store: Store) -> None:
    _, shared, varied = runs(taken(store, None)).charts
    assert table(varied) == [
        {"run": "imp", "criterion": "magnitude"}, {"run": "random", "criterion": "random"},
    ]  # fmt: skip
    same = {row["setting"]: row["value"] for row in table(shared)}
    assert same["task"] == "digits"
    assert same["snapshots"] == "40"
    assert same["density"] == "–"
    assert "criterion" not in same
    assert shared.is_folded


def test_one_run_has_no_settings_that_differ(store: Store) -> None:
    _, shared = runs(taken(store, ["imp"])).charts
    assert shared.title == "Settings"


def test_a_store_without_runs_says_how_to_train_one(tmp_path: Path) -> None:
    found = taken(open_store(tmp_path / "empty"), None)
    section = runs(found)
    assert section.says == "No run is stored."
    assert section.missing[0].line.startswith("landscape train")
    assert trained(found).says == "No level is finished yet."


def test_accuracies_are_those_of_the_levels(store: Store) -> None:
    (chart,) = trained(taken(store, None)).charts
    assert chart.title == "digits, mlp:64-20-10"
    for line, name in zip(chart.panels[0].lines, ("imp", "random"), strict=True):
        levels = [store[name].level(number) for number in range(3)]
        np.testing.assert_allclose(line.x, [100 * level.mask.density for level in levels])
        want = [100 * (1 - level.metrics["test_error"]) for level in levels]
        np.testing.assert_allclose(line.y, want)
    assert [c.line for c in chart.commands] == [
        "landscape figure lth-accuracy --run imp --run random"
    ]


def test_a_damaged_level_leaves_the_other_run(store: Store) -> None:
    path = store.root / "runs" / "imp" / "level_0001.h5"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    section = trained(taken(store, None))
    assert [line.name for line in section.charts[0].panels[0].lines] == ["random"]
    assert any("level_0001.h5" in fault for fault in section.faults)


def test_a_run_without_levels_is_no_fault(store: Store) -> None:
    for path in (store.root / "runs" / "imp").glob("level_*.h5"):
        path.unlink()
    found = taken(store, ["imp"])
    section = trained(found)
    assert (section.charts, section.faults) == ([], [])
    assert table(runs(found).charts[0])[0]["status"] == "unfinished"
