"""The values of an experiment: they travel to other processes as they are, and stay as they are."""

from __future__ import annotations

import dataclasses
import pickle
from typing import Any

import pytest

from landscape.data_store.records import RunConfig
from landscape.experiment import (
    Ask,
    Experiment,
    Offshoot,
    Planned,
    Plant,
    Planting,
    Question,
    Variant,
)

ASK = Ask("end", "overlap", {"planted": True}, ("last",))
VALUES = [
    Variant("v", {"levels": 2}),
    Offshoot("b", "each", None, {"retrain": "reinit"}),
    Plant("circle", "circle", {"width": 50}),
    ASK,
    Planting("a-s0-circle", "circle", "circle", {"width": 50, "seed": 0}),
    Planned("a", RunConfig(), {"density": "planted"}, ("p", 0), {"plant": "circle"}),
    Question("a end", ASK, ("a@last",), ("a", 0), task="my.py:task"),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_a_step_is_the_same_in_another_process(value: Any) -> None:
    assert pickle.loads(pickle.dumps(value)) == value


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_nothing_of_a_plan_is_changed_later(value: Any) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        value.name = "other"


def test_an_experiment_is_one_run_unless_it_says_more() -> None:
    alone = Experiment("a")
    assert (alone.grid, alone.plants, alone.variants, alone.branches, alone.asks) == (
        {}, (), (), (), ()
    )  # fmt: skip
    assert alone.replicates is None


def test_planted_networks_begin_at_no_run() -> None:
    assert Planting("p", "circle", "circle", {}).parent is None
