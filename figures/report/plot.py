"""Plot: a panel as the JSON that plotly.js draws, without colours: those follow the page."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import count, cycle
from textwrap import fill
from types import MappingProxyType
from typing import Any

import numpy as np

from landscape.figures.axes import ladder_ticks, percent_text
from landscape.figures.report.markup import clean
from landscape.figures.report.parts import Line, Panel

SYMBOLS = ("circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "x", "star")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash")
COLOURS = 7
_PAD = 0.03
_TITLE = 30  # letters of a line beside the least height of a plot
_ACROSS = ("dash", "dot")


def plot(panel: Panel, known: Mapping[str, int] = MappingProxyType({})) -> dict[str, Any]:
    """A panel as data and layout.

    Parameters
    ----------
    panel
        What is drawn.
    known
        Numbers of names that have the same look in every chart.

    Lines of one name are one trace, with a null between them, so that the legend has them once.
    ``meta`` holds the number of a trace's colour, and of the name it belongs to; NaN is null, which
    leaves a gap.
    """
    names = numbered([line.name for line in panel.lines if not line.reference], known)
    traces = [_bars(line, i) for i, line in enumerate(panel.lines)] if panel.bars else _traces(
        panel.lines, names
    )  # fmt: skip
    return {
        "label": safe(panel.label),
        "note": clean(panel.note),
        "data": [*_levels(panel), *traces],
        "across": [
            {"name": safe(name), "dash": dash}
            for (name, _), dash in zip(_across(panel), cycle(_ACROSS), strict=False)
        ],
        "layout": _layout(panel),
    }


def numbered(names: Iterable[str], known: Mapping[str, int]) -> dict[str, int]:
    """A number for each name: the known ones theirs, the others the least that are left.

    >>> numbered(["b", "new", "a"], {"a": 0, "b": 1})
    {'b': 1, 'new': 2, 'a': 0}
    """
    own = list(dict.fromkeys(names))
    taken = {known[name] for name in own if name in known}
    left = (number for number in count() if number not in taken)
    return {name: known[name] if name in known else next(left) for name in own}


def safe(text: str) -> str:
    """Text for plotly, which takes some HTML for markup; a line break becomes ``<br>``."""
    return html.escape(clean(text), quote=False).replace("\n", "<br>")


def _traces(lines: Sequence[Line], names: Mapping[str, int]) -> list[dict[str, Any]]:
    """A trace for each name, those of comparison first, so that they lie below."""
    found = []
    for reference in (True, False):
        these = [line for line in lines if line.reference == reference]
        for name in dict.fromkeys(line.name for line in these):
            own = [line for line in these if line.name == name]
            number = names[name] if name in names else _owner(name, names)
            found.append(_trace(name, own, number))
    return found


def _owner(name: str, names: Mapping[str, int]) -> int:
    """The number of the line that a reference belongs to: the longest name it begins with."""
    owners = [other for other in names if name.startswith(other)]
    return names[max(owners, key=len)] if owners else 0


def _trace(name: str, lines: Sequence[Line], number: int) -> dict[str, Any]:
    """Lines of one name, one after the other."""
    reference, joined = lines[0].reference, all(line.joined for line in lines)
    trace: dict[str, Any] = {
        "type": "scatter",
        "name": safe(name),
        "x": _chained([line.x for line in lines]),
        "y": _chained([line.y for line in lines]),
        "hovertext": _chained([[safe(text) for text in line.hover] for line in lines], ""),
        "hoverinfo": "text",
        "meta": {"owner": number, "colour": number % COLOURS, "reference": reference},
        "mode": "lines" if reference else "lines+markers" if joined else "markers",
        "line": {"dash": "dot" if reference else DASHES[number // COLOURS % len(DASHES)],
                 "width": 1.2 if reference else 2},
    }  # fmt: skip
    if not reference:
        symbol = SYMBOLS[number % len(SYMBOLS)]
        open_ones = [list(line.doubtful) or [False] * len(line.x) for line in lines]
        symbols = [f"{symbol}-open" if flag else symbol for flag in _chained(open_ones, False)]
        trace["marker"] = {"size": 8, "symbol": symbols if any(map(any, open_ones)) else symbol}
    if any(line.low for line in lines):
        trace["error_y"] = _ends(lines)
    return trace


def _chained(parts: Sequence[Sequence[Any]], gap: Any = None) -> list[Any]:
    """Several lists as one, with a gap between two."""
    found: list[Any] = []
    for i, part in enumerate(parts):
        found += [gap] if i else []
        found += [None if value != value else value for value in part]
    return found


def _ends(lines: Sequence[Line]) -> dict[str, Any]:
    """The bars of the points, as distances from them."""
    ups, downs = [], []
    for line in lines:
        blank = [math.nan] * len(line.y)
        ups.append([h - y for h, y in zip(line.high or blank, line.y, strict=True)])
        downs.append([y - low for low, y in zip(line.low or blank, line.y, strict=True)])
    return {"type": "data", "symmetric": False, "array": _chained(ups),
            "arrayminus": _chained(downs), "thickness": 1, "width": 3}  # fmt: skip


def _bars(line: Line, number: int) -> dict[str, Any]:
    """Horizontal bars."""
    return {
        "type": "bar", "orientation": "h", "name": safe(line.name), "x": _chained([line.x]),
        "y": list(line.y), "hovertext": [safe(text) for text in line.hover], "hoverinfo": "text",
        "meta": {"owner": number, "colour": number % COLOURS, "reference": False},
    }  # fmt: skip


def _layout(panel: Panel) -> dict[str, Any]:
    """Axes and the lines across; sizes and colours are the page's."""
    x: dict[str, Any] = {"title": {"text": safe(panel.x_title)}, "automargin": True}
    y: dict[str, Any] = {"title": {"text": safe(fill(panel.y_title, _TITLE))}, "automargin": True}
    layout: dict[str, Any] = {"xaxis": x, "yaxis": y, "showlegend": False, "hovermode": "closest"}
    if panel.density:
        x.update(_density_axis([value for line in panel.lines for value in line.x]))
    if panel.log_y:
        y.update({"type": "log", "exponentformat": "power", "dtick": 1})
    if panel.bars:
        layout["barmode"] = "stack"
        y.update({"autorange": "reversed", "tickvals": list(range(len(panel.categories))),
                  "ticktext": [safe(name) for name in panel.categories]})  # fmt: skip
        x["rangemode"] = "tozero"
    return layout


