"""Overlap of two masks, per layer and over all, against random masks of the same layer sizes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from landscape.analysis.grouping import SUCCESSIVE
from landscape.analysis.pairs import pair_coordinates, require_same_spec
from landscape.analysis.random_masks import random_overlap
from landscape.analysis.registry import Analysis
from landscape.data_store.params import Array
from landscape.data_store.records import Checkpoint
from landscape.data_store.schemas.overlap import OVERLAP

ALL = "all"


@dataclass(frozen=True)
class OverlapSettings:
    """Options of `overlap`: none, the masks decide everything."""


def overlap(
    a: Checkpoint,
    b: Checkpoint,
    settings: OverlapSettings = OverlapSettings(),  # noqa: ARG001 - as every analysis
) -> xr.Dataset:
    """How far two masks agree, layer by layer and over all layers, and how far chance would.

    With k_a, k_b weights kept and k_ab kept by both: ``jaccard = k_ab / (k_a + k_b - k_ab)``,
    ``precision = k_ab / k_a`` and ``recall = k_ab / k_b`` (the first mask is the one found,
    the second the truth), ``f1 = 2 k_ab / (k_a + k_b)``. ``sign_agreement`` is the share of
    the k_ab weights whose signs are equal in both; a zero agrees with a zero only.

    ``expected_jaccard`` and ``p_value`` are exact under two independent, uniformly random
    masks that keep k_a and k_b weights of each layer; "all" sums independent layers.
    ``p_value`` underflows to 0 below 1e-308; ``log_p_value`` does not.

    Parameters
    ----------
    a, b
        Checkpoints of one network. Layers are the tensors prunable in either, in order.
    settings
        No options.

    Returns
    -------
    xarray.Dataset
        The schema ``overlap`` with one pair. A number without meaning is NaN: what divides
        by an empty mask (status ``an_empty_mask``), and ``sign_agreement`` where no weight
        is kept by both or one of them is NaN.

    Raises
    ------
    LandscapeError
        If the checkpoints are of different networks.

    Notes
    -----
    No loss evaluations; a tenth of a second for ten million weights.
    """
    require_same_spec(a, b)
    layers = [n for n in a.spec.names if n in a.mask.prunable or n in b.mask.prunable]
    slices = [a.spec.slices[name] for name in layers]
    variables = {
        **mask_overlap(a.mask.kept, b.mask.kept, slices),
        "sign_agreement": sign_agreement(a.theta, b.theta, a.mask.kept & b.mask.kept, slices),
    }
    coords: dict[str, Any] = {**pair_coordinates(a, b), "layer": [ALL, *layers]}
    return OVERLAP.build(coords, {name: values[None] for name, values in variables.items()})


def mask_overlap(kept_a: Array, kept_b: Array, layers: Sequence[slice]) -> dict[str, Array]:
    """The variables of `overlap` that the masks alone decide.

    Parameters
    ----------
    kept_a, kept_b
        Boolean (n,), True where a weight is kept.
    layers
        Where each layer lies in them.

    Returns
    -------
    dict
        Arrays (1 + layers,), the first entry over all layers.
    """
    rows = [
        (part.size, np.count_nonzero(part), np.count_nonzero(other), np.count_nonzero(part & other))
        for part, other in ((kept_a[layer], kept_b[layer]) for layer in layers)
    ]
    table = np.array(rows, dtype=np.int64).reshape(len(layers), 4)
    chance = [
        random_overlap(part[:, 0], part[:, 1], part[:, 2], int(part[:, 3].sum()))
        for part in (table, *(table[i : i + 1] for i in range(len(layers))))
    ]
    expected, log_p = np.array(chance).T
    weights, a, b, both = np.concatenate([table.sum(axis=0, keepdims=True), table]).T
    return {
        "weights": weights,
        "kept_a": a,
        "kept_b": b,
        "kept_both": both,
        **agreement(a, b, both),
        "expected_jaccard": expected,
        "p_value": np.exp(log_p),
        "log_p_value": log_p,
        "status": (a == 0) | (b == 0),
    }


def agreement(kept_a: Array, kept_b: Array, kept_both: Array) -> dict[str, Array]:
    """Jaccard index, precision, recall and F1 of counts (layers,); NaN for 0/0."""
    with np.errstate(invalid="ignore"):
        return {
            "jaccard": kept_both / (kept_a + kept_b - kept_both),
            "precision": kept_both / kept_a,
            "recall": kept_both / kept_b,
            "f1": 2 * kept_both / (kept_a + kept_b),
        }


def sign_agreement(theta_a: Array, theta_b: Array, common: Array, layers: Sequence[slice]) -> Array:
    """Share of `common` weights of equal sign over all layers, then in each: (1 + layers,).

    NaN where there is no such weight or one of them is NaN.
    """
    agreeing = []
    for layer in layers:
        first, second = (np.sign(theta[layer][common[layer]]) for theta in (theta_a, theta_b))
        unknown = np.isnan(first).any() or np.isnan(second).any()
        agreeing.append(math.nan if unknown else float(np.count_nonzero(first == second)))
    sizes = np.array([np.count_nonzero(common[layer]) for layer in layers])
    with np.errstate(invalid="ignore"):
        share: Array = np.array([sum(agreeing), *agreeing]) / np.array([sizes.sum(), *sizes])
    return share


ANALYSIS = Analysis(
    schema=OVERLAP,
    settings=OverlapSettings,
    compute=lambda points, settings, _landscape, _work: overlap(points[0], points[1], settings),
    grouping=lambda _settings: SUCCESSIVE,
    uses_loss=False,
    measures=("jaccard", "expected_jaccard", "precision", "recall", "sign_agreement"),
)
