"""Early-stop iteration against the weights remaining, as in Frankle & Carbin 2019, figure 4."""

from __future__ import annotations

from typing import Any

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D

from landscape.data_store.schemas.training import TRAINING
from landscape.figures.axes import density_axis
from landscape.figures.registry import FIGURES, Figure
from landscape.figures.replicates import replicates
from landscape.figures.style import colours, legend_above, paper_figure, say_if_empty


def plot_early_stop(ds: xr.Dataset, *, ax: Axes | None = None) -> Axes:
    """Iteration of the smallest validation loss, one colour per criterion.

    The runs of a criterion are replicates: the line is their mean, the bars run from the
    least to the greatest. A level that no run has is a gap.

    Parameters
    ----------
    ds
        A training dataset.
    ax
        Where to draw; a new figure of the paper's style if None.

    Raises `LandscapeError` if `ds` is no training dataset.
    """
    TRAINING.validate(ds)
    if ax is None:
        with paper_figure() as canvas:
            return plot_early_stop(ds, ax=canvas.add_subplot())
    handles = []
    groups = replicates(ds)
    for group, colour in zip(groups, colours(len(groups)), strict=True):
        look: dict[str, Any] = {"color": colour, "marker": "o"}
        group.plot(ax, group.training["early_stop_step"], **look)
        handles.append(Line2D([], [], label=group.label, **look))
    say_if_empty(ax)
    density_axis(ax, 100 * ds["density"].values)
    name, _, _ = TRAINING.variables["early_stop_step"].long_name.partition(":")
    ax.set_ylabel(name)
    ax.set_ylim(bottom=0)
    legend_above(ax, handles)
    return ax


def draw(ds: xr.Dataset) -> Canvas:
    """The figure of a training dataset, one column wide."""
    with paper_figure() as canvas:
        plot_early_stop(ds, ax=canvas.add_subplot())
    return canvas


FIGURE = Figure("early-stop", FIGURES["early-stop"].summary, TRAINING, draw)
