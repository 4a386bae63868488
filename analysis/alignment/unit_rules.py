"""What layers and functions do to the units that a value carries: one rule per kind.

A rule takes the units followed so far, the node, and the layer if it is one. It says where the
result carries units, notes which tensors of the layer are in their order, and refuses what it
does not understand.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torch import fx, nn

from landscape.analysis.alignment.unit_flow import Flow, Rule, UnitFlow, function_name


def _linear(units: UnitFlow, node: fx.Node, module: nn.Linear) -> Flow | None:
    """A matrix on the last axis."""
    flow, shape = units.only(node)
    if flow and flow.axis != len(shape) - 1:
        raise units.refusal(node, f"acts on the last axis of {shape}, units lie along {flow.axis}")
    begun = units.begin(module.out_features, len(shape) - 1)
    units.carry(node, module.weight, 0, begun)
    units.carry(node, module.bias, 0, begun)
    units.carry(node, module.weight, 1, flow)
    units.read(node)
    return begun


def _convolution(units: UnitFlow, node: fx.Node, module: Any) -> Flow | None:
    """A plain convolution mixes channels; a depthwise one makes several of each."""
    flow = units.channels(node, module.weight.ndim)
    if module.groups == 1:
        begun = units.begin(module.out_channels, 1)
        units.carry(node, module.weight, 1, flow)
        units.read(node)
    elif module.groups == module.in_channels:
        copies = module.out_channels // module.in_channels
        begun = Flow(flow.numbering, 1, flow.block * copies) if flow else None
    else:
        raise units.refusal(node, f"has {module.groups} groups of several channels")
    units.carry(node, module.weight, 0, begun)
    units.carry(node, module.bias, 0, begun)
    return begun


def _batch_norm(units: UnitFlow, node: fx.Node, module: Any) -> Flow | None:
    """Scale, shift and statistics of each channel."""
    flow = units.channels(node)
    for tensor in (module.weight, module.bias, module.running_mean, module.running_var):
        units.carry(node, tensor, 0, flow)
    return flow


def _group_norm(units: UnitFlow, node: fx.Node, module: nn.GroupNorm) -> Flow | None:
    """All channels together, or each by itself; other groups are of channels in this order."""
    if module.num_groups not in (1, module.num_channels):
        raise units.refusal(node, f"normalises {module.num_groups} groups of several channels")
    flow = units.channels(node)
    units.carry(node, module.weight, 0, flow)
    units.carry(node, module.bias, 0, flow)
    return flow


def _layer_norm(units: UnitFlow, node: fx.Node, module: nn.LayerNorm) -> Flow | None:
    """The last axes together, with a scale and shift of their shape."""
    flow, shape = units.only(node)
    first = len(shape) - len(module.normalized_shape)
    inside = flow if flow and flow.axis >= first else None
    for tensor in (module.weight, module.bias):
        units.carry(node, tensor, inside.axis - first if inside else 0, inside)
    return flow


def _prelu(units: UnitFlow, node: fx.Node, module: nn.PReLU) -> Flow | None:
    """One slope for all, or one per channel."""
    one = module.weight.numel() == 1
    units.carry(node, module.weight, 0, None if one else units.channels(node))
    return units.only(node)[0]


def _elementwise(units: UnitFlow, node: fx.Node, _: object) -> Flow | None:
    """Entry by entry, of one tensor or several that are broadcast together."""
    operands = units.operands(node)
    flows = [(flow, flow.axis - len(shape)) for flow, shape in operands if flow]
    if not flows:
        return None
    first, axis = flows[0]
    if any(other != axis for _, other in flows):
        raise units.refusal(node, "joins units along different axes")
    units.join(node, [flow for flow, _ in flows])
    for flow, shape in operands:
        if flow is None and len(shape) >= -axis and shape[axis] != 1:
            units.fix(first)  # something in an order of its own is added
    return Flow(first.numbering, len(units.shapes[node]) + axis, first.block)


def _pooling(axes: int) -> Rule:
    """Neighbouring pixels of a channel, along so many axes."""

    def rule(units: UnitFlow, node: fx.Node, _: object) -> Flow | None:
        return units.channels(node, axes + 2)

    return rule


def _reshape(units: UnitFlow, node: fx.Node, _: object) -> Flow | None:
    """The same entries in the same order: the units lie where as many entries come before."""
    flow, shape = units.only(node)
    if flow is None:
        return None
    before, size = math.prod(shape[: flow.axis]), units.size(flow)
    reshaped = units.shapes[node]
    for axis, length in enumerate(reshaped):
        if math.prod(reshaped[:axis]) == before and length >= size and length % size == 0:
            return Flow(flow.numbering, axis, length // size)
    raise units.refusal(node, f"from {shape} to {reshaped} does not keep units apart")


def _reduction(units: UnitFlow, node: fx.Node, _: object) -> Flow | None:
    """Over other axes units stay; over their own, or all, their order no longer matters."""
    flow, shape = units.only(node)
    named = node.kwargs.get("dim", node.kwargs.get("axis"))
    given = node.args[1] if len(node.args) > 1 else named
    gone = set(_axes(units, node, given if given or given == 0 else range(len(shape))))
    if flow is None or flow.axis in gone:
        units.read(node)
        return None
    kept = len(units.shapes[node]) == len(shape)
    before = 0 if kept else sum(axis < flow.axis for axis in gone)
    return Flow(flow.numbering, flow.axis - before, flow.block)


def _permute(units: UnitFlow, node: fx.Node, _: object) -> Flow | None:
    """Axes in another order."""
    flow, shape = units.only(node)
    given: Any = node.args[1:] or tuple(node.kwargs.values())
    order = _axes(units, node, given[0] if len(given) == 1 else given)
    if function_name(node) == "transpose":
        one, two = order
        order = list(range(len(shape)))
        order[one], order[two] = two, one
    return Flow(flow.numbering, order.index(flow.axis), flow.block) if flow else None


def _axes(units: UnitFlow, node: fx.Node, given: Any) -> list[int]:
    """Axes of a node's argument, counted from the front; raises unless they are plain numbers."""
    _, shape = units.only(node)
    axes = list(given) if isinstance(given, Sequence) else [given]
    if not all(isinstance(axis, int) for axis in axes):
        raise units.refusal(node, f"is over the axes {given}; numbers were expected")
    return [axis % len(shape) for axis in axes]


