"""Contours: the heights of a loss over a plane, as labelled lines."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.ticker import MaxNLocator

from landscape.data_store.schemas.surface import SURFACE
from landscape.figures.style import axis_label, scale, steps
from landscape.figures.surface import Numbers, direction_label, is_isometric

UNKNOWN = "0.88"
FEWEST, MOST = 6, 12
TOO_FEW = 4
EDGE_ROOM = 0.035
_LADDERS = (
    (1.0, 2.0, 5.0),
    (1.0, 1.5, 2.0, 3.0, 5.0, 7.0),
    (1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0),
)


def contour_levels(values: Numbers) -> list[float]:
    """About as many round heights as can be told apart between the least and greatest value.

    They are spaced about evenly in the logarithm: 1, 2, 5, 10 …, or more finely where that gives
    fewer than 6, and evenly where the values are close together. More than 12 are thinned out.
    Values of zero and below are passed over.

    >>> contour_levels(np.array([0.09, 0.5, 3.0]))
    [0.1, 0.15, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0]
    """
    known = values[np.isfinite(values) & (values > 0)]
    if not len(known) or known.min() == known.max():
        return []
    low, high = float(known.min()), float(known.max())
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for ladder in _LADDERS:
        heights = [float(f"{step}e{decade}") for decade in decades for step in ladder]
        inside = [height for height in heights if low < height < high]
        if len(inside) >= FEWEST:
            return inside[:: math.ceil(len(inside) / MOST)]
    even = MaxNLocator(MOST, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    return [float(f"{height:.12g}") for height in even if low < height < high]


def levels_of(here: xr.Dataset, measure: str) -> list[float]:
    """Heights of the contours, the same for all splits, so that their panels compare.

    A split in whose range there are too few of them adds its own.
    """
    values = scale(SURFACE.variables[measure]) * here[measure]
    together = contour_levels(values.values)
    levels = set(together)
    for split in here["split"].values.tolist():
        own = values.sel(split=split).values
        low, high = np.nanmin(own, initial=np.inf), np.nanmax(own, initial=-np.inf)
        if sum(low < level < high for level in together) < TOO_FEW:
            levels.update(contour_levels(own))
    return sorted(levels)


def values_of(one: xr.Dataset, measure: str) -> Numbers:
    """Loss or error as it is drawn, (rows, columns)."""
    values = scale(SURFACE.variables[measure]) * one[measure].transpose("row", "column").values
    return np.where(np.isfinite(values), values, np.nan)


def plot_contours(
    ax: Axes, one: xr.Dataset, measure: str, levels: Sequence[float], *, coloured: bool
) -> None:
    """Labelled contours, coloured by height or grey; grey cells where nothing is known."""
    x, y, values = one["x"].values, one["y"].values, values_of(one, measure)
    missing = np.isnan(values)
    if missing.any() and not missing.all():
        mask = np.ma.masked_where(~missing, np.ones(values.shape))
        ax.pcolormesh(x, y, mask, cmap=ListedColormap([UNKNOWN]), shading="nearest", zorder=0)
    known = values[~missing]
    here = [level for level in levels if len(known) and known.min() < level < known.max()]
    if not here:
        return
    ladder = dict(zip(levels, steps(len(levels)), strict=True))
    look = [ladder[level] if coloured else "0.6" for level in here]
    lines = ax.contour(x, y, values, levels=here, colors=look, linewidths=0.7, zorder=1)
    for text in ax.clabel(lines, fontsize=5.5, fmt="%g"):
        text.set_visible(_is_inside(text.get_position(), x, y))


def _is_inside(place: tuple[float, float], x: Numbers, y: Numbers) -> bool:
    """False for a label so near the edge of the plane that the edge would cut it."""
    return all(
        min(at - along.min(), along.max() - at) >= EDGE_ROOM * np.ptp(along)
        for at, along in zip(place, (x, y), strict=True)
    )


def finish(ax: Axes, one: xr.Dataset, measure: str) -> None:
    """Limits, aspect and labels of a plane."""
    if not np.isfinite(values_of(one, measure)).any():
        ax.text(0.5, 0.5, "no value is known (all NaN)", transform=ax.transAxes, ha="center")
    ax.grid(visible=False)
    for limits, name in ((ax.set_xlim, "x"), (ax.set_ylim, "y")):
        limits(one[name].values.min(), one[name].values.max())
    if is_isometric(one):
        ax.set_aspect("equal")
    ax.set_xlabel(direction_label(one, "x"))
    ax.set_ylabel(direction_label(one, "y"))


def title(split: str) -> str:
    """Title of a panel: what its contours are heights of."""
    return f"{split} {axis_label(SURFACE.variables['loss'])}"
