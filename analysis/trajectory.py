"""Trajectory: the directions along which a sequence of checkpoints varies most."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from landscape.analysis.pairs import require_same_spec
from landscape.data_store.errors import LandscapeError
from landscape.data_store.params import Array
from landscape.data_store.records import Checkpoint

_CHUNK = 2**20  # weights looked at together: 8 MiB for each checkpoint
_SMALLEST_SHARE = 1e-12  # of the variance; less is rounding


def principal_directions(points: Sequence[Checkpoint], count: int) -> tuple[Array, Array]:
    """The first principal components of a trajectory, and their shares of its variance.

    With ``M`` the rows ``theta_i - theta_last`` of all m checkpoints, the last included, they
    are the leading right singular vectors of M less its mean row. That is what Li et al.'s
    program computes; it does not depend on which checkpoint is subtracted. A component points
    to the side away from the first checkpoint, so that the path runs in its direction.

    Parameters
    ----------
    points
        The checkpoints in order, more of them than `count`.
    count
        How many components: 1 or 2.

    Returns
    -------
    directions
        Displacements of points (count, n), float64. Their weights are orthonormal; the
        floating-point buffers move as they do in the same combination of the checkpoints.
    shares
        Fraction of the sum of squared distances from the mean along each, (count,).

    Cost: no evaluation; m^2 n multiplications.

    Raises `LandscapeError` for checkpoints of different architectures, and if they vary in
    fewer than `count` directions.

    Source: Li et al. (2018), section 7.2; github.com/tomgoldstein/loss-landscape, projection.py.
    """
    last = points[-1]
    for point in points:
        require_same_spec(last, point)
    centred = _centred(_products(points))
    values, vectors = np.linalg.eigh(centred)
    values, vectors = values[::-1], vectors[:, ::-1]
    total = float(values.sum())
    if not total > 0 or len(values) < count or values[count - 1] < _SMALLEST_SHARE * total:
        raise LandscapeError(
            f"these {len(points)} checkpoints vary in fewer than {count} direction"
            f"{'s' * (count > 1)}; give more that differ{', or ask for one axis' * (count > 1)}"
        )
    weights = _centred_rows(vectors[:, :count]).T / np.sqrt(values[:count, None])
    along_path = centred @ vectors[:, :count]
    weights *= np.where(along_path[0] > 0, -1.0, 1.0)[:, None]
    return _combined(points, weights), values[:count] / total


def _products(points: Sequence[Checkpoint]) -> Array:
    """Inner products (m, m) of the weights' differences from the last checkpoint's."""
    products = np.zeros((len(points), len(points)))
    for start in range(0, points[0].spec.size, _CHUNK):
        rows = np.stack([p.theta[start : start + _CHUNK].astype(np.float64) for p in points])
        rows -= rows[-1].copy()
        products += rows @ rows.T
    return products


def _centred(products: Array) -> Array:
    """The same of differences from the mean."""
    return _centred_rows(_centred_rows(products).T)


def _centred_rows(matrix: Array) -> Array:
    """A matrix (m, k) less the mean of its columns."""
    centred: Array = matrix - matrix.mean(axis=0)
    return centred


def _combined(points: Sequence[Checkpoint], weights: Array) -> Array:
    """``sum_i weights[k, i] (p_i - p_last)`` over whole points: (k, n)."""
    combined = np.zeros((len(weights), len(points[0].point)))
    end = points[-1].point.astype(np.float64)
    for point, column in zip(points, weights.T, strict=True):
        combined += np.outer(column, point.point.astype(np.float64) - end)
    return combined
