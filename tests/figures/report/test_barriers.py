"""The chart of barriers: heights and lines as they are stored."""

from __future__ import annotations

import numpy as np
import pytest

from landscape.data_store.errors import LandscapeError
from landscape.data_store.join import join
from landscape.data_store.result_file import Result
from landscape.data_store.schemas.barrier import BARRIER
from landscape.data_store.schemas.overlap import OVERLAP
from landscape.figures.report.barriers import barriers, splits
from landscape.figures.report.cases import MOST_NAMES
from tests.support.results import pair


def test_heights_are_those_of_the_definition() -> None:
    ds = BARRIER.example()
    chart, _ = barriers(ds, "over_max")
    assert [panel.label for panel in chart.panels] == [
        "error, test", "error, train", "loss, test", "loss, train",
    ]  # fmt: skip
    (line,) = chart.panels[0].lines
    order = np.argsort(-ds["density_b"].values, kind="stable")
    want = 100 * ds["error_barrier"].sel(split="test", definition="over_max").values[order]
    np.testing.assert_array_equal(line.y, want)
    np.testing.assert_array_equal(line.x, 100 * ds["density_b"].values[order])
    low = 100 * ds["error_barrier_low"].sel(split="test", definition="over_max").values[order]
    np.testing.assert_array_equal(line.low, low)


def test_results_without_intervals_are_drawn_without_bars() -> None:
    ds = BARRIER.example()
    ds = ds.drop_vars([name for name in ds if name.endswith(("_low", "_high", "_se"))
                       and name not in ("loss_se", "error_se")])  # fmt: skip
    chart, _ = barriers(ds)
    assert not chart.panels[0].lines[0].low
    assert "error_barrier_low[lmc]" not in [column.name for column in chart.numbers.columns]


def test_the_lines_are_the_values_at_their_positions() -> None:
    ds = BARRIER.example()
    _, chart = barriers(ds)
    panel = next(panel for panel in chart.panels if panel.label == "loss, train")
    for line, name in zip(panel.lines, ds["pair"].values, strict=True):
        assert line.name == name
        np.testing.assert_array_equal(line.x, ds["alpha"].values)
        np.testing.assert_array_equal(line.y, ds["loss"].sel(pair=name, split="train").values)


def test_positions_that_were_not_asked_are_no_gaps_but_unknown_ones_are() -> None:
    short = pair("imp@1 imp@2").isel(alpha=[0, 2, 4])
    long = pair("imp@0 imp@1")
    long["loss"].values[0, :, 1] = np.nan
    ds = join([Result.of(long), Result.of(short)]).dataset()
    _, chart = barriers(ds)
    panel = next(panel for panel in chart.panels if panel.label == "loss, test")
    first, second = panel.lines
    assert list(second.x) == [0.0, 0.5, 1.0]
    assert np.isnan(first.y[1])
    assert len(first.y) == 5


def test_of_many_lines_the_highest_are_drawn_and_it_is_said() -> None:
    count = MOST_NAMES + 4
    parts = [pair(f"imp@{i} imp@{i + 1}", shift=float(i % 7)) for i in range(count)]
    ds = join([Result.of(part) for part in parts]).dataset()
    _, chart = barriers(ds)
    drawn = [line.name for line in chart.panels[0].lines]
    assert len(drawn) == MOST_NAMES
    assert f"The {MOST_NAMES} of {count} lines" in chart.panels[0].note
    height = ds["loss_barrier"].isel(definition=0).sel(split="test").to_series()
    assert height[drawn].min() >= height.drop(drawn).max()


def test_a_line_that_is_not_finite_is_named() -> None:
    ds = BARRIER.example()
    ds["status"].values[1] = 1
    for name in ("loss_barrier", "error_barrier"):
        ds[name].values[1] = np.nan
    chart, _ = barriers(ds)
    assert "1 of 3: imp@1 imp@2 (not finite on the line)" in chart.panels[0].note
    rows = [row for row in chart.numbers.rows if row[0] == "imp@1 imp@2"]
    assert rows[0][[c.name for c in chart.numbers.columns].index("error_barrier[lmc]")] is None


def test_nothing_known_is_said() -> None:
    ds = BARRIER.example()
    for name in ("loss_barrier", "error_barrier", "loss", "error"):
        ds[name].values[:] = np.nan
    for chart in barriers(ds):
        assert not chart.panels
        assert chart.says.endswith("No value is known that could be drawn.")


def test_other_datasets_are_refused() -> None:
    with pytest.raises(LandscapeError, match="barrier dataset needs"):
        barriers(OVERLAP.example())


def test_the_test_split_comes_first() -> None:
    assert splits(BARRIER.example()) == ["test", "train"]
