"""Mean, range and standard deviation over replicates, unknown ones left out."""

from __future__ import annotations

import statistics

import numpy as np
import pytest
from matplotlib.figure import Figure as Canvas

from landscape.data_store.errors import UsageError
from landscape.figures.bands import band, mean_and_spread

NAN = np.nan
VALUES = np.array([[1.0, NAN, 2.0, NAN], [4.0, 5.0, 2.0, NAN], [4.0, 8.0, NAN, NAN]])


def test_range_runs_from_least_to_greatest():
    mean, low, high = mean_and_spread(VALUES, "range")
    np.testing.assert_array_equal(mean, [3.0, 6.5, 2.0, NAN])
    np.testing.assert_array_equal(low, [1.0, 5.0, 2.0, NAN])
    np.testing.assert_array_equal(high, [4.0, 8.0, 2.0, NAN])


def test_std_is_that_of_the_sample():
    mean, low, high = mean_and_spread(VALUES, "std")
    std = statistics.stdev([1.0, 4.0, 4.0])
    np.testing.assert_allclose([mean[0] - low[0], high[0] - mean[0]], std)
    np.testing.assert_allclose(high[1] - mean[1], statistics.stdev([5.0, 8.0]))
    assert low[2] == high[2] == 2.0
    assert np.isnan([low[3], high[3]]).all()


@pytest.mark.parametrize("spread", ["range", "std"])
def test_one_replicate_has_a_mean_and_no_spread(spread):
    mean, low, high = mean_and_spread(np.array([[1.0, NAN]]), spread)
    np.testing.assert_array_equal(mean, [1.0, NAN])
    assert np.isnan([low, high]).all()
    ax = Canvas().add_subplot()
    band(ax, np.arange(2.0), np.array([[1.0, 2.0]]), spread=spread, color="black")
    assert not ax.collections


def test_line_and_area_are_drawn_where_they_are_known():
    ax = Canvas().add_subplot()
    band(ax, np.arange(4.0), VALUES, color="black", marker="o")
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), [3.0, 6.5, 2.0, NAN])
    (area,) = ax.collections
    corners = {tuple(corner) for path in area.get_paths() for corner in path.vertices}
    assert {(0.0, 1.0), (0.0, 4.0), (1.0, 5.0), (1.0, 8.0), (2.0, 2.0)} <= corners
    assert not any(x == 3 for x, _ in corners)


def test_no_replicate_at_all():
    mean, low, high = mean_and_spread(np.empty((0, 2)), "range")
    assert np.isnan([mean, low, high]).all()


def test_another_spread_is_refused():
    with pytest.raises(UsageError, match="unknown spread 'sem'; available: range, std"):
        mean_and_spread(VALUES, "sem")
