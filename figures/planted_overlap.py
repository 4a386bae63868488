"""How much of a planted ticket masks hold, against the weights remaining, beside chance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D

from landscape.data_store.errors import LandscapeError, unknown
from landscape.data_store.schemas.overlap import OVERLAP
from landscape.figures.axes import density_axis
from landscape.figures.pruners import Numbers, lines, looks, reduced, replicates
from landscape.figures.registry import FIGURES, Figure
from landscape.figures.style import PAGE, legend_above, paper_figure, say_if_empty

SHOWN = {"precision": "precision", "recall": "recall", "jaccard": "Jaccard index"}
_ALL, _TRUTH = "all", ".planted"
_CHANCE: dict[str, Any] = {"linestyle": "--", "linewidth": 0.8}


def plot_planted_overlap(
    ds: xr.Dataset, measure: str = "precision", *, ax: Axes | None = None
) -> Axes:
    """Precision, recall or Jaccard index of masks by their density, dense on the left.

    One line per criterion. Pairs of one criterion whose densities differ by 2 % at most are
    replicates: the line is their mean, the band runs from the least to the greatest. The dashed
    line of the same colour is what is expected of random masks of the same layer sizes. A pair of
    unknown value is left out of mean and band; an empty mask has no place on the axis.

    Parameters
    ----------
    ds
        An overlap dataset. If some second checkpoints are planted truths, as those of ``landscape
        overlap RUN --planted``, only their pairs are drawn. A coordinate ``criterion`` over
        ``pair`` tells the lines apart, with others of the settings of pruning where these vary;
        without it there is one.
    measure
        ``precision``, ``recall`` or ``jaccard``, over all layers.
    ax
        Where to draw; a new figure of the paper's style if None.

    Raises `LandscapeError` if `ds` is no overlap dataset or lacks the layer ``all``, `UsageError`
    for another measure.
    """
    OVERLAP.validate(ds)
    if measure not in SHOWN:
        raise unknown("measure", measure, SHOWN)
    ds = _of_truths(ds)
    if _ALL not in ds["layer"].values:
        raise LandscapeError(f"this overlap dataset has no layer {_ALL!r}; ask for overlaps again")
    if ax is None:
        with paper_figure() as canvas:
            ax = plot_planted_overlap(ds, measure, ax=canvas.add_subplot())
            legend_above(ax, _handles(_of_truths(ds)))
            return ax
    whole = ds.sel(layer=_ALL)
    density = 100 * ds["density_a"].values.astype(float)
    labels = lines(ds, "pair", OVERLAP.coordinates)
    for name, look in _looks(ds).items():
        rows = np.flatnonzero(labels == name)
        expected = whole.get(f"expected_{measure}")
        if expected is not None:  # results of version 1.0 have that of the Jaccard index only
            _plot_chance(ax, density[rows], expected.values[rows], look)
        _plot_line(ax, density[rows], whole[measure].values[rows], look)
    say_if_empty(ax)
    density_axis(ax, density)
    ax.set_ylabel(SHOWN[measure])
    ax.set_ylim(-0.02, 1.02)
    return ax


def _of_truths(ds: xr.Dataset) -> xr.Dataset:
    """The pairs whose second is a planted truth; all if there is none."""
    planted = [str(pair).endswith(_TRUTH) for pair in ds["pair"].values]
    return ds.isel(pair=np.flatnonzero(planted)) if any(planted) else ds


def _plot_line(ax: Axes, density: Numbers, values: Numbers, look: Mapping[str, Any]) -> None:
    """Means over replicates, and a band between their extremes."""
    x, low, mean, high = _steps(density, values)
    ax.plot(x, mean, **look)
    if np.any(low < high):
        ax.fill_between(x, low, high, color=look["color"], alpha=0.15, linewidth=0)


def _plot_chance(ax: Axes, density: Numbers, values: Numbers, look: Mapping[str, Any]) -> None:
    """What is expected of random masks, as a mean over replicates."""
    x, _, mean, _ = _steps(density, values)
    ax.plot(x, mean, color=look["color"], **_CHANCE)


def _steps(density: Numbers, values: Numbers) -> tuple[Numbers, Numbers, Numbers, Numbers]:
    """Density, least, mean and greatest of each set of replicates."""
    steps = list(replicates(density))
    x = np.array([density[rows].mean() for rows in steps])
    low, mean, high = (
        np.array([reduced(how, values[rows]) for rows in steps])
        for how in (np.min, np.mean, np.max)
    )
    return x, low, mean, high


def _looks(ds: xr.Dataset) -> dict[str, dict[str, Any]]:
    """Colour and marker of each criterion; what is not chance is not dashed."""
    found = looks(lines(ds, "pair", OVERLAP.coordinates))
    return {name: {**look, "linestyle": "-"} for name, look in found.items()}


def _handles(ds: xr.Dataset) -> list[Line2D]:
    """Legend: the criteria, and chance."""
    handles = [Line2D([], [], label=name, **look) for name, look in _looks(ds).items()]
    return [*handles, Line2D([], [], color="0.35", label="expected by chance", **_CHANCE)]


def draw(ds: xr.Dataset) -> Canvas:
    """The three measures beside each other, as wide as a page."""
    OVERLAP.validate(ds)
    ds = _of_truths(ds)
    with paper_figure(PAGE) as canvas:
        for ax, measure in zip(canvas.subplots(1, len(SHOWN)), SHOWN, strict=True):
            plot_planted_overlap(ds, measure, ax=ax)
        legend_above(canvas, _handles(ds))
    return canvas


FIGURE = Figure(
    "planted-overlap", FIGURES["planted-overlap"].summary, OVERLAP, draw, {"planted": True}
)
