"""What a figure draws is found in the store, or the sentence says what computes it."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import landscape.figure_data
from landscape.data_store.conditions import parse_condition
from landscape.data_store.errors import LandscapeError, UsageError
from landscape.data_store.results import record_of, result_id
from landscape.data_store.store import Store, open_store
from landscape.figure_data import MissingAnswer, computed, found, identifiers, making
from landscape.figures.registry import FIGURES
from landscape.study import InsightsSettings, insights
from landscape.subject import Context
from landscape.workbench import analyse

BARRIER = FIGURES.load("barrier-levels")
OVERLAP = FIGURES.load("overlap")
PLANTED = FIGURES.load("planted-overlap")
ACCURACY = FIGURES.load("lth-accuracy")
INSIGHTS = FIGURES.load("insights")


@pytest.fixture
def store(small_store: Store, tmp_path: Path) -> Store:
    """The small store without results, for one test."""
    shutil.copytree(small_store.root, tmp_path / "store")
    shutil.rmtree(tmp_path / "store" / "results", ignore_errors=True)
    return open_store(tmp_path / "store")


def nothing_computed(*_: object) -> None:
    raise AssertionError("computed")


def test_an_empty_store_names_the_command_of_each_run(store: Store) -> None:
    with pytest.raises(MissingAnswer) as caught:
        found(store, BARRIER, ["imp", "random"])
    where = f"--store {store.root}"
    assert caught.value.commands == [
        f"landscape barrier imp {where}", f"landscape barrier random {where}",
    ]  # fmt: skip
    assert str(caught.value) == (
        "the store lacks the barrier data that figure barrier-levels draws of imp, random; compute "
        f"them with 'landscape barrier imp {where}', 'landscape barrier random {where}', or give "
        "--compute"
    )
    assert not list((store.root / "results").rglob("*.nc"))


def test_what_is_there_is_not_asked_for_again(store: Store) -> None:
    analyse("overlap", ["imp"], {}, Context(store=store))
    with pytest.raises(MissingAnswer, match="draws of random; compute them with 'landscape over"):
        found(store, OVERLAP, ["imp", "random"])


def test_found_is_what_was_computed(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    ds, ids = computed(store, OVERLAP, ["imp", "random"])
    parts = [analyse("overlap", [run], {}, Context(store=store)) for run in ("imp", "random")]
    np.testing.assert_array_equal(
        ds["jaccard"], np.concatenate([part["jaccard"].values for part in parts])
    )
    records = [r for part in parts for r in record_of(part)["results"]]
    assert ids == tuple(result_id(r) for r in records)
    assert len(ids) == 4
    assert ds["criterion"].values.tolist() == ["magnitude"] * 2 + ["random"] * 2
    assert set(ds["densities"].values.tolist()) == {"rate"}
    monkeypatch.setattr(landscape.figure_data, "analyse", nothing_computed)
    for again in (found, computed):
        other, same = again(store, OVERLAP, ["imp", "random"])
        xr.testing.assert_identical(ds, other)
        assert same == ids


def test_the_command_says_the_settings_of_the_figure_and_the_data_folder(store: Store) -> None:
    assert making(PLANTED, ["a b@1", "c"], store.root, Path("d")) == (
        f"landscape overlap 'a b@1' c --planted --data d --store {store.root}"
    )
    assert making(OVERLAP, ["RUN"]) == "landscape overlap RUN"
    assert making(INSIGHTS, ["RUN"]) == "landscape insights RUN"
    assert making(ACCURACY, ["RUN"]) == "landscape train --name RUN"


def test_one_other_choice_of_settings_is_found(store: Store) -> None:
    asked = analyse("barrier", ["imp"], {"points": 5}, Context(store=store))
    ds, ids = found(store, BARRIER, ["imp"])
    np.testing.assert_array_equal(ds["loss"], asked["loss"])
    assert {result_id(r) for r in record_of(asked)["results"]} == set(ids)
    analyse("barrier", ["imp@0", "imp@1"], {"points": 7}, Context(store=store))
    assert found(store, BARRIER, ["imp"])[1] == ids  # which lacks a pair


def test_several_choices_of_settings_must_be_chosen_from(store: Store) -> None:
    for settings in ({"points": 5}, {"points": 7, "bn": "first"}):
        analyse("barrier", ["imp"], settings, Context(store=store))
    with pytest.raises(
        UsageError,
        match=r"barrier data of imp under 2 choices of settings: "
        r"bn=first points=7; bn=interpolate points=5; choose one as in --where points=7",
    ):
        found(store, BARRIER, ["imp"])
    ds, _ = found(store, BARRIER, ["imp"], where=[parse_condition("points=7")])
    assert ds.sizes["alpha"] == 7
    with pytest.raises(MissingAnswer, match=r"lacks the barrier data .* that meet --where"):
        found(store, BARRIER, ["imp"], where=[parse_condition("points=9")])
    with pytest.raises(UsageError, match="unknown field of results 'pionts'"):
        found(store, BARRIER, ["imp"], where=[parse_condition("pionts=9")])


def test_the_defaults_win_where_they_are_there(store: Store) -> None:
    for settings in ({}, {"points": 5}):
        analyse("barrier", ["imp"], settings, Context(store=store))
    assert found(store, BARRIER, ["imp"])[0].sizes["alpha"] == 25
    chosen = [parse_condition("points=5")]
    assert found(store, BARRIER, ["imp"], where=chosen)[0].sizes["alpha"] == 5


def test_addresses_are_one_question(store: Store) -> None:
    points = ["imp@0", "random@2"]
    with pytest.raises(MissingAnswer, match="'landscape overlap imp@0 random@2 --store"):
        found(store, OVERLAP, points)
    ds, _ = computed(store, OVERLAP, [*points, "imp"])
    assert ds["pair"].values.tolist() == ["imp@0 imp@1", "imp@1 imp@2", "imp@0 random@2"]


def test_addresses_of_single_checkpoints_are_a_question_each(store: Store) -> None:
    curvature = FIGURES.load("spectrum")
    asked = {"examples": 50, "probes": 2, "steps": 6, "eigenvalues": 1, "smallest": 0}
    for point in ("imp@0", "random@2"):
        analyse("curvature", [point], asked, Context(store=store))
    ds, ids = found(store, curvature, ["random@2", "imp@0"])
    assert ds["checkpoint"].values.tolist() == ["random@2", "imp@0"]
    assert len(ids) == 2
    with pytest.raises(MissingAnswer) as caught:
        found(store, curvature, ["imp@0", "imp@1"])
    assert [c.split(" --")[0] for c in caught.value.commands][-1] == "landscape curvature imp@1"


def test_training_is_read_and_says_which_runs(store: Store) -> None:
    ds, ids = found(store, ACCURACY, ["imp", "random"])
    assert ds["run"].values.tolist() == ["imp", "random"]
    assert ids == tuple(store[run].identity[:40] for run in ("imp", "random"))
    first = record_of(ds)["results"][0]
    assert (first["run"], first["task"], first["kind"]) == ("imp", "digits", "training")
    assert set(first["data"]["examples"]) == {"train", "validation", "test"}
    alone, _ = found(store, ACCURACY, ["imp"])
    assert identifiers(alone) == ids[:1]
    with pytest.raises(UsageError, match="training data are read of whole runs; 'imp@1' is a "):
        found(store, ACCURACY, ["imp@1"])


def test_insights_are_found_as_they_were_judged_last(store: Store) -> None:
    with pytest.raises(MissingAnswer, match=r"insights .* 'landscape insights imp --store"):
        found(store, INSIGHTS, ["imp"])
    quick = InsightsSettings(points=5, examples=100)
    judged = insights(["imp"], quick, Context(store=store))
    ds, (one,) = found(store, INSIGHTS, ["imp"])
    xr.testing.assert_identical(ds, judged)
    assert one == result_id(record_of(judged))
    insights(["imp"], InsightsSettings(points=7, examples=100), Context(store=store))
    with pytest.raises(UsageError, match="choose one as in --where points=5"):
        found(store, INSIGHTS, ["imp"])
    found(store, INSIGHTS, ["imp"], where=[parse_condition("points=7")])
    with pytest.raises(MissingAnswer):
        found(store, INSIGHTS, ["random"])


def test_no_run_is_refused(store: Store) -> None:
    for look in (found, computed):
        with pytest.raises(UsageError, match="no run to draw; give --run NAME"):
            look(store, ACCURACY, [])
    with pytest.raises(LandscapeError, match="this dataset carries no record"):
        identifiers(BARRIER.schema.example())


def test_the_metrics_a_figure_draws_beside_are_those_of_the_levels(store: Store) -> None:
    volume = FIGURES.load("volume-levels")
    asked = {"estimators": ("monte-carlo",), "rays": 4, "examples": 20}
    for address in ("imp@0", "imp@1.baseline", "imp@2"):
        analyse("volume", [address], asked, Context(store=store))
    ds, _ = found(store, volume, ["imp@0", "imp@1.baseline", "imp@2"])
    known = [store.checkpoint(f"imp@{k}").metrics["test_error"] for k in (0, 2)]
    np.testing.assert_array_equal(ds["test_error"].values, [known[0], np.nan, known[1]])
    assert "test_error" not in found(store, ACCURACY, ["imp"])[0].coords
