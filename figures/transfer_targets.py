"""Tickets of several tasks trained on each other: Morcos et al. 2019, figures 2 to 4 and A1."""

from __future__ import annotations

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from landscape.data_store.schemas.training import TRAINING
from landscape.figures.registry import FIGURES, Figure
from landscape.figures.transfers import draw_all, plot_one

VARY = "source"
TITLE = "tickets of"


def plot_transfer_targets(
    ds: xr.Dataset, *, ax: Axes | None = None, target: str | None = None, spread: str = "std"
) -> Axes:
    """Test accuracy at the end against the weights remaining, a line for each source.

    Tickets were found with the optimiser they are trained with. The line of the target's own
    tickets is thick, that of random tickets grey. The runs of a line are replicates: it is their
    mean, the area their spread. Where the axis cuts the lowest points off, an inset has all.

    Parameters
    ----------
    ds
        A training dataset.
    ax
        Where to draw; a new figure of the paper's style if None.
    target
        Title of the panel, the task trained on; the first unless given.
    spread
        ``range`` or ``std``, as in `landscape.figures.bands.mean_and_spread`.

    Raises `LandscapeError` if `ds` has no such tickets, `UsageError` for another target or spread.
    """
    return plot_one(ds, VARY, ax, named=target, noun="target", heading=TITLE, spread=spread)


def draw(ds: xr.Dataset, *, width: float | None = None, spread: str = "std") -> Canvas:
    """A panel for each target, a page wide if there are several."""
    return draw_all(ds, VARY, words="on", heading=TITLE, width=width, spread=spread)


FIGURE = Figure(
    "transfer-targets",
    FIGURES["transfer-targets"].summary,
    TRAINING,
    draw,
    caption=(
        "Test accuracy at the end of training against the weights remaining. A panel for each task "
        "that tickets are trained on; a line for each task they were found on, with the same "
        "optimiser. The thick line is the target's own tickets; random tickets have the mask "
        "permuted over all layers and new initial weights. Lines are means over the replicates, "
        "areas their spread. Insets have the full range of the accuracies where the axis does not."
    ),
    shows=("final_test_error",),
    spread="std",
)
