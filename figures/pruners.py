"""Pruners: what tells their lines apart in a figure, and which of their runs are replicates."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from itertools import cycle
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from landscape.figures.bands import mean_and_spread
from landscape.figures.style import OKABE_ITO

Numbers = NDArray[np.float64]

ITERATIVE = ("multishot", "exponential", "linear", "rate")
_TASKS = ("target", "plant")
SAME_DENSITY = 0.02
ONE = "ticket"  # what the line of cases without a criterion is called
_LOOKS = {
    ONE: (OKABE_ITO[0], "o", "-"),
    "random": (OKABE_ITO[6], "X", (0, (1, 1.2))),
    "magnitude": (OKABE_ITO[0], "o", "-"),
    "snip": (OKABE_ITO[2], "s", "-"),
    "grasp": (OKABE_ITO[4], "^", (0, (4, 1.5))),
    "synflow": (OKABE_ITO[1], "D", "-"),
    "edge-popup": (OKABE_ITO[3], "v", (0, (4, 1.2, 1, 1.2))),
}
_SPARE = ((OKABE_ITO[5], "P"), ("0.5", "*"), ("#7F6000", "<"), ("#332288", ">"))
_NO_LINES = {
    *("target", "plant", "criterion", "densities", "seed", "target_density", "asked_density"),
    "result",
}


def lines(ds: xr.Dataset, along: str, known: Collection[str]) -> NDArray[np.str_]:
    """The line of each case: its criterion, and what else varies within that; or its run.

    Parameters
    ----------
    ds
        A dataset; ``criterion`` and further settings are coordinates over `along`.
    along
        The dimension of its cases.
    known
        Coordinates that are no settings: those of its schema.
    """
    criteria = np.full(ds.sizes[along], ONE, dtype=object)
    if "criterion" in ds.coords:
        criteria[:] = ds["criterion"].values.tolist()
    elif "run" in ds.coords and len(set(ds["run"].values.tolist())) > 1:
        criteria[:] = ds["run"].values.tolist()
    further = [
        str(name)
        for name, values in ds.coords.items()
        if values.dims == (along,) and name not in {*known, *_NO_LINES}
    ]
    labels = criteria.copy()
    for criterion in dict.fromkeys(criteria.tolist()):
        rows = np.flatnonzero(criteria == criterion)
        for name in further:
            values = [ds[name].values[row].item() for row in rows]
            if len(set(values)) > 1:
                labels[rows] += [_words(name.removeprefix("score_"), value) for value in values]
    return labels.astype(np.str_)


def _words(name: str, value: Any) -> str:
    """A setting as a part of a label; what is off needs none."""
    plain = name.replace("_", " ")
    if isinstance(value, bool) or value == "":
        return f", {plain}" if value else ""
    return f", {plain} {value}"


def tasks(ds: xr.Dataset, along: str) -> dict[str, NDArray[np.intp]]:
    """Rows of the cases of each task, by the coordinate ``target`` or ``plant``; one without."""
    named = next((name for name in _TASKS if name in ds.coords), None)
    if named is None:
        return {"": np.arange(ds.sizes[along])}
    found = ds[named].values.astype(np.str_)
    return {name: np.flatnonzero(found == name) for name in dict.fromkeys(found.tolist())}


def looks(labels: NDArray[np.str_]) -> Mapping[str, Mapping[str, Any]]:
    """Colour, marker and line style by label; of a criterion the same in every figure."""
    spare = cycle(_SPARE)
    found = {}
    for name in dict.fromkeys(labels.tolist()):
        colour, marker, line = _LOOKS.get(name) or (*next(spare), "--")
        found[name] = {"color": colour, "marker": marker, "linestyle": line}
    return found


def replicates(density: Numbers) -> Iterator[NDArray[np.intp]]:
    """Rows of like density, from dense to sparse; each within 2 % of the first of them.

    Rows without a density, or one of 0, are left out: they have no place on a logarithmic axis.
    """
    order = np.argsort(-density, kind="stable")
    left = order[np.isfinite(density[order]) & (density[order] > 0)]
    while len(left):
        same = density[left] >= density[left[0]] * (1 - SAME_DENSITY)
        yield left[same]
        left = left[~same]


def reduced(how: Callable[[Numbers], Any], values: Numbers) -> float:
    """A mean or an extreme of the values that are known, NaN if none is."""
    known = values[np.isfinite(values)]
    return float(how(known)) if len(known) else float("nan")


def steps(
    density: Numbers, values: Numbers, spread: str
) -> tuple[Numbers, Numbers, Numbers, Numbers]:
    """Density of each set of replicates, the mean of its values and the ends of their spread.

    Parameters
    ----------
    density, values
        Of the rows, (row,).
    spread
        As `mean_and_spread` has it.
    """
    groups = list(replicates(density))
    x = np.array([density[rows].mean() for rows in groups])
    found = [mean_and_spread(values[rows, None].astype(float), spread) for rows in groups]
    mean, low, high = np.array(found, dtype=float).reshape(-1, 3).T
    return x, mean, low, high
