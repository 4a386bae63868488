"""Spectral density of the Hessian, with the eigenvalues that were found marked on it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from landscape.data_store.schemas.curvature import CURVATURE
from landscape.figures.levels import explain_levels, level_looks
from landscape.figures.registry import FIGURES, Figure
from landscape.figures.style import (
    COLUMN,
    axis_label,
    paper_figure,
    say_if_empty,
)

DECADES = 4  # labels on each side of 0
SHOWN_BELOW = 0.1  # of the lowest mark


def plot_spectrum(ds: xr.Dataset, *, ax: Axes | None = None, legend: bool = True) -> Axes:
    """Density of the eigenvalues, one line per checkpoint, a dot at each eigenvalue found.

    Both axes are logarithmic; that of the eigenvalues is linear around 0, where the grid of a
    dataset is (its smallest ``linear_below``), and logarithmic on both sides. Dots stand on the
    curve. What lies a tenth below the lowest dot is cut off: there are only the tails of the
    smoothing. Up to four checkpoints are named in a legend; more are coloured by level.

    Parameters
    ----------
    ds
        A curvature dataset.
    ax
        Where to draw; a new figure of the paper's style if None.
    legend
        Whether to add the legend or the colour bar.

    Raises `LandscapeError` if `ds` is no curvature dataset.
    """
    CURVATURE.validate(ds)
    if ax is None:
        with paper_figure() as canvas:
            return plot_spectrum(ds, ax=canvas.add_subplot(), legend=legend)
    marked = []
    for place, look in enumerate(level_looks(ds, "checkpoint")):
        marked.append(_plot_one(ax, ds.isel(checkpoint=place), look))
    say_if_empty(ax)
    _scale(ax, ds, np.concatenate(marked) if marked else np.zeros(0))
    ax.set_xlabel(axis_label(CURVATURE.variables["grid_eigenvalue"]))
    ax.set_ylabel(axis_label(CURVATURE.variables["spectral_density"]).replace(" (", "\n(", 1))
    if legend:
        explain_levels(ds, "checkpoint", CURVATURE, [ax], ax)
    return ax


def _plot_one(ax: Axes, one: xr.Dataset, look: dict[str, Any]) -> Any:
    """The line and the dots of one checkpoint; the densities at the dots."""
    grid, density = one["grid_eigenvalue"].values, one["spectral_density"].values
    ax.plot(grid, density, **look)
    values = one["eigenvalue"].values
    values = values[np.isfinite(values)]
    order = np.argsort(grid)
    heights = np.interp(values, grid[order], density[order])
    ax.plot(
        values, heights, color=look["color"], marker="o", markersize=2.5, linestyle="none", zorder=3
    )
    return heights


def _scale(ax: Axes, ds: xr.Dataset, marked: Any) -> None:
    """Logarithmic axes; the density from a tenth below the lowest mark on."""
    linear = ds["linear_below"].values
    if np.isfinite(linear).any():
        ax.set_xscale("symlog", linthresh=float(np.nanmin(linear)))
        ax.set_xticks(_ticks(float(np.nanmin(linear)), *ax.get_xlim()))
        ax.minorticks_off()
    heights = ds["spectral_density"].values
    lowest = marked[np.isfinite(marked) & (marked > 0)]
    if np.isfinite(heights).any():
        ax.set_yscale("log", nonpositive="mask")
        if len(lowest):
            ax.set_ylim(SHOWN_BELOW * lowest.min(), 2 * np.nanmax(heights))


def _ticks(linear: float, lower: float, upper: float) -> Any:
    """Zero and whole decades beyond the linear part, few enough to be read."""
    first = math.ceil(math.log10(linear) + 0.5)
    last = math.floor(math.log10(max(abs(lower), abs(upper))))
    stride = max(1, math.ceil((last - first + 1) / DECADES))
    sides = 10.0 ** np.arange(last, first - 1, -stride)
    ticks = np.concatenate([-sides, [0.0], sides[::-1]])
    return ticks[(ticks >= lower) & (ticks <= upper)]


def draw(ds: xr.Dataset, *, width: float = COLUMN) -> Canvas:
    """One panel, as wide as a column unless told otherwise."""
    with paper_figure(width) as canvas:
        plot_spectrum(ds, ax=canvas.add_subplot())
    return canvas


FIGURE = Figure(
    "spectrum",
    FIGURES["spectrum"].summary,
    CURVATURE,
    draw,
    caption="The Hessian is that of the training loss in the weights that the mask keeps. Lines "
    "are its smoothed spectral density by stochastic Lanczos quadrature, dots its extreme "
    "eigenvalues. The axis of eigenvalues is linear about zero and logarithmic beyond.",
    shows=("spectral_density", "eigenvalue"),
    plot=plot_spectrum,
)
