"""Candidates for criteria that ask the network: weights, mask and buffers that were drawn."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from landscape.training.criteria import Candidate, Sight
from landscape.training.models import current_point, parameter_spec, prunable_kinds
from landscape.training.network import Network
from landscape.training.task import Task, make_task
from tests.support.experiments import CPU, doubled, random_mask, settings


def regression(examples: int = 200) -> Task:
    """Two outputs of six inputs, neither linear."""
    draws = torch.Generator().manual_seed(4)
    x = torch.randn(examples, 6, generator=draws)
    y = torch.stack([x[:, 0] * x[:, 1], x.sum(1).sin()], 1)
    half = examples // 2
    return make_task(train=(x[:half], y[:half]), test=(x[half:], y[half:]), name="waves")


def candidate(
    module: nn.Module,
    task: Task,
    *,
    density: float = 0.6,
    biases: bool = True,
    level: int = 1,
    number: int = 0,
    **changes: Any,
) -> Candidate:
    """A network with drawn weights and buffers under a random mask; its pruned weights are not 0.

    The network itself holds other weights: those of the candidate count.
    """
    spec = parameter_spec(module)
    draws = np.random.default_rng(1)
    theta = 0.6 * draws.standard_normal(spec.size)
    point = current_point(module, spec)
    drawn = {
        name: draws.uniform(0.5, 2, value.shape).astype(value.dtype)
        for name, value in point.buffers.items()
    }
    network = Network(module, spec, CPU)
    mask = random_mask(spec, tuple(prunable_kinds(module, biases=biases)), density)
    task = task if spec.dtype == "float32" else doubled(task)
    return Candidate(
        theta=theta.astype(spec.dtype),
        init=theta[::-1].astype(spec.dtype),
        mask=mask,
        seed=3,
        level=level,
        buffers=drawn,
        sight=Sight(network, task, settings(**changes)),
        round=number,
    )
