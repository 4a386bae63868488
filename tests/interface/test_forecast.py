"""How long steps will take: arithmetic by hand, logs as runs write them, a pace that is tried."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import landscape
from landscape import forecast as forecast_module
from landscape.agenda import agenda
from landscape.data_store.records import RunConfig
from landscape.data_store.results import records_of
from landscape.done import undone
from landscape.experiment import Ask, Experiment, Planned
from landscape.forecast import (
    Forecast,
    forecast,
    known_paces,
    likeness,
    logged_pace,
    measured_pace,
    measured_paces,
    units,
    units_left,
)
from landscape.in_turn import in_turn
from landscape.steps import Place
from landscape.sweeper import sweep

TINY: dict[str, Any] = {
    "task": "digits",
    "model": "mlp:64-20-10",
    "levels": 4,
    "iterations": 20,
    "eval_every": 10,
}


def planned(**settings: Any) -> Planned:
    """A run that is planned."""
    return Planned("a", RunConfig(**TINY | settings), {})


def test_steps_side_by_side_are_as_slow_as_the_longest_or_all_of_them() -> None:
    ahead = Forecast(work=120, longest=50, unknown=0)
    assert [ahead.seconds(jobs) for jobs in (1, 2, 4)] == [120, 60, 50]


@pytest.mark.parametrize(
    ("ahead", "jobs", "words"),
    [
        (Forecast(120.0, 50.0, 0), 2, "about 60 s"),
        (Forecast(7200.0, 50.0, 1), 1, "more than 2.0 h"),
        (Forecast(0.4, 0.4, 0), 1, ""),
        (Forecast(0.0, 0.0, 5), 1, ""),
    ],
)
def test_a_forecast_in_words(ahead: Forecast, jobs: int, words: str) -> None:
    assert ahead.words(jobs) == words


def test_work_is_summed_over_what_is_known() -> None:
    experiment = Experiment("a", TINY, grid={"lr": (0.1, 0.2)}, asks=(Ask("o", "overlap"),))
    first, second, *questions = agenda(experiment).steps
    paces = {likeness(first): 0.5}
    found = forecast([(first, 80), (second, 20), *((q, 1) for q in questions)], paces)
    assert found == Forecast(work=50, longest=40, unknown=2)
    assert forecast([], paces) == Forecast(0, 0, 0)


def test_the_length_of_a_run_is_its_iterations() -> None:
    assert units(planned()) == 80
    assert units(planned(last_iterations=50)) == 110
    assert units(agenda(Experiment("a", TINY, asks=(Ask("o", "overlap"),))).questions[0]) == 1


def test_what_is_trained_is_not_ahead(tmp_path: Path) -> None:
    place = Place(landscape.open(tmp_path / "s"), threads=1)
    [run] = agenda(Experiment("a", TINY)).runs
    assert units_left(run, place.store) == 80
    short = agenda(Experiment("a", {**TINY, "levels": 1})).runs
    assert in_turn(short, place, lambda _: None) == {}
    assert units_left(run, place.store) == 60


@pytest.mark.parametrize(
    "setting",
    [
        "batch_size=7",
        "optimizer=sgd",
        "eval_every=5",
        "augment=True",
        "max_examples=9",
        "dropout=1",
    ],
)
def test_what_sets_the_pace_tells_runs_apart(setting: str) -> None:
    name, _, text = setting.partition("=")
    value: Any = {"True": True, "1": 0.5}.get(text) or (int(text) if text.isdigit() else text)
    assert likeness(planned(**{name: value})) != likeness(planned())


@pytest.mark.parametrize("setting", ["seed", "lr", "levels", "criterion", "iterations"])
def test_what_does_not_leaves_them_alike(setting: str) -> None:
    value = {"lr": 0.5, "criterion": "random"}.get(setting, 7)
    assert likeness(planned(**{setting: value})) == likeness(planned())
    learned = planned(criterion="edge-popup", scope="layer")
    assert likeness(learned) != likeness(planned())


def log(path: Path, *rows: tuple[int, float, float]) -> Path:
    """A log of evaluations: level, step, time."""
    entries = ({"level": n, "step": step, "time": now} for n, step, now in rows)
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    return path


def test_the_pace_in_a_log_passes_over_what_lies_between_levels(tmp_path: Path) -> None:
    path = log(
        tmp_path / "log.jsonl",
        (0, 0, 100), (0, 10, 101), (0, 20, 102.2),  # then it was interrupted for an hour
        (0, 30, 3702), (1, 0, 3800), (1, 10, 3800.9), (1, 20, 3801.9),
    )  # fmt: skip
    assert logged_pace(path, tmp_path) == pytest.approx(0.1)  # of 0.1, 0.12, 360, 0.09 and 0.1


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]\n", b'{"level": 0}\n', b"\xff\n", b'{"level":0,"step":0,"time":1}']
)
def test_a_log_that_says_nothing(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_bytes(content)
    assert math.isnan(logged_pace(tmp_path / "log.jsonl", tmp_path))
    assert math.isnan(logged_pace(tmp_path / "none.jsonl", tmp_path))


def test_a_log_is_read_up_to_a_torn_line(tmp_path: Path) -> None:
    path = log(tmp_path / "log.jsonl", (0, 0, 100), (0, 10, 101))
    path.write_text(path.read_text() + '{"level": 0, "st')
    assert logged_pace(path, tmp_path) == pytest.approx(0.1)


def test_what_a_store_knows_the_pace_of(tmp_path: Path) -> None:
    place = Place(landscape.open(tmp_path / "s"), threads=1)
    experiment = Experiment("a", TINY, asks=(Ask("overlap", "overlap"),))
    whole = agenda(experiment)
    assert known_paces(whole.steps, place.store) == {}
    sweep(experiment, place, in_turn)
    answers: dict[str, Any] = {}
    assert undone(whole.steps, place, answers) == []
    paces = known_paces(whole.steps, place.store, answers)
    [run, question] = whole.steps
    assert paces[likeness(run)] == logged_pace(
        place.store.root / "runs" / "a" / "log.jsonl", place.store.root
    )
    records = records_of(answers[question.name])
    assert paces[likeness(question)] == sum(record["seconds"] for record in records)


def test_a_pace_is_tried_on_the_network_and_data_themselves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = iter(range(100_000))  # every look at the clock takes a second
    monkeypatch.setattr(forecast_module.time, "perf_counter", lambda: float(next(now)))
    place = Place(landscape.open(tmp_path / "s"), threads=1)
    config = replace(planned().config, eval_every=100)
    # five steps and an evaluation last a second, an evaluation of 198 of 360 examples too
    evaluation = 1 * (180 + 360) / (180 + 200)
    assert measured_pace(config, place) == pytest.approx(0 / 5 + evaluation / 100, rel=0.2)
    assert list(place.store) == []


def test_each_likeness_is_tried_once_and_what_learns_scores_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[int] = []

    def pace(config: RunConfig, _place: Place) -> float:
        tried.append(config.batch_size)
        return 0.25

    monkeypatch.setattr(forecast_module, "measured_pace", pace)
    place = Place(landscape.open(tmp_path / "s"))
    runs = [
        planned(batch_size=8),
        planned(batch_size=8, lr=0.5),
        planned(batch_size=9),
        planned(criterion="edge-popup", scope="layer"),
    ]
    paces = measured_paces(runs, place)
    assert sorted(tried) == [8, 9]
    assert paces == {likeness(runs[0]): 0.25, likeness(runs[2]): 0.25}


def test_a_tried_pace_is_near_that_of_the_run(tmp_path: Path) -> None:
    place = Place(landscape.open(tmp_path / "s"), threads=1)
    experiment = Experiment("a", {**TINY, "iterations": 400, "eval_every": 50, "levels": 1})
    [run] = agenda(experiment).runs
    tried = measured_pace(run.config, place)
    assert in_turn([run], place, lambda _: None) == {}
    logged = known_paces([run], place.store)[likeness(run)]
    assert 0.1 < tried / logged < 10  # the machine may be busy
