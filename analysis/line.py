"""Line: loss and error of every example on the way between two points."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from landscape.analysis.heights import chord
from landscape.analysis.landscape import Landscape
from landscape.analysis.paths import line
from landscape.data_store.params import Array

MEASURES = ("loss", "error")
_MOST_ROUNDS = 40

Rows = Callable[[Array], Array]


@dataclass(frozen=True, eq=False)
class Line:
    """Loss and error of the same examples at positions on a path.

    Parameters
    ----------
    alpha
        Increasing positions (k,), 0 and 1 among them.
    loss, error
        Values of the examples (k, m), as `landscape.analysis.landscape.Examples` has them.
    """

    alpha: Array
    loss: Array
    error: Array

    @classmethod
    def walk(
        cls,
        landscape: Landscape,
        anchors: Array,
        alpha: Array,
        split: str,
        *,
        places: Array | None = None,
        path: Rows = line,
    ) -> Line:
        """Evaluate the `path` over `anchors` (j, n) at `alpha`."""
        rows = path(alpha)
        if not moves(anchors):
            rows = np.zeros_like(rows)
            rows[:, 0] = 1.0  # nothing moves, not even by rounding
        answer = landscape.per_example(anchors, rows, split=split, places=places)
        return cls(alpha, answer.loss, answer.error)

    @property
    def examples(self) -> int:
        """How many examples."""
        return int(self.loss.shape[1])

    @property
    def measures(self) -> dict[str, Array]:
        """Loss and error by name (k, m)."""
        return {"loss": self.loss, "error": self.error}

    @cached_property
    def curves(self) -> dict[str, Array]:
        """Means over the examples (k,) and their standard errors.

        ``loss``, ``loss_se``, ``error``, ``error_se``; all NaN at a position where the loss of
        an example is not finite, standard errors NaN for a single example.
        """
        unknown = ~np.isfinite(self.loss).all(axis=1)
        curves = {}
        for name, values in self.measures.items():
            there = np.where(unknown.reshape(-1, 1), np.nan, values)
            curves[name] = there.mean(axis=1)
            curves[f"{name}_se"] = _standard_error(there)
        return curves

    def with_points(self, other: Line) -> Line:
        """The positions of both."""
        alpha = np.concatenate([self.alpha, other.alpha])
        order = np.argsort(alpha, kind="stable")
        loss = np.concatenate([self.loss, other.loss])[order]
        return Line(alpha[order], loss, np.concatenate([self.error, other.error])[order])

    def with_examples(self, other: Line) -> Line:
        """The examples of both, at the same positions."""
        loss = np.concatenate([self.loss, other.loss], axis=1)
        return Line(self.alpha, loss, np.concatenate([self.error, other.error], axis=1))

    def at(self, chosen: Array) -> Line:
        """The positions that are `chosen` (booleans or indices)."""
        return Line(self.alpha[chosen], self.loss[chosen], self.error[chosen])

    def reversed(self) -> Line:
        """The line walked from its other end."""
        return Line((1.0 - self.alpha)[::-1], self.loss[::-1], self.error[::-1])


def moves(anchors: Array) -> bool:
    """Whether a path over these anchors (j, n) goes anywhere."""
    return not bool((anchors == anchors[0]).all())


def _standard_error(values: Array) -> Array:
    """Of the means of the rows (k, m): (k,)."""
    examples = values.shape[1]
    if examples < 2:
        return np.full(len(values), np.nan)
    spread: Array = values.std(axis=1, ddof=1) / math.sqrt(examples)
    return spread


def refined(
    landscape: Landscape, ends: Array, coarse: Line, split: str, tolerance: float
) -> tuple[Line, bool]:
    """The line with points added around its maxima, and whether these came to rest.

    Each round halves the two intervals beside the maxima of E and of its deviation from the
    chord, for loss and error. It ends when two rounds in a row raised none of them by
    `tolerance` or more and no parabola through a maximum and its neighbours rises by as much
    above it. For steps, which no parabola fits, it ends after as many such rounds as the
    highest possible parabola needs. Maxima between the coarse points that are lower than
    their neighbourhood are not seen: refinement sharpens, it does not search.

    Cost: one to eight evaluations a round, seldom more than ten rounds.
    """
    fine, quiet = coarse, 0
    height = max(float(np.ptp(curve)) for curve in _targets(coarse))
    patience = 2 + math.ceil(max(0.0, math.log(height / tolerance, 4))) if height else 2
    for _ in range(_MOST_ROUNDS):
        before = _tops(fine)
        beside = _between(fine)
        if not len(beside):
            return fine, True
        fine = fine.with_points(Line.walk(landscape, ends, beside, split))
        after = _tops(fine)
        if not np.isfinite(after).all():
            return fine, False
        quiet = quiet + 1 if (after - before).max() < tolerance else 0
        if quiet == patience or (quiet >= 2 and _excess(fine) < tolerance):
            return fine, True
    return fine, False


def _targets(walked: Line) -> list[Array]:
    """The curves whose maxima are refined: loss and error, plain and above their chords."""
    known = [walked.curves[n] for n in ("loss", "error") if not np.isnan(walked.curves[n]).all()]
    return [curve for c in known for curve in (c, c - chord(walked.alpha, c))]


def _tops(walked: Line) -> Array:
    """The maximum of every target."""
    return np.array([curve.max() for curve in _targets(walked)])


def _excess(walked: Line) -> float:
    """How far a parabola through a target's maximum and its neighbours rises above it."""
    most = 0.0
    for curve in _targets(walked):
        middle = min(max(int(curve.argmax()), 1), len(curve) - 2)
        around = slice(middle - 1, middle + 2)
        at, value = walked.alpha[around] - walked.alpha[middle], curve[around]
        slopes = np.diff(value) / np.diff(at)
        bend = (slopes[1] - slopes[0]) / (at[2] - at[0])
        if bend < 0:
            slope = slopes[0] - bend * at[0]
            top = min(max(-slope / (2 * bend), at[0]), at[2])
            most = max(most, value[1] + slope * top + bend * top**2 - curve.max())
    return most


def _between(walked: Line) -> Array:
    """The midpoints of the intervals beside every target's maximum."""
    alpha = walked.alpha
    middles = set()
    for curve in _targets(walked):
        peak = int(curve.argmax())
        for left in (peak - 1, peak):
            if 0 <= left < len(alpha) - 1:
                middles.add((alpha[left] + alpha[left + 1]) / 2)
    return np.array(sorted(middles.difference(alpha.tolist())))
