"""Correlations between the hidden units of two networks, measured on data.

>>> from landscape.analysis.alignment.permutations import permutations
>>> model = nn.Sequential(nn.Linear(2, 2), nn.Identity(), nn.Linear(2, 1))
>>> batch = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
>>> (own,) = correlations(model, model, permutations(model, batch), [batch])
>>> bool(np.allclose(np.diag(own), 1))
True
"""

from __future__ import annotations

import copy
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, fx, nn

from landscape.analysis.alignment.permutations import steps, traced
from landscape.analysis.alignment.symmetry import Permutations
from landscape.analysis.alignment.unit_flow import Flow
from landscape.data_store.errors import LandscapeError
from landscape.data_store.params import Array

_CONSTANT = 1e-6  # a standard deviation below this share of the mean is rounding of float32


def correlations(
    a: nn.Module, b: nn.Module, structure: Permutations, batches: Iterable[Tensor]
) -> tuple[Array, ...]:
    """Correlation of every unit of one network with every unit of another, group by group.

    A unit's activations are what the next linear or convolution layer reads of it, over examples
    and pixels. Where layers read a group at several places, as in a residual network, the
    correlations of the places are averaged. A unit that is constant (standard deviation at most
    1e-6 of the mean) correlates 0 with all.

    Parameters
    ----------
    a, b
        Two networks of one architecture, evaluated in evaluation mode, in their own dtype and
        on their device. They are not touched.
    structure
        What `permutations` found for them.
    batches
        Batches of inputs, each seen once by both networks.

    Returns
    -------
    tuple
        Per group float64 (size, size) in [-1, 1]: entry (i, j) for unit i of `a` and j of `b`.
        A group that no layer reads has zeros.

    Raises
    ------
    LandscapeError
        If there is no batch, an activation is not finite, or the structure is another network's.

    Notes
    -----
    One forward pass of each network, in step, and size² multiplications per activation. Moments
    are accumulated in float64; activations are dropped as soon as they are read. Li et al. (2016),
    section 3; Ainsworth et al. (2023), section 3.1.
    """
    first, second = copy.deepcopy(a).eval(), copy.deepcopy(b).eval()
    sums: _Sums | None = None
    for batch in batches:
        sums = sums or _Sums(a, structure, batch)
        sums.add(first, second, batch)
    if sums is None:
        raise LandscapeError("activations were to be correlated, but there is no batch of inputs")
    return sums.correlations()


class _Sums:
    """Moments of all groups at all places where they are read."""

    def __init__(self, model: nn.Module, structure: Permutations, sample: Tensor) -> None:
        _, self.graph, units = traced(model, sample)
        if units.permutations() != structure:
            raise LandscapeError(
                f"these permutations are of {len(structure.groups)} groups of another network; "
                f"this one has {len(units.permutations().groups)}"
            )
        self.groups = [
            [(node, flow, _Moments(group.size)) for node, flow in places.items()]
            for group, places in zip(structure.groups, units.places(), strict=True)
        ]
        self.sizes = [group.size for group in structure.groups]

    def add(self, first: nn.Module, second: nn.Module, batch: Tensor) -> None:
        """Run two networks in step and merge what they compute."""
        places: dict[fx.Node, list[tuple[Flow, _Moments]]] = {}
        for group in self.groups:
            for node, flow, moments in group:
                places.setdefault(node, []).append((flow, moments))
        runs = [steps(net, self.graph, _placed(batch, net)) for net in (first, second)]
        with torch.inference_mode():
            for (node, x), (_, y) in zip(*runs, strict=True):
                for flow, moments in places.get(node, ()):
                    moments.add(_units(x, flow, moments.size), _units(y, flow, moments.size))

    def correlations(self) -> tuple[Array, ...]:
        """Per group the average over its places."""
        return tuple(
            sum((moments.correlation() for _, _, moments in group), np.zeros((size, size)))
            / max(len(group), 1)
            for size, group in zip(self.sizes, self.groups, strict=True)
        )


class _Moments:
    """Means and centred second moments of the units of two networks, batch by batch."""

    def __init__(self, size: int) -> None:
        self.size, self.count = size, 0
        self.means = np.zeros((2, size))
        self.squares = np.zeros((2, size))
        self.products = np.zeros((size, size))

    def add(self, first: Tensor, second: Tensor) -> None:
        """Merge a batch, two of (observations, size), as Chan, Golub & LeVeque (1983) do."""
        own = torch.stack([first.mean(0), second.mean(0)])
        first, second = first - own[0], second - own[1]
        squares = torch.stack([first.square().sum(0), second.square().sum(0)])
        step = own.cpu().numpy() - self.means
        total = self.count + len(first)
        weight = self.count * len(first) / total
        self.squares += squares.cpu().numpy() + weight * step**2
        self.products += (first.T @ second).cpu().numpy() + weight * np.outer(step[0], step[1])
        self.means += step * (len(first) / total)
        self.count = total

    def correlation(self) -> Array:
        """Float64 (size, size), 0 where a unit is constant."""
        if not np.isfinite(self.squares).all():
            raise LandscapeError("an activation is not finite, so units cannot be matched by it")
        spread = np.sqrt(self.squares / self.count)
        alive = spread > _CONSTANT * np.abs(self.means)
        scale = np.where(alive, 1.0 / np.where(alive, spread, 1.0), 0.0)
        correlation: Array = self.products / self.count * scale[0][:, None] * scale[1]
        return correlation


def _units(value: Tensor, flow: Flow, size: int) -> Tensor:
    """An activation as float64 (observations, size)."""
    value = value.movedim(flow.axis, -1).double()
    return value.reshape(-1, size, flow.block).movedim(1, -1).reshape(-1, size)


def _placed(batch: Tensor, model: nn.Module) -> Tensor:
    """A batch on a network's device and, if it is of floats, in its dtype."""
    own = next(model.parameters())
    return batch.to(own.device, own.dtype if batch.is_floating_point() else None)
