"""The charts of sublevel sets: counts of verdicts, margins and barriers as stored."""

from __future__ import annotations

import numpy as np
import pytest

from landscape.data_store.errors import LandscapeError
from landscape.data_store.schemas.barrier import BARRIER
from landscape.data_store.schemas.sublevel import SUBLEVEL
from landscape.figures.report.sublevels import PATH, sublevels


def example(measure: str = "error"):
    ds = SUBLEVEL.example()
    ds["measure"].values[:] = measure[:7]
    ds["epsilon"].values[:] = 0.02
    return ds


def test_verdicts_are_counted_and_unknown_is_not_outside() -> None:
    ds = example()
    ds["claim_sublevel"].values[:] = [[1, 1], [0, np.nan], [1, np.nan]]
    ds["claim_connected"].values[:] = [[0, 0], [1, 1], [np.nan, 1]]
    chart, _ = sublevels(ds)
    names = [column.name for column in chart.numbers.columns]
    rows = [dict(zip(names, row, strict=True)) for row in chart.numbers.rows]
    train = next(row for row in rows if row["split"] == "train")
    assert (train["inside"], train["outside"], train["inside_unknown"]) == (2, 1, 0)
    assert (train["connected"], train["not_connected"], train["connected_unknown"]) == (1, 1, 1)
    test = next(row for row in rows if row["split"] == "test")
    assert (test["inside"], test["outside"], test["inside_unknown"]) == (1, 0, 2)


@pytest.mark.parametrize(("measure", "factor"), [("error", 100.0), ("loss", 1.0)])
def test_margins_have_the_unit_of_the_measure(measure: str, factor: float) -> None:
    ds = example(measure)
    _, chart = sublevels(ds)
    panel = next(panel for panel in chart.panels if panel.label == "solution, test")
    order = np.argsort(-ds["density_b"].values, kind="stable")
    one = ds.sel(split="test", point="solution").isel(transition=order)
    values = factor * one["margin"].values
    np.testing.assert_array_equal(panel.lines[0].y, values)
    np.testing.assert_allclose(panel.lines[0].high, values + 2 * factor * one["margin_se"].values)
    assert panel.levels == [("edge of the sublevel set", 0.0)]
    barrier = next(panel for panel in chart.panels if panel.label == "barrier, train")
    stored = ds["barrier"].sel(split="train", path=PATH).values[order]
    np.testing.assert_array_equal(barrier.lines[0].y, factor * stored)
    assert barrier.levels == [("slack", pytest.approx(factor * 0.02))]


def test_what_is_too_close_to_tell_is_open() -> None:
    ds = example()
    point = ds["point"].values.tolist().index("solution")
    ds["status"].values[0, :, point] = 1
    _, chart = sublevels(ds)
    line = chart.panels[0].lines[0]
    first = int(np.flatnonzero(["imp@0 imp@1" in text for text in line.hover])[0])
    assert [i for i, flag in enumerate(line.doubtful) if flag] == [first]
    assert "within two standard errors" in line.hover[first]


def test_other_datasets_are_refused() -> None:
    with pytest.raises(LandscapeError, match="sublevel dataset needs"):
        sublevels(BARRIER.example())
