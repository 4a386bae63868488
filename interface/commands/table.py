"""``landscape table``."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from landscape.commands.figure import matching
from landscape.data_store.conditions import parse_condition
from landscape.data_store.errors import UsageError, unknown
from landscape.data_store.files import write_over
from landscape.figures.registry import FIGURES
from landscape.options import common_options, existing_store, print_json
from landscape.printing import print_table
from landscape.sheet import Sheet
from landscape.sheet_formats import FORMATS, csv_names, text_parts
from landscape.tables import SPREADS, kind_of, sheet

if TYPE_CHECKING:
    from landscape.figures.registry import Figure

_FIGURE_OF = {
    "training": "lth-accuracy",
    "barrier": "barrier-levels",
    "overlap": "overlap",
    "sublevel": "sublevel",
    "volume": "volume-levels",
    "curvature": "spectrum",
    "tickets": "planted-singleshot",
    "insights": "insights",
}
_SUFFIXES = {".txt": "text", ".md": "markdown", ".tex": "latex", ".csv": "csv"}


@click.command(name="table")
@click.argument("name", metavar="KIND|FIGURE")
@click.option(
    "--run",
    "runs",
    multiple=True,
    required=True,
    help="A run, or several as 'imp-s*', or checkpoints as imp@3; may be repeated.",
)
@click.option(
    "--format",
    "form",
    metavar="|".join(FORMATS),
    help="How it is written. [default: by the ending of --out, otherwise text]",
)
@click.option(
    "--spread",
    default="std",
    metavar="|".join(SPREADS),
    help="Over replicates: standard deviation, or least and greatest. [default: std]",
)
@click.option(
    "--out", type=click.Path(path_type=Path), help="File to write. [default: standard output]"
)
@click.option("--compute", is_flag=True, help="Compute first what the store lacks.")
@click.option(
    "--where",
    multiple=True,
    metavar="CONDITION",
    help="Only stored results that meet it, as points=51, if there are several; may be repeated.",
)
@common_options(compute=True)
def command(
    name: str,
    runs: tuple[str, ...],
    form: str | None,
    spread: str,
    out: Path | None,
    compute: bool,
    where: tuple[str, ...],
    store_path: Path,
    max_size: int,
    data: Path | None,
    device: str,
    as_json: bool,
    quiet: bool,
) -> None:
    """Print the numbers of a figure as text, Markdown, LaTeX (booktabs) or CSV.

    KIND is training, barrier, overlap, sublevel, volume, curvature, tickets or insights, or
    the name of a figure that draws one of them. The answers are those of the store; with
    --compute, what is missing is computed first. The CSV has all digits and columns; the other
    formats round a value by its error, and leave out a status that is ok everywhere.
    """
    from landscape.figure_data import computed, found

    form = _format(form, out)
    kind = kind_of(name)
    if spread not in SPREADS:
        raise unknown("spread", spread, SPREADS)
    if compute and where:
        raise UsageError(
            "--where chooses among stored results and --compute makes new ones; give one of them"
        )
    store = existing_store(store_path, max_size)
    names = list(dict.fromkeys(one for run in runs for one in matching(store, run)))
    figure = _figure(name)
    if compute:
        ds, ids = computed(store, figure, names, data=data, device=device, quiet=quiet)
    else:
        chosen = [parse_condition(text) for text in where]
        ds, ids = found(store, figure, names, where=chosen, data=data)
    table = sheet(kind, ds, spread)
    if out is not None:
        write_over(out, _text_file(FORMATS[form](table)))
        if as_json:
            print_json({"file": str(out)})
        else:
            click.echo(f"wrote {out}")
    elif as_json:
        print_json({**_values(table), "results": list(ids)})
    else:
        _print(table, form)


def _format(form: str | None, out: Path | None) -> str:
    """The format that was asked for, in words or by a file's name."""
    if form is None:
        return _SUFFIXES.get(out.suffix, "text") if out is not None else "text"
    if form not in FORMATS:
        raise unknown("format of a table", form, FORMATS)
    return form


def _figure(name: str) -> Figure:
    """The figure of that name; of a table's, one of the same data as they are by default."""
    if name in _FIGURE_OF:
        return replace(FIGURES.load(_FIGURE_OF[name]), settings={})
    return FIGURES.load(name)


def _print(table: Sheet, form: str) -> None:
    """A table on standard output; text fits a terminal."""
    if form != "text" or not sys.stdout.isatty():
        click.echo(_text_file(FORMATS[form](table)), nl=False)
        return
    shown = table.for_readers()
    columns, rows, right = text_parts(shown)
    print_table(columns, rows, right, title=shown.caption, grouped=True)
    for note in ("", *shown.notes) if shown.notes else ():
        click.echo(note)


def _text_file(text: str) -> bytes:
    """What a file of the table holds, its last line ended."""
    return (text if text.endswith("\n") else f"{text}\n").encode()


def _values(table: Sheet) -> dict[str, Any]:
    """A table as JSON: all columns, and all digits as the CSV has them."""
    rows = []
    for row in table.rows:
        one: dict[str, Any] = {}
        for cell, column in zip(row, table.columns, strict=True):
            if isinstance(cell, str):
                one[column.name] = cell
                continue
            parts = {"": cell.value, "_min": cell.low, "_max": cell.high}
            if column.spread != "range":
                parts = {"": cell.value} | (
                    {f"_{column.spread}": cell.error} if column.spread else {}
                )
            one |= {column.name + ending: part for ending, part in parts.items()}
        rows.append(one)
    return {
        "name": table.name,
        "caption": table.caption,
        "columns": [name for column in table.columns for name in csv_names(column)],
        "rows": rows,
        "notes": list(table.notes),
    }
