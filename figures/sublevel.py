"""Sublevel sets: the points of every transition beside the threshold, and its paths."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D

from landscape.data_store.errors import unknown
from landscape.data_store.schemas.sublevel import SUBLEVEL
from landscape.figures.axes import density_axis, known, log_height, pair_axis
from landscape.figures.panels import panels
from landscape.figures.registry import FIGURES, Figure
from landscape.figures.style import (
    MARKERS,
    PAGE,
    colours,
    legend_above,
    paper_figure,
    say_if_empty,
)

SUBJECTS = ("points", "paths")
_NAMES = {"points": "point", "paths": "path"}
_JUDGED = {"points": "member", "paths": "connected"}


def plot_sublevel(
    ds: xr.Dataset,
    *,
    ax: Axes | None = None,
    subject: str = "points",
    split: str | None = None,
    legend: bool = True,
) -> Axes:
    """Points of every transition beside the threshold, or barriers of its paths beside epsilon.

    Filled markers are inside the sublevel set (points), or connected (paths); open ones are
    not; a cross has no answer. The grey line is the threshold, or epsilon. Transitions of
    unknown density get one place each.

    Parameters
    ----------
    ds
        A sublevel dataset.
    ax
        Where to draw; a new figure of the paper's style if None.
    subject
        ``points`` or ``paths``.
    split
        Which split; ``test`` unless given, or the first where there is none.
    legend
        Whether to put the legend over the axes.

    Raises `LandscapeError` if `ds` is no sublevel dataset, `UsageError` for an unknown subject
    or split.
    """
    SUBLEVEL.validate(ds)
    if subject not in SUBJECTS:
        raise unknown("subject", subject, SUBJECTS)
    split = split or _usual_split(ds)
    if split not in ds["split"].values:
        raise unknown("split", split, ds["split"].values.tolist())
    if ax is None:
        with paper_figure() as canvas:
            own = canvas.add_subplot()
            return plot_sublevel(ds, ax=own, subject=subject, split=split, legend=legend)
    one = ds.sel(split=split)
    by_density = known(one["density_b"])
    x = 100 * one["density_b"].values if by_density else np.arange(one.sizes["transition"])
    factor = _factor(one)
    _plot_lines(ax, one, x, subject, by_density)
    edge = one["threshold"] if subject == "points" else one["epsilon"]
    order = np.argsort(-x, kind="stable") if by_density else np.arange(len(x))
    ax.plot(x[order], factor * edge.values[order], color="0.6", linewidth=0.8, zorder=0.9)
    say_if_empty(ax)
    if subject == "points" and np.nanmin(_values(one, subject).values, initial=np.inf) > 0:
        log_height(ax)
    if by_density:
        density_axis(ax, x)
    else:
        pair_axis(ax, one["transition"].values.tolist())
    words, unit = ("error", "%") if factor > 1 else ("loss", "nats")
    ax.set_ylabel(f"{split} {words}{'' if subject == 'points' else ' barrier'} ({unit})")
    if legend:
        legend_above(ax, _handles(ds, subject))
    return ax


def _usual_split(ds: xr.Dataset) -> str:
    """The test split, or the first where there is none."""
    splits = ds["split"].values.tolist()
    return "test" if "test" in splits else str(splits[0])


def _factor(one: xr.Dataset) -> float:
    """What values are multiplied by: errors are drawn in percent."""
    return 1.0 if "loss" in one["measure"].values.tolist() else 100.0


def _plot_lines(ax: Axes, one: xr.Dataset, x: Any, subject: str, by_density: bool) -> None:
    """One line per point or path and run, the markers filled where it is so."""
    dim = _NAMES[subject]
    values = _factor(one) * _values(one, subject)
    for name, look in _looks(one, subject).items():
        for run in dict.fromkeys(one["run"].values.tolist()):
            rows = np.flatnonzero(one["run"].values == run)
            rows = rows[np.argsort(-x[rows], kind="stable")] if by_density else rows
            y = values.sel({dim: name}).values[rows]
            ax.plot(x[rows], y, color=look["color"], linestyle="-" if by_density else "none")
            judged = one[_JUDGED[subject]].sel({dim: name}).values[rows]
            for answer, face in ((1.0, look["color"]), (0.0, "white")):
                chosen = judged == answer
                ax.plot(x[rows][chosen], y[chosen], linestyle="none", markerfacecolor=face, **look)
            lost = ~np.isfinite(judged)
            ax.plot(x[rows][lost], y[lost], linestyle="none", marker="x", color=look["color"])


def _values(one: xr.Dataset, subject: str) -> xr.DataArray:
    """The measure at the points, or the barrier of the paths."""
    if subject == "paths":
        return one["barrier"]
    return one["loss"].where(one["measure"] == "loss", one["error"])


def _looks(ds: xr.Dataset, subject: str) -> dict[str, dict[str, Any]]:
    """Colour and marker of each point or path."""
    names = ds[_NAMES[subject]].values.tolist()
    found = zip(names, colours(len(names)), MARKERS, strict=False)
    return {name: {"color": colour, "marker": marker} for name, colour, marker in found}


def _handles(ds: xr.Dataset, subject: str) -> list[Line2D]:
    """Legend: the points or paths, and the bound."""
    handles = [Line2D([], [], label=name, **look) for name, look in _looks(ds, subject).items()]
    label = "threshold (filled: inside)" if subject == "points" else "ε (filled: connected)"
    return [*handles, Line2D([], [], color="0.6", linewidth=0.8, label=label)]


def draw(ds: xr.Dataset, *, width: float = PAGE) -> Canvas:
    """Two panels, points and paths, as wide as a page unless told otherwise."""
    SUBLEVEL.validate(ds)
    with paper_figure(width) as canvas:
        for ax, subject in zip(panels(canvas, 2, sharey=False), SUBJECTS, strict=True):
            plot_sublevel(ds, ax=ax, subject=subject)
    return canvas


FIGURE = Figure(
    "sublevel",
    FIGURES["sublevel"].summary,
    SUBLEVEL,
    draw,
    caption="A transition leads from the solution of one level to that of the next, at whose "
    "density it stands. A point is inside the sublevel set (filled) if it is at most epsilon above "
    "the last solution; a path connects its ends (filled) if its barrier is at most epsilon. "
    "Crosses are not known.",
    shows=("loss", "error", "barrier"),
)
