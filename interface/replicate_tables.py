"""Replicate tables: training and verdicts, averaged over runs that differ by seed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from landscape.data_store.params import Array
from landscape.sheet import Cell, Column, Quantity, Sheet

if TYPE_CHECKING:
    import xarray as xr

_NAMED = 6  # runs that a caption names
_DIVERGED, _ABSENT = 1, 2
# what replicates share besides their strategy, where the dataset says it
_PLACES = {
    "target": "task",
    "optimizer": "optimiser",
    "source": "masks from",
    "source_optimizer": "found with",
}

_MEASURED = (
    ("early_stop_step", Column("early_stop_step", "early stop at", "iterations")),
    ("early_stop_test_error", Column("early_stop_test_accuracy", "test accuracy then", "fraction")),
    ("final_test_error", Column("test_accuracy", "test accuracy at the end", "fraction")),
)


def training(ds: xr.Dataset, spread: str) -> Sheet:
    """A row per strategy and level: mean over the runs that are replicates of each other.

    Parameters
    ----------
    ds
        A training dataset.
    spread
        ``std`` or ``range``, of the runs that have a number.

    Replicates are of one task, optimiser and origin of the masks, as far as the dataset says; what
    is one strategy and schedule of densities is as `landscape.figures.replicates` says.
    """
    from landscape.figures.replicates import replicates

    places = {name: title for name, title in _PLACES.items() if name in ds.coords}
    groups = [
        group.training
        for alike in _alike(ds, list(places))
        for group in replicates(ds.isel(run=alike))
    ]
    columns = (
        Column("strategy", "strategy"),
        *(
            Column(name, title, is_detail=len(set(ds[name].values.tolist())) == 1)
            for name, title in places.items()
        ),
        Column("level", "level", "1"),
        Column("density", "weights kept", "fraction"),
        *(replace(column, spread=spread) for _, column in _MEASURED),
        Column("replicates", "runs", "count"),
        Column("runs", "names of the runs", is_detail=True),
        Column("status", "status"),
    )
    rows = [
        (label, *_place(group, places), *_level(group.isel(level=i), spread))
        for label, group in zip(_labels(groups, places), groups, strict=True)
        for i in range(group.sizes["level"])
        if (group["status"].values[:, i] != _ABSENT).any()
    ]
    notes = (_spread_note(spread),) if any(group.sizes["run"] > 1 for group in groups) else ()
    return Sheet("training", f"Training of {_runs(ds['run'].values)}", columns, rows, notes)


def _alike(ds: xr.Dataset, places: Sequence[str]) -> list[list[int]]:
    """Runs that were trained on the same task in the same way, in order of first appearance."""
    found: dict[tuple[str, ...], list[int]] = {}
    for i in range(ds.sizes["run"]):
        found.setdefault(tuple(str(ds[name].values[i]) for name in places), []).append(i)
    return list(found.values())


def _place(group: xr.Dataset, places: Iterable[str]) -> list[str]:
    """What the runs of a group share."""
    return [str(group[name].values[0]) for name in places]


def _labels(groups: Sequence[xr.Dataset], places: Iterable[str]) -> list[str]:
    """The strategy of each group, with its first run where several have the same."""
    alike = [_place(group, ["strategy", *places]) for group in groups]
    return [
        f"{own[0]}: {group['run'].values[0]}" if alike.count(own) > 1 else own[0]
        for own, group in zip(alike, groups, strict=True)
    ]


def _level(at: xr.Dataset, spread: str) -> Sequence[Cell]:
    """The numbers of one level of replicates."""
    status = at["status"].values
    values = [
        1.0 - at[name].values if column.units == "fraction" else at[name].values
        for name, column in _MEASURED
    ]
    return (
        Quantity(float(at["level"])),
        Quantity(_mean(at["density"].values)),
        *(_over_runs(of_runs, spread) for of_runs in values),
        Quantity(float((status != _ABSENT).sum())),
        " ".join(map(str, at["run"].values)),
        _how_it_ended(status, values),
    )


def _how_it_ended(status: Array, values: Sequence[Array]) -> str:
    """What the numbers of a level are worth: its runs that diverged, lack it or a number."""
    count = len(status)
    ended = [
        _share(int((status == code).sum()), count, word)
        for code, word in ((_DIVERGED, "diverged"), (_ABSENT, "absent"))
    ]
    here = status != _ABSENT
    for known, word in zip(values[::2], ("no early stop known", "no test accuracy"), strict=True):
        ended.append(_share(int(np.isnan(known[here]).sum()), int(here.sum()), word))
    return "; ".join(filter(None, ended)) or "ok"


def _share(some: int, count: int, word: str) -> str:
    """``2 of 3 diverged``, the word alone where it is all of one or more, nothing for none."""
    return "" if not some else word if some == count else f"{some} of {count} {word}"


def _over_runs(values: Array, spread: str) -> Quantity:
    """Mean of what is known, with its spread where more than one is."""
    known = values[~np.isnan(values)]
    if len(known) < 2:
        return Quantity(_mean(known))
    if spread == "range":
        return Quantity(_mean(known), low=float(known.min()), high=float(known.max()))
    return Quantity(_mean(known), float(np.std(known, ddof=1)))


def _mean(values: Array) -> float:
    """Mean of the numbers that are known, NaN of none."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else math.nan


