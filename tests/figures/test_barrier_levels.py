"""Barrier heights on the axes are those of the dataset."""

from __future__ import annotations

import numpy as np
import pytest

from landscape.data_store.errors import LandscapeError, UsageError
from landscape.data_store.schemas.barrier import BARRIER, DEFINITIONS
from landscape.figures.barrier_levels import FIGURE, plot_barrier_levels

DENSITY_B = [0.8, 0.64, 0.512]


def example(density=DENSITY_B):
    ds = BARRIER.example()
    ds["density_b"] = ("pair", np.array(density), ds["density_b"].attrs)
    return ds


def curves(ax):
    """Lines over data, without the threshold, as (x, y)."""
    return [np.array(line.get_data()) for line in ax.lines if line.get_transform() == ax.transData]


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


@pytest.mark.parametrize("definition", DEFINITIONS)
@pytest.mark.parametrize(("measure", "factor"), [("error", 100), ("loss", 1)])
def test_lines_are_the_splits_of_one_definition(definition, measure, factor):
    ds = example()
    ax = plot_barrier_levels(ds, definition=definition, measure=measure)
    heights = factor * ds[f"{measure}_barrier"].sel(definition=definition)
    for (x, y), split in zip(curves(ax), ("train", "test"), strict=True):
        np.testing.assert_array_equal(x, 100 * np.array(DENSITY_B))
        np.testing.assert_array_equal(y, heights.sel(split=split))


def test_default_is_the_error_of_lmc_with_its_threshold():
    ax = plot_barrier_levels(example())
    assert ax.get_ylabel() == "error barrier (%)"
    assert ax.get_xlabel() == "weights remaining (%)"
    (threshold,) = [line for line in ax.lines if line.get_transform() != ax.transData]
    assert set(threshold.get_ydata()) == {2.0}
    assert legend(ax) == ["train", "test", "unstable above 2 %"]


@pytest.mark.parametrize("options", [{"measure": "loss"}, {"definition": "deviation"}])
def test_threshold_belongs_to_the_error_of_lmc_only(options):
    ax = plot_barrier_levels(example(), **options)
    assert len(ax.lines) == 2
    assert legend(ax) == ["train", "test"]


def test_another_definition_is_named_on_the_axis():
    ax = plot_barrier_levels(example(), definition="over_max")
    assert ax.get_ylabel() == "error barrier (%)\nover_max"


def test_a_barrier_is_seen_against_zero():
    ds = example()
    ds["loss_barrier"][:] = 0.5 + ds["loss_barrier"] / 100
    lower, upper = plot_barrier_levels(ds, measure="loss").get_ylim()
    assert lower <= 0 < 0.5 < upper


def test_lines_run_from_dense_to_sparse_whatever_the_order_of_the_pairs():
    ds = example()
    for (x, y), (turned_x, turned_y) in zip(
        curves(plot_barrier_levels(ds)),
        curves(plot_barrier_levels(ds.isel(pair=[2, 0, 1]))),
        strict=True,
    ):
        np.testing.assert_array_equal(x, turned_x)
        np.testing.assert_array_equal(y, turned_y)


def test_unknown_barrier_is_a_gap():
    ds = example()
    ds["error_barrier"][1, 0] = np.nan
    train, test = curves(plot_barrier_levels(ds))
    assert np.isnan(train[1]).tolist() == [False, True, False]
    assert not np.isnan(test[1]).any()


def test_runs_have_their_own_markers_and_names():
    ds = example()
    ds["run"] = ("pair", ["imp-a", "imp-b", "imp-b"], ds["run"].attrs)
    ax = plot_barrier_levels(ds, measure="loss")
    assert legend(ax) == ["train", "test", "imp-a", "imp-b"]
    assert [len(x) for x, _ in curves(ax)] == [1, 1, 2, 2]
    assert [line.get_marker() for line in ax.lines] == ["o", "o", "s", "s"]
    colours = [line.get_color() for line in ax.lines]
    assert colours[:2] == colours[2:]
    assert colours[0] != colours[1]


def test_test_has_the_same_colour_with_and_without_train():
    both = plot_barrier_levels(example()).lines
    (alone, _) = plot_barrier_levels(example().isel(split=[1])).lines
    assert alone.get_color() == both[1].get_color() != both[0].get_color()


@pytest.mark.parametrize("density", [[np.nan] * 3, [0.8, np.nan, 0.512]])
def test_pairs_of_unknown_density_have_one_place_each_and_no_line(density):
    ds = example(density)
    ax = plot_barrier_levels(ds)
    assert [label.get_text() for label in ax.get_xticklabels()] == [
        "imp@0\nimp@1",
        "imp@1\nimp@2",
        "imp@2\nimp@3",
    ]
    for (x, y), split in zip(curves(ax), ("train", "test"), strict=True):
        assert x.tolist() == [0, 1, 2]
        np.testing.assert_array_equal(
            y, 100 * ds["error_barrier"].sel(split=split, definition="lmc")
        )
    assert {line.get_linestyle() for line in ax.lines[:2]} == {"None"}


def test_figure_shows_error_and_loss():
    canvas = FIGURE.draw(example())
    assert [ax.get_ylabel() for ax in canvas.axes] == [
        "error barrier (%)",
        "loss barrier (nats per example)",
    ]
    assert len(canvas.legends) == 1
    assert not any(ax.get_legend() for ax in canvas.axes)


def test_no_pairs_are_no_fault():
    assert plot_barrier_levels(example().isel(pair=[])).texts


def test_given_axes_are_drawn_on():
    first = plot_barrier_levels(example())
    assert plot_barrier_levels(example(), ax=first) is first
    assert len(curves(first)) == 4


def test_unknown_definition_is_refused():
    with pytest.raises(UsageError, match="unknown definition 'lcm'; did you mean 'lmc'"):
        plot_barrier_levels(example(), definition="lcm")


def test_unknown_measure_is_refused():
    with pytest.raises(UsageError, match="unknown measure 'accuracy'"):
        plot_barrier_levels(example(), measure="accuracy")


def test_another_dataset_is_refused():
    with pytest.raises(LandscapeError, match="a barrier dataset needs"):
        plot_barrier_levels(example().drop_vars("level_b"))
