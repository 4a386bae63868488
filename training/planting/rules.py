"""Rules of planting: which unit of the network a unit of the ticket becomes, and how large.

`landscape.training.planting.plant.plant` states what each of them does.

References
----------
J. Fischer, R. Burkholz, "Plant 'n' Seek: Can You Find the Winning Ticket?", ICLR 2022, the
planting algorithm; ``plant.py`` and ``planting.py`` of the authors' code.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from landscape.data_store.params import Array

_TIED = 1e-12  # relative to the largest possible distance: rounding alone chooses no unit


@dataclass(frozen=True)
class Unit:
    """One unit of the ticket: its non-zero weights, corrected, and their columns in the mother."""

    index: int
    columns: Array
    weights: Array
    bias: float

    def ratio(self, weight: float, bias: float) -> float:
        """|weight over the first of its own|, of the bias if it has no weights; 1 instead of 0."""
        ratio = abs(weight / self.weights[0] if self.weights.size else bias / self.bias)
        return float(ratio) if 0 < ratio < np.inf else 1.0


@dataclass(frozen=True, eq=False)
class Mother:
    """One layer of the network in float64, as planting goes on.

    `weights` (units, inputs × kernel), `biases` (units,), zeros if it has none; `taken` (units,)
    where a unit of the ticket is; `first` the column of the ticket's first input.
    """

    weights: Array
    biases: Array
    taken: Array
    first: int

    def only(self, unit: int) -> Mother:
        """The layer of one unit alone; views."""
        rows = slice(unit, unit + 1)
        return Mother(self.weights[rows], self.biases[rows], self.taken[rows], self.first)

    def put(self, unit: int, factor: float, goal: Unit) -> None:
        """Overwrite a unit."""
        self.weights[unit, goal.columns] = factor * goal.weights
        self.biases[unit] = factor * goal.bias
        self.taken[unit] = True


Rule = Callable[[Mother, Unit], tuple[int, float]]  # the unit to overwrite, and its factor


def _paper(mother: Mother, goal: Unit) -> tuple[int, float]:
    """Of the free units the one of least ``|v - lambda m|``, lambda > 0; c = 1 / lambda."""
    rows, target = mother.weights[:, goal.columns], goal.weights
    if goal.bias:
        rows, target = np.column_stack([mother.biases, rows]), np.append(goal.bias, target)
    products, squares = rows @ target, np.einsum("ij,ij->i", rows, rows)
    size = float(np.linalg.norm(target))
    possible = ~mother.taken & (squares > 0)
    if not possible.any():
        return int(np.argmin(mother.taken)), 1.0
    eligible = possible & (products > 0)
    shrunk = np.divide(products, squares, out=np.zeros_like(products), where=possible)
    if eligible.any():
        distances = np.linalg.norm(target - shrunk[:, None] * rows, axis=1)
        unit = _first_least(distances, eligible, _TIED * size)
        return unit, float(1 / shrunk[unit])
    opposition = -shrunk * np.sqrt(squares) / size  # minus the cosine
    unit = _first_least(opposition, possible, _TIED)
    return unit, float(np.sqrt(squares[unit]) / size)


def _code(mother: Mother, goal: Unit) -> tuple[int, float]:
    """Of all units of the signs of v the one of least ``|m - c v|_1``, if it is not taken."""
    rows = np.column_stack([mother.biases, mother.weights[:, goal.columns]])
    target = np.append(goal.bias, goal.weights)
    factors = rows @ target / (target @ target)
    agree = (np.sign(rows) == np.sign(target))[:, target != 0].all(axis=1)
    eligible = agree & (factors > 0)
    taken = mother.taken.copy()
    taken[0] |= len(taken) > 1  # the authors' list of taken units starts as zeros
    if eligible.any():
        distances = np.abs(rows - factors[:, None] * target).sum(axis=1)
        unit = _first_least(distances, eligible, _TIED * float(np.abs(rows).max()))
        if not taken[unit]:
            return unit, float(factors[unit])
    else:
        unit = goal.index
    if taken[unit]:
        unit = int(np.argmin(taken))  # 0 if all are
    return unit, goal.ratio(mother.weights[unit, mother.first], mother.biases[unit])


def _fast(mother: Mother, goal: Unit) -> tuple[int, float]:
    """The unit of the same index; c from the first non-zero weight."""
    first = goal.columns[0] if goal.columns.size else mother.first
    weight, bias = mother.weights[goal.index, first], mother.biases[goal.index]
    return goal.index, goal.ratio(weight, bias)


RULES: dict[str, Rule] = {"paper": _paper, "code": _code, "fast": _fast}


def _first_least(values: Array, eligible: Array, tolerance: float) -> int:
    """The first eligible index whose value is the least to a tolerance."""
    least = values[eligible].min()
    return int(np.flatnonzero(eligible & (values <= least + tolerance))[0])
