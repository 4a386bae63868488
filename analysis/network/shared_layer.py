"""SharedLayer: a first layer whose responses are combined instead of recomputed."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_SMALLEST_FAN_IN = 64  # below it, combining responses moves more memory than it saves


class _RecordedError(Exception):
    """Leaves the forward pass once the first layer's input is known."""


def combine(rows: Sequence[Tensor], weights: Sequence[float], out: Tensor) -> Tensor:
    """``sum_j weights[j] * rows[j]`` into `out`; rows of weight zero are left out altogether."""
    terms = [(weight, row) for weight, row in zip(weights, rows, strict=True) if weight != 0.0]
    if not terms:
        return out.zero_()
    torch.mul(terms[0][1], terms[0][0], out=out)
    for weight, row in terms[1:]:
        out.add_(row, alpha=weight)
    return out


class SharedLayer:
    """The first affine layer of a network, in whose place combined responses are put.

    The response is linear in the layer's weights, so the response at a combination of
    points is the combination of the responses at the points.

    Parameters
    ----------
    layer
        The layer, inside the network that is evaluated.
    own
        Where its weight and bias lie in a point, by their names in the layer.
    """

    def __init__(self, layer: nn.Module, own: Mapping[str, slice]) -> None:
        self._layer = layer
        self._own = dict(own)
        self._points: Sequence[Tensor] = ()
        self._responses: list[Tensor] = []
        self._response = torch.empty(0)
        self._recording = False

    def owns(self, place: slice) -> bool:
        """True for the stretch of a point that one of this layer's tensors is."""
        return place in self._own.values()

    @contextmanager
    def installed(self, points: Sequence[Tensor]) -> Iterator[None]:
        """Answer for the layer, between these anchors, while the context lasts."""
        self._points = points
        self._layer.forward = self._forward
        try:
            yield
        finally:
            del self._layer.forward
            self._points, self._responses = (), []

    def record(self, model: nn.Module, inputs: Tensor) -> None:
        """Compute the layer's response to a batch at every anchor."""
        self._recording = True
        try:
            with contextlib.suppress(_RecordedError):
                model(inputs)
        finally:
            self._recording = False
        if self._response.shape != self._responses[0].shape:
            self._response = torch.empty_like(self._responses[0])

    def put(self, weights: Sequence[float]) -> None:
        """Make the next forward pass see this combination of the anchors."""
        combine(self._responses, weights, self._response)

    def _forward(self, inputs: Tensor) -> Tensor:
        """In place of the layer's own forward."""
        if not self._recording:
            return self._response
        self._responses = [self._respond(inputs, point) for point in self._points]
        raise _RecordedError

    def _respond(self, inputs: Tensor, point: Tensor) -> Tensor:
        """The layer's response with the weights of one anchor."""
        tensors = {
            name: point[place].view(getattr(self._layer, name).shape)
            for name, place in self._own.items()
        }
        weight, bias = tensors["weight"], tensors.get("bias")
        if isinstance(self._layer, nn.Linear):
            return functional.linear(inputs, weight, bias)
        response: Tensor = self._layer._conv_forward(inputs, weight, bias)  # type: ignore[operator]
        return response


def first_affine_layer(
    model: nn.Module,
    theta: Tensor,
    places: Mapping[str, slice],
    inputs: Tensor,
    *,
    need_gain: bool = True,
) -> SharedLayer | None:
    """The layer that can be shared, or None.

    It must be a plain linear or convolution layer, the first that holds weights, called once,
    with an input that does not change when all weights and buffers do; and the outputs with
    it shared must equal those without. All of this is tried, on one batch.

    Parameters
    ----------
    model, theta, places
        A network whose tensors are views of the vector `theta`, and where each of them lies.
        `theta` is as before afterwards.
    inputs
        A batch.
    need_gain
        Whether a layer too narrow to be worth it is passed over.
    """
    calls = _calls(model, inputs)
    if not calls:
        return None
    name, layer = calls[0][0], model.get_submodule(calls[0][0])
    own = _own_tensors(name, layer, places)
    if own is None or (need_gain and _fan_in(layer) < _SMALLEST_FAN_IN):
        return None
    before = theta.clone()
    other = torch.arange(len(theta), dtype=theta.dtype, device=theta.device)
    other.sin_().mul_(0.1).add_(before)
    try:
        theta.copy_(other)
        if not _same_input(calls, _calls(model, inputs)):
            return None
        shared = SharedLayer(layer, own)
        return shared if _agrees(shared, model, theta, places, (before, other), inputs) else None
    finally:
        theta.copy_(before)


def _calls(model: nn.Module, inputs: Tensor) -> list[tuple[str, Tensor | None]]:
    """Names of the modules with tensors of their own, in the order they are called.

    With the first comes its input, if it is a lone tensor.
    """
    calls: list[tuple[str, Tensor | None]] = []

    def note(name: str, args: tuple[object, ...]) -> None:
        lone = args[0] if len(args) == 1 and not calls else None
        calls.append((name, lone.clone() if isinstance(lone, Tensor) else None))

    with contextlib.ExitStack() as hooks:
        for name, module in model.named_modules():
            if module._parameters or module._buffers:
                handle = module.register_forward_pre_hook(
                    lambda _module, args, name=name: note(name, args)
                )
                hooks.callback(handle.remove)
        model(inputs)
    return calls


def _same_input(
    calls: Sequence[tuple[str, Tensor | None]], again: Sequence[tuple[str, Tensor | None]]
) -> bool:
    """True if the first module is called once, with one tensor that depends on the data only."""
    (name, seen), (other, seen_again) = calls[0], again[0]
    once = [called for called, _ in calls].count(name) == 1
    if not once or name != other or seen is None or seen_again is None:
        return False
    return torch.equal(seen, seen_again)


def _own_tensors(
    name: str, layer: nn.Module, places: Mapping[str, slice]
) -> dict[str, slice] | None:
    """Where a plain layer's tensors lie in a point; None for any other layer."""
    changed = layer._forward_hooks or "forward" in vars(layer)
    if type(layer) not in (nn.Linear, *_CONVOLUTIONS) or changed:
        return None
    full = {
        tensor: f"{name}.{tensor}" if name else tensor for tensor, _ in layer.named_parameters()
    }
    if "weight" not in full or any(path not in places for path in full.values()):
        return None
    return {tensor: places[path] for tensor, path in full.items()}


def _fan_in(layer: nn.Module) -> int:
    """Number of inputs of one output."""
    weight = layer.get_parameter("weight")
    return math.prod(weight.shape[1:])


def _agrees(
    shared: SharedLayer,
    model: nn.Module,
    theta: Tensor,
    places: Mapping[str, slice],
    points: tuple[Tensor, Tensor],
    inputs: Tensor,
) -> bool:
    """True if sharing gives the outputs of the plain network between two points."""
    weights = (0.3, 0.7)
    combine(points, weights, theta)
    plain = model(inputs)
    for place in places.values():
        if shared.owns(place):
            theta[place] = torch.nan  # shows in the outputs if anything else reads it
    with shared.installed(points):
        try:
            shared.record(model, inputs)
            shared.put(weights)
            combined = model(inputs)
        except (AttributeError, RuntimeError, IndexError):
            return False
    tolerance = 1e-3 if theta.dtype == torch.float32 else 1e-8
    return torch.allclose(plain, combined, rtol=tolerance, atol=tolerance)
