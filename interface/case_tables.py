"""Case tables: a row per pair, checkpoint or transition of an analysis's answer."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from landscape.data_store.params import Array
from landscape.sheet import Cell, Column, Quantity, Sheet

if TYPE_CHECKING:
    import xarray as xr

_NOTHING: Mapping[str, Any] = MappingProxyType({})
_YES_NO: Mapping[float, Cell] = {1.0: "yes", 0.0: "no"}
NOT_KNOWN = "not measured"


@dataclass(frozen=True)
class Measure:
    """A column of a case table: a variable of the dataset, at one place of its other dimensions.

    Parameters
    ----------
    variable
        Its name.
    title
        What readers call it.
    error
        The variable that is its uncertainty, and ``spread``, which kind that is.
    at
        Labels of the dimensions that make no rows.
    name
        The CSV's name where the variable's is not enough.
    is_answer
        True for 1 and 0 that mean yes and no.
    is_accuracy
        True for an error that is shown as accuracy, one minus it.
    is_detail
        As of a `Column`.
    may_be_unknown
        True where NaN needs no reason: what it counts does not exist for the row.
    """

    variable: str
    title: str
    error: str = ""
    spread: str = "se"
    at: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    name: str = ""
    is_answer: bool = False
    is_accuracy: bool = False
    is_detail: bool = False
    may_be_unknown: bool = False

    def column(self, ds: xr.Dataset) -> Column:
        """What stands over it."""
        units = str(ds[self.variable].attrs["units"])
        is_text = self.is_answer or ds[self.variable].dtype.kind in "UTO"
        units = "" if is_text else self._measured(ds) or units
        spread = self.spread if self.error in ds else ""
        return Column(self.name or self.variable, self.title, units, spread, self.is_detail)

    def _measured(self, ds: xr.Dataset) -> str:
        """The unit of a number whose unit is that of the measure, where all rows have one."""
        if "in the unit of the measure" not in str(ds[self.variable].attrs["long_name"]):
            return ""
        measures = set(ds["measure"].values.flat)
        return {"loss": "nats per example", "error": "fraction"}.get(
            str(next(iter(measures))) if len(measures) == 1 else "", ""
        )

    def is_in(self, ds: xr.Dataset) -> bool:
        """True if a dataset has the variable, and the labels it is taken at."""
        return _has(ds, self.variable, self.at)

    def cells(self, ds: xr.Dataset, rows: Rows) -> list[Cell]:
        """Its cells, one for each row."""
        values = rows.of(ds[self.variable], self.at)
        if values.dtype.kind in "UTO":
            return [str(value) for value in values]
        if self.is_answer:
            return [_YES_NO.get(float(value), Quantity(float("nan"))) for value in values]
        if self.is_accuracy:
            values = 1.0 - values
        if self.error not in ds:
            return [Quantity(float(value)) for value in values]
        errors = rows.of(ds[self.error], self.at)
        return [Quantity(float(v), float(e)) for v, e in zip(values, errors, strict=True)]


@dataclass(frozen=True)
class Status:
    """A status of the dataset that says what the numbers of a row are worth.

    Parameters
    ----------
    variable
        Its name.
    of
        What it is the status of, where a row has several.
    at
        Labels of the dimensions that make no rows.
    """

    variable: str
    of: str = ""
    at: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)

    def words(self, ds: xr.Dataset, rows: Rows) -> list[str]:
        """What it means for each row, empty for ``ok``."""
        meanings = [
            m.replace("_", " ") for m in str(ds[self.variable].attrs["flag_meanings"]).split()
        ]
        found = [meanings[int(value)] for value in rows.of(ds[self.variable], self.at)]
        before = f"{self.of}: " if self.of else ""
        return ["" if word == "ok" else before + word for word in found]


@dataclass(frozen=True, eq=False)
class Rows:
    """The rows of a table: every combination of the labels of some dimensions.

    Parameters
    ----------
    sizes
        Length of each dimension, by name, the first the slowest.
    """

    sizes: Mapping[str, int]

    def of(self, variable: xr.DataArray, at: Mapping[str, Any]) -> Array:
        """A variable's value for each row; what it has no dimension for is repeated."""
        taken = {dim: label for dim, label in at.items() if dim in variable.dims}
        one = variable.sel(taken)
        own = [dim for dim in self.sizes if dim in one.dims]
        values = one.transpose(*own).values
        shape = [size if dim in own else 1 for dim, size in self.sizes.items()]
        wide = np.broadcast_to(values.reshape(shape), tuple(self.sizes.values()))
        return wide.reshape(-1)


