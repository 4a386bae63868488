"""What the x axes of the figures mean."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure as Canvas

from landscape.figures.axes import (
    density_axis,
    known,
    ladder_ticks,
    log_height,
    pair_axis,
    percent_text,
)

LENET = 100 * 0.8 ** np.arange(20)


def axes():
    return Canvas(figsize=(3, 2)).add_subplot()


def labels(ax):
    return [label.get_text() for label in ax.get_xticklabels()]


def test_dense_is_on_the_left_and_the_axis_logarithmic():
    ax = axes()
    ax.plot(LENET, LENET)
    density_axis(ax, LENET)
    left, right = ax.get_xlim()
    assert left > 100 > LENET[-1] > right > 0
    assert ax.get_xscale() == "log"
    density_axis(ax, LENET)
    assert ax.get_xlim() == (left, right)


def test_ticks_are_the_papers_own_ladder():
    ax = axes()
    density_axis(ax, LENET)
    # Frankle & Carbin 2019 print 100, 51.3, 26.3, 13.5, 7.0, 3.6, 1.9 from rounded counts.
    assert labels(ax) == ["100", "51.2", "26.2", "13.4", "6.9", "3.5", "1.8"]
    assert ax.get_xlabel() == "weights remaining (%)"


@pytest.mark.parametrize("levels", [1, 2, 3, 7, 12, 20, 31])
def test_labelled_ticks_never_overlap(levels):
    canvas = Canvas(figsize=(3.25, 2), layout="constrained")
    ax = canvas.add_subplot()
    density_axis(ax, 100 * 0.8 ** np.arange(levels))
    canvas.draw_without_rendering()
    boxes = [label.get_window_extent() for label in ax.get_xticklabels() if label.get_text()]
    assert all(one.x1 < other.x0 for one, other in pairwise(boxes))


@pytest.mark.parametrize("columns", [2, 3])
def test_labelled_ticks_of_narrow_panels_do_not_overlap_either(columns):
    canvas = Canvas(figsize=(6.75, 2), layout="constrained")
    for ax in canvas.subplots(1, columns):
        ax.set_ylabel("error\n(%)")
        density_axis(ax, 100 * 0.8 ** np.arange(17))
    canvas.draw_without_rendering()
    for ax in canvas.axes:
        boxes = [label.get_window_extent() for label in ax.get_xticklabels() if label.get_text()]
        assert all(one.x1 + 3 < other.x0 for one, other in pairwise(boxes))
        assert len(boxes) >= 4


def test_every_density_is_a_tick_once():
    named, unnamed = ladder_ticks([LENET, LENET * (1 + 1e-12)])
    np.testing.assert_allclose(np.sort(np.r_[named, unnamed])[::-1], LENET, atol=1e-6)
    assert not set(named) & set(unnamed)


def test_what_has_no_place_on_a_logarithm_is_left_out():
    named, unnamed = ladder_ticks([100.0, 0.0, -1.0, np.nan, np.inf])
    assert named.tolist() == [100.0]
    assert not len(unnamed)


def test_a_density_of_zero_leaves_a_gap():
    ax = axes()
    (line,) = ax.plot([100.0, 0.0, 50.0], [1.0, 2.0, 3.0])
    density_axis(ax, [100.0, 0.0, 50.0])
    seen = line.get_transform().transform_path(line.get_path()).vertices
    assert np.isfinite(seen).all(axis=1).tolist() == [True, False, True]


def test_no_density_gives_no_ticks():
    ax = axes()
    density_axis(ax, [np.nan])
    assert labels(ax) == []


@pytest.mark.parametrize(
    ("value", "text"),
    [(100.0, "100"), (64.0, "64"), (51.2, "51.2"), (3.518, "3.5"), (0.9, "0.9"), (0.1238, "0.12")],
)
def test_densities_are_written_in_percent_not_powers_of_ten(value, text):
    assert percent_text(value) == text


def test_pairs_are_named_on_two_lines_and_cut_from_the_left():
    ax = axes()
    pair_axis(ax, ["a@0 a@1", "folder/of/someone/else/model.pt x.pt"])
    assert labels(ax) == ["a@0\na@1", "…one/else/model.pt\nx.pt"]
    assert ax.get_xlim() == (-0.5, 1.5)


def test_many_pairs_are_numbered_from_one():
    ax = axes()
    pair_axis(ax, [f"a{k} b{k}" for k in range(20)])
    ax.figure.draw_without_rendering()
    numbers = [int(text) for text in labels(ax)]
    assert numbers == [round(place) + 1 for place in ax.get_xticks()]
    assert ax.get_xlabel() == "pair, in the order of the dataset"


def test_long_names_are_slanted_and_short_ones_are_not():
    for name, slant in (("a@0 a@1", 0), ("a-long-name-of-a-run@10 b", 30)):
        ax = axes()
        pair_axis(ax, [name] * 4)
        assert {label.get_rotation() for label in ax.get_xticklabels()} == {slant}


@pytest.mark.parametrize(("values", "answer"), [([1.0, 0.5], True), ([1.0, np.nan], False)])
def test_one_unknown_makes_a_coordinate_unusable_as_an_axis(values, answer):
    assert known(xr.DataArray(values)) is answer


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((1.8, 90.0), ["2", "5", "10", "20", "50", "100"]),
        ((1.4, 2.2), ["1.5", "2"]),
        ((0.02, 20.0), ["0.1", "1", "10"]),
    ],
)
def test_logarithmic_heights_have_plain_numbers(values, expected):
    ax = axes()
    ax.plot([0, 1], values)
    log_height(ax)
    ax.figure.draw_without_rendering()
    low, high = ax.get_ylim()
    ticks = zip(ax.get_yticks(), ax.get_yticklabels(), strict=True)
    assert [label.get_text() for value, label in ticks if low <= value <= high] == expected


def test_far_heights_keep_their_powers():
    ax = axes()
    ax.plot([0, 1], [1e-9, 1e3])
    log_height(ax)
    ax.figure.draw_without_rendering()
    assert all("10^" in label.get_text() for label in ax.get_yticklabels())


def test_places_may_be_of_checkpoints():
    ax = axes()
    pair_axis(ax, ["imp@0", "imp@1"], "checkpoint")
    assert (ax.get_xlabel(), labels(ax)) == ("checkpoint", ["imp@0", "imp@1"])
    pair_axis(ax, [f"imp@{k}" for k in range(20)], "checkpoint")
    assert ax.get_xlabel() == "checkpoint, in the order of the dataset"
