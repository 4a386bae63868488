"""Quadratic landscapes with a given Hessian, and matrices with a given spectrum."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from landscape.analysis.landscape import Evaluation, Examples
from landscape.data_store.mask import Mask
from landscape.data_store.params import Array, ParamSpec
from landscape.data_store.records import Checkpoint


@dataclass(frozen=True, eq=False)
class Bowls:
    """A `Landscape` of quadratics ``½ θᵀ H_e θ``, one per example e; exact, and it counts.

    Parameters
    ----------
    hessians
        One matrix (n, n) or diagonal (n,) for each example: (e, n, n) or (e, n).
    asked
        The `places` of each Hessian product, and how many vectors it had.
    """

    hessians: Array
    asked: list[tuple[Array | None, int]] = field(default_factory=list)

    def examples(self, split: str) -> int:
        """One for each matrix."""
        return len(self.hessians)

    def mean(self, places: Array | None) -> Array:
        """The Hessian over the chosen examples."""
        chosen = self.hessians if places is None else self.hessians[places]
        return chosen.mean(axis=0)

    def evaluate(
        self, anchors: Array, coefficients: Array, *, split: str, places: Array | None = None
    ) -> Evaluation:
        raise AssertionError("curvature asks for no loss")

    def per_example(
        self, anchors: Array, coefficients: Array, *, split: str, places: Array | None = None
    ) -> Examples:
        raise AssertionError("curvature asks for no loss")

    def gradient(self, theta: Array, *, split: str, places: Array | None = None) -> Array:
        return self.hessian_product(theta, theta[None], split=split, places=places)[0]

    def hessian_product(
        self, theta: Array, vectors: Array, *, split: str, places: Array | None = None
    ) -> Array:
        self.asked.append((places, len(vectors)))
        matrix = self.mean(places)
        return vectors * matrix if matrix.ndim == 1 else vectors @ matrix


@dataclass(frozen=True, eq=False)
class Matrix:
    """A symmetric matrix (d, d), or a diagonal (d,), known by its products."""

    values: Array

    @property
    def dims(self) -> int:
        return len(self.values)

    def product(self, vectors: Array) -> Array:
        return vectors * self.values if self.values.ndim == 1 else vectors @ self.values


def dense(eigenvalues: Array, seed: int = 0) -> Array:
    """A symmetric matrix with these eigenvalues in random directions."""
    size = len(eigenvalues)
    turn, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((size, size)))
    return (turn * eigenvalues) @ turn.T


def bowl(matrix: Array) -> Bowls:
    """The landscape of one quadratic."""
    return Bowls(matrix[None])


def pruned(kept: Array, address: str = "imp@3", buffers: int = 0) -> Checkpoint:
    """A checkpoint of one tensor with a mask, at a random point."""
    spec = ParamSpec(("w",), ((1, len(kept)),), "float64")
    mask = Mask(spec, ("w",), kept)
    theta = mask.apply(np.random.default_rng(3).standard_normal(len(kept)))
    state = {"norm.running_mean": np.ones(buffers)} if buffers else {}
    return Checkpoint(spec, theta, mask, buffers=state, address=address)