@dataclass(frozen=True)
class Cases:
    """How a dataset of an analysis becomes a table.

    Parameters
    ----------
    caption
        One sentence.
    dims
        Dimensions whose labels make the rows, the first the slowest, with what readers call them.
    measures
        The columns, those that the dataset has.
    statuses
        Of the rows.
    notes
        Sentences for below the table.
    stated
        Variables that a note states where they are the same for all rows.
    """

    caption: str
    dims: Mapping[str, str]
    measures: Sequence[Measure]
    statuses: Sequence[Status]
    notes: tuple[str, ...] = ()
    stated: tuple[str, ...] = ()

    def sheet(self, name: str, ds: xr.Dataset) -> Sheet:
        """The table of a dataset."""
        rows = Rows({dim: ds.sizes[dim] for dim in self.dims})
        measures = [measure for measure in self.measures if measure.is_in(ds)]
        labels = [Column(dim, title) for dim, title in self.dims.items()]
        cells = [measure.cells(ds, rows) for measure in measures]
        names = itertools.product(*(map(str, ds[dim].values) for dim in self.dims))
        columns = (*labels, *(m.column(ds) for m in measures), Column("status", "status"))
        body = [
            (*label, *row, status)
            for label, row, status in zip(
                names, zip(*cells, strict=True), self._statuses(ds, rows, measures, cells),
                strict=True,
            )
        ]  # fmt: skip
        return Sheet(name, self.caption, columns, body, (*self.notes, *self._stated(ds)))

    def _stated(self, ds: xr.Dataset) -> list[str]:
        """What is the same for all rows, as a sentence."""
        values = {name: set(ds[name].values.flat) for name in self.stated if name in ds.variables}
        same = [
            f"{name.replace('_', ' ')} {_label(*found)}"
            for name, found in values.items() if len(found) == 1
        ]  # fmt: skip
        return [f"{', '.join(same).capitalize()}."] if same else []

    def _statuses(
        self, ds: xr.Dataset, rows: Rows, measures: Sequence[Measure], cells: Sequence[list[Cell]]
    ) -> list[str]:
        """What each row is worth: `NOT_KNOWN` if no status says why a number is not there."""
        present = [one for one in self.statuses if _has(ds, one.variable, one.at)]
        words = [status.words(ds, rows) for status in present]
        needed = [c for m, c in zip(measures, cells, strict=True) if not m.may_be_unknown]
        found = []
        for i in range(int(np.prod(list(rows.sizes.values())))):
            said = "; ".join(filter(None, (word[i] for word in words)))
            is_unknown = any(_is_nan(column[i]) for column in needed)
            found.append(said or (NOT_KNOWN if is_unknown else "ok"))
        return found


def _has(ds: xr.Dataset, variable: str, at: Mapping[str, Any]) -> bool:
    """True if a dataset has a variable, and the labels it is taken at."""
    return variable in ds and all(
        dim in ds.coords and label in ds[dim].values for dim, label in at.items()
    )


def _label(value: Any) -> str:
    """A value in a sentence."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def _is_nan(cell: Cell) -> bool:
    """True for a quantity that is unknown."""
    return isinstance(cell, Quantity) and cell.value != cell.value
