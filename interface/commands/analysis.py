"""``landscape barrier``, ``landscape overlap``, …: one command per analysis of the table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from landscape.analysis.registry import ANALYSES, Analysis
from landscape.data_store.address import is_file_address
from landscape.data_store.errors import UsageError
from landscape.data_store.store import Store, open_store
from landscape.options import common_options, print_json, settings_options
from landscape.printing import print_measures, print_table

_FAULTS = 12  # of one kind that are named


def command_for(name: str) -> click.Command:
    """The command of an analysis: its settings are its options."""
    analysis = ANALYSES.load(name)
    entry = ANALYSES[name]
    needed = analysis.self_test is None
    between = analysis.grouping(analysis.settings()).words

    @click.command(
        name=name,
        help=f"{entry.summary}\n\n"
        f"Computed {between}; a RUN alone stands for its finished levels. Answers are kept in "
        "the store, and given again from there. Weights from .pt or .safetensors files need "
        f"--model and --task.\n\nSource: {entry.reference}.",
    )
    @click.argument("checkpoints", nargs=-1, required=needed, metavar="CHECKPOINT…")
    @settings_options(analysis.settings)
    @click.option("--model", help="Network: a name or FILE.py:NAME. [default: the run's]")
    @click.option("--task", help="Data: a name or FILE.py:NAME. [default: the run's]")
    @common_options(compute=True)
    def command(*, self_test: bool = False, **arguments: Any) -> None:
        if self_test and analysis.self_test is not None:
            _print_self_test(analysis.self_test, arguments["as_json"])
        else:
            _answer(name, analysis, **arguments)

    if analysis.self_test is not None:
        known = "Print known answers beside what comes out, and nothing else."
        command = click.option("--self-test", is_flag=True, help=known)(command)
    return command


def _print_self_test(self_test: Callable[[], Any], as_json: bool) -> None:
    """Known answers beside what the analysis makes of them."""
    ds = self_test()
    if as_json:
        print_json(ds.to_dict())
        return
    frame = ds.to_dataframe().reset_index()
    rows = [list(row) for row in frame.itertuples(index=False)]
    print_table([str(column) for column in frame.columns], rows)


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
    from landscape.waiting import waiting
    from landscape.workbench import analyse, settings_of

    if not checkpoints:
        raise UsageError(
            f"{name} needs a checkpoint, as in 'landscape {name} RUN@3', or --self-test"
        )
    context = Context(_store(checkpoints, store_path, max_size), task, model, data, device)
    with waiting(name, quiet) as tally:
        ds = analyse(name, checkpoints, settings, context, tally)
    if as_json:
        print_json(ds.to_dict())
        return
    print_measures(ds, analysis.printed(settings_of(analysis, settings)))
    print_faults(ds)
    click.echo(f"\nStored in {store_path}; see 'landscape ls results'.")


def _store(checkpoints: tuple[str, ...], path: Path, max_size: int) -> Store:
    """The store; made anew only if all are files, so that a mistyped path is noticed."""
    create = all(map(is_file_address, checkpoints))
    return open_store(path, create=create, size_limit=max_size)


def print_faults(ds: Any) -> None:
    """Say which numbers are not what they seem: by the labels that decide it, the first of many."""
    status = ds["status"]
    meanings = status.attrs["flag_meanings"].split()
    for value in sorted({int(v) for v in status.values.flat} - {0}):
        found = status == value
        for dim in found.dims:
            if found.sizes[dim] > 1 and bool((found == found.isel({dim: 0})).all()):
                found = found.isel({dim: 0}, drop=True)
        places = [tuple(place) for place in zip(*found.values.nonzero(), strict=True)]
        labels = [
            [str(ds[d].values[i]) for d, i in zip(found.dims, p, strict=True)] for p in places
        ]
        words = meanings[value].replace("_", " ")
        for where in labels[:_FAULTS]:
            click.echo(f"{' '.join(where) or 'everywhere'}: {words}")
        if len(labels) > _FAULTS:
            click.echo(f"and {len(labels) - _FAULTS} more: {words}")
