"""Landscapes with closed forms, and checkpoints on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from landscape.analysis.landscape import Evaluation, Examples
from landscape.data_store.mask import Mask
from landscape.data_store.params import Array, ParamSpec
from landscape.data_store.records import Checkpoint


@dataclass(frozen=True)
class ClosedForm:
    """A `Landscape` whose loss is a formula over points, and whose error is another.

    Parameters
    ----------
    loss, error
        Functions of points (k, n) to values (k,).
    """

    loss: Callable[[Array], Array]
    error: Callable[[Array], Array] = lambda theta: np.full(len(theta), np.nan)

    def examples(self, split: str) -> int:
        """One example, the formula."""
        return 1

    def evaluate(
        self, anchors: Array, coefficients: Array, *, split: str, places: Array | None = None
    ) -> Evaluation:
        """The formula at ``coefficients @ anchors``."""
        theta = coefficients @ anchors
        zeros = np.zeros(len(theta))
        return Evaluation(self.loss(theta), self.error(theta), zeros, zeros, examples=1)

    def per_example(
        self, anchors: Array, coefficients: Array, *, split: str, places: Array | None = None
    ) -> Examples:
        """The same, of its one example."""
        answer = self.evaluate(anchors, coefficients, split=split)
        return Examples(answer.loss[:, None], answer.error[:, None])

    def gradient(self, theta: Array, *, split: str, places: Array | None = None) -> Array:
        """Central differences of the formula, exact for quadratics up to rounding."""
        steps = np.eye(len(theta)) * 1e-4
        return (self.loss(theta + steps) - self.loss(theta - steps)) / 2e-4

    def hessian_product(
        self, theta: Array, vectors: Array, *, split: str, places: Array | None = None
    ) -> Array:
        """Central differences of the gradient."""
        rows = [
            (
                self.gradient(theta + 1e-3 * v, split=split)
                - self.gradient(theta - 1e-3 * v, split=split)
            )
            / 2e-3
            for v in vectors
        ]
        return np.array(rows)


def quadratic(eigenvalues: Array) -> ClosedForm:
    """``½ Σ λ θ²``: convex, so no line has a hump."""
    return ClosedForm(lambda theta: 0.5 * (theta**2 * eigenvalues).sum(axis=1))


def double_well(height: float) -> ClosedForm:
    """``height (x² − 1)²`` in the first coordinate: minima at ±1, a hump of `height` at 0."""
    return ClosedForm(lambda theta: height * (theta[:, 0] ** 2 - 1) ** 2)


def at(*coordinates: float, address: str = "point") -> Checkpoint:
    """A dense checkpoint at a point."""
    theta = np.array(coordinates, dtype=np.float64)
    spec = ParamSpec(("w",), ((1, len(theta)),), "float64")
    return Checkpoint(spec, theta, Mask.dense(spec, ("w",)), address=address)
