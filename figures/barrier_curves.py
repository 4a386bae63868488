"""Loss or error on the straight line between two checkpoints."""

from __future__ import annotations

from typing import Any

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from landscape.data_store.errors import unknown
from landscape.data_store.schemas.barrier import BARRIER
from landscape.figures.levels import NAMED, explain_levels, level_looks
from landscape.figures.panels import panels
from landscape.figures.registry import FIGURES, Figure
from landscape.figures.style import (
    COLUMN,
    MEASURES,
    PAGE,
    axis_label,
    paper_figure,
    say_if_empty,
    scale,
)


def plot_barrier_curves(
    ds: xr.Dataset,
    *,
    ax: Axes | None = None,
    split: str = "test",
    measure: str = "loss",
    legend: bool = True,
) -> Axes:
    """Loss or error against the position on the line, one line per pair.

    The band is one standard error to each side; small dots are the points that refinement
    added. Up to four pairs are named in a legend; more have no bands, are coloured by the level
    of their second checkpoint, with a colour bar, and their runs told apart by the line style.

    Parameters
    ----------
    ds
        A barrier dataset.
    ax
        Where to draw; a new figure of the paper's style if None.
    split
        Which split of the data.
    measure
        ``loss`` or ``error`` (in percent).
    legend
        Whether to add the legend or the colour bar.

    Raises `LandscapeError` if `ds` is no barrier dataset, `UsageError` for an unknown split
    or measure.
    """
    BARRIER.validate(ds)
    if measure not in MEASURES:
        raise unknown("measure", measure, MEASURES)
    if split not in ds["split"].values:
        raise unknown("split", split, ds["split"].values.tolist())
    if ax is None:
        with paper_figure() as canvas:
            axes = canvas.add_subplot()
            return plot_barrier_curves(ds, ax=axes, split=split, measure=measure, legend=legend)
    here = ds.sel(split=split)
    for pair, look in enumerate(level_looks(ds, "pair")):
        _plot_pair(ax, here.isel(pair=pair), measure, look, band=ds.sizes["pair"] <= NAMED)
    say_if_empty(ax)
    ax.set_xlabel(axis_label(BARRIER.coordinates["alpha"]))
    ax.set_ylabel(axis_label(BARRIER.variables[measure]))
    if legend:
        explain_levels(ds, "pair", BARRIER, [ax], ax)
    return ax


def _plot_pair(
    ax: Axes, pair: xr.Dataset, measure: str, look: dict[str, Any], *, band: bool
) -> None:
    """The line of one pair, its band if it shall have one, and the points refinement added."""
    alpha, factor = pair["alpha"].values, scale(BARRIER.variables[measure])
    mean, se = factor * pair[measure].values, factor * pair[f"{measure}_se"].values
    ax.plot(alpha, mean, **look)
    if band:
        ax.fill_between(alpha, mean - se, mean + se, color=look["color"], alpha=0.2, linewidth=0)
    if f"refined_{measure}" in pair:
        ax.plot(
            pair["refined_alpha"].values,
            factor * pair[f"refined_{measure}"].values,
            color=look["color"],
            marker="o",
            markersize=2,
            linestyle="none",
        )


def draw(ds: xr.Dataset, *, width: float | None = None) -> Canvas:
    """Loss on the line, one panel per split, as wide as a page where there are several.

    Unless told otherwise by `width`, in inches.
    """
    BARRIER.validate(ds)
    splits = ds["split"].values.tolist()
    with paper_figure(width or (PAGE if len(splits) > 1 else COLUMN)) as canvas:
        axes = panels(canvas, len(splits))
        for ax, split in zip(axes, splits, strict=True):
            plot_barrier_curves(ds, ax=ax, split=split, legend=False)
            ax.set_title(split)
            ax.label_outer()
        explain_levels(ds, "pair", BARRIER, axes, canvas)
    return canvas


FIGURE = Figure(
    "barrier-curves",
    FIGURES["barrier-curves"].summary,
    BARRIER,
    draw,
    caption="Position 0 is the first checkpoint of a pair and 1 the second. Areas, of up to four "
    "pairs, are one standard error of the loss to each side, over the examples; dots are positions "
    "that refinement added.",
    shows=("loss",),
)
