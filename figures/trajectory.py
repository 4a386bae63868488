"""A trajectory: checkpoints in order, projected on a plane with its contours."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from landscape.data_store.errors import LandscapeError
from landscape.data_store.schemas.surface import SURFACE
from landscape.figures.contours import finish, levels_of, plot_contours, title
from landscape.figures.registry import FIGURES, Figure
from landscape.figures.style import COLUMN, paper_figure, steps
from landscape.figures.surface import chosen, height_of, name_mark, panels


def plot_trajectory(
    ds: xr.Dataset,
    *,
    ax: Axes | None = None,
    surface: str | None = None,
    split: str = "train",
    measure: str = "loss",
) -> Axes:
    """Checkpoints in order, joined by a line, projected on a plane with its contours.

    Colours run from the first checkpoint, dark, to the last. Parameters as `plot_plane`.

    Raises as `plot_plane`, and `LandscapeError` if the surface has fewer than two checkpoints.

    Source: Li et al. (2018), figure 9.
    """
    here = chosen(ds, surface, split, measure, axes=2)
    if here.sizes["point"] < 2:
        raise LandscapeError(
            "a trajectory joins two or more checkpoints and this surface has one; draw 'plane', or "
            "ask for a surface of more"
        )
    if ax is None:
        with paper_figure(COLUMN, height_of(here, 1)) as canvas:
            axes = canvas.add_subplot()
            return plot_trajectory(here, ax=axes, split=split, measure=measure)
    one = here.isel(surface=0).sel(split=split)
    plot_contours(ax, one, measure, levels_of(here, measure), coloured=False)
    x, y = one["point_x"].values, one["point_y"].values
    ax.plot(x, y, color="0.2", linewidth=0.9, zorder=3)
    for place, colour in zip(zip(x, y, strict=True), steps(len(x)), strict=True):
        ax.plot(*place, "o", color=colour, markersize=3.5, zorder=4)
    _name_ends(ax, one)
    finish(ax, one, measure)
    return ax


def _name_ends(ax: Axes, one: xr.Dataset) -> None:
    """Names of the first and the last checkpoint, on the side away from the path."""
    places = np.stack([one["point_x"].values, one["point_y"].values], axis=1)
    for k, neighbour in ((0, 1), (len(places) - 1, len(places) - 2)):
        away = places[k] - places[neighbour]
        name_mark(ax, one, k, (1.0 if away[0] >= 0 else -1.0, 1.5 if away[1] >= 0 else -2.5))


def draw(ds: xr.Dataset, *, width: float | None = None) -> Canvas:
    """The same of a trajectory."""
    SURFACE.validate(ds)
    splits = [(title(s), {"split": s}) for s in ds["split"].values.tolist()]
    height = height_of(ds, len(splits), width)
    return panels(ds, plot_trajectory, splits, height=height, width=width)


FIGURE = Figure(
    "trajectory",
    FIGURES["trajectory"].summary,
    SURFACE,
    draw,
    caption="Lines join points of equal loss on the plane; the path joins the checkpoints in "
    "order, as projected on it. Grey cells are unknown.",
    shows=("loss", "point_x", "point_y"),
)
