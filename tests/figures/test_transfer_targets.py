"""Accuracies by source and target on the axes are those of the dataset."""

from __future__ import annotations

import numpy as np
import pytest

from landscape.data_store.errors import LandscapeError, UsageError
from landscape.figures.transfer_targets import draw, plot_transfer_targets
from tests.support.transfers import DENSITY, RUNS, example


def legend(target):
    (found,) = target.legends if hasattr(target, "legends") else [target.get_legend()]
    return [text.get_text() for text in found.get_texts()]


def test_lines_are_means_and_areas_a_standard_deviation():
    ds = example()
    ax = plot_transfer_targets(ds, target="b")
    accuracy = 100 * (1 - ds["final_test_error"].values)
    expected = [accuracy[3:5].mean(axis=0), *accuracy[[5, 10, 11, 8]]]
    for line, values in zip(ax.lines, expected, strict=True):
        np.testing.assert_allclose(line.get_xdata(), 100 * DENSITY)
        np.testing.assert_allclose(line.get_ydata(), values)
    (area,) = ax.collections
    corners = area.get_paths()[0].vertices
    lowest = corners[np.isclose(corners[:, 0], 100), 1].min()
    assert lowest == pytest.approx(expected[0][0] - accuracy[3:5, 0].std(ddof=1))


def test_the_native_line_is_thick_and_axes_say_what_they_are():
    ax = plot_transfer_targets(example(), target="b")
    widths = [line.get_linewidth() for line in ax.lines]
    assert widths.index(max(widths)) == 1
    assert widths.count(max(widths)) == 1
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("weights remaining (%)", "test accuracy (%)")
    assert legend(ax)[:2] == ["a", "b"]
    assert legend(ax)[-1] == "random tickets"


def test_a_panel_for_each_target():
    canvas = draw(example())
    assert [ax.get_title(loc="left") for ax in canvas.axes] == ["on a", "on b"]
    assert [len(ax.lines) for ax in canvas.axes] == [2, 5]
    colours = {ax.lines[0].get_color() for ax in canvas.axes}
    assert len(colours) == 1
    assert canvas.get_figwidth() == 6.75
    assert draw(example(), width=3.25).get_figwidth() == 3.25


def test_a_level_that_only_some_have_is_left_out_of_the_others():
    ds = example(RUNS[1:2] + RUNS[3:4])
    ds["density"][1, 1] = ds["final_test_error"][1, 1] = np.nan
    native, moved = plot_transfer_targets(ds).lines
    np.testing.assert_allclose(native.get_xdata(), 100 * DENSITY)
    np.testing.assert_allclose(moved.get_xdata(), 100 * DENSITY[[0, 2]])


def test_another_target_or_spread_is_refused():
    with pytest.raises(UsageError, match="unknown target 'c'; available: a, b"):
        plot_transfer_targets(example(), target="c")
    with pytest.raises(UsageError, match="unknown spread 'sem'"):
        plot_transfer_targets(example(), spread="sem")


def test_another_dataset_is_refused():
    with pytest.raises(LandscapeError, match="a training dataset needs 'density'"):
        plot_transfer_targets(example().drop_vars("density"))
