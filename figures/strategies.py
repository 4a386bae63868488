"""Strategies: what tells their lines apart in a figure, and a line over the runs of a study."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from landscape.figures.bands import mean_and_spread
from landscape.figures.style import MARKERS, OKABE_ITO

IMP = "imp"
_COLOURS = {
    IMP: OKABE_ITO[6],
    "one-shot": OKABE_ITO[1],
    "finetune": OKABE_ITO[0],
    "random": OKABE_ITO[2],
    "largest-first": OKABE_ITO[3],
    "reinit": OKABE_ITO[5],
    "lr-rewind": OKABE_ITO[4],
}
_MARKERS = dict(zip(_COLOURS, MARKERS, strict=False))


def judged(study: xr.Dataset) -> tuple[str, str]:
    """The measure and the split that the claims of a study are judged by."""
    measure, split = str(study["measure"].values), str(study["judged_split"].values)
    splits = study["split"].values.tolist()
    return "loss" if measure == "loss" else "error", split if split in splits else splits[-1]


def strategy_looks(names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Colour, marker and line of each strategy, the same in every figure.

    >>> strategy_looks(["random"]) == {"random": strategy_looks(["imp", "random"])["random"]}
    True
    """
    spare = cycle(["0.5", "#7F6000", "#332288"])
    looks = {}
    for name in names:
        ours = name in _COLOURS
        looks[name] = {
            "color": _COLOURS[name] if ours else next(spare),
            "marker": _MARKERS.get(name, MARKERS[-1]),
            "linestyle": "-" if ours else "--",
            "linewidth": 1.6 if name == IMP else 1.0,
            "markersize": 2.4,
            "zorder": 3 if name == IMP else 2,
        }
    return looks


def plot_strategy(
    ax: Axes, percent: xr.DataArray, values: xr.DataArray, spread: str = "range", **look: Any
) -> None:
    """Mean over the runs against the density, and a bar over their spread.

    Parameters
    ----------
    percent
        The weights remaining, (level,).
    values
        What to draw, (replicate, level). A level that no run has is passed over.
    spread
        Of what the bars are, as `mean_and_spread` has it.
    look
        Options of the line, among them ``color``.
    """
    x, rows = percent.values, values.transpose("replicate", "level").values
    mean, low, high = mean_and_spread(rows, spread)
    known = np.isfinite(x) & np.isfinite(mean)
    if not known.any():
        return
    ax.plot(x[known], mean[known], **look)
    bars = known & np.isfinite(low)
    if bars.any():
        ax.vlines(x[bars], low[bars], high[bars], color=look["color"], linewidth=0.7)
