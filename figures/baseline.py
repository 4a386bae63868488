"""Baselines: error and loss of the last solution right after pruning, by the source of the mask."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D

from landscape.data_store.errors import unknown
from landscape.data_store.schemas.insights import INSIGHTS
from landscape.figures.axes import density_axis, log_height
from landscape.figures.panels import panels
from landscape.figures.registry import FIGURES, Figure
from landscape.figures.strategies import IMP, judged, plot_strategy, strategy_looks
from landscape.figures.style import (
    MEASURES,
    PAGE,
    axis_label,
    legend_above,
    paper_figure,
    say_if_empty,
    scale,
)

RETRAINED = ("finetune", "lr-rewind", "reinit")  # other training, masks chosen by magnitude
_LABELS = {IMP: "iterative (imp)"}


def plot_baseline(
    ds: xr.Dataset,
    *,
    ax: Axes | None = None,
    measure: str = "error",
    split: str | None = None,
    strategies: Sequence[str] | None = None,
    spread: str = "range",
    legend: bool = True,
) -> Axes:
    """Error or loss of the baseline ``m(i+1) L(i)``, the pruned solution before it is retrained.

    One line per source of the masks. The runs given are replicates: a line is their mean, its
    bars are their spread. The grey dashed line is the solution of iterative
    pruning before its weights are taken away. A strategy without a value has no line, and the
    legend says so.

    Parameters
    ----------
    ds
        An insights dataset.
    ax
        Where to draw; a new figure of the paper's style if None.
    measure
        ``error`` (in percent) or ``loss``.
    split
        Which split of the data; the one the claims are judged on unless given.
    strategies
        Which strategies; all but those that differ in the training only unless given.
    spread
        ``range``, from the least to the greatest, or ``std``, one standard deviation to each side.
    legend
        Whether to put the legend over the axes.

    Raises `LandscapeError` if `ds` is no insights dataset, `UsageError` for an unknown measure,
    split or strategy.

    Source: Saleem et al. (2024), claims 5 (iterative and one-shot) and 6 (small, random and
    large weights).
    """
    INSIGHTS.validate(ds)
    if measure not in MEASURES:
        raise unknown("measure", measure, MEASURES)
    study = ds.isel(study=0)
    split = split or judged(study)[1]
    if split not in study["split"].values:
        raise unknown("split", split, study["split"].values.tolist())
    names = _chosen(study, strategies)
    if ax is None:
        with paper_figure() as canvas:
            own = canvas.add_subplot()
            options: dict[str, Any] = {"split": split, "strategies": names, "spread": spread}
            return plot_baseline(ds, ax=own, measure=measure, legend=legend, **options)
    values = scale(INSIGHTS.variables[measure]) * study[measure].sel(split=split)
    percent = 100 * study["density"].max("replicate")
    for name, look in strategy_looks(names).items():
        own_values = values.sel(strategy=name, point="baseline")
        plot_strategy(ax, percent.sel(strategy=name), own_values, spread, **look)
    if IMP in study["strategy"].values:
        before = values.sel(strategy=IMP, point="previous").mean("replicate").values
        ax.plot(percent.sel(strategy=IMP).values, before, **_BEFORE)
    say_if_empty(ax)
    if np.nanmax(values.values, initial=0.0) > 0:
        log_height(ax)
    density_axis(ax, percent.sel(strategy=names).values)
    ax.set_ylabel(f"{split} {axis_label(INSIGHTS.variables[measure])}\nright after pruning")
    if legend:
        legend_above(ax, _handles(study, names, split))
    return ax


_BEFORE: dict[str, Any] = {"color": "0.5", "linestyle": "--", "linewidth": 0.8, "zorder": 1.5}


def _chosen(study: xr.Dataset, strategies: Sequence[str] | None) -> list[str]:
    """The strategies that are drawn."""
    present = study["strategy"].values.tolist()
    for name in strategies or ():
        if name not in present:
            raise unknown("strategy", name, present)
    return list(strategies or (name for name in present if name not in RETRAINED))


def _handles(study: xr.Dataset, names: Sequence[str], split: str) -> list[Line2D]:
    """Legend: the strategies, those without a value as such, and the solution before pruning."""
    baseline = study["error"].sel(split=split, point="baseline")
    handles = []
    for name, look in strategy_looks(names).items():
        missing = "" if baseline.sel(strategy=name).notnull().any() else " (not measured)"
        handles.append(Line2D([], [], label=_LABELS.get(name, name) + missing, **look))
    if IMP in study["strategy"].values:
        handles.append(Line2D([], [], label="L(i), before pruning", **_BEFORE))
    return handles


def draw(ds: xr.Dataset, *, width: float = PAGE, spread: str = "range") -> Canvas:
    """Two panels, error and loss, as wide as a page unless told otherwise."""
    INSIGHTS.validate(ds)
    study = ds.isel(study=0)
    with paper_figure(width) as canvas:
        for ax, measure in zip(panels(canvas, 2, sharey=False), MEASURES, strict=True):
            plot_baseline(ds, ax=ax, measure=measure, spread=spread, legend=False)
        legend_above(canvas, _handles(study, _chosen(study, None), judged(study)[1]))
    return canvas


FIGURE = Figure(
    "baseline",
    FIGURES["baseline"].summary,
    INSIGHTS,
    draw,
    caption="The baseline is the solution of the level before, with the weights of the new mask "
    "only, before it is trained again; one-shot pruning goes from the dense solution to a density "
    "at once. Lines are means over the runs. The dashed line is the solution of iterative pruning "
    "before its weights are taken away.",
    shows=("error", "loss"),
    spread="range",
)
