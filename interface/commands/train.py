"""``landscape train``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from landscape.data_store.errors import LandscapeError, UsageError
from landscape.data_store.records import TRACE_COLUMNS, RunConfig
from landscape.data_store.store import Run, open_store
from landscape.data_store.truth import begins_planted, planted_run
from landscape.options import common_options, existing_store, print_json, settings_options
from landscape.printing import percent, print_table, printable, progress

if TYPE_CHECKING:
    from rich.progress import Progress

    from landscape.experiment import Experiment, Planned
    from landscape.experiment_file import ExperimentFile
    from landscape.steps import Place
    from landscape.trainer import Listener
    from landscape.training.imp import Finished
    from landscape.training.loop import Tick


@click.command(name="train")
@click.argument("file", metavar="[FILE.toml]", required=False, type=click.Path(path_type=Path))
@click.option("--name", help="Name of the run: a-z, 0-9, '.', '_' and '-'. [default: the file's]")
@click.option(
    "--replicates",
    type=click.IntRange(min=1, max=1000),
    help="Train all of it this many times, from seeds one apart, as NAME-s0, NAME-s1, …",
)
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    help="Runs trained side by side, each in a process of one thread. [default: 1, or the file's]",
)
@click.option(
    "--from",
    "mother",
    metavar="RUN",
    help="Begin at a network made by landscape plant: its weights, data and settings.",
)
@click.option("--quick", is_flag=True, help="Take the file's quick size, as NAME-quick.")
@click.option("--dry-run", is_flag=True, help="Check everything, print the runs, train nothing.")
@click.option("--print-config", is_flag=True, help="Print the complete FILE.toml; train nothing.")
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
    file: Path | None,
    name: str | None,
    replicates: int | None,
    jobs: int | None,
    mother: str | None,
    quick: bool,
    dry_run: bool,
    print_config: bool,
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

    With --from it begins at a planted network, and --density planted is that of the ticket in it.

    Every level is stored as it is finished. Interrupted, the same command goes on with the
    first unfinished level and ends with the same numbers.

    FILE.toml states an experiment: name and [train] (a run and its settings, named as the
    options below with _ for -), [[variant]] (more runs, with some settings changed), [[branch]]
    (runs that begin at the levels 'at' of the run, of the variant 'of', or with of = "each" of
    all of them, with the options of landscape branch), replicates, jobs, and [quick] (what a
    quick size changes). Options given here go before the file's [train]. A file runs no code,
    except a task or model that is FILE.py:NAME, as on the command line.
    """
    from landscape.commands.experiment import print_plan, train_all
    from landscape.experiment_file import complete
    from landscape.planning import plan
    from landscape.steps import Place

    given = {key: value for key, value in settings.items() if value is not None}
    if mother is not None:
        experiment = _begun(file, mother, name, replicates, quick, given)
    else:
        experiment, jobs = _asked(file, name, replicates, jobs, quick, given)
    with naming(file):
        store = existing_store(store_path, max_size) if experiment.name is None else None
        if store is not None and mother is not None:
            planted_run(store[mother])  # raises if nothing is planted there
        planned = plan(experiment, store)
    if print_config:
        click.echo(complete(experiment, planned, jobs), nl=False)
        return
    if dry_run or len(planned) > 1:
        from landscape.rehearsal import rehearse

        with naming(file):
            rehearse(planned, data)
    if dry_run:
        print_plan(planned, as_json)
        return
    place = Place(open_store(store_path, size_limit=max_size), data, device, threads)
    for run in planned if not resume else ():
        if Run(place.store.root, run.name).exists:
            raise UsageError(
                f"run {run.name!r} exists and --no-resume was given; use another --name"
            )
    if len(planned) > 1:
        train_all(planned, place, jobs or 1, as_json, quiet)
    else:
        train_single(planned[0], place, as_json, quiet)
    if experiment.asks and not as_json:
        size = " --quick" if quick else ""
        click.echo(f"Its analyses are asked by: landscape sweep {file}{size}")


