"""The x axes of the figures: weights remaining, levels, or one place per pair."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, NullLocator
from numpy.typing import ArrayLike, NDArray

DENSITY_LABEL = "weights remaining (%)"

LABELLED = 7
COLUMN_AXES = 2.3  # inches, of the only axes of a column before it is laid out
NAMED_PAIRS = 12
NAME_LENGTH = 18
LETTERS = 45
FEW_DECADES = 2.5
PLAIN = 4.5  # powers of ten up to which a number is written out


def density_axis(ax: Axes, percent: ArrayLike) -> None:
    """Make x the weights remaining: logarithmic, dense on the left, ticks at what occurs.

    Parameters
    ----------
    percent
        The densities drawn, in percent and of any shape; those that are not positive are
        left out, since they have no place on the axis.
    """
    named, unnamed = ladder_ticks(percent, most=_room(ax))
    ax.set_xscale("log", nonpositive="mask")
    ends = np.array([(value, 0.0) for value in named])
    if len(ends):
        ax.update_datalim(ends, updatey=False)
    ax.autoscale_view(scaley=False)
    ax.xaxis.set_inverted(True)
    ax.set_xticks(named, [percent_text(value) for value in named])
    ax.set_xticks(unnamed, minor=True)
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_xlabel(DENSITY_LABEL)


def _room(ax: Axes) -> int:
    """How many labelled steps an axes has room for: 7 in a column's, fewer in narrower panels."""
    figure = ax.get_figure(root=True)
    inches = COLUMN_AXES if figure is None else ax.get_window_extent().width / figure.dpi
    return max(2, min(LABELLED, round(LABELLED * inches / COLUMN_AXES)))


def ladder_ticks(
    percent: ArrayLike, most: int = LABELLED
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Densities to label, far enough apart to be read, and the others.

    The densest is labelled, then each that is a part of the logarithmic range, `most` of which
    make the whole, away from the one before. Both are sorted from dense to sparse.
    """
    values = np.asarray(percent, dtype=float)
    ladder = np.unique(np.round(values[np.isfinite(values) & (values > 0)], 6))[::-1]
    if not len(ladder):
        return ladder, ladder
    gap = np.log(ladder[0] / ladder[-1]) / most
    named = [ladder[0]]
    for value in ladder[1:]:
        if np.log(named[-1] / value) >= gap * (1 - 1e-9):
            named.append(value)
    return np.array(named), np.array([value for value in ladder if value not in named])


def percent_text(value: float) -> str:
    """A density as papers print it.

    >>> [percent_text(value) for value in (100.0, 51.2, 8.59, 0.1238)]
    ['100', '51.2', '8.6', '0.12']
    """
    return f"{value:.1f}".removesuffix(".0") if value >= 1 else f"{value:.2g}"


def level_axis(ax: Axes, label: str) -> None:
    """Make x the level, ticks at whole numbers."""
    ax.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
    ax.set_xlabel(label)


def pair_axis(ax: Axes, pairs: Sequence[str], what: str = "pair") -> None:
    """Make x one place per pair, by name or, where there are many, by number from 1.

    The two names of a pair stand one above the other, slanted where they are long. `what` is
    ``pair``, or ``checkpoint`` where each place is of one.
    """
    ax.set_xlim(-0.5, len(pairs) - 0.5)
    if len(pairs) > NAMED_PAIRS:
        level_axis(ax, f"{what}, in the order of the dataset")
        ax.xaxis.set_major_formatter(lambda place, _: f"{place + 1:.0f}")
        return
    names = ["\n".join(map(short, pair.split())) for pair in pairs]
    ax.set_xticks(range(len(pairs)), names)
    longest = max((len(line) for name in names for line in name.split("\n")), default=0)
    if longest * len(pairs) > LETTERS:
        for tick in ax.get_xticklabels():
            tick.set(rotation=30, ha="right", va="top", rotation_mode="anchor")
    ax.set_xlabel("pair of checkpoints" if what == "pair" else what)


def short(name: str) -> str:
    """The end of a name that is too long for a tick."""
    return name if len(name) <= NAME_LENGTH else f"…{name[1 - NAME_LENGTH :]}"


def log_height(ax: Axes) -> None:
    """Make y logarithmic, its labels plain numbers, 1, 2, 5, 10 … where few decades are shown."""
    ax.set_yscale("log", nonpositive="mask")
    low, high = ax.get_ylim()
    decades = np.log10(high / low)
    if decades < FEW_DECADES:
        subs = (1.0, 2.0, 5.0) if decades > 0.5 else (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)
        ax.yaxis.set_major_locator(LogLocator(subs=subs))
        ax.yaxis.set_minor_locator(NullLocator())
    if max(abs(np.log10([low, high]))) < PLAIN:
        ax.yaxis.set_major_formatter(lambda value, _: f"{value:g}")


def known(coordinate: xr.DataArray) -> bool:
    """True if a coordinate has a number for every pair, so that it can be an axis."""
    return bool(np.all(np.isfinite(coordinate.values)))
