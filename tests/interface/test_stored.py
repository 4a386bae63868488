"""Stored results for a report: grouped by how they were asked, read, and asked again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from landscape.data_store.catalog import Catalog
from landscape.data_store.store import Store, open_store
from landscape.stored import about, alike, missing
from tests.support.reported import keep


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path / "store")


def rows(store: Store) -> list[dict[str, Any]]:
    return Catalog(store.root).rows("results")


def test_results_are_grouped_by_how_they_were_asked(store: Store) -> None:
    for level in range(2):
        keep(store.root, "barrier", [f"imp@{level}", f"imp@{level + 1}"], points=5)
    keep(store.root, "barrier", ["imp@0", "imp@1"], points=7)
    keep(store.root, "barrier", ["far@0", "far@1"], task="mnist", points=5)
    keep(store.root, "overlap", ["imp@0", "imp@1"])
    groups = alike(rows(store))
    assert [(g.kind, g.task, g.settings.get("points"), len(g.rows)) for g in groups] == [
        ("barrier", "digits", 5, 2), ("barrier", "digits", 7, 1), ("barrier", "mnist", 5, 1),
        ("overlap", "digits", None, 1),
    ]  # fmt: skip


def test_a_dataset_has_ids_and_names_of_lines(store: Store) -> None:
    path = keep(store.root, "barrier", ["imp@0", "new@1"])
    (group,) = alike(rows(store))
    ds, faults = group.dataset(store, str.upper)
    assert ds is not None
    assert faults == []
    assert ds["line"].values.tolist() == ["NEW"]
    assert ds["result"].values.tolist() == [path.stem[:10]]
    assert float(ds["density_b"][0]) == 0.8


def test_pairs_of_one_run_come_before_those_of_two(store: Store) -> None:
    for pair in (["imp@0", "again@0"], ["imp@1", "imp@2"], ["imp@0", "imp@1"], ["a@0", "imp@0"]):
        keep(store.root, "barrier", pair)
    (group,) = alike(rows(store))
    assert [row["inputs"] for row in group.rows] == [
        "imp@0 imp@1", "imp@1 imp@2", "a@0 imp@0", "imp@0 again@0",
    ]  # fmt: skip


def test_a_damaged_file_is_left_out_and_named(store: Store) -> None:
    good = keep(store.root, "barrier", ["imp@0", "imp@1"])
    bad = keep(store.root, "barrier", ["imp@1", "imp@2"])
    (group,) = alike(rows(store))
    content = bytearray(bad.read_bytes())
    content[len(content) // 3] ^= 1
    bad.write_bytes(content)
    ds, faults = group.dataset(store, str)
    assert ds is not None
    assert ds["result"].values.tolist() == [good.stem[:10]]
    assert len(faults) == 1
    assert bad.name in faults[0]
    good.unlink()
    ds, faults = group.dataset(store, str)
    assert ds is None
    assert len(faults) == 2


def test_results_that_cannot_be_joined_are_said(store: Store) -> None:
    from tests.support.reported import answer

    keep(store.root, "barrier", ["imp@0", "imp@1"])
    turned = answer("barrier", ["imp@1", "imp@2"])
    turned["distance"].attrs["units"] = "1"
    twice = turned.isel(alpha=[0, 0, 1, 2, 3])
    keep(store.root, "barrier", ["imp@1", "imp@2"], ds=twice)
    (group,) = alike(rows(store))
    ds, faults = group.dataset(store, str)
    assert ds is None
    assert "barrier results that cannot be joined" in faults[0]
    assert "a label twice" in faults[0]


def test_a_run_alone_stands_for_all_its_questions(store: Store) -> None:
    levels = {"imp": [0, 1, 2], "new": [0]}
    for pair in (["imp@0", "imp@1"], ["imp@1", "imp@2"], ["imp@0", "new@0"]):
        keep(store.root, "barrier", pair, points=5)
    (group,) = alike(rows(store))
    assert group.commands(levels) == [
        "landscape barrier imp --points 5", "landscape barrier imp@0 new@0 --points 5",
    ]  # fmt: skip
    assert group.commands({**levels, "imp": [0, 1, 2, 3]}) == [
        "landscape barrier imp@0 imp@1 --points 5", "landscape barrier imp@1 imp@2 --points 5",
        "landscape barrier imp@0 new@0 --points 5",
    ]  # fmt: skip
    keep(store.root, "barrier", ["imp@0", "imp@2"], points=5)
    (group,) = alike(rows(store))
    assert group.commands(levels)[0] == "landscape barrier imp --points 5 --pairs all"


def test_files_of_other_programs_need_their_task_and_model(store: Store) -> None:
    keep(store.root, "barrier", ["a.pt", "b.pt"])
    (group,) = alike(rows(store))
    assert group.commands({}) == ["landscape barrier a.pt b.pt --task digits --model mlp:64-20-10"]


def test_results_about_a_run_are_those_it_has_a_checkpoint_in(store: Store) -> None:
    keep(store.root, "barrier", ["imp@0", "new@1"])
    keep(store.root, "barrier", ["other@0", "other@1"])
    keep(store.root, "volume", ["imp@2"])
    assert len(about(rows(store), {"new"})) == 1
    assert len(about(rows(store), {"imp"})) == 2
    assert about(rows(store), {"im"}) == []


def test_missing_counts_what_is_there_with_any_settings(store: Store) -> None:
    keep(store.root, "barrier", ["imp@0", "imp@1"], points=5)
    groups = alike(rows(store))
    levels = {"imp": [0, 1, 2], "none": [0, 1], "short": [0]}
    assert missing("barrier", groups, levels) == [("imp", 1, 2), ("none", 0, 1)]
    keep(store.root, "barrier", ["imp@1", "imp@2"], points=7)
    assert missing("barrier", alike(rows(store)), {"imp": [0, 1, 2]}) == []
    assert np.array(missing("volume", [], {"imp": [0, 1]})).tolist() == [["imp", "0", "2"]]
