"""Networks between two that are made alike first: units renumbered, statistics repaired."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor, nn

from landscape.analysis.alignment.align import activation_matching, weight_matching
from landscape.analysis.alignment.correlations import correlations
from landscape.analysis.alignment.permutations import permutations
from landscape.analysis.alignment.repair import ChannelStatistics, channel_statistics, repair
from landscape.analysis.alignment.symmetry import permuted, permuted_vector
from landscape.analysis.landscape import Evaluation, Examples
from landscape.analysis.network.flat_network import FlatNetwork
from landscape.data_store.errors import LandscapeError, UsageError
from landscape.data_store.mask import Mask
from landscape.data_store.params import Array
from landscape.data_store.records import Checkpoint

if TYPE_CHECKING:
    from landscape.analysis.network.evaluator import Evaluator

_EXAMPLES = 2_000  # of the train split, whose activations are compared or repaired


def aligned(evaluator: Evaluator, a: Checkpoint, b: Checkpoint, how: str, seed: int) -> Checkpoint:
    """`b` with its hidden units, mask and buffers in the order that is most like `a`.

    Parameters
    ----------
    how
        ``weights``: weight matching (Ainsworth et al. 2023, algorithm 1); ``activations``: the
        correlations of the units over the first 2 000 training examples.
    seed
        Of the order in which weight matching visits the layers.

    The same function up to rounding. Raises `UsageError` for a network whose units cannot be
    found by tracing it, `LandscapeError` if weight matching does not come to rest.
    """
    inputs = batches(evaluator)
    structure = permutations(evaluator.model, inputs[0][:2])
    if how == "activations":
        first, second = (_network(evaluator, c.point) for c in (a, b))
        orders = activation_matching(correlations(first, second, structure, inputs))
    else:
        found = weight_matching(
            structure, a.spec.unflatten(a.theta), b.spec.unflatten(b.theta), seed=seed
        )
        if not found.converged:
            raise LandscapeError(
                f"weight matching of {a.address} and {b.address} did not come to rest; take "
                "--align activations"
            )
        orders = found.orders
    kept = permuted_vector(structure, b.spec, b.mask.kept, orders)
    return replace(
        b,
        theta=permuted_vector(structure, b.spec, b.theta, orders),
        mask=Mask(b.spec, b.mask.prunable, kept),
        buffers=permuted(structure, b.buffers, orders),
        trace=None,
    )


def batches(evaluator: Evaluator) -> list[Tensor]:
    """The first training inputs, on the device; raises `UsageError` without a train split."""
    if "train" not in evaluator.splits:
        raise UsageError("units are compared on the train split; this task has none")
    data = evaluator.splits["train"]
    return [inputs for inputs, _ in data.batches(evaluator.batch_size, _EXAMPLES)]


def _network(evaluator: Evaluator, point: Array) -> nn.Module:
    """An own copy of the network at a point."""
    network = FlatNetwork(evaluator.model, evaluator.device)
    network.move([network.point(point)], [1.0], buffers="interpolate")
    return network.model


@dataclass(frozen=True, eq=False)
class RepairedLine:
    """A `Landscape` on the line between two points, where networks between them are repaired.

    At ``(1 - alpha) a + alpha b`` the normalisation layers are given the statistics between
    those of the ends, as `landscape.analysis.alignment.repair` says; the ends are as they were.

    Parameters
    ----------
    evaluator
        The landscape without repair.
    ends
        The points a and b (2, n), the anchors of every question.
    statistics
        Of their channels.
    inputs
        Batches of training inputs.
    """

    evaluator: Evaluator
    ends: Array
    statistics: tuple[dict[str, ChannelStatistics], dict[str, ChannelStatistics]]
    inputs: Sequence[Tensor]

    @classmethod
    def between(cls, evaluator: Evaluator, a: Checkpoint, b: Checkpoint) -> RepairedLine:
        """The line from `a` to `b`.

        Raises `UsageError` for a network without normalisation layers, or if statistics are also
        recomputed or taken from the first end.
        """
        if evaluator.bn != "interpolate":
            raise UsageError(
                f"repair sets the statistics that bn={evaluator.bn} sets too; use bn=interpolate "
                "with it"
            )
        ends, inputs = np.stack([a.point, b.point]), batches(evaluator)
        first, second = (channel_statistics(_network(evaluator, point), inputs) for point in ends)
        return cls(evaluator, ends, (first, second), inputs)

    def examples(self, split: str) -> int:
        """As `Evaluator.examples`."""
        return self.evaluator.examples(split)

    def evaluate(
        self, anchors: Array, coefficients: Array, *, split: str, places: Array | None = None
    ) -> Evaluation:
        """As `Evaluator.evaluate`, at the repaired points."""
        points, rows = self._points(anchors, coefficients)
        return self.evaluator.evaluate(points, rows, split=split, places=places)

    def per_example(
        self, anchors: Array, coefficients: Array, *, split: str, places: Array | None = None
    ) -> Examples:
        """As `Evaluator.per_example`, at the repaired points."""
        points, rows = self._points(anchors, coefficients)
        return self.evaluator.per_example(points, rows, split=split, places=places)

    def gradient(self, theta: Array, *, split: str, places: Array | None = None) -> Array:
        """As `Evaluator.gradient`, without repair."""
        return self.evaluator.gradient(theta, split=split, places=places)

    def hessian_product(
        self, theta: Array, vectors: Array, *, split: str, places: Array | None = None
    ) -> Array:
        """As `Evaluator.hessian_product`, without repair."""
        return self.evaluator.hessian_product(theta, vectors, split=split, places=places)

    def _points(self, anchors: Array, coefficients: Array) -> tuple[Array, Array]:
        """The repaired points (k, n), and rows that take each of them."""
        same = np.array_equal(anchors, self.ends)
        if not same and not np.array_equal(anchors[::-1], self.ends):
            raise LandscapeError(
                "a repaired line was asked about other points than its ends; repair those first"
            )
        alphas = coefficients[:, 1] if same else coefficients[:, 0]
        points = np.stack([self._repaired(float(alpha)) for alpha in alphas])
        return points, np.eye(len(points))

    def _repaired(self, alpha: float) -> Array:
        """The point at one position."""
        if alpha in (0.0, 1.0):
            end: Array = self.ends[int(alpha)]
            return end
        network = FlatNetwork(self.evaluator.model, self.evaluator.device)
        places = [network.point(end) for end in self.ends]
        network.move(places, [1.0 - alpha, alpha], buffers="interpolate")
        repair(network.model, *self.statistics, alpha, self.inputs)
        point: Array = np.concatenate(
            [t.detach().reshape(-1).cpu().numpy() for t in network.tensors.values()]
        )
        return point
