"""Overlap of two masks, per layer and over all, against random masks of the same layer sizes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from landscape.analysis.grouping import EACH, SUCCESSIVE
from landscape.analysis.landscape import Landscape, Wired
from landscape.analysis.matched_masks import matched_counts
from landscape.analysis.pairs import pair_coordinates, require_same_spec
from landscape.analysis.random_masks import random_overlap
from landscape.analysis.registry import Analysis
from landscape.analysis.wiring import collapsed, effective, unit_overlap
from landscape.analysis.work import Work
from landscape.data_store.errors import UsageError
from landscape.data_store.params import Array
from landscape.data_store.records import Checkpoint
from landscape.data_store.schemas.overlap import OVERLAP
from landscape.data_store.settings import check, option

ALL = "all"


_OK, _NOT_ASKED_FOR = 0, 1
_SHARES = ("jaccard", "precision", "recall", "f1")


@dataclass(frozen=True)
class OverlapSettings:
    """Options of `overlap`; without them the masks decide everything."""

    planted: bool = option(
        False,
        "compare each checkpoint with the planted truth of its run, and follow paths",
        since=(1, 1),
    )
    effective: bool = option(
        False, "count the weights on a path from an input to an output", since=(1, 1)
    )
    align: str = option(
        "none",
        "match the units of the second network to those of the first, so that as many weights "
        "as possible are kept by both",
        choices=("none", "masks"),
        since=(1, 1),
    )
    draws: int = option(
        10, "with --align: random masks that are matched in the same way", min=1, since=(1, 1)
    )
    seed: int = option(0, "of these random masks, and of matching", min=0, since=(1, 1))

    def __post_init__(self) -> None:
        check(self)

    @property
    def follows_paths(self) -> bool:
        """Whether weights on a path are counted."""
        return self.planted or self.effective

    @property
    def needs_network(self) -> bool:
        """Whether masks alone are not enough."""
        return self.follows_paths or self.align != "none"


def overlap(
    a: Checkpoint,
    b: Checkpoint,
    settings: OverlapSettings = OverlapSettings(),
    landscape: Landscape | None = None,
) -> xr.Dataset:
    """How far two masks agree, layer by layer and over all layers, and how far chance would.

    With k_a, k_b weights kept and k_ab kept by both: ``jaccard = k_ab / (k_a + k_b - k_ab)``,
    ``precision = k_ab / k_a`` and ``recall = k_ab / k_b`` (the first mask is the one found,
    the second the truth), ``f1 = 2 k_ab / (k_a + k_b)``; ``kept_both`` are the true positives.
    ``sign_agreement`` is the share of the k_ab weights whose signs are equal in both; a zero
    agrees with a zero only.

    ``expected_jaccard``, ``expected_precision``, ``expected_recall`` and ``p_value`` are exact
    under two independent, uniformly random masks that keep k_a and k_b weights of each layer;
    "all" sums independent layers. ``p_value`` underflows to 0 below 1e-308; ``log_p_value`` does
    not. ``units``, ``collapsed`` and ``effective`` are as `landscape.analysis.wiring` has them.

    With ``align`` units of `b` are matched to those of `a`, so that as many weights as possible
    are kept by both (`matched_counts`). ``matched_expected_jaccard`` is the mean over ``draws``
    random masks with the layer sizes of `a`, matched in the same way, and ``matched_p_value =
    (1 + #{draws that share at least as much}) / (1 + draws)``.

    Parameters
    ----------
    a, b
        Checkpoints of one network. Layers are the tensors prunable in either, in order.
    settings
        The options. ``planted`` says that `b` is a planted truth.
    landscape
        Knows the wiring of the network; only if the settings need it.

    Returns
    -------
    xarray.Dataset
        The schema ``overlap`` with one pair. A number without meaning is NaN: what divides
        by an empty mask (status ``an_empty_mask``), ``sign_agreement`` where no weight
        is kept by both or one of them is NaN, units and paths of biases, and what is not asked
        for (``effective_status``, ``matched_status``).

    Raises
    ------
    LandscapeError
        If the checkpoints are of different networks.
    UsageError
        If the settings need a network, and there is none or its wiring is not understood.

    Notes
    -----
    No loss evaluations; a tenth of a second for ten million weights. Paths cost a pass of one
    example through the network for each mask, matching ``4 (1 + draws)`` weight matchings.
    """
    require_same_spec(a, b)
    layers = [n for n in a.spec.names if n in a.mask.prunable or n in b.mask.prunable]
    slices = [a.spec.slices[name] for name in layers]
    kept = {"a": a.mask.kept, "b": b.mask.kept}
    variables = {
        **mask_overlap(kept["a"], kept["b"], slices),
        "sign_agreement": sign_agreement(a.theta, b.theta, a.mask.kept & b.mask.kept, slices),
        **unit_overlap(kept["a"], kept["b"], a.spec, layers),
        **{f"collapsed_{which}": collapsed(mask, a.spec, layers) for which, mask in kept.items()},
    }
    coords: dict[str, Any] = {**pair_coordinates(a, b), "layer": [ALL, *layers]}
    wired = _wired(landscape) if settings.needs_network else None
    variables |= _paths(a, b, layers, wired if settings.follows_paths else None)
    variables |= _matched(a, b, layers, settings, wired if settings.align != "none" else None)
    return OVERLAP.build(coords, {name: np.asarray(v)[None] for name, v in variables.items()})


def _wired(landscape: Landscape | None) -> Wired:
    """A landscape that knows its network's wiring; raises `UsageError` if it does not."""
    if not isinstance(landscape, Wired):
        raise UsageError(
            "the units and paths of a network are asked for, but "
            f"{'there is no landscape' if landscape is None else 'this landscape has none'}; "
            "leave out planted, effective and align, or give a network"
        )
    return landscape


def _paths(
    a: Checkpoint, b: Checkpoint, layers: Sequence[str], wired: Wired | None
) -> dict[str, Any]:
    """The variables about paths from input to output; NaN if there is no wiring to follow."""
    variables: dict[str, Any] = {"effective_status": _NOT_ASKED_FOR if wired is None else _OK}
    for which, checkpoint in (("a", a), ("b", b)):
        counts = density = np.full(1 + len(layers), math.nan)
        connected = math.nan
        if wired is not None:
            on_path = wired.on_a_path(checkpoint.mask.kept)
            counts, density = effective(on_path, a.spec, layers)
            connected = float(on_path.any())
        variables[f"effective_{which}"] = counts
        variables[f"effective_density_{which}"] = density
        variables[f"connected_{which}"] = connected
    return variables


def _matched(
    a: Checkpoint,
    b: Checkpoint,
    layers: Sequence[str],
    settings: OverlapSettings,
    wired: Wired | None,
) -> dict[str, Any]:
    """The variables about matched units; NaN if there is no wiring to match by."""
    if wired is None:
        unknown = np.full(1 + len(layers), math.nan)
        names = ("kept_both", *_SHARES, "expected_jaccard", "p_value")
        return {f"matched_{n}": unknown for n in names} | {"matched_status": _NOT_ASKED_FOR}
    draws, seed = settings.draws, settings.seed
    counts = matched_counts(wired.units(), a.mask, b.mask, layers, draws=draws, seed=seed)
    found, chance = map(_with_total, counts)
    kept = (
        _with_total(np.array([np.count_nonzero(c.mask.layer(n)) for n in layers], dtype=np.int64))
        for c in (a, b)
    )
    first, second = kept
    return {
        "matched_kept_both": found,
        **{f"matched_{n}": share for n, share in agreement(first, second, found).items()},
        "matched_expected_jaccard": agreement(first, second, chance)["jaccard"].mean(axis=0),
        "matched_p_value": (1 + (chance >= found).sum(axis=0)) / (1 + draws),
        "matched_status": _OK,
    }


def _with_total(counts: Array) -> Array:
    """Counts of layers (…, layers) after their sum: (…, 1 + layers)."""
    return np.concatenate([counts.sum(axis=-1, keepdims=True), counts], axis=-1)


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
        "false_positive": a - both,
        "false_negative": b - both,
        "true_negative": weights - a - b + both,
        **agreement(a, b, both),
        "expected_jaccard": expected,
        **_expected_shares(table),
        "p_value": np.exp(log_p),
        "log_p_value": log_p,
        "status": (a == 0) | (b == 0),
    }


