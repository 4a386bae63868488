"""Plane: a line or plane of points as anchors and coefficients, with true coordinates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from landscape.analysis.pairs import require_same_spec
from landscape.data_store.errors import LandscapeError
from landscape.data_store.params import Array
from landscape.data_store.records import Checkpoint

_SMALLEST_SINE = 1e-6  # below it, two float32 directions differ by their rounding alone


@dataclass(frozen=True, eq=False)
class Plane:
    """All points ``theta = theta_0 + sum_k x_k u_k`` of one or two coordinates x.

    They are asked for as ``sum_j c_j A_j`` over few anchors. Distances and angles are those of
    the weights; floating-point buffers are carried along by the same coefficients.

    Parameters
    ----------
    corners
        The checkpoints that are anchors, the one at coordinates 0 first.
    anchors
        Points (1 + a, n); the first is theta_0.
    frame
        Upper triangular (a, a): column k holds the coordinates of anchor k + 1, or of the end
        of the displacement that it is.
    is_point
        Which anchors after the first are points (True) and which displacements: bool (a,).
    directions
        The displacements u of one unit of each coordinate: float64 (a, n).
    """

    corners: tuple[Checkpoint, ...]
    anchors: Array
    frame: Array
    is_point: Array
    directions: Array

    @property
    def axes(self) -> int:
        """Number a of coordinates: 1 or 2."""
        return len(self.frame)

    @property
    def places(self) -> Array:
        """Coordinates (c, a) of the corners."""
        return np.concatenate([np.zeros((1, self.axes)), self.frame.T[self.is_point]])

    @cached_property
    def gram(self) -> Array:
        """Inner products (a, a) of the directions' weights."""
        products: Array = self._weights @ self._weights.T
        return products

    @property
    def _weights(self) -> Array:
        """The directions without the buffers."""
        return self.directions[:, : self.corners[0].spec.size]

    def coefficients(self, coordinates: Array) -> Array:
        """Weights of the anchors (k, 1 + a) at `coordinates` (k, a).

        Rows at the corners are exactly one 1 and zeros, so that the loss there is the checkpoint's
        own.
        """
        weights = np.zeros(coordinates.shape)
        for k in reversed(range(self.axes)):
            beyond = weights[:, k + 1 :] @ self.frame[k, k + 1 :]
            weights[:, k] = (coordinates[:, k] - beyond) / self.frame[k, k]
        first = 1.0 - weights[:, self.is_point].sum(axis=1)
        return np.concatenate([first[:, None], weights], axis=1)

    def displacement(self, coordinates: Array) -> Array:
        """Euclidean distance (...) of the weights at `coordinates` (..., a) from the origin's."""
        squares = np.einsum("...i,ij,...j->...", coordinates, self.gram, coordinates)
        distances: Array = np.sqrt(np.maximum(squares, 0.0))
        return distances

    def projection(self, checkpoint: Checkpoint) -> tuple[Array, float]:
        """Coordinates (a,) of the nearest point of the plane, and how far off it is.

        Exact for the corners. Raises `LandscapeError` for a checkpoint of another architecture.
        """
        for corner, place in zip(self.corners, self.places, strict=True):
            if checkpoint is corner:
                return place, 0.0
        require_same_spec(self.corners[0], checkpoint)
        away = _difference(checkpoint.theta, self.corners[0].theta)
        coordinates = np.linalg.solve(self.gram, self._weights @ away)
        return coordinates, float(np.linalg.norm(away - coordinates @ self._weights))


def along(origin: Checkpoint, directions: Array) -> Plane:
    """The line or plane through a checkpoint along displacements (a, n), one unit each.

    Raises `LandscapeError` for a displacement of length 0 and for two that are parallel.
    """
    plane = Plane(
        (origin,),
        np.concatenate([origin.point[None], directions.astype(origin.point.dtype)]),
        np.eye(len(directions)),
        np.zeros(len(directions), dtype=np.bool_),
        directions.astype(np.float64),
    )
    lengths = np.sqrt(np.diag(plane.gram))
    if not lengths.all():
        raise LandscapeError(
            f"a direction at {origin.address or 'this checkpoint'} has length 0, so nothing moves "
            "along it; none of its weights is free, or those that are have value 0"
        )
    if plane.axes == 2 and _sine(plane.gram) < _SMALLEST_SINE:
        raise LandscapeError("the two directions are parallel; ask for one axis")
    return plane


def through(points: Sequence[Checkpoint], across: Array | None = None) -> Plane:
    """The line through two checkpoints or the plane through three, in Euclidean coordinates.

    The axes are orthonormal: the first runs from the first checkpoint to the second, the other
    at right angles to it towards the third. Coordinates are distances, so
    ``|theta(x, y) - theta_0| = sqrt(x^2 + y^2)``.

    Parameters
    ----------
    points
        Two or three checkpoints, the origin first.
    across
        With two, a displacement (n,) whose part at right angles to the line is the second axis.

    Raises `LandscapeError` if the checkpoints are of different architectures, or lie on one
    point or line.
    """
    first, *others = points
    for other in others:
        require_same_spec(first, other)
    size = first.spec.size
    edges = [_difference(other.point, first.point) for other in others]
    edges += [] if across is None else [across.astype(np.float64)]
    frame = np.zeros((len(edges), len(edges)))
    units: list[Array] = []
    for k, edge in enumerate(edges):
        rest = edge
        for _ in range(2):  # the second time takes what rounding left
            for i, unit in enumerate(units):
                along_unit = float(unit[:size] @ rest[:size])
                frame[i, k] += along_unit
                rest = rest - along_unit * unit
        frame[k, k] = np.linalg.norm(rest[:size])
        if not frame[k, k] > _SMALLEST_SINE * np.linalg.norm(edge[:size]):
            raise _degenerate(points, k)
        units.append(rest / frame[k, k])
    anchors = [p.point for p in points]
    if across is not None:
        frame[:, -1] = np.eye(len(edges))[-1]
        anchors.append(units[-1].astype(first.point.dtype))
    return Plane(
        tuple(points),
        np.stack(anchors),
        frame,
        np.arange(len(edges)) < len(others),
        np.stack(units),
    )


def _difference(a: Array, b: Array) -> Array:
    """``a - b`` in float64."""
    return a.astype(np.float64) - b.astype(np.float64)


def _sine(gram: Array) -> float:
    """Sine of the angle between two directions."""
    cosine = gram[0, 1] / np.sqrt(gram[0, 0] * gram[1, 1])
    return float(np.sqrt(max(0.0, 1.0 - cosine**2)))


def _degenerate(points: Sequence[Checkpoint], k: int) -> LandscapeError:
    """Error for checkpoints that span less than they should."""
    names = [p.address or f"checkpoint {i + 1}" for i, p in enumerate(points)]
    if k == 0:
        return LandscapeError(
            f"{names[0]} and {names[1]} have the same weights, so no line leads from one to the "
            "other; give checkpoints that differ"
        )
    return LandscapeError(
        f"{', '.join(names)} lie on one line, so they span no plane; give checkpoints that do "
        "not, or ask for one axis"
    )
