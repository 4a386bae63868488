"""Evaluator: the loss of a torch network at combinations of anchor points."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from landscape.analysis.alignment.symmetry import Permutations
from landscape.analysis.landscape import Evaluation, Examples, Landscape
from landscape.analysis.network.batches import Batch, Data, Inputs, Loss
from landscape.analysis.network.derivatives import gradient_sum, hessian_product_sums
from landscape.analysis.network.flat_network import FlatNetwork
from landscape.analysis.network.layout import layout
from landscape.analysis.network.normalisation import recompute, tracking_norms
from landscape.analysis.network.outputs import judged, output_shape, outputs
from landscape.analysis.network.probe import finite_losses, require_symmetric
from landscape.analysis.network.shared_layer import SharedLayer, first_affine_layer
from landscape.analysis.network.sweep import Sweep, numbers_in_flight
from landscape.analysis.network.tally import Rows, Sums, Tally
from landscape.data_store.errors import LandscapeError, UsageError
from landscape.data_store.params import Array
from landscape.data_store.records import Checkpoint

BN_POLICIES = ("interpolate", "recompute", "first")
_RECOMPUTE_EXAMPLES = 5_000
_PROBE_EXAMPLES, _TRIED_EXAMPLES = 256, 64


class Evaluator:
    """A `Landscape` of a network on data, exact at the anchors and fast between them.

    A point is the parameters in the order of ``named_parameters`` followed by the persistent
    floating-point buffers in the order of ``named_buffers``. The network given is copied
    and never touched. Data stay on the device. Where the first layer is affine, sees only
    the data, and is wide enough to matter, its response to a batch is computed once per
    anchor and combined by the coefficients: it is linear in the weights, so this is exact
    up to rounding.

    Nothing is fused or folded: at an anchor the numbers are, bit for bit, those of the network
    itself on batches of `batch_size` examples in this `layout`. Both are a rule of the network and
    the kind of device, so that numbers repeat.

    Held are the data, the anchors, the network and as many points between as fit in 256 MiB, or
    in a quarter of a GPU's free memory; beside them what the network itself makes of a batch. While
    a first layer to share is looked for, there are two more copies of the weights.

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
        Examples at a time; None decides by the sizes of the network's layers, as
        `landscape.analysis.network.layout` says.
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
        self._network = FlatNetwork(model, self.device)
        self.model = self._network.model
        self.loss, self.bn = loss, bn
        dtype = self._network.dtype
        self.splits = {
            name: Data(
                x.to(self.device, dtype if x.is_floating_point() else None), y.to(self.device)
            )
            for name, (x, y) in splits.items()
        }
        some = next((data.inputs[:2] for data in self.splits.values()), None)
        self._layout = layout(self.model, some, batch_size)
        self._norms = tracking_norms(self.model) if bn == "recompute" else []
        self._share = share
        self._shared: SharedLayer | None = None
        self._probed = self._symmetric = False

    @property
    def size(self) -> int:
        """Length of a point: parameters and floating-point buffers."""
        return self._network.size

    @property
    def batch_size(self) -> int:
        """Examples at a time."""
        return self._layout.batch_size

    @property
    def layout(self) -> str:
        """How batches lie in memory: ``plain``, or ``channels-last`` for convolutions."""
        return self._layout.name

    @property
    def shares_first_layer(self) -> bool:
        """True once a probe has found that the first layer can be shared."""
        return self._shared is not None

    def examples(self, split: str) -> int:
        """How many examples a split has; raises `UsageError` if there is no such split."""
        return len(self._data(split))

    def evaluate(
        self, anchors: Array, coefficients: Array, *, split: str, places: Array | None = None
    ) -> Evaluation:
        """Loss and error at ``coefficients @ anchors``; see `Landscape.evaluate`.

        Parameters
        ----------
        anchors
            Points (j, n) of the network's dtype, with n = `size`.
        coefficients
            Float (k, j).
        split
            Name of a split.
        places
            Numbers of the examples to average over; all for None.

        Cost: k passes over the split, or j through the first layer and k through the rest
        where it is shared. Sums are accumulated in float64. A point with a non-finite loss
        has NaN loss and error.
        """
        data = self._data(split).chosen(places)
        tally = Sums(len(coefficients), self.device)
        self._fill(tally, anchors, coefficients, split, data)
        return tally.evaluation(data)

    def per_example(
        self, anchors: Array, coefficients: Array, *, split: str, places: Array | None = None
    ) -> Examples:
        """Loss and error of each example at the same points, in the order of `places`.

        `evaluate` is their mean. Cost: as there; memory for 16 bytes per point and example.
        Examples without a finite loss have NaN.
        """
        data = self._data(split).chosen(places)
        tally = Rows(len(coefficients), len(data))
        self._fill(tally, anchors, coefficients, split, data)
        return tally.examples()

    @property
    def output_shape(self) -> tuple[int, ...] | None:
        """Shape of the network's answer to one example; None if it is no row of a tensor."""
        data = next(iter(self.splits.values()))
        return output_shape(self.model, self._layout.arranged(data.inputs[:2]))

    def targets(self, split: str) -> Array:
        """What is to be answered: classes (examples,) or values (examples, …)."""
        answers: Array = self._data(split).targets.cpu().numpy()
        return answers

    def outputs(self, theta: Array, *, split: str) -> Array:
        """The network's answers at a point: float64 (examples, …). Cost: one loss."""
        self._at(theta, split)
        return outputs(self.model, self._batches(self._data(split), self.batch_size))

    def judged(self, outputs: Array, *, split: str) -> Examples:
        """Loss and error of each example if the answers were `outputs` (k, examples, …)."""
        data, dtype = self._data(split), self._network.dtype
        return judged(self.loss, outputs, data, dtype, self.batch_size)

    def losses(self, point: Array, *, split: str, examples: int) -> Array:
        """Loss of each of the first `examples` of a split at one point: float64 (examples,)."""
        data = self._data(split)
        with torch.no_grad():
            self._set(self._points(point[None]), [1.0])
            parts = [
                self.loss(self.model(inputs), targets)
                for inputs, targets in self._batches(data, self.batch_size, examples)
            ]
        losses: Array = torch.cat(parts).double().cpu().numpy()
        return losses

    def gradient(self, theta: Array, *, split: str, places: Array | None = None) -> Array:
        """Gradient of the mean loss at a point: float64 (n,), 0 at the buffers.

        Exact for the network's arithmetic, accumulated over batches in float64. Normalisation
        statistics are constants: those of the point, or with bn=recompute those made there.

        Cost: about three losses. NaN throughout if the loss there is not finite.
        """
        data = self._data(split).chosen(places)
        weights = self._at(theta, split)
        sums = gradient_sum(self.model, weights, self.loss, self._graphs(data))
        mean: Array = self._network.vectors(sums, 1)[0] / len(data)
        return mean

    def hessian_product(
        self, theta: Array, vectors: Array, *, split: str, places: Array | None = None
    ) -> Array:
        """Hessian of the mean loss at a point times each of `vectors` (m, n): float64 (m, n).

        Buffers are held fixed, as in `gradient`: entries of `vectors` there are not looked at,
        and those of the answer are 0. Where the loss is only piecewise smooth (ReLU), this is
        the Hessian of the piece.

        Cost: about three losses and, for each vector, three more (ten with convolutions). NaN
        throughout if the loss there is not finite. At the first call two products with a few
        examples are tried: raises `LandscapeError` if they are of no symmetric matrix.
        """
        if vectors.ndim != 2 or vectors.shape[1] != self.size:
            raise LandscapeError(
                f"vectors of shape {vectors.shape} do not fit the network; "
                f"expected (any, {self.size})"
            )
        data = self._data(split).chosen(places)
        weights = self._at(theta, split)
        if not self._symmetric:
            few = self._data(split).chosen(np.arange(min(_TRIED_EXAMPLES, self.examples(split))))
            tried = np.random.default_rng(0).standard_normal((2, self.size))
            tried[:, sum(w.numel() for w in weights.values()) :] = 0.0
            products = self._products(weights, tried, few)
            require_symmetric(tried, products, self._network.dtype)
            self._symmetric = bool(np.isfinite(products).all())
        return self._products(weights, vectors, data)

    def _products(self, weights: Mapping[str, Tensor], vectors: Array, data: Data) -> Array:
        """Hessian products where the network is."""
        products = np.zeros(vectors.shape)
        numbers = numbers_in_flight(self.device, self._network.dtype)
        at_once = max(1, numbers // (3 * self.size))  # a vector, and its product in float64
        for start in range(0, len(vectors), at_once):
            group = slice(start, start + at_once)
            sums = hessian_product_sums(
                self.model,
                weights,
                self._network.displacements(vectors[group]),
                self.loss,
                self._graphs(data),
            )
            products[group] = self._network.vectors(sums, len(vectors[group])) / len(data)
        return products

    def aligned(self, a: Checkpoint, b: Checkpoint, how: str, seed: int) -> Checkpoint:
        """`b` with its units in the order most like that of `a`: `alignment.aligned`."""
        from landscape.analysis.alignment.aligned import aligned

        return aligned(self, a, b, how, seed)

    def repaired(self, a: Checkpoint, b: Checkpoint) -> Landscape:
        """The line from `a` to `b` with repaired statistics: `alignment.aligned`."""
        from landscape.analysis.alignment.aligned import RepairedLine

        return RepairedLine.between(self, a, b)

    def units(self) -> Permutations:
        """Which hidden units can be renumbered: `alignment.permutations`."""
        from landscape.analysis.alignment.permutations import permutations

        return permutations(self.model, self._sample())

    def on_a_path(self, kept: Array) -> Array:
        """Which kept weights are on a path from an input to an output: `network.connections`."""
        from landscape.analysis.network.connections import on_a_path

        return on_a_path(self.model, self._sample(), kept)

    def _sample(self) -> Tensor:
        """Two inputs."""
        return next(iter(self.splits.values())).inputs[:2]

    def _data(self, split: str) -> Data:
        """A split by name."""
        if split not in self.splits:
            raise UsageError(f"there is no split {split!r}; this task has {', '.join(self.splits)}")
        return self.splits[split]

    def _points(self, anchors: Array) -> list[Tensor]:
        """Anchors on the device, if they are points of this network."""
        if anchors.ndim != 2 or anchors.shape[1] != self.size:
            raise LandscapeError(
                f"anchors of shape {anchors.shape} do not fit the network; "
                f"expected (any, {self.size})"
            )
        return [self._network.point(anchor) for anchor in anchors]

    def _at(self, theta: Array, split: str) -> dict[str, Tensor]:
        """The network's weights once it is at a point."""
        points = self._points(theta[None])
        with torch.no_grad():
            if not self._probed:
                self._probe(points, self._data(split))
            self._set(points, [1.0])
        return self._network.weights

    def _batches(self, data: Data, size: int, examples: int | None = None) -> Iterator[Batch]:
        """Batches of data, laid out as the network likes them best."""
        for inputs, targets in data.batches(size, examples):
            yield self._layout.arranged(inputs), targets

    def _graphs(self, data: Data) -> Iterator[Batch]:
        """Batches of which derivatives are taken."""
        return self._batches(data, self._layout.graph_size)

    def _fill(
        self, tally: Tally, anchors: Array, coefficients: Array, split: str, data: Data
    ) -> None:
        """Losses and mistakes of all examples at all points, into a tally."""
        points = self._points(anchors)
        if coefficients.ndim != 2 or coefficients.shape[1] != len(anchors):
            raise LandscapeError(
                f"coefficients of shape {coefficients.shape} do not fit {len(anchors)} anchors; "
                f"expected (any, {len(anchors)})"
            )
        rows = coefficients.astype(np.float64).tolist()
        with torch.no_grad():
            if not self._probed:
                self._probe(points, self._data(split))
            sweep = Sweep(self._network, self.loss, self._settle, points, rows, self.bn, tally)
            shared = self._shared if len(rows) > len(points) else None
            read = not data.in_memory or (self._norms and not self._training_data().in_memory)
            if shared is None and not read:
                sweep.one_by_one(lambda: self._batches(data, self.batch_size))
            else:
                sweep.together(lambda: self._batches(data, self.batch_size), shared)

    def _set(self, points: Sequence[Tensor], row: Sequence[float]) -> None:
        """Move the network to one combination, its statistics by the policy."""
        self._network.move(points, row, buffers=self.bn)
        self._settle([lambda: None])

    def _settle(self, arrivals: Sequence[Callable[[], None]]) -> None:
        """Where statistics are recomputed, make those of the points the network is moved to."""
        if not self._norms:
            return
        data = self._training_data()
        examples = min(len(data), _RECOMPUTE_EXAMPLES)
        batches = math.ceil(examples / self._layout.statistics_size)
        size = math.ceil(examples / batches)  # no small last batch
        inputs = (inputs for inputs, _ in self._batches(data, size, examples))
        recompute(self.model, self._norms, inputs, arrivals)

    def _training_data(self) -> Data:
        """What statistics are made from."""
        if "train" not in self.splits:
            raise UsageError("bn=recompute needs a train split; this task has none")
        return self.splits["train"]

    def _probe(self, points: Sequence[Tensor], data: Data) -> None:
        """Refuse a loss that is no function of the weights; find a first layer to share.

        It is tried at the first anchor whose losses are finite: NaN would agree with all.
        """
        examples = min(len(data), _PROBE_EXAMPLES)
        size = min(examples, max(self.batch_size, 2))

        def batches(size: int) -> Iterator[Batch]:
            return self._batches(data, size, examples)

        for row in torch.eye(len(points)).tolist():
            self._set(points, row)
            if finite_losses(self.model, self.loss, batches, size, self._network.dtype):
                break
        else:
            return
        if self._share is not False and not self._norms:
            inputs, _ = next(batches(size))
            self._shared = first_affine_layer(
                self.model,
                self._network.theta,
                self._network.places,
                inputs,
                need_gain=self._share is None,
            )
        self._probed = True
