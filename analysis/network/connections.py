"""Connections: which weights of a masked network are on a path from an input to an output.

A network is run once on truth values. A number is 1 where some input reaches it, backwards where
it reaches some output; a weight is on a path if it joins two such numbers. What is kept is 1, what
is pruned and every bias 0; nothing cancels, and counts are cut to 1 after every step, so that no
number of paths is too large.

>>> model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.ReLU(), nn.Linear(2, 1, bias=False))
>>> on_a_path(model, torch.ones(1, 2), np.array([1, 0, 0, 1, 1, 0], dtype=bool))
array([ True, False, False, False,  True, False])
"""

from __future__ import annotations

import copy
import functools
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn
from torch.fx.node import map_aggregate
from torch.nn import functional
from torch.nn.modules.batchnorm import _NormBase

from landscape.analysis.alignment.unit_rules import FUNCTIONS, LAYERS
from landscape.data_store.errors import LandscapeError, UsageError
from landscape.data_store.params import Array

_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, *_TRANSPOSED)
_UNIT_BY_UNIT = (
    *(layer for layer, rule in LAYERS.items() if rule is LAYERS[nn.Identity]),
    *(nn.PReLU, nn.GroupNorm, nn.LayerNorm, _NormBase),
)
_AVERAGES: dict[type[nn.Module], Callable[..., Tensor]] = {
    nn.MaxPool1d: functional.avg_pool1d,
    nn.MaxPool2d: functional.avg_pool2d,
    nn.MaxPool3d: functional.avg_pool3d,
    nn.AdaptiveMaxPool1d: functional.adaptive_avg_pool1d,
    nn.AdaptiveMaxPool2d: functional.adaptive_avg_pool2d,
    nn.AdaptiveMaxPool3d: functional.adaptive_avg_pool3d,
}
_LINEAR = (
    *(nn.Flatten, nn.Unflatten, nn.ZeroPad2d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d),
    *(nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d),
)
_MERGING = {name for name, rule in FUNCTIONS.items() if rule is FUNCTIONS["relu"]}
_PRODUCTS = {"mul", "mul_", "imul", "div", "div_", "truediv", "itruediv", "pow"}
_AS_IT_IS = {
    *(name for name, rule in FUNCTIONS.items() if rule is FUNCTIONS["flatten"]),
    *(f"{kind}avg_pool{axes}d" for kind in ("", "adaptive_") for axes in (1, 2, 3)),
    *("permute", "transpose", "mean", "sum", "getitem", "getattr", "size", "dim"),
    *("cat", "concat", "stack", "chunk", "split"),
}


def on_a_path(model: nn.Module, sample: Tensor, kept: Array) -> Array:
    """Which kept weights are on a path from an input to an output through kept weights.

    A path goes from number to number (unit, pixel of a channel), through one weight of every layer
    it passes, along any branch of a sum and any pixel of a pooling. Biases and shifts begin no
    path and are on none; activations and normalisation work on each number by itself.

    Parameters
    ----------
    model
        A network that `torch.fx` can trace, of linear and convolution layers, normalisation,
        activations, poolings, reshapes, sums and means; it is not touched.
    sample
        A batch of inputs; only the shape of an example is used.
    kept
        Boolean (n,), the weights in the order of ``named_parameters``.

    Returns
    -------
    Array
        Boolean (n,), never True where `kept` is False. All False if no input reaches an output.

    Raises
    ------
    UsageError
        If the network cannot be traced, or has an operation that is not understood; it is named.
    LandscapeError
        If `kept` is of another size.

    Notes
    -----
    Exact. One pass of one example forwards and backwards in float64. The weights that Tanaka et
    al. (2020) give a score above 0, section 4; "effective sparsity" of Vysogorets & Kempe (2023).
    """
    network, graph = _traced(model)
    _keep(network, kept)
    every = torch.ones((1, *sample.shape[1:]), dtype=torch.float64)
    outputs = _tensors(_Paths(network, graph).run(every))
    reached = torch.stack([output.sum() for output in outputs]).sum()
    if reached.requires_grad:
        reached.backward()  # type: ignore[no-untyped-call]
    parts = [_is_positive(weight) for weight in network.parameters()]
    on_path: Array = np.concatenate(parts) & kept
    return on_path


def _traced(model: nn.Module) -> tuple[nn.Module, fx.Graph]:
    """A float64 copy of a network, and its graph."""
    try:
        copied = copy.deepcopy(model).cpu().double().eval()
        return copied, fx.Tracer().trace(copied)
    except Exception as error:  # whatever the code of a stranger's network raises
        reason = next(iter(str(error).strip().splitlines()), "")
        raise UsageError(
            f"the paths of {type(model).__name__} cannot be followed, since its forward pass "
            f"cannot be traced: {type(error).__name__}: {reason}"
        ) from error


