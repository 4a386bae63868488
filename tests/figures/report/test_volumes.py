"""The chart of volumes: estimates with their errors, rejected ones open and unknown ones said."""

from __future__ import annotations

import numpy as np
import pytest

from landscape.data_store.errors import LandscapeError
from landscape.data_store.schemas.barrier import BARRIER
from landscape.data_store.schemas.volume import VOLUME
from landscape.figures.report.volumes import volumes


def test_there_is_a_line_for_each_estimator() -> None:
    ds = VOLUME.example()
    (chart,) = volumes(ds)
    assert [panel.label for panel in chart.panels] == [
        "per dimension", "log volume", "effective sample size",
    ]  # fmt: skip
    panel = chart.panels[1]
    assert [line.name.rpartition(", ")[2] for line in panel.lines] == ["monte-carlo", "hessian"]
    order = np.argsort(-ds["density"].values, kind="stable")
    one = ds.sel(estimator="hessian").isel(checkpoint=order)
    np.testing.assert_array_equal(panel.lines[1].y, one["log_volume"].values)
    ends = one["log_volume"].values + one["log_volume_se"].values
    np.testing.assert_array_equal(panel.lines[1].high, ends)


def test_rejected_estimates_are_open_and_unknown_ones_are_not_zero() -> None:
    ds = VOLUME.example()
    ds["status"].values[0, 0] = 1
    ds["status"].values[1, 0] = 8
    for name in ("log_volume", "log_volume_per_dimension"):
        ds[name].values[1, 0] = np.nan
    (chart,) = volumes(ds)
    line = chart.panels[0].lines[0]
    assert sum(line.doubtful) == 2
    assert np.isnan(line.y).sum() == 1
    assert "monte-carlo: Not known, so not drawn: 1 of 3: imp@1 (cutoff below own loss)" in (
        chart.panels[0].note
    )
    names = [column.name for column in chart.numbers.columns]
    row = next(row for row in chart.numbers.rows if row[:2] == ("imp@1", "monte-carlo"))
    at = dict(zip(names, row, strict=True))
    assert (at["log_volume"], at["status"]) == (None, "cutoff below own loss")


def test_nothing_known_is_a_table_that_says_so() -> None:
    ds = VOLUME.example()
    for name in ("log_volume", "log_volume_per_dimension", "effective_sample_size"):
        ds[name].values[:] = np.nan
    (chart,) = volumes(ds)
    assert not chart.panels
    assert chart.says.endswith("No value is known that could be drawn.")
    assert len(chart.numbers.rows) == 6


def test_other_datasets_are_refused() -> None:
    with pytest.raises(LandscapeError, match="volume dataset needs"):
        volumes(BARRIER.example())
