"""A plane through a loss: contours, checkpoints, and the edge of a sublevel set."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from landscape.data_store.schemas.surface import SURFACE
from landscape.figures.contours import UNKNOWN, finish, levels_of, plot_contours, title
from landscape.figures.registry import FIGURES, Figure
from landscape.figures.style import COLUMN, MEASURES, OKABE_ITO, legend_above, paper_figure
from landscape.figures.surface import (
    chosen,
    height_of,
    look_of,
    name_marks,
    off_surface,
    panels,
    set_words,
    without_padding,
)

EDGE = OKABE_ITO[1]
NAMED = 6


def plot_plane(
    ds: xr.Dataset,
    *,
    ax: Axes | None = None,
    surface: str | None = None,
    split: str = "test",
    measure: str = "loss",
    legend: bool = True,
) -> Axes:
    """Contours over a plane, with the checkpoints and the edge of the sublevel set.

    Contours are evenly spaced in the logarithm, or at 1, 2, 5, 10 … where the values span much.
    The sublevel set is shaded, its edge bold. Triangles are solutions, circles rewind points,
    crosses baselines, dots snapshots; a hollow one is a projection of a checkpoint off the plane.
    Cells whose loss is not finite are grey. One unit is as long on both axes where it is in the
    weights.

    Parameters
    ----------
    ds
        A surface dataset.
    ax
        Where to draw; a new figure of the paper's style if None.
    surface
        Which plane, by its label; needed where there are several.
    split
        Which split of the data.
    measure
        ``loss`` or ``error`` (in percent).
    legend
        Whether to put the legend over the axes.

    Raises `LandscapeError` if `ds` is no surface dataset, or the surface a line; `UsageError`
    for an unknown surface, split or measure.
    """
    here = chosen(ds, surface, split, measure, axes=2)
    if ax is None:
        with paper_figure(COLUMN, height_of(here, 1)) as canvas:
            axes = canvas.add_subplot()
            return plot_plane(here, ax=axes, split=split, measure=measure, legend=legend)
    one = here.isel(surface=0).sel(split=split)
    plot_contours(ax, one, measure, levels_of(here, measure), coloured=True)
    _plot_set(ax, one)
    for k in range(one.sizes["point"]):
        _plot_mark(ax, one.isel(point=k), off_surface(one)[k])
    count = one.sizes["point"]
    name_marks(ax, one, range(count) if count <= NAMED else (0, count - 1))
    finish(ax, one, measure)
    if legend:
        legend_above(ax, _handles(here))
    return ax


def _plot_set(ax: Axes, one: xr.Dataset) -> None:
    """The sublevel set, shaded, and its edge."""
    measure = str(one["measure"].item())
    threshold = one["threshold"].item()
    x, y = one["x"].values, one["y"].values
    values = one[measure].transpose("row", "column").values if measure in MEASURES else None
    if values is None or not np.isfinite(threshold) or not np.isfinite(values).any():
        return
    low, high = np.nanmin(values), np.nanmax(values)
    if low > threshold:
        return
    ax.contourf(x, y, values, levels=[low - 1, threshold], colors=EDGE, alpha=0.15, zorder=0.5)
    if threshold < high:
        ax.contour(x, y, values, levels=[threshold], colors=EDGE, linewidths=1.6, zorder=2)


def _plot_mark(ax: Axes, mark: xr.Dataset, off: bool) -> None:
    """One checkpoint; hollow if it is off the plane."""
    _, marker, colour = look_of(str(mark["point_part"].item()))
    ax.plot(
        mark["point_x"].item(),
        mark["point_y"].item(),
        marker=marker,
        color=colour,
        markersize=5,
        markeredgewidth=1.2 if marker == "x" else 0.8,
        markerfacecolor="white" if off else colour,
        linestyle="none",
        zorder=4,
    )


def _handles(ds: xr.Dataset) -> list[Any]:
    """Legend of the markers that occur and of the sublevel set."""
    ones = [without_padding(ds.isel(surface=[k])).isel(surface=0) for k in range(len(ds.surface))]
    parts = [part for one in ones for part in one["point_part"].values.tolist()]
    handles: list[Any] = [
        Line2D([], [], color=colour, marker=marker, markersize=4, linestyle="none", label=label)
        for label, marker, colour in dict.fromkeys(map(look_of, parts))
    ]
    if any(off_surface(one).any() for one in ones):
        look: dict[str, Any] = {"markerfacecolor": "white", "markersize": 4, "linestyle": "none"}
        words = "hollow: off the plane"
        handles.append(Line2D([], [], color="black", marker="^", label=words, **look))
    if ds["threshold"].notnull().any():
        look = {"facecolor": to_rgba(EDGE, 0.15), "edgecolor": EDGE, "linewidth": 1.6}
        handles.append(Patch(label=set_words(ds), **look))
    if (ds["status"] == 1).any():
        handles.append(Patch(facecolor=UNKNOWN, label="not finite"))
    return handles


def draw(ds: xr.Dataset, *, width: float | None = None) -> Canvas:
    """A panel for each split, a row for each surface."""
    SURFACE.validate(ds)
    splits = [(title(s), {"split": s, "legend": False}) for s in ds["split"].values.tolist()]
    height = height_of(ds, len(splits), width)
    return panels(ds, plot_plane, splits, _handles(ds), height=height, width=width)


FIGURE = Figure(
    "plane",
    FIGURES["plane"].summary,
    SURFACE,
    draw,
    caption="Lines join points of equal loss. Markers are checkpoints, open where they lie off the "
    "plane and only their projection is drawn. Grey cells are unknown.",
    shows=("loss",),
)
