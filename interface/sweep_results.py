"""The answers of a sweep as datasets: joined, each with its place in the grid as coordinates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from landscape.data_store import results
from landscape.data_store.errors import LandscapeError
from landscape.data_store.join import CASES
from landscape.data_store.params import Array
from landscape.data_store.store import Run, Store
from landscape.experiment import Planned

SEED = "seed"
_DENSITY = "density"
_WHOLE = ("all", "test")
_FEW = 3
_OF_LEVEL = {
    "density": ("density of the last level", "fraction"),
    "train_loss": ("training loss", "nats per example"),
    "test_loss": ("test loss", "nats per example"),
    "train_error": ("training error", "fraction"),
    "test_error": ("test error", "fraction"),
}


def joined(parts: Sequence[tuple[Planned, xr.Dataset]]) -> xr.Dataset:
    """The answers of one analysis about several runs, as one dataset.

    What the grid varies labels what the answers are about, by coordinates that ``sel`` and
    ``groupby`` take: the settings of the grid, ``plant`` or ``variant`` and ``branch``, and
    ``seed``. The density that was asked for is ``target_density``, a number; where the grid has a
    word for it, ``asked_density`` is in the grid's words. A setting that the answers have a
    variable for already is called ``target_SETTING``.

    Raises `LandscapeError` as `landscape.data_store.join.join` does.
    """
    whole = results.together([answer for _, answer in parts])
    dim = along(whole)
    counts = [answer.sizes[dim] for _, answer in parts]
    runs = [run for run, count in zip(parts, counts, strict=True) for _ in range(count)]
    return _placed(whole, dim, [run for run, _ in runs])


def along(ds: xr.Dataset) -> str:
    """The dimension of what a dataset is about; raises `LandscapeError` if there is none."""
    for name in (*CASES, "run"):
        if name in ds.dims:
            return name
    raise LandscapeError(f"a dataset over {', '.join(map(str, ds.dims))} is about no checkpoint")


def last_levels(store: Store, runs: Sequence[Planned]) -> xr.Dataset:
    """Density, losses and errors of the last level of finished runs, along ``run``."""
    rows = []
    for run in runs:
        level = Run(store.root, run.name, store.size_limit).level(run.config.levels - 1)
        rows.append({**level.metrics, "density": level.mask.density})
    variables = {
        name: (
            ("run",),
            np.array([row.get(name, np.nan) for row in rows], dtype=np.float64),
            {"long_name": words, "units": units},
        )
        for name, (words, units) in _OF_LEVEL.items()
    }
    ds = xr.Dataset(variables, {"run": np.array([run.name for run in runs], dtype=np.str_)})
    return _placed(ds, "run", runs)


def varied(ds: xr.Dataset) -> list[str]:
    """The coordinates that tell the cells of a sweep apart: its places without the seed."""
    dim = along(ds)
    names = [str(name) for name in ds.xindexes if ds[name].dims == (dim,)]
    leave = {dim, SEED, "run", "target_density" if "asked_density" in names else ""}
    return [name for name in names if name not in leave]


def _placed(ds: xr.Dataset, dim: str, runs: Sequence[Planned]) -> xr.Dataset:
    """A dataset with the place of each run as coordinates; `runs` are as many as `dim` is long."""
    columns: dict[str, tuple[Array, str]] = {}
    for key in dict.fromkeys(key for run in runs for key in run.place):
        taken = [run.place.get(key) for run in runs]
        if key == _DENSITY:
            if any(isinstance(value, str) for value in taken):
                columns["asked_density"] = _column(taken), "density that was asked for"
            taken = [run.config.density for run in runs]
        name = f"target_{key}" if key == _DENSITY or key in ds.variables else key
        columns[name] = _column(taken), key.replace("_", " ")
    columns[SEED] = _column([run.config.seed for run in runs]), "seed"
    if "run" not in ds.variables:
        columns["run"] = _column([run.name for run in runs]), "run"
    for name, (values, words) in columns.items():
        ds = ds.assign_coords({name: (dim, values, {"long_name": words, "units": "1"})})
        ds = ds if name == dim else ds.set_xindex(name)
    return ds


def _column(values: Sequence[Any]) -> Array:
    """Values as an array: numbers, truth values, or text; what is unknown is NaN or empty."""
    known = [value for value in values if value is not None]
    if known and len(known) == len(values) and all(isinstance(v, bool) for v in known):
        return np.array(values, dtype=np.bool_)
    if known and all(isinstance(v, int | float) and not isinstance(v, bool) for v in known):
        whole = len(known) == len(values) and all(isinstance(v, int) for v in known)
        numbers = [np.nan if value is None else value for value in values]
        return np.array(numbers, dtype=np.int64 if whole else np.float64)
    return np.array(["" if value is None else _text(value) for value in values], dtype=np.str_)


def _text(value: Any) -> str:
    """A value in words."""
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


@dataclass(frozen=True)
class Summary:
    """Measures of a dataset by the cells of a sweep.

    Parameters
    ----------
    places
        Names of what tells the cells apart.
    measures
        Units of each measure, by name; of several entries the name has the label behind a comma.
    taken
        The entry that stands for a dimension, by dimension.
    rows
        For each cell in order of first appearance ``place``, its ``runs``, and by measure ``mean``,
        ``min``, ``max`` and ``known``: over how many runs; NaN for none.
    """

    places: tuple[str, ...]
    measures: Mapping[str, str]
    taken: Mapping[str, str]
    rows: list[dict[str, Any]]


def summary(ds: xr.Dataset, measures: Sequence[str]) -> Summary:
    """Mean, least and greatest of measures over the replicates of each cell.

    Of several entries of a run the last counts. Of the dimensions that are left, ``all`` or
    ``test`` stands for the whole; the first without such a label has a column for each of its
    entries, if there are few; of the others the first entry is taken, for all measures alike.

    Parameters
    ----------
    ds
        As `joined` or `last_levels` make it.
    measures
        Variables of numbers; those it does not have, and those of text, are passed over.
    """
    dim, keys = along(ds), varied(ds)
    last = {str(run): i for i, run in enumerate(ds["run"].values)}
    cells: dict[tuple[Any, ...], list[int]] = {}
    for i in last.values():
        cells.setdefault(tuple(_label(ds[key].values[i]) for key in keys), []).append(i)
    columns: dict[str, Array] = {}
    units: dict[str, str] = {}
    taken: dict[str, str] = {}
    for name in measures:
        if name in ds and ds[name].dtype.kind in "fiu" and dim in ds[name].dims:
            for title, values in _columns(ds[name], dim, taken):
                columns[title] = values
                units[title] = str(ds[name].attrs.get("units", "1"))
    rows = [
        {
            "place": dict(zip(keys, cell, strict=True)),
            "runs": len(members),
            "measures": {name: _spread(column[members]) for name, column in columns.items()},
        }
        for cell, members in cells.items()
    ]
    return Summary(tuple(keys), units, taken, rows)


def _columns(
    variable: xr.DataArray, dim: str, taken: dict[str, str]
) -> Iterator[tuple[str, Array]]:
    """Columns of a variable along `dim`: name and values; `taken` is told what stands for what."""
    name, spread = str(variable.name), None
    for other in map(str, variable.dims):
        labels = [str(value) for value in variable[other].values]
        if other == dim:
            continue
        known = (taken.get(other), *_WHOLE)
        whole = next((word for word in known if word in labels), None)
        if whole is None and spread is None and len(labels) <= _FEW:
            spread = other
            continue
        taken[other] = whole or labels[0]
        variable = variable.isel({other: labels.index(taken[other])})
    if spread is None:
        yield name, np.asarray(variable.values, dtype=np.float64)
        return
    for i, label in enumerate(variable[spread].values):
        yield f"{name}, {label}", np.asarray(variable.isel({spread: i}).values, dtype=np.float64)


def _label(value: Any) -> Any:
    """A value of a coordinate; None for NaN, which is not equal to itself."""
    plain = value.item()
    return None if plain != plain else plain


def _spread(values: Array) -> Mapping[str, float]:
    """Mean, least and greatest of the numbers that are known."""
    known = values[~np.isnan(values)]
    if not len(known):
        return {"mean": np.nan, "min": np.nan, "max": np.nan, "known": 0}
    return {
        "mean": float(known.mean()),
        "min": float(known.min()),
        "max": float(known.max()),
        "known": len(known),
    }
