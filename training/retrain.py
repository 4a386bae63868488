"""What a level starts from: the rewind point, trained weights, or new ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from landscape.data_store.mask import Mask
from landscape.data_store.params import Array
from landscape.data_store.records import Point, RunConfig
from landscape.training.schedule import last_rate
from landscape.training.seeds import stream


@dataclass(frozen=True, eq=False)
class Start:
    """Where the training of a level begins.

    Parameters
    ----------
    point
        Weights and buffers; the mask is applied to them.
    step
        Number of the first step: where in the schedule and in the data order to begin.
    rate
        A constant learning rate instead of the schedule's, None for the schedule.
    """

    point: Point
    step: int = 0
    rate: float | None = None


@dataclass(frozen=True, eq=False)
class Known:
    """What a level can start from.

    Parameters
    ----------
    init, rewind
        Weights at step 0 and at the rewind step.
    trained
        Final weights of the level before, None for a level that has none before it.
    redraw
        New initial weights for a level, drawn as the first were.
    """

    init: Point
    rewind: Point
    trained: Point | None
    redraw: Callable[[int], Point]


def start(config: RunConfig, level: int, mask: Mask, known: Known) -> Start:
    """Where a level of a mode of retraining begins.

    ``rewind``: the rewind point, schedule and data order from its step (Frankle et al. 2020).
    ``lr-rewind``: trained weights, the schedule from the rewind step (Renda et al. 2020).
    ``finetune``: trained weights, the last learning rate, as many steps. ``continue``: trained
    weights and the whole schedule, and for the last of several levels the rewind point: strategy 2
    of Frankle & Carbin (2019), appendix B. ``reinit``: new initial weights (there, section 2).
    ``reinit-survivors``: initial weights drawn, layer by layer, from those of the survivors
    (there, appendix F.3). ``init_noise`` is added last (there, appendix F.7).
    """
    trained = known.rewind if known.trained is None else known.trained
    mode = config.retrain
    if mode == "continue" and 0 < level == config.levels - 1:
        mode = "rewind"
    if mode == "lr-rewind":
        begin = Start(trained, config.rewind_step)
    elif mode == "finetune":
        begin = Start(trained, config.rewind_step, last_rate(config))
    elif mode == "continue":
        begin = Start(trained)
    elif mode == "reinit":
        begin = Start(known.redraw(level))
    elif mode == "reinit-survivors":
        begin = Start(_from_survivors(known.init, mask, config.seed, level))
    else:
        begin = Start(known.rewind, config.rewind_step)
    return _noisy(begin, config, level, mask, known.init)


def _from_survivors(init: Point, mask: Mask, seed: int, level: int) -> Point:
    """Initial weights whose prunable tensors are drawn, with replacement, from kept entries."""
    draws = np.random.default_rng(stream(seed, "survivors", level))
    theta = init.theta.copy()
    for name in mask.prunable:
        place, kept = mask.spec.slices[name], mask.layer(name)
        survivors = theta[place][kept]
        if len(survivors):
            theta[place] = draws.choice(survivors, size=len(kept))
    return Point(theta, init.buffers)


def _noisy(begin: Start, config: RunConfig, level: int, mask: Mask, init: Point) -> Start:
    """The start with Gaussian noise on its prunable tensors, scaled by their initial spread."""
    if not config.init_noise:
        return begin
    draws = np.random.default_rng(stream(config.seed, "init-noise", level))
    theta = begin.point.theta.copy()
    for name in mask.prunable:
        place = mask.spec.slices[name]
        noise: Array = draws.standard_normal(theta[place].shape)
        theta[place] += (config.init_noise * init.theta[place].std() * noise).astype(theta.dtype)
    return Start(Point(theta, begin.point.buffers), begin.step, begin.rate)
