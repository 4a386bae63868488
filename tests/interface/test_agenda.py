"""The agenda of a sweep: every step, each after the one it needs, and questions that fit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import landscape
from landscape.agenda import Agenda, agenda
from landscape.data_store.errors import UsageError
from landscape.data_store.truth import planted_density
from landscape.experiment import Ask, Experiment, Offshoot, Variant
from landscape.planning import plan, plantings
from landscape.steps import Place, carry_out
from tests.support.sweeps import BLOBS, DIGITS, GRID, SEEK, TINY


def test_every_analysis_is_asked_about_every_run() -> None:
    whole = agenda(DIGITS)
    assert [run.name for run in whole.runs] == [run.name for run in plan(DIGITS)]
    assert [question.name for question in whole.questions] == [
        f"{run.name} {ask}" for run in whole.runs for ask in ("overlap", "line")
    ]
    assert (whole.plantings, len(whole.runs), len(whole.questions)) == ((), 8, 16)
    overlap, line = whole.questions[:2]
    first = whole.runs[0].name
    assert overlap.points == (first,)
    assert line.points == (f"{first}@0", f"{first}@last")
    assert overlap.parent == line.parent == (first, 1)


@pytest.mark.parametrize(
    "experiment",
    [
        DIGITS,
        SEEK,
        Experiment(
            "a",
            TINY,
            (Variant("v", {"criterion": "random"}),),
            (Offshoot("b", "each", None, {}), Offshoot("c", 1, "v", {})),
            asks=(Ask("overlap", "overlap"),) * 0,
        ),
    ],
    ids=["grid", "planted", "branches"],
)
def test_every_step_comes_after_the_one_it_needs(experiment: Experiment) -> None:
    steps = agenda(experiment).steps
    places = {step.name: place for place, step in enumerate(steps)}
    assert len(places) == len(steps)
    parents = [(step.name, step.parent[0]) for step in steps if step.parent]
    assert parents
    assert all(places[parent] < places[name] for name, parent in parents)


def test_planted_networks_come_first() -> None:
    whole = agenda(SEEK)
    assert whole.plantings == tuple(plantings(SEEK))
    assert (len(whole.runs), len(whole.questions)) == (8, 8)
    assert whole.steps == (*whole.plantings, *whole.runs, *whole.questions)
    assert Agenda((), (), ()).steps == ()


def test_a_planted_density_is_known_once_it_is_planted(tmp_path: Path) -> None:
    store = landscape.open(tmp_path / "s")
    before = agenda(SEEK, store)
    (planting,) = before.plantings
    carry_out(planting, Place(store, threads=1))
    density = planted_density(store[planting.name], True)
    planted = [run for run in agenda(SEEK, store).runs if run.place["density"] == "planted"]
    assert {run.config.density for run in planted} == {density}
    names = {run.name for run in planted}
    assert density not in {run.config.density for run in before.runs if run.name in names}


def test_questions_name_the_code_that_made_their_run(tmp_path: Path) -> None:
    (tmp_path / "my_task.py").write_text(BLOBS)
    code = f"{tmp_path / 'my_task.py'}:blobs"
    settings = {**TINY, "task": code, "model": "mlp:3-4-2", "batch_size": 4}
    (question,) = agenda(replace(GRID, settings=settings, grid={"lr": (0.1,)})).questions
    assert (question.task, question.model) == (code, None)
    assert {(q.task, q.model) for q in agenda(GRID).questions} == {(None, None)}


def test_runs_with_too_few_levels_are_not_asked_about() -> None:
    branches = (Offshoot("short", "each", None, {"levels": 1}),)
    asks = (Ask("overlap", "overlap"), Ask("line", "barrier", {}, (0, "last")))
    whole = agenda(Experiment("a", TINY, (), branches, asks=asks))
    assert [run.name for run in whole.runs] == ["a", "a-short-0", "a-short-1"]
    assert [question.name for question in whole.questions] == [
        "a overlap", "a line", "a-short-0 line", "a-short-1 line"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("ask", "sentence"),
    [
        (
            Ask("overlap", "overlap", {}, ("last",)),
            r"'overlap' needs at least 2 checkpoints of a run, but no run will have so many; say",
        ),
        (
            Ask("end", "overlap", {}, (0, 2)),
            r"analysis 'end' is asked at level 2, but a-random has levels 0 to 1",
        ),
    ],
)
def test_a_question_about_too_few_levels(ask: Ask, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        agenda(Experiment("a", TINY, grid={"criterion": ("random",)}, asks=(ask,)))
