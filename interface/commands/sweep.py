"""``landscape sweep``."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from landscape.commands.train import naming, read_stated
from landscape.data_store.errors import LandscapeError, UsageError
from landscape.data_store.settings import to_json
from landscape.data_store.store import open_store
from landscape.options import common_options, existing_store, print_json
from landscape.printing import print_table, printable, progress

if TYPE_CHECKING:
    import xarray
    from rich.progress import Progress, TaskID

    from landscape.data_store.store import Store
    from landscape.experiment import Experiment, Planned
    from landscape.steps import Executor, Place, Report, Reporter, Step
    from landscape.sweeper import Agenda, Swept

_OF_LEVEL = ("density", "test_loss", "test_error")


@click.command(name="sweep")
@click.argument("file", metavar="FILE.toml", type=click.Path(path_type=Path))
@click.option("--quick", is_flag=True, help="Take the file's quick size, as NAME-quick.")
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    help="Steps done side by side, each in a process of one thread. [default: 1, or the file's]",
)
@click.option(
    "--scheduler",
    metavar="tcp://HOST:PORT",
    help="Have the steps done by the workers of this Dask cluster, which reach the store.",
)
@click.option("--retry-failed", is_flag=True, help="Do only what failed the last time.")
@click.option("--status", is_flag=True, help="Say how far the sweep is, and do nothing.")
@click.option("--dry-run", is_flag=True, help="Check everything, print the runs, do nothing.")
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    help="CPU threads of a step; small networks train fastest on 1. [default: 1, or the run's]",
)
@common_options(compute=True)
def command(
    file: Path,
    quick: bool,
    jobs: int | None,
    scheduler: str | None,
    retry_failed: bool,
    status: bool,
    dry_run: bool,
    threads: int | None,
    store_path: Path,
    max_size: int,
    data: Path | None,
    device: str,
    as_json: bool,
    quiet: bool,
) -> None:
    """Carry out an experiment of many runs, and ask analyses about every one of them.

    FILE.toml is one that landscape train takes, and may have in addition: [grid], settings of a
    run with a list of values each, every combination of which is a run; [[when]], what such a
    setting or 'plant' must be for the settings 'set' to follow; [[plant]], networks with a ticket
    hidden in them (name, target, and the options of landscape plant), at which every combination
    begins; [[analysis]], with the analysis's name as 'kind', its options, and the levels 'at' of
    each run it is asked about. A density may be "planted".

    Runs are called NAME-s0-PLANT and what the grid takes. What is done is passed over: the same
    command goes on after an interruption, tries again what failed, and in the end only reads. One
    step that fails does not stop the others. Two sweeps of one store do each step once.
    """
    from landscape.data_store import layout
    from landscape.steps import Place
    from landscape.sweeper import agenda, sweep

    if jobs and scheduler:
        raise UsageError(
            f"--jobs {jobs} is of this machine, and the cluster at {scheduler} has workers of its "
            "own; give one of the two"
        )
    found = read_stated(file, quick)
    experiment, execute = found.experiment, _executor(jobs or found.jobs or 1, scheduler)
    is_there = layout.manifest(store_path).exists()
    store = existing_store(store_path, max_size) if is_there else None
    with naming(file):
        whole = agenda(experiment, store)
        if dry_run:
            _rehearse(whole, store, data, device, as_json)
            return
        if status:
            _print_status(whole, Place(existing_store(store_path, max_size), data, device), as_json)
            return
    place = Place(open_store(store_path, size_limit=max_size), data, device, threads)
    with progress(quiet) as display, naming(file):
        bar = display.add_task(file.stem, total=None)
        counted = _counted(execute, display, bar)
        reporter = _reporter(display, bar, quiet)
        swept = sweep(experiment, place, counted, reporter, only_failed=retry_failed)
    if as_json:
        print_json(_record(experiment, swept))
    else:
        _print(experiment, swept)
        _print_next(experiment, file, store_path)
    if swept.failed:
        raise LandscapeError(_failure(swept))


def _print_status(whole: Agenda, place: Place, as_json: bool) -> None:
    """How far a sweep is: how many steps, and which are running or failed."""
    from landscape.sweeper import status

    found = status(whole, place)
    if as_json:
        print_json(vars(found))
        return
    counts = (f"{len(names)} {word}" for word, names in vars(found).items())
    click.echo(f"{len(whole.steps)} steps: {', '.join(counts)}")
    rows: list[tuple[str, str, str | None]]
    rows = [(name, "running", None) for name in found.running if name not in found.failed]
    again = dict.fromkeys(found.running, "failed, running again")
    rows += [(name, again.get(name, "failed"), why) for name, why in found.failed.items()]
    if rows:
        print_table(("step", "", "why"), rows)


def _executor(jobs: int, scheduler: str | None) -> Executor:
    """What does the steps: this machine or a cluster."""
    from landscape.sweeper import executor

    if scheduler is None:
        return executor(jobs)
    from landscape.cluster import on_cluster

    return on_cluster(scheduler)


def _counted(execute: Executor, display: Progress, bar: TaskID) -> Executor:
    """An executor whose steps are counted on a bar."""

    def begin(steps: Sequence[Step], place: Place, report: Reporter) -> dict[str, str]:
        display.reset(bar, total=len(steps))
        return execute(steps, place, report)

    return begin


def _reporter(display: Progress, bar: TaskID, quiet: bool) -> Reporter:
    """Shows how far a sweep is; without a terminal, a line per step."""
    said: set[str] = set()

    def hear(report: Report) -> None:
        if report.what in ("done", "failed"):
            display.advance(bar)
        line = {"done": f"{report.run}: done", "failed": f"{report.run}: failed: {report.text}"}
        if report.what == "warning" and report.text not in said:
            said.add(report.text)
            warnings.warn(report.text, UserWarning, stacklevel=2)
        elif report.what == "level":
            display.update(bar, description=f"{report.run}  level {report.level}")
        elif not quiet and (report.what == "failed" or display.disable) and report.what in line:
            click.echo(printable(line[report.what]), err=True)

    return hear


def _rehearse(
    whole: Agenda, store: Store | None, data: Path | None, device: str, as_json: bool
) -> None:
    """Try what can be tried, and print the steps with what is done of them."""
    from landscape.rehearsal import rehearse
    from landscape.steps import Place
    from landscape.sweeper import undone

    rehearse(whole.runs, data)
    left = whole.steps if store is None else undone(whole.steps, Place(store, data, device))
    names = {step.name for step in left}
    if as_json:
        print_json(
            {
                "planted": [
                    vars(plant) | {"done": plant.name not in names} for plant in whole.plantings
                ],
                "runs": [_run_record(run) | {"done": run.name not in names} for run in whole.runs],
                "answers": [
                    {"name": q.name, "points": q.points, "done": q.name not in names}
                    for q in whole.questions
                ],
            }
        )
        return
    print_table(
        ("run", "begins at", "task", "levels", "iterations", ""),
        [
            (
                run.name,
                run.beginning,
                run.config.task,
                run.config.levels,
                run.config.all_iterations,
                "" if run.name in names else "done",
            )
            for run in whole.runs
        ],
        title=_size(whole, names),
    )


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
