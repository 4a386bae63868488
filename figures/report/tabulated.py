"""Tabulated: variables of a dataset as the rows of a table, with nothing rounded or left out."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from landscape.figures.report.parts import Column, Numbers, Value

if TYPE_CHECKING:
    import xarray as xr


def tabulated(ds: xr.Dataset, down: Sequence[str], variables: Sequence[str]) -> Numbers:
    """A row for each combination of the labels of some dimensions, a column for each variable.

    Parameters
    ----------
    ds
        Any dataset whose variables have the attributes of a schema.
    down
        Dimensions with labels. They are the first columns.
    variables
        Variables or coordinates; those `ds` lacks are passed over. One with a single further
        dimension has a column for each of its labels, as ``loss_barrier[lmc]``.

    Numbers are as they are stored, fractions from 0 to 1; NaN is None, a status its word.
    """
    names = [name for name in variables if name in ds.variables]
    cells = [column for name in names for column in _columns(ds, name, down)]
    heads = [Column(dim, str(ds[dim].attrs.get("long_name", dim))) for dim in down]
    rows = [
        (
            *(_value(ds[dim].values[i]) for dim, i in zip(down, place, strict=True)),
            *(_value(values[place]) for _, values in cells),
        )
        for place in itertools.product(*(range(ds.sizes[dim]) for dim in down))
    ]
    return Numbers((*heads, *(column for column, _ in cells)), rows)


def words(status: xr.DataArray) -> Any:
    """A status as words, an array of its shape; empty where it is ok."""
    meanings = [m.replace("_", " ") for m in str(status.attrs["flag_meanings"]).split()]
    table = np.array(["", *meanings[1:], "of a status that this version does not know"])
    known = np.where((status.values >= 0) & (status.values < len(meanings)), status.values, -1)
    return table[known]


def _columns(ds: xr.Dataset, name: str, down: Sequence[str]) -> Iterator[tuple[Column, Any]]:
    """A variable's columns, each with its values over all of `down`."""
    variable = ds[name]
    attrs = variable.attrs
    title, percent = str(attrs.get("long_name", name)), attrs.get("units") == "fraction"
    if attrs.get("units") not in ("fraction", "1", "count", None):
        title = f"{title} ({attrs['units']})"
    values = words(variable) if "flag_meanings" in attrs else variable.values
    if "flag_meanings" in attrs:
        values = np.where(values == "", "ok", values)
    shape = [ds.sizes[dim] for dim in down]
    inner = [dim for dim in down if dim in variable.dims]
    further = [dim for dim in variable.dims if dim not in down]
    values = np.transpose(values, [variable.dims.index(dim) for dim in (*inner, *further)])
    if not further:
        yield Column(name, title, percent), _spread(values, inner, down, shape)
        return
    (dim,) = further
    for i, label in enumerate(ds[dim].values.tolist()):
        head = Column(f"{name}[{label}]", f"{title}, {label}", percent)
        yield head, _spread(values[..., i], inner, down, shape)


def _spread(values: Any, inner: Sequence[str], down: Sequence[str], shape: Sequence[int]) -> Any:
    """Values over some of the dimensions `down`, repeated along the others."""
    index = tuple(slice(None) if dim in inner else None for dim in down)
    return np.broadcast_to(values[index], shape)


def _value(value: Any) -> Value:
    """One entry as plain text or number, None where it is not known."""
    plain = value.item() if hasattr(value, "item") else value
    if isinstance(plain, str):
        return plain
    return None if math.isnan(plain) else float(plain)
