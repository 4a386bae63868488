"""Tickets of several optimisers trained with each other: Morcos et al. 2019, figure 5."""

from __future__ import annotations

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from landscape.data_store.errors import unknown
from landscape.data_store.schemas.training import TRAINING
from landscape.figures.panels import panel_title, panels, titled_legend
from landscape.figures.registry import FIGURES, Figure
from landscape.figures.style import COLUMN, PAGE, paper_figure
from landscape.figures.transfers import legend_handles, line_looks, plot_panel, transfer_panels

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
    found = transfer_panels(ds, "source_optimizer")
    by_title = {panel.title: panel for panel in found}
    title = found[0].title if optimizer is None else optimizer
    if title not in by_title:
        raise unknown("optimiser", title, by_title)
    if ax is None:
        with paper_figure() as canvas:
            return plot_transfer_optimisers(
                ds, ax=canvas.add_subplot(), optimizer=title, spread=spread
            )
    looks = line_looks([by_title[title]])
    plot_panel(ax, by_title[title], looks, spread)
    titled_legend(ax, legend_handles(looks), TITLE)
    return ax


def draw(ds: xr.Dataset, *, width: float | None = None, spread: str = "std") -> Canvas:
    """A panel for each optimiser trained with, a page wide if there are several."""
    found = transfer_panels(ds, "source_optimizer")
    looks = line_looks(found)
    with paper_figure(width or (PAGE if len(found) > 1 else COLUMN)) as canvas:
        for ax, panel in zip(panels(canvas, len(found), sharey=False), found, strict=True):
            plot_panel(ax, panel, looks, spread)
            panel_title(ax, f"trained with {panel.title}")
        titled_legend(canvas, legend_handles(looks), TITLE)
    return canvas


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
