"""REPAIR: the BatchNorm layers of an averaged network given the statistics of its endpoints.

Between two networks activations vary less than in either, ever less from layer to layer. REPAIR
rescales and shifts each channel so that its mean and standard deviation are those between the
endpoints'.

>>> model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
>>> batches = [torch.tensor([[0.0, 1.0], [2.0, 0.0], [1.0, 1.0]])]
>>> own = channel_statistics(model, batches)
>>> repair(model, own, own, 0.5, batches)
{}
>>> bool(torch.allclose(channel_statistics(model, batches)["1"].std, own["1"].std))
True
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from landscape.data_store.errors import LandscapeError, UsageError

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_CONSTANT = 1e-6  # a standard deviation below this share of the mean is rounding of float32


@dataclass(frozen=True, eq=False)
class ChannelStatistics:
    """Mean and standard deviation of each channel over examples and pixels: float64 (channels,)."""

    mean: Tensor
    std: Tensor


def channel_statistics(model: nn.Module, batches: Sequence[Tensor]) -> dict[str, ChannelStatistics]:
    """Mean and standard deviation of what each BatchNorm layer returns, in evaluation mode.

    Parameters
    ----------
    model
        A network with BatchNorm; it is not changed.
    batches
        Batches of inputs, as many and as large as wanted; all count by their examples.

    Returns
    -------
    dict
        By name of the layer, in the order in which the layers are called. The standard deviation
        is that of the given data (divided by their number).

    Raises
    ------
    UsageError
        If the network has no BatchNorm layer that is called, or one that has no scale and shift
        or no running statistics, or is called more than once.
    LandscapeError
        If there is no batch, or an activation is not finite.

    Notes
    -----
    One forward pass. Moments are accumulated in float64, batch by batch.
    """
    norms = _norms(model, batches)
    moments = {name: _Moments() for name in norms}
    with _evaluating(model), contextlib.ExitStack() as hooks:
        for name, norm in norms.items():
            hooks.callback(norm.register_forward_hook(_noting(moments[name], output=True)).remove)
        for batch in batches:
            model(batch)
    return {name: moment.statistics(name) for name, moment in moments.items()}


def repair(
    model: nn.Module,
    a: Mapping[str, ChannelStatistics],
    b: Mapping[str, ChannelStatistics],
    alpha: float,
    batches: Sequence[Tensor],
) -> dict[str, int]:
    """Give the BatchNorm layers of a network between two others the statistics between theirs.

    After it, on these batches and in evaluation mode, the output of every BatchNorm layer has in
    each channel

        mean = (1 - alpha) mean_a + alpha mean_b,    std = (1 - alpha) std_a + alpha std_b.

    Layers are set in the order in which they are called, each by the inputs that it gets once
    all earlier ones are set. Where a channel's inputs have mean m and variance v, its running
    statistics become m and v (that is ``bn=recompute``), its scale becomes
    ``sign(scale) · std · sqrt((v + eps) / v)`` and its shift becomes ``mean``. Nothing else is
    changed. At alpha 0 and 1 the network computes what the endpoint does, up to rounding.

    If running statistics of the endpoints are exact, their outputs have mean ``shift`` and standard
    deviation ``|scale|``, and this is ``bn=recompute`` wherever the endpoints' scales agree in
    sign; in general it is not.

    Parameters
    ----------
    model
        The network at ``(1 - alpha) · a + alpha · b``, changed in place: give a copy.
    a, b
        `channel_statistics` of the endpoints on the same batches; of b after its units have been
        aligned to a's.
    alpha
        Where the network lies, in [0, 1].
    batches
        Batches of inputs. They are run through once per layer.

    Returns
    -------
    dict
        By name of the layer, in how many channels the standard deviation could not be set, because
        the channel is constant (at most 1e-6 of its mean) where the endpoints' is not. Such
        a channel gets its mean, by its shift alone. Layers without any are left out.

    Raises
    ------
    UsageError
        As `channel_statistics`; or if alpha is outside [0, 1].
    LandscapeError
        As `channel_statistics`; or if the statistics are of other layers.

    Notes
    -----
    As many passes as there are layers, each up to its layer: half of that in all. Jordan et al.
    (2023), section 3, for networks that have normalisation layers.
    """
    if not 0.0 <= alpha <= 1.0:
        raise UsageError(f"alpha is {alpha}; REPAIR is for networks between two others, 0 to 1")
    norms = _norms(model, batches)
    for statistics in (a, b):
        if list(statistics) != list(norms):
            raise LandscapeError(
                f"statistics are of the layers {', '.join(statistics) or 'none'}; "
                f"this network has {', '.join(norms)}"
            )
    unset = {}
    for name, norm in norms.items():
        mean = (1.0 - alpha) * a[name].mean + alpha * b[name].mean
        std = (1.0 - alpha) * a[name].std + alpha * b[name].std
        unset[name] = _set(norm, _inputs(model, norm, batches).statistics(name), mean, std)
    return {name: count for name, count in unset.items() if count}


def _set(norm: Any, inputs: ChannelStatistics, mean: Tensor, std: Tensor) -> int:
    """Give one layer's output a mean and standard deviation; in how many channels it cannot."""
    scale, shift = norm.weight.detach().double(), norm.bias.detach().double()
    variance = inputs.std.square()
    constant = (inputs.std <= _CONSTANT * inputs.mean.abs()) | (scale == 0)
    slope = scale / torch.sqrt(norm.running_var.double() + norm.eps)
    output = slope * (inputs.mean - norm.running_mean.double()) + shift
    gain = torch.sqrt((variance + norm.eps) / torch.where(constant, 1.0, variance))
    with torch.no_grad():
        norm.weight.copy_(torch.where(constant, scale, scale.sign() * std * gain))
        norm.bias.copy_(torch.where(constant, shift + mean - output, mean))
        norm.running_mean.copy_(torch.where(constant, norm.running_mean.double(), inputs.mean))
        norm.running_var.copy_(torch.where(constant, norm.running_var.double(), variance))
    return int((constant & (std > _CONSTANT * mean.abs())).sum())


