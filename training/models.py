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

from landscape.data_store.errors import UsageError, unknown
from landscape.data_store.params import Array, ParamSpec
from landscape.data_store.records import Point
from landscape.training.planting.mother import draw_scaled
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
    return nn.Sequential(OrderedDict([("flatten", nn.Flatten()), *fully_connected(widths)]))


def fully_connected(widths: list[int], *, dropout: bool = False) -> list[tuple[str, nn.Module]]:
    """Linear layers with ReLU between them, by name; with `dropout` a layer of it before each."""
    layers: list[tuple[str, nn.Module]] = []
    for i, (inner, outer) in enumerate(itertools.pairwise(widths), start=1):
        layers += [(f"fc{i}_dropout", nn.Dropout(0.0))] if dropout else []
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


# Frankle & Carbin (2019), figure 2: the protocol.
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


def prunable_kinds(model: nn.Module, *, biases: bool = False) -> dict[str, str]:
    """The prunable tensors of a network and what they are.

    These are the weights of linear (``fc``) and convolution layers (``conv``), and with `biases`
    these layers' biases, each of the kind of its layer; normalisation is never pruned. ``output``
    is the last linear layer in the order of registration; ``shortcut`` a convolution inside a
    module of that name, or of ``downsample``.
    """
    kinds = {}
    for name, module in model.named_modules():
        prefix = f"{name}." if name else ""
        if isinstance(module, nn.Linear):
            kinds[prefix] = "fc"
        elif isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d):
            beside = {"shortcut", "downsample"} & set(name.split("."))
            kinds[prefix] = "shortcut" if beside else "conv"
    named = dict(model.named_parameters())
    linear = [
        prefix for prefix, kind in kinds.items() if kind == "fc" and f"{prefix}weight" in named
    ]
    if linear:
        kinds[linear[-1]] = "output"
    ends = ("weight", "bias") if biases else ("weight",)
    found = {f"{prefix}{end}": kind for prefix, kind in kinds.items() for end in ends}
    return {name: kind for name, kind in found.items() if name in named}


def is_bias(name: str) -> bool:
    """True for a parameter that is added and not multiplied with: one called ``bias``."""
    return name.rpartition(".")[2] == "bias"


def without(kinds: Mapping[str, str], exclude: tuple[str, ...]) -> dict[str, str]:
    """The prunable tensors less those excluded by kind or by name.

    Raises `UsageError` for an exclusion that is neither, or if nothing is left to prune.
    """
    known = {*kinds, *kinds.values(), "output", "shortcut", "conv", "fc"}
    for name in exclude:
        if name not in known:
            raise unknown("tensor or kind to exclude", name, known)
    left = {n: kind for n, kind in kinds.items() if n not in exclude and kind not in exclude}
    if not left:
        raise UsageError(f"exclude is {', '.join(exclude)}; nothing is left to prune")
    return left


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


def set_dropout(model: nn.Module, rate: float) -> None:
    """Give all dropout layers this rate; 0 leaves them as they are.

    Raises `UsageError` if there is none to give it to.
    """
    layers = [m for m in model.modules() if isinstance(m, nn.Dropout | nn.Dropout2d)]
    if rate and not layers:
        raise UsageError(f"dropout is {rate}, but the network has no dropout layer; leave it out")
    for layer in layers if rate else ():
        layer.p = rate


def initialize(model: nn.Module, scheme: str, seed: int, *, norm_scale: str = "one") -> None:
    """Draw initial weights in place.

    ``glorot-normal``: N(0, 2 / (fan_in + fan_out)) for linear and convolution weights,
    zero biases (Frankle & Carbin 2019). ``kaiming-normal``: N(0, 2 / fan_in) likewise.
    ``scaled-normal``, ``scaled-uniform``: biases too, see `landscape.training.planting.mother`.
    ``model``: what the network's constructor drew. `norm_scale` ``uniform`` draws the scales of
    BatchNorm from U(0, 1) instead of 1 (open_lth).
    """
    if norm_scale == "uniform":
        scales = generator(seed, "norm-scale")
        for module in model.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) and module.affine:
                nn.init.uniform_(module.weight, generator=scales)
    if scheme == "model":
        return
    draws = generator(seed, "initialization")
    if scheme.startswith("scaled"):
        draw_scaled(model, scheme, draws)
        return
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
