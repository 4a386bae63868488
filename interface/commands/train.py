"""``landscape train``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from landscape.data_store.errors import UsageError
from landscape.data_store.records import TRACE_COLUMNS, RunConfig
from landscape.data_store.store import Run, open_store
from landscape.options import common_options, print_json, settings_options
from landscape.printing import percent, print_table, progress

if TYPE_CHECKING:
    from rich.progress import Progress

    from landscape.trainer import Listener
    from landscape.training.imp import Finished
    from landscape.training.loop import Tick


@click.command(name="train")
@click.option("--name", required=True, help="Name of the run: a-z, 0-9, '.', '_' and '-'.")
@click.option(
    "--resume/--no-resume",
    default=True,
    help="Go on with a run of this name, or refuse if there is one. [default: resume]",
)
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    help="CPU threads; small networks train fastest on 1. [default: torch's, or the run's]",
)
@settings_options(RunConfig, defaults=", or the model's protocol")
@common_options(compute=True)
def command(
    name: str,
    resume: bool,
    threads: int | None,
    store_path: Path,
    max_size: int,
    data: Path | None,
    device: str,
    as_json: bool,
    quiet: bool,
    **settings: Any,
) -> None:
    """Train a run: dense, then level after level pruned and rewound.

    Every level is stored as it is finished. Interrupted, the same command goes on with the
    first unfinished level and ends with the same numbers.
    """
    from landscape.trainer import configure, train

    config = configure(settings)
    store = open_store(store_path, size_limit=max_size)
    if not resume and name in store:
        raise UsageError(f"run {name!r} exists and --no-resume was given; use another --name")
    with progress(quiet) as display:
        listener = training_bar(display, config, name, quiet)
        run = train(
            store=store,
            name=name,
            data=data,
            device=device,
            threads=threads,
            listener=listener,
            **settings,
        )
    rows = level_rows(run)
    if as_json:
        print_json({"run": name, "levels": rows})
        return
    print_levels(name, rows)
    click.echo(f"\nNext: landscape barrier {name}    landscape figure accuracy --run {name}")


def training_bar(display: Progress, config: RunConfig, name: str, quiet: bool) -> Listener:
    """A listener that shows how far a run is; without a terminal, a line per finished level."""
    bar = display.add_task(name, total=config.levels * config.iterations)

    def listen(event: Tick | Finished) -> None:
        from landscape.training.loop import Tick

        if isinstance(event, Tick):
            accuracy = _accuracy(event.row[TRACE_COLUMNS.index("validation_error")]) or "unknown"
            display.update(
                bar,
                completed=event.level * config.iterations + event.step,
                description=f"{name}  level {event.level}  validation accuracy {accuracy}",
            )
        elif display.disable and not quiet:
            level = event.level
            click.echo(
                f"{name}: level {level.number} {level.status}, {percent(level.mask.density)} of "
                f"the weights, test accuracy {_accuracy(level.metrics['test_error'])}",
                err=True,
            )

    return listen


def level_rows(run: Run) -> list[dict[str, Any]]:
    """Density and accuracies of every finished level, as plain numbers."""
    rows = []
    for number in run.levels:
        level = run.level(number)
        early = level.trace.early_stop_row
        rows.append(
            {
                "level": number,
                "density": level.mask.density,
                "early_stop_step": None if early is None else level.trace.column("step")[early],
                "early_stop_test_error": (
                    None if early is None else level.trace.column("test_error")[early]
                ),
                "test_error": level.metrics.get("test_error"),
                "train_error": level.metrics.get("train_error"),
                "status": level.status,
            }
        )
    return rows


def print_levels(name: str, rows: list[dict[str, Any]]) -> None:
    """The levels of a run as a table."""
    columns = (
        "level", "weights kept", "early stop at", "test acc. then", "test acc.", "train acc.", ""
    )  # fmt: skip
    print_table(
        columns,
        [
            (
                row["level"],
                percent(row["density"]),
                row["early_stop_step"],
                _accuracy(row["early_stop_test_error"]),
                _accuracy(row["test_error"]),
                _accuracy(row["train_error"]),
                "" if row["status"] == "done" else row["status"],
            )
            for row in rows
        ],
        title=f"run {name}",
    )


def _accuracy(error: float | None) -> str | None:
    """Accuracy in percent."""
    return None if error is None else percent(1 - error)
