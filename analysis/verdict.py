"""Verdict: when a claim that is split into comparisons holds, and when it does not.

A comparison bears a claim out, contradicts it, or is too close to call: within two standard
errors over the examples. The claim

- *holds* if at least a stated share of all comparisons bear it out;
- *does not hold* if so many contradict it that this share is out of reach;
- is *undecided* in between, and where a strategy it speaks of is missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from landscape.analysis.sublevel import SURE
from landscape.data_store.params import Array

HOLDS, FAILS, OPEN = "holds", "does not hold", "undecided"
VOLUME = "volume"


@dataclass(frozen=True, eq=False)
class Finding:
    """What became of one claim.

    Parameters
    ----------
    number, statement
        Of the claim.
    verdict
        `HOLDS`, `FAILS` or `OPEN`.
    rule, measured
        The rule and the numbers as text.
    scores
        1 in favour, 0 too close to call, -1 against, NaN where there is nothing to compare:
        (replicate, other strategy, level).
    missing
        Strategies without which it cannot be judged, and `VOLUME`.
    effect, effect_name
        The headline number of each run (replicate,), and what it is.
    """

    number: int
    statement: str
    verdict: str
    rule: str
    measured: str
    scores: Array
    missing: tuple[str, ...]
    effect: Array
    effect_name: str

    @property
    def comparisons(self) -> int:
        """How many comparisons were made."""
        return int(np.isfinite(self.scores).sum())

    @property
    def in_favour(self) -> int:
        """How many bear the claim out."""
        return int((self.scores == 1).sum())

    @property
    def against(self) -> int:
        """How many contradict it."""
        return int((self.scores == -1).sum())

    @property
    def outcome(self) -> Array:
        """Share of the comparisons at each level that bear it out: (replicate, level)."""
        made = np.isfinite(self.scores).sum(axis=1)
        share: Array = np.full(made.shape, np.nan)
        np.divide((self.scores == 1).sum(axis=1), made, out=share, where=made > 0)
        return share


def score(difference: Array, error: Array) -> Array:
    """1 where a difference is above 0, -1 where it is not, 0 within two standard errors of 0.

    NaN where it is unknown. An unknown standard error counts as 0.

    >>> score(np.array([0.3, -0.3, 0.1, np.nan]), np.array([0.1, 0.1, 0.1, 0.1]))
    array([ 1., -1.,  0., nan])
    """
    reach = SURE * np.nan_to_num(error)
    scores = np.where(difference > reach, 1.0, np.where(difference <= -reach, -1.0, 0.0))
    return np.where(np.isnan(difference), np.nan, scores)


def all_of(*scores: Array) -> Array:
    """The score of several conditions that must all be met: the least of them."""
    least: Array = np.minimum.reduce(np.broadcast_arrays(*scores))
    return least


def verdict(scores: Array, share: float, missing: Sequence[str] = ()) -> str:
    """`HOLDS`, `FAILS` or `OPEN`, of scores of any shape; see the head of this file.

    >>> verdict(np.array([1.0, 1.0, 1.0, -1.0]), 0.75)
    'holds'
    >>> verdict(np.array([1.0, 1.0, 0.0, -1.0]), 0.75)
    'undecided'
    """
    known = scores[np.isfinite(scores)]
    if missing or not len(known):
        return OPEN
    needed = share * len(known) - 1e-9
    if (known == 1).sum() >= needed:
        return HOLDS
    return FAILS if len(known) - (known == -1).sum() < needed else OPEN


def contrary(scores: Array) -> Array:
    """The scores of the contrary."""
    return -scores
