"""Early-stop iteration against the weights remaining, as in Frankle & Carbin 2019, figure 4."""

from __future__ import annotations

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D

from landscape.data_store.schemas.training import TRAINING
from landscape.figures.axes import density_axis
from landscape.figures.registry import FIGURES, Figure
from landscape.figures.replicates import replicates
from landscape.figures.style import COLUMN, legend_above, paper_figure, say_if_empty, series_looks


def plot_lth_early_stop(ds: xr.Dataset, *, ax: Axes | None = None, spread: str = "range") -> Axes:
    """Iteration of the smallest validation loss, one colour, marker and line per strategy.

    The runs of a strategy are replicates: the line is their mean, the bars are their spread.
    A level that no run has is a gap.

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
            return plot_lth_early_stop(ds, ax=canvas.add_subplot(), spread=spread)
    handles = []
    groups = replicates(ds)
    for group, look in zip(groups, series_looks(len(groups)), strict=True):
        group.plot(ax, group.training["early_stop_step"], spread, **look)
        handles.append(Line2D([], [], label=group.label, **look))
    say_if_empty(ax)
    density_axis(ax, 100 * ds["density"].values)
    name, _, _ = TRAINING.variables["early_stop_step"].long_name.partition(":")
    ax.set_ylabel(name)
    ax.set_ylim(bottom=0)
    legend_above(ax, handles)
    return ax


def draw(ds: xr.Dataset, *, width: float = COLUMN, spread: str = "range") -> Canvas:
    """The figure of a training dataset, one column wide unless told otherwise."""
    with paper_figure(width) as canvas:
        plot_lth_early_stop(ds, ax=canvas.add_subplot(), spread=spread)
    return canvas


FIGURE = Figure(
    "lth-early-stop",
    FIGURES["lth-early-stop"].summary,
    TRAINING,
    draw,
    caption="The early-stop iteration is that of the smallest validation loss of a level's "
    "training. Lines are means over the runs of a strategy.",
    shows=("early_stop_step",),
    spread="range",
    plot=plot_lth_early_stop,
)
