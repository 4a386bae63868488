"""Paths as coefficients over anchors: ``theta_k = sum_j C[k, j] A[j]``."""

from __future__ import annotations

import numpy as np

from landscape.data_store.params import Array


def line(alpha: Array) -> Array:
    """Coefficients (k, 2) of the straight line from the first anchor to the second.

    ``theta(alpha) = (1 - alpha) a + alpha b``; rows at 0 and 1 are exactly (1, 0) and (0, 1).

    >>> line(np.array([0.0, 0.25, 1.0]))
    array([[1.  , 0.  ],
           [0.75, 0.25],
           [0.  , 1.  ]])
    """
    return np.stack([1.0 - alpha, alpha], axis=1)


def bezier(t: Array) -> Array:
    """Coefficients (k, 3) of a quadratic Bézier curve over start, control point and end.

    ``theta(t) = (1 - t)^2 a + 2 t (1 - t) c + t^2 b``; rows at 0 and 1 are exactly the ends. With
    c half way between them it is the straight line.

    >>> bezier(np.array([0.0, 0.5, 1.0]))
    array([[1.  , 0.  , 0.  ],
           [0.25, 0.5 , 0.25],
           [0.  , 0.  , 1.  ]])
    """
    return np.stack([(1.0 - t) ** 2, 2.0 * (t * (1.0 - t)), t**2], axis=1)


def grid(points: int) -> Array:
    """`points` evenly spaced positions from 0 to 1, both included, symmetric bit for bit.

    The reversed grid is exactly ``1 - grid``, so a line walked from the other end meets the
    same points. Positions are multiples of 2^-53, less than 2^-53 from the ideal ones.
    """
    ideal = np.arange(points) / (points - 1)
    upper = 1.0 - ideal[: points // 2]
    middle = [0.5] if points % 2 else []
    return np.concatenate([1.0 - upper, middle, upper[::-1]])
