"""Replicates: the runs of one strategy and schedule, drawn as a mean with bars of their spread."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from numpy.typing import NDArray

from landscape.figures.bands import mean_and_spread

SAME = 1e-3
_WORDS = {
    "model": "{}",
    "scope": "scope {}",
    "task": "on {}",
    "target": "on {}",
    "optimizer": "with {}",
    "source": "of {}",
    "source_optimizer": "found with {}",
    "parent": "trained {}",
}


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

    def plot(self, ax: Axes, values: xr.DataArray, spread: str = "range", **look: Any) -> None:
        """Mean over the runs that have a value, and a bar over their spread.

        Parameters
        ----------
        values
            What to draw, (run, level) of these runs; NaN leaves a gap.
        spread
            Of what the bars are, as `mean_and_spread` has it.
        look
            Options of the line, among them ``color``.
        """
        x = 100 * self.density
        mean, low, high = mean_and_spread(values.transpose("run", "level").values, spread)
        ax.plot(x, mean, **look)
        bars = np.isfinite(x) & np.isfinite(low)
        if bars.any():
            ax.vlines(x[bars], low[bars], high[bars], color=look["color"], linewidth=0.7)


def replicates(training: xr.Dataset) -> list[Replicates]:
    """Group runs by strategy, network, scope, task and optimiser, and by their levels' densities.

    Runs of one strategy with other densities are no replicates of each other: their mean
    would be at a density that neither has. Nor are a run and its ticket trained again.

    Parameters
    ----------
    training
        A training dataset, or another with ``strategy``, ``density`` and ``status`` by run; of the
        network, scope, task and optimiser those count that it has coordinates of.
    """
    kinds = _kinds(training)
    names = [", ".join(filter(None, kind)) for kind in kinds]
    found = []
    for kind in dict.fromkeys(kinds):
        runs = [run for run, own in enumerate(kinds) if own == kind]
        groups = list(_ladders(training["density"].values, runs))
        name = names[runs[0]]
        is_clear = len(groups) == 1 and names.count(name) == len(runs)
        for group in groups:
            part = training.isel(run=group)
            own = name if is_clear else f"{name}: {part['run'].values[0]}"
            found.append(Replicates(f"{own}{_count(part)}", part))
    return found


def _kinds(training: xr.Dataset) -> list[tuple[str, ...]]:
    """The strategy of each run, and in words what differs between the runs of that strategy."""
    strategies = training["strategy"].values.tolist()
    kinds: list[tuple[str, ...]] = [(strategy,) for strategy in strategies]
    columns = {name: _column(training, name) for name in _WORDS if name in training.coords}
    for strategy in dict.fromkeys(strategies):
        runs = [run for run, own in enumerate(strategies) if own == strategy]
        said: list[list[str]] = []
        for name, column in columns.items():
            values = [column[run] for run in runs]
            if len(set(values)) > 1 and values not in said:
                said.append(values)
                for run, value in zip(runs, values, strict=True):
                    kinds[run] += (_WORDS[name].format(value) if value else "",)
    return kinds


def _column(training: xr.Dataset, name: str) -> list[str]:
    """A coordinate by run as text; of a parent only that there is one."""
    values = training[name].values.tolist()
    return ["again" if value else "" for value in values] if name == "parent" else values


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
