"""What of a sweep is done: as it is stated, whole, and readable; all else is done again."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import xarray as xr

import landscape
from landscape.agenda import agenda
from landscape.data_store import layout
from landscape.done import is_done, undone
from landscape.experiment import Ask, Experiment, Offshoot, Plant, Variant
from landscape.in_turn import in_turn
from landscape.planning import plan, plantings
from landscape.steps import Place, carry_out
from tests.support.sweeps import TINY, copied, silent

FOREST = Experiment(
    "a",
    {**TINY, "rewind_epoch": 0},
    (Variant("v", {"criterion": "random"}),),
    (Offshoot("b", 1, "each", {"retrain": "reinit"}),),
    asks=(Ask("overlap", "overlap", {}, (0, "last.rewind")),),
)
PLANTED = Experiment(
    "p", plants=(Plant("circle", "circle", {"depth": 3, "width": 20, "max_examples": 100}),)
)


@pytest.fixture(autouse=True)
def _layers_may_be_emptied() -> Iterator[None]:
    """So small a network loses whole layers now and then, of which training warns."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A store where everything is done; not to be changed."""
    place = Place(landscape.open(tmp_path_factory.mktemp("done") / "s"), threads=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        assert in_turn([*agenda(FOREST).steps, *plantings(PLANTED)], place, silent) == {}
    return place


@pytest.fixture
def place(original: Place, tmp_path: Path) -> Place:
    """A copy of it."""
    return copied(original, tmp_path)


def names(experiment: Experiment, place: Place) -> list[str]:
    """What is left to do."""
    return [step.name for step in undone(agenda(experiment).steps, place)]


def stated(**settings: Any) -> Experiment:
    """The same experiment with other settings."""
    return replace(FOREST, settings={**FOREST.settings, **settings})


def test_nothing_is_left_and_the_answers_are_read(original: Place) -> None:
    answers: dict[str, xr.Dataset] = {}
    whole = agenda(FOREST)
    assert undone([*whole.steps, *plantings(PLANTED)], original, answers) == []
    assert list(answers) == [question.name for question in whole.questions]
    alone = landscape.ask("overlap", "a@0", "a@last.rewind", store=original.store)
    xr.testing.assert_identical(answers["a overlap"], alone)


def test_in_an_empty_store_all_is_left(tmp_path: Path) -> None:
    place = Place(landscape.open(tmp_path / "s"))
    steps = [*agenda(FOREST).steps, *plantings(PLANTED)]
    answers: dict[str, xr.Dataset] = {}
    assert undone(steps, place, answers) == steps
    assert answers == {}


def test_what_needs_a_step_that_is_left_is_left(place: Place) -> None:
    layout.level_file(place.store.root, "a-v", 1).unlink()
    assert names(FOREST, place) == ["a-v", "a-b-v", "a-v overlap", "a-b-v overlap"]
    (answer, *_) = sorted(layout.results(place.store.root).glob("overlap/*/*.nc"))
    answer.unlink()
    assert set(names(FOREST, place)) >= {"a-v", "a-b-v", "a-v overlap", "a-b-v overlap"}


def test_an_answer_that_is_gone_is_asked_again(place: Place) -> None:
    for answer in layout.results(place.store.root).glob("overlap/*/*.nc"):
        answer.unlink()
    assert names(FOREST, place) == [question.name for question in agenda(FOREST).questions]


@pytest.mark.parametrize("settings", [{"lr": 0.5}, {"rewind_epoch": 1}, {"seed": 3}])
def test_other_settings_are_another_run(settings: dict[str, Any], original: Place) -> None:
    runs = undone(agenda(stated(**settings)).runs, original)
    assert [run.name for run in runs] == ["a", "a-v", "a-b", "a-b-v"]


def test_a_run_of_more_levels_is_done_and_one_of_fewer_is_not(place: Place) -> None:
    runs = [run for run in plan(stated(levels=3)) if run.parent is None]
    assert [run.name for run in undone(runs, place)] == ["a", "a-v"]
    carry_out(runs[0], place)
    assert [run.name for run in undone(runs, place)] == ["a-v"]
    assert undone(plan(FOREST), place) == []


def test_a_rewind_point_in_epochs_is_one_in_steps(original: Place) -> None:
    (step,) = {original.store[name].config.rewind_step for name in ("a", "a-v")}
    in_steps = replace(FOREST, settings={**TINY, "rewind_step": step}, branches=(), asks=())
    assert undone(plan(in_steps), original) == []


def test_a_run_that_diverged_is_not_done(tmp_path: Path) -> None:
    place = Place(landscape.open(tmp_path / "s"))
    steps = plan(Experiment("a", {**TINY, "levels": 1, "optimizer": "sgd", "lr": 1e30}))
    assert "diverged" in in_turn(steps, place, silent)["a"]
    assert place.store["a"].levels == [0]
    assert undone(steps, place) == steps


@pytest.mark.parametrize(
    "change",
    [
        {"at": 0},
        {"settings": {"retrain": "reinit", "seed": 4}},
        {"settings": {"retrain": "finetune"}},
        {"settings": {"retrain": "reinit", "mask": "dense"}},
    ],
)
def test_a_branch_begins_where_it_is_stated_to(change: dict[str, Any], original: Place) -> None:
    moved = replace(FOREST, branches=(replace(FOREST.branches[0], **change),), asks=())
    assert names(moved, original) == ["a-b", "a-b-v"]


def test_a_branch_of_a_level_that_was_made_anew_is_not_done(place: Place) -> None:
    other = place.store.root / "runs" / "a"
    (place.store.root / "runs" / "a-v").rename(place.store.root / "runs" / "kept")
    carry_out(plan(stated(seed=7))[1], place)
    assert other.exists()
    branch = next(run for run in plan(FOREST) if run.name == "a-b-v")
    assert not is_done(branch, place)


def test_a_run_of_the_name_that_is_no_branch(place: Place) -> None:
    landscape.train(store=place.store, name="c", **TINY)
    offshoot = replace(FOREST, branches=(Offshoot("c", 1, None, {}),), asks=())
    branch = next(run for run in plan(offshoot) if run.parent)
    assert not is_done(replace(branch, name="c"), place)
    first = plan(FOREST)[0]
    assert not is_done(replace(first, name="a-b"), place)


def test_another_planted_network_of_the_name_is_not_done(original: Place) -> None:
    (plant,) = PLANTED.plants
    assert undone(plantings(PLANTED), original) == []
    for change in ({"width": 24}, {"max_examples": 50}, {"seed": 5}):
        other = replace(plant, settings={**plant.settings, **change})
        assert not is_done(plantings(replace(PLANTED, plants=(other,)))[0], original)
    assert not is_done(
        plantings(replace(PLANTED, plants=(replace(plant, target="relu"),)))[0], original
    )


def test_a_trained_run_is_no_planted_network(original: Place) -> None:
    (planting,) = plantings(PLANTED)
    assert not is_done(replace(planting, name="a"), original)
    assert not is_done(replace(planting, name="none"), original)


def test_what_cannot_be_read_is_not_done(place: Place) -> None:
    first, question = agenda(FOREST).runs[0], agenda(FOREST).questions[0]
    level = layout.level_file(place.store.root, "a", 1)
    image = level.read_bytes()
    level.write_bytes(image[:-1] + bytes([image[-1] ^ 1]))
    assert not is_done(first, place)
    level.write_bytes(image)
    assert is_done(first, place)
    (place.store.root / "runs" / "a" / "run.json").write_text("{")
    assert not is_done(first, place)
    assert not is_done(question, place)
