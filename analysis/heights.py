"""Heights: the four definitions of a barrier, of the values on a path."""

from __future__ import annotations

import numpy as np

from landscape.data_store.params import Array
from landscape.data_store.schemas.barrier import DEFINITIONS


def heights(alpha: Array, values: Array) -> Array:
    """Height and position of the barrier by each definition: (4, 2), rows as `DEFINITIONS`.

    With E the values, E_a and E_b those at the ends, and maxima over the positions:

    - ``lmc``: ``max E - (E_a + E_b) / 2`` (Frankle et al. 2020, error barrier height);
    - ``deviation``: ``max [E - ((1 - alpha) E_a + alpha E_b)]``;
    - ``over_max``: ``max E - max(E_a, E_b)``, the strictest sense of "no hump";
    - ``increase``: ``max E - min(E_a, E_b)``, the maximal increase on the path. Maene et al.
      (2021) name it without a reference; ours is the lower end, so that it does not depend
      on the direction.

    None is negative. The position is the smallest at which the maximum is reached. All are
    NaN if any value is.

    >>> heights(np.array([0.0, 0.5, 1.0]), np.array([1.0, 4.0, 2.0]))[:, 0]
    array([2.5, 2.5, 2. , 3. ])
    """
    if not np.isfinite(values).all():
        return np.full((len(DEFINITIONS), 2), np.nan)
    first, last, top = values[0], values[-1], values.max()
    above = values - chord(alpha, values)
    peak, bump = alpha[values.argmax()], alpha[above.argmax()]
    return np.array(
        [
            [top - (first + last) / 2, peak],
            [above.max(), bump],
            [top - max(first, last), peak],
            [top - min(first, last), peak],
        ]
    )


def chord(alpha: Array, values: Array) -> Array:
    """The straight line between the end values; rounding never takes it beyond them."""
    first, last = values[0], values[-1]
    straight: Array = (1.0 - alpha) * first + alpha * last
    return np.clip(straight, min(first, last), max(first, last))


def contrasts(alpha: Array) -> dict[str, Array]:
    """The definitions as weights of the values: (references, k, k), each row summing to 0.

    Row k of a reference is what is subtracted from the value at position k: ``lmc`` and
    ``deviation`` have one reference, a mixture of the ends; ``over_max`` and ``increase`` have
    two, the ends themselves, of which the higher or the lower counts. A barrier is the maximum
    over k of what its rows make of the values (the smaller one of two for ``over_max``).

    >>> contrasts(np.array([0.0, 0.5, 1.0]))["lmc"][0]
    array([[ 0.5,  0. , -0.5],
           [-0.5,  1. , -0.5],
           [-0.5,  0. ,  0.5]])
    """
    k = len(alpha)
    halves = np.full(k, 0.5)
    shares = {
        "lmc": [halves],
        "deviation": [alpha],
        "over_max": [np.zeros(k), np.ones(k)],
        "increase": [np.zeros(k), np.ones(k)],
    }
    return {name: np.array([_row(share) for share in shares[name]]) for name in DEFINITIONS}


def _row(share: Array) -> Array:
    """Weights (k, k) of the values above ``(1 - share) first + share last``."""
    weights = np.eye(len(share))
    weights[:, 0] -= 1.0 - share
    weights[:, -1] -= share
    return weights
