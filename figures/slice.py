"""A slice through a loss along one axis, with the height of a sublevel set."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D

from landscape.data_store.errors import unknown
from landscape.data_store.schemas.surface import SURFACE
from landscape.figures.axes import log_height
from landscape.figures.registry import FIGURES, Figure
from landscape.figures.style import (
    HEIGHT,
    axis_label,
    colours,
    legend_above,
    paper_figure,
    say_if_empty,
    scale,
)
from landscape.figures.surface import (
    OFF,
    Numbers,
    chosen,
    direction_label,
    look_of,
    off_surface,
    panels,
    set_words,
    without_padding,
)

_STEEP = 30.0  # ratio of the largest to the smallest loss from which it is drawn logarithmically


def plot_slice(
    ds: xr.Dataset,
    *,
    ax: Axes | None = None,
    surface: str | None = None,
    axis: str = "x",
    measure: str = "loss",
    legend: bool = True,
) -> Axes:
    """Loss or error along one axis through the origin, one line per split.

    The dashed line of a split's colour is the height of its sublevel set; the part of the curve
    inside the set is thick. The band is one standard error to each side. Triangles, circles and
    crosses are the checkpoints on the line, at their own loss, as in `plot_plane`.

    Parameters
    ----------
    ds, ax, surface, measure, legend
        As `plot_plane`.
    axis
        ``x`` or ``y``.

    Raises `LandscapeError` if `ds` is no surface dataset, `UsageError` for an unknown surface,
    axis or measure.
    """
    here = chosen(ds, surface, None, measure, axes=1)
    if axis not in here["axis"].values:
        raise unknown("axis", axis, here["axis"].values.tolist())
    if ax is None:
        with paper_figure() as canvas:
            axes = canvas.add_subplot()
            return plot_slice(here, ax=axes, axis=axis, measure=measure, legend=legend)
    one, where = _along(here.isel(surface=0), axis)
    for split, look in _split_looks(here).items():
        _plot_curve(ax, one.sel(split=split), axis, measure, look)
    say_if_empty(ax)
    values = one[measure].values[one[measure].values > 0]
    if len(values) and values.max() / values.min() > _STEEP:
        log_height(ax)
    ax.set_xlabel(direction_label(one, axis) + where)
    ax.set_ylabel(axis_label(SURFACE.variables[measure]))
    if legend:
        legend_above(ax, _handles(here, measure))
    return ax


def _along(one: xr.Dataset, axis: str) -> tuple[xr.Dataset, str]:
    """The cells along one axis that are nearest to the other's 0, and where that is if not there.

    Of the checkpoints, those on that line are left.
    """
    across, dim = ("y", "row") if axis == "x" else ("x", "column")
    others = one[across].values
    nearest = int(abs(others).argmin())
    extent = max(float(np.ptp(one["x"].values)), float(np.ptp(one["y"].values)))
    on_line = abs(one[f"point_{across}"].values - others[nearest]) <= OFF * extent
    where = f", at {others[nearest]:.3g} along {across}" if others[nearest] else ""
    return one.isel({dim: nearest, "point": np.flatnonzero(on_line & ~off_surface(one))}), where


def _plot_curve(ax: Axes, one: xr.Dataset, axis: str, measure: str, own: Mapping[str, Any]) -> None:
    """One split: the curve, its part in the sublevel set, the set's height, the checkpoints."""
    colour = own["color"]
    factor, x = scale(SURFACE.variables[measure]), one[axis].values
    mean, se = factor * one[measure].values, factor * one[f"{measure}_se"].values
    ax.plot(x, mean, **own)
    ax.fill_between(x, mean - se, mean + se, color=colour, alpha=0.2, linewidth=0)
    if one["measure"].item() == measure and np.isfinite(one["threshold"].item()):
        inside = _inside(x, mean, factor * one["threshold"].item())
        ax.plot(*inside, color=colour, linewidth=3.2, alpha=0.45, solid_capstyle="butt")
        ax.axhline(factor * one["threshold"].item(), color=colour, linewidth=0.7, linestyle="--")
    for k in range(one.sizes["point"]):
        _, marker, _ = look_of(str(one["point_part"].values[k]))
        height = factor * one[f"point_{measure}"].values[k]
        look: dict[str, Any] = {"marker": marker, "markersize": 5, "linestyle": "none", "zorder": 4}
        ax.plot(one[f"point_{axis}"].values[k], height, color=colour, **look)


def _inside(x: Numbers, values: Numbers, threshold: float) -> tuple[Numbers, Numbers]:
    """The part of a curve up to a height, cut where straight pieces cross it, NaN elsewhere."""
    places, heights = [x[:1]], [values[:1]]
    for k in np.flatnonzero((values[:-1] <= threshold) != (values[1:] <= threshold)):
        rise = (threshold - values[k]) / (values[k + 1] - values[k])
        places.append(np.array([x[k] + rise * (x[k + 1] - x[k])]))
        heights.append(np.array([threshold]))
    places, heights = [*places, x[1:]], [*heights, values[1:]]
    together, over = np.concatenate(places), np.concatenate(heights)
    order = np.argsort(together, kind="stable")
    return together[order], np.where(over[order] <= threshold, over[order], np.nan)


def _split_looks(here: xr.Dataset) -> dict[str, Mapping[str, Any]]:
    """Colour and line of each split; dashes are the heights of sets."""
    splits = here["split"].values.tolist()
    lines = cycle(("-", (0, (4, 1.2, 1, 1.2)), (0, (1, 1.2))))
    found = zip(splits, colours(len(splits)), lines, strict=False)
    return {split: {"color": colour, "linestyle": line} for split, colour, line in found}


def _handles(ds: xr.Dataset, measure: str) -> list[Any]:
    """Legend of the splits, the checkpoints on the lines, and the heights of the sets."""
    handles: list[Any] = [
        Line2D([], [], label=split, **look) for split, look in _split_looks(ds).items()
    ]
    ones = [without_padding(ds.isel(surface=[k])) for k in range(ds.sizes["surface"])]
    lines = [_along(one.isel(surface=0), "x")[0] for one in ones]
    parts = [part for one in lines for part in one["point_part"].values.tolist()]
    for label, marker in dict.fromkeys(look_of(part)[:2] for part in parts):
        point: dict[str, Any] = {"marker": marker, "markersize": 4, "linestyle": "none"}
        handles.append(Line2D([], [], color="0.35", label=label, **point))
    if any(one["measure"].item() == measure for one in lines) and ds["threshold"].notnull().any():
        dashes: dict[str, Any] = {"linewidth": 0.7, "linestyle": "--"}
        handles.append(Line2D([], [], color="0.35", label=set_words(ds), **dashes))
    return handles


def draw(ds: xr.Dataset, *, width: float | None = None) -> Canvas:
    """A panel for each axis that all surfaces have, a row for each surface."""
    SURFACE.validate(ds)
    names = [n for n in ds["axis"].values.tolist() if (ds["direction"].sel(axis=n) != "").all()]
    axes = [("", {"axis": name, "legend": False}) for name in names]
    return panels(ds, plot_slice, axes, _handles(ds, "loss"), height=HEIGHT, width=width)


FIGURE = Figure(
    "slice",
    FIGURES["slice"].summary,
    SURFACE,
    draw,
    caption="Each panel runs along one axis through the checkpoint at the origin. Thick is what "
    "lies inside the sublevel set, dashed its highest value; areas are one standard error to each "
    "side, over the examples.",
    shows=("loss",),
)
