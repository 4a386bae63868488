"""Polynomial: a least-squares fit of high degree that stays accurate when evaluated."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from landscape.analysis.lanczos import krylov
from landscape.data_store.params import Array


@dataclass(frozen=True, eq=False)
class Polynomial:
    """``p(x) = sum_j c_j q_j(x)`` with ``q_0 = 1`` and orthogonal q of a three-term recurrence.

    ``beside_j q_(j+1) = (x - diagonal_j) q_j - beside_(j-1) q_(j-1)``.

    Parameters
    ----------
    diagonal, beside
        The recurrence, (k,) and (k - 1,).
    coefficients
        The c_j, (k,); the degree is k - 1.
    """

    diagonal: Array
    beside: Array
    coefficients: Array

    @classmethod
    def fit(cls, nodes: Array, weights: Array, values: Array, terms: int) -> Polynomial:
        """The polynomial of degree ``terms - 1`` with the least ``sum w_i (p(x_i) - y_i)^2``.

        Of lower degree if there are fewer different nodes of weight. Its q are orthogonal under
        the weights, so that no system is solved and any degree is stable.

        Parameters
        ----------
        nodes, weights, values
            The x, w and y, (m,); the weights not negative and not all 0.
        terms
            Number of coefficients.

        Source: Forsythe (1957); the recurrence by Lanczos on the diagonal matrix of nodes
        (Gragg and Harrod 1984).
        """
        root = np.sqrt(weights)
        space = krylov(lambda rows: rows * nodes, root[None], terms)
        ended = np.flatnonzero(space.beside[0] == 0)
        length = int(ended[0]) + 1 if len(ended) else terms
        coefficients = space.basis[0, :length] @ (root * values) / space.norms[0]
        return cls(space.diagonal[0, :length], space.beside[0, : length - 1], coefficients)

    def __call__(self, x: Array) -> Array:
        """Values at `x`, any shape."""
        before, now = np.zeros_like(x), np.ones_like(x)
        total = self.coefficients[0] * now
        for j, beside in enumerate(self.beside):
            last = self.beside[j - 1] if j else 0.0
            before, now = now, ((x - self.diagonal[j]) * now - last * before) / beside
            total = total + self.coefficients[j + 1] * now
        return np.asarray(total)
