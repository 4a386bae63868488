"""edge-popup: scores that are learned while the weights stay as they are."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from landscape.data_store.errors import LandscapeError, UsageError
from landscape.data_store.mask import Mask
from landscape.data_store.params import Array
from landscape.data_store.records import Point, RunConfig
from landscape.training.batches import batches
from landscape.training.criteria import Candidate, Sight
from landscape.training.network import Network
from landscape.training.seeds import generator, stream

MOMENTUM, WEIGHT_DECAY = 0.9, 5e-4


def edge_popup(candidate: Candidate) -> Array:
    """``|s|`` of scores s learned by gradient descent on the loss of the subnetwork they choose.

    Of each prunable tensor the network works with the weights of the highest ``|s|``, as many as
    will be kept; weights are never changed. The gradient goes straight through the choice:
    ``dL/ds = dL/dw w sign(s)``. Scores of weights begin uniform within ``1 / sqrt(fan-in)``, those
    of biases at 0, where the slope of ``|s|`` is taken as 0: they never move, and of biases ties
    decide, as in the code of Fischer & Burkholz (2022): the first in the tensor are pruned first.

    SGD with momentum 0.9 and weight decay 5e-4, ``score_lr`` falling by half a cosine from epoch to
    epoch of ``score_epochs``, batches of the run's size, the network in training mode.
    ``score_annealed`` keeps ``density^(i / epochs)`` of a tensor in epoch i, counted from 1.
    A function of the candidate alone: order, dropout and first scores come from its seed.

    Cost: ``score_epochs`` epochs of training. Raises `UsageError` where layers compete, and
    `LandscapeError` without the numbers to keep. Ramanujan et al. (2020), section 3.
    """
    sight = candidate.seen("edge-popup")
    if candidate.keep is None:
        raise LandscapeError(
            "edge-popup learns which weights to keep, and was not told how many; give the "
            "candidate its numbers to keep"
        )
    if isinstance(candidate.keep, int):
        raise UsageError("edge-popup ranks within layers; use --scope layer")
    mask, seed = candidate.mask, (candidate.seed, candidate.level, candidate.round)
    free = mask.covered & mask.kept if sight.config.nested else mask.covered
    weights = np.where(free | ~mask.covered, candidate.theta, 0)
    network = sight.network
    trial = Network(copy.deepcopy(network.module), network.spec, network.device)
    trial.set(Point(weights.astype(candidate.theta.dtype), candidate.buffers))
    scores = torch.nn.Parameter(_first_scores(mask, *seed).to(trial.theta))
    places = {
        name: torch.from_numpy(np.flatnonzero(free[mask.spec.slices[name]])).to(network.device)
        for name in mask.prunable
    }
    _learn(trial, scores, mask, places, candidate.keep, sight, seed)
    found: Array = scores.detach().abs().cpu().numpy()
    return np.where(mask.covered, found, 0.0)


def _first_scores(mask: Mask, seed: int, level: int, number: int) -> Tensor:
    """Kaiming-uniform scores (a = sqrt 5) of weights, zeros elsewhere."""
    draws = generator(seed, "edge-popup", level, number)
    scores = torch.zeros(mask.spec.size)
    for name in mask.prunable:
        shape = mask.spec.shape(name)
        if len(shape) > 1:
            bound = 1 / math.sqrt(math.prod(shape[1:]))
            scores[mask.spec.slices[name]].uniform_(-bound, bound, generator=draws)
    return scores


def _learn(
    trial: Network,
    scores: torch.nn.Parameter,
    mask: Mask,
    places: Mapping[str, Tensor],
    keep: Mapping[str, int],
    sight: Sight,
    seed: tuple[int, int, int],
) -> None:
    """Move the scores, in place."""
    config, task = sight.config, sight.task
    train, slices = task.splits["train"], batches(trial.module, task, config.batch_size)
    weights = trial.theta.detach().clone()
    moving = torch.from_numpy(mask.covered).to(weights) * weights
    optimizer = torch.optim.SGD(
        [scores], lr=config.score_lr, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY
    )
    trial.module.train()
    for epoch in range(config.score_epochs):
        optimizer.param_groups[0]["lr"] = _rate(config, epoch)
        counts = _counts(config, places, keep, epoch)
        draws = generator(seed[0], "edge-popup-order", *seed[1:], epoch)
        order = torch.randperm(len(train), generator=draws).to(trial.device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(stream(seed[0], "edge-popup-noise", *seed[1:], epoch))
            for step in range(slices.per_epoch):
                part = order[slices.place(step)[1]]
                trial.theta.data.copy_(weights * _subnetwork(scores, mask, places, counts))
                outputs = trial.module(train.inputs.index_select(0, part))
                if config.score_softmax:
                    outputs = outputs.softmax(1)
                trial.backward(task.loss(outputs, train.targets.index_select(0, part)).mean())
                assert trial.theta.grad is not None
                scores.grad = trial.theta.grad * moving * scores.detach().sign()
                optimizer.step()


def _rate(config: RunConfig, epoch: int) -> float:
    """Learning rate of an epoch, counted from 0: half a cosine that would be 0 after the last."""
    return config.score_lr * 0.5 * (1 + math.cos(math.pi * epoch / config.score_epochs))


def _counts(
    config: RunConfig, places: Mapping[str, Tensor], keep: Mapping[str, int], epoch: int
) -> dict[str, int]:
    """How many weights of each tensor work in an epoch, counted from 0."""
    if not config.score_annealed or epoch == config.score_epochs - 1:
        return dict(keep)
    way = (epoch + 1) / config.score_epochs
    sizes = {name: len(free) for name, free in places.items()}
    return {name: round(n * (keep[name] / n) ** way) if n else 0 for name, n in sizes.items()}


def _subnetwork(
    scores: Tensor, mask: Mask, places: Mapping[str, Tensor], counts: Mapping[str, int]
) -> Tensor:
    """1 for the weights at work and for all that is not prunable, 0 for the others.

    Of equal scores the last in the tensor work, as `landscape.training.prune.prune` keeps them.
    """
    chosen = torch.ones_like(scores, requires_grad=False)
    for name, free in places.items():
        place = mask.spec.slices[name]
        chosen[place] = 0
        if counts[name] == 0:
            continue
        values = scores.detach()[place].abs()[free]
        lowest = values.kthvalue(len(values) - counts[name] + 1).values
        above = values > lowest
        ties = (values == lowest).nonzero().squeeze(1)
        at_work = torch.cat(
            [free[above], free[ties[len(ties) - (counts[name] - int(above.sum())) :]]]
        )
        chosen[place.start + at_work] = 1
    return chosen
