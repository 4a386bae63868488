"""Evaluator: the loss of a torch network at combinations of anchor points."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
import torch
from torch import Tensor, nn

from landscape.analysis.landscape import Evaluation
from landscape.analysis.shared_layer import SharedLayer, combine, first_affine_layer
from landscape.data_store.errors import LandscapeError, UsageError
from landscape.data_store.params import Array

Loss = Callable[[Tensor, Tensor], Tensor]


class Inputs(Protocol):
    """Inputs of a split: a tensor, or something that makes one of a slice when it is asked for."""

    def __len__(self) -> int: ...
    def __getitem__(self, places: slice, /) -> Tensor: ...
    def is_floating_point(self) -> bool:
        """Whether the numbers are floating."""
        ...

    def to(self, device: torch.device, dtype: torch.dtype | None) -> Self:
        """The same on a device, in a dtype."""
        ...


BN_POLICIES = ("interpolate", "recompute", "first")
_RECOMPUTE_EXAMPLES = 5_000
_PROBE_EXAMPLES = 256
_ALIGNMENT = 256  # bytes; sums over tensors that lie otherwise differ in their last bits
_NUMBERS_IN_FLIGHT = 2**26  # numbers of prepared points held at once: 256 MiB in float32


@dataclass(frozen=True, eq=False)
class _Data:
    """One split on the device."""

    inputs: Inputs
    targets: Tensor

    def batches(self, size: int, examples: int | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """Consecutive batches; views, nothing is copied."""
        stop = len(self.inputs) if examples is None else min(examples, len(self.inputs))
        for start in range(0, stop, size):
            end = min(start + size, stop)
            yield self.inputs[start:end], self.targets[start:end]


class Evaluator:
    """A `Landscape` of a network on data, exact at the anchors and fast between them.

    A point is the parameters in the order of ``named_parameters`` followed by the persistent
    floating-point buffers in the order of ``named_buffers``. The network given is copied
    and never touched. Data stay on the device. Where the first layer is affine, sees only
    the data, and is wide enough to matter, its response to a batch is computed once per
    anchor and combined by the coefficients: it is linear in the weights, so this is exact
    up to rounding.

    At the first call the loss is probed: two passes and two batch sizes must agree, or a
    `LandscapeError` says that the loss is noisy. A noisy loss looks like a barrier.

    Parameters
    ----------
    model
        Any module whose forward takes a batch of inputs.
    splits
        Inputs (examples, …) and targets (examples, …) by split name.
    loss
        Per-example loss, (outputs, targets) -> (examples,).
    device
        Where to compute.
    bn
        What happens to buffers between anchors: ``interpolate`` them like weights,
        ``recompute`` normalisation statistics at each point from the first 5 000 training
        examples, or take those of the ``first`` anchor.
    batch_size
        Examples at a time; 2 000, or 250 for networks with convolutions.
    share
        False never shares the first layer; None decides as described.
    """

    def __init__(
        self,
        model: nn.Module,
        splits: Mapping[str, tuple[Inputs, Tensor]],
        loss: Loss,
        *,
        device: str | torch.device = "cpu",
        bn: str = "interpolate",
        batch_size: int | None = None,
        share: bool | None = None,
    ) -> None:
        if bn not in BN_POLICIES:
            raise UsageError(f"bn is {bn!r}; use one of {', '.join(BN_POLICIES)}")
        self.device = torch.device(device)
        self.model = _copied(model).to(self.device).eval()
        self.loss, self.bn = loss, bn
        self._place_in_one_vector()
        dtype = self._theta.dtype
        self.splits = {
            name: _Data(
                x.to(self.device, dtype if x.is_floating_point() else None), y.to(self.device)
            )
            for name, (x, y) in splits.items()
        }
        layers = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
        convolutional = any(isinstance(module, layers) for module in self.model.modules())
        self.batch_size = batch_size or (250 if convolutional else 2_000)
        self._norms = [m for m in self.model.modules() if isinstance(m, _NORMS)]
        self._share = share
        self._shared: SharedLayer | None = None
        self._probed = False

    @property
    def size(self) -> int:
        """Length of a point: parameters and floating-point buffers."""
        return sum(tensor.numel() for tensor in self._tensors.values())

    @property
    def shares_first_layer(self) -> bool:
        """True once a probe has found that the first layer can be shared."""
        return self._shared is not None

    def evaluate(self, anchors: Array, coefficients: Array, *, split: str) -> Evaluation:
        """Loss and error at ``coefficients @ anchors``; see `Landscape.evaluate`.

        Parameters
        ----------
        anchors
            Points (j, n) of the network's dtype, with n = `size`.
        coefficients
            Float (k, j).
        split
            Name of a split.

        Cost: k passes over the split, or j through the first layer and k through the rest
        where it is shared. Sums are accumulated in float64. A point with a non-finite loss
        has NaN loss and error.
        """
        if split not in self.splits:
            raise UsageError(f"there is no split {split!r}; this task has {', '.join(self.splits)}")
        if anchors.ndim != 2 or anchors.shape[1] != self.size:
            raise LandscapeError(
                f"anchors of shape {anchors.shape} do not fit the network; "
                f"expected (any, {self.size})"
            )
        if coefficients.ndim != 2 or coefficients.shape[1] != len(anchors):
            raise LandscapeError(
                f"coefficients of shape {coefficients.shape} do not fit {len(anchors)} anchors; "
                f"expected (any, {len(anchors)})"
            )
        points = [self._to_device(anchor) for anchor in anchors]
        weights = coefficients.astype(np.float64).tolist()
        data = self.splits[split]
        with torch.inference_mode():
            if not self._probed:
                self._probe(points, data)
            sums = self._sums(points, weights, data)
        return _summary(sums, len(data.inputs), data.targets.is_floating_point())

    def losses(self, point: Array, *, split: str, examples: int) -> Array:
        """Loss of each of the first `examples` of a split at one point: float64 (examples,)."""
        with torch.inference_mode():
            self._set([self._to_device(point)], [1.0])
            parts = [
                self.loss(self.model(inputs), targets)
                for inputs, targets in self.splits[split].batches(self.batch_size, examples)
            ]
        losses: Array = torch.cat(parts).double().cpu().numpy()
        return losses

    def _sums(
        self, points: Sequence[Tensor], weights: Sequence[Sequence[float]], data: _Data
    ) -> Array:
        """Sum of losses, of their squares and of errors at each point: float64 (k, 3)."""
        if self._shared is None or len(weights) <= len(points):
            return np.array([self._direct(points, row, data) for row in weights]).reshape(-1, 3)
        rest = sum(tensor.numel() for tensor in self._rest())
        at_once = max(1, _NUMBERS_IN_FLIGHT // max(rest, 1))
        groups = [weights[i : i + at_once] for i in range(0, len(weights), at_once)]
        return np.concatenate([self._together(points, group, data) for group in groups])

    def _direct(self, points: Sequence[Tensor], row: Sequence[float], data: _Data) -> Array:
        """One point, batch after batch."""
        self._set(points, row)
        sums = torch.zeros(3, dtype=torch.float64, device=self.device)
        for inputs, targets in data.batches(self.batch_size):
            sums += self._batch(self.model(inputs), targets)
        totals: Array = sums.cpu().numpy()
        return totals

    def _together(
        self, points: Sequence[Tensor], weights: Sequence[Sequence[float]], data: _Data
    ) -> Array:
        """All points on each batch, the first layer's response computed once per anchor."""
        assert self._shared is not None
        rest = self._rest()
        prepared = []
        for row in weights:
            self._set(points, row)
            prepared.append([tensor.detach().clone() for tensor in rest])
        own = [tensor.data for tensor in rest]
        sums = torch.zeros((len(weights), 3), dtype=torch.float64, device=self.device)
        try:
            with self._shared.installed(points):
                for inputs, targets in data.batches(self.batch_size):
                    self._shared.record(self.model, inputs)
                    for k, row in enumerate(weights):
                        _exchange(rest, prepared[k])
                        self._shared.put(row)
                        sums[k] += self._batch(self.model(inputs), targets)
        finally:
            _exchange(rest, own)
        totals: Array = sums.cpu().numpy()
        return totals

    def _rest(self) -> list[Tensor]:
        """The network's tensors that are not the shared layer's."""
        assert self._shared is not None
        return [t for name, t in self._tensors.items() if not self._shared.owns(self._places[name])]

    def _batch(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Sum of losses, of their squares, and of errors over one batch."""
        losses = self.loss(outputs, targets).double()
        if targets.is_floating_point():
            wrong = torch.zeros((), dtype=torch.float64, device=self.device)
        else:
            wrong = (outputs.argmax(1) != targets).sum().double()
        return torch.stack([losses.sum(), losses.dot(losses), wrong])

    def _set(self, points: Sequence[Tensor], row: Sequence[float]) -> None:
        """Move the network to one combination; zeros are left out, so anchors are exact."""
        combine(points, row, self._theta)
        if self.bn == "first":
            start = self._buffer_start
            self._theta[start:].copy_(points[0][start:])
        elif self.bn == "recompute" and self._norms:
            self._recompute()

    def _recompute(self) -> None:
        """Normalisation statistics of the point the network is at, from training data."""
        if "train" not in self.splits:
            raise UsageError("bn=recompute needs a train split; this task has none")
        for module in self._norms:
            module.reset_running_stats()
            module.momentum = None
            module.train()
        data = self.splits["train"]
        examples = min(len(data.inputs), _RECOMPUTE_EXAMPLES)
        size = math.ceil(examples / math.ceil(examples / self.batch_size))  # no small last batch
        for inputs, _ in data.batches(size, examples):
            self.model(inputs)
        self.model.eval()

    def _probe(self, points: Sequence[Tensor], data: _Data) -> None:
        """Refuse a loss that is no function of the weights; find a first layer to share.

        It is tried at the first anchor whose losses are finite: NaN would agree with all.
        """
        lone = torch.eye(len(points)).tolist()
        if not any(self._sound(points, row, data) for row in lone):
            return
        if self._share is not False and not (self.bn == "recompute" and self._norms):
            batch = next(data.batches(_PROBE_EXAMPLES))
            self._shared = first_affine_layer(
                self.model, self._theta, self._places, batch[0], need_gain=self._share is None
            )
        self._probed = True

    def _sound(self, points: Sequence[Tensor], row: Sequence[float], data: _Data) -> bool:
        """Whether all losses at one anchor are finite; raises if they are noisy."""
        passes, half = [], math.ceil(min(len(data.inputs), _PROBE_EXAMPLES) / 2)
        for size in (_PROBE_EXAMPLES, _PROBE_EXAMPLES, half):
            self._set(points, row)
            parts = []
            for inputs, targets in data.batches(size, _PROBE_EXAMPLES):
                parts.append(self.loss(self.model(inputs), targets))
                if parts[-1].shape != targets.shape[:1]:
                    raise UsageError(
                        f"the loss returned shape {tuple(parts[-1].shape)} for a batch of "
                        f"{len(targets)}; it must return one number per example"
                    )
            passes.append(torch.cat(parts).double())
        tolerance = 1e-4 if self._theta.dtype == torch.float32 else 1e-8
        for other, what in ((passes[1], "two passes"), (passes[2], "two batch sizes")):
            if not torch.allclose(passes[0], other, rtol=tolerance, atol=tolerance, equal_nan=True):
                raise LandscapeError(
                    f"the loss is noisy: {what} over the same {len(other)} examples gave "
                    f"{passes[0].mean().item():.6g} and {other.mean().item():.6g}; the network "
                    "must be deterministic and treat examples independently in evaluation mode"
                )
        return bool(torch.isfinite(passes[0]).all())

    def _place_in_one_vector(self) -> None:
        """Make every parameter and persistent floating-point buffer a view of one vector.

        Each starts at a multiple of `_ALIGNMENT` there, as it does where it is moved to.
        """
        parameters = dict(self.model.named_parameters())
        kept = self.model.state_dict().keys()
        buffers = {n: b for n, b in self.model.named_buffers() if n in kept}
        moving = {n: b for n, b in buffers.items() if b.is_floating_point()}
        self._tensors: dict[str, Tensor] = {**parameters, **moving}
        dtype = next(iter(parameters.values())).dtype
        step = _ALIGNMENT // dtype.itemsize
        widths = [math.ceil(t.numel() / step) * step for t in self._tensors.values()]
        starts = [0, *itertools.accumulate(widths)]
        self._buffer_start = starts[len(parameters)]
        self._theta = torch.zeros(starts[-1], dtype=dtype, device=self.device)
        self._places: dict[str, slice] = {}
        for (name, tensor), start in zip(self._tensors.items(), starts, strict=False):
            place = slice(start, start + tensor.numel())
            self._theta[place] = tensor.detach().reshape(-1).to(dtype)
            tensor.requires_grad_(False)
            tensor.data = self._theta[place].view(tensor.shape)
            self._places[name] = place

    def _to_device(self, anchor: Array) -> Tensor:
        """An anchor as a tensor of the network's dtype, its parts at their places."""
        flat = torch.from_numpy(np.ascontiguousarray(anchor)).to(self.device, self._theta.dtype)
        point, start = torch.zeros_like(self._theta), 0
        for place in self._places.values():
            stop = start + place.stop - place.start
            point[place], start = flat[start:stop], stop
        return point


_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def _copied(model: nn.Module) -> nn.Module:
    """A copy; tensors that a hook computed, as torch's pruning does, are cut from their graph."""
    values = (value for module in model.modules() for value in vars(module).values())
    computed = (v for v in values if isinstance(v, Tensor) and not v.is_leaf)
    return copy.deepcopy(model, {id(v): v.detach().clone() for v in computed})


def _exchange(tensors: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    """Give each tensor other memory: cheaper than copying between processor caches."""
    for tensor, value in zip(tensors, values, strict=True):
        tensor.data = value


def _summary(sums: Array, examples: int, regression: bool) -> Evaluation:
    """Means and standard errors from the sums (k, 3)."""
    loss = sums[:, 0] / examples
    finite = np.isfinite(loss)
    spread = np.maximum(sums[:, 1] - examples * np.where(finite, loss, 0.0) ** 2, 0.0)
    error = np.where(finite & (not regression), sums[:, 2] / examples, np.nan)
    freedom = examples - 1 if examples > 1 else math.nan
    return Evaluation(
        loss=np.where(finite, loss, np.nan),
        error=error,
        loss_se=np.where(finite, np.sqrt(spread / freedom / examples), np.nan),
        error_se=np.sqrt(error * (1.0 - error) / freedom),
        examples=examples,
    )
