"""Criteria that ask the network: what its loss, its gradient or its flow makes of a weight."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from landscape.data_store.errors import LandscapeError, UsageError
from landscape.data_store.params import Array
from landscape.data_store.records import Point
from landscape.training.criteria import Candidate, Sight
from landscape.training.network import Network
from landscape.training.seeds import generator

PER_CLASS, WITHOUT_CLASSES = 10, 40
TEMPERATURE = 200.0


def snip(candidate: Candidate) -> Array:
    """``|dL/dm| = |g theta|``, divided by its sum: weights that matter to the loss stay.

    g is the gradient at the masked weights of the mean loss of the scoring examples, in evaluation
    mode and float64. A weight that may come back is judged by what it began with: g there is the
    gradient with respect to its place, with 0 in it. Nothing but zeros is left undivided.

    Cost: a gradient over the scoring examples. Lee, Ajanthan & Torr (2019), equation 6.
    """
    trial, sight = _trial(candidate, "snip"), candidate.seen("snip")
    gradient = torch.zeros_like(trial.theta)
    for inputs, targets in _scoring_batches(candidate, sight):
        losses = sight.task.loss(_outputs(trial, inputs, "snip"), targets)
        trial.backward(losses.sum())
        gradient += _grad(trial)
    scores = _within(candidate, np.abs(_numpy(gradient) * candidate.theta))
    total = scores.sum()
    return scores / total if total > 0 else scores


def grasp(candidate: Candidate) -> Array:
    """``theta (H g)``, divided by |its sum| + 1e-10: the largest stay, also in sign.

    g and H are gradient and Hessian, with respect to the surviving prunable weights, of the mean
    loss of the scoring examples, their outputs divided by 200; evaluation mode, float64. Without
    the weights of the smallest scores the gradient's norm falls least, or rises. Pruned weights
    score 0, and if they may come back that beats those below 0.

    Cost: a gradient and a Hessian product over the scoring examples. Wang, Zhang & Grosse (2020),
    algorithm 1; temperature and normalisation as in the code of Tanaka et al. (2020).
    """
    trial, sight = _trial(candidate, "grasp"), candidate.seen("grasp")
    alive = torch.from_numpy(candidate.mask.kept & candidate.mask.covered).to(trial.theta)
    examples = len(scoring_examples(candidate, sight))
    gradient, product = torch.zeros_like(trial.theta), torch.zeros_like(trial.theta)
    for inputs, targets in _scoring_batches(candidate, sight):
        losses = sight.task.loss(_outputs(trial, inputs, "grasp") / TEMPERATURE, targets)
        trial.backward(losses.sum() / examples)
        gradient += _grad(trial) * alive
    for inputs, targets in _scoring_batches(candidate, sight):
        losses = sight.task.loss(_outputs(trial, inputs, "grasp") / TEMPERATURE, targets)
        product += _slope_along(trial, losses.sum() / examples, gradient)
    theta = candidate.mask.apply(candidate.theta)
    scores = _within(candidate, theta * _numpy(product))
    normed: Array = scores / (np.abs(scores.sum()) + 1e-10)
    return normed


def synflow(candidate: Candidate) -> Array:
    """``|dR/dtheta theta|``, R the sum of outputs for inputs of ones, all parameters made absolute.

    It sees no data. Pruned weights are 0 and score 0. Biases and the scales of normalisation count
    absolute too; BatchNorm is in evaluation mode, with its statistics as they are. In float64, so
    that deep networks neither overflow nor vanish.

    Cost: a gradient at one input. Raises `UsageError` for inputs that are no real numbers. Tanaka,
    Kunin, Yamins & Ganguli (2020), equation 2.
    """
    trial, task = _trial(candidate, "synflow"), candidate.seen("synflow").task
    if not task.splits["train"].inputs.is_floating_point():
        raise UsageError(
            f"synflow gives a network inputs of ones, but those of task {task.name!r} are whole "
            "numbers; choose another --criterion"
        )
    trial.theta.data.abs_()
    ones = torch.ones((1, *task.input_shape), dtype=torch.float64, device=trial.device)
    trial.backward(_outputs(trial, ones, "synflow").sum())
    return _within(candidate, _numpy((_grad(trial) * trial.theta.detach()).abs()))


def scoring_examples(candidate: Candidate, sight: Sight) -> Tensor:
    """Numbers of the training examples that scores are taken over, drawn without replacement.

    ``score_examples`` of them, at most all; unless given 10 for each class, or 40 of a task
    without classes: the numbers of Fischer & Burkholz (2022). Every level and round draws anew.
    """
    task, wanted = sight.task, sight.config.score_examples
    if wanted is None:
        wanted = PER_CLASS * task.outputs if task.is_classification else WITHOUT_CLASSES
    draws = generator(candidate.seed, "scoring", candidate.level, candidate.round)
    order = torch.randperm(len(task.splits["train"]), generator=draws)
    return order[:wanted].to(sight.network.device)


def _scoring_batches(candidate: Candidate, sight: Sight) -> Iterator[tuple[Tensor, Tensor]]:
    """The scoring examples in pieces of a batch of training, inputs in float64."""
    train = sight.task.splits["train"]
    chosen, size = scoring_examples(candidate, sight), sight.config.batch_size
    for start in range(0, len(chosen), size):
        part = chosen[start : start + size]
        inputs, targets = (values.index_select(0, part) for values in (train.inputs, train.targets))
        yield _double(inputs), _double(targets)


def _double(values: Tensor) -> Tensor:
    """Real numbers in float64, others as they are."""
    return values.double() if values.is_floating_point() else values


def _trial(candidate: Candidate, criterion: str) -> Network:
    """A copy of the network in float64, with the candidate's masked weights, to evaluate."""
    network = candidate.seen(criterion).network
    trial = Network(copy.deepcopy(network.module).double(), network.spec, network.device)
    trial.set(Point(candidate.mask.apply(candidate.theta), candidate.buffers))
    trial.module.eval()
    return trial


def _outputs(trial: Network, inputs: Tensor, criterion: str) -> Tensor:
    """What a network gives; `LandscapeError` if it cannot in float64."""
    try:
        outputs: Tensor = trial.module(inputs)
    except RuntimeError as error:
        raise LandscapeError(
            f"criterion {criterion!r} needs the network in float64, and there it fails: "
            f"{str(error).splitlines()[0]}; register its constants as buffers"
        ) from error
    return outputs


def _slope_along(trial: Network, loss: Tensor, direction: Tensor) -> Tensor:
    """The Hessian of a loss times a flat direction."""
    named = dict(trial.module.named_parameters())
    parameters = [named[name] for name in trial.spec.names]
    slopes = torch.autograd.grad(loss, parameters, create_graph=True, materialize_grads=True)
    along = torch.cat([slope.reshape(-1) for slope in slopes]) @ direction
    if not along.requires_grad:  # a loss that is linear in the weights
        return torch.zeros_like(direction)
    trial.backward(along)
    return _grad(trial)


def _grad(trial: Network) -> Tensor:
    """The flat gradient of the last backward pass."""
    assert trial.theta.grad is not None
    return trial.theta.grad


def _numpy(values: Tensor) -> Array:
    """A flat tensor as float64."""
    found: Array = values.detach().cpu().numpy()
    return found


def _within(candidate: Candidate, scores: Array) -> Array:
    """The scores, 0 for what is never pruned."""
    return np.where(candidate.mask.covered, scores, 0.0)
