"""Pruning criteria: how much each weight is worth keeping."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from landscape.data_store.mask import Mask
from landscape.data_store.params import Array
from landscape.training.seeds import stream


@dataclass(frozen=True, eq=False)
class Candidate:
    """What a criterion may look at when the next mask is made.

    Parameters
    ----------
    theta
        Final weights (n,) of the level just trained.
    init
        Initial weights (n,).
    mask
        The level's mask; only its surviving weights can be pruned.
    seed, level
        Of the run, and of the level to come, for criteria that draw numbers.
    """

    theta: Array
    init: Array
    mask: Mask
    seed: int
    level: int


Criterion = Callable[[Candidate], Array]


def magnitude(candidate: Candidate) -> Array:
    """``|theta|``: small weights go first. Frankle & Carbin (2019), section 1."""
    return np.abs(candidate.theta)


def random(candidate: Candidate) -> Array:
    """Uniform scores: a random mask of the same density. Frankle & Carbin (2019), figure 1."""
    draws = np.random.default_rng(stream(candidate.seed, "mask", candidate.level))
    return draws.random(candidate.theta.shape)
