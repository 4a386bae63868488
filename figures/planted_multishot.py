"""Tickets found by pruning and training in turn: Fischer & Burkholz 2022, figure 4."""

from __future__ import annotations

import xarray as xr
from matplotlib.figure import Figure as Canvas

from landscape.data_store.schemas.tickets import TICKETS
from landscape.figures.planted import of_schedule, panels
from landscape.figures.registry import FIGURES, Figure

SCHEDULES = ("multishot", "exponential")


def draw(ds: xr.Dataset, *, width: float | None = None, spread: str = "range") -> Canvas:
    """Strong tickets over weak ones, a column per task, a line per criterion.

    Parameters
    ----------
    ds
        A tickets dataset. Where it has coordinates ``criterion``, ``target`` and ``densities``
        over ``checkpoint``, as a sweep gives it, they make the lines and the columns and choose the
        multishot tickets.
    width
        Inches; as many as its columns need, a page at most, unless given.
    spread
        ``range``, from the least to the greatest, or ``std``, one standard deviation.

    Raises `LandscapeError` if it has none of these.
    """
    return panels(of_schedule(ds, SCHEDULES), width=width, spread=spread)


FIGURE = Figure(
    "planted-multishot",
    FIGURES["planted-multishot"].summary,
    TICKETS,
    draw,
    caption="Strong tickets are taken before any training, weak ones after it; their accuracy, or "
    "mean squared error, stands against the weights remaining. Lines are means over replicates. "
    "Dashed is the planted ticket, dotted the best constant answer, the wide vertical line the "
    "planted density; open markers are outputs that could not be rescaled.",
    shows=("loss", "error"),
    spread="range",
)
