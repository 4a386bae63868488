"""Made-up runs: Gaussian weights in the shapes of real networks, pruned level after level."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from landscape.data_store.mask import Mask
from landscape.data_store.params import Array, ParamSpec
from landscape.data_store.records import TRACE_COLUMNS, Level, Point, Trace

LEVELS, KEPT, EVALUATIONS = 21, 0.8, 20

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class MadeUpRun:
    """What training hands to the store: two origins, and the levels with their momenta.

    Parameters
    ----------
    spec
        The network's parameters.
    origins
        The points ``init`` and ``rewind``.
    levels
        One per density 0.8^k.
    momenta
        The optimiser's momentum (n,) at the end of each level.
    """

    spec: ParamSpec
    origins: Mapping[str, Point]
    levels: tuple[Level, ...]
    momenta: tuple[Array, ...]


def lenet_300_100() -> tuple[Shapes, Shapes]:
    """Parameters (0.27 M in 6 tensors) and buffers (none) of LeNet-300-100 on MNIST."""
    widths = (784, 300, 100, 10)
    parameters: dict[str, tuple[int, ...]] = {}
    for i in range(1, len(widths)):
        parameters[f"fc{i}.weight"] = (widths[i], widths[i - 1])
        parameters[f"fc{i}.bias"] = (widths[i],)
    return parameters, {}


def resnet_20() -> tuple[Shapes, Shapes]:
    """Parameters (0.27 M in 65 tensors) and buffers (63) of ResNet-20 on CIFAR-10.

    He et al. (2016), section 4.2, with 1×1 convolutions on the two shortcuts that change width.
    """
    convolutions = {"conv": (16, 3, 3, 3)}
    inner = 16
    for stage, width in enumerate((16, 32, 64)):
        for block in range(3):
            name = f"blocks.{3 * stage + block}"
            convolutions[f"{name}.conv1"] = (width, inner, 3, 3)
            convolutions[f"{name}.conv2"] = (width, width, 3, 3)
            if inner != width:
                convolutions[f"{name}.shortcut"] = (width, inner, 1, 1)
            inner = width
    parameters: dict[str, tuple[int, ...]] = {}
    buffers: dict[str, tuple[int, ...]] = {}
    for name, shape in convolutions.items():
        parameters[f"{name}.weight"] = shape
        parameters[f"{name}.bn.weight"] = parameters[f"{name}.bn.bias"] = shape[:1]
        buffers[f"{name}.bn.running_mean"] = buffers[f"{name}.bn.running_var"] = shape[:1]
        buffers[f"{name}.bn.num_batches_tracked"] = ()
    parameters |= {"fc.weight": (10, 64), "fc.bias": (10,)}
    return parameters, buffers


def made_up_run(parameters: Shapes, buffers: Shapes, *, levels: int = LEVELS) -> MadeUpRun:
    """A run of these shapes: nested random masks, every number drawn anew at every level."""
    draws = np.random.default_rng(0)
    spec = ParamSpec(tuple(parameters), tuple(parameters.values()))
    dense = Mask.dense(spec, tuple(name for name, shape in parameters.items() if len(shape) > 1))
    origins = {part: _point(draws, dense, buffers) for part in ("init", "rewind")}
    digests = {part: point.digest(spec) for part, point in origins.items()}
    places = draws.permutation(np.flatnonzero(dense.covered))
    made, momenta = [], []
    for number in range(levels):
        kept = dense.kept.copy()
        kept[places[round(KEPT**number * len(places)) :]] = False
        mask = Mask(spec, dense.prunable, kept)
        points = {"final": _point(draws, mask, buffers)}
        trace = Trace(draws.random((EVALUATIONS, len(TRACE_COLUMNS))))
        made.append(Level(number, mask, points, trace, {"test_error": 0.02}, digests))
        momenta.append(mask.apply(_weights(draws, spec) / 10))
    return MadeUpRun(spec, origins, tuple(made), tuple(momenta))


def _point(draws: np.random.Generator, mask: Mask, buffers: Shapes) -> Point:
    """Weights under a mask, and batch statistics."""
    state = {
        name: draws.gamma(2, size=shape).astype(np.float32) if shape else np.array(50_000)
        for name, shape in buffers.items()
    }
    return Point(mask.apply(_weights(draws, mask.spec)), state)


def _weights(draws: np.random.Generator, spec: ParamSpec) -> Array:
    """Gaussian weights (n,), each tensor at He's scale."""
    return np.concatenate(
        [
            draws.normal(0, math.sqrt(2 / max(1, math.prod(shape[1:]))), math.prod(shape))
            for shape in spec.shapes
        ]
    ).astype(np.float32)