def _begun(
    file: Path | None,
    mother: str,
    name: str | None,
    replicates: int | None,
    quick: bool,
    settings: dict[str, Any],
) -> Experiment:
    """The experiment of runs that begin at a planted network, dense."""
    from landscape.experiment import Experiment, Offshoot

    if file is not None or quick:
        raise UsageError(
            f"--from {mother} goes with --name and settings; in FILE.toml a branch says 'of', and "
            "a sweep has a [[plant]]"
        )
    if name is None:
        raise click.UsageError("Missing option '--name'.")
    first = settings.get("seed") or 0
    seeds: list[tuple[str, dict[str, Any]]] = [(name, {})]
    if replicates is not None:
        seeds = [(f"{name}-s{s}", {"seed": s}) for s in range(first, first + replicates)]
    branches = tuple(
        Offshoot(own, 0, mother, {"mask": "dense", **settings, **seed}) for own, seed in seeds
    )
    return Experiment(None, branches=branches)


def _asked(
    file: Path | None,
    name: str | None,
    replicates: int | None,
    jobs: int | None,
    quick: bool,
    settings: dict[str, Any],
) -> tuple[Experiment, int | None]:
    """The experiment of a command: its file's, with what its options change."""
    from landscape.experiment import Experiment

    if file is None:
        if name is None:
            raise click.UsageError("Missing option '--name'; or give an experiment, FILE.toml.")
        if quick:
            raise UsageError("--quick is a size of an experiment file; give FILE.toml")
        return Experiment(name, settings, replicates=replicates), jobs
    found = read_stated(file, quick)
    experiment = found.experiment
    if experiment.grid:
        raise UsageError(f"{file} has a [grid]; landscape sweep {file} trains its runs")
    if experiment.name is None and (name or replicates or settings):
        raise UsageError(
            f"{file} has branches only, of runs that are stored: --name, --replicates and settings "
            "of a run change nothing there; leave them out"
        )
    return (
        replace(
            experiment,
            name=name or experiment.name,
            settings={**experiment.settings, **settings},
            replicates=replicates or experiment.replicates,
        ),
        jobs or found.jobs,
    )


def read_stated(file: Path, quick: bool) -> ExperimentFile:
    """What a file states; of several faults all but the last are printed, and that is raised."""
    from landscape.experiment_file import FaultyFile, read_experiment

    try:
        return read_experiment(file, quick=quick)
    except FaultyFile as error:
        *others, last = error.sentences
        for sentence in others:
            click.echo(f"Error: {printable(sentence)}", err=True)
        raise UsageError(last) from error


@contextmanager
def naming(file: Path | None) -> Iterator[None]:
    """Errors of an experiment file's content name the file."""
    try:
        yield
    except LandscapeError as error:
        if file is None:
            raise
        raise type(error)(f"{file}: {error}") from error


def train_single(planned: Planned, place: Place, as_json: bool, quiet: bool) -> None:
    """Train one run and print its levels."""
    from landscape.steps import train_planned

    with progress(quiet) as display:
        listener = training_bar(display, planned.config, planned.name, quiet)
        run = train_planned(planned, place, listener)
    print_run(run, as_json)
    if not as_json:
        seeks = planned.parent is not None and begins_planted(run)
        then = f"overlap {run.name} --planted" if seeks else f"figure lth-accuracy --run {run.name}"
        first = "tickets" if seeks else "barrier"
        click.echo(f"\nNext: landscape {first} {run.name}    landscape {then}")


def print_run(run: Run, as_json: bool) -> None:
    """The levels of a run, as a table or as JSON."""
    rows = level_rows(run)
    if as_json:
        print_json({"run": run.name, "levels": rows})
    else:
        print_levels(run.name, rows)


def training_bar(display: Progress, config: RunConfig, name: str, quiet: bool) -> Listener:
    """A listener that shows how far a run is; without a terminal, a line per finished level."""
    bar = display.add_task(name, total=config.all_iterations)

    def listen(event: Tick | Finished) -> None:
        from landscape.training.loop import Tick

        if isinstance(event, Tick):
            validated = accuracy(event.row[TRACE_COLUMNS.index("validation_error")]) or "unknown"
            display.update(
                bar,
                completed=event.level * config.iterations + event.step,
                description=f"{name}  level {event.level}  validation accuracy {validated}",
            )
        elif display.disable and not quiet:
            level = event.level
            click.echo(
                f"{name}: level {level.number} {level.status}, {percent(level.mask.density)} of "
                f"the weights, test accuracy {accuracy(level.metrics['test_error'])}",
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
                accuracy(row["early_stop_test_error"]),
                accuracy(row["test_error"]),
                accuracy(row["train_error"]),
                "" if row["status"] == "done" else row["status"],
            )
            for row in rows
        ],
        title=f"run {name}",
    )


def accuracy(error: float | None) -> str | None:
    """Accuracy in percent."""
    return None if error is None else percent(1 - error)
