"""Pruning criteria: how much each weight is worth keeping."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from landscape.data_store.errors import LandscapeError
from landscape.data_store.mask import Mask
from landscape.data_store.params import Array
from landscape.data_store.records import RunConfig
from landscape.training.network import Network
from landscape.training.schedule import Counts
from landscape.training.seeds import stream
from landscape.training.task import Task


@dataclass(frozen=True, eq=False)
class Sight:
    """What a criterion sees that asks the network and its data.

    Parameters
    ----------
    network
        For its module; its weights and buffers are left alone, those of the candidate count.
    task
        On the network's device.
    config
        The run's settings.
    """

    network: Network
    task: Task
    config: RunConfig


@dataclass(frozen=True, eq=False)
class Candidate:
    """What a criterion may look at when the next mask is made.

    Parameters
    ----------
    theta
        Final weights (n,) of the level just trained; where pruned weights may come back, these
        have their initial values.
    init
        Initial weights (n,).
    mask
        The level's mask; only its surviving weights can be pruned, if masks are nested.
    seed, level
        Of the run, and of the level to come, for criteria that draw numbers.
    buffers
        Non-trained state that goes with `theta`, by name.
    sight
        Network and data, None where only weights can be judged.
    keep
        How many weights will be kept, in all or of each tensor; None if that is not known.
    round
        Of the rounds in which a level is pruned, 0 the first.
    """

    theta: Array
    init: Array
    mask: Mask
    seed: int
    level: int
    buffers: Mapping[str, Array] = field(default_factory=dict)
    sight: Sight | None = None
    keep: Counts | None = None
    round: int = 0

    def seen(self, criterion: str) -> Sight:
        """Network and data for a criterion; raises `LandscapeError` if there are none."""
        if self.sight is None:
            raise LandscapeError(
                f"criterion {criterion!r} asks the network and its data, and got weights alone; "
                "give the candidate its sight"
            )
        return self.sight


Criterion = Callable[[Candidate], Array]


def magnitude(candidate: Candidate) -> Array:
    """``|theta|``: small weights go first. Frankle & Carbin (2019), section 1."""
    return np.abs(candidate.theta)


def magnitude_largest(candidate: Candidate) -> Array:
    """``-|theta|``: large weights go first, the opposite control. Saleem et al. (2024), claim 6."""
    return -np.abs(candidate.theta)


def magnitude_at_init(candidate: Candidate) -> Array:
    """``|theta_0|``: pruning at iteration 0. Frankle & Carbin (2019), appendix F.4."""
    return np.abs(candidate.init)


def movement(candidate: Candidate) -> Array:
    """``|theta - theta_0|``: weights that moved least go first. Zhou et al. (2019), section 2."""
    moved: Array = candidate.theta - candidate.init
    return np.abs(moved)


def random(candidate: Candidate) -> Array:
    """Uniform scores: a random mask of the same density. Frankle & Carbin (2019), figure 1."""
    draws = np.random.default_rng(stream(candidate.seed, "mask", candidate.level))
    return draws.random(candidate.theta.shape)
