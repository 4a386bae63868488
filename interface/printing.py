"""Printing: tables on standard output, progress on standard error."""

from __future__ import annotations

import itertools
import re
import shutil
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    import xarray
    from rich.progress import Progress

_GAP = "  "
_NARROWEST = 6


def print_table(
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    right: Sequence[bool] | None = None,
    *,
    title: str | None = None,
    grouped: bool = False,
) -> None:
    """A table; numbers are aligned to the right, None and NaN shown as a dash.

    `right` says which columns stand to the right where the cells are written already. On a
    terminal it fits the width, long entries folded; piped, a row is a line. If it is
    `grouped` and a terminal has no room for its first column, that becomes lines between the rows.
    """
    texts, right = _columns(columns, rows, right)
    body = [list(row) for row in zip(*(column[1:] for column in texts), strict=True)]
    widths = [max(map(width_of, column)) for column in texts]
    first, groups = 0, [""] * len(body)
    if sys.stdout.isatty():
        whole = [max(map(_longest_word, column)) for column in texts]
        room = shutil.get_terminal_size().columns
        if grouped and _across([widths[0], *whole[1:]]) > room:
            first, groups = 1, [row[0] for row in body]
        widths = _fitted(widths[first:], whole[first:], room)
    lines = []
    for i, row in enumerate(body):
        if first and groups[i : i + 1] != groups[i - 1 : i]:
            lines.append(groups[i])
        lines += _lines(row[first:], widths, right[first:])
    head = [click.style(line, bold=True) for line in _lines(columns[first:], widths, right[first:])]
    click.echo("\n".join([title, *head, *lines] if title else [*head, *lines]))


def plain_table(
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    right: Sequence[bool] | None = None,
    *,
    title: str | None = None,
) -> str:
    """A table as `print_table` prints it where there is no terminal: a row is a line."""
    texts, right = _columns(columns, rows, right)
    widths = [max(map(width_of, column)) for column in texts]
    lines = [_line(row, widths, right) for row in zip(*texts, strict=True)]
    return "\n".join([title, *lines] if title else lines)


def _columns(
    columns: Sequence[str], rows: Sequence[Sequence[Any]], right: Sequence[bool] | None
) -> tuple[list[list[str]], Sequence[bool]]:
    """The texts of each column, its heading first, and whether they stand to the right."""
    texts = [[name, *(_cell(row[i]) for row in rows)] for i, name in enumerate(columns)]
    if right is not None:
        return texts, right
    return texts, [
        any(isinstance(row[i], int | float) or str(row[i]).endswith("%") for row in rows)
        for i in range(len(columns))
    ]


def _across(widths: Sequence[int]) -> int:
    """Columns of a terminal that a table takes."""
    return sum(widths) + len(_GAP) * (len(widths) - 1)


