"""What ``landscape sweep`` prints: its plan, how far it is, and what came of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from landscape.data_store.errors import LandscapeError
from landscape.data_store.settings import to_json
from landscape.options import print_json
from landscape.printing import print_table

if TYPE_CHECKING:
    from pathlib import Path

    import xarray

    from landscape.agenda import Agenda
    from landscape.data_store.store import Store
    from landscape.experiment import Experiment, Planned
    from landscape.forecast import Forecast
    from landscape.steps import Place, Step
    from landscape.sweeper import Swept

_OF_LEVEL = ("density", "test_loss", "test_error")


def print_plan(whole: Agenda, place: Place, jobs: int | None, as_json: bool) -> None:
    """Try what can be tried, and print the steps, what is done of them and how long the rest takes.

    Parameters
    ----------
    jobs
        How many steps will go side by side; None for as many as this machine can do.
    """
    from landscape.done import undone
    from landscape.local_cluster import cores
    from landscape.rehearsal import rehearse

    rehearse(whole.runs, place.data)
    answers: dict[str, xarray.Dataset] = {}
    left = undone(whole.steps, place, answers)
    ahead, count = _foreseen(whole, left, place, answers), jobs or cores()
    names = {step.name for step in left}
    if as_json:
        print_json(_plan_record(whole, names, ahead, count))
        return
    asked = Counter(question.parent[0] for question in whole.questions)
    answered = Counter(q.parent[0] for q in whole.questions if q.name not in names)
    print_table(
        ("run", "begins at", "task", "levels", "iterations", "answers", ""),
        [
            (
                run.name,
                run.beginning,
                run.config.task,
                run.config.levels,
                run.config.all_iterations,
                f"{answered[run.name]} of {asked[run.name]}",
                "" if run.name in names else "done",
            )
            for run in whole.runs
        ],
        title=_size(whole, names),
    )
    click.echo(_time(ahead, count))


def _foreseen(
    whole: Agenda, left: Sequence[Step], place: Place, answers: Mapping[str, xarray.Dataset]
) -> Forecast:
    """How long what is left will take: what the store does not know the pace of is tried."""
    from landscape.experiment import Planned
    from landscape.forecast import forecast, known_paces, likeness, measured_paces, units_left

    paces = known_paces(whole.steps, place.store, answers)
    new = [step for step in left if isinstance(step, Planned) and likeness(step) not in paces]
    return forecast(
        [(step, units_left(step, place.store)) for step in left], paces | measured_paces(new, place)
    )


def _time(ahead: Forecast, jobs: int) -> str:
    """How long it will take, in a sentence."""
    side_by_side = f"{jobs} step{'s' * (jobs > 1)} at a time"
    if not ahead.work and not ahead.unknown:
        return "There is nothing left to do."
    if ahead.unknown and not ahead.words(jobs):
        return (
            f"How long it will take is not known: none like {ahead.unknown} of the steps was done "
            "yet, and the others take less than a second."
        )
    known = f"It will take {ahead.words(jobs) or 'less than a second'}, {side_by_side}"
    if not ahead.unknown:
        return f"{known}."
    return f"{known}: of {ahead.unknown} steps it is not known, since none like them was done yet."


def _plan_record(
    whole: Agenda, left: Collection[str], ahead: Forecast, jobs: int
) -> dict[str, Any]:
    """The plan as JSON; seconds are of this machine."""
    return {
        "planted": [vars(plant) | {"done": plant.name not in left} for plant in whole.plantings],
        "runs": [_run_record(run) | {"done": run.name not in left} for run in whole.runs],
        "answers": [
            {"name": q.name, "points": q.points, "done": q.name not in left}
            for q in whole.questions
        ],
        "seconds": {"known": ahead.seconds(jobs), "jobs": jobs, "unknown_steps": ahead.unknown},
    }


def print_status(whole: Agenda, place: Place, as_json: bool) -> None:
    """How far a sweep is: how many steps, which are running or failed, and the time left."""
    from landscape.sweeper import status

    found = status(whole, place)
    steps = {key: value for key, value in vars(found).items() if key != "ahead"}
    jobs = max(1, len(found.running))
    if as_json:
        known = {"known": found.ahead.seconds(jobs), "unknown_steps": found.ahead.unknown}
        print_json(steps | {"seconds": known})
        return
    counts = ", ".join(f"{len(names)} {word}" for word, names in steps.items())
    ahead = found.ahead.words(jobs)
    click.echo(f"{len(whole.steps)} steps: {counts}{f'; {ahead} left' if ahead else ''}")
    rows: list[tuple[str, str, str | None]]
    rows = [(name, "running", None) for name in found.running if name not in found.failed]
    again = dict.fromkeys(found.running, "failed, running again")
    rows += [(name, again.get(name, "failed"), why) for name, why in found.failed.items()]
    if rows:
        print_table(("step", "", "why"), rows)


def _size(whole: Agenda, left: Collection[str]) -> str:
    """How large a sweep is, and how much of it is done."""
    parts = []
    for steps, noun in (
        (whole.plantings, "planted network"),
        (whole.runs, "run"),
        (whole.questions, "answer"),
    ):
        if steps:
            done = sum(step.name not in left for step in steps)
            parts.append(f"{len(steps)} {noun}{'s' * (len(steps) != 1)} ({done} done)")
    levels = sum(run.config.levels for run in whole.runs)
    total = sum(run.config.all_iterations for run in whole.runs)
    return f"{', '.join(parts)}; {levels} levels, {total} iterations"


def _run_record(run: Planned) -> dict[str, Any]:
    """A planned run as JSON; a density that follows from the planted network is a word."""
    config = to_json(run.config)
    if run.settings.get("density") == "planted":
        config["density"] = "planted"
    return {"run": run.name, "parent": run.parent, "place": dict(run.place), "config": config}


def _tables(
    experiment: Experiment, swept: Swept
) -> Iterator[tuple[str, xarray.Dataset, Sequence[str]]]:
    """What is summed up: title, dataset and measures, of the runs and of every analysis."""
    from landscape.analysis.registry import ANALYSES
    from landscape.workbench import settings_of

    if swept.runs.sizes["run"]:
        yield "last level of each run", swept.runs, _OF_LEVEL
    for ask in experiment.asks:
        if ask.name in swept.datasets:
            analysis = ANALYSES.load(ask.kind)
            measures = analysis.printed(settings_of(analysis, ask.settings))
            yield ask.name, swept[ask.name], measures


def _record(experiment: Experiment, swept: Swept) -> dict[str, Any]:
    """What came of a sweep, as JSON."""
    from landscape.sweep_results import summary

    tables = {title: summary(ds, names).rows for title, ds, names in _tables(experiment, swept)}
    runs = [str(name) for name in swept.runs["run"].values]
    return {"runs": runs, "failed": dict(swept.failed), "missing": swept.missing, "cells": tables}


def print_swept(
    experiment: Experiment, swept: Swept, file: Path, store: Store, seconds: float, as_json: bool
) -> None:
    """What came of a sweep; raises `LandscapeError` if something failed."""
    if as_json:
        print_json(_record(experiment, swept))
    else:
        _print(experiment, swept)
        click.echo(_ended(swept, seconds))
        _print_next(experiment, file, store.root)
    if swept.failed:
        raise LandscapeError(_failure(swept))


def _ended(swept: Swept, seconds: float) -> str:
    """How a sweep ended, in a sentence."""
    from landscape.waiting import duration

    done = f"{len(swept.missing)} steps are not done" if swept.missing else "All steps are done"
    return f"{done}; this took {duration(seconds)}."


def _print(experiment: Experiment, swept: Swept) -> None:
    """What came of a sweep: a table of the runs, and one of each analysis."""
    from landscape.sweep_results import summary

    for title, ds, names in _tables(experiment, swept):
        found = summary(ds, names)
        taken = "".join(f", {dim} {label}" for dim, label in found.taken.items())
        print_table(
            (*found.places, "runs", *found.measures),
            [
                (
                    *row["place"].values(),
                    row["runs"],
                    *(_spread(row["measures"][m], found.measures[m]) for m in found.measures),
                )
                for row in found.rows
            ],
            title=f"{title}: mean over replicates (least to greatest){taken}",
        )
        click.echo()
    dependent = _dependent(swept.failed)
    alone = [(name, why) for name, why in swept.failed.items() if name not in dependent]
    if alone:
        print_table(("failed", "why"), alone)
        click.echo()


def _spread(spread: Mapping[str, float], units: str) -> str | None:
    """Mean, least and greatest in one entry; nothing if nothing is known."""
    if not spread["known"]:
        return None

    def words(value: float) -> str:
        return f"{100 * value:.2f}" if units == "fraction" else f"{value:.4g}"

    mean = f"{words(spread['mean'])}{' %' * (units == 'fraction')}"
    low, high = words(spread["min"]), words(spread["max"])
    return mean if low == high else f"{mean} ({low} to {high})"


def _dependent(failed: Mapping[str, str]) -> set[str]:
    """Steps that failed only since the one they need did."""
    return {name for name, why in failed.items() if why.endswith("is not there")}


def _failure(swept: Swept) -> str:
    """The error of a sweep of which something failed."""
    first = next(name for name in swept.failed)
    count = len(swept.failed)
    return (
        f"{count} step{'s' * (count > 1)} of the sweep failed, first {first!r}: "
        f"{swept.failed[first]}; the others are stored, the same command tries again"
    )


def _print_next(experiment: Experiment, file: Path, store: Path) -> None:
    """Where things are."""
    kinds = ", ".join(dict.fromkeys(ask.kind for ask in experiment.asks))
    answers = f", their answers (landscape ls results): {kinds}" if kinds else ""
    named = "" if experiment.name is None else f" {experiment.name}-…"
    click.echo(f"Runs{named} are stored in {store}{answers}.")
    click.echo(f"In Python: landscape.sweep({str(file)!r}, store=landscape.open({str(store)!r}))")
