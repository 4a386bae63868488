"""Wiring: what masks leave of a network's units, layers and paths, counted by layer.

A unit is a row of a weight tensor: an output of a linear layer, an output channel of a convolution.
Tensors of one axis (biases) have no units and are on no path: their numbers are NaN, and the total
is over the others.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from landscape.data_store.params import Array, ParamSpec


def unit_overlap(
    kept_a: Array, kept_b: Array, spec: ParamSpec, layers: Sequence[str]
) -> dict[str, Array]:
    """Units that masks use: those with at least one kept weight.

    Parameters
    ----------
    kept_a, kept_b
        Boolean (n,), True where a weight is kept.
    spec
        The tensors.
    layers
        Names of those that are counted.

    Returns
    -------
    dict
        Arrays (1 + layers,), the first entry over all: ``units``, ``units_a``, ``units_b``,
        ``units_both``, ``unit_precision`` = both / a and ``unit_recall`` = both / b, NaN for 0/0.
    """
    rows = []
    for name in layers:
        shape, place = spec.shape(name), spec.slices[name]
        if len(shape) < 2:
            rows.append([math.nan] * 4)
            continue
        a, b = (kept[place].reshape(shape[0], -1).any(axis=1) for kept in (kept_a, kept_b))
        rows.append([shape[0], a.sum(), b.sum(), (a & b).sum()])
    units, a, b, both = _with_total(np.array(rows, dtype=np.float64).reshape(-1, 4)).T
    with np.errstate(invalid="ignore"):
        shares = {"unit_precision": both / a, "unit_recall": both / b}
    return {"units": units, "units_a": a, "units_b": b, "units_both": both, **shares}


def collapsed(kept: Array, spec: ParamSpec, layers: Sequence[str]) -> Array:
    """1 for a layer that keeps no weight, else 0: (1 + layers,), the first 1 if any layer is."""
    empty = [_count(kept, spec, name) == 0 for name in layers]
    own = [
        float(e) if _is_weight(spec, n) else math.nan for e, n in zip(empty, layers, strict=True)
    ]
    return np.array([float(1.0 in own), *own])


def effective(on_path: Array, spec: ParamSpec, layers: Sequence[str]) -> tuple[Array, Array]:
    """Weights on a path from input to output, and their share of all weights.

    Parameters
    ----------
    on_path
        Boolean (n,), as `landscape.analysis.landscape.Wired.on_a_path` has it.
    spec, layers
        As in `unit_overlap`.

    Returns
    -------
    counts, density
        Float64 (1 + layers,) each, the first entry over all layers. The share is of all weights of
        the layer, kept or not.
    """
    counts = [_count(on_path, spec, n) if _is_weight(spec, n) else math.nan for n in layers]
    sizes = [math.prod(spec.shape(n)) if _is_weight(spec, n) else math.nan for n in layers]
    found, size = (
        _with_total(np.array(x, dtype=np.float64)[:, None])[:, 0] for x in (counts, sizes)
    )
    with np.errstate(invalid="ignore"):
        return found, found / size


def _is_weight(spec: ParamSpec, name: str) -> bool:
    """True for a tensor that joins units to units."""
    return len(spec.shape(name)) > 1


def _count(kept: Array, spec: ParamSpec, name: str) -> int:
    """How much is kept of one tensor."""
    return int(np.count_nonzero(kept[spec.slices[name]]))


def _with_total(rows: Array) -> Array:
    """Rows of counts under their sum, in which NaN counts nothing."""
    return np.concatenate([np.nansum(rows, axis=0, keepdims=True), rows])
