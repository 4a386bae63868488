"""Volumes of minima, with what the estimators say of themselves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from landscape.data_store.schemas.volume import VOLUME
from landscape.figures.report.cases import Cases, plain
from landscape.figures.report.parts import Chart, Line, Panel, drawn
from landscape.figures.report.tabulated import tabulated, words

if TYPE_CHECKING:
    import xarray as xr

_VIEWS = {
    "log_volume_per_dimension": ("per dimension", "log volume per dimension (nats)"),
    "log_volume": ("log volume", "log volume (nats)"),
    "effective_sample_size": ("effective sample size", "effective number of rays"),
}
_COLUMNS = (
    "density", "status", "log_volume_per_dimension", "log_volume_per_dimension_se", "log_volume",
    "log_volume_se", "log_volume_lower_bound", "effective_sample_size", "censored",
    "quadratic_gap", "damping", "log_determinant", "log_determinant_se", "n_parameters",
    "normalization", "cutoff_mode", "cutoff", "own_loss", "own_error", "largest_radius",
    "examples", "split", "result",
)  # fmt: skip


def volumes(ds: xr.Dataset) -> list[Chart]:
    """Log volumes against the weights remaining, and their diagnostics.

    Parameters
    ----------
    ds
        A volume dataset.

    Raises `LandscapeError` if `ds` is no volume dataset.
    """
    VOLUME.validate(ds)
    panels, none = drawn(list(_panels(ds)))
    return [
        Chart(
            "Volumes",
            "Log volume of the sublevel set around each checkpoint, within its mask. Bars are one "
            "standard error to each side, over rays. An estimate that its own diagnostics reject "
            "is drawn open; its reason is in the numbers." + none,
            panels,
            tabulated(ds, ("checkpoint", "estimator"), _COLUMNS),
        )
    ]


def _panels(ds: xr.Dataset) -> Iterator[Panel]:
    """A panel for each measure, with a line for each estimator."""
    cases = Cases.of(ds, "checkpoint", "density")
    names = ds["estimator"].values.tolist()
    for variable, (label, title) in _VIEWS.items():
        lines: list[Line] = []
        notes = []
        for name in names:
            one = ds.sel(estimator=name)
            values, status = one[variable].values, words(one["status"])
            se = one[f"{variable}_se"].values if f"{variable}_se" in one else np.nan * values
            suffix = f", {name}" if len(names) > 1 else ""
            lines += cases.lines(
                values, plain, low=values - se, high=values + se, status=status, suffix=suffix
            )
            note = cases.note(values, status)
            notes += [f"{name}: {note}" if len(names) > 1 else note] if note else []
        yield Panel(
            label, "weights remaining (%)", title, lines, density=True, note=" ".join(notes)
        )
