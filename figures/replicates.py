"""Replicates: the runs of one strategy and schedule, drawn as a mean with min-max bars."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from numpy.typing import NDArray

SAME = 1e-3


@dataclass(frozen=True, eq=False)
class Replicates:
    """Runs that differ by their seed only.

    Parameters
    ----------
    label
        What a legend calls them.
    training
        Their part of a training dataset.
    """

    label: str
    training: xr.Dataset

    @property
    def density(self) -> NDArray[np.float64]:
        """Fraction of weights kept, (level,); NaN where no run has the level."""
        return np.asarray(self.training["density"].max("run").values, dtype=float)

    def plot(self, ax: Axes, values: xr.DataArray, **look: Any) -> None:
        """Mean over the runs that have a value, and a bar from the least to the greatest.

        Parameters
        ----------
        values
            What to draw, (run, level) of these runs; NaN leaves a gap.
        look
            Options of the line, among them ``color``.
        """
        x = 100 * self.density
        ax.plot(x, values.mean("run").values, **look)
        if values.sizes["run"] > 1:
            low, high = values.min("run").values, values.max("run").values
            bars = np.isfinite(x) & np.isfinite(low)
            ax.vlines(x[bars], low[bars], high[bars], color=look["color"], linewidth=0.7)


def replicates(training: xr.Dataset) -> list[Replicates]:
    """Group runs by strategy, and within it by the densities of their levels.

    Runs of one strategy with other densities are no replicates of each other: their mean
    would be at a density that neither has.
    """
    found = []
    for strategy in dict.fromkeys(training["strategy"].values.tolist()):
        runs = np.flatnonzero(training["strategy"].values == strategy)
        groups = list(_ladders(training["density"].values, runs.tolist()))
        for group in groups:
            part = training.isel(run=group)
            name = strategy if len(groups) == 1 else f"{strategy}: {part['run'].values[0]}"
            found.append(Replicates(f"{name}{_count(part)}", part))
    return found


def _count(part: xr.Dataset) -> str:
    """Number of runs for a legend, as a range where a level lacks some; one needs no word."""
    most = part.sizes["run"]
    ended_well = (part["status"] == 0).sum("run").values
    least = int(ended_well[ended_well > 0].min(initial=most))
    if most == 1:
        return ""
    return f" ({most} runs)" if least == most else f" ({least}–{most} runs)"


def _ladders(density: NDArray[np.float64], runs: list[int]) -> Iterator[list[int]]:
    """Split runs into groups whose densities agree wherever both are known."""
    left = runs
    while left:
        same = [run for run in left if _agree(density[left[0]], density[run])]
        yield same
        left = [run for run in left if run not in same]


def _agree(one: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
    """True if two ladders agree to a thousandth where both are known."""
    both = np.isfinite(one) & np.isfinite(other)
    return bool(np.all(np.abs(one - other)[both] <= SAME * one[both]))