def _slice(units: UnitFlow, node: fx.Node, _: object) -> Flow | None:
    """Slices of other axes."""
    flow, _shape = units.only(node)
    index = node.args[1]
    parts = index if isinstance(index, tuple | list) else (index,)
    whole = flow is not None and all(
        isinstance(part, slice) and (axis != flow.axis or part == slice(None))
        for axis, part in enumerate(parts)
    )
    if not whole:
        raise units.refusal(node, "takes some of the units, or is no slice")
    return flow


def _pad(units: UnitFlow, node: fx.Node, _: object) -> Flow | None:
    """More entries along other axes."""
    flow, shape = units.only(node)
    widths = node.args[1] if len(node.args) > 1 else node.kwargs["pad"]
    if flow is None or not isinstance(widths, list | tuple):
        raise units.refusal(node)
    start = 2 * (len(shape) - 1 - flow.axis)
    if any(width != 0 for width in widths[start : start + 2]):
        raise units.refusal(node, "adds units of its own, as zero-padded shortcuts do")
    return flow


def _attribute(units: UnitFlow, node: fx.Node, _: object) -> None:
    """What is known without looking at entries."""
    if node.args[1] not in ("shape", "ndim", "dtype", "device"):
        raise units.refusal(node, f"reads {node.args[1]!r}, which is not understood")


def _numbers(_units: UnitFlow, _node: fx.Node, _: object) -> None:
    """A size or a number of axes."""


LAYERS: dict[type[nn.Module], Rule] = {
    nn.Linear: _linear,
    **dict.fromkeys((nn.Conv1d, nn.Conv2d, nn.Conv3d), _convolution),
    **dict.fromkeys((nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d), _batch_norm),
    nn.GroupNorm: _group_norm,
    nn.LayerNorm: _layer_norm,
    nn.PReLU: _prelu,
    **dict.fromkeys((nn.Flatten, nn.Unflatten), _reshape),
    **dict.fromkeys(
        (nn.MaxPool1d, nn.AvgPool1d, nn.AdaptiveAvgPool1d, nn.AdaptiveMaxPool1d), _pooling(1)
    ),
    **dict.fromkeys(
        (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.ZeroPad2d),
        _pooling(2),
    ),
    **dict.fromkeys(
        (nn.MaxPool3d, nn.AvgPool3d, nn.AdaptiveAvgPool3d, nn.AdaptiveMaxPool3d), _pooling(3)
    ),
    **dict.fromkeys(
        (
            *(nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout),
            *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.SiLU),
            *(nn.Mish, nn.Sigmoid, nn.LogSigmoid, nn.Tanh, nn.Hardtanh, nn.Hardswish),
            *(nn.Hardsigmoid, nn.Softplus, nn.Softsign, nn.Softshrink, nn.Hardshrink),
            *(nn.Tanhshrink, nn.Threshold, nn.Softmax, nn.LogSoftmax),
        ),
        _elementwise,  # softmax too: units in another order give its values in that order
    ),
}

FUNCTIONS: dict[str, Rule] = {
    **dict.fromkeys(
        (
            *("relu", "relu_", "relu6", "leaky_relu", "leaky_relu_", "elu", "elu_", "celu", "selu"),
            *("gelu", "silu", "mish", "sigmoid", "logsigmoid", "tanh", "hardtanh", "hardswish"),
            *("hardsigmoid", "softplus", "softsign", "softmax", "log_softmax", "dropout"),
            *("dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "clamp", "abs", "neg"),
            *("sqrt", "rsqrt", "square", "exp", "log", "pow", "add", "add_", "iadd", "sub", "sub_"),
            *("isub", "mul", "mul_", "imul", "div", "div_", "truediv", "itruediv", "maximum"),
            *("minimum", "contiguous", "clone", "detach", "float", "double", "to"),
        ),
        _elementwise,
    ),
    **{
        f"{kind}_pool{axes}d": _pooling(axes)
        for kind in ("max", "avg", "adaptive_avg", "adaptive_max")
        for axes in (1, 2, 3)
    },
    **dict.fromkeys(("flatten", "view", "reshape", "unflatten", "squeeze", "unsqueeze"), _reshape),
    **dict.fromkeys(("mean", "sum", "amax", "amin"), _reduction),
    **dict.fromkeys(("permute", "transpose"), _permute),
    "getitem": _slice,
    "pad": _pad,
    "getattr": _attribute,
    **dict.fromkeys(("size", "dim"), _numbers),
}
