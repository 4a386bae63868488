"""Sublevel verdicts: which solutions share a sublevel set, and a path inside it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from landscape.data_store.schemas.sublevel import SUBLEVEL
from landscape.figures.report.barriers import splits
from landscape.figures.report.cases import Cases, percent, plain
from landscape.figures.report.parts import Chart, Column, Numbers, Panel, drawn
from landscape.figures.report.tabulated import tabulated, words

if TYPE_CHECKING:
    import xarray as xr

PATH = "previous-solution"
_POINTS = {"solution": "solution", "baseline": "baseline, not trained yet"}
_COLUMNS = (
    "density_a", "density_b", "claim_sublevel", "claim_connected", "threshold", "margin",
    "margin_se", "status", "error", "loss", "barrier", "barrier_se", "path_status", "distance",
    "angle", "result",
)  # fmt: skip


def sublevels(ds: xr.Dataset) -> list[Chart]:
    """Verdicts by line, and by how much solutions and paths are inside.

    Parameters
    ----------
    ds
        A sublevel dataset, of one measure and slack.

    Raises `LandscapeError` if `ds` is no sublevel dataset.
    """
    SUBLEVEL.validate(ds)
    measure = str(ds["measure"].values[0])
    factor, unit, said = (100.0, "pp", percent)
    if measure == "loss":
        factor, unit, said = (1.0, "nats per example", plain)
    slack = said(factor * float(ds["epsilon"].values[0]))
    panels, none = drawn(list(_panels(ds, measure, factor, unit, said)))
    return [
        _verdicts(ds),
        Chart(
            "Inside, and by how much",
            f"Below zero a point is inside the sublevel set of the solution before: its {measure} "
            f"is at most {slack} above that one's. The barrier between the two solutions is "
            f"connected up to {slack}. Bars are two paired standard errors to each side; what lies "
            "within them is drawn open."
            + (" pp: percentage points." if unit == "pp" else "")
            + none,
            panels,
            tabulated(ds, ("transition", "split"), _COLUMNS),
        ),
    ]


def _verdicts(ds: xr.Dataset) -> Chart:
    """How many solutions of each line are inside, and connected; unknown ones counted apart."""
    cases = Cases.of(ds, "transition", "density_b")
    rows: list[list[float | str | None]] = []
    for name in dict.fromkeys(cases.names):
        here = [i for i, other in enumerate(cases.names) if other == name]
        for split in splits(ds):
            row: list[float | str | None] = [name, split, float(len(here))]
            for claim in ("claim_sublevel", "claim_connected"):
                values = ds[claim].sel(split=split).values[here]
                counts = (values == 1).sum(), (values == 0).sum(), np.isnan(values).sum()
                row += [float(count) for count in counts]
            rows.append(row)
    heads = ("line", "split", "transitions", "inside", "outside", "inside: unknown",
             "connected", "not connected", "connected: unknown")  # fmt: skip
    columns = [Column(head.replace(":", "").replace(" ", "_"), head) for head in heads]
    return Chart(
        "Verdicts",
        "Of how many transitions the solution is inside the sublevel set of the one before, and "
        "joined to it by a straight path without a barrier above the slack.",
        (),
        Numbers(columns, rows),
    )


def _panels(
    ds: xr.Dataset, measure: str, factor: float, unit: str, said: object
) -> Iterator[Panel]:
    """Margins of solutions and baselines, and barriers, on each split."""
    assert callable(said)
    cases = Cases.of(ds, "transition", "density_b")
    slack = factor * float(ds["epsilon"].values[0])
    for split in splits(ds):
        views = [
            (name, f"{measure} above the threshold ({unit})", one["margin"], one["margin_se"],
             words(one["status"]), ("edge of the sublevel set", 0.0))
            for point, name in _POINTS.items()
            for one in [ds.sel(split=split, point=point)]
        ]  # fmt: skip
        one = ds.sel(split=split, path=PATH)
        views.append(
            ("barrier", f"{measure} barrier ({unit})", one["barrier"], one["barrier_se"],
             words(one["path_status"]), ("slack", slack))
        )  # fmt: skip
        for name, title, variable, se, status, level in views:
            values, reach = factor * variable.values, 2 * factor * se.values
            lines = cases.lines(
                values, said, low=values - reach, high=values + reach, status=status
            )
            yield Panel(
                f"{name}, {split}", "weights remaining (%)", title, lines, density=True,
                levels=[level], note=cases.note(values, status),
            )  # fmt: skip
