"""A strategy looks the same in every figure."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure

from landscape.figures.strategies import plot_strategy, strategy_looks

NAMES = ["imp", "one-shot", "finetune", "random", "largest-first", "reinit", "lr-rewind"]


def test_looks_differ_in_colour_and_in_marker():
    looks = strategy_looks(NAMES).values()
    assert len({look["color"] for look in looks}) == len(NAMES)
    assert len({look["marker"] for look in looks}) == len(NAMES)


def test_a_look_does_not_depend_on_the_others():
    assert strategy_looks(["random"])["random"] == strategy_looks(NAMES)["random"]


def test_unknown_strategies_have_colours_of_their_own():
    looks = strategy_looks(["zigzag", "imp", "spiral"])
    assert len({look["color"] for look in looks.values()}) == 3


@pytest.mark.parametrize(("spread", "half"), [("range", 1.0), ("std", np.sqrt(2.0))])
def test_a_bar_is_the_spread_of_the_runs_where_there_are_several(spread, half):
    ax = Figure().subplots()
    percent = xr.DataArray([100.0, 80.0, 64.0], dims="level")
    rows = [[1.0, 4.0, np.nan], [3.0, np.nan, np.nan]]
    values = xr.DataArray(rows, dims=("replicate", "level"))
    plot_strategy(ax, percent, values, spread, color="black")
    (line,) = ax.lines
    np.testing.assert_array_equal(line.get_data(), [[100.0, 80.0], [2.0, 4.0]])
    ((low, high),) = ax.collections[0].get_segments()
    np.testing.assert_allclose([low, high], [[100.0, 2 - half], [100.0, 2 + half]])
