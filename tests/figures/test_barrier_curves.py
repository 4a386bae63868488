"""Lines, bands and added points are those of the dataset."""

from __future__ import annotations

import numpy as np
import pytest

from landscape.data_store.errors import LandscapeError, UsageError
from landscape.data_store.schemas.barrier import BARRIER
from landscape.figures.barrier_curves import FIGURE, plot_barrier_curves


def example(pairs=3):
    """Pairs p1, p2 … of successive levels 1, 2 …"""
    ds = BARRIER.example().isel(pair=np.arange(pairs) % 3)
    levels = np.arange(1.0, pairs + 1)
    ds["pair"] = ("pair", [f"p{level:.0f}" for level in levels], ds["pair"].attrs)
    ds["level_b"] = ("pair", levels, ds["level_b"].attrs)
    return ds


def lines(ax):
    """The lines and, apart, the points that refinement added."""
    drawn = [line for line in ax.lines if line.get_linestyle() != "None"]
    return drawn, [line for line in ax.lines if line.get_linestyle() == "None"]


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize(("measure", "factor"), [("loss", 1), ("error", 100)])
def test_lines_bands_and_points_are_the_datasets(split, measure, factor):
    ds = example()
    ax = plot_barrier_curves(ds, split=split, measure=measure)
    drawn, added = lines(ax)
    for pair, (line, points, band) in enumerate(zip(drawn, added, ax.collections, strict=True)):
        here = ds.isel(pair=pair).sel(split=split)
        mean, se = factor * here[measure].values, factor * here[f"{measure}_se"].values
        np.testing.assert_array_equal(line.get_xdata(), ds["alpha"])
        np.testing.assert_array_equal(line.get_ydata(), mean)
        np.testing.assert_array_equal(points.get_xdata(), here["refined_alpha"])
        np.testing.assert_array_equal(points.get_ydata(), factor * here[f"refined_{measure}"])
        edge = {(x, round(y, 9)) for x, y in band.get_paths()[0].vertices.tolist()}
        assert {(x, round(y, 9)) for x, y in zip(ds["alpha"].values, mean + se, strict=True)} < edge
        assert {(x, round(y, 9)) for x, y in zip(ds["alpha"].values, mean - se, strict=True)} < edge


def test_default_is_the_test_loss():
    ds = example()
    drawn, _ = lines(plot_barrier_curves(ds))
    np.testing.assert_array_equal(drawn[0].get_ydata(), ds["loss"].isel(pair=0).sel(split="test"))


def test_a_dataset_without_refinement_has_no_added_points():
    ds = example().drop_dims("refinement")
    assert lines(plot_barrier_curves(ds))[1] == []


def test_few_pairs_are_named_in_their_colours():
    ax = plot_barrier_curves(example(4))
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["p1", "p2", "p3", "p4"]
    keys = [line.get_color() for line in ax.get_legend().get_lines()]
    assert keys == [line.get_color() for line in lines(ax)[0]]
    assert len(ax.figure.axes) == 1


def test_many_pairs_are_coloured_by_level_with_a_bar():
    ax = plot_barrier_curves(example(6))
    assert ax.get_legend() is None
    assert ax.figure.axes[1].get_ylabel() == "level of the second checkpoint"
    colours = [line.get_color() for line in lines(ax)[0]]
    brightness = [np.dot(colour[:3], (0.2126, 0.7152, 0.0722)) for colour in colours]
    assert brightness == sorted(brightness)
    assert len(set(brightness)) == 6


def test_many_pairs_have_no_bands_which_would_cover_each_other():
    assert len(plot_barrier_curves(example(4)).collections) == 4
    assert not plot_barrier_curves(example(5), legend=False).collections


def test_runs_share_the_colours_of_the_levels_and_differ_by_line():
    ds = example(6).isel(pair=[*range(6), *range(6)])
    ds["run"] = ("pair", ["first"] * 6 + ["second"] * 6, ds["run"].attrs)
    ax = plot_barrier_curves(ds)
    drawn, _ = lines(ax)
    for k in range(6):
        assert drawn[k].get_color() == drawn[k + 6].get_color()
        assert drawn[k].is_dashed() is False
        assert drawn[k + 6].is_dashed() is True
    names = [text.get_text() for text in ax.get_legend().get_texts()]
    assert names == ["first", "second"]


@pytest.mark.parametrize("levels", [[np.nan] * 6, [1.0] * 6])
def test_levels_that_tell_nothing_are_replaced_by_names(levels):
    ds = example(6)
    ds["level_b"] = ("pair", np.array(levels), ds["level_b"].attrs)
    ax = plot_barrier_curves(ds)
    assert len(ax.get_legend().get_texts()) == 6
    assert len({line.get_color() for line in lines(ax)[0]}) == 6


@pytest.mark.parametrize("unknown", [np.nan, np.inf])
def test_unknown_loss_is_a_gap_in_line_and_band(unknown):
    ds = example(1)
    ds["loss"][0, 1, 2] = unknown
    ax = plot_barrier_curves(ds)
    (line,), _ = lines(ax)
    assert np.isfinite(line.get_ydata()).tolist() == [True, True, False, True, True]
    assert len(ax.collections[0].get_paths()) == 2
    assert np.isfinite(ax.get_ylim()).all()


def test_figure_has_a_panel_per_split_on_one_scale():
    canvas = FIGURE.draw(example(6))
    train, test, bar = canvas.axes
    assert (train.get_title(), test.get_title()) == ("train", "test")
    assert train.get_ylim() == test.get_ylim()
    assert bar.get_ylabel() == "level of the second checkpoint"


def test_figure_of_one_split_has_one_panel():
    assert [ax.get_title() for ax in FIGURE.draw(example().isel(split=[1])).axes] == ["test"]


def test_unknown_split_is_refused():
    with pytest.raises(UsageError, match="unknown split 'tset'; did you mean 'test'"):
        plot_barrier_curves(example(), split="tset")


def test_unknown_measure_is_refused():
    with pytest.raises(UsageError, match="unknown measure 'lost'; did you mean 'loss'"):
        plot_barrier_curves(example(), measure="lost")


def test_another_dataset_is_refused():
    with pytest.raises(LandscapeError, match="'loss' of a barrier dataset has dims"):
        plot_barrier_curves(example().transpose("alpha", ...))
