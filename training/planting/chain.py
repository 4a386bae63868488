"""Chain: the linear and convolution layers of a network that is one chain, found by tracing it.

Between the layers may be only what scales with a unit: a unit's factor then passes through.

>>> for link in chain(nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 4)), (2,)):
...     print(link)
Link(weight='0.weight', bias='0.bias', units=8, inputs=2, block=1)
Link(weight='2.weight', bias='2.bias', units=4, inputs=8, block=1)
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.node import map_arg

from landscape.data_store.errors import UsageError

Shape = tuple[int, ...]

_EXAMPLES = 3  # in the batch that is passed through: a number that is seldom another axis' length
_AXES = {nn.Linear: 2, nn.Conv1d: 3, nn.Conv2d: 4}  # of the inputs, with the batch
_PASSING = (nn.ReLU, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Identity)
_POOLING = (
    *(nn.MaxPool1d, nn.MaxPool2d, nn.AvgPool1d, nn.AvgPool2d),
    *(nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d),
)
_PASSING_FUNCTIONS = {"relu", "relu_", "dropout", "dropout1d", "dropout2d", "contiguous"}
_POOLING_FUNCTIONS = {
    *("max_pool1d", "max_pool2d", "avg_pool1d", "avg_pool2d"),
    *("adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_avg_pool1d", "adaptive_avg_pool2d"),
}
_FLATTENING_FUNCTIONS = {"flatten", "view", "reshape"}
_SUPPORTED = (
    "supported are Linear, Conv1d, Conv2d, ReLU, Flatten, max, average and adaptive pooling, "
    "Dropout and Identity, one after the other"
)


@dataclass(frozen=True)
class Link:
    """One linear or convolution layer of a chain.

    Parameters
    ----------
    weight, bias
        Names of its tensors; `bias` is None if it has none.
    units
        Neurons or filters: the first axis of the weight.
    inputs
        Features or channels: the second axis of the weight.
    block
        Consecutive inputs per unit of the layer before: height × width after flattening, else 1.
    """

    weight: str
    bias: str | None
    units: int
    inputs: int
    block: int


def chain(module: nn.Module, input_shape: Shape) -> tuple[Link, ...]:
    """The layers of a network that is a chain, from inputs to outputs.

    Every step takes the result of the one before it alone, and is a layer (linear, or a
    convolution of one group) or commutes with a positive factor per unit: ReLU, max and average
    pooling, dropout, identity, flattening. Layers need no ReLU between them.

    Parameters
    ----------
    module
        A network that `torch.fx` can trace; it is not touched.
    input_shape
        Shape of one example.

    Returns
    -------
    tuple of Link
        One per layer, in the order of the forward pass.

    Raises
    ------
    UsageError
        If the network cannot be traced, or is no such chain: the first step that is not
        understood is named. Also if a parameter is in no layer that is called.

    Notes
    -----
    One forward pass without numbers (on the meta device).
    """
    copied = copy.deepcopy(module).to("meta").eval()
    try:
        graph = fx.Tracer().trace(copied)
    except Exception as error:  # whatever the code of a stranger's network raises
        reason = next(iter(str(error).strip().splitlines()), "")
        raise UsageError(
            f"{type(module).__name__} cannot be planted into, since its forward pass cannot be "
            f"traced: {type(error).__name__}: {reason}"
        ) from error
    steps = _Steps(copied, torch.empty((_EXAMPLES, *input_shape), device="meta"))
    for node in graph.nodes:
        steps.take(node)
    steps.require_all_called()
    return tuple(steps.links)


class _Steps:
    """The steps of a forward pass, each held against what a chain may have."""

    def __init__(self, model: nn.Module, sample: Tensor) -> None:
        first = next(model.parameters(), sample)
        self.model, self.sample = model, sample.to(first.dtype)
        self.links: list[Link] = []
        self._names = {id(tensor): name for name, tensor in model.named_parameters()}
        self._results: dict[fx.Node, Any] = {}
        self._last: fx.Node | None = None
        self._block = 1

    def take(self, node: fx.Node) -> None:
        """Follow one step; raises `UsageError` if it does not belong in a chain."""
        if node.op == "output":
            self._end(node)
        elif node.op == "get_attr":
            raise self._refusal(f"tensor {str(node.target)!r} is used outside of a layer")
        elif node.op == "placeholder":
            first = self._last is None
            self._results[node] = self.sample if first else next(iter(node.args), None)
            self._last = self._last or node
        elif self._is_about_shape(node):
            self._results[node] = self._result(node)
        else:
            self._step(node)

    def require_all_called(self) -> None:
        """Raise unless there is a layer, and every tensor is in one that was called."""
        called = {name for link in self.links for name in (link.weight, link.bias)}
        for name in self._names.values():
            if name not in called:
                raise self._refusal(f"tensor {name!r} is in no layer that is called")
        if not self.links:
            kind = type(self.model).__name__
            raise UsageError(
                f"{kind} cannot be planted into: it has no linear or convolution layer"
            )

    def _step(self, node: fx.Node) -> None:
        """Follow a step that takes a tensor and gives one."""
        kind = self._kind(node)
        if kind == "other":
            raise self._refusal(f"{self._what(node)} is not understood; {_SUPPORTED}")
        tensors = [n for n in node.all_input_nodes if isinstance(self._results[n], Tensor)]
        if tensors != [self._last]:
            raise self._refusal(
                f"{self._what(node)} does not take the result of the step before it"
            )
        before = tuple(self._results[tensors[0]].shape)
        if kind == "layer":
            self._require_fitting(node, before)
        after = self._result(node)
        if not isinstance(after, Tensor):
            raise self._refusal(f"{self._what(node)} returns no single tensor")
        if kind == "layer":
            self._add(node)
        else:
            self._pass(node, kind, before, tuple(after.shape))
        self._results[node], self._last = after, node

    def _require_fitting(self, node: fx.Node, shape: Shape) -> None:
        """Raise unless a layer is plain and its inputs have the axes it works along."""
        layer: Any = self.model.get_submodule(str(node.target))
        if getattr(layer, "groups", 1) != 1:
            raise self._refusal(f"{self._what(node)} has {layer.groups} groups; 1 is supported")
        if len(shape) != _AXES[type(layer)]:
            raise self._refusal(
                f"{self._what(node)} has inputs {shape[1:]}; flatten them to one axis"
            )

    def _add(self, node: fx.Node) -> None:
        """Note a layer."""
        layer: Any = self.model.get_submodule(str(node.target))
        name = self._names[id(layer.weight)]
        if name in {link.weight for link in self.links}:
            raise self._refusal(f"{self._what(node)} is called twice")
        bias = None if layer.bias is None else self._names[id(layer.bias)]
        units, inputs = layer.weight.shape[:2]
        self.links.append(Link(name, bias, units, inputs, self._block))
        self._block = 1

    def _pass(self, node: fx.Node, kind: str, before: Shape, after: Shape) -> None:
        """Hold the shape after a step against the one before; count the block of a flattening."""
        space = math.prod(before[2:])
        if kind == "flattening" and after == (*before[:1], math.prod(before[1:])):
            self._block *= space if self.links else 1
            return
        kept = 2 if kind == "pooling" else len(before)
        if kind == "flattening" and after[:2] == before[:2] and math.prod(after[2:]) == space:
            return  # of the space alone
        if after[:kept] != before[:kept] or len(after) != len(before):
            raise self._refusal(
                f"{self._what(node)} reorders {before[1:]} to {after[1:]}; units must stay apart"
            )

    def _end(self, node: fx.Node) -> None:
        """Raise unless the network returns the result of its last step, a value per unit."""
        last = self._last
        if last is None or node.args[0] is not last:
            raise self._refusal("output is not the result of its last step")
        shape = tuple(self._results[last].shape)
        if len(shape) != 2 and self.links:
            raise UsageError(
                f"{type(self.model).__name__} cannot be planted into: it ends in values of shape "
                f"{shape[1:]}; one value per unit is needed"
            )

    def _kind(self, node: fx.Node) -> str:
        """What a step is: layer, passing, pooling, flattening or other."""
        if node.op == "call_module":
            module = type(self.model.get_submodule(str(node.target)))
            kinds = [("layer", tuple(_AXES)), ("passing", _PASSING), ("pooling", _POOLING)]
            kinds.append(("flattening", (nn.Flatten,)))
            return next((kind for kind, members in kinds if module in members), "other")
        name = _function(node)
        functions = [("passing", _PASSING_FUNCTIONS), ("pooling", _POOLING_FUNCTIONS)]
        functions.append(("flattening", _FLATTENING_FUNCTIONS))
        return next((kind for kind, members in functions if name in members), "other")

    def _is_about_shape(self, node: fx.Node) -> bool:
        """True for a size that is read off a tensor, and for an entry of such a size."""
        if node.op == "call_module":
            return False
        name = _function(node)
        of_shape = name == "getattr" and node.args[1] == "shape"
        number = name == "getitem" and not isinstance(
            self._results[node.all_input_nodes[0]], Tensor
        )
        return of_shape or number or name in ("size", "dim")

    def _result(self, node: fx.Node) -> Any:
        """What a step computes, without numbers."""
        args, kwargs = map_arg((node.args, node.kwargs), self._results.__getitem__)
        try:
            if node.op == "call_module":
                return self.model.get_submodule(str(node.target))(*args, **kwargs)
            if node.op == "call_method":
                return getattr(args[0], str(node.target))(*args[1:], **kwargs)
            target: Any = node.target
            return target(*args, **kwargs)
        except (RuntimeError, ValueError, IndexError, TypeError) as error:
            shape = tuple(self._results[self._last].shape)[1:] if self._last else ()
            raise self._refusal(
                f"{self._what(node)} cannot take inputs of shape {shape}: "
                f"{str(error).splitlines()[0]}"
            ) from error

    def _what(self, node: fx.Node) -> str:
        """A step in words."""
        if node.op == "call_module":
            kind = type(self.model.get_submodule(str(node.target))).__name__
            return f"layer {str(node.target)!r} ({kind})"
        return f"operation {_function(node)!r}"

    def _refusal(self, what: str) -> UsageError:
        """The error for something of the network."""
        return UsageError(f"{type(self.model).__name__} cannot be planted into: its {what}")


def _function(node: fx.Node) -> str:
    """The name of a function or method that a node calls."""
    return str(getattr(node.target, "__name__", node.target))
