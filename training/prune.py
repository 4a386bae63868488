"""From scores to the next mask, with exact counts."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from landscape.data_store.errors import LandscapeError
from landscape.data_store.mask import Mask
from landscape.data_store.params import Array


def prune(
    scores: Array, mask: Mask, fractions: Mapping[str, float], *, scope: str = "layer"
) -> Mask:
    """The mask without its lowest-scored surviving weights; nested in `mask`.

    Per layer, exactly ``round(fraction × surviving)`` weights go (Python's `round`: halves
    to even). Ties go by position: of equal scores the one that comes first in the flat
    vector is pruned first.

    Parameters
    ----------
    scores
        Worth of every weight (n,); low ones go first. Pruned and non-prunable entries
        are not looked at.
    mask
        The current mask.
    fractions
        Fraction of the surviving weights to remove, by tensor name, in [0, 1].
    scope
        ``layer``: each tensor loses its own fraction. ``global``: scores of all tensors
        compete; the number to remove is the sum of the layers' numbers before rounding.

    Raises `LandscapeError` if a surviving weight's score is NaN.
    """
    survives = mask.kept & mask.covered
    if np.isnan(scores[survives]).any():
        raise LandscapeError("cannot prune: some surviving weights have NaN scores")
    kept = mask.kept.copy()
    if scope == "global":
        wanted = sum(fractions[n] * np.count_nonzero(mask.layer(n)) for n in mask.prunable)
        _remove(kept, scores, np.flatnonzero(survives), round(wanted))
    else:
        for name in mask.prunable:
            start = mask.spec.slices[name].start
            alive = np.flatnonzero(mask.layer(name)) + start
            _remove(kept, scores, alive, round(fractions[name] * len(alive)))
    return Mask(mask.spec, mask.prunable, kept)


def _remove(kept: Array, scores: Array, alive: Array, count: int) -> None:
    """Drop the `count` lowest of the weights at positions `alive`."""
    kept[alive[np.argsort(scores[alive], kind="stable")[:count]]] = False
