"""Test accuracy against the weights remaining, as in Frankle & Carbin 2019, figure 4."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D

from landscape.data_store.schemas.training import TRAINING
from landscape.figures.axes import density_axis
from landscape.figures.registry import FIGURES, Figure
from landscape.figures.replicates import Replicates, replicates
from landscape.figures.style import (
    LINES,
    colours,
    legend_above,
    paper_figure,
    say_if_empty,
)

MOMENTS: dict[str, dict[str, Any]] = {
    "final_test_error": {"label": "at the end", "linestyle": LINES[0], "marker": "o"},
    "early_stop_test_error": {
        "label": "at early stop",
        "linestyle": LINES[1],
        "marker": "o",
        "markerfacecolor": "white",
    },
}


def plot_accuracy(ds: xr.Dataset, *, ax: Axes | None = None) -> Axes:
    """Test accuracy in percent at the end (solid) and at the early-stop iteration (dashed).

    One colour per criterion. Its runs are replicates: the line is their mean, the bars run
    from the least to the greatest. A level that no run has is a gap.

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
            return plot_accuracy(ds, ax=canvas.add_subplot())
    groups = replicates(ds)
    for group, colour in zip(groups, colours(len(groups)), strict=True):
        for name, look in MOMENTS.items():
            group.plot(ax, 100 * (1 - group.training[name]), color=colour, **look)
    say_if_empty(ax)
    density_axis(ax, 100 * ds["density"].values)
    ax.set_ylabel("test accuracy (%)")
    legend_above(ax, _handles(ds, groups))
    return ax


def _handles(ds: xr.Dataset, groups: list[Replicates]) -> list[Line2D]:
    """Legend: a colour per group, then a line for each moment that has a value."""
    handles = [
        Line2D([], [], color=colour, label=group.label)
        for group, colour in zip(groups, colours(len(groups)), strict=True)
    ]
    for name, look in MOMENTS.items():
        if np.any(np.isfinite(ds[name].values)):
            handles.append(Line2D([], [], color="0.35", **look))
    return handles


def draw(ds: xr.Dataset) -> Canvas:
    """The figure of a training dataset, one column wide."""
    with paper_figure() as canvas:
        plot_accuracy(ds, ax=canvas.add_subplot())
    return canvas


FIGURE = Figure("accuracy", FIGURES["accuracy"].summary, TRAINING, draw)
