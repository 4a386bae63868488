"""FlatNetwork: a copy of a network whose tensors are views of one vector."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from landscape.analysis.network.shared_layer import combine
from landscape.data_store.params import Array

_ALIGNMENT = 256  # bytes; sums over tensors that lie otherwise differ in their last bits


class FlatNetwork:
    """An own copy of a network, in evaluation mode, that is moved from point to point.

    A point is the parameters in the order of ``named_parameters`` followed by the persistent
    floating-point buffers in the order of ``named_buffers``. On the device each tensor
    starts at a multiple of 256 bytes, in points as in the network: its place.

    Parameters
    ----------
    model
        Any module; it is not touched.
    device
        Where the copy lies.
    """

    def __init__(self, model: nn.Module, device: torch.device) -> None:
        self.model = _copied(model).to(device).eval()
        parameters = dict(self.model.named_parameters())
        kept = self.model.state_dict().keys()
        buffers = {n: b for n, b in self.model.named_buffers() if n in kept}
        moving = {n: b for n, b in buffers.items() if b.is_floating_point()}
        self.tensors: dict[str, Tensor] = {**parameters, **moving}
        self._parameters = tuple(parameters)
        self._place_in_one_vector()

    @property
    def size(self) -> int:
        """Length of a point: parameters and floating-point buffers."""
        return sum(tensor.numel() for tensor in self.tensors.values())

    @property
    def dtype(self) -> torch.dtype:
        """Of all its floating tensors."""
        return self.theta.dtype

    @property
    def weights(self) -> dict[str, Tensor]:
        """The parameters, as they are at the point where the network is."""
        return {name: self.tensors[name].detach() for name in self._parameters}

    def point(self, anchor: Array) -> Tensor:
        """A point (n,) as a tensor of the network's dtype, its parts at their places."""
        flat = torch.from_numpy(np.ascontiguousarray(anchor)).to(self.theta.device, self.dtype)
        point, start = torch.zeros_like(self.theta), 0
        for place in self.places.values():
            stop = start + place.stop - place.start
            point[place], start = flat[start:stop], stop
        return point

    def displacements(self, vectors: Array) -> dict[str, Tensor]:
        """The weights' parts of vectors (m, n), by name (m, …), in the network's dtype."""
        flat = torch.from_numpy(np.ascontiguousarray(vectors)).to(self.theta.device, self.dtype)
        parts, start = {}, 0
        for name in self._parameters:
            stop = start + self.tensors[name].numel()
            parts[name] = flat[:, start:stop].reshape(-1, *self.tensors[name].shape)
            start = stop
        return parts

    def vectors(self, parts: Mapping[str, Tensor], count: int) -> Array:
        """The inverse of `displacements`, with 0 at the buffers: float64 (count, n)."""
        whole, start = np.zeros((count, self.size)), 0
        for name in self._parameters:
            stop = start + self.tensors[name].numel()
            whole[:, start:stop] = parts[name].reshape(count, -1).cpu().numpy()
            start = stop
        return whole

    def move(self, points: Sequence[Tensor], row: Sequence[float], *, buffers: str) -> None:
        """Go to a combination of points; zeros are left out, so a lone point is exact.

        `buffers` are combined likewise, or those of the ``first`` point.
        """
        combine(points, row, self.theta)
        if buffers == "first":
            start = self._buffer_start
            self.theta[start:].copy_(points[0][start:])

    def _place_in_one_vector(self) -> None:
        """Make every tensor of a point a view of one vector."""
        dtype = self.tensors[self._parameters[0]].dtype
        device = self.tensors[self._parameters[0]].device
        step = _ALIGNMENT // dtype.itemsize
        widths = [math.ceil(t.numel() / step) * step for t in self.tensors.values()]
        starts = [0, *itertools.accumulate(widths)]
        self._buffer_start = starts[len(self._parameters)]
        self.theta = torch.zeros(starts[-1], dtype=dtype, device=device)
        self.places: dict[str, slice] = {}
        for (name, tensor), start in zip(self.tensors.items(), starts, strict=False):
            place = slice(start, start + tensor.numel())
            self.theta[place] = tensor.detach().reshape(-1).to(dtype)
            tensor.requires_grad_(False)
            tensor.data = self.theta[place].view(tensor.shape)
            self.places[name] = place


def exchange(tensors: Iterable[Tensor], values: Iterable[Tensor]) -> None:
    """Give each tensor other memory: cheaper than copying between processor caches."""
    for tensor, value in zip(tensors, values, strict=True):
        tensor.data = value


def _copied(model: nn.Module) -> nn.Module:
    """A copy; tensors that a hook computed, as torch's pruning does, are cut from their graph."""
    values = (value for module in model.modules() for value in vars(module).values())
    computed = (v for v in values if isinstance(v, Tensor) and not v.is_leaf)
    return copy.deepcopy(model, {id(v): v.detach().clone() for v in computed})