def _expected_shares(table: Array) -> dict[str, Array]:
    """Expected precision and recall of layers (layers, 4): E[k_ab] = k_a k_b / weights."""
    size, first, second = table[:, :3].astype(np.float64).T
    with np.errstate(invalid="ignore"):
        both = _with_total(np.where(size > 0, first * second / size, 0.0))
        return {
            "expected_precision": both / _with_total(first),
            "expected_recall": both / _with_total(second),
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


def companions(group: Sequence[Checkpoint], settings: OverlapSettings) -> tuple[str, ...]:
    """Where the planted truth of a checkpoint would be found, if it is compared with that."""
    a = group[0]
    known = settings.planted and a.run and a.level is not None
    return (f"{a.run}@{a.level}.planted",) if known else ()


def _compute(
    points: Sequence[Checkpoint | None],
    settings: OverlapSettings,
    landscape: Landscape | None,
    _work: Work,
) -> xr.Dataset:
    """The overlap of the first two points; the second may be the planted truth of the first."""
    a, b = (*points, None)[:2]
    assert a is not None
    if b is None:
        who = f"run {a.run}" if a.run else f"{a.address or 'this checkpoint'}, which is of no run,"
        raise UsageError(
            f"--planted, but {who} has nothing planted in its network; train it with --from a "
            "planted run"
        )
    return overlap(a, b, settings, landscape)


def _measures(settings: OverlapSettings) -> tuple[str, ...]:
    """What is printed."""
    if settings.planted:
        shares = ("precision", "recall", "f1")
        if settings.align != "none":
            shares = ("matched_precision", "matched_recall", "matched_f1")
            return (*shares, "matched_expected_jaccard", "matched_p_value", "effective_density_a")
        return (*shares, "expected_precision", "p_value", "unit_recall", "effective_density_a")
    named = ["jaccard", "expected_jaccard", "precision", "recall", "sign_agreement"]
    if settings.align != "none":
        named += ["matched_jaccard", "matched_expected_jaccard", "matched_p_value"]
    if settings.effective:
        named += ["effective_density_a", "effective_density_b"]
    return tuple(named)


ANALYSIS = Analysis(
    schema=OVERLAP,
    settings=OverlapSettings,
    compute=_compute,
    grouping=lambda settings: EACH if settings.planted else SUCCESSIVE,
    uses_loss=lambda settings: settings.needs_network,
    measures=_measures,
    companions=companions,
)
