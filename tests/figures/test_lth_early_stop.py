"""Early-stop iterations on the axes are those of the dataset."""

from __future__ import annotations

import numpy as np
import pytest

from landscape.data_store.errors import LandscapeError, UsageError
from landscape.data_store.schemas.training import TRAINING
from landscape.figures.lth_early_stop import plot_lth_early_stop

DENSITY = np.array([1.0, 0.8, 0.64])


def example():
    """Two replicates of magnitude and one random run."""
    ds = TRAINING.example()
    ds["strategy"] = ("run", ["magnitude", "magnitude", "random"], ds["strategy"].attrs)
    ds["density"] = (("run", "level"), np.tile(DENSITY, (3, 1)), ds["density"].attrs)
    steps = [[9000.0, 7000.0, 5000.0], [9200.0, 7400.0, 4000.0], [9000.0, 10000.0, 11000.0]]
    ds["early_stop_step"] = (("run", "level"), steps, ds["early_stop_step"].attrs)
    return ds


def test_lines_are_the_mean_over_replicates():
    ax = plot_lth_early_stop(example())
    magnitude, random = ax.lines
    np.testing.assert_allclose(magnitude.get_xdata(), 100 * DENSITY)
    np.testing.assert_array_equal(magnitude.get_ydata(), [9100.0, 7200.0, 4500.0])
    np.testing.assert_array_equal(random.get_ydata(), [9000.0, 10000.0, 11000.0])


def test_bars_run_from_least_to_greatest():
    (bars,) = plot_lth_early_stop(example()).collections
    assert [bar[:, 1].tolist() for bar in bars.get_segments()] == [
        [9000.0, 9200.0],
        [7000.0, 7400.0],
        [4000.0, 5000.0],
    ]


def test_labels_are_the_schemas_and_iterations_start_at_zero():
    ax = plot_lth_early_stop(example())
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("weights remaining (%)", "early-stop iteration")
    assert ax.get_ylim()[0] == 0
    names = [text.get_text() for text in ax.get_legend().get_texts()]
    assert names == ["magnitude (2 runs)", "random"]


def test_unknown_level_is_a_gap():
    ds = example()
    ds["early_stop_step"][2, 1] = np.nan
    (_, random) = plot_lth_early_stop(ds).lines
    assert np.isnan(random.get_ydata()).tolist() == [False, True, False]


def test_another_dataset_is_refused():
    with pytest.raises(LandscapeError, match="a training dataset needs 'early_stop_step'"):
        plot_lth_early_stop(example().drop_vars("early_stop_step"))


def test_markers_and_lines_tell_strategies_apart_without_colour():
    magnitude, random = plot_lth_early_stop(example()).lines
    assert magnitude.get_marker() != random.get_marker()
    assert magnitude.is_dashed() != random.is_dashed()


def test_spread_may_be_one_standard_deviation():
    (bars, *_) = plot_lth_early_stop(example(), spread="std").collections
    (line, *_) = plot_lth_early_stop(example()).lines
    for (low, high), mean in zip(bars.get_segments(), line.get_ydata(), strict=True):
        assert (low[1] + high[1]) / 2 == pytest.approx(mean)
    with pytest.raises(UsageError, match="unknown spread 'var'"):
        plot_lth_early_stop(example(), spread="var")
