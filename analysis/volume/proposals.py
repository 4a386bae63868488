"""Proposals: random directions by a linear map, with their density on the sphere.

With z uniform on the sphere and an invertible matrix P, the direction ``u = P z / ||P z||`` has
the density ``q(u) / p(u) = (||P z|| / ||z||)^n / |det P|`` against the uniform one: the angular
central Gaussian distribution of ``P P^T`` (Tyler 1987). So the volume of a body with radii r(u) is
``omega_n |det P| E[(r(u) ||z|| / ||P z||)^n]`` for any P, and the better P maps a ball to the
body the less the expectation varies.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from landscape.data_store.params import Array


@dataclass(frozen=True, eq=False)
class Draws:
    """Directions of one proposal.

    Parameters
    ----------
    directions
        Unit vectors u (m, n).
    log_stretch
        ``log(||P z|| / ||z||)``, (m,).
    """

    directions: Array
    log_stretch: Array

    @classmethod
    def of(cls, z: Array, mapped: Array) -> Draws:
        """From the z and the P z, (m, n) each."""
        lengths = np.linalg.norm(mapped, axis=1)
        stretch = np.log(lengths) - np.log(np.linalg.norm(z, axis=1))
        return cls(mapped / lengths[:, None], stretch)

    def log_weights(self, radius: Array) -> Array:
        """``n log(r ||z|| / ||P z||)``: (m,)."""
        weights: Array = self.directions.shape[1] * (np.log(radius) - self.log_stretch)
        return weights


class Proposal(Protocol):
    """A linear map P whose determinant is known."""

    @property
    def log_det(self) -> float:
        """``log |det P|``."""
        ...

    def draws(self, z: Array) -> Draws:
        """Directions from Gaussian vectors (m, n)."""
        ...


@dataclass(frozen=True, eq=False)
class Scaling:
    """``P = diag(factors)``: the uniform proposal if they are all 1.

    Parameters
    ----------
    factors
        Above 0, (n,).
    """

    factors: Array

    @property
    def log_det(self) -> float:
        """Sum of the logarithms."""
        return float(np.log(self.factors).sum())

    def draws(self, z: Array) -> Draws:
        """Directions from Gaussian vectors (m, n)."""
        return Draws.of(z, z * self.factors)


def damped(curvature: Array, damping: float) -> Array:
    """``sqrt(h² + damping²)``: curvatures as positive numbers, never below the damping."""
    positive: Array = np.hypot(curvature, damping)
    return positive


def diagonal_of(products: Array, signs: Array) -> Array:
    """Estimate of a matrix's diagonal from products with random signs: (n,).

    ``mean of s * (H s)`` over rows s of ±1, unbiased (Bekas, Kokiopoulou and Saad 2007). The
    variance of an entry is the sum of squares of the others in its row over their number: exact
    for diagonal matrices, worth little for rotated ones.

    Parameters
    ----------
    products, signs
        H s and s, (k, n).
    """
    diagonal: Array = (products * signs).mean(axis=0)
    return diagonal