def _spread_note(spread: str) -> str:
    """What stands behind a mean over runs."""
    if spread == "range":
        return "Means over the runs, with the least and the greatest."
    return "Means over the runs, ± one standard deviation of a sample."


def _runs(names: Any) -> str:
    """The runs of a caption, the first of many."""
    shown = [str(name) for name in names[:_NAMED]]
    more = [f"{len(names) - _NAMED} more"] if len(names) > _NAMED else []
    *most, last = shown + more
    return f"{', '.join(most)} and {last}" if most else last


def insights(ds: xr.Dataset, spread: str) -> Sheet:
    """A row per claim: its verdict, what speaks for it, and its headline number."""
    columns = (
        Column("study", "runs", is_detail=True),
        Column("claim", "claim", "1"),
        Column("statement", "what is claimed"),
        Column("verdict", "verdict"),
        Column("comparisons", "comparisons", "count"),
        Column("in_favour", "for", "count"),
        Column("against", "against", "count"),
        Column("effect", "headline number", "1", spread),
        Column("effect_name", "which is"),
        Column("measured", "measured", is_detail=True),
        Column("rule", "rule", is_detail=True),
        Column("missing", "to decide", is_detail=True),
        Column("status", "status"),
    )
    rows: list[Sequence[Cell]] = []
    missing = []
    for study, claim in np.ndindex(ds.sizes["study"], ds.sizes["claim"]):
        one = ds.isel(study=study, claim=claim)
        lacks, number = str(one["missing"].values), float(one["claim"])
        effect = _over_runs(one["effect"].values, spread)
        rows.append(
            (
                str(one["study"].values),
                Quantity(number),
                *(str(one[name].values) for name in ("statement", "verdict")),
                *(Quantity(float(one[n])) for n in ("comparisons", "in_favour", "against")),
                effect,
                *(str(one[name].values) for name in ("effect_name", "measured", "rule")),
                lacks,
                "something is missing" if lacks else "ok" if effect.value == effect.value
                else "no headline number",
            )
        )  # fmt: skip
        missing += [f"To decide claim {number:g}: {lacks}."] if lacks else []
    notes = (_spread_note(spread),) if ds.sizes["replicate"] > 1 else ()
    names = ", ".join(map(str, ds["study"].values))
    notes = (*notes, *_judged_by(ds), *missing)
    return Sheet("insights", f"Seven claims judged on {names}", columns, rows, notes)


def _judged_by(ds: xr.Dataset) -> list[str]:
    """What the claims were judged by, of each study."""
    return [
        f"Judged by the {one['measure'].values} on the {one['judged_split'].values} split, with "
        f"slack {float(one['epsilon']):g} and the barrier {one['definition'].values}."
        for one in (ds.isel(study=study) for study in range(ds.sizes["study"]))
    ]
