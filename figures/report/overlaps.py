"""Overlap of masks: of successive ones, and with a planted ticket."""

from __future__ import annotations

from typing import TYPE_CHECKING

from landscape.data_store.schemas.overlap import OVERLAP
from landscape.figures.report.cases import Cases, plain
from landscape.figures.report.parts import Chart, Panel, drawn
from landscape.figures.report.tabulated import tabulated, words

if TYPE_CHECKING:
    import xarray as xr

ALL = "all"
_MOST_LAYERS = 24
_TRUTH_VIEWS = {
    "recall": "recall of the planted ticket",
    "precision": "precision of the mask",
    "jaccard": "Jaccard index",
}
_COLUMNS = (
    "density_a", "density_b", "weights", "kept_a", "kept_b", "kept_both", "jaccard",
    "expected_jaccard", "precision", "expected_precision", "recall", "expected_recall", "f1",
    "p_value", "log_p_value", "sign_agreement", "unit_precision", "unit_recall", "status", "result",
)  # fmt: skip


def overlaps(ds: xr.Dataset) -> list[Chart]:
    """Jaccard index of the two masks of each pair, layer by layer, beside chance.

    Parameters
    ----------
    ds
        An overlap dataset.

    Raises `LandscapeError` if `ds` is no overlap dataset.
    """
    OVERLAP.validate(ds)
    layers = sorted(ds["layer"].values.tolist(), key=lambda name: name != ALL)
    says = (
        "Jaccard index of the weights that two masks keep, at the weights remaining in the second. "
        "Dotted is what random masks of the same layer sizes would give."
    )
    panels = []
    for layer in layers[:_MOST_LAYERS]:
        label = "all layers" if layer == ALL else layer
        panels.append(_panel(ds, layer, label, "jaccard", "Jaccard index", "density_b"))
    if len(layers) > _MOST_LAYERS:
        says += f" The first {_MOST_LAYERS} of {len(layers)} tensors can be chosen."
    shown, none = drawn(panels)
    return [
        Chart("Overlap of masks", says + none, shown, tabulated(ds, ("pair", "layer"), _COLUMNS))
    ]


def truths(ds: xr.Dataset) -> list[Chart]:
    """How much of a planted ticket masks hold, beside chance.

    Parameters
    ----------
    ds
        An overlap dataset whose second masks are planted tickets.

    Raises `LandscapeError` if `ds` is no overlap dataset.
    """
    OVERLAP.validate(ds)
    panels = [
        _panel(ds, ALL, measure, measure, title, "density_a")
        for measure, title in _TRUTH_VIEWS.items()
    ]
    shown, none = drawn(panels)
    return [
        Chart(
            "Overlap with the planted ticket",
            "The mask of each checkpoint beside the ticket that was hidden in its network, all "
            "layers together: recall is the share of the ticket that the mask keeps, precision the "
            "share of the mask that is in the ticket. Dotted is what random masks of the same "
            "layer sizes would give." + none,
            shown,
            tabulated(ds, ("pair", "layer"), _COLUMNS),
        )
    ]


def _panel(ds: xr.Dataset, layer: str, label: str, measure: str, title: str, density: str) -> Panel:
    """One measure of one layer, with what is expected of chance."""
    cases = Cases.of(ds, "pair", density)
    one = ds.sel(layer=layer)
    values, status = one[measure].values, words(one["status"])
    lines = cases.lines(values, plain, status=status)
    expected = f"expected_{measure}"
    if expected in one:
        lines = [
            *cases.lines(one[expected].values, plain, suffix=", by chance", reference=True),
            *lines,
        ]
    return Panel(
        label, "weights remaining (%)", title, lines, density=True, note=cases.note(values, status)
    )