def _lines(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> list[str]:
    """A row as one line, or as several where an entry is longer than its column."""
    if all(width_of(cell) <= width for cell, width in zip(cells, widths, strict=True)):
        return [_line(cells, widths, right)]
    folded = [_folded(cell, width) for cell, width in zip(cells, widths, strict=True)]
    height = max(map(len, folded))
    return [
        _line([parts[i] if i < len(parts) else "" for parts in folded], widths, right)
        for i in range(height)
    ]


def _line(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    """One line of a table."""
    padded = []
    for cell, width, to_right in zip(cells, widths, right, strict=True):
        space = " " * (width - width_of(cell))
        padded.append(space + cell if to_right else cell + space)
    return _GAP.join(padded).rstrip()


def _folded(text: str, width: int) -> list[str]:
    """A text in pieces of at most `width`, whole words where they fit."""
    pieces = [""]
    for word in _words(text):
        if pieces[-1] and width_of(pieces[-1] + word.rstrip()) > width:
            pieces.append("")
        for character in word:
            if character != " " and width_of(pieces[-1] + character) > width:
                pieces.append("")
            pieces[-1] += character
    return [piece.rstrip() for piece in pieces]


def _words(text: str) -> list[str]:
    """The parts that a text is folded between: at spaces, underscores and points of names.

    >>> _words("fc1.weight"), _words("unit_recall"), _words("12.34 %")
    (['fc1.', 'weight'], ['unit_', 'recall'], ['12.34 %'])
    """
    return re.split(r"(?<= )(?!%)|(?<=_)|(?<=\.)(?=[A-Za-z])", text)


def _longest_word(text: str) -> int:
    """Columns that a text needs if only words are folded."""
    return max((width_of(word.rstrip()) for word in _words(text)), default=0)


def _fitted(widths: Sequence[int], whole: Sequence[int], room: int) -> list[int]:
    """Widths of columns that fit a terminal, the widest made narrower: as far as words stay whole,
    and only then farther.
    """
    fitted = list(widths)
    for least in (whole, [_NARROWEST] * len(fitted)):
        while _across(fitted) > room:
            wide = [w if w > least[i] else 0 for i, w in enumerate(fitted)]
            if not any(wide):
                break
            fitted[wide.index(max(wide))] -= 1
    return fitted


def width_of(text: str) -> int:
    """Columns that a text takes on a terminal."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )


def _cell(value: Any) -> str:
    """One value for a reader."""
    if value is None or value != value:
        return "–"
    if isinstance(value, float):
        return f"{value:.4g}"
    return printable(str(value))


def printable(text: str) -> str:
    """`text` on one line, with escapes for what would command the terminal."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def percent(fraction: float | None, digits: int = 2) -> str | None:
    """A fraction as a percentage; unknown stays unknown."""
    if fraction is None or fraction != fraction:
        return None
    return f"{100 * fraction:.{digits}f} %"


def print_measures(ds: xarray.Dataset, measures: Sequence[str]) -> None:
    """Variables of a dataset, a row per case (pair, checkpoint …) and second dimension.

    Measures of the same one or two dimensions share a table, a column each; one with a third
    (the definitions of a barrier) has a table of its own. Fractions are printed as percentages,
    a status as what it means.
    """
    tables: dict[tuple[object, ...], list[str]] = {}
    for measure in filter(ds.__contains__, measures):  # an older result may lack some
        dims = ds[measure].dims
        tables.setdefault((*dims, measure) if len(dims) > 2 else dims, []).append(measure)
    for number, names in enumerate(tables.values()):
        if number:
            click.echo()
        _print_measures(ds, names)


def _print_measures(ds: xarray.Dataset, measures: Sequence[str]) -> None:
    """One table of measures that share their dimensions."""
    dims = [str(dim) for dim in ds[measures[0]].dims]
    title = None
    down = dims[: max(2, len(dims) - 1)]
    columns = [*down, *measures]
    if len(dims) > 2:
        attrs = ds[measures[0]].attrs
        unit = "" if attrs["units"] in ("fraction", "1") else f", {attrs['units']}"
        title = f"{attrs['long_name']}{unit}"
        columns = [*down, *map(_label, ds[dims[-1]].values)]
    rows = []
    for place in itertools.product(*(range(ds.sizes[dim]) for dim in down)):
        labels = [_label(ds[dim].values[i]) for dim, i in zip(dims, place, strict=False)]
        cells = [_measured(ds[m], value) for m in measures for value in _flat(ds[m].values[place])]
        rows.append([*labels, *cells])
    print_table(columns, rows, title=title, grouped=len(dims) > 1)


def _label(value: Any) -> str:
    """A label of a dimension; whole numbers without a point."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def _flat(values: Any) -> list[Any]:
    """A number, or those of a row, as a list."""
    return list(values) if getattr(values, "ndim", 0) else [values]


def _measured(variable: xarray.DataArray, value: Any) -> Any:
    """One number of a measure as a table shows it."""
    if meanings := variable.attrs.get("flag_meanings"):
        return str(meanings).split()[int(value)].replace("_", " ")
    if variable.dtype.kind in "UO":
        return str(value)
    if variable.attrs["units"] == "count" and float(value).is_integer():
        return int(value)
    return percent(float(value)) if variable.attrs["units"] == "fraction" else float(value)


@contextmanager
def progress(quiet: bool, *, timed: bool = True) -> Iterator[Progress]:
    """A progress display on standard error; nothing where that is no terminal.

    Parameters
    ----------
    timed
        True if it says of itself how much time is left; otherwise tasks have a `said`, which is
        asked for its words again and again.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    display = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn() if timed else TextColumn("{task.fields[said]}"),
        console=console,
        transient=True,
        disable=quiet or not console.is_terminal,
    )
    with display:
        yield display
