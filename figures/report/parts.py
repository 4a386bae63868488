"""What a report is made of: sections of charts, each with its numbers and its commands."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

Value = float | str | None


@dataclass(frozen=True)
class Line:
    """Points of one colour and marker; all lines of a name share them and one legend entry.

    Parameters
    ----------
    name
        What the legend calls it.
    x, y
        Where the points are; NaN in y leaves a gap.
    low, high
        Ends of a bar at each point, NaN where there is none; empty if no point has one.
    hover
        What is said of each point.
    doubtful
        Whether a point is drawn open, because its own status warns of it; empty if none is.
    joined
        Whether the points are joined.
    reference
        True for what the line of that name is compared with: thin, dotted, without markers.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    hover: Sequence[str]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    doubtful: Sequence[bool] = ()
    joined: bool = True
    reference: bool = False


@dataclass(frozen=True)
class Panel:
    """One view of a chart.

    Parameters
    ----------
    label
        What the view is called where there are several to choose from.
    x_title, y_title
        Titles of the axes, with units.
    lines
        What is drawn.
    density
        True if x is the weights remaining in percent: logarithmic, from 100 down.
    log_y
        True for a logarithmic y axis.
    levels
        Horizontal lines, by what they are.
    bars
        True if `lines` are horizontal bars side by side: x their lengths, y the categories.
    categories
        Names of the categories 0, 1, 2 … of y, of bars.
    note
        A sentence about this view: what is not drawn, and why.
    """

    label: str
    x_title: str
    y_title: str
    lines: Sequence[Line]
    density: bool = False
    log_y: bool = False
    levels: Sequence[tuple[str, float]] = ()
    bars: bool = False
    categories: Sequence[str] = ()
    note: str = ""


@dataclass(frozen=True)
class Column:
    """A column of numbers: its name in the data, its heading, and whether it is a fraction."""

    name: str
    heading: str
    percent: bool = False


@dataclass(frozen=True)
class Numbers:
    """A table. A value is text, a number as it was stored, or None where it is not known."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[Value]]


@dataclass(frozen=True)
class Command:
    """A command line, and what it does if that has to be said."""

    line: str
    says: str = ""


@dataclass(frozen=True)
class Chart:
    """A plot with everything that belongs to it.

    Parameters
    ----------
    title, says
        What is drawn, as a heading and in a sentence or two.
    panels
        The views to choose from, the first shown; none for a table alone.
    numbers
        What was drawn, and more.
    commands
        What made the numbers.
    asked
        Settings they were asked with, where they are not the defaults.
    is_folded
        True if a chart without a plot is shown folded; with one its numbers always are.
    """

    title: str
    says: str
    panels: Sequence[Panel]
    numbers: Numbers
    commands: Sequence[Command] = ()
    asked: str = ""
    is_folded: bool = False


def drawn(panels: Sequence[Panel]) -> tuple[list[Panel], str]:
    """The panels that have a point to draw, and a sentence to add if there is none."""
    found = [
        panel for panel in panels
        if any(math.isfinite(y) for line in panel.lines for y in line.y)
    ]  # fmt: skip
    return found, "" if found else " No value is known that could be drawn."


@dataclass(frozen=True)
class Section:
    """One subject of a report.

    Parameters
    ----------
    name
        An identifier: part of links and ids.
    title, says
        Heading and introduction.
    charts
        What is stored.
    missing
        Commands that would add what is not.
    faults
        Sentences about files that could not be read.
    """

    name: str
    title: str
    says: str
    charts: Sequence[Chart] = ()
    missing: Sequence[Command] = ()
    faults: Sequence[str] = ()


@dataclass(frozen=True)
class Report:
    """A whole report: its title, what it is of, and its sections."""

    title: str
    facts: Sequence[tuple[str, str]]
    sections: Sequence[Section]
