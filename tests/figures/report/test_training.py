"""The chart of accuracy: means over seeds with their extremes, every run in the numbers."""

from __future__ import annotations

import numpy as np
import pytest

from landscape.data_store.errors import LandscapeError
from landscape.data_store.schemas.barrier import BARRIER
from landscape.data_store.schemas.training import TRAINING
from landscape.figures.report.training import accuracy


def example():
    ds = TRAINING.example()
    ds["strategy"].values[:] = ["magnitu", "magnitu", "random"]
    ds["density"].values[:] = [1.0, 0.8, 0.64]
    ds["final_test_error"].values[:] = [[0.1, 0.2, 0.3], [0.2, 0.3, 0.5], [0.3, 0.6, 0.9]]
    return ds


def test_replicates_are_a_mean_with_their_extremes() -> None:
    chart = accuracy(example(), "digits")
    assert [panel.label for panel in chart.panels] == [
        "accuracy at the end", "accuracy at early stop", "loss at the end", "early-stop iteration",
    ]  # fmt: skip
    both, one = chart.panels[0].lines
    np.testing.assert_allclose(both.y, [85.0, 75.0, 60.0])
    np.testing.assert_allclose(both.low, [80.0, 70.0, 50.0])
    np.testing.assert_allclose(both.high, [90.0, 80.0, 70.0])
    np.testing.assert_allclose(one.y, [70.0, 40.0, 10.0])
    assert np.isnan(one.low).all()
    assert both.x == [100.0, 80.0, 64.0]
    assert "imp-a, imp-b" in both.hover[0]
    assert "2 runs" in both.hover[0]


def test_numbers_are_those_of_every_run() -> None:
    ds = example()
    chart = accuracy(ds, "digits")
    names = [column.name for column in chart.numbers.columns]
    assert len(chart.numbers.rows) == 9
    for row in chart.numbers.rows:
        at = dict(zip(names, row, strict=True))
        one = ds.sel(run=at["run"], level=at["level"])
        assert at["final_test_error"] == float(one["final_test_error"])


def test_missing_levels_are_left_out_and_unknown_values_said() -> None:
    ds = example()
    ds["status"].values[0, 2] = 2
    ds["density"].values[0, 2] = np.nan
    ds["final_test_error"].values[0, 2] = np.nan
    ds["final_test_error"].values[2, 1] = np.nan
    ds["status"].values[1, 1] = 1
    chart = accuracy(ds, "digits")
    assert len(chart.numbers.rows) == 8
    both, one = chart.panels[0].lines
    np.testing.assert_allclose(both.y, [85.0, 75.0, 50.0])
    assert np.isnan(one.y[1])
    assert chart.panels[0].note == (
        "Not known, so not drawn: random@1. Levels whose training diverged: 1."
    )


def test_a_regression_has_no_accuracy() -> None:
    ds = example()
    for name in ("final_test_error", "early_stop_test_error"):
        ds[name].values[:] = np.nan
    chart = accuracy(ds, "helix")
    assert [panel.label for panel in chart.panels] == ["loss at the end", "early-stop iteration"]


def test_other_datasets_are_refused() -> None:
    with pytest.raises(LandscapeError, match="of a training dataset has dims"):
        accuracy(BARRIER.example(), "x")
