"""Seven claims on one page: what every strategy reaches, from where, and how far away."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from landscape.data_store.errors import unknown
from landscape.data_store.schemas.insights import INSIGHTS
from landscape.figures.axes import density_axis
from landscape.figures.registry import FIGURES, Figure
from landscape.figures.style import (
    MARKERS,
    OKABE_ITO,
    PAGE,
    legend_above,
    paper_figure,
    say_if_empty,
)

IMP = "imp"
PANEL = 1.15
_COLOURS = {
    IMP: OKABE_ITO[6],
    "one-shot": OKABE_ITO[1],
    "finetune": OKABE_ITO[0],
    "random": OKABE_ITO[2],
    "largest-first": OKABE_ITO[3],
    "reinit": OKABE_ITO[5],
    "lr-rewind": OKABE_ITO[4],
}
_TITLES = {
    "accuracy": "solutions (claims 1, 3, 4)",
    "solution": "sublevel sets (claim 3)",
    "between": "L(i) to L(i+1) (claim 2)",
    "baseline": "baselines (claims 5, 6)",
    "escape": "baseline to solution (4, 7)",
    "distance": "baseline to solution (4, 7)",
    "angle": "baseline to solution (4, 7)",
    "volume": "minima (claim 1)",
}
PANELS = tuple(_TITLES)


def plot_insights(ds: xr.Dataset, panel: str, *, ax: Axes | None = None) -> Axes:
    """One quantity of every strategy against the weights remaining.

    The runs given are replicates: the line is their mean, the bars run from the least to the
    greatest. What is unknown is a gap; a strategy that was never measured has no line.

    Parameters
    ----------
    ds
        An insights dataset.
    panel
        One of `PANELS`: ``accuracy`` of the solutions; loss or error of the ``solution`` with
        the highest values inside the sublevel sets (of level 0 dashed, of the level before
        dotted); the barrier ``between`` successive solutions; loss or error of the
        ``baseline``; the barrier from the baseline to the solution (``escape``), their
        ``distance`` and ``angle``; and the ``volume`` per dimension.
    ax
        Where to draw; a new figure of the paper's style if None.

    Raises `LandscapeError` if `ds` is no insights dataset, `UsageError` for an unknown panel.
    """
    INSIGHTS.validate(ds)
    if panel not in PANELS:
        raise unknown("panel", panel, PANELS)
    if ax is None:
        with paper_figure() as canvas:
            return plot_insights(ds, panel, ax=canvas.add_subplot())
    study = ds.isel(study=0)
    values, label = _quantity(study, panel)
    density = 100 * study["density"].max("replicate")
    for strategy, look in _looks(study).items():
        _plot(ax, density.sel(strategy=strategy), values.sel(strategy=strategy), look)
    say_if_empty(ax)
    _mark(ax, study, panel)
    density_axis(ax, density.values)
    if panel in ("solution", "baseline") and np.nanmax(values.values, initial=0.0) > 0:
        ax.set_yscale("log")
    ax.set_ylabel(label)
    return ax


def _judged(study: xr.Dataset) -> tuple[str, str]:
    """The measure and the split that the claims are judged by."""
    measure, split = str(study["measure"].values), str(study["judged_split"].values)
    splits = study["split"].values.tolist()
    return "loss" if measure == "loss" else "error", split if split in splits else splits[-1]


def _quantity(study: xr.Dataset, panel: str) -> tuple[xr.DataArray, str]:
    """What a panel shows, over (replicate, strategy, level), and its label."""
    measure, split = _judged(study)
    factor = 100.0 if measure == "error" else 1.0
    unit = "(%)" if measure == "error" else "(nats)"
    judged, name = study.sel(split=split), f"{split} {measure}"
    barrier = judged[f"{measure}_barrier"]
    path = "baseline-solution"
    if panel == "accuracy":
        where = "test" if "test" in study["split"].values else split
        error = study["error"].sel(split=where, point="solution")
        return 100 * (1 - error), f"{where} accuracy (%)"
    if panel in ("solution", "baseline"):
        return factor * judged[measure].sel(point=panel), f"{name} {unit}\nof the {panel}"
    if panel == "between":
        return factor * barrier.sel(path="previous-solution"), f"{name} barrier {unit}"
    if panel == "escape":
        return factor * barrier.sel(path=path), f"{name} barrier {unit}"
    if panel == "volume":
        return study["log_volume_per_dimension"], "log volume per\ndimension (nats)"
    words = {"distance": "distance", "angle": "angular distance"}
    return study[panel].sel(path=path), words[panel]


def _plot(ax: Axes, density: xr.DataArray, values: xr.DataArray, look: dict[str, Any]) -> None:
    """Mean over the runs against the density, and bars from the least to the greatest."""
    x, rows = density.values, values.transpose("replicate", "level").values
    known = np.isfinite(x) & np.isfinite(rows).any(axis=0)
    if not known.any():
        return
    x, rows = x[known], rows[:, known]
    ax.plot(x, np.nanmean(rows, axis=0), **look)
    if len(rows) > 1:
        low, high = np.nanmin(rows, axis=0), np.nanmax(rows, axis=0)
        ax.vlines(x, low, high, color=look["color"], linewidth=0.7)


def _mark(ax: Axes, study: xr.Dataset, panel: str) -> None:
    """Thresholds: of the sublevel sets where solutions are judged, of barriers elsewhere."""
    factor = 100.0 if _judged(study)[0] == "error" else 1.0
    if panel in ("between", "escape"):
        ax.axhline(factor * float(study["epsilon"]), color="0.6", linewidth=0.7, zorder=0.9)
        ax.update_datalim([(0, 0)], updatex=False)
        ax.autoscale_view(scalex=False)
    if panel != "solution":
        return
    x = 100 * study["density"].sel(strategy=IMP).max("replicate").values
    for (_, edge), line in zip(_edges(study), ("--", ":"), strict=True):
        ax.plot(x[1:], factor * edge[1:], color="0.6", linewidth=0.7, linestyle=line, zorder=0.9)


def _edges(study: xr.Dataset) -> list[tuple[str, NDArray[np.float64]]]:
    """The highest value inside each kind of sublevel set by level, averaged over the runs."""
    measure, split = _judged(study)
    own = study[measure].sel(split=split, strategy=IMP).mean("replicate")
    epsilon = float(study["epsilon"])
    dense = float(own.sel(point="solution").values[0])
    before = own.sel(point="previous").values + epsilon
    return [("L(0)", np.full(len(before), dense + epsilon)), ("L(i)", before)]


def _looks(study: xr.Dataset) -> dict[str, dict[str, Any]]:
    """Colour, marker and line of each strategy, the same in every figure."""
    spare = cycle([c for c in OKABE_ITO if c not in _COLOURS.values()] or ["0.5"])
    looks = {}
    for strategy, marker in zip(study["strategy"].values.tolist(), cycle(MARKERS), strict=False):
        known = strategy in _COLOURS
        looks[strategy] = {
            "color": _COLOURS[strategy] if known else next(spare),
            "marker": marker,
            "linestyle": "-" if known else "--",
            "linewidth": 1.6 if strategy == IMP else 1.0,
            "markersize": 2.4,
            "zorder": 3 if strategy == IMP else 2,
        }
    return looks


def _handles(study: xr.Dataset) -> list[Line2D]:
    """Legend: the strategies, and the thresholds."""
    handles = [Line2D([], [], label=name, **look) for name, look in _looks(study).items()]
    grey: dict[str, Any] = {"color": "0.6", "linewidth": 0.7}
    handles += [
        Line2D([], [], label="ε", **grey),
        Line2D([], [], label="L(0) + ε", linestyle="--", **grey),
        Line2D([], [], label="L(i) + ε", linestyle=":", **grey),
    ]
    return handles


def _plot_verdicts(ax: Axes, study: xr.Dataset) -> None:
    """Share of the comparisons in favour of each claim, its verdict beside it."""
    numbers, made = study["claim"].values, study["comparisons"].values
    share = 100 * study["in_favour"].where(study["comparisons"] > 0).values / np.maximum(made, 1)
    ax.plot(share, numbers, linestyle="none", marker="o", color="0.2")
    ax.hlines(numbers, 0, np.nan_to_num(share), color="0.2", linewidth=1.0)
    say_if_empty(ax)
    ax.set_xlim(0, 105)
    ax.set_ylim(numbers.max() + 0.6, numbers.min() - 0.6)
    ax.set_yticks(numbers, [f"{number:.0f}" for number in numbers])
    for number, verdict in zip(numbers, study["verdict"].values, strict=True):
        ax.annotate(
            str(verdict), (1.03, number), xycoords=("axes fraction", "data"), va="center",
            annotation_clip=False, fontsize="small",
        )  # fmt: skip
    ax.set_xlabel("comparisons in favour (%)")
    ax.set_ylabel("claim")


def draw(ds: xr.Dataset) -> Canvas:
    """Eight panels and the verdicts, as wide as a page."""
    INSIGHTS.validate(ds)
    with paper_figure(PAGE, PANEL) as canvas:
        canvas.set_figheight(3 * (PANEL + 0.75))
        axes: Sequence[Axes] = canvas.subplots(3, 3).flat
        for ax, panel in zip(axes, PANELS, strict=False):
            plot_insights(ds, panel, ax=ax)
            ax.set_title(_TITLES[panel], loc="left")
        _plot_verdicts(axes[len(PANELS)], ds.isel(study=0))
        axes[len(PANELS)].set_title("verdicts", loc="left")
        legend_above(canvas, _handles(ds.isel(study=0)))
    return canvas


FIGURE = Figure("insights", FIGURES["insights"].summary, INSIGHTS, draw)
