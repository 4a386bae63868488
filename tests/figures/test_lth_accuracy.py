"""Accuracies on the axes are those of the dataset."""

from __future__ import annotations

import numpy as np
import pytest

from landscape.data_store.errors import LandscapeError, UsageError
from landscape.data_store.schemas.training import TRAINING
from landscape.figures.lth_accuracy import plot_lth_accuracy

DENSITY = np.array([1.0, 0.8, 0.64])


def example():
    """Two replicates of magnitude and one random run."""
    ds = TRAINING.example()
    ds["strategy"] = ("run", ["magnitude", "magnitude", "random"], ds["strategy"].attrs)
    ds["density"] = (("run", "level"), np.tile(DENSITY, (3, 1)), ds["density"].attrs)
    ds["early_stop_test_error"] = ds["final_test_error"] / 2
    ds["early_stop_test_error"].attrs = ds["final_test_error"].attrs
    return ds


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_lines_are_mean_accuracies_at_the_end_and_at_early_stop():
    ds = example()
    ax = plot_lth_accuracy(ds)
    final, early = 100 * (1 - ds["final_test_error"]), 100 * (1 - ds["early_stop_test_error"])
    expected = [final[:2].mean("run"), early[:2].mean("run"), final[2], early[2]]
    for line, values in zip(ax.lines, expected, strict=True):
        np.testing.assert_allclose(line.get_xdata(), 100 * DENSITY)
        np.testing.assert_allclose(line.get_ydata(), values)
    assert [line.is_dashed() for line in ax.lines] == [False, True, False, True]
    colours = [line.get_color() for line in ax.lines]
    assert colours[0] == colours[1] != colours[2] == colours[3]


def test_bars_of_replicates_run_from_least_to_greatest():
    ds = example()
    bars = plot_lth_accuracy(ds).collections[0].get_segments()
    final = 100 * (1 - ds["final_test_error"][:2])
    np.testing.assert_allclose([bar[0, 1] for bar in bars], final.min("run"))
    np.testing.assert_allclose([bar[1, 1] for bar in bars], final.max("run"))


def test_labels_say_percent_and_name_criteria():
    ax = plot_lth_accuracy(example())
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("weights remaining (%)", "test accuracy (%)")
    assert [label.get_text() for label in ax.get_xticklabels()] == ["100", "80", "64"]
    assert legend(ax) == ["magnitude (2 runs)", "random", "at the end", "at early stop"]


def test_unknown_level_is_a_gap():
    ds = example()
    ds["final_test_error"][:, 1] = np.nan
    ax = plot_lth_accuracy(ds)
    for line in (ax.lines[0], ax.lines[2]):
        assert np.isnan(line.get_ydata()).tolist() == [False, True, False]
    assert len(ax.collections[0].get_segments()) == 2


def test_a_task_without_validation_has_no_early_stop_in_the_legend():
    ds = example()
    ds["early_stop_test_error"][:] = np.nan
    ax = plot_lth_accuracy(ds)
    assert legend(ax) == ["magnitude (2 runs)", "random", "at the end"]
    assert not ax.texts


@pytest.mark.parametrize("levels", [[0], [0, 1]])
def test_few_levels_are_drawn_too(levels):
    ax = plot_lth_accuracy(example().isel(level=levels))
    assert [len(line.get_xdata()) for line in ax.lines] == [len(levels)] * 4


def test_another_dataset_is_refused():
    ds = example()
    ds["density"].attrs["units"] = "%"
    with pytest.raises(LandscapeError, match="'density' of a training dataset has units '%'"):
        plot_lth_accuracy(ds)


def test_markers_tell_strategies_apart_without_colour():
    ax = plot_lth_accuracy(example())
    markers = [line.get_marker() for line in ax.lines]
    assert markers[0] == markers[1] != markers[2] == markers[3]
    assert [line.get_markerfacecolor() for line in ax.lines[1::2]] == ["white"] * 2


def test_spread_may_be_one_standard_deviation():
    (bars, *_) = plot_lth_accuracy(example(), spread="std").collections
    (line, *_) = plot_lth_accuracy(example()).lines
    for (low, high), mean in zip(bars.get_segments(), line.get_ydata(), strict=True):
        assert (low[1] + high[1]) / 2 == pytest.approx(mean)
    with pytest.raises(UsageError, match="unknown spread 'var'"):
        plot_lth_accuracy(example(), spread="var")
