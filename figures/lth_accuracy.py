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
    COLUMN,
    LINES,
    legend_above,
    paper_figure,
    say_if_empty,
    series_looks,
)

# at early stop the line is broken and the markers are open
MOMENTS: dict[str, tuple[str, dict[str, Any]]] = {
    "final_test_error": ("at the end", {"linestyle": LINES[0]}),
    "early_stop_test_error": (
        "at early stop",
        {"linestyle": LINES[1], "markerfacecolor": "white"},
    ),
}


def plot_lth_accuracy(ds: xr.Dataset, *, ax: Axes | None = None, spread: str = "range") -> Axes:
    """Test accuracy in percent at the end (solid) and at the early-stop iteration (dashed).

    One colour and marker per strategy. Its runs are replicates: the line is their mean, the
    bars are their spread. A level that no run has is a gap.

    Parameters
    ----------
    ds
        A training dataset.
    ax
        Where to draw; a new figure of the paper's style if None.
    spread
        ``range``, from the least to the greatest, or ``std``, one standard deviation.

    Raises `LandscapeError` if `ds` is no training dataset, `UsageError` for another spread.
    """
    TRAINING.validate(ds)
    if ax is None:
        with paper_figure() as canvas:
            return plot_lth_accuracy(ds, ax=canvas.add_subplot(), spread=spread)
    groups = replicates(ds)
    for group, look in zip(groups, series_looks(len(groups)), strict=True):
        for name, (_, moment) in MOMENTS.items():
            group.plot(ax, 100 * (1 - group.training[name]), spread, **{**look, **moment})
    say_if_empty(ax)
    density_axis(ax, 100 * ds["density"].values)
    ax.set_ylabel("test accuracy (%)")
    legend_above(ax, _handles(ds, groups))
    return ax


def _handles(ds: xr.Dataset, groups: list[Replicates]) -> list[Line2D]:
    """Legend: a colour and marker per group, then a line for each moment that has a value."""
    handles = [
        Line2D([], [], label=group.label, **{**look, "linestyle": "none"})
        for group, look in zip(groups, series_looks(len(groups)), strict=True)
    ]
    for name, (label, moment) in MOMENTS.items():
        if np.any(np.isfinite(ds[name].values)):
            handles.append(Line2D([], [], color="0.35", marker="o", label=label, **moment))
    return handles


def draw(ds: xr.Dataset, *, width: float = COLUMN, spread: str = "range") -> Canvas:
    """The figure of a training dataset, one column wide unless told otherwise."""
    with paper_figure(width) as canvas:
        plot_lth_accuracy(ds, ax=canvas.add_subplot(), spread=spread)
    return canvas


FIGURE = Figure(
    "lth-accuracy",
    FIGURES["lth-accuracy"].summary,
    TRAINING,
    draw,
    caption="Solid lines are the accuracy at the end of each level's training, dashed ones that "
    "at its early-stop iteration (smallest validation loss). Lines are means over the runs of a "
    "strategy.",
    shows=("final_test_error", "early_stop_test_error"),
    spread="range",
    plot=plot_lth_accuracy,
)
