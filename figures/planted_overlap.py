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
from landscape.figures.pruners import (
    ITERATIVE,
    Numbers,
    lines,
    looks,
    steps,
    tasks,
)
from landscape.figures.registry import FIGURES, Figure
from landscape.figures.style import HEIGHT, PAGE, abreast, legend_above, paper_figure, say_if_empty

SHOWN = {"precision": "precision", "recall": "recall", "jaccard": "Jaccard index"}
PANEL = 1.25
_ALL, _TRUTH = "all", ".planted"
_CHANCE: dict[str, Any] = {"linestyle": "--", "linewidth": 0.8}


def plot_planted_overlap(
    ds: xr.Dataset,
    measure: str = "precision",
    *,
    ax: Axes | None = None,
    spread: str = "range",
) -> Axes:
    """Precision, recall or Jaccard index of masks by their density, dense on the left.

    One line per criterion. Pairs of one criterion whose densities differ by 2 % at most are
    replicates: the line is their mean, the band is their spread. The dashed line of the same
    colour is what is expected of random masks of the same layer sizes. A pair of     unknown
    value is left out of mean and band; an empty mask has no place on the axis.

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
    spread
        ``range``, from the least to the greatest, or ``std``, one standard deviation.

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
            ax = plot_planted_overlap(ds, measure, ax=canvas.add_subplot(), spread=spread)
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
        _plot_line(ax, density[rows], whole[measure].values[rows], look, spread)
    say_if_empty(ax)
    density_axis(ax, density)
    ax.set_ylabel(SHOWN[measure])
    ax.set_ylim(0.0, None)
    low, high = ax.get_ylim()
    top = min(1.0, max(high, 0.05))  # a share: nothing lies above 1
    ax.set_ylim(low - 0.02 * top, 1.02 * top)
    return ax


def _of_truths(ds: xr.Dataset) -> xr.Dataset:
    """The pairs whose second is a planted truth; all if there is none."""
    planted = [str(pair).endswith(_TRUTH) for pair in ds["pair"].values]
    return ds.isel(pair=np.flatnonzero(planted)) if any(planted) else ds


def _plot_line(
    ax: Axes, density: Numbers, values: Numbers, look: Mapping[str, Any], spread: str
) -> None:
    """Means over replicates, and a band over their spread."""
    x, mean, low, high = steps(density, values, spread)
    ax.plot(x, mean, **look)
    if np.any(low < high):
        ax.fill_between(x, low, high, color=look["color"], alpha=0.15, linewidth=0)


def _plot_chance(ax: Axes, density: Numbers, values: Numbers, look: Mapping[str, Any]) -> None:
    """What is expected of random masks, as a mean over replicates."""
    x, mean, _, _ = steps(density, values, "range")
    ax.plot(x, mean, color=look["color"], **_CHANCE)


def _looks(ds: xr.Dataset) -> dict[str, dict[str, Any]]:
    """Colour and marker of each criterion; what is not chance is not dashed."""
    found = looks(lines(ds, "pair", OVERLAP.coordinates))
    return {name: {**look, "linestyle": "-"} for name, look in found.items()}


def _handles(ds: xr.Dataset) -> list[Line2D]:
    """Legend: the criteria, and chance."""
    handles = [Line2D([], [], label=name, **look) for name, look in _looks(ds).items()]
    return [*handles, Line2D([], [], color="0.35", label="expected by chance", **_CHANCE)]


def draw(ds: xr.Dataset, *, width: float = PAGE, spread: str = "range") -> Canvas:
    """The three measures beside each other, as wide as a page, a row for each task.

    Measures for which `width` inches are too few stand below the others.

    The coordinate ``target`` over ``pair``, or else ``plant``, names the tasks. Of several
    schedules of ``densities`` the iterative ones are drawn; ``ds.sel(densities=…)`` has the others.
    """
    OVERLAP.validate(ds)
    ds = _iterative(_of_truths(ds))
    parts = tasks(ds, "pair")
    beside = abreast(width, len(SHOWN))
    below = -(-len(SHOWN) // beside)
    with paper_figure(width, HEIGHT if len(parts) == 1 else PANEL) as canvas:
        canvas.set_figheight(len(parts) * below * (PANEL + 0.6))
        axes = canvas.subplots(len(parts) * below, beside, squeeze=False).reshape(len(parts), -1)
        for spare in axes[:, len(SHOWN) :].flat:
            spare.remove()
        for row, (task, rows) in zip(axes, parts.items(), strict=True):
            for ax, measure in zip(row, SHOWN, strict=False):
                plot_planted_overlap(ds.isel(pair=rows), measure, ax=ax, spread=spread)
                ax.set_title(task, loc="left")
        legend_above(canvas, _handles(ds))
    return canvas


def _iterative(ds: xr.Dataset) -> xr.Dataset:
    """The pairs of iterative schedules, where there are such and others."""
    if "densities" not in ds.coords:
        return ds
    is_iterative = np.isin(ds["densities"].values.astype(np.str_), ITERATIVE)
    return ds.isel(pair=np.flatnonzero(is_iterative)) if is_iterative.any() else ds


FIGURE = Figure(
    "planted-overlap",
    FIGURES["planted-overlap"].summary,
    OVERLAP,
    draw,
    {"planted": True},
    caption="Precision is the share of a mask's weights that the planted ticket keeps, recall the "
    "share of the planted ones that the mask keeps, the Jaccard index their overlap over their "
    "union. Lines are means over replicates, dashed ones what is expected of random masks of the "
    "same layer sizes.",
    shows=("precision", "recall", "jaccard"),
    spread="range",
)
