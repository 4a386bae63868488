"""Ratios on the axes are quotients of the densities of the dataset."""

from __future__ import annotations

import numpy as np
import pytest

from landscape.data_store.errors import LandscapeError, UsageError
from landscape.data_store.schemas.layers import LAYERS
from landscape.figures.layer_ratios import draw, plot_layer_ratios

NAN = np.nan
NAMES = ("conv.weight", "fc1.weight", "fc2.weight")
GLOBAL = [[1.0, 1.0, 1.0], [0.9, 0.5, 0.6], [0.8, 0.2, 0.5]]
LAYER = [[1.0, 1.0, 1.0], [0.5, 0.5, 0.7], [0.25, 0.25, 0.5]]
WHOLE = [1.0, 0.5, 0.25]


def example(*runs, names=NAMES, **words):
    """Runs as (scope, layer densities, overall densities)."""
    coords = {
        "run": [f"run-{n}" for n in range(len(runs))],
        "level": np.arange(len(runs[0][2])),
        "layer": list(names),
        "seed": np.arange(len(runs)),
        "scope": [scope for scope, _, _ in runs],
        **{
            name: words.get(name, ["magnitude"] * len(runs))
            for name in ("strategy", "task", "model")
        },
    }
    layers = np.array([values for _, values, _ in runs], dtype=float)
    arrays = {
        "layer_density": layers,
        "layer_size": np.where(np.isfinite(layers).any(axis=1), 100.0, NAN),
        "density": [whole for _, _, whole in runs],
        "status": np.zeros(layers.shape[:2]),
    }
    return LAYERS.build(coords, arrays)


def heights(ax):
    """Values of the lines of levels; the line at one comes last."""
    *lines, one = ax.lines
    assert list(one.get_ydata()) == [1, 1]
    return [np.asarray(line.get_ydata()) for line in lines]


def test_global_over_layer_wise_where_there_are_both():
    ax = plot_layer_ratios(example(("global", GLOBAL, WHOLE), ("layer", LAYER, WHOLE)))
    np.testing.assert_allclose(heights(ax), [[1.8, 1, 6 / 7], [3.2, 0.8, 1]])
    assert ax.get_ylabel() == "fraction kept: global ÷ by layer"
    assert ax.get_yscale() == "log"


def test_the_two_are_compared_at_equal_density_not_level():
    late = [LAYER[2], LAYER[0], LAYER[1]]
    ds = example(("global", GLOBAL, WHOLE), ("layer", late, [0.2501, 1.0, 0.5]))
    got = heights(plot_layer_ratios(ds))
    np.testing.assert_allclose(got, [[1.8, 1, 6 / 7], [3.2, 0.8, 1]])


def test_a_density_that_only_one_has_is_said():
    ds = example(("global", GLOBAL, WHOLE), ("layer", LAYER, [1.0, 0.4, 0.25]))
    ax = plot_layer_ratios(ds)
    np.testing.assert_allclose(heights(ax), [[3.2, 0.8, 1]])
    assert ax.get_xlabel() == "layer\nnot there: 50 %"


def test_layer_over_all_where_there_is_one_kind_and_a_mean_over_replicates():
    other = [[1.0, 1.0, 1.0], [0.7, 0.3, 0.6], [0.4, 0.2, 0.3]]
    ax = plot_layer_ratios(example(("global", GLOBAL, WHOLE), ("global", other, WHOLE)))
    np.testing.assert_allclose(heights(ax), [[1.6, 0.8, 1.2], [2.4, 0.8, 1.6]])
    assert ax.get_ylabel() == "fraction kept: layer ÷ all"


def test_levels_are_shades_and_layers_stand_in_order():
    ax = plot_layer_ratios(example(("global", GLOBAL, WHOLE)))
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["50 %", "25 %"]
    assert ax.get_legend().get_title().get_text() == "weights remaining"
    assert [label.get_text() for label in ax.get_xticklabels()] == ["conv", "fc1", "fc2"]
    assert len({line.get_color() for line in ax.lines}) == 3


def test_many_layers_are_numbered():
    names = [f"stage{n}.weight" for n in range(9)]
    values = np.linspace(0.9, 0.1, 18).reshape(2, 9)
    ax = plot_layer_ratios(example(("global", values, [1.0, 0.5]), names=names))
    assert ax.get_xlabel() == "layer, of 9 from input to output"
    assert ax.xaxis.get_major_formatter()(0) == "1"


def test_a_layer_of_which_nothing_is_kept_is_marked_and_one_over_nothing_is_unknown():
    empty = [[1.0, 1.0, 1.0], [0.9, 0.0, 0.6]]
    by_layer = [[1.0, 1.0, 1.0], [0.5, 0.5, 0.0]]
    ds = example(("global", empty, [1.0, 0.5]), ("layer", by_layer, [1.0, 0.5]))
    ax = plot_layer_ratios(ds)
    np.testing.assert_allclose(heights(ax), [[1.8, NAN, NAN]])
    assert [(text.get_text(), text.xy[0]) for text in ax.texts] == [("0", 1)]


def test_other_strategies_and_networks_have_panels_and_their_own_layers():
    two = [[1.0, 1.0, NAN], [0.9, 0.5, NAN], [0.8, 0.2, NAN]]
    ds = example(
        ("global", GLOBAL, WHOLE),
        ("global", GLOBAL, WHOLE),
        ("global", two, WHOLE),
        strategy=["magnitude", "random", "magnitude"],
        model=["conv", "conv", "mlp"],
    )
    canvas = draw(ds)
    assert [ax.get_title(loc="left") for ax in canvas.axes] == [
        "magnitude, conv, global",
        "random, conv, global",
        "magnitude, mlp, global",
    ]
    assert [len(heights(ax)[0]) for ax in canvas.axes] == [3, 3, 2]
    assert len({ax.get_ylim() for ax in canvas.axes}) == 1


def test_a_pair_of_scopes_beside_a_group_without_has_an_axis_of_its_own():
    ds = example(
        ("global", GLOBAL, WHOLE),
        ("layer", LAYER, WHOLE),
        ("global", GLOBAL, WHOLE),
        strategy=["magnitude", "magnitude", "random"],
    )
    canvas = draw(ds)
    assert [ax.get_ylabel() for ax in canvas.axes] == [
        "fraction kept: global ÷ by layer",
        "fraction kept: layer ÷ all",
    ]
    assert not canvas.axes[0].get_shared_y_axes().joined(*canvas.axes)


@pytest.mark.parametrize("level", [0, 2])
def test_one_level_is_drawn_too(level):
    ds = example(("global", GLOBAL, WHOLE)).isel(level=[level])
    (values,) = heights(plot_layer_ratios(ds))
    np.testing.assert_allclose(values, np.array(GLOBAL[level]) / WHOLE[level])


def test_unknown_densities_are_gaps():
    holed = [GLOBAL[0], [0.9, NAN, 0.6], [NAN] * 3]
    (values,) = heights(plot_layer_ratios(example(("global", holed, [1.0, 0.5, NAN]))))
    np.testing.assert_allclose(values, [1.8, NAN, 1.2])


def test_another_group_is_refused():
    with pytest.raises(UsageError, match="unknown group of runs 'magnitude'; did you mean"):
        plot_layer_ratios(example(("global", GLOBAL, WHOLE)), group="magnitude")


def test_another_dataset_is_refused():
    with pytest.raises(LandscapeError, match="a layers dataset needs 'layer_size'"):
        plot_layer_ratios(example(("global", GLOBAL, WHOLE)).drop_vars("layer_size"))
