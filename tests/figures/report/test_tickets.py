"""The chart of tickets: accuracies of classes, losses of regressions, beside truth and floor."""

from __future__ import annotations

import numpy as np
import pytest

from landscape.data_store.errors import LandscapeError
from landscape.data_store.schemas.barrier import BARRIER
from landscape.data_store.schemas.tickets import TICKETS
from landscape.figures.report.tickets import tickets


def test_classes_are_drawn_as_accuracies() -> None:
    ds = TICKETS.example()
    (chart,) = tickets(ds, "circle")
    assert chart.title == "Tickets of circle"
    panel = chart.panels[0]
    assert panel.label == "weak, after training"
    one = ds.sel(split="test", ticket="weak", rescale="none")
    order = np.argsort(-ds["density"].values, kind="stable")
    np.testing.assert_allclose(panel.lines[0].y, 100 * (1 - one["error"].values[order]))
    truth = 100 * (1 - ds["truth_error"].sel(split="test", rescale="planted").values.mean())
    assert panel.levels[0] == ("planted ticket", pytest.approx(truth))
    assert panel.levels[1][0] == "floor"
    assert not panel.log_y


def test_regressions_are_drawn_as_losses_scaled_by_least_squares_first() -> None:
    ds = TICKETS.example()
    for name in ("error", "truth_error", "floor_error"):
        ds[name].values[:] = np.nan
    (chart,) = tickets(ds, "helix")
    assert chart.panels[0].label == "weak, after training, outputs scaled by least squares"
    assert chart.panels[0].log_y
    one = ds.sel(split="test", ticket="weak", rescale="least-squares")
    assert sorted(chart.panels[0].lines[0].y) == sorted(one["loss"].values)


def test_scales_that_are_not_known_are_no_view() -> None:
    ds = TICKETS.example()
    ds["error"].sel(rescale="planted").values[:] = np.nan
    (chart,) = tickets(ds, "circle")
    assert not any("planted scale" in panel.label for panel in chart.panels)
    assert len(chart.panels) == 4


def test_without_a_truth_only_the_floor_is_drawn() -> None:
    ds = TICKETS.example()
    ds["truth_error"].values[:] = np.nan
    (chart,) = tickets(ds, "digits")
    assert [name for name, _ in chart.panels[0].levels] == ["floor"]


def test_other_datasets_are_refused() -> None:
    with pytest.raises(LandscapeError, match="tickets dataset needs"):
        tickets(BARRIER.example(), "circle")
