"""Transfers: tickets by where they were found, a panel for each place they are trained in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullFormatter, NullLocator

from landscape.data_store.errors import LandscapeError, unknown
from landscape.data_store.schemas.training import TRAINING
from landscape.figures.axes import density_axis
from landscape.figures.bands import band
from landscape.figures.panels import is_leftmost, panel_title, panels, titled_legend
from landscape.figures.replicates import Replicates, replicates
from landscape.figures.style import (
    COLUMN,
    LINES,
    MARKERS,
    OKABE_ITO,
    PAGE,
    paper_figure,
    say_if_empty,
)

RANDOM = "random tickets"
SHOWN = 0.75  # share of the points that the axis covers beside an inset
CUT = 1.5  # how many times taller the whole has to be for that
WIDE, TALL = 0.33, 0.29  # size of an inset in the panel
_PLACES = ((0.1, 0.05), (0.66, 0.05), (0.38, 0.05), (0.66, 0.68), (0.1, 0.68))
_COORDINATES = ("parent", "source", "source_optimizer", "target", "optimizer", "mask", "retrain")
_MASKS = {
    "permuted": "masks permuted",
    "permuted-layers": "masks permuted by layer",
    "pruned": "one-shot",
}
_WEIGHTS = {"rewind": "", "reinit": "new weights", "reinit-survivors": "weights of survivors"}
_NAMES = {"sgd": "SGD", "adam": "Adam", "adamw": "AdamW", "": "unknown"}
_OWN = {"source": "target", "source_optimizer": "optimizer"}


@dataclass(frozen=True, eq=False)
class Panel:
    """Tickets that are trained on one task with one optimiser.

    Parameters
    ----------
    title
        The task or the optimiser, and the other where it differs between panels.
    native
        Name of the line whose tickets were found where they are trained.
    lines
        Name of each line, a source or what was done to its tickets, and its replicates.
    """

    title: str
    native: str
    lines: list[tuple[str, Replicates]]


def transfer_panels(ds: xr.Dataset, vary: str) -> list[Panel]:
    """The panels of a figure whose lines differ in one thing.

    Random tickets, the mask permuted over all layers and new weights, hold nothing of their source
    and are one line, whatever it was; other controls are lines of their own. Where tickets
    were trained on their own source again, the run that found them is left out. A target that
    nothing was transferred to has no panel, unless that is so of all.

    Parameters
    ----------
    ds
        A training dataset.
    vary
        ``source``: lines are tasks, found with the optimiser they are trained with. Or
        ``source_optimizer``: lines are optimisers, on the task they are trained on.

    Raises `LandscapeError` if `ds` is no training dataset, does not say where its masks were found,
    or has nothing for such a figure.
    """
    TRAINING.validate(ds)
    rows = [_Row.of(run, vary) for run in _texts(ds)]
    drawn = [n for n, row in enumerate(rows) if row.is_comparable]
    if not drawn:
        other = "optimiser it is trained with" if vary == "source" else "task it is trained on"
        figure = "transfer-optimisers" if vary == "source" else "transfer-targets"
        raise LandscapeError(
            f"no ticket of these runs was found {'with' if vary == 'source' else 'on'} the {other}"
            f"; give such runs, or draw {figure}"
        )
    found = []
    for place in dict.fromkeys(rows[n].place for n in drawn):
        here = [n for n in drawn if rows[n].place == place]
        again = {rows[n].line for n in here if rows[n].is_branch}
        kept = [n for n in here if rows[n].is_branch or rows[n].line not in again]
        found.append((place, _lines(ds, kept, [rows[n].line for n in kept])))
    moved = [entry for entry in found if len({name for name, _ in entry[1]}) > 1] or found
    several = len({other for (_, other), _ in moved}) > 1
    return [
        Panel(", ".join(map(_name, place if several else place[:1])), _name(place[0]), lines)
        for place, lines in moved
    ]


@dataclass(frozen=True)
class _Row:
    """What one run is in a figure: its panel and line, and whether it has a place at all."""

    place: tuple[str, str]
    line: str
    is_comparable: bool
    is_branch: bool

    @classmethod
    def of(cls, run: dict[str, str], vary: str) -> _Row:
        """From the coordinates of the run."""
        (fixed,) = set(_OWN) - {vary}
        controls = [_MASKS.get(run["mask"], run["mask"])] if run["mask"] != "preserved" else []
        controls += [_WEIGHTS.get(run["retrain"], run["retrain"])]
        controls += [run["criterion"]] if run["criterion"] != "magnitude" else []
        words = [_name(run[vary]), *filter(None, controls)]
        is_random = controls[:2] == [_MASKS["permuted"], _WEIGHTS["reinit"]]
        return cls(
            (run[_OWN[vary]], run[_OWN[fixed]]),
            RANDOM if is_random else ", ".join(words),
            is_random or run[fixed] in ("", run[_OWN[fixed]]),
            bool(run["parent"]),
        )


def _texts(ds: xr.Dataset) -> list[dict[str, str]]:
    """The coordinates of each run; raises `LandscapeError` if one is not there."""
    for name in _COORDINATES:
        if name not in ds.coords:
            raise LandscapeError(
                f"a figure of transfers needs {name!r} of every run, which this training dataset "
                "does not have; read it anew from the runs"
            )
    names = (*_COORDINATES, "criterion")
    columns = [ds[name].values.tolist() for name in names]
    return [dict(zip(names, texts, strict=True)) for texts in zip(*columns, strict=True)]


def _lines(ds: xr.Dataset, rows: list[int], names: list[str]) -> list[tuple[str, Replicates]]:
    """The replicates of each line, random tickets last."""
    told = ds.isel(run=rows).drop_vars(_COORDINATES)  # what differs is in the names already
    part = told.assign_coords(strategy=("run", names))
    order = sorted(dict.fromkeys(names), key=lambda name: name == RANDOM)
    return [
        (name, group)
        for name in order
        for group in replicates(part.isel(run=np.flatnonzero(part["strategy"].values == name)))
    ]


def _name(text: str) -> str:
    """A task as it is called, an optimiser as it is written."""
    return _NAMES.get(text, text)


def line_looks(drawn: Sequence[Panel]) -> dict[str, dict[str, Any]]:
    """Colour, marker and line style of every name, the same in all panels; random is grey."""
    names = dict.fromkeys(name for panel in drawn for name, _ in panel.lines)
    found = [name for name in names if name != RANDOM]
    styles = zip(cycle(OKABE_ITO[:6]), cycle(MARKERS), cycle(LINES), strict=False)
    looks = {
        name: {"color": colour, "marker": marker, "linestyle": line}
        for name, (colour, marker, line) in zip(found, styles, strict=False)
    }
    if RANDOM in names:
        looks[RANDOM] = {"color": "0.5", "marker": "x", "linestyle": (0, (2, 1.5))}
    return looks


def plot_one(
    ds: xr.Dataset,
    vary: str,
    ax: Axes | None,
    *,
    named: str | None,
    noun: str,
    heading: str,
    spread: str,
) -> Axes:
    """One panel of `transfer_panels` with its legend, on new axes if `ax` is None.

    Parameters
    ----------
    named
        Its title, the first if None; another than there is raises `UsageError`, which calls it a
        `noun`.
    heading
        Over the legend.
    """
    found = {panel.title: panel for panel in transfer_panels(ds, vary)}
    title = next(iter(found)) if named is None else named
    if title not in found:
        raise unknown(noun, title, found)
    if ax is None:
        with paper_figure() as canvas:
            return plot_one(
                ds, vary, canvas.add_subplot(), named=title, noun=noun, heading=heading,
                spread=spread,
            )  # fmt: skip
    looks = line_looks([found[title]])
    plot_panel(ax, found[title], looks, spread)
    titled_legend(ax, legend_handles(looks), heading)
    return ax


def draw_all(
    ds: xr.Dataset, vary: str, *, words: str, heading: str, width: float | None, spread: str
) -> Canvas:
    """All panels of `transfer_panels` under one legend, a page wide if there are several.

    `words` stand before the title of each, `heading` over the legend.
    """
    found = transfer_panels(ds, vary)
    looks = line_looks(found)
    with paper_figure(width or (PAGE if len(found) > 1 else COLUMN)) as canvas:
        for ax, panel in zip(panels(canvas, len(found), sharey=False), found, strict=True):
            plot_panel(ax, panel, looks, spread)
            panel_title(ax, f"{words} {panel.title}")
        titled_legend(canvas, legend_handles(looks), heading)
    return canvas


def plot_panel(ax: Axes, panel: Panel, looks: dict[str, dict[str, Any]], spread: str) -> None:
    """Test accuracy in percent against the weights remaining, natives thick; maybe an inset."""
    for name, group in panel.lines:
        width = 1.7 if name == panel.native else 1.0
        _plot(ax, group, spread, linewidth=width, **looks[name])
    say_if_empty(ax)
    density = [100 * group.density for _, group in panel.lines]
    density_axis(ax, np.concatenate(density))
    _zoom(ax, panel, looks)
    if is_leftmost(ax):
        ax.set_ylabel("test accuracy (%)")


def legend_handles(looks: dict[str, dict[str, Any]]) -> list[Line2D]:
    """The lines of a legend."""
    return [Line2D([], [], label=name, **look) for name, look in looks.items()]


def _plot(ax: Axes, group: Replicates, spread: str, **look: Any) -> None:
    """One line with its spread; levels that no run has are left out, unknown ones are gaps."""
    there = np.isfinite(group.density)
    accuracy = 100 * (1 - group.training["final_test_error"].values[:, there])
    band(ax, 100 * group.density[there], accuracy, spread=spread, **look)


def _zoom(ax: Axes, panel: Panel, looks: dict[str, dict[str, Any]]) -> None:
    """Cover the upper three quarters of the points, and all in an inset, if much is gained."""
    heights = np.concatenate([np.asarray(line.get_ydata(), dtype=float) for line in ax.lines])
    heights = heights[np.isfinite(heights)]
    if not len(heights):
        return
    low, least, high = np.quantile(heights, 1 - SHOWN), heights.min(), heights.max()
    if high - least <= CUT * (high - low):
        return
    room = 0.06 * (high - low)
    ax.set_ylim(low - room, high + room)
    place = next((place for place in _PLACES if _is_free(ax, place)), None)
    if place is None:  # above all lines there is room, once the axis goes on
        place = _PLACES[3]
        ax.set_ylim(top=low + (high - low) / (1 - TALL - 0.1))
        ticks = ax.get_yticks()
        top = min(high + ticks[1] - ticks[0], 100)
        ax.set_yticks([tick for tick in ticks if low - room <= tick <= top])
    inset = ax.inset_axes((*place, WIDE, TALL), zorder=4)
    for name, group in panel.lines:
        look = {**looks[name], "marker": "none", "linewidth": 0.7}
        _plot(inset, group, "range", **look)
    for area in list(inset.collections):
        area.remove()
    inset.set_xscale("log", nonpositive="mask")
    inset.set_xlim(ax.get_xlim())
    inset.xaxis.set_major_locator(NullLocator())
    inset.xaxis.set_minor_locator(NullLocator())
    inset.xaxis.set_minor_formatter(NullFormatter())
    inset.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    inset.tick_params(labelsize="x-small", pad=1, length=1.5)
    inset.grid(visible=False)


def _is_free(ax: Axes, place: tuple[float, float]) -> bool:
    """True if no line passes an inset there, in fractions of `ax`, or its labels."""
    left, bottom = place
    for line in ax.lines:
        x, y = (np.asarray(values, dtype=float) for values in line.get_data())
        points = np.stack([x, y], axis=1)[np.isfinite(x) & np.isfinite(y) & (x > 0)]
        if len(points):
            ends = ax.transAxes.inverted().transform(ax.transData.transform(points))
            along = np.linspace(0, len(ends) - 1, 400)
            across, up = (np.interp(along, np.arange(len(ends)), values) for values in ends.T)
            beside = (left - 0.08 < across) & (across < left + WIDE + 0.02)
            if np.any(beside & (bottom - 0.02 < up) & (up < bottom + TALL + 0.03)):
                return False
    return True
