"""``landscape barrier``, ``landscape overlap``, …: one command per analysis of the table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from landscape.analysis.registry import ANALYSES, Analysis
from landscape.data_store.address import is_file_address
from landscape.data_store.store import Store, open_store
from landscape.options import common_options, print_json, settings_options
from landscape.printing import print_measures, progress


def command_for(name: str) -> click.Command:
    """The command of an analysis: its settings are its options."""
    analysis = ANALYSES.load(name)
    entry = ANALYSES[name]
    between = "between successive arguments" if analysis.arity == 2 else "of each argument"

    @click.command(
        name=name,
        help=f"{entry.summary}\n\n"
        f"Computed {between}; a RUN alone stands for its finished levels. Answers are kept in "
        "the store, and given again from there. Weights from .pt or .safetensors files need "
        f"--model and --task.\n\nSource: {entry.reference}.",
    )
    @click.argument("checkpoints", nargs=-1, required=True, metavar="CHECKPOINT…")
    @settings_options(analysis.settings)
    @click.option("--model", help="Network: a name or FILE.py:NAME. [default: the run's]")
    @click.option("--task", help="Data: a name or FILE.py:NAME. [default: the run's]")
    @common_options(compute=True)
    def command(**arguments: Any) -> None:
        _answer(name, analysis, **arguments)

    return command


def _answer(
    name: str,
    analysis: Analysis,
    *,
    checkpoints: tuple[str, ...],
    model: str | None,
    task: str | None,
    store_path: Path,
    max_size: int,
    data: Path | None,
    device: str,
    as_json: bool,
    quiet: bool,
    **settings: Any,
) -> None:
    """Ask, store and print."""
    from landscape.subject import Context
    from landscape.workbench import analyse

    context = Context(_store(checkpoints, store_path, max_size), task, model, data, device)
    with progress(quiet) as display:
        bar = display.add_task(name, total=None)
        ds = analyse(
            name,
            checkpoints,
            settings,
            context,
            lambda done, total: display.update(bar, completed=done, total=total),
        )
    if as_json:
        print_json(ds.to_dict())
        return
    print_measures(ds, analysis.measures)
    print_faults(ds)
    click.echo(f"\nStored in {store_path}; see 'landscape ls results'.")


def _store(checkpoints: tuple[str, ...], path: Path, max_size: int) -> Store:
    """The store; made anew only if all are files, so that a mistyped path is noticed."""
    create = all(map(is_file_address, checkpoints))
    return open_store(path, create=create, size_limit=max_size)


def print_faults(ds: Any) -> None:
    """Say which numbers are not what they seem."""
    status = ds["status"]
    meanings = status.attrs["flag_meanings"].split()
    stacked = status.stack(at=status.dims)
    for value, where in zip(stacked.values, stacked["at"].values, strict=True):
        if value:
            click.echo(f"{' '.join(map(str, where))}: {meanings[value].replace('_', ' ')}")
