"""Permutations: which units of a network can be renumbered, found by tracing its forward pass.

Nothing is listed by hand and nothing is guessed: a network with an operation that is not
understood is refused, and what was found is tried.

>>> model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2))
>>> for group in permutations(model, torch.ones(1, 1, 4, 4)).groups:
...     print(group.size, *(f"{m.tensor}[{m.axis}]×{m.block}" for m in group.members))
4 0.weight[0]×1 0.bias[0]×1 3.weight[1]×4
"""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn
from torch.fx.node import map_aggregate, map_arg

from landscape.analysis.alignment.symmetry import Permutations, permuted
from landscape.analysis.alignment.unit_flow import UnitFlow
from landscape.analysis.alignment.unit_rules import FUNCTIONS, LAYERS
from landscape.data_store.errors import LandscapeError, UsageError

_EXAMPLES = 3  # in a trial: a number that is seldom another axis' length
_TOLERANCE = 1e-8  # between a network and its renumbered copy, in float64


def permutations(model: nn.Module, sample: Tensor) -> Permutations:
    """The groups of hidden units that can be renumbered without changing a network's function.

    Followed are linear and convolution layers (plain and depthwise), BatchNorm, LayerNorm,
    GroupNorm of one group or of single channels, elementwise functions, dropout, pooling,
    flattening and other reshapes, means over axes, slices and padding of other axes, and sums
    of branches, whose units become one group. Inputs and outputs keep their numbering.

    What was found is tried: in a float64 copy with random weights and statistics all groups are
    renumbered at random, and no output may change by more than 1e-8 of the largest.

    Parameters
    ----------
    model
        A network that `torch.fx` can trace; it is not touched.
    sample
        A batch of inputs (examples, …); only dtype and shape of an example are used, and the
        values if they are integers.

    Returns
    -------
    Permutations
        Groups in the order in which their first layers are called; members in the order of
        registration.

    Raises
    ------
    UsageError
        If the network cannot be traced or run, or has an operation that is not understood, or
        a parameter or floating-point buffer that is in no layer that is called; it is named.
    LandscapeError
        If the trial fails.

    Notes
    -----
    Three forward passes of three examples in float64. Ainsworth et al. (2023), section 3.
    """
    copied, graph, units = traced(model, sample)
    structure = units.permutations()
    _try(copied, graph, structure, _batch(sample, drawn=True))
    return structure


def traced(model: nn.Module, sample: Tensor) -> tuple[nn.Module, fx.Graph, UnitFlow]:
    """A float64 copy of a network in evaluation mode, its graph, and the units followed in it.

    Raises `UsageError` as `permutations` does.
    """
    try:
        copied = copy.deepcopy(model).cpu().double().eval()
        graph = fx.Tracer().trace(copied)
        with torch.inference_mode():
            results = steps(copied, graph, _batch(sample, drawn=False))
            shapes = {n: tuple(x.shape) for n, x in results if isinstance(x, Tensor)}
    except Exception as error:  # whatever the code of a stranger's network raises
        reason = next(iter(str(error).strip().splitlines()), "")
        raise UsageError(
            f"the units of {type(model).__name__} cannot be aligned, since its forward pass "
            f"cannot be traced: {type(error).__name__}: {reason}"
        ) from error
    return copied, graph, UnitFlow(copied, graph, shapes, LAYERS, FUNCTIONS)


def steps(model: nn.Module, graph: fx.Graph, batch: Tensor) -> Iterator[tuple[fx.Node, Any]]:
    """Run a graph node by node with a network's tensors; each node with its result.

    A result is dropped after its last use, and may be changed by the next node: look at once.
    """
    last = {operand: node for node in graph.nodes for operand in node.all_input_nodes}
    results: dict[fx.Node, Any] = {}
    for node in graph.nodes:
        args, kwargs = map_arg((node.args, node.kwargs), results.__getitem__)
        results[node] = _result(model, node, args, kwargs, batch)
        yield node, results[node]
        for operand in node.all_input_nodes:
            if last[operand] is node:
                del results[operand]


def _result(model: nn.Module, node: fx.Node, args: Any, kwargs: Any, batch: Tensor) -> Any:
    """What one node computes; the first input of the network is the batch."""
    if node.op == "placeholder":
        first = next(other for other in node.graph.nodes if other.op == "placeholder")
        return batch if node is first else args[0]
    if node.op == "get_attr":
        return functools.reduce(getattr, str(node.target).split("."), model)
    if node.op == "call_module":
        return model.get_submodule(str(node.target))(*args, **kwargs)
    if isinstance(node.target, str):
        return (
            args[0] if node.op == "output" else getattr(args[0], node.target)(*args[1:], **kwargs)
        )
    return node.target(*args, **kwargs)


def _batch(sample: Tensor, *, drawn: bool) -> Tensor:
    """A few examples like the first one: copies of it, or normal draws if it is of floats."""
    batch = sample[:1].detach().cpu().repeat(_EXAMPLES, *[1] * (sample.ndim - 1))
    if not batch.is_floating_point():
        return batch
    draws = torch.Generator().manual_seed(0)
    return (
        torch.randn(batch.shape, generator=draws, dtype=torch.float64) if drawn else batch.double()
    )


def _try(model: nn.Module, graph: fx.Graph, structure: Permutations, batch: Tensor) -> None:
    """Renumber a network at random, its tensors drawn; raise unless it computes what it did."""
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    moving = {name: tensor.data for name, tensor in tensors.items() if tensor.is_floating_point()}
    _draw(moving)
    orders = structure.drawn(np.random.default_rng(0))
    renumbered = permuted(structure, {n: x.numpy() for n, x in moving.items()}, orders)
    before = _outputs(model, graph, batch)
    for name, tensor in moving.items():
        tensor.copy_(torch.from_numpy(renumbered[name]))
    for own, other in zip(before, _outputs(model, graph, batch), strict=True):
        change, largest = float((other - own).abs().max()), float(own.abs().max())
        if not change <= _TOLERANCE * largest:
            raise LandscapeError(
                f"renumbering the units of {type(model).__name__} changed an output by "
                f"{change:.3g} where the largest is {largest:.3g}; one of its layers does more "
                "than its kind says"
            )


def _draw(tensors: dict[str, Tensor]) -> None:
    """Random values in place: matrices of variance 2 / fan_in, vectors between 0.5 and 1.5."""
    draws = torch.Generator().manual_seed(1)
    for tensor in tensors.values():
        uniform = torch.rand(tensor.shape, generator=draws, dtype=torch.float64)
        reach = (6.0 / max(math.prod(tensor.shape[1:]), 1)) ** 0.5
        tensor.copy_(0.5 + uniform if tensor.ndim < 2 else reach * (2.0 * uniform - 1.0))


def _outputs(model: nn.Module, graph: fx.Graph, batch: Tensor) -> list[Tensor]:
    """All tensors that a network returns for a batch."""
    found: list[Tensor] = []

    def note(value: Any) -> Any:
        found.extend([value.clone()] if isinstance(value, Tensor) else [])
        return value

    with torch.inference_mode():
        for node, result in steps(model, graph, batch):
            if node.op == "output":
                map_aggregate(result, note)
    return found
