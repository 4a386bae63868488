"""Tickets of several optimisers trained with each other: Morcos et al. 2019, figure 5."""

from __future__ import annotations

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from landscape.data_store.schemas.training import TRAINING
from landscape.figures.registry import FIGURES, Figure
from landscape.figures.transfers import draw_all, plot_one

VARY = "source_optimizer"
TITLE = "tickets found with"


def plot_transfer_optimisers(
    ds: xr.Dataset, *, ax: Axes | None = None, optimizer: str | None = None, spread: str = "std"
) -> Axes:
    """Test accuracy at the end against the weights remaining, a line for each optimiser.

    Tickets were found on the task they are trained on. The line of those found with the optimiser
    they are trained with is thick, that of random tickets grey. The runs of a line are replicates:
    it is their mean, the area their spread. Where the axis cuts the lowest points off, an inset
    has all.

    Parameters
    ----------
    ds
        A training dataset.
    ax
        Where to draw; a new figure of the paper's style if None.
    optimizer
        Title of the panel, the optimiser trained with; the first unless given.
    spread
        ``range`` or ``std``, as in `landscape.figures.bands.mean_and_spread`.

    Raises `LandscapeError` if `ds` has no such tickets, `UsageError` for another optimiser or
    spread.
    """
    return plot_one(ds, VARY, ax, named=optimizer, noun="optimiser", heading=TITLE, spread=spread)


def draw(ds: xr.Dataset, *, width: float | None = None, spread: str = "std") -> Canvas:
    """A panel for each optimiser trained with, a page wide if there are several."""
    return draw_all(ds, VARY, words="trained with", heading=TITLE, width=width, spread=spread)


FIGURE = Figure(
    "transfer-optimisers",
    FIGURES["transfer-optimisers"].summary,
    TRAINING,
    draw,
    caption=(
        "Test accuracy at the end of training against the weights remaining. A panel for each "
        "optimiser that tickets are trained with; a line for each they were found with, on the "
        "same task. The thick line is found and trained with one; random tickets have the mask "
        "permuted over all layers and new initial weights. Lines are means over the replicates, "
        "areas their spread. Insets have the full range of the accuracies where the axis does not."
    ),
    shows=("final_test_error",),
    spread="std",
)
