"""Levels: colours of what has many levels, names of what has few."""

from __future__ import annotations

from itertools import cycle
from typing import Any

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D

from landscape.data_store.schema import ResultSchema
from landscape.figures.axes import known
from landscape.figures.style import (
    LINES,
    axis_label,
    colours,
    legend_above,
    level_bar,
    level_scale,
    run_looks,
)

NAMED = 4
_LEVEL = {"pair": "level_b", "checkpoint": "level"}


def level_looks(ds: xr.Dataset, along: str) -> list[dict[str, Any]]:
    """Colour and line style of each case along ``pair`` or ``checkpoint``.

    By level, with a line style for each run; where names say more, as of up to four cases or of
    levels that repeat, a colour and a line style each.
    """
    levels = _scale(ds, along)
    if levels is None:
        looks = zip(colours(ds.sizes[along]), cycle(LINES), strict=False)
        return [{"color": colour, "linestyle": line} for colour, line in looks]
    lines = {run: line for run, _, line in run_looks(ds)}
    return [
        {"color": levels.to_rgba(level), "linestyle": lines[run]}
        for level, run in zip(ds[_LEVEL[along]].values, ds["run"].values.tolist(), strict=True)
    ]


def explain_levels(
    ds: xr.Dataset, along: str, schema: ResultSchema, axes: list[Axes], over: Axes | Canvas
) -> None:
    """The legend `over` the axes, or the colour bar beside them and the runs over them."""
    levels = _scale(ds, along)
    if levels is None:
        looks = zip(ds[along].values.tolist(), level_looks(ds, along), strict=True)
        legend_above(over, [Line2D([], [], label=name, **look) for name, look in looks])
        return
    level_bar(axes, levels, axis_label(schema.coordinates[_LEVEL[along]]))
    runs = run_looks(ds)
    if len(runs) > 1:
        handles = [Line2D([], [], color="0.35", linestyle=line, label=run) for run, _, line in runs]
        legend_above(over, handles)


def _scale(ds: xr.Dataset, along: str) -> ScalarMappable | None:
    """Colours by level, or None where names say more: few cases, or levels that repeat."""
    levels = ds[_LEVEL[along]]
    if levels.size <= NAMED or not known(levels):
        return None
    if len(set(zip(ds["run"].values.tolist(), levels.values.tolist(), strict=True))) < levels.size:
        return None
    return level_scale(float(levels.min()), float(levels.max()))
