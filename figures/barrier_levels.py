"""Barrier heights between pairs of checkpoints against the weights remaining."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D

from landscape.data_store.errors import unknown
from landscape.data_store.schemas.barrier import BARRIER
from landscape.figures.axes import density_axis, known, pair_axis
from landscape.figures.panels import panels
from landscape.figures.registry import FIGURES, Figure
from landscape.figures.style import (
    MEASURES,
    PAGE,
    axis_label,
    colours,
    legend_above,
    paper_figure,
    run_looks,
    say_if_empty,
    scale,
)

SPLITS = ("train", "test")

UNSTABLE_PERCENT = 2.0


def plot_barrier_levels(
    ds: xr.Dataset,
    *,
    ax: Axes | None = None,
    definition: str = "lmc",
    measure: str = "error",
    legend: bool = True,
) -> Axes:
    """Barrier of each pair at the density of its second checkpoint.

    One colour per split, filled markers for test and open ones for others; one marker and line
    style per run. Pairs of unknown density (files
    of other programs) get one place each instead, without a line. A barrier that is NaN is
    a gap. For the error and the ``lmc`` definition a thin line marks the 2 % over which
    Frankle et al. (2020) call a network unstable.

    Parameters
    ----------
    ds
        A barrier dataset.
    ax
        Where to draw; a new figure of the paper's style if None.
    definition
        Which definition of the barrier.
    measure
        ``error`` (in percentage points) or ``loss``.
    legend
        Whether to put the legend over the axes.

    Raises `LandscapeError` if `ds` is no barrier dataset, `UsageError` for an unknown
    definition or measure.
    """
    BARRIER.validate(ds)
    if measure not in MEASURES:
        raise unknown("measure", measure, MEASURES)
    if definition not in ds["definition"].values:
        raise unknown("definition", definition, ds["definition"].values.tolist())
    if ax is None:
        with paper_figure() as canvas:
            return plot_barrier_levels(
                ds,
                ax=canvas.add_subplot(),
                definition=definition,
                measure=measure,
                legend=legend,
            )
    variable = BARRIER.variables[f"{measure}_barrier"]
    heights = scale(variable) * ds[f"{measure}_barrier"].sel(definition=definition)
    _plot_runs(ax, heights)
    say_if_empty(ax)
    ax.update_datalim([(0, 0)], updatex=False)
    ax.autoscale_view(scalex=False)
    threshold = measure == "error" and definition == "lmc"
    if threshold:
        ax.axhline(UNSTABLE_PERCENT, color="0.6", linewidth=0.7, zorder=0.9)
    label = axis_label(variable)
    ax.set_ylabel(label if definition == "lmc" else f"{label}\n{definition}")
    if legend:
        legend_above(ax, _handles(ds, threshold))
    return ax


def _plot_runs(ax: Axes, heights: xr.DataArray) -> None:
    """One line per run and split over (pair, split), from dense to sparse."""
    by_density = known(heights["density_b"])
    x = 100 * heights["density_b"].values if by_density else np.arange(heights.sizes["pair"])
    split_looks = _split_looks(heights)
    for run, marker, line in run_looks(heights):
        rows = np.flatnonzero(heights["run"].values == run)
        rows = rows[np.argsort(-x[rows], kind="stable")] if by_density else rows
        for split, look in split_looks.items():
            ax.plot(
                x[rows],
                heights.sel(split=split).values[rows],
                **look,
                marker=marker,
                linestyle=line if by_density else "none",
            )
    if by_density:
        density_axis(ax, x)
    else:
        pair_axis(ax, heights["pair"].values.tolist())


def _split_looks(ds: xr.Dataset | xr.DataArray) -> dict[str, dict[str, Any]]:
    """Colour and filling of each split; train and test have theirs whatever else is there."""
    present = ds["split"].values.tolist()
    names = [*SPLITS, *(split for split in present if split not in SPLITS)]
    table = dict(zip(names, colours(len(names)), strict=True))
    return {
        split: {"color": table[split], "fillstyle": "full" if split == "test" else "none"}
        for split in present
    }


def _handles(ds: xr.Dataset, threshold: bool) -> list[Line2D]:
    """Legend: the splits, the runs where there are several, the threshold."""
    handles = [
        Line2D([], [], marker="o", label=split, **look) for split, look in _split_looks(ds).items()
    ]
    looks = run_looks(ds)
    if len(looks) > 1:
        handles += [
            Line2D([], [], color="0.35", marker=marker, linestyle=line, label=run)
            for run, marker, line in looks
        ]
    if threshold:
        label = f"unstable above {UNSTABLE_PERCENT:g} %"
        handles.append(Line2D([], [], color="0.6", linewidth=0.7, label=label))
    return handles


def draw(ds: xr.Dataset, *, width: float = PAGE) -> Canvas:
    """Two panels, error and loss, as wide as a page unless told otherwise."""
    with paper_figure(width) as canvas:
        for ax, measure in zip(panels(canvas, 2, sharey=False), MEASURES, strict=True):
            plot_barrier_levels(ds, ax=ax, measure=measure, legend=False)
        legend_above(canvas, _handles(ds, threshold=True))
    return canvas


FIGURE = Figure(
    "barrier-levels",
    FIGURES["barrier-levels"].summary,
    BARRIER,
    draw,
    caption="A barrier is the greatest height of a straight line's error or loss over the mean of "
    "its ends (lmc), drawn at the density of the sparser end. The thin line marks the 2 % of error "
    "above which Frankle et al. call a network unstable.",
    shows=("error_barrier", "loss_barrier"),
)
