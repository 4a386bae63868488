"""The charts of overlaps: each layer beside chance, and the planted ticket."""

from __future__ import annotations

import numpy as np
import pytest

from landscape.data_store.errors import LandscapeError
from landscape.data_store.schemas.barrier import BARRIER
from landscape.data_store.schemas.overlap import OVERLAP
from landscape.figures.report.overlaps import overlaps, truths


def test_every_layer_is_a_view_all_of_them_first() -> None:
    ds = OVERLAP.example()
    (chart,) = overlaps(ds)
    assert [panel.label for panel in chart.panels] == ["all layers", "fc1.weight", "fc2.weight"]
    chance, own = chart.panels[1].lines
    assert chance.reference
    order = np.argsort(-ds["density_b"].values, kind="stable")
    one = ds.sel(layer="fc1.weight").isel(pair=order)
    np.testing.assert_array_equal(own.y, one["jaccard"].values)
    np.testing.assert_array_equal(chance.y, one["expected_jaccard"].values)
    assert chance.name.startswith(own.name)


def test_the_planted_ticket_is_at_the_density_of_the_mask() -> None:
    ds = OVERLAP.example()
    (chart,) = truths(ds)
    assert [panel.label for panel in chart.panels] == ["recall", "precision", "jaccard"]
    order = np.argsort(-ds["density_a"].values, kind="stable")
    own = chart.panels[0].lines[-1]
    np.testing.assert_array_equal(own.x, 100 * ds["density_a"].values[order])
    np.testing.assert_array_equal(own.y, ds["recall"].sel(layer="all").values[order])


def test_results_of_an_older_version_have_no_chance_of_recall() -> None:
    ds = OVERLAP.example()
    old = ds[[n for n, v in OVERLAP.variables.items() if not v.optional]]
    (chart,) = truths(old)
    assert not any(line.reference for line in chart.panels[0].lines)
    assert any(line.reference for line in chart.panels[2].lines)


def test_an_empty_mask_is_named() -> None:
    ds = OVERLAP.example()
    ds["status"].values[0] = 1
    ds["jaccard"].values[0] = np.nan
    (chart,) = overlaps(ds)
    assert "imp@0 imp@1 (an empty mask)" in chart.panels[0].note


@pytest.mark.parametrize("function", [overlaps, truths])
def test_other_datasets_are_refused(function) -> None:
    with pytest.raises(LandscapeError, match="overlap dataset needs"):
        function(BARRIER.example())
