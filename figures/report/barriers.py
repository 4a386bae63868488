"""Barriers between checkpoints, and the loss on the lines between them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from landscape.data_store.schemas.barrier import BARRIER
from landscape.figures.report.cases import MOST_NAMES, Cases, percent, plain
from landscape.figures.report.parts import Chart, Line, Panel, drawn
from landscape.figures.report.tabulated import tabulated, words

if TYPE_CHECKING:
    import xarray as xr

_MEASURES = {"error": (100.0, "%", percent), "loss": (1.0, "nats per example", plain)}
_HEIGHTS = (
    "density_a", "density_b", "error_barrier", "error_barrier_se", "error_barrier_low",
    "error_barrier_high", "loss_barrier", "loss_barrier_se", "loss_barrier_low",
    "loss_barrier_high", "distance", "angular_distance", "examples", "stable", "status", "result",
)  # fmt: skip
_ON_THE_LINE = ("loss", "loss_se", "error", "error_se")


def barriers(ds: xr.Dataset, definition: str = "lmc") -> list[Chart]:
    """Barriers against the weights remaining, and the values on the lines they are the height of.

    Parameters
    ----------
    ds
        A barrier dataset.
    definition
        Which definition of the barrier is drawn; the numbers hold all.

    Raises `LandscapeError` if `ds` is no barrier dataset.
    """
    BARRIER.validate(ds)
    panels, none = drawn(list(_height_panels(ds, definition)))
    heights = Chart(
        "Barriers",
        f"Height of the barrier on the straight line between two checkpoints (definition "
        f"{definition}: the maximum above the mean of the ends), at the weights remaining in the "
        "second. Bars are the 95 % interval where one was asked for. The numbers hold all four "
        "definitions." + none,
        panels,
        tabulated(ds, ("pair", "split"), _HEIGHTS),
    )
    return [heights, _curves(ds)]


def splits(ds: xr.Dataset) -> list[str]:
    """The splits of a dataset, test first."""
    return sorted(ds["split"].values.tolist(), key=lambda name: (name != "test", name))


def _height_panels(ds: xr.Dataset, definition: str) -> Iterator[Panel]:
    """A panel for each measure and split."""
    cases = Cases.of(ds, "pair", "density_b")
    for measure, (factor, unit, said) in _MEASURES.items():
        for split in splits(ds):
            one = ds.sel(split=split, definition=definition)
            values, status = factor * one[f"{measure}_barrier"].values, words(one["status"])
            low, high = (
                factor * one[name].values if name in one else None
                for name in (f"{measure}_barrier_low", f"{measure}_barrier_high")
            )
            lines = cases.lines(values, said, low=low, high=high, status=status)
            note = cases.note(values, status)
            yield Panel(
                f"{measure}, {split}", "weights remaining (%)",
                f"{measure} barrier ({unit})", lines, density=True, note=note,
            )  # fmt: skip


def _curves(ds: xr.Dataset) -> Chart:
    """Loss and error on the lines, those with the highest barriers where there are many."""
    chosen = _highest(ds)
    part = ds.isel(pair=chosen)
    panels = [
        Panel(
            f"{measure}, {split}",
            "position on the line, 0 the first checkpoint",
            f"{measure} ({unit})",
            _paths(part.sel(split=split), factor * part[measure].sel(split=split).values, said),
            note=f"The {len(chosen)} of {ds.sizes['pair']} lines with the highest barriers."
            if len(chosen) < ds.sizes["pair"]
            else "",
        )
        for measure, (factor, unit, said) in _MEASURES.items()
        for split in splits(ds)
    ]
    shown, none = drawn(panels)
    return Chart(
        "On the lines",
        "Loss and error at the positions of each line." + none,
        shown,
        tabulated(part, ("pair", "split", "alpha"), _ON_THE_LINE),
    )


def _highest(ds: xr.Dataset) -> list[int]:
    """The pairs that are drawn, in their own order: the highest where there are too many."""
    if ds.sizes["pair"] <= MOST_NAMES:
        return list(range(ds.sizes["pair"]))
    height = ds["loss_barrier"].isel(definition=0).sel(split=splits(ds)[0]).values
    order = np.argsort(-np.nan_to_num(height, nan=-np.inf), kind="stable")
    return sorted(order[:MOST_NAMES].tolist())


def _paths(one: xr.Dataset, values: Any, said: Any) -> list[Line]:
    """A line per pair, at the positions it was asked at."""
    alpha = one["alpha"].values.astype(float)
    asked = np.ones(values.shape, dtype=bool)
    if "alpha_present" in one.coords:
        asked = one["alpha_present"].values.astype(bool)
    found = []
    for pair, own, heights in zip(one["pair"].values.tolist(), asked, values, strict=True):
        x, y = alpha[own].tolist(), heights[own].tolist()
        hover = [f"{pair}\nat {a:.3g}: {said(v)}" for a, v in zip(x, y, strict=True)]
        found.append(Line(pair, x, y, hover))
    return found
