"""Experiments in memory that train in milliseconds, and comparisons bit by bit."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from landscape.data_store.mask import Mask
from landscape.data_store.params import Array, ParamSpec
from landscape.data_store.records import Level, Point, RunConfig
from landscape.training.criteria import Criterion, magnitude
from landscape.training.imp import Experiment, Origin
from landscape.training.models import (
    current_point,
    initialize,
    mlp,
    parameter_spec,
    prunable_kinds,
    set_dropout,
    without,
)
from landscape.training.network import Network
from landscape.training.seeds import stream
from landscape.training.task import Split, Task
from tests.support.runs import blobs

CPU = torch.device("cpu")
WIDTHS = [6, 8, 3]  # those of `blobs`


def settings(**changes: Any) -> RunConfig:
    """A run on `blobs` of a few dozen steps; 60 training examples make 4 steps an epoch."""
    small: dict[str, Any] = {
        "levels": 3,
        "iterations": 24,
        "batch_size": 16,
        "eval_every": 5,
        "lr": 0.02,
    }
    return RunConfig(**{**small, **changes})


def noisy() -> nn.Sequential:
    """A network with everything that has a state of its own: BatchNorm and dropout."""
    return nn.Sequential(
        OrderedDict(
            [
                ("fc1", nn.Linear(6, 8)),
                ("norm", nn.BatchNorm1d(8)),
                ("relu", nn.ReLU()),
                ("drop", nn.Dropout(0.3)),
                ("fc2", nn.Linear(8, 3)),
            ]
        )
    )


def experiment(
    config: RunConfig,
    *,
    module: nn.Module | None = None,
    task: Task | None = None,
    criterion: Criterion = magnitude,
    origin: Origin | None = None,
) -> tuple[Experiment, Point]:
    """An experiment on the CPU and its initial point."""
    module = mlp(WIDTHS) if module is None else module
    set_dropout(module, config.dropout)
    spec = parameter_spec(module)
    blank = copy.deepcopy(module)

    def drawn(seed: int) -> Point:
        fresh = copy.deepcopy(blank)
        initialize(fresh, config.initialization, seed, norm_scale=config.norm_scale)
        return current_point(fresh, spec)

    init = drawn(config.seed)
    network = Network(module, spec, CPU)
    network.set(init)
    kinds = without(prunable_kinds(module, biases=config.prune_biases), config.exclude)

    def redraw(level: int) -> Point:
        return drawn(stream(config.seed, "redraw", level))

    ready = Experiment(network, task or blobs(), config, criterion, kinds, redraw, origin)
    return ready, init


def doubled(task: Task) -> Task:
    """The task with inputs in float64, so that a transcription agrees to the last digits."""
    splits = {name: Split(s.inputs.double(), s.targets) for name, s in task.splits.items()}
    return Task(task.name, splits, task.loss)


def pictures(classes: int = 3) -> Task:
    """Small random pictures that are not square, 60 to train on."""
    draws = torch.Generator().manual_seed(0)
    inputs = torch.randn(120, 2, 6, 8, generator=draws)
    targets = torch.randint(0, classes, (120,), generator=draws)
    parts = {"train": slice(60), "validation": slice(60, 90), "test": slice(90, 120)}
    return Task("pictures", {n: Split(inputs[s], targets[s]) for n, s in parts.items()})


def random_mask(spec: ParamSpec, prunable: tuple[str, ...], density: float, seed: int = 0) -> Mask:
    """Each prunable weight kept with probability `density`."""
    dense = Mask.dense(spec, prunable)
    drawn = np.random.default_rng(seed).random(spec.size) < density
    return Mask(spec, prunable, drawn | ~dense.covered)


def bits(value: Array) -> tuple[str, tuple[int, ...], bytes]:
    """What makes two arrays the same to the last bit."""
    return value.dtype.str, value.shape, value.tobytes()


def point_bits(point: Point) -> list[Any]:
    """What makes two points the same to the last bit."""
    return [bits(point.theta), *((name, bits(b)) for name, b in point.buffers.items())]


def level_bits(level: Level) -> dict[str, Any]:
    """What makes two finished levels the same to the last bit."""
    return {
        "number": level.number,
        "mask": bits(level.mask.kept),
        "points": {name: point_bits(point) for name, point in level.points.items()},
        "trace": bits(level.trace.values),
        "metrics": {name: np.float64(value).tobytes() for name, value in level.metrics.items()},
        "origins": dict(level.origins),
        "status": level.status,
    }


def state_bits(state: Mapping[str, Array]) -> dict[str, Any]:
    """What makes two captured states the same to the last bit."""
    return {name: bits(value) for name, value in state.items()}
