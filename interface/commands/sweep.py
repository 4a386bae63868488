"""``landscape sweep``."""

from __future__ import annotations

import time
from pathlib import Path

import click

from landscape.commands.train import naming, read_stated
from landscape.data_store.store import Store, open_store
from landscape.options import common_options, existing_store


@click.command(name="sweep")
@click.argument("file", metavar="FILE.toml", type=click.Path(path_type=Path))
@click.option("--quick", is_flag=True, help="Take the file's quick size, as NAME-quick.")
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    help="Steps done side by side, each in a process of one thread; 1 is without processes. "
    "[default: the file's, or as many as cores]",
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
    each run it is asked about; runs with fewer levels than it needs are passed over. A density may
    be "planted".

    Runs are called NAME-s0-PLANT and what the grid takes. What is done is passed over: the same
    command goes on after an interruption, tries again what failed, and in the end only reads. One
    step that fails does not stop the others. Two sweeps of one store do each step once. Each of
    several --jobs may take its share of the memory; one that takes more is stopped, and fails.
    """
    from landscape.agenda import agenda
    from landscape.commands.sweep_tables import print_plan, print_status, print_swept
    from landscape.commands.sweep_view import watched
    from landscape.data_store import layout
    from landscape.executors import executor
    from landscape.steps import Place
    from landscape.sweeper import sweep

    found = read_stated(file, quick)
    experiment, jobs = found.experiment, jobs or (None if scheduler else found.jobs)
    is_there = layout.manifest(store_path).exists()
    store = existing_store(store_path, max_size) if is_there else None
    with naming(file):
        whole = agenda(experiment, store)
        if dry_run:
            home = store or Store(store_path, max_size)
            count = 1 if scheduler else jobs  # how many a cluster does, it decides
            print_plan(whole, Place(home, data, device, threads), count, as_json)
            return
        if status:
            print_status(whole, Place(existing_store(store_path, max_size), data, device), as_json)
            return
    began = time.monotonic()
    place = Place(open_store(store_path, size_limit=max_size), data, device, threads)
    with (
        executor(jobs, scheduler) as execute,
        watched(execute, file.stem, quiet) as watching,
        naming(file),
    ):
        swept = sweep(experiment, place, watching, only_failed=retry_failed)
    print_swept(experiment, swept, file, place.store, time.monotonic() - began, as_json)
