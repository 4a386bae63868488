"""What a prompt and a notebook say of a store, a run and a checkpoint, whoever named them."""

from __future__ import annotations

import os
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import landscape
from landscape.data_store import layout
from landscape.data_store.catalog import Catalog
from landscape.data_store.mask import Mask
from landscape.data_store.params import ParamSpec
from landscape.data_store.records import Checkpoint
from landscape.data_store.showing import MOST, of_checkpoint, of_run, of_store
from landscape.data_store.store import Run, Store
from tests.support.results import pair, record, saved

HOSTILE = "<img src=x onerror='alert(1)'>&\"\x1b[2J\u202e\ud800\n"


class Reader(HTMLParser):
    """Tags, attributes and words of a page."""

    def __init__(self):
        super().__init__()
        self.tags, self.attributes, self.words = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.words.append(data)


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    reader.close()
    page.encode("utf-8")
    assert set(reader.tags) <= {"div", "p", "strong", "table", "thead", "tbody", "tr", "th", "td"}
    assert set(reader.attributes) <= {("style", "text-align:left")}
    return reader


def checkpoint(names=("fc1.weight", "fc2.weight"), **changes) -> Checkpoint:
    spec = ParamSpec(tuple(names), tuple((2, 3) for _ in names))
    kept = np.ones(spec.size, dtype=bool)
    kept[:4] = False
    mask = Mask(spec, tuple(names), kept)
    theta = np.zeros(spec.size, dtype=np.float32)
    return Checkpoint(spec, theta, mask, **{"address": "imp@1", **changes})


def test_a_checkpoint_is_its_address_density_and_layers():
    lines = repr(checkpoint(metrics={"test_error": 0.25, "train_loss": float("nan")})).splitlines()
    assert lines == [
        "Checkpoint imp@1",
        "  weights kept: 8 of 12 (66.67 %)",
        "  parameters: 12",
        "  test error: 0.25",
        "  status: done",
        "  layer       shape  kept",
        "  fc1.weight  2 × 3  2 of 6  33.33 %",
        "  fc2.weight  2 × 3  6 of 6  100.00 %",
    ]
    words = read(checkpoint()._repr_html_()).words
    assert {"Checkpoint imp@1", "8 of 12 (66.67 %)", "fc1.weight", "2 of 6"} <= set(words)


def test_many_layers_are_cut():
    shown = of_checkpoint(checkpoint([f"l{i}.weight" for i in range(MOST + 3)]))
    assert len(shown.rows) == MOST
    assert shown.text().endswith("  and 3 more")
    assert "and 3 more" in read(shown.html()).words


def test_a_checkpoint_that_prunes_nothing_has_no_density():
    spec = ParamSpec(("b",), ((3,),))
    bare = Checkpoint(spec, np.zeros(3, dtype=np.float32), Mask.dense(spec, ()))
    assert "weights kept: 0 of 0 (–)" in repr(bare)
    assert "Checkpoint without an address" in repr(bare)


def test_a_run_is_what_differs_from_the_defaults_and_its_levels(small_store):
    run = small_store["random"]
    lines = repr(run).splitlines()
    assert lines[:4] == [
        "Run random", f"  store: {small_store.root}", "  task: digits", "  model: mlp:64-20-10",
    ]  # fmt: skip
    settings = dict(line.strip().split(": ") for line in lines[4 : lines.index("  levels: 3 of 3")])
    changed = {"criterion", "iterations", "eval_every", "batch_size", "snapshots"}
    assert changed <= set(settings)
    assert settings["criterion"] == "random"
    assert settings["snapshots"] == "[40]"
    assert "seed" not in settings
    table = lines[lines.index("  levels: 3 of 3") + 1 :]
    assert table[0].split() == [
        "level", "weights", "kept", "early", "stop", "at", "test", "acc.", "status",
    ]  # fmt: skip
    assert [line.split()[0] for line in table[1:]] == ["0", "1", "2"]
    level = run.level(1)
    assert f"{100 * level.mask.density:.2f} %" in table[2]
    assert f"{100 * (1 - level.metrics['test_error']):.2f} %" in table[2]
    cells = {cell.strip() for cell in table[2].split("  ")} - {""}
    assert cells <= set(read(run._repr_html_()).words)


def test_a_store_is_its_runs_and_results_by_kind(tmp_path, small_store):
    lines = repr(small_store).splitlines()
    assert lines[0] == f"Store {small_store.root}"
    assert lines[1] == "  runs: 2"
    rows = [line.split() for line in lines[-2:]]
    assert [row[0] for row in rows] == ["imp", "random"]
    least = small_store["imp"].level("last")
    assert f"{100 * least.mask.density:.2f} %" in lines[-2]
    assert f"{100 * (1 - least.metrics['test_error']):.2f} %" in lines[-2]
    store = landscape.open(tmp_path / "store")
    assert repr(store).splitlines()[1:] == ["  runs: 0", "  results: none"]
    for level in range(3):
        saved(store.root, pair(), record(level=level))
    assert "  results: 3 barrier" in repr(store)
    assert "3 barrier" in read(store._repr_html_()).words