def _keep(network: nn.Module, kept: Array) -> None:
    """Make weights 1 where they are kept, and everything else 0."""
    size = sum(weight.numel() for weight in network.parameters())
    if kept.shape != (size,):
        raise LandscapeError(
            f"a mask of shape {kept.shape} does not fit {type(network).__name__}; "
            f"expected ({size},)"
        )
    start = 0
    for weight in network.parameters():
        stop = start + weight.numel()
        ones = torch.from_numpy(kept[start:stop].astype(np.float64)).reshape(weight.shape)
        weight.data = ones if weight.ndim > 1 else torch.zeros_like(ones)
        weight.requires_grad_(weight.ndim > 1)
        weight.grad = None
        start = stop


def _tensors(values: Any) -> list[Tensor]:
    """All tensors in a nest of lists, tuples and dicts."""
    found: list[Tensor] = []
    map_aggregate(values, lambda v: found.append(v) if isinstance(v, Tensor) else None)
    return found


def _is_positive(weight: Tensor) -> Array:
    """Where the derivative by a weight is above 0: boolean (size,)."""
    if weight.grad is None:
        return np.zeros(weight.numel(), dtype=np.bool_)
    positive: Array = (weight.grad > 0).reshape(-1).numpy()
    return positive


class _Truth(torch.autograd.Function):
    """1 where a number is above 0, forwards and backwards."""

    @staticmethod
    def forward(_context: Any, numbers: Tensor) -> Tensor:
        return (numbers > 0).to(numbers.dtype)

    @staticmethod
    def backward(_context: Any, *derivatives: Tensor) -> Tensor:
        return (derivatives[0] > 0).to(derivatives[0].dtype)


def _true(value: Any) -> Any:
    """A result with its numbers cut to truth values."""
    is_numbers = isinstance(value, Tensor) and value.is_floating_point()
    return _Truth.apply(value) if is_numbers else value  # type: ignore[no-untyped-call]


class _Paths(fx.Interpreter):
    """Runs a graph on truth values; raises `UsageError` at what it does not understand."""

    def __init__(self, model: nn.Module, graph: fx.Graph) -> None:
        super().__init__(model, graph=graph, garbage_collect_values=True)
        self.model = model
        self.extra_traceback = False  # an error is one sentence

    def run_node(self, n: fx.Node) -> Any:
        """One step, its result cut to truth values."""
        return map_aggregate(super().run_node(n), _true)

    def get_attr(self, target: Any, _args: Any, _kwargs: Any) -> Any:
        """A tensor that is in no layer."""
        raise self._refusal(f"tensor {str(target)!r} is used outside of a layer")

    def call_module(self, target: Any, args: Any, kwargs: Any) -> Any:
        """A layer."""
        module = self.fetch_attr(str(target))
        name = f"layer {str(target)!r} ({type(module).__name__})"
        if isinstance(module, _UNIT_BY_UNIT):
            return args[0]
        if average := _AVERAGES.get(type(module)):
            return average(*args, *self._window(module, name))
        if isinstance(module, (*_WEIGHTED, *_LINEAR)):
            return module(*args, **kwargs)
        raise self._refusal(f"{name} is not understood")

    def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
        """A function, or a method under its name."""
        return self._call(str(target.__name__), target, args, kwargs)

    def call_method(self, target: Any, args: Any, kwargs: Any) -> Any:
        """A method of its first argument."""
        method = operator.methodcaller
        return self._call(
            str(target), lambda x, *more, **named: method(target, *more, **named)(x), args, kwargs
        )

    def _call(self, name: str, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """What a function makes of truth values."""
        operands = _tensors((args, kwargs))
        if not operands:  # it is of sizes
            return function(*args, **kwargs)
        if name in _PRODUCTS and len(operands) > 1:
            raise self._refusal(f"operation {name!r} multiplies two branches")
        if name in _MERGING:
            return functools.reduce(torch.add, operands)
        if name in ("amax", "amin"):
            return torch.sum(*args, **kwargs)
        if name == "pad":
            return functional.pad(*args[:2], **{k: v for k, v in kwargs.items() if k != "value"})
        for layer, average in _AVERAGES.items():
            if name == average.__name__.replace("avg", "max"):
                return average(args[0], *self._window(layer(*args[1:], **kwargs), f"{name!r}"))
        if name in _AS_IT_IS:
            return function(*args, **kwargs)
        raise self._refusal(f"operation {name!r} is not understood")

    def _window(self, pool: Any, name: str) -> tuple[Any, ...]:
        """The arguments of the mean over the pixels that a pooling chooses from."""
        if not hasattr(pool, "kernel_size"):
            return (pool.output_size,)
        if pool.dilation not in (1, (1,), (1, 1), (1, 1, 1)):
            raise self._refusal(f"{name} is dilated, which is not understood")
        return (pool.kernel_size, pool.stride, pool.padding, pool.ceil_mode)

    def _refusal(self, why: str) -> UsageError:
        """The error for what is not understood."""
        return UsageError(f"the paths of {type(self.model).__name__} cannot be followed: its {why}")
