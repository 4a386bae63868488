"""Printing: tables on standard output, progress on standard error."""

from __future__ import annotations

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
    """Variables of a dataset, a row per pair and second dimension.

    Measures over these two dimensions share a table, a column each; one with a third (the
    definitions of a barrier) has a table of its own. Fractions are printed as percentages.
    """
    flat = [measure for measure in measures if ds[measure].ndim == 2]
    tables = ([flat] if flat else []) + [[m] for m in measures if m not in flat]
    for number, names in enumerate(tables):
        if number:
            Console().print()
        _print_measures(ds, names)


def _print_measures(ds: xarray.Dataset, measures: Sequence[str]) -> None:
    """One table of measures that share their dimensions."""
    first, second, *third = ds[measures[0]].dims
    title = None
    columns = [str(first), str(second), *measures]
    if third:
        name, attrs = measures[0], ds[measures[0]].attrs
        unit = "" if attrs["units"] == "fraction" else f", {attrs['units']}"
        title = f"{attrs['long_name']}{unit}"
        columns = [str(first), str(second), *map(str, ds[name][third[0]].values)]
    rows = []
    for i, a in enumerate(ds[first].values):
        for j, b in enumerate(ds[second].values):
            cells = [ds[m].values[i, j] for m in measures]
            values = cells[0] if third else cells
            fraction = ds[measures[0]].attrs["units"] == "fraction"
            rows.append([str(a), str(b), *((percent if fraction else float)(v) for v in values)])
    print_table(columns, rows, title=title)


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
