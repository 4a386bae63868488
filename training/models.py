"""Networks, their initial weights, and which of their tensors are prunable."""

from __future__ import annotations

import itertools
import math
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from landscape.data_store.errors import UsageError
from landscape.data_store.params import Array, ParamSpec
from landscape.data_store.records import Point
from landscape.training.seeds import generator, stream

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Model:
    """A network family: how to build it for a task, and its paper's protocol.

    Parameters
    ----------
    build
        (input shape, outputs) -> module.
    protocol
        Run settings that are this model's defaults.
    """

    build: Callable[[Shape, int], nn.Module]
    protocol: Mapping[str, Any] = field(default_factory=dict)


def mlp(widths: list[int]) -> nn.Sequential:
    """Flatten, then ReLU layers ``fc1``, ``fc2``, …; ``widths``: inputs, hidden, outputs."""
    return nn.Sequential(OrderedDict([("flatten", nn.Flatten()), *_fully_connected(widths)]))


def _fully_connected(widths: list[int]) -> list[tuple[str, nn.Module]]:
    """Linear layers with ReLU between them, by name."""
    layers: list[tuple[str, nn.Module]] = []
    for i, (inner, outer) in enumerate(itertools.pairwise(widths), start=1):
        layers += [(f"fc{i}", nn.Linear(inner, outer)), (f"fc{i}_relu", nn.ReLU())]
    return layers[:-1]


def parse_mlp(text: str) -> Model:
    """The model of ``mlp:784-300-100-10``; raises `UsageError` if the widths are none."""
    parts = text.removeprefix("mlp:").split("-")
    if len(parts) < 2 or not all(p.isdigit() and int(p) > 0 for p in parts):
        raise UsageError(f"{text!r} is no multilayer perceptron; write it as mlp:784-300-100-10")
    widths = [int(p) for p in parts]

    def build(shape: Shape, outputs: int) -> nn.Module:
        if (math.prod(shape), outputs) != (widths[0], widths[-1]):
            raise UsageError(
                f"{text} takes {widths[0]} inputs to {widths[-1]} outputs; "
                f"the task has {math.prod(shape)} and {outputs}"
            )
        return mlp(widths)

    return Model(build)


def _lenet_300_100(shape: Shape, outputs: int) -> nn.Module:
    """Two hidden layers of 300 and 100."""
    return mlp([math.prod(shape), 300, 100, outputs])


def _conv_2(shape: Shape, outputs: int) -> nn.Module:
    """Two 3 × 3 convolutions of 64, a pooling, and hidden layers of 256 and 256."""
    if len(shape) != 3:
        raise UsageError(f"conv-2 takes inputs (channels, height, width), not {shape}")
    channels, height, width = shape
    return nn.Sequential(
        OrderedDict(
            [
                ("conv1", nn.Conv2d(channels, 64, 3, padding=1)),
                ("conv1_relu", nn.ReLU()),
                ("conv2", nn.Conv2d(64, 64, 3, padding=1)),
                ("conv2_relu", nn.ReLU()),
                ("pool", nn.MaxPool2d(2)),
                ("flatten", nn.Flatten()),
                *_fully_connected([64 * (height // 2) * (width // 2), 256, 256, outputs]),
            ]
        )
    )


# Frankle & Carbin (2019), figure 2: the protocol of each network.
LENET_300_100 = Model(
    _lenet_300_100,
    {
        "iterations": 50_000,
        "batch_size": 60,
        "optimizer": "adam",
        "lr": 1.2e-3,
        "pruning_fraction": 0.2,
        "pruning_fraction_output": 0.1,
        "eval_every": 100,
    },
)
CONV_2 = Model(
    _conv_2,
    {
        "iterations": 20_000,
        "batch_size": 60,
        "optimizer": "adam",
        "lr": 2e-4,
        "pruning_fraction": 0.2,
        "pruning_fraction_conv": 0.1,
        "pruning_fraction_output": 0.1,
        "eval_every": 100,
    },
)


def prunable_kinds(model: nn.Module) -> dict[str, str]:
    """The prunable tensors of a network and what they are: ``fc``, ``conv`` or ``output``.

    These are the weights of linear and convolution layers; biases and normalisation are
    never pruned. The output is the last linear layer in the order of registration.
    """
    kinds = {}
    for name, module in model.named_modules():
        prefix = f"{name}." if name else ""
        if isinstance(module, nn.Linear):
            kinds[f"{prefix}weight"] = "fc"
        elif isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d):
            kinds[f"{prefix}weight"] = "conv"
    named = dict(model.named_parameters())
    kinds = {name: kind for name, kind in kinds.items() if name in named}
    linear = [name for name, kind in kinds.items() if kind == "fc"]
    if linear:
        kinds[linear[-1]] = "output"
    return kinds


def parameter_spec(model: nn.Module) -> ParamSpec:
    """Names and shapes of a module's parameters; they must share one floating dtype.

    Raises `UsageError` naming the first parameter of another dtype.
    """
    named = dict(model.named_parameters())
    dtypes = {name: str(p.dtype).removeprefix("torch.") for name, p in named.items()}
    for name, dtype in dtypes.items():
        if dtype not in ("float32", "float64") or dtype != next(iter(dtypes.values())):
            raise UsageError(
                f"parameter {name!r} is {dtype}; all parameters must be float32, or all float64"
            )
    if not named:
        raise UsageError(f"the model {type(model).__name__} has no parameters")
    shapes = tuple(tuple(p.shape) for p in named.values())
    return ParamSpec(tuple(named), shapes, next(iter(dtypes.values())))


def buffer_values(model: nn.Module) -> dict[str, Array]:
    """A copy of a module's persistent buffers by name."""
    persistent = model.state_dict().keys()
    return {
        name: buffer.detach().cpu().numpy().copy()
        for name, buffer in model.named_buffers()
        if name in persistent
    }


def build(model: Model, shape: Shape, outputs: int, seed: int) -> nn.Module:
    """The network with the weights its constructor draws from the run's seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream(seed, "model"))
        return model.build(shape, outputs)


def initialize(model: nn.Module, scheme: str, seed: int) -> None:
    """Draw initial weights in place.

    ``glorot-normal``: N(0, 2 / (fan_in + fan_out)) for linear and convolution weights,
    zero biases (Frankle & Carbin 2019). ``kaiming-normal``: N(0, 2 / fan_in) likewise.
    ``model``: what the network's constructor drew.
    """
    if scheme == "model":
        return
    draws = generator(seed, "initialization")
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d):
            weight: Tensor = module.weight
            if scheme == "glorot-normal":
                nn.init.xavier_normal_(weight, generator=draws)
            else:
                nn.init.kaiming_normal_(weight, nonlinearity="relu", generator=draws)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def current_point(model: nn.Module, spec: ParamSpec) -> Point:
    """Weights and buffers of a module, copied."""
    tensors = {n: p.detach().cpu().numpy() for n, p in model.named_parameters()}
    return Point(spec.flatten(tensors), buffer_values(model))
