"""Transition: the points of one step of pruning and retraining, and the paths between them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from landscape.data_store.params import Array
from landscape.data_store.records import Checkpoint
from landscape.data_store.schemas.sublevel import PATHS

DENSE = "dense"


@dataclass(frozen=True, eq=False)
class Transition:
    """The points of a transition by name: `POINTS`, and ``dense``; None where unknown.

    Parameters
    ----------
    vectors
        Points (n,), weights then floating-point buffers.
    masks
        What each keeps of the weights, bool (weights,).
    """

    vectors: Mapping[str, Array | None]
    masks: Mapping[str, Array]

    @classmethod
    def between(
        cls,
        a: Checkpoint,
        b: Checkpoint,
        ticket: Checkpoint | None = None,
        dense: Checkpoint | None = None,
    ) -> Transition:
        """The transition from solution `a` to solution `b`.

        The baseline is the mask of `b` on the weights of `a`, with the buffers of `a`; the
        rewind point is `ticket`. `dense` serves as one only if it is dense.
        """
        weights = a.spec.size
        baseline = np.concatenate([b.mask.apply(a.point[:weights]), a.point[weights:]])
        is_dense = dense is not None and bool(dense.mask.kept.all())
        return cls(
            {
                "previous": a.point,
                "baseline": baseline,
                "rewind": None if ticket is None else ticket.point,
                "solution": b.point,
                DENSE: dense.point if dense is not None and is_dense else None,
            },
            {
                "previous": a.mask.kept,
                "baseline": a.mask.kept & b.mask.kept,
                "rewind": b.mask.kept,
                "solution": b.mask.kept,
            },
        )

    @property
    def known(self) -> list[str]:
        """Names of the points that are known, the order of the anchors."""
        return [name for name, vector in self.vectors.items() if vector is not None]

    @property
    def anchors(self) -> Array:
        """The known points (known, n)."""
        return np.stack([vector for vector in self.vectors.values() if vector is not None])

    def distances(self) -> tuple[Array, Array]:
        """Euclidean and angular distance of the ends of each of `PATHS`: (paths,) each."""
        pairs = [self._apart(*path.split("-")) for path in PATHS]
        return np.array([d for d, _ in pairs]), np.array([angle for _, angle in pairs])

    def _apart(self, one: str, other: str) -> tuple[float, float]:
        """Distance and angular distance of two points; NaN if one is unknown."""
        u, v = self.vectors[one], self.vectors[other]
        if u is None or v is None:
            return math.nan, math.nan
        weights = len(self.masks[one])
        u, v = (x[:weights].astype(np.float64) for x in (u, v))
        shared = self.masks[one] & self.masks[other]
        return float(np.linalg.norm(u - v)), angular_distance(u[shared], v[shared])


def angular_distance(u: Array, v: Array) -> float:
    """``2 angle(u, v) / pi``: 0 parallel, 1 orthogonal, 2 opposite; NaN if one is 0.

    On the weights that both masks keep: Maene et al. (2021). Computed by the half-angle form,
    which is exact for close vectors.

    >>> angular_distance(np.array([1.0, 0.0]), np.array([0.0, 3.0]))
    1.0
    """
    lengths = np.linalg.norm(u), np.linalg.norm(v)
    if not all(lengths):
        return math.nan
    p, q = u / lengths[0], v / lengths[1]
    return float(4.0 * math.atan2(np.linalg.norm(p - q), np.linalg.norm(p + q)) / math.pi)


@dataclass(frozen=True, eq=False)
class Rows:
    """All positions of a transition as coefficients of its known points.

    Parameters
    ----------
    coefficients
        (k, known): first the known points themselves, then the inside of each path.
    at
        Rows (points,) of each path whose ends are known, by name.
    """

    coefficients: Array
    at: Mapping[str, Array]

    @classmethod
    def of(cls, transition: Transition, alpha: Array) -> Rows:
        """The known points and the paths between them at `alpha`."""
        known = transition.known
        rows, at = [np.eye(len(known))], {}
        count = len(known)
        for path in PATHS:
            ends = path.split("-")
            if not set(ends) <= set(known):
                continue
            first, last = (known.index(end) for end in ends)
            if np.array_equal(*(transition.vectors[end] for end in ends)):  # type: ignore[arg-type]
                at[path] = np.full(len(alpha), first)  # nothing moves, not even by rounding
                continue
            inside = np.zeros((len(alpha) - 2, len(known)))
            inside[:, first], inside[:, last] = 1.0 - alpha[1:-1], alpha[1:-1]
            rows.append(inside)
            at[path] = np.array([first, *range(count, count + len(inside)), last])
            count += len(inside)
        return cls(np.concatenate(rows), at)
