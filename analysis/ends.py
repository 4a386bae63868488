"""Ends: what lies at the two ends of a path, and how far apart they are."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from landscape.analysis.landscape import Alignable, Landscape, Repairable
from landscape.analysis.overlap import sign_agreement
from landscape.data_store.errors import UsageError
from landscape.data_store.mask import Mask
from landscape.data_store.params import Array
from landscape.data_store.records import Checkpoint


def projected(a: Checkpoint, b: Checkpoint) -> tuple[Checkpoint, Checkpoint]:
    """Both checkpoints in the subspace of the weights that both masks keep.

    ``m ⊙ theta`` with ``m = m_a ⊙ m_b``. Of nested masks that is the sparser one, so that the
    sparser end stays as it is; of others it is their intersection, and both ends move.
    """
    either = {*a.mask.prunable, *b.mask.prunable}
    prunable = tuple(name for name in a.spec.names if name in either)
    mask = Mask(a.spec, prunable, a.mask.kept & b.mask.kept)
    first, second = (replace(c, theta=mask.apply(c.theta), mask=mask) for c in (a, b))
    return first, second


def aligned(landscape: Landscape, a: Checkpoint, b: Checkpoint, how: str, seed: int) -> Checkpoint:
    """`b` with its hidden units in the order that is most like that of `a`: the same function.

    Raises `UsageError` if the landscape does not know which units can be exchanged.
    """
    if not isinstance(landscape, Alignable):
        raise UsageError(
            f"align is {how}, but this landscape does not say which units of the network can be "
            "exchanged; leave it at none"
        )
    return landscape.aligned(a, b, how, seed)


def repaired(landscape: Landscape, a: Checkpoint, b: Checkpoint) -> Landscape:
    """The landscape in which points between `a` and `b` have the statistics of their units set.

    Raises `UsageError` if the landscape cannot do so.
    """
    if not isinstance(landscape, Repairable):
        raise UsageError(
            "repair is asked for, but this landscape cannot set the statistics of the units "
            "between two networks; leave it out"
        )
    return landscape.repaired(a, b)


def distances(a: Checkpoint, b: Checkpoint) -> dict[str, float]:
    """How far apart two checkpoints of one network are.

    Returns
    -------
    dict
        ``distance``: Euclidean, over all weights. The others are over the prunable weights that
        both masks keep, ``m = m_a ⊙ m_b``: ``shared_distance`` is Euclidean, ``||m ⊙ (theta_a -
        theta_b)||``; ``angular_distance`` is ``2 angle(m ⊙ theta_a, m ⊙ theta_b) / π``, 0 for
        one direction, 1 at right angles, 2 for opposite ones (Maene et al. 2021);
        ``sign_agreement`` the share of equal signs, where a zero agrees with a zero only. The
        last two are NaN where no weight is shared, the angle also where one side is all zero.
    """
    apart = b.theta.astype(np.float64) - a.theta.astype(np.float64)
    shared = a.mask.kept & b.mask.kept & (a.mask.covered | b.mask.covered)
    agreement = sign_agreement(a.theta, b.theta, shared, [slice(None)])
    return {
        "distance": float(np.linalg.norm(apart)),
        "angular_distance": _angle(a.theta[shared], b.theta[shared]) * 2.0 / math.pi,
        "shared_distance": float(np.linalg.norm(apart[shared])),
        "sign_agreement": float(agreement[0]),
    }


def _angle(first: Array, second: Array) -> float:
    """Angle between two vectors in radians, exact for small ones too; NaN if one is zero."""
    units = []
    for vector in (first, second):
        length = float(np.linalg.norm(vector.astype(np.float64)))
        if not 0.0 < length < math.inf:
            return math.nan
        units.append(vector / length)
    across, along = np.linalg.norm(units[0] - units[1]), np.linalg.norm(units[0] + units[1])
    return 2.0 * math.atan2(float(across), float(along))
