"""Seven claims on one page: what every strategy reaches, from where, and how far away."""

from __future__ import annotations

import textwrap
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from landscape.data_store.errors import unknown
from landscape.data_store.schemas.insights import INSIGHTS
from landscape.figures.axes import density_axis, log_height
from landscape.figures.panels import panels
from landscape.figures.registry import FIGURES, Figure
from landscape.figures.strategies import IMP, judged, plot_strategy, strategy_looks
from landscape.figures.style import (
    PAGE,
    abreast,
    legend_above,
    paper_figure,
    say_if_empty,
)

PANEL = 1.15
WRAPPED = 30
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


def plot_insights(
    ds: xr.Dataset, panel: str, *, ax: Axes | None = None, spread: str = "range"
) -> Axes:
    """One quantity of every strategy against the weights remaining.

    The runs given are replicates: the line is their mean, the bars are their spread. What is
    unknown is a gap; a strategy that was never measured has no line.

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
    spread
        ``range``, from the least to the greatest, or ``std``, one standard deviation to each side.

    Raises `LandscapeError` if `ds` is no insights dataset, `UsageError` for an unknown panel.
    """
    INSIGHTS.validate(ds)
    if panel not in PANELS:
        raise unknown("panel", panel, PANELS)
    if ax is None:
        with paper_figure() as canvas:
            return plot_insights(ds, panel, ax=canvas.add_subplot(), spread=spread)
    study = ds.isel(study=0)
    values, label = _quantity(study, panel)
    density = 100 * study["density"].max("replicate")
    for strategy, look in _looks(study).items():
        of = {"strategy": strategy}
        plot_strategy(ax, density.sel(of), values.sel(of), spread, **look)
    say_if_empty(ax)
    if panel == "volume" and ax.texts:
        _say_what_to_run(ax, study)
    _mark(ax, study, panel)
    density_axis(ax, density.values)
    if panel in ("solution", "baseline") and np.nanmax(values.values, initial=0.0) > 0:
        log_height(ax)
    ax.set_ylabel(label)
    return ax


def _quantity(study: xr.Dataset, panel: str) -> tuple[xr.DataArray, str]:
    """What a panel shows, over (replicate, strategy, level), and its label."""
    measure, split = judged(study)
    factor = 100.0 if measure == "error" else 1.0
    unit = "(%)" if measure == "error" else "(nats)"
    here, name = study.sel(split=split), f"{split} {measure}"
    barrier = here[f"{measure}_barrier"]
    path = "baseline-solution"
    if panel == "accuracy":
        where = "test" if "test" in study["split"].values else split
        error = study["error"].sel(split=where, point="solution")
        return 100 * (1 - error), f"{where} accuracy (%)"
    if panel in ("solution", "baseline"):
        return factor * here[measure].sel(point=panel), f"{name} {unit}\nof the {panel}"
    if panel == "between":
        return factor * barrier.sel(path="previous-solution"), f"{name} barrier {unit}"
    if panel == "escape":
        return factor * barrier.sel(path=path), f"{name} barrier {unit}"
    if panel == "volume":
        return study["log_volume_per_dimension"], "log volume per\ndimension (nats)"
    words = {"distance": "Euclidean distance", "angle": "angular distance\n(1: orthogonal)"}
    return study[panel].sel(path=path), words[panel]


def _mark(ax: Axes, study: xr.Dataset, panel: str) -> None:
    """Thresholds: of the sublevel sets where solutions are judged, of barriers elsewhere."""
    factor = 100.0 if judged(study)[0] == "error" else 1.0
    if panel in ("between", "escape"):
        ax.axhline(factor * float(study["epsilon"]), color="0.6", linewidth=0.7, zorder=0.9)
        ax.update_datalim([(0, 0)], updatex=False)
        ax.autoscale_view(scalex=False)
    if panel != "solution":
        return
    x = 100 * study["density"].sel(strategy=IMP).max("replicate").values
    for (_, edge), line in zip(_edges(study), ("--", ":"), strict=True):
        ax.plot(x[1:], factor * edge[1:], color="0.6", linewidth=0.7, linestyle=line, zorder=0.9)


def _say_what_to_run(ax: Axes, study: xr.Dataset) -> None:
    """What the verdict on claim 1 lacks, under the words that nothing is known."""
    missing = "".join(study["missing"].values[study["claim"].values == 1])
    text = "\n".join(textwrap.wrap(missing, WRAPPED))
    ax.text(0.5, 0.4, text, transform=ax.transAxes, ha="center", va="top", fontsize=5.5)


def _edges(study: xr.Dataset) -> list[tuple[str, NDArray[np.float64]]]:
    """The highest value inside each kind of sublevel set by level, averaged over the runs."""
    measure, split = judged(study)
    own = study[measure].sel(split=split, strategy=IMP).mean("replicate")
    epsilon = float(study["epsilon"])
    dense = float(own.sel(point="solution").values[0])
    before = own.sel(point="previous").values + epsilon
    return [("L(0)", np.full(len(before), dense + epsilon)), ("L(i)", before)]


def _looks(study: xr.Dataset) -> dict[str, dict[str, Any]]:
    """The looks of the strategies of a study."""
    return strategy_looks(study["strategy"].values.tolist())


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
    for number, verdict, count in zip(numbers, study["verdict"].values, made, strict=True):
        words = f"{verdict} (n = {count:.0f})" if count > 0 else str(verdict)
        ax.annotate(
            words, (1.03, number), xycoords=("axes fraction", "data"), va="center",
            annotation_clip=False, fontsize="small",
        )  # fmt: skip
    ax.set_xlabel("comparisons in favour (%)")
    ax.set_ylabel("claim")


def draw(ds: xr.Dataset, *, width: float = PAGE, spread: str = "range") -> Canvas:
    """Eight panels and the verdicts, as wide as a page unless told otherwise."""
    INSIGHTS.validate(ds)
    with paper_figure(width, PANEL) as canvas:
        count = len(PANELS) + 1
        canvas.set_figheight(-(-count // abreast(width, count)) * (PANEL + 0.75))
        axes = panels(canvas, count, sharey=False)
        for ax, panel in zip(axes, PANELS, strict=False):
            plot_insights(ds, panel, ax=ax, spread=spread)
            ax.set_title(_TITLES[panel], loc="left")
        _plot_verdicts(axes[-1], ds.isel(study=0))
        axes[-1].set_title("verdicts", loc="left")
        legend_above(canvas, _handles(ds.isel(study=0)))
    return canvas


FIGURE = Figure(
    "insights",
    FIGURES["insights"].summary,
    INSIGHTS,
    draw,
    caption="Lines are means over the runs of a strategy. L(i) is the solution of a level, the "
    "baseline what pruning leaves of it before the next training. Grey: ε, the slack of barriers, "
    "and the highest values inside the sublevel sets of L(0) (dashed) and of the level before "
    "(dotted). Verdicts stand beside the share of comparisons in favour of each claim, n the "
    "number of comparisons made.",
    shows=("loss", "error", "log_volume_per_dimension"),
    spread="range",
)