def _levels(panel: Panel) -> list[dict[str, Any]]:
    """The horizontal lines, as traces: what is drawn so belongs to the range of the axis."""
    places = [x for line in panel.lines for x in line.x if x == x and (x > 0 or not panel.density)]
    if not places:
        return []
    return [
        {
            "type": "scatter", "mode": "lines", "name": safe(name), "hoverinfo": "skip",
            "x": [max(places), min(places)], "y": [value, value],
            "line": {"dash": dash, "width": 1.2},
            "meta": {"owner": -1, "colour": -1, "reference": True},
        }
        for (name, value), dash in zip(_across(panel), cycle(_ACROSS), strict=False)
    ]  # fmt: skip


def _across(panel: Panel) -> list[tuple[str, float]]:
    """The horizontal lines that have a place on the axis."""
    return [(name, value) for name, value in panel.levels if value > 0 or not panel.log_y]


def _density_axis(percents: Sequence[float]) -> dict[str, Any]:
    """A logarithmic axis from the densest down, ticks at densities that occur."""
    values = np.array([value for value in percents if value > 0])
    named, _ = ladder_ticks(values)
    if not len(named):
        return {"type": "log"}
    ends = np.log10([values.max(), values.min()])
    pad = max(_PAD * (ends[0] - ends[1]), 0.02)
    return {
        "type": "log",
        "range": [float(ends[0] + pad), float(ends[1] - pad)],
        "tickvals": named.tolist(),
        "ticktext": [percent_text(value) for value in named],
    }
