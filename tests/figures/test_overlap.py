"""Overlaps on the axes are those of the dataset."""

from __future__ import annotations

import numpy as np
import pytest

from landscape.data_store.errors import LandscapeError
from landscape.data_store.schemas.overlap import OVERLAP
from landscape.figures.overlap import plot_overlap


def example():
    """Successive levels 1, 2, 3 with a chance level of half the index."""
    ds = OVERLAP.example()
    ds["level_b"] = ("pair", np.array([1.0, 2.0, 3.0]), ds["level_b"].attrs)
    ds["expected_jaccard"] = (("pair", "layer"), ds["jaccard"].values / 2, ds["jaccard"].attrs)
    return ds


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_lines_are_index_and_chance_of_each_layer():
    ds = example()
    ax = plot_overlap(ds)
    layers = ["fc1.weight", "fc2.weight", "all"]
    for layer, index, chance in zip(layers, ax.lines[::2], ax.lines[1::2], strict=True):
        here = ds.sel(layer=layer)
        np.testing.assert_array_equal(index.get_xdata(), [1, 2, 3])
        np.testing.assert_array_equal(index.get_ydata(), here["jaccard"])
        np.testing.assert_array_equal(chance.get_ydata(), here["expected_jaccard"])
        assert chance.get_linestyle() == ":"
        assert chance.get_linewidth() < index.get_linewidth()
        assert chance.get_color() == index.get_color()


def test_all_layers_together_stand_out():
    *layers, together = plot_overlap(example()).lines[::2]
    assert together.get_linewidth() > max(line.get_linewidth() for line in layers)
    assert together.get_color() not in [line.get_color() for line in layers]


def test_labels_are_the_schemas():
    ax = plot_overlap(example())
    assert ax.get_xlabel() == "level of the second checkpoint"
    assert ax.get_ylabel() == "Jaccard index of the kept weights"
    assert legend(ax) == ["all", "fc1", "fc2", "expected by chance"]
    lower, upper = ax.get_ylim()
    assert lower <= 0 < 1 <= upper


def test_unknown_index_is_a_gap():
    ds = example()
    ds["jaccard"][1, 0] = np.nan
    together = plot_overlap(ds).lines[-2]
    assert np.isnan(together.get_ydata()).tolist() == [False, True, False]


def test_lines_follow_the_levels_whatever_the_order_of_the_pairs():
    one, other = plot_overlap(example()), plot_overlap(example().isel(pair=[1, 2, 0]))
    for line, turned in zip(one.lines, other.lines, strict=True):
        np.testing.assert_array_equal(line.get_data(), turned.get_data())


def test_runs_have_their_own_markers_and_names():
    ds = example()
    ds["run"] = ("pair", ["imp-a", "imp-a", "imp-b"], ds["run"].attrs)
    ax = plot_overlap(ds)
    assert legend(ax) == ["all", "fc1", "fc2", "imp-a", "imp-b", "expected by chance"]
    assert [line.get_marker() for line in ax.lines[::2]] == ["o"] * 3 + ["s"] * 3
    assert [len(line.get_xdata()) for line in ax.lines[::2]] == [2] * 3 + [1] * 3


def test_pairs_of_unknown_level_have_one_place_each_and_no_line():
    ds = example()
    ds["level_b"][1] = np.nan
    ax = plot_overlap(ds)
    assert ax.get_xticklabels()[0].get_text() == "imp@0\nimp@1"
    assert {line.get_linestyle() for line in ax.lines} == {"None"}
    for index in ax.lines[::2]:
        assert index.get_xdata().tolist() == [0, 1, 2]
    np.testing.assert_array_equal(ax.lines[-2].get_ydata(), ds["jaccard"].sel(layer="all"))


def test_many_layers_are_coloured_by_place_with_a_bar():
    ds = example().isel(layer=[0, *[1] * 9])
    names = ["all", *(f"conv{k}.weight" for k in range(1, 10))]
    ds = ds.assign_coords(layer=("layer", names, ds["layer"].attrs))
    ax = plot_overlap(ds)
    assert ax.figure.axes[1].get_ylabel() == "layer, first to last"
    assert legend(ax) == ["all", "expected by chance"]
    assert len({line.get_color() for line in ax.lines}) == 10


def test_a_dataset_without_all_has_its_layers():
    ax = plot_overlap(example().isel(layer=[1, 2]))
    assert legend(ax) == ["fc1", "fc2", "expected by chance"]


def test_another_dataset_is_refused():
    with pytest.raises(LandscapeError, match="a overlap dataset needs 'jaccard'"):
        plot_overlap(example().drop_vars("jaccard"))
