"""Shades: which levels a figure with a line per level draws, and how each looks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import numpy as np
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from landscape.figures.axes import percent_text
from landscape.figures.style import LINES, MARKERS, steps

REMAINING = "weights remaining"
LEVELS = 6
SAME = 0.02


@dataclass(frozen=True)
class Shade:
    """One level of a figure.

    Parameters
    ----------
    density
        Fraction of the weights kept.
    look
        Options of its lines: a colour by density, and a line style and a marker of its own.
    """

    density: float
    look: dict[str, Any]

    @property
    def label(self) -> str:
        """What a legend calls it."""
        return f"{percent_text(100 * self.density)} %"

    def line(self, *, marker: bool = False) -> dict[str, Any]:
        """Its look, with its marker or without."""
        return self.look if marker else {**self.look, "marker": "none"}

    def level(self, density: NDArray[np.float64]) -> int | None:
        """Where in `density` (level,) it is found, to two parts in a hundred; None if nowhere."""
        known = np.isfinite(density) & (density > 0)
        away = np.full(len(density), np.inf)
        away[known] = np.abs(np.log(density[known] / self.density))
        return int(np.argmin(away)) if len(away) and away.min() <= SAME else None


def shades(ladders: Sequence[NDArray[np.float64]], most: int = LEVELS) -> list[Shade]:
    """At most `most` levels of the groups of a figure, from dense to sparse.

    The densest and the sparsest are among them; those between are as evenly spaced on a
    logarithmic axis as can be, and of neighbours the one that most groups have.

    Parameters
    ----------
    ladders
        Fraction of weights kept of each group, (level,), NaN where it has no level.
    most
        How many levels, from 2.
    """
    found = _clusters(ladders)
    wanted = [density for density, _ in found]
    if len(found) > most:
        targets = np.geomspace(wanted[0], wanted[-1], most)
        reach = np.log(wanted[0] / wanted[-1]) / (most - 1) / 2
        inner = [_nearest(found[1:-1], target, reach) for target in targets[1:-1]]
        wanted = sorted({wanted[0], *inner, wanted[-1]}, reverse=True)
    looks = zip(steps(len(wanted)), cycle(LINES), cycle(MARKERS), strict=False)
    return [
        Shade(density, {"color": colour, "linestyle": line, "marker": marker})
        for density, (colour, line, marker) in zip(wanted, looks, strict=False)
    ]


def shade_handles(drawn: Sequence[Shade], *, marker: bool = False) -> list[Line2D]:
    """The lines of a legend of `REMAINING`, with their markers or without."""
    return [Line2D([], [], label=shade.label, **shade.line(marker=marker)) for shade in drawn]


def _clusters(ladders: Sequence[NDArray[np.float64]]) -> list[tuple[float, int]]:
    """Densities that differ, from dense to sparse, and how many groups have each."""
    known = [ladder[np.isfinite(ladder) & (ladder > 0)] for ladder in ladders]
    found: list[tuple[float, int]] = []
    for density in np.unique(np.concatenate([np.empty(0), *known]))[::-1].tolist():
        if not found or np.log(found[-1][0] / density) > SAME:
            having = sum(bool(np.any(np.abs(np.log(own / density)) <= SAME)) for own in known)
            found.append((density, having))
    return found


def _nearest(found: Sequence[tuple[float, int]], target: float, reach: float) -> float:
    """Of the densities within reach the one most groups have, then the nearest to `target`."""
    away = [abs(np.log(density / target)) for density, _ in found]
    near = [n for n, distance in enumerate(away) if distance <= reach]
    best = max(near or range(len(found)), key=lambda n: (bool(near) * found[n][1], -away[n]))
    return found[best][0]
