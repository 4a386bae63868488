"""Landscape: the one question every analysis asks, and its answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from landscape.data_store.params import Array


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
        Number of examples in the split.
    """

    loss: Array
    error: Array
    loss_se: Array
    error_se: Array
    examples: int


class Landscape(Protocol):
    """A loss over flat vectors, asked at affine combinations of a few anchor points."""

    def evaluate(self, anchors: Array, coefficients: Array, *, split: str) -> Evaluation:
        """Loss and error at ``theta_k = sum_j coefficients[k, j] * anchors[j]``.

        Parameters
        ----------
        anchors
            Points (j, n).
        coefficients
            Weights of the anchors (k, j). A zero leaves its anchor out and a lone one
            gives the anchor itself, so end points are exact.
        split
            Name of the data split.
        """
        ...
