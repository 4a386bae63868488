"""What comes of a step: its reports, errors that are reports, and those that end it."""

from __future__ import annotations

import socket
import threading
import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import landscape
from landscape import ledger
from landscape import outcome as module
from landscape.agenda import agenda
from landscape.data_store.errors import LandscapeError
from landscape.data_store.lock import RunIsHeld, holding, is_held
from landscape.data_store.store import Run, Store
from landscape.experiment import Experiment, Planting
from landscape.ledger import claiming
from landscape.outcome import Unheard, has_parent, orphaned, outcome
from landscape.planning import plan
from landscape.steps import Place, Report, carry_out
from tests.support.sweeps import GRID, TINY, digests, silent, until


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A new store."""
    return Place(landscape.open(tmp_path / "s"), threads=1)


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look again soon."""
    for each in (ledger, module):
        monkeypatch.setattr(each, "POLL_SECONDS", 0.02)


def test_the_levels_of_a_run_are_told_as_they_are_stored(place: Place) -> None:
    heard: list[Report] = []
    step = plan(GRID)[0]
    assert outcome(step, place, heard.append) == Report(step.name, "done")
    assert [report.what for report in heard] == ["started", "level", "level"]
    for report, number in zip(heard[1:], (0, 1), strict=True):
        level = place.store[step.name].level(number)
        assert (report.level, report.status) == (number, level.status)
        assert report.density == level.mask.density
        assert report.test_error == pytest.approx(float(level.metrics["test_error"]), abs=0)


def test_warnings_are_told_and_not_given(place: Place) -> None:
    heard: list[Report] = []
    step = plan(Experiment("a", {**TINY, "pruning_fraction": 0.9999}))[0]
    with warnings.catch_warnings(record=True) as given:
        warnings.simplefilter("always")
        assert outcome(step, place, heard.append).what == "done"
    assert given == []
    told = [report.text for report in heard if report.what == "warning"]
    assert any("will prune all of" in text for text in told)


def test_a_reporter_may_warn_itself(place: Place) -> None:
    def tell(report: Report) -> None:
        if report.what == "warning":
            warnings.warn(f"{report.run}: {report.text}", UserWarning, stacklevel=1)

    step = plan(Experiment("a", {**TINY, "pruning_fraction": 0.9999}))[0]
    with warnings.catch_warnings(record=True) as given:
        warnings.simplefilter("always")
        assert outcome(step, place, tell).what == "done"
    assert any("a: level 1 will prune all of" in str(each.message) for each in given)


def test_planting_and_asking_have_a_beginning_and_an_end(place: Place) -> None:
    planting = Planting("p", "circle", "circle", {"depth": 3, "width": 20, "max_examples": 100})
    run, question = plan(GRID)[0], agenda(GRID).questions[0]
    for step in (planting, run, question):
        heard: list[Report] = []
        assert outcome(step, place, heard.append) == Report(step.name, "done")
        assert heard[0] == Report(step.name, "started")
    assert [report.what for report in heard] == ["started"]
    assert len(list(place.store.root.rglob("*.nc"))) == 1


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (LandscapeError("it is so"), "it is so"),
        (MemoryError(), "out of memory; use fewer --jobs"),
        (ZeroDivisionError("a bug"), "ZeroDivisionError: a bug"),
        (EOFError(), "EOFError: "),
    ],
)
def test_an_error_is_the_last_report(
    error: Exception, text: str, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr(module, "carry_out", fail)
    heard: list[Report] = []
    assert outcome(plan(GRID)[0], place, heard.append) == Report("a-random", "failed", text)
    assert [report.what for report in heard] == ["started"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), Unheard("a"), SystemExit(3)])
def test_what_ends_more_than_a_step(
    error: BaseException, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def end(*_: Any) -> None:
        raise error

    monkeypatch.setattr(module, "carry_out", end)
    with pytest.raises(type(error)):
        outcome(plan(GRID)[0], place, silent)


def test_heed_is_called_at_every_evaluation_and_ends_a_run(place: Place, tmp_path: Path) -> None:
    step = plan(Experiment("a", {**TINY, "iterations": 60}))[0]
    alone, calls = Place(landscape.open(tmp_path / "alone"), threads=1), 0

    def heed() -> None:
        nonlocal calls
        calls += 1
        if calls == 6:  # at the second evaluation of the second level
            raise Unheard

    heard: list[Any] = []
    carry_out(step, alone, heard.append)
    assert len(heard) == 2 * (1 + 60 // 20 + 1)
    with pytest.raises(Unheard):
        outcome(step, place, silent, heed)
    assert calls == 6
    run = place.store["a"]
    assert run.levels == [0]
    assert not is_held(run)
    assert outcome(step, place, silent, lambda: None).what == "done"
    assert digests(place.store) == digests(alone.store)


def test_what_a_step_needs(place: Place) -> None:
    run, question = plan(GRID)[0], agenda(GRID).questions[0]
    offshoot = replace(run, name="b", parent=(run.name, 1))
    assert has_parent(run, place.store)
    assert not has_parent(offshoot, place.store)
    assert orphaned(offshoot) == "level 1 of run 'a-random', where it begins, is not there"
    assert orphaned(question) == "level 1 of run 'a-random', which it asks about, is not there"
    carry_out(plan(replace(GRID, settings={**TINY, "levels": 1}))[0], place)
    assert has_parent(replace(offshoot, parent=(run.name, 0)), place.store)
    assert not has_parent(offshoot, place.store)


def test_a_run_that_somebody_writes_is_waited_for_if_the_place_says(place: Place) -> None:
    step = plan(GRID)[0]
    own = Run(place.store.root, step.name)
    heard: list[Report] = []
    with holding(own):
        last = outcome(step, place, silent)
        assert last.what == "failed"
        assert "is being written by process" in last.text
        with pytest.raises(RunIsHeld, match="is being written by process"):
            carry_out(step, place)
        patient = threading.Thread(
            target=lambda: heard.append(outcome(step, replace(place, waits=True), heard.append))
        )
        patient.start()
        until(lambda: len(heard) == 2)
        time.sleep(0.1)  # it asks several times, and says so once
        assert own.levels == []
    patient.join(20)
    assert [r.what for r in heard] == ["started", "warning", "level", "level", "done"]
    assert heard[1].text.endswith(f"on {socket.gethostname()}; waiting for it")


def test_a_question_that_somebody_answers_is_waited_for(place: Place) -> None:
    (run, *_), question = plan(GRID), agenda(GRID).questions[0]
    carry_out(run, place)
    heard: list[Report] = []
    patient = threading.Thread(
        target=lambda: heard.append(outcome(question, replace(place, waits=True), heard.append))
    )
    with claiming(question, place.store, silent):
        patient.start()
        until(lambda: len(heard) == 2)
        assert not list(Store(place.store.root).root.rglob("*.nc"))
    patient.join(20)
    assert [report.what for report in heard] == ["started", "warning", "done"]
    assert "is being answered by another process; waiting for it" in heard[1].text
    assert len(list(place.store.root.rglob("*.nc"))) == 1
