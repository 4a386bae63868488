"""``landscape overlap``: plain as ever, against a planted truth, and with the network's wiring."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import landscape
from landscape.cli import run
from landscape.data_store.results import record_of, together
from landscape.data_store.store import Store
from landscape.figure_data import found
from landscape.figures.registry import FIGURES
from landscape.trainer import train

FIXTURE = Path(__file__).resolve().parent.parent / "fixtures" / "store-1.0" / "store"
PATHS = ("effective_a", "effective_density_b", "connected_a")
MATCHED = ("matched_jaccard", "matched_p_value")


@pytest.fixture(scope="module")
def planted(tmp_path_factory) -> Store:
    """A store with a planted network, a run that seeks in it, and one with nothing planted."""
    store = landscape.open(tmp_path_factory.mktemp("planted") / "store")
    called = ["--store", str(store.root), "--quiet"]
    plant = ["plant", "circle", "--depth", "5", "--width", "25", "--name", "mother"]
    seek = ["branch", "mother@0", "--mask", "dense", "--levels", "2", "--iterations", "30"]
    assert run([*plant, "--store", str(store.root)]) == 0
    assert run([*seek, "--name", "seeker", *called]) == 0
    few = {"iterations": 20, "levels": 2, "max_examples": 200}
    train(store=store, name="plain", task="digits", model="mlp:64-8-10", **few)
    return store


def test_every_level_is_compared_with_the_truth_of_its_run(planted):
    ds = landscape.overlap("seeker", store=planted, planted=True)
    pairs = ["seeker@0 seeker@0.planted", "seeker@1 seeker@1.planted"]
    assert ds["pair"].values.tolist() == pairs
    truth, found = planted.checkpoint("seeker@1.planted"), planted.checkpoint("seeker@1")
    for name in truth.mask.prunable:
        row = ds.sel(layer=name).isel(pair=1)
        own, true = found.mask.layer(name), truth.mask.layer(name)
        assert row["kept_both"] == (own & true).sum()
        assert row["false_positive"] == (own & ~true).sum()
    dense = ds.isel(pair=0).sel(layer="all")
    assert dense["recall"] == 1
    assert dense["precision"].item() == dense["expected_precision"].item()
    assert dense["effective_a"].item() > dense["effective_b"].item()
    assert (ds["effective_b"].sel(layer="all") == 108).all()
    assert (ds["connected_b"] == 1).all()
    record = record_of(ds)["results"][0]
    assert record["settings"] == {"planted": True}
    assert [c["address"] for c in record["companions"]] == ["seeker@0.planted"]


def test_a_stored_answer_is_given_again_under_its_names(planted, monkeypatch):
    first = landscape.overlap("seeker@1", store=planted, planted=True)
    monkeypatch.setattr("landscape.analysis.overlap.overlap", None)
    again = landscape.overlap("seeker@1", store=planted, planted=True)
    assert again["pair"].values.tolist() == ["seeker@1 seeker@1.planted"]
    assert again.identical(first)


def test_nothing_planted_is_one_sentence(planted, capsys):
    assert run(["overlap", "plain", "--planted", "--store", str(planted.root)]) != 0
    said = capsys.readouterr().err
    assert "--planted, but run plain has nothing planted in its network; train it with" in said
    assert "Traceback" not in said


def test_the_table_says_how_much_of_the_truth_was_found(planted, capsys):
    assert run(["overlap", "seeker", "--planted", "--store", str(planted.root)]) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split() == [
        "pair", "layer", "precision", "recall", "f1", "expected_precision", "p_value",
        "unit_recall", "effective_density_a",
    ]  # fmt: skip
    assert rows[0].startswith("seeker@0 seeker@0.planted  all")


def test_masks_alone_need_no_network_and_say_what_is_unknown(planted):
    ds = landscape.overlap("plain@0", "plain@1", store=planted)
    for name in (*PATHS, *MATCHED):
        assert np.isnan(ds[name]).all()
    record = record_of(ds)
    assert record["settings"] == {}
    assert "data" not in record
    assert "companions" not in record


def test_the_wiring_of_the_network_is_used_when_it_is_asked_for(planted):
    asked = {"effective": True, "align": "masks", "draws": 3, "seed": 1}
    ds = landscape.overlap("plain@0", "plain@1", store=planted, **asked).isel(pair=0)
    assert ds["matched_status"] == ds["effective_status"] == 0
    assert ds["effective_a"].sel(layer="all") == ds["kept_a"].sel(layer="all")
    assert (ds["effective_b"] <= ds["kept_b"]).all()
    assert ds["matched_p_value"].sel(layer="all") == 1  # all of a dense mask is shared
    assert record_of(ds)["settings"] == asked


def test_a_plain_overlap_loads_neither_torch_nor_data(planted):
    code = (
        "import sys; from landscape.cli import run; code = run(sys.argv[1:]); "
        "assert 'torch' not in sys.modules; sys.exit(code)"
    )
    names = ["plain@1", "plain@0", "--store", str(planted.root)]
    done = subprocess.run(
        [sys.executable, "-c", code, "overlap", *names], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_answers_of_the_first_version_are_found_and_joined_with_new_ones(tmp_path):
    shutil.copytree(FIXTURE, tmp_path / "store")
    store = landscape.open(tmp_path / "store")
    old = landscape.overlap("imp@2", "random@2", store=store)
    assert record_of(old)["schema_version"] == [1, 0]
    assert "units" not in old
    both = landscape.overlap("imp@1", "imp@2", store=store)
    assert record_of(both)["schema_version"] == [1, 1]
    ds = together([old, both])
    assert np.isnan(ds["units"]).all(axis=1).values.tolist() == [True, False]
    meanings = ds["matched_status"].attrs["flag_meanings"].split()
    words = [meanings[int(v)] for v in ds["matched_status"].values]
    assert words == ["absent", "not_asked_for"]


def test_the_figure_asks_for_what_it_draws(planted, tmp_path, capsys):
    arguments = ["--run", "seeker", "--store", planted.root, "--out", tmp_path, "--json"]
    arguments.append("--compute")
    assert run(["figure", "planted-overlap", *map(str, arguments)]) == 0
    files = json.loads(capsys.readouterr().out)["files"]
    assert [Path(file).name for file in files] == [
        "planted-overlap-seeker.pdf", "planted-overlap-seeker.png", "planted-overlap-seeker.txt",
    ]  # fmt: skip
    ds, _ = found(planted, FIGURES.load("planted-overlap"), ["seeker"])
    assert ds["criterion"].values.tolist() == ["magnitude"] * 2
