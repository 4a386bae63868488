"""Tickets found by pruning and training in turn: Fischer & Burkholz 2022, figure 4."""

from __future__ import annotations

import xarray as xr
from matplotlib.figure import Figure as Canvas

from landscape.data_store.schemas.tickets import TICKETS
from landscape.figures.planted import of_schedule, panels
from landscape.figures.registry import FIGURES, Figure

SCHEDULES = ("multishot", "exponential")


def draw(ds: xr.Dataset) -> Canvas:
    """Strong tickets over weak ones, a column per task, a line per criterion.

    Parameters
    ----------
    ds
        A tickets dataset. Where it has coordinates ``criterion``, ``target`` and ``densities``
        over ``checkpoint``, as a sweep gives it, they make the lines and the columns and choose the
        multishot tickets.

    Raises `LandscapeError` if it has none of these.
    """
    return panels(of_schedule(ds, SCHEDULES))


FIGURE = Figure("planted-multishot", FIGURES["planted-multishot"].summary, TICKETS, draw)
