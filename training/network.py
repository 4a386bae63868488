"""Network: a module whose parameters are views of one flat vector."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from landscape.data_store.params import Array, ParamSpec
from landscape.data_store.records import Point
from landscape.training.models import buffer_values
from landscape.training.task import Split, Task

EVALUATION_BATCH = 500


class Network:
    """A module on a device, with all weights in one vector and all gradients in another.

    An optimiser then steps one tensor instead of many, and a mask is one operation.
    The module given is taken over: its parameters become views.

    Parameters
    ----------
    module
        Its forward takes a batch.
    spec
        Names and shapes of its parameters.
    device
        Where it computes.
    """

    def __init__(self, module: nn.Module, spec: ParamSpec, device: torch.device) -> None:
        self.module = module.to(device)
        self.spec = spec
        self.device = device
        named = dict(self.module.named_parameters())
        dtype = named[spec.names[0]].dtype
        self.theta = nn.Parameter(torch.empty(spec.size, dtype=dtype, device=device))
        self.theta.grad = torch.zeros_like(self.theta)
        for name, place in spec.slices.items():
            shape = spec.shape(name)
            self.theta.data[place] = named[name].detach().reshape(-1)
            named[name].data = self.theta.data[place].view(shape)
            named[name].grad = self.theta.grad[place].view(shape)

    def set(self, point: Point) -> None:
        """Take over the weights and buffers of a point."""
        self.theta.data.copy_(torch.from_numpy(point.theta))
        self.set_buffers(point.buffers)

    def set_buffers(self, buffers: Mapping[str, Array]) -> None:
        """Copy buffers by name."""
        own = dict(self.module.named_buffers())
        for name, value in buffers.items():
            own[name].copy_(torch.from_numpy(value))

    def point(self) -> Point:
        """A copy of the weights and buffers."""
        theta = self.theta.detach().cpu().numpy().copy()
        return Point(theta, buffer_values(self.module))

    def backward(self, loss: Tensor) -> None:
        """Replace the flat gradient by that of `loss`."""
        assert self.theta.grad is not None
        self.theta.grad.zero_()
        loss.backward()  # type: ignore[no-untyped-call]

    @torch.inference_mode()
    def evaluate(self, split: Split, task: Task) -> tuple[float, float]:
        """Mean loss and error over a split, in evaluation mode; sums are in float64."""
        self.module.eval()
        loss = torch.zeros((), dtype=torch.float64, device=self.device)
        wrong = torch.zeros((), dtype=torch.int64, device=self.device)
        for start in range(0, len(split), EVALUATION_BATCH):
            inputs = split.inputs[start : start + EVALUATION_BATCH]
            targets = split.targets[start : start + EVALUATION_BATCH]
            outputs = self.module(inputs)
            loss += task.loss(outputs, targets).sum(dtype=torch.float64)
            if task.is_classification:
                wrong += (outputs.argmax(1) != targets).sum()
        error = wrong.item() / len(split) if task.is_classification else float("nan")
        mean = loss.item() / len(split)
        return mean, error if mean == mean else float("nan")
