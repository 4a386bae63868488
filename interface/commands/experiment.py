"""Experiments of several runs, as ``landscape train`` plans, carries out and prints them."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import click

from landscape.commands.train import accuracy, training_bar
from landscape.data_store.errors import LandscapeError
from landscape.data_store.settings import to_json
from landscape.data_store.store import Run
from landscape.options import print_json
from landscape.printing import percent, print_table, printable, progress

if TYPE_CHECKING:
    from rich.progress import Progress

    from landscape.experiment import Planned
    from landscape.steps import Place, Report, Reporter


def train_all(planned: list[Planned], place: Place, jobs: int, as_json: bool, quiet: bool) -> None:
    """Train several runs and print what came of each; raises if one failed, naming it."""
    from landscape.in_turn import one_by_one
    from landscape.local_cluster import side_by_side

    with progress(quiet) as display:
        if jobs > 1:
            with side_by_side(jobs) as execute:
                failed = execute(planned, place, _reporter(display, planned, quiet))
        else:
            failed = one_by_one(
                planned, place, lambda p: training_bar(display, p.config, p.name, quiet)
            )
    rows = [_run_row(place, run, failed.get(run.name)) for run in planned]
    if as_json:
        print_json({"runs": rows})
    else:
        _print_rows(rows)
    if failed:
        name, why = next(iter(failed.items()))
        others = [other for other in failed if other != name]
        also = f"; {', '.join(others)} failed too" if others else ""
        raise LandscapeError(f"run {name!r} failed: {why}{also}; the others are stored")
    if not as_json:
        click.echo(f"\nNext: landscape figure lth-accuracy --run {planned[0].name}")


def _print_rows(rows: list[dict[str, Any]]) -> None:
    """What came of every run."""
    print_table(
        ("run", "levels", "weights kept", "test acc.", ""),
        [
            (
                row["run"],
                row["levels"],
                percent(row["weights_kept"]),
                accuracy(row["test_error"]),
                "failed" if row["failed"] else "",
            )
            for row in rows
        ],
    )


def _run_row(place: Place, planned: Planned, why: str | None) -> dict[str, Any]:
    """What came of a run: its last level."""
    run = Run(place.store.root, planned.name, place.store.size_limit)
    row: dict[str, Any] = {"run": run.name, "levels": len(run.levels), "failed": why}
    last = run.level("last") if run.levels else None
    row["weights_kept"] = None if last is None else last.mask.density
    row["test_error"] = None if last is None else last.metrics.get("test_error")
    return row


def print_plan(planned: list[Planned], as_json: bool) -> None:
    """The runs that would be trained, as a table or as JSON."""
    if as_json:
        print_json(
            [
                {"run": run.name, "parent": run.beginning, "config": to_json(run.config)}
                for run in planned
            ]
        )
        return
    columns = ("run", "begins at", "task", "model", "levels", "iterations", "retrain", "seed")
    print_table(
        columns,
        [
            (
                run.name, run.beginning, run.config.task, run.config.model, run.config.levels,
                run.config.iterations, run.config.retrain, run.config.seed,
            )
            for run in planned
        ],
        title=f"{len(planned)} runs, {sum(run.config.levels for run in planned)} levels, "
        f"{sum(run.config.all_iterations for run in planned)} iterations",
    )  # fmt: skip


def _reporter(display: Progress, planned: list[Planned], quiet: bool) -> Reporter:
    """Shows how far runs side by side are; without a terminal, a line per finished level."""
    bar = display.add_task("levels", total=sum(run.config.levels for run in planned))
    said: set[str] = set()

    def hear(report: Report) -> None:
        if report.what == "level":
            display.advance(bar)
            line = (
                f"{report.run}: level {report.level} {report.status}, {percent(report.density)} of "
                f"the weights, test accuracy {accuracy(report.test_error)}"
            )
            if display.disable and not quiet:
                click.echo(line, err=True)
            else:
                display.update(bar, description=f"{report.run}  level {report.level}")
        elif report.what == "warning" and report.text not in said:
            said.add(report.text)
            warnings.warn(report.text, UserWarning, stacklevel=2)
        elif report.what == "failed" and not quiet:
            click.echo(printable(f"{report.run}: failed: {report.text}"), err=True)

    return hear
