"""Heights of contours: round, inside the values, of a readable number."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure

from landscape.figures.contours import contour_levels, levels_of, plot_contours
from tests.support.surfaces import example


@pytest.mark.parametrize(
    ("low", "high"), [(0.09, 3.0), (0.5, 0.6), (1e-3, 500.0), (0.1, 0.9), (2.0, 2.02)]
)
def test_contour_levels_are_round_inside_and_of_a_readable_number(low, high):
    levels = contour_levels(np.linspace(low, high, 50))
    assert 5 <= len(levels) <= 12
    assert levels == sorted(set(levels))
    assert all(low < level < high for level in levels)
    assert all(len(f"{level:g}") <= 6 for level in levels)


@pytest.mark.parametrize("values", [[], [np.nan], [1.0, 1.0], [-1.0, 0.0], [np.inf, np.nan]])
def test_what_has_no_contours(values):
    assert contour_levels(np.array(values)) == []


def test_splits_share_their_heights_and_one_far_from_the_other_adds_its_own():
    ds = example()
    near = levels_of(ds, "loss")
    assert near == contour_levels(ds["loss"].values)
    apart = ds.copy(deep=True)
    apart["loss"].values[:, 1] = 90 + apart["loss"].values[:, 0] / 10
    levels = levels_of(apart, "loss")
    test = apart["loss"].sel(split="test").values
    assert sum(test.min() < level < test.max() for level in levels) >= 4
    assert levels == sorted(set(levels))


def test_a_split_of_which_nothing_is_known_adds_nothing():
    ds = example()
    ds["loss"].values[:, 1] = np.nan
    assert levels_of(ds, "loss") == contour_levels(ds["loss"].sel(split="train").values)


def test_no_label_is_cut_by_the_edge():
    ax = Figure().subplots()
    ds = example(nx=41, ny=41)
    one = ds.isel(surface=0).sel(split="train")
    plot_contours(ax, one, "loss", levels_of(ds, "loss"), coloured=True)
    x, y = one["x"].values, one["y"].values
    shown = [text.get_position() for text in ax.texts if text.get_visible()]
    assert len(shown) >= 5
    for places, along in zip(np.transpose(shown), (x, y), strict=True):
        assert (places > along.min() + 0.03 * np.ptp(along)).all()
        assert (places < along.max() - 0.03 * np.ptp(along)).all()
