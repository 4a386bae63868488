"""Panels: several axes of one figure, and what is said in one of what it lacks."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from landscape.figures.style import abreast, legend_above

LETTER = 0.062  # width of a letter of a title, and of what stands beside a panel, in inches
BESIDE = 0.35


def panels(canvas: Canvas, count: int, *, sharey: bool = True) -> list[Axes]:
    """`count` axes in as many columns as the figure is wide enough for, and no empty ones.

    The figure grows by its own height for every row.

    Parameters
    ----------
    sharey
        Whether all have one y-axis, whose labels then stand at the left only.
    """
    columns = abreast(canvas.get_figwidth(), count)
    rows = -(-count // columns)
    canvas.set_figheight(rows * canvas.get_figheight())
    grid = canvas.subplots(rows, columns, squeeze=False, sharey=sharey)
    axes = list(grid.flat)
    for spare in axes[count:]:
        spare.remove()
    return axes[:count]


def is_leftmost(ax: Axes) -> bool:
    """True for a panel at the left edge of its figure, or an axes that is no panel."""
    place = ax.get_subplotspec()
    return place is None or place.is_first_col()


def panel_title(ax: Axes, text: str) -> None:
    """A title over the left of a panel, in as many lines as its width asks for."""
    place = ax.get_subplotspec()
    columns = 1 if place is None else place.get_gridspec().ncols
    room = ax.figure.bbox.width / ax.figure.dpi / columns - BESIDE
    ax.set_title(textwrap.fill(text, max(1, int(room / LETTER))), loc="left")


def say_missing(ax: Axes, names: Sequence[str]) -> None:
    """Say under the axis, where it covers nothing, what the panel has no line of."""
    if names:
        ax.set_xlabel(f"{ax.get_xlabel()}\nnot there: {', '.join(names)}")


def titled_legend(target: Axes | Canvas, handles: Sequence[Artist], title: str) -> None:
    """A legend as `legend_above` puts it, under a title that says what its names are."""
    if handles:
        legend_above(target, handles)
        legend = target.legends[-1] if isinstance(target, Canvas) else target.get_legend()
        if legend is not None:
            legend.set_title(title)
