"""A clock of steps, with the time told: what is counted, what is learnt, what is left."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import landscape
from landscape.agenda import agenda
from landscape.clock import Clock
from landscape.experiment import Ask, Experiment
from landscape.steps import Report

TINY: dict[str, Any] = {
    "task": "digits",
    "model": "mlp:64-20-10",
    "levels": 2,
    "iterations": 50,
}


class Time:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def clock(tmp_path: Path, time: Time) -> Clock:
    """Of two runs of two levels of 50 iterations, and a question about each."""
    experiment = Experiment("a", TINY, grid={"lr": (0.1, 0.2)}, asks=(Ask("o", "overlap"),))
    return Clock(agenda(experiment).steps, landscape.open(tmp_path / "s"), time)


def test_at_first_nothing_is_known(clock: Clock) -> None:
    assert (clock.total, clock.done, clock.failed, clock.running) == (4, 0, 0, set())
    assert clock.left().unknown == 4
    assert str(clock) == ""


def test_a_level_says_how_long_the_others_take(clock: Clock, time: Time) -> None:
    clock.hear(Report("a-lr0.1", "started"))
    time.seconds += 10
    clock.hear(Report("a-lr0.1", "level", level=0))
    left = clock.left()  # 10 s for 50 iterations, 50 and 100 are left
    assert (left.work, left.longest, left.unknown) == (pytest.approx(30), pytest.approx(20), 2)
    assert str(clock) == "1 running; more than 30 s left"
    time.seconds += 4
    assert clock.left().work == pytest.approx(26)
    time.seconds += 100  # longer than it should have been: it may end at any time
    assert clock.left().work == pytest.approx(20)


def test_questions_are_learnt_from_questions(clock: Clock, time: Time) -> None:
    for name in ("a-lr0.1 o", "a-lr0.2 o"):
        clock.hear(Report(name, "started"))
    time.seconds += 3
    clock.hear(Report("a-lr0.1 o", "done"))
    assert (clock.done, clock.running) == (1, {"a-lr0.2 o"})
    left = clock.left()
    assert (left.work, left.unknown) == (0, 2)
    time.seconds -= 1
    assert clock.left().work == pytest.approx(1)


def test_what_fails_or_cannot_begin_is_counted_and_not_waited_for(clock: Clock) -> None:
    clock.hear(Report("a-lr0.1", "started"))
    clock.hear(Report("a-lr0.1", "warning", "a warning"))
    clock.hear(Report("a-lr0.1", "failed", "why"))
    clock.hear(Report("a-lr0.1 o", "skipped", "why"))
    assert (clock.done, clock.failed, clock.running) == (0, 2, set())
    assert str(clock) == "2 failed"
    assert clock.left().unknown == 2


def test_reports_of_other_steps_are_passed_over(clock: Clock) -> None:
    clock.hear(Report("somebody", "done"))
    assert clock.done == 0


def test_a_run_that_was_begun_before_is_shorter(tmp_path: Path, time: Time) -> None:
    from landscape.in_turn import in_turn
    from landscape.steps import Place

    store = landscape.open(tmp_path / "s")
    [short] = agenda(Experiment("a", {**TINY, "levels": 1, "eval_every": 10})).runs
    assert in_turn([short], Place(store), lambda _: None) == {}
    [run] = agenda(Experiment("a", {**TINY, "eval_every": 10})).runs
    clock = Clock([run], store, time)
    pace = clock.left().work / 50  # of its log, for the level that is left
    assert 0 < pace < 1
    clock.hear(Report("a", "started"))
    time.seconds += 5
    clock.hear(Report("a", "level", level=1))
    clock.hear(Report("a", "done"))
    assert (clock.left().work, clock.done) == (0, 1)
