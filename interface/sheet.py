"""Sheet: a table as values, before it is text, Markdown, LaTeX or CSV."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Quantity:
    """A number and what is known of its uncertainty; NaN is unknown.

    Parameters
    ----------
    value
        The number, in the units of its column.
    error
        Standard error or deviation of it.
    low, high
        Least and greatest of what it is the mean of.
    """

    value: float
    error: float = math.nan
    low: float = math.nan
    high: float = math.nan


Cell = str | Quantity


@dataclass(frozen=True)
class Column:
    """What stands in a column.

    Parameters
    ----------
    name
        Its name for programs: the CSV's.
    title
        Its name for readers.
    units
        Of its quantities, as a schema has them: ``fraction``, ``nats per example``, ``count``,
        ``1``; empty for text.
    spread
        What their uncertainty is: ``se``, ``std``, ``residual``, ``range``, or empty for none.
    is_detail
        True if only the CSV has it.
    """

    name: str
    title: str
    units: str = ""
    spread: str = ""
    is_detail: bool = False

    @property
    def is_text(self) -> bool:
        """True for words, which stand to the left."""
        return not self.units


@dataclass(frozen=True)
class Sheet:
    """A table.

    Parameters
    ----------
    name
        What it is a table of.
    caption
        One sentence for above it.
    columns, rows
        Cells by row, one per column.
    notes
        Sentences for below it.
    """

    name: str
    caption: str
    columns: tuple[Column, ...]
    rows: Sequence[Sequence[Cell]]
    notes: tuple[str, ...] = ()

    def for_readers(self) -> Sheet:
        """Without details, and without a ``status`` that is ``ok`` in every row."""
        kept = [i for i, column in enumerate(self.columns) if not self._is_left_out(i, column)]
        columns = tuple(self.columns[i] for i in kept)
        rows = [[row[i] for i in kept] for row in self.rows]
        return Sheet(self.name, self.caption, columns, rows, self.notes)

    def _is_left_out(self, place: int, column: Column) -> bool:
        """True for a column that says nothing to a reader."""
        is_idle = column.name == "status" and all(row[place] == "ok" for row in self.rows)
        return column.is_detail or is_idle
