"""In turn: one step after another, in this process; failures stay alone."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import landscape
from landscape import outcome
from landscape.agenda import agenda
from landscape.data_store.errors import LandscapeError
from landscape.data_store.store import Store
from landscape.experiment import Experiment, Offshoot, Variant
from landscape.in_turn import in_turn, one_by_one
from landscape.planning import plan
from landscape.steps import Place, Report
from tests.support.sweeps import GRID, TINY, digests, silent

BAD = Variant("bad", {"optimizer": "sgd", "lr": 1e30})
FAILING = Experiment("a", TINY, (BAD,), (Offshoot("b", 1, "bad", {}), Offshoot("c", 1, None, {})))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A new store."""
    return landscape.open(tmp_path / "s")


@pytest.fixture
def threads() -> Iterator[None]:
    """So many threads as there were before."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_a_run_that_fails_stops_only_what_begins_at_it(store: Store) -> None:
    failed = one_by_one(plan(FAILING), Place(store, threads=1), lambda _: silent)
    assert list(failed) == ["a-bad", "a-b"]
    assert "diverged" in failed["a-bad"]
    assert "level 1 of run 'a-bad', where it begins, is not there" in failed["a-b"]
    assert store["a"].levels == [0, 1]
    assert store["a-c"].levels == [0]


def test_each_run_has_the_listener_of_its_own(store: Store) -> None:
    heard: dict[str, list[str]] = {"a": [], "a-v": []}
    planned = plan(Experiment("a", TINY, (Variant("v", {"levels": 1}),)))
    failed = one_by_one(
        planned,
        Place(store, threads=1),
        lambda run: lambda event: heard[run.name].append(type(event).__name__),
    )
    assert failed == {}
    assert [heard[name].count("Finished") for name in ("a", "a-v")] == [2, 1]


def test_an_error_that_is_none_of_landscape_ends_one_by_one(store: Store) -> None:
    def listener(_event: object) -> None:
        raise ZeroDivisionError("a bug of the caller")

    with pytest.raises(ZeroDivisionError, match="a bug of the caller"):
        one_by_one(plan(GRID), Place(store, threads=1), lambda _: listener)


def test_in_turn_gives_the_numbers_of_one_by_one(store: Store, tmp_path: Path) -> None:
    other, heard = landscape.open(tmp_path / "turn"), list[Report]()
    expected = one_by_one(plan(FAILING), Place(store, threads=1), lambda _: silent)
    assert in_turn(plan(FAILING), Place(other), heard.append) == expected
    assert digests(other) == digests(store)
    told = [(r.run, r.what, r.level) for r in heard]
    assert told == [
        ("a", "started", 0), ("a", "level", 0), ("a", "level", 1), ("a", "done", 0),
        ("a-bad", "started", 0), ("a-bad", "level", 0), ("a-bad", "failed", 0),
        ("a-b", "skipped", 0),
        ("a-c", "started", 0), ("a-c", "level", 0), ("a-c", "done", 0),
    ]  # fmt: skip
    texts = {r.run: r.text for r in heard if r.what in ("failed", "skipped")}
    assert texts == expected


def test_questions_are_asked_after_what_they_are_about(store: Store) -> None:
    heard: list[Report] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        assert in_turn(agenda(GRID).questions, Place(store), heard.append).keys() == {
            "a-random overlap",
            "a-magnitude overlap",
        }
        assert {report.what for report in heard} == {"skipped"}
        assert in_turn(agenda(GRID).steps, Place(store), silent) == {}


@pytest.mark.parametrize(("asked", "used"), [(None, 1), (2, 2)])
def test_one_thread_unless_the_place_says(
    asked: int | None,
    used: int,
    store: Store,
    threads: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[tuple[int, int | None]] = []

    def carry_out(_step: Any, place: Place, _listener: Any = None) -> None:
        seen.append((torch.get_num_threads(), place.threads))

    monkeypatch.setattr(outcome, "carry_out", carry_out)
    torch.set_num_threads(3)
    assert in_turn(plan(GRID), Place(store, threads=asked), silent) == {}
    assert seen == [(used, used)] * 2
    assert torch.get_num_threads() == 3


def test_what_nobody_expected_fails_alone(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    planned = plan(Experiment("a", TINY, (Variant("v", {"seed": 1}),)))
    carry_out = outcome.carry_out

    def faulty(step: Any, place: Place, listener: Any = None) -> None:
        if step.name == "a":
            raise ZeroDivisionError("a bug")
        carry_out(step, place, listener)

    monkeypatch.setattr(outcome, "carry_out", faulty)
    assert in_turn(planned, Place(store), silent) == {"a": "ZeroDivisionError: a bug"}
    assert store["a-v"].levels == [0, 1]


def test_an_interrupt_ends_all_steps(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(outcome, "carry_out", interrupted)
    heard: list[Report] = []
    with pytest.raises(KeyboardInterrupt):
        in_turn(plan(GRID), Place(store), heard.append)
    assert [(report.run, report.what) for report in heard] == [("a-random", "started")]


def test_a_reporter_that_fails_ends_all_steps(store: Store) -> None:
    def refuse(report: Report) -> None:
        if report.what == "done":
            raise LandscapeError("the disk is full")

    with pytest.raises(LandscapeError, match="the disk is full"):
        in_turn(plan(GRID), Place(store), refuse)
    assert list(store) == ["a-random"]