def many(folder, count: int) -> Store:
    """A store of runs that have no level yet."""
    store = landscape.open(folder)
    for i in range(count):
        description = {
            "config": {"task": "<b>", "model": "mlp", "criterion": "magnitude", "levels": 3},
            "provenance": {"created": "2026-01-01"},
        }
        store.create(f"run-{i:04d}", description)
    return store


def test_many_runs_are_cut_and_counted(tmp_path):
    store = many(tmp_path / "store", MOST + 8)
    lines = repr(store).splitlines()
    assert "  runs: 20" in lines
    assert lines[-1] == "  and 8 more"
    assert sum("run-" in line for line in lines) == MOST


def test_showing_many_runs_opens_each_file_once_and_then_the_index_alone(tmp_path, monkeypatch):
    store = many(tmp_path / "store", 50)
    opened, own = [], os.open

    def counted(path, *args, **kwargs):
        opened.append(Path(path))
        return own(path, *args, **kwargs)

    monkeypatch.setattr(os, "open", counted)  # every file of a store is read through it
    assert "  and 38 more" in repr(store)  # makes the index
    manifests = [layout.run_manifest(store.root, name) for name in store]
    runs = layout.runs(store.root)
    assert sorted(path for path in opened if runs in path.parents) == manifests
    opened.clear()
    assert "  and 38 more" in repr(store)
    assert set(opened) == {layout.index(store.root)}


def test_what_is_not_there_or_damaged_is_said_and_not_raised(tmp_path, small_store):
    assert "there is no store in this folder" in repr(Store(tmp_path / "none"))
    assert not (tmp_path / "none").exists()
    assert "the run has no manifest yet" in repr(Run(small_store.root, "none"))
    store = many(tmp_path / "store", 1)
    layout.run_manifest(store.root, "run-0000").write_text("{", encoding="utf-8")
    assert "  not readable: " in repr(Run(store.root, "run-0000"))
    assert "  runs: 0" in repr(store)
    assert "  left out: 1 unreadable; see 'landscape verify'" in repr(store)
    read(Run(store.root, "run-0000")._repr_html_())


@pytest.mark.parametrize(
    "description",
    [
        {"config": {"task": HOSTILE, "model": HOSTILE, HOSTILE: HOSTILE, "levels": HOSTILE}},
        {"config": {"task": [HOSTILE], "model": {"a": HOSTILE}, "levels": None, "lr": [1, {}]}},
        {"config": {}, "branch": {"parent": HOSTILE}},
        {"config": {}, "branch": {}},
        {"config": {}, "imported": {"sources": 5}},
        {"config": {}, "planted": {HOSTILE: 1}},
        {"config": 7},
        {"config": {"store": HOSTILE}},
    ],
    ids=["names", "types", "branch", "no-parent", "sources", "planted", "no-config", "store"],
)
def test_a_hostile_run_is_escaped(tmp_path, description):
    store = landscape.open(tmp_path / "store")
    run = store.create("run", _encodable(description))
    for thing in (run, store):
        text = repr(thing)
        text.encode("utf-8")
        assert "\x1b" not in text
        assert "\u202e" not in text
        assert "<img" not in thing._repr_html_()
        read(thing._repr_html_())


def _encodable(value):
    """The value without what no JSON file holds."""
    if isinstance(value, dict):
        return {_encodable(k): _encodable(v) for k, v in value.items()}
    return value.replace("\ud800", "") if isinstance(value, str) else value


@given(st.text(st.characters(exclude_categories=[]), max_size=300))
def test_no_name_leaves_its_cell(name):
    shown = of_checkpoint(checkpoint(("a", f"b{name}"), address=name, status=name))
    text = shown.text()
    text.encode("utf-8")
    assert len(text.splitlines()) == len(of_checkpoint(checkpoint()).text().splitlines())
    reader = read(shown.html())
    assert reader.tags == read(of_checkpoint(checkpoint()).html()).tags


def test_showing_imports_nothing_heavy(small_store):
    code = (
        "import sys; from landscape.data_store.store import open_store; "
        "s = open_store(sys.argv[1]); repr(s); repr(s['imp']); repr(s['imp'][1]); "
        "print(*({'torch', 'xarray', 'pandas', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(small_store.root)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == ""


def test_of_store_and_of_run_are_what_is_shown(small_store):
    assert of_store(small_store).text() == repr(small_store)
    assert of_run(small_store["imp"]).html() == small_store["imp"]._repr_html_()


def test_of_many_levels_the_first_and_the_last_are_shown(small_store, monkeypatch):
    one = Catalog(small_store.root).levels("imp")[0]
    rows = [{**one, "level": float(n)} for n in range(MOST + 5)]
    monkeypatch.setattr(Catalog, "levels", lambda self, run: rows)
    shown = of_run(small_store["imp"])
    assert [row[0] for row in shown.rows] == [*map(str, range(MOST - 1)), "…", str(MOST + 4)]
    assert shown.facts["levels"] == f"{MOST + 5} of 3"
