"""Printing: tables on standard output, progress on standard error."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

if TYPE_CHECKING:
    import xarray


def print_table(
    columns: Sequence[str], rows: Sequence[Sequence[Any]], *, title: str | None = None
) -> None:
    """A table; numbers are aligned to the right, None and NaN shown as a dash.

    On a terminal it fits the width; piped, no column is cut.
    """
    console = Console()
    if not console.is_terminal:
        console = Console(width=240)
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for i, column in enumerate(columns):
        numeric = any(isinstance(row[i], int | float) for row in rows) or any(
            str(row[i]).endswith("%") for row in rows
        )
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(_cell(value) for value in row))
    console.print(table)


def _cell(value: Any) -> str:
    """One value for a reader."""
    if value is None or value != value:
        return "–"
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)


def percent(fraction: float | None, digits: int = 2) -> str | None:
    """A fraction as a percentage; unknown stays unknown."""
    if fraction is None or fraction != fraction:
        return None
    return f"{100 * fraction:.{digits}f} %"


def print_measures(ds: xarray.Dataset, measures: Sequence[str]) -> None:
    """Variables of a dataset: a row per pair and second dimension, a column per measure.

    A third dimension (the definitions of a barrier) becomes columns. Fractions are printed
    as percentages.
    """
    dims = ds[measures[0]].dims
    columns, cells = list(map(str, dims[:2])), []
    for measure in measures:
        for labels in itertools.product(*(ds[d].values for d in dims[2:])):
            columns.append(" ".join([measure.removesuffix("_barrier"), *map(str, labels)]))
            cells.append((measure, dict(zip(dims[2:], labels, strict=True))))
    rows = []
    for at in itertools.product(*(ds[d].values for d in dims[:2])):
        place = dict(zip(dims[:2], at, strict=True))
        row: list[Any] = list(map(str, at))
        for measure, labels in cells:
            value = float(ds[measure].sel({**place, **labels}))
            row.append(percent(value) if ds[measure].attrs["units"] == "fraction" else value)
        rows.append(row)
    print_table(columns, rows)


@contextmanager
def progress(quiet: bool) -> Iterator[Progress]:
    """A progress display on standard error, with time left; nothing where that is no terminal."""
    console = Console(stderr=True)
    display = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=quiet or not console.is_terminal,
    )
    with display:
        yield display
