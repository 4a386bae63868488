"""Steps: each does what it says, once, and needs the run that it says."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import landscape
from landscape.data_store.errors import LandscapeError, UsageError
from landscape.data_store.store import Store
from landscape.data_store.truth import planted_density
from landscape.experiment import Ask, Planned, Planting, Question
from landscape.preparation import configure
from landscape.steps import Place, carry_out
from tests.support.runs import SMALL

PLANTING = Planting("p", "circle", "circle", {"depth": 3, "width": 20, "seed": 4})
OVERLAP = Ask("overlap", "overlap")


@pytest.fixture
def place(tmp_path: Path, small_store: Store) -> Place:
    """A store with two runs on the digits."""
    return Place(Store(Path(shutil.copytree(small_store.root, tmp_path / "s"))), threads=1)


def test_a_run_is_trained_and_heard_of(place: Place) -> None:
    settings: dict[str, Any] = {**SMALL, "levels": 1}
    heard: list[Any] = []
    carry_out(Planned("new", configure(dict(settings)), settings), place, heard.append)
    assert place.store["new"].levels == [0]
    assert place.store["new"][0].digest == place.store["imp"][0].digest
    assert [type(event).__name__ for event in heard] == ["Tick"] * 4 + ["Finished"]


def test_a_branch_begins_where_it_says(place: Place) -> None:
    settings = {"mask": "dense", "retrain": "reinit"}
    carry_out(Planned("b", place.store["imp"].config, settings, ("imp", 1)), place)
    branch = place.store["b"].description["branch"]
    assert (branch["parent"], branch["mask"]) == ("imp@1", "dense")


def test_a_network_is_planted_once(place: Place) -> None:
    carry_out(PLANTING, place)
    run = place.store["p"]
    assert run.config.seed == 4
    assert run.description["planted"]["target"] == "circle"
    before = run[0].digest
    carry_out(PLANTING, place)
    assert place.store["p"][0].digest == before


def test_the_planted_density_is_a_number_when_a_run_begins(place: Place) -> None:
    carry_out(PLANTING, place)
    settings = {"mask": "dense", "densities": "singleshot", "density": "planted", "iterations": 5}
    settings |= {"criterion": "random", "scope": "layer"}
    run = Planned("r", place.store["p"].config, settings, ("p", 0))
    carry_out(run, place)
    assert place.store["r"].config.density == planted_density(place.store["p"], True)
    none = Planned("n", run.config, {**settings, "mask": "dense"}, ("imp", 0))
    with pytest.raises(UsageError, match="nothing is planted in run 'imp'"):
        carry_out(none, place)


def test_a_question_is_answered_in_the_store(place: Place) -> None:
    carry_out(Question("q", OVERLAP, ("imp",), ("imp", 2)), place)
    alone = landscape.ask("overlap", "imp", store=place.store)
    stored = place.store.results("overlap", run="imp")
    asked = np.isin(stored["pair"].values, alone["pair"].values)  # others may have asked more
    stored = stored.isel(pair=np.flatnonzero(asked))
    xr.testing.assert_equal(stored.drop_vars("result"), alone)
    with pytest.raises(LandscapeError, match="needs at least 2 checkpoints"):
        carry_out(Question("q", OVERLAP, ("imp@0",), ("imp", 2)), place)
