"""Tickets drawn at random, and small networks to plant them in."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from landscape.data_store.params import Array, ParamSpec
from landscape.training.models import mlp, parameter_spec
from landscape.training.planting.chain import chain
from landscape.training.planting.mother import draw_scaled
from landscape.training.planting.plant import Planted, plant

Ticket = list[tuple[Array, Array | None]]

# widths of a ticket, and of the network around it
CASES = [
    ([2, 4, 3], [2, 20, 3]),
    ([1, 1, 1, 1], [1, 30, 30, 1]),
    ([2, 4, 2, 20, 4], [2, 100, 100, 100, 4]),
    ([3, 8, 6, 8, 5, 2], [3, 25, 40, 25, 20, 2]),
    ([2, 12, 12, 12, 12, 12, 12, 12, 12, 3], [2, *[100] * 8, 3]),
]


def sparse_ticket(shapes: Sequence[tuple[int, ...]], seed: int, density: float = 0.3) -> Ticket:
    """Normal parameters, most of them zero; some units have no parameters, some only a bias."""
    draws = np.random.default_rng([seed, 1])
    ticket: Ticket = []
    for shape in shapes:
        weight = draws.standard_normal(shape) * (draws.random(shape) < density)
        bias = draws.standard_normal(shape[0]) * (draws.random(shape[0]) < 0.5)
        ticket.append((weight, bias))
    return ticket


def dense_shapes(widths: Sequence[int]) -> list[tuple[int, int]]:
    """Weight shapes of fully connected layers."""
    return [(outer, inner) for inner, outer in itertools.pairwise(widths)]


def drawn(network: nn.Module, seed: int) -> nn.Module:
    """A network with scaled normal weights."""
    draw_scaled(network, "scaled-normal", torch.Generator().manual_seed(seed))
    return network


def flat(network: nn.Module) -> tuple[ParamSpec, Array]:
    """The parameters of a network as a vector."""
    spec = parameter_spec(network)
    return spec, spec.flatten({n: p.detach().numpy() for n, p in network.named_parameters()})


def planted_in(network: nn.Module, shape: tuple[int, ...], ticket: Ticket, rule: str) -> Planted:
    """A ticket planted in a network's present weights."""
    spec, theta = flat(network)
    return plant(ticket, spec, chain(network, shape), theta, rule=rule)


def connected(widths: Sequence[int], seed: int = 0) -> nn.Module:
    """A drawn multilayer perceptron."""
    return drawn(mlp(list(widths)), seed)
