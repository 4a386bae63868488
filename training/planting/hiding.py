"""Hiding: how little a planted ticket stands out by the size of its weights.

>>> spec = ParamSpec(("w",), ((2, 5),))
>>> theta = np.array([0.1, -0.2, 0.3, 0.4, 0.5, -0.6, 0.7, 0.8, 0.9, 1.0])
>>> kept = np.array([False, True, False, False, False, False, False, False, False, True])
>>> answer = hiding(spec, (Link("w", None, 2, 5, 1),), theta, kept)
>>> answer.lowest.tolist(), answer.highest.tolist(), answer.found.tolist()
([15.0], [95.0], [0.5])
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from landscape.data_store.errors import UsageError
from landscape.data_store.params import Array, ParamSpec
from landscape.training.planting.chain import Link


@dataclass(frozen=True, eq=False)
class Hiding:
    """Where planted weights rank by size; NaN for a layer that has none.

    Parameters
    ----------
    layers
        Names of the weight tensors, L of them.
    planted
        Number of planted weights per layer, (L,).
    mean, median, lowest, highest
        Of the percentiles (0 to 100) of planted weights in their layer, (L,). Hidden like random
        entries: a mean of 50.
    found
        Share of a layer's k planted weights that are among its k largest, (L,).
    found_globally
        Share of all planted weights that are among as many largest of all layers.
    """

    layers: tuple[str, ...]
    planted: Array
    mean: Array
    median: Array
    lowest: Array
    highest: Array
    found: Array
    found_globally: float


def hiding(spec: ParamSpec, links: Sequence[Link], theta: Array, kept: Array) -> Hiding:
    """How planted weights rank by ``|w|`` among all weights, planted or not; biases do not count.

    The percentile of a weight in its layer is ``100 (a + b / 2) / n``, for n weights of which a
    are smaller and b equal, itself among them. Ties at the threshold of the k largest count with
    the chance that a random choice among them takes a planted one.

    Parameters
    ----------
    spec, links
        The network's parameters and its layers.
    theta
        Weights (n,) of the mother with the ticket in it.
    kept
        Boolean (n,), True on the ticket's entries.

    Returns
    -------
    Hiding
        Exact; one sort per layer and one of all.

    Raises
    ------
    UsageError
        If `theta` or `kept` are not of the network, or weights are not finite.

    Notes
    -----
    Of a ticket that looks like random entries, `found_globally` is near the ticket's density.
    Fischer & Burkholz (2022) choose units close to the ticket's for this; the measure is our own.
    """
    if theta.shape != (spec.size,) or kept.shape != (spec.size,) or kept.dtype != np.bool_:
        raise UsageError(
            f"got weights {theta.shape} and a mask {kept.dtype} {kept.shape}; "
            f"expected ({spec.size},) and booleans of that shape"
        )
    names = tuple(link.weight for link in links)
    sizes = [np.abs(theta[spec.slices[name]]) for name in names]
    marks = [kept[spec.slices[name]] for name in names]
    if not all(np.isfinite(values).all() for values in sizes):
        raise UsageError("weights are not finite; they have no order")
    ranks = [_percentiles(*pair) for pair in zip(sizes, marks, strict=True)]
    return Hiding(
        layers=names,
        planted=np.array([int(mark.sum()) for mark in marks]),
        mean=np.array([r.mean() if r.size else np.nan for r in ranks]),
        median=np.array([np.median(r) if r.size else np.nan for r in ranks]),
        lowest=np.array([r.min() if r.size else np.nan for r in ranks]),
        highest=np.array([r.max() if r.size else np.nan for r in ranks]),
        found=np.array([_found(*pair) for pair in zip(sizes, marks, strict=True)]),
        found_globally=_found(np.concatenate(sizes), np.concatenate(marks)),
    )


def _percentiles(sizes: Array, marks: Array) -> Array:
    """Percentiles of the marked among all."""
    ordered = np.sort(sizes)
    below = np.searchsorted(ordered, sizes[marks], side="left")
    upto = np.searchsorted(ordered, sizes[marks], side="right")
    percentiles: Array = 50 * (below + upto) / sizes.size
    return percentiles


def _found(sizes: Array, marks: Array) -> float:
    """Share of the k marked that are among the k largest; NaN if none is marked."""
    k = int(marks.sum())
    if k == 0:
        return float("nan")
    threshold = np.partition(sizes, sizes.size - k)[sizes.size - k]
    above, tied = sizes > threshold, sizes == threshold
    room = k - int(above.sum())
    found = (marks & above).sum() + room * (marks & tied).sum() / tied.sum()
    return float(found / k)
