"""From scores to the next mask, with exact counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from landscape.data_store.errors import LandscapeError
from landscape.data_store.mask import Mask
from landscape.data_store.params import Array
from landscape.training.criteria import Candidate, Criterion
from landscape.training.schedule import Counts, waypoints


def chosen(
    criterion: Criterion, candidate: Candidate, keep: Counts, *, nested: bool, rounds: int
) -> Mask:
    """The mask that a criterion chooses, with new scores in each of several rounds.

    Each round goes an equal factor of the way from the weights kept to those wanted, and scores the
    network under the mask of the round before: Tanaka et al. (2020), algorithm 1. Not nested, a
    weight pruned by one round is judged by its value in `candidate` in the next.

    Cost: `rounds` times that of the criterion. Errors as `prune`.
    """
    mask = candidate.mask
    for number, count in enumerate(waypoints(keep, mask, rounds)):
        now = replace(candidate, mask=mask, keep=count, round=number)
        mask = prune(criterion(now), mask, count, nested=nested)
    return mask


def prune(scores: Array, mask: Mask, keep: int | Mapping[str, int], *, nested: bool = True) -> Mask:
    """The mask of the weights with the highest scores, exactly as many as asked for.

    Ties go by position: of equal scores the one that comes first in the flat vector is pruned
    first.

    Parameters
    ----------
    scores
        Worth of every weight (n,); low ones go first. Entries that cannot be kept are not
        looked at.
    mask
        The current mask.
    keep
        How many weights to keep: of each prunable tensor, or in all, so that scores of all
        tensors compete.
    nested
        Choose among the weights that `mask` keeps. Otherwise among all prunable ones, so that
        pruned weights may come back (Fischer & Burkholz 2022, in their code).

    Raises `LandscapeError` if a score to look at is NaN, or fewer weights than asked for can be
    kept.
    """
    eligible = mask.covered & mask.kept if nested else mask.covered
    if np.isnan(scores[eligible]).any():
        which = "surviving" if nested else "prunable"
        raise LandscapeError(f"cannot prune: some {which} weights have NaN scores")
    kept = ~mask.covered
    if isinstance(keep, int):
        _keep(kept, scores, np.flatnonzero(eligible), keep)
    else:
        for name in mask.prunable:
            place = mask.spec.slices[name]
            _keep(kept, scores, np.flatnonzero(eligible[place]) + place.start, keep[name])
    return Mask(mask.spec, mask.prunable, kept)


def _keep(kept: Array, scores: Array, eligible: Array, count: int) -> None:
    """Keep the `count` highest of the weights at positions `eligible`."""
    if not 0 <= count <= len(eligible):
        raise LandscapeError(f"cannot keep {count} of {len(eligible)} weights")
    if count == 0:
        return
    values = scores[eligible]
    # a partition is linear where a stable sort of 20 million scores takes seconds
    lowest = np.partition(values, len(values) - count)[len(values) - count]
    above = values > lowest
    kept[eligible[above]] = True
    ties = eligible[values == lowest]
    kept[ties[len(ties) - (count - int(above.sum())) :]] = True
