"""Batches: which examples of an epoch's order each step of training takes."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import nn

from landscape.data_store.errors import UsageError
from landscape.training.task import Task


@dataclass(frozen=True)
class Batches:
    """Consecutive slices of an epoch's order, every example in one; the last may be short.

    Parameters
    ----------
    examples, size
        Training examples, and examples of a batch.
    shares
        Whether a last batch of one example takes one more from the batch before it.
    """

    examples: int
    size: int
    shares: bool = False

    @property
    def per_epoch(self) -> int:
        """Steps of an epoch, ``ceil(examples / size)``."""
        return -(-self.examples // self.size)

    def place(self, step: int) -> tuple[int, slice]:
        """The epoch of a step, and its slice of the epoch's order."""
        epoch, number = divmod(step, self.per_epoch)
        start, stop = number * self.size, (number + 1) * self.size
        left = self.per_epoch - 1 - number
        return epoch, slice(start - (self.shares and left == 0), stop - (self.shares and left == 1))


def batches(network: nn.Module, task: Task, size: int) -> Batches:
    """The batches of a task on which a network can be trained.

    BatchNorm on maps of one pixel, or on vectors, has no variance of a batch of one example and
    refuses it. Where an epoch leaves such a batch, a copy of the network is tried on one: if it
    refuses, the batch takes one example from the batch before, so that an epoch has the same
    steps and no example is dropped. Everything else is as without this rule, to the last bit.

    Raises `UsageError` if the batch before would be left with one example.
    """
    examples = len(task.splits["train"])
    if (examples - 1) % size or _takes_one(network, task):
        return Batches(examples, size)
    if size < 3 or examples < size:
        raise UsageError(
            f"batch_size is {size} and leaves a batch of one of {examples} training examples, of "
            "which the network's normalisation has no variance; give another --batch-size"
        )
    return Batches(examples, size, shares=True)


def _takes_one(network: nn.Module, task: Task) -> bool:
    """True unless a copy of the network, being trained, refuses a batch of one example."""
    trial = copy.deepcopy(network).train()
    parameter = next(trial.parameters())
    inputs = task.splits["train"].inputs[:1].to(parameter.device)
    inputs = inputs.to(parameter.dtype) if inputs.is_floating_point() else inputs
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            trial(inputs)
    except ValueError:  # what torch raises where there is nothing to normalise over
        return False
    return True