class _Moments:
    """Mean and centred second moment of channels, batch by batch (Chan et al. 1983)."""

    def __init__(self) -> None:
        self.count = 0
        self.mean = self.square = torch.zeros(1, dtype=torch.float64)

    def add(self, value: Tensor) -> None:
        """Merge an activation (examples, channels, …)."""
        value = value.detach().double().transpose(0, 1).flatten(1)
        own = value.mean(1)
        square = (value - own[:, None]).square().sum(1)
        total = self.count + value.shape[1]
        step = own - self.mean.to(own.device)
        weight = self.count * value.shape[1] / total
        self.square = self.square.to(own.device) + square + weight * step.square()
        self.mean = self.mean.to(own.device) + step * (value.shape[1] / total)
        self.count = total

    def statistics(self, name: str) -> ChannelStatistics:
        """What was seen; raises `LandscapeError` if it is not finite."""
        if not bool(torch.isfinite(self.square).all()):
            raise LandscapeError(f"an activation at {name!r} is not finite; it has no statistics")
        return ChannelStatistics(self.mean, torch.sqrt(self.square / self.count))


class _ReachedError(Exception):
    """Leaves the forward pass once a layer's input is known."""


def _noting(moments: _Moments, *, output: bool) -> Callable[..., None]:
    """A hook that merges a layer's output, or its input and then leaves."""

    def note(_module: nn.Module, inputs: tuple[Tensor, ...], result: Tensor | None = None) -> None:
        if output and result is not None:
            moments.add(result)
        else:
            moments.add(inputs[0])
            raise _ReachedError

    return note


def _inputs(model: nn.Module, norm: nn.Module, batches: Sequence[Tensor]) -> _Moments:
    """Moments of what one layer gets."""
    moments = _Moments()
    with _evaluating(model), contextlib.ExitStack() as hooks:
        hooks.callback(norm.register_forward_pre_hook(_noting(moments, output=False)).remove)
        for batch in batches:
            with contextlib.suppress(_ReachedError):
                model(batch)
    return moments


def _norms(model: nn.Module, batches: Sequence[Tensor]) -> dict[str, nn.Module]:
    """The BatchNorm layers by name in the order of their calls; raises unless all can be set."""
    if not len(batches):
        raise LandscapeError("REPAIR measures activations, but there is no batch of inputs")
    norms = {name: m for name, m in model.named_modules() if isinstance(m, _NORMS)}
    for name, norm in norms.items():
        if not norm.affine or norm.running_mean is None:
            raise UsageError(
                f"the layer {name!r} has no scale and shift, or no running statistics; "
                "REPAIR sets both"
            )
    calls: list[str] = []
    with _evaluating(model), contextlib.ExitStack() as hooks:
        for name, norm in norms.items():
            note = norm.register_forward_pre_hook(lambda *_, name=name: calls.append(name))
            hooks.callback(note.remove)
        model(batches[0][:1])
    for name in calls:
        if calls.count(name) > 1:
            raise UsageError(
                f"the layer {name!r} is called {calls.count(name)} times; "
                "REPAIR needs BatchNorm layers that are called once"
            )
    if not calls:
        raise UsageError(
            f"{type(model).__name__} has no BatchNorm layer; REPAIR here is for networks that do"
        )
    return {name: norms[name] for name in calls}


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients while the context lasts; modes are put back."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, training in modes.items():
            module.training = training
