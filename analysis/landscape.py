"""Landscape: what every analysis asks of a loss, and the answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from landscape.analysis.alignment.symmetry import Permutations
from landscape.data_store.params import Array
from landscape.data_store.records import Checkpoint


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Mean loss and error at k points over a split.

    Parameters
    ----------
    loss, error
        Float64 (k,), in nats per example and as a fraction; error is NaN where it is not
        defined or the loss is not finite.
    loss_se, error_se
        Standard errors of these means over the examples, (k,).
    examples
        Number of examples in the split, or of those asked for.
    """

    loss: Array
    error: Array
    loss_se: Array
    error_se: Array
    examples: int


@dataclass(frozen=True, eq=False)
class Examples:
    """Loss and error of each example at k points.

    Parameters
    ----------
    loss
        Float64 (k, m), in nats.
    error
        Float64 (k, m): 1 where the answer is wrong, else 0; NaN where that is not defined.
    """

    loss: Array
    error: Array


class Landscape(Protocol):
    """A loss over flat vectors, asked at affine combinations of a few anchor points.

    A point is the weights followed by the floating-point buffers (BatchNorm statistics): n
    numbers in all. `places` chooses examples of a split by their numbers (m,), all if None.
    """

    def examples(self, split: str) -> int:
        """How many examples a split has; raises `UsageError` if there is no such split."""
        ...

    def evaluate(
        self, anchors: Array, coefficients: Array, *, split: str, places: Array | None = None
    ) -> Evaluation:
        """Mean loss and error at ``theta_k = sum_j coefficients[k, j] * anchors[j]``.

        Parameters
        ----------
        anchors
            Points (j, n).
        coefficients
            Weights of the anchors (k, j). A zero leaves its anchor out and a lone one
            gives the anchor itself, so end points are exact.
        split
            Name of the data split.
        places
            Numbers of the examples to average over.
        """
        ...

    def per_example(
        self, anchors: Array, coefficients: Array, *, split: str, places: Array | None = None
    ) -> Examples:
        """Loss and error of each example at the same points; `evaluate` is their mean."""
        ...

    def gradient(self, theta: Array, *, split: str, places: Array | None = None) -> Array:
        """Gradient of the mean loss at a point: (n,), 0 at the buffers."""
        ...

    def hessian_product(
        self, theta: Array, vectors: Array, *, split: str, places: Array | None = None
    ) -> Array:
        """Hessian of the mean loss at a point times each of `vectors` (m, n): (m, n).

        Buffers are held fixed: entries of `vectors` there are not looked at, and those of the
        answer are 0.
        """
        ...


@runtime_checkable
class Alignable(Protocol):
    """A landscape of a network whose hidden units can be put in another order."""

    def aligned(self, a: Checkpoint, b: Checkpoint, how: str, seed: int) -> Checkpoint:
        """`b` with its units (weights, mask and buffers) in the order that is most like `a`.

        The same function. `how` is ``weights`` or ``activations``: what is compared.
        """
        ...


@runtime_checkable
class Repairable(Protocol):
    """A landscape of a network whose units' statistics can be set between two networks."""

    def repaired(self, a: Checkpoint, b: Checkpoint) -> Landscape:
        """This landscape, but at ``(1 - alpha) a + alpha b`` every unit's mean and deviation over
        the training data are interpolated between those it has at the ends.

        Anchors are those of `a` and `b`, in this order. REPAIR: Jordan et al. (2023).
        """
        ...


@runtime_checkable
class Rescalable(Protocol):
    """A landscape of a network whose answers can be taken, changed, and judged by the task."""

    @property
    def output_shape(self) -> tuple[int, ...] | None:
        """Shape of the answer to one example; None if it is no row of a tensor."""
        ...

    def targets(self, split: str) -> Array:
        """What is to be answered: classes, integer (examples,), or float values (examples, …)."""
        ...

    def outputs(self, theta: Array, *, split: str) -> Array:
        """The network's answers at a point: float64 (examples, …)."""
        ...

    def judged(self, outputs: Array, *, split: str) -> Examples:
        """Loss and error of each example if the answers were `outputs` (k, examples, …)."""
        ...


@runtime_checkable
class Wired(Protocol):
    """A landscape of a network whose wiring is known: its hidden units, and its paths."""

    def units(self) -> Permutations:
        """Which hidden units can be renumbered without changing the function."""
        ...

    def on_a_path(self, kept: Array) -> Array:
        """Which of the weights that are kept (n,) are on a path from an input to an output.

        The path goes through kept weights only; biases are on none. Boolean (n,).
        """
        ...
