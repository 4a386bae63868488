"""Tickets: how good levels are before and after their training, beside the planted one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from landscape.data_store.schemas.tickets import RESCALINGS, TICKET_KINDS, TICKETS
from landscape.figures.report.cases import Cases, percent, plain
from landscape.figures.report.parts import Chart, Panel, drawn
from landscape.figures.report.tabulated import tabulated, words

if TYPE_CHECKING:
    import xarray as xr

_SCALES = {
    "none": "", "planted": ", outputs ÷ planted scale",
    "least-squares": ", outputs scaled by least squares",
}  # fmt: skip
_TIMES = {"weak": "weak, after training", "strong": "strong, before training"}
_COLUMNS = (
    "density", "error", "error_se", "loss", "loss_se", "status", "truth_error", "truth_loss",
    "truth_density", "truth_status", "floor_error", "floor_loss", "floor_status",
    "collapsed_layers", "constant_outputs", "result",
)  # fmt: skip


def tickets(ds: xr.Dataset, task: str) -> list[Chart]:
    """How good the tickets of one task are, against the weights remaining.

    Accuracy where there are classes, the loss otherwise; a view for each kind of ticket and each
    scale of the outputs that is known.

    Parameters
    ----------
    ds
        A tickets dataset of one task.
    task
        Its name.

    Raises `LandscapeError` if `ds` is no tickets dataset.
    """
    TICKETS.validate(ds)
    splits = ds["split"].values.tolist()
    part = ds.sel(split="test" if "test" in splits else splits[-1])
    is_regression = not np.isfinite(part["error"].values).any()
    scales = [name for name in RESCALINGS if name in ds["rescale"].values]
    if is_regression:
        scales = sorted(scales, key=lambda name: name != "least-squares")
    panels = [
        _panel(part.sel(ticket=ticket), is_regression, ticket, scale)
        for ticket in reversed(TICKET_KINDS)
        for scale in scales
        if ticket in ds["ticket"].values
    ]
    shown, none = drawn(panels)
    return [
        Chart(
            f"Tickets of {task}",
            f"On {part['split'].values}. Lines across are the planted ticket, its outputs divided "
            "by the planted scale, and the floor, which is one answer to everything: means over "
            "the checkpoints." + none,
            shown,
            tabulated(ds, ("checkpoint", "ticket", "split", "rescale"), _COLUMNS),
        )
    ]


def _panel(part: xr.Dataset, is_regression: bool, ticket: str, scale: str) -> Panel:
    """One kind of ticket, its outputs scaled in one way."""
    one = part.sel(rescale=scale)
    cases = Cases.of(one, "checkpoint", "density")
    measure = "loss" if is_regression else "error"
    values, status = _shown(one[measure].values, is_regression), words(one["status"])
    across = {"planted ticket": _truth(part, measure), "floor": one[f"floor_{measure}"].values}
    means = {name: _mean(_shown(found, is_regression)) for name, found in across.items()}
    levels = [(name, mean) for name, mean in means.items() if np.isfinite(mean)]
    return Panel(
        f"{_TIMES[ticket]}{_SCALES[scale]}",
        "weights remaining (%)",
        "loss" if is_regression else "accuracy (%)",
        cases.lines(values, plain if is_regression else percent, status=status),
        density=True,
        log_y=is_regression,
        levels=levels,
        note=cases.note(values, status),
    )


def _truth(part: xr.Dataset, measure: str) -> Any:
    """How good the planted ticket is, its outputs divided by the planted scale if known."""
    truth = part[f"truth_{measure}"]
    plain, planted = (
        truth.sel(rescale=name).values if name in part["rescale"].values else np.array(np.nan)
        for name in RESCALINGS[:2]
    )
    return np.where(np.isfinite(planted), planted, plain)


def _shown(values: Any, is_regression: bool) -> Any:
    """Losses as they are, errors as accuracies in percent."""
    return values if is_regression else 100 * (1 - values)


def _mean(values: Any) -> float:
    """The mean of what is known, NaN if nothing is."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")
