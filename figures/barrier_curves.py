"""Loss or error on the straight line between two checkpoints."""

from __future__ import annotations

from itertools import cycle
from typing import Any

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D

from landscape.data_store.errors import unknown
from landscape.data_store.schemas.barrier import BARRIER
from landscape.figures.axes import known
from landscape.figures.panels import panels
from landscape.figures.registry import FIGURES, Figure
from landscape.figures.style import (
    COLUMN,
    LINES,
    MEASURES,
    PAGE,
    axis_label,
    colours,
    legend_above,
    level_bar,
    level_scale,
    paper_figure,
    run_looks,
    say_if_empty,
    scale,
)

NAMED = 4


def plot_barrier_curves(
    ds: xr.Dataset,
    *,
    ax: Axes | None = None,
    split: str = "test",
    measure: str = "loss",
    legend: bool = True,
) -> Axes:
    """Loss or error against the position on the line, one line per pair.

    The band is one standard error to each side; small dots are the points that refinement
    added. Up to four pairs are named in a legend; more have no bands, are coloured by the level
    of their second checkpoint, with a colour bar, and their runs told apart by the line style.

    Parameters
    ----------
    ds
        A barrier dataset.
    ax
        Where to draw; a new figure of the paper's style if None.
    split
        Which split of the data.
    measure
        ``loss`` or ``error`` (in percent).
    legend
        Whether to add the legend or the colour bar.

    Raises `LandscapeError` if `ds` is no barrier dataset, `UsageError` for an unknown split
    or measure.
    """
    BARRIER.validate(ds)
    if measure not in MEASURES:
        raise unknown("measure", measure, MEASURES)
    if split not in ds["split"].values:
        raise unknown("split", split, ds["split"].values.tolist())
    if ax is None:
        with paper_figure() as canvas:
            axes = canvas.add_subplot()
            return plot_barrier_curves(ds, ax=axes, split=split, measure=measure, legend=legend)
    here = ds.sel(split=split)
    for pair, look in enumerate(_looks(ds)):
        _plot_pair(ax, here.isel(pair=pair), measure, look, band=ds.sizes["pair"] <= NAMED)
    say_if_empty(ax)
    ax.set_xlabel(axis_label(BARRIER.coordinates["alpha"]))
    ax.set_ylabel(axis_label(BARRIER.variables[measure]))
    if legend:
        _explain(ds, [ax], ax)
    return ax


def _plot_pair(
    ax: Axes, pair: xr.Dataset, measure: str, look: dict[str, Any], *, band: bool
) -> None:
    """The line of one pair, its band if it shall have one, and the points refinement added."""
    alpha, factor = pair["alpha"].values, scale(BARRIER.variables[measure])
    mean, se = factor * pair[measure].values, factor * pair[f"{measure}_se"].values
    ax.plot(alpha, mean, **look)
    if band:
        ax.fill_between(alpha, mean - se, mean + se, color=look["color"], alpha=0.2, linewidth=0)
    if f"refined_{measure}" in pair:
        ax.plot(
            pair["refined_alpha"].values,
            factor * pair[f"refined_{measure}"].values,
            color=look["color"],
            marker="o",
            markersize=2,
            linestyle="none",
        )


def _levels(ds: xr.Dataset) -> ScalarMappable | None:
    """Colours by level, or None where names say more: few pairs, or levels that repeat."""
    levels = ds["level_b"]
    if levels.size <= NAMED or not known(levels):
        return None
    if len(set(zip(ds["run"].values.tolist(), levels.values.tolist(), strict=True))) < levels.size:
        return None
    return level_scale(float(levels.min()), float(levels.max()))


def _looks(ds: xr.Dataset) -> list[dict[str, Any]]:
    """Colour and line style of each pair."""
    levels = _levels(ds)
    if levels is None:
        looks = zip(colours(ds.sizes["pair"]), cycle(LINES), strict=False)
        return [{"color": colour, "linestyle": line} for colour, line in looks]
    lines = {run: line for run, _, line in run_looks(ds)}
    return [
        {"color": levels.to_rgba(level), "linestyle": lines[run]}
        for level, run in zip(ds["level_b"].values, ds["run"].values.tolist(), strict=True)
    ]


def _explain(ds: xr.Dataset, axes: list[Axes], over: Axes | Canvas) -> None:
    """The legend `over` the axes, or the colour bar beside them and the runs over them."""
    levels = _levels(ds)
    if levels is None:
        looks = zip(ds["pair"].values.tolist(), _looks(ds), strict=True)
        legend_above(over, [Line2D([], [], label=pair, **look) for pair, look in looks])
        return
    level_bar(axes, levels, axis_label(BARRIER.coordinates["level_b"]))
    runs = run_looks(ds)
    if len(runs) > 1:
        handles = [Line2D([], [], color="0.35", linestyle=line, label=run) for run, _, line in runs]
        legend_above(over, handles)


def draw(ds: xr.Dataset, *, width: float | None = None) -> Canvas:
    """Loss on the line, one panel per split, as wide as a page where there are several.

    Unless told otherwise by `width`, in inches.
    """
    BARRIER.validate(ds)
    splits = ds["split"].values.tolist()
    with paper_figure(width or (PAGE if len(splits) > 1 else COLUMN)) as canvas:
        axes = panels(canvas, len(splits))
        for ax, split in zip(axes, splits, strict=True):
            plot_barrier_curves(ds, ax=ax, split=split, legend=False)
            ax.set_title(split)
            ax.label_outer()
        _explain(ds, axes, canvas)
    return canvas


FIGURE = Figure(
    "barrier-curves",
    FIGURES["barrier-curves"].summary,
    BARRIER,
    draw,
    caption="Position 0 is the first checkpoint of a pair and 1 the second. Areas, of up to four "
    "pairs, are one standard error of the loss to each side, over the examples; dots are positions "
    "that refinement added.",
    shows=("loss",),
)
