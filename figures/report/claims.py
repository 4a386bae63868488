"""The seven claims of a study, and what was counted for and against each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from landscape.data_store.schemas.insights import INSIGHTS
from landscape.figures.report.parts import Chart, Column, Line, Numbers, Panel

if TYPE_CHECKING:
    import xarray as xr

_TEXTS = ("verdict", "statement", "measured", "rule")
_HEADS = {
    "claim": "claim", "verdict": "verdict", "statement": "what is claimed", "measured": "measured",
    "rule": "rule",
}  # fmt: skip
_COUNTS = ("comparisons", "in_favour", "against")


def claims(ds: xr.Dataset) -> list[Chart]:
    """For each study its verdicts, and the comparisons behind them.

    Parameters
    ----------
    ds
        An insights dataset.

    Raises `LandscapeError` if `ds` is no insights dataset.
    """
    INSIGHTS.validate(ds)
    studies = [ds.isel(study=i) for i in range(ds.sizes["study"])]
    return [chart for study in studies for chart in (_verdicts(study), _comparisons(study))]


def _numbers(study: xr.Dataset) -> list[str]:
    """The numbers of the claims, as text."""
    return [f"{claim:g}" for claim in study["claim"].values.tolist()]


def _verdicts(study: xr.Dataset) -> Chart:
    """The verdict on each claim, and by which numbers and rule."""
    rows = [
        [number, *(str(study[name].values[i]) for name in _TEXTS)]
        for i, number in enumerate(_numbers(study))
    ]
    split, measure = str(study["judged_split"].values), str(study["measure"].values)
    return Chart(
        f"Verdicts on {study['study'].values}",
        f"Judged by the {split} {measure}. Each claim is a hypothesis that is tested by a stated "
        "rule; undecided means that a comparison is missing or too close.",
        (),
        Numbers([Column(n, h) for n, h in _HEADS.items()], rows),
    )


def _comparisons(study: xr.Dataset) -> Chart:
    """How many comparisons were for and against each claim."""
    numbers, verdicts = _numbers(study), study["verdict"].values.tolist()
    made, favour, against = (study[name].values.astype(float) for name in _COUNTS)
    counted = {"for": favour, "against": against, "too close": made - favour - against}
    places = np.arange(len(numbers), dtype=float).tolist()
    lines = [
        Line(
            name, values.tolist(), places,
            [f"claim {n}: {name} {v:g}" for n, v in zip(numbers, values, strict=True)],
        )
        for name, values in counted.items()
    ]  # fmt: skip
    words = [f"claim {n}: {verdict}" for n, verdict in zip(numbers, verdicts, strict=True)]
    panel = Panel("comparisons", "comparisons", "", lines, bars=True, categories=words)
    rows = [
        [n, verdict, *(None if np.isnan(v[i]) else float(v[i]) for v in counted.values())]
        for i, (n, verdict) in enumerate(zip(numbers, verdicts, strict=True))
    ]
    columns = [Column(name.replace(" ", "_"), name) for name in ("claim", "verdict", *counted)]
    return Chart(
        f"Comparisons of {study['study'].values}",
        "How many comparisons bear a claim out, contradict it, or are too close to tell.",
        [panel] if np.nansum(made) else [],
        Numbers(columns, rows),
    )


def wanted(ds: xr.Dataset) -> list[str]:
    """Commands that would decide claims that are undecided, once each."""
    texts = ds["missing"].values.ravel().tolist()
    return list(dict.fromkeys(line for text in texts for line in text.split("; ") if line))
