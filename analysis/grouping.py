"""Grouping: how the checkpoints that are given make the questions of an analysis."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from landscape.data_store.records import Checkpoint

Groups = list[list[Checkpoint]]


@dataclass(frozen=True)
class Grouping:
    """A way to take checkpoints into questions.

    Parameters
    ----------
    words
        How the questions lie among the arguments, for the help.
    least, most
        How many checkpoints it takes; no `most` for any number.
    split
        From the checkpoints, in order, to the groups that are asked about.
    """

    words: str
    least: int
    most: int | None
    split: Callable[[Sequence[Checkpoint]], Groups]


EACH = Grouping("of each argument", 1, None, lambda points: [[point] for point in points])
SUCCESSIVE = Grouping(
    "between successive arguments",
    2,
    None,
    lambda points: [list(pair) for pair in itertools.pairwise(points)],
)
ALL_PAIRS = Grouping(
    "between all pairs of arguments",
    2,
    None,
    lambda points: [list(pair) for pair in itertools.combinations(points, 2)],
)


def together(least: int, most: int | None) -> Grouping:
    """All arguments in one question."""
    return Grouping("of all arguments together", least, most, lambda points: [list(points)])
