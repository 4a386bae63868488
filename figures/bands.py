"""Bands: the mean over replicates, and their spread as an area around it."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from landscape.data_store.errors import unknown

SPREADS = ("range", "std")
Row = NDArray[np.float64]


def band(ax: Axes, x: Row, values: Row, *, spread: str = "range", **look: Any) -> None:
    """Draw the mean of `values` over `x`, with its spread where two replicates or more are known.

    Parameters
    ----------
    x
        Places (x,).
    values
        (replicate, x); NaN where unknown, which the mean leaves out. A place where all are unknown
        is a gap.
    spread
        ``range`` or ``std``, as in `mean_and_spread`.
    look
        Options of the line, among them ``color``.

    Raises `UsageError` for another spread.
    """
    mean, low, high = mean_and_spread(values, spread)
    ax.plot(x, mean, **look)
    if np.isfinite(low).any():
        shade = {"color": look["color"], "alpha": 0.18, "linewidth": 0}
        ax.fill_between(x, low, high, zorder=look.get("zorder", 2) - 0.5, **shade)


def mean_and_spread(values: Row, spread: str) -> tuple[Row, Row, Row]:
    """Mean, lower and upper end (x,) over the replicates that are known.

    Parameters
    ----------
    values
        (replicate, x).
    spread
        ``range`` from the least to the greatest, or ``std`` for one standard deviation (of the
        sample: over n - 1) to each side. The ends of fewer than two replicates are NaN.

    Raises `UsageError` for another spread.
    """
    if spread not in SPREADS:
        raise unknown("spread", spread, SPREADS)
    known = np.isfinite(values)
    count = known.sum(axis=0).astype(float)
    count[count == 0] = np.nan
    mean = np.where(known, values, 0.0).sum(axis=0) / count
    if spread == "range":
        low = np.where(known, values, np.inf).min(axis=0, initial=np.inf)
        high = np.where(known, values, -np.inf).max(axis=0, initial=-np.inf)
    else:
        squares = np.where(known, (values - mean) ** 2, 0.0).sum(axis=0)
        std = np.sqrt(squares / np.where(count > 1, count - 1, np.nan))
        low, high = mean - std, mean + std
    several = count > 1
    return mean, np.where(several, low, np.nan), np.where(several, high, np.nan)
