"""Histograms on the axes are those of the dataset."""

from __future__ import annotations

import numpy as np
import pytest

from landscape.data_store.errors import LandscapeError, UsageError
from landscape.data_store.schemas.histograms import HISTOGRAMS
from landscape.figures.init_histograms import draw, plot_init_histograms

NAN = np.nan
DENSITY = [1.0, 0.5, 0.25]
CENTRE = np.array([-0.3, -0.1, 0.1, 0.3])


def example(layers=("fc1.weight", "fc2.weight"), strategy=("magnitude", "magnitude", "random")):
    """Two replicates of magnitude and one random run; every bin has a value of its own."""
    runs, count = len(strategy), len(layers)
    shape = (runs, 3, count, 4)
    coords = {
        "run": [f"run-{n}" for n in range(runs)],
        "level": [0, 1, 2],
        "layer": list(layers),
        "bin": [0, 1, 2, 3],
        "strategy": list(strategy),
        "task": ["mnist"] * runs,
        "model": ["mlp"] * runs,
        "scope": ["layer"] * runs,
        "seed": np.arange(runs),
    }
    values = np.linspace(1.0, 4.0, np.prod(shape)).reshape(shape)
    arrays = {
        "centre": np.outer(np.arange(1, count + 1), CENTRE),
        "count": 10 * values,
        "probability_density": values,
        "density": np.tile(DENSITY, (runs, 1)),
        "status": np.zeros((runs, 3)),
    }
    return HISTOGRAMS.build(coords, arrays)


def test_lines_are_the_mean_over_replicates_by_level():
    ds = example()
    ax = plot_init_histograms(ds)
    expected = ds["probability_density"][:2, :, 0].mean("run")
    assert len(ax.lines) == 3
    for line, values in zip(ax.lines, expected, strict=True):
        np.testing.assert_allclose(line.get_xdata(), CENTRE)
        np.testing.assert_allclose(line.get_ydata(), values)
        assert line.get_drawstyle() == "steps-mid"
    assert len({line.get_color() for line in ax.lines}) == 3
    assert ax.get_ylim()[0] == 0


def test_a_layer_and_a_group_are_taken_by_name():
    ds = example()
    ax = plot_init_histograms(ds, layer="fc2.weight", group="random")
    np.testing.assert_allclose(ax.lines[0].get_xdata(), 2 * CENTRE)
    np.testing.assert_allclose(ax.lines[2].get_ydata(), ds["probability_density"][2, 2, 1])


def test_axes_and_legend_say_what_is_drawn():
    ax = plot_init_histograms(example())
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("initial weight", "probability density")
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["100 %", "50 %", "25 %"]


def test_a_panel_for_each_layer_of_each_group():
    canvas = draw(example())
    assert [ax.get_title(loc="left") for ax in canvas.axes] == [
        "magnitude (2 runs): fc1",
        "magnitude (2 runs): fc2",
        "random: fc1",
        "random: fc2",
    ]
    one = draw(example(strategy=["magnitude"]))
    assert [ax.get_title(loc="left") for ax in one.axes] == ["fc1", "fc2"]


def test_of_many_layers_six_are_drawn_and_numbered():
    ds = example([f"stage{n}.weight" for n in range(19)], ["magnitude"])
    axes = draw(ds).axes
    titles = [ax.get_title(loc="left") for ax in axes]
    assert titles == [f"layer {n} of 19" for n in (1, 5, 8, 12, 15, 19)]
    np.testing.assert_allclose(axes[-1].lines[0].get_ydata(), ds["probability_density"][0, 0, 18])


def test_other_networks_are_no_replicates_and_have_their_own_layers():
    ds = example(strategy=["magnitude"] * 2)
    ds = ds.assign_coords(model=("run", ["mlp", "deep"], ds["model"].attrs))
    for name in ("count", "probability_density"):
        ds[name][1, :, 1] = NAN
    titles = [ax.get_title(loc="left") for ax in draw(ds).axes]
    assert titles == ["magnitude, mlp: fc1", "magnitude, mlp: fc2", "magnitude, deep: fc1"]


def test_levels_that_are_not_there_or_hold_nothing_are_said():
    ds = example(strategy=["magnitude", "random"])
    ds["density"][1, 0] = NAN
    ds["probability_density"][1, 0] = NAN
    ds["probability_density"][1, 2, 1] = NAN
    labels = [ax.get_xlabel() for ax in draw(ds).axes]
    assert labels == [
        "initial weight",
        "initial weight",
        "initial weight\nnot there: 100 %",
        "initial weight\nnot there: 100 %, 25 %",
    ]


def test_one_level_of_one_run_is_drawn_too():
    ds = example(strategy=["magnitude"]).isel(level=[2])
    (line,) = plot_init_histograms(ds).lines
    np.testing.assert_allclose(line.get_ydata(), ds["probability_density"][0, 0, 0])


def test_of_many_levels_four_are_drawn():
    ds = example(strategy=["magnitude"]).isel(level=[0] * 9).assign_coords(level=np.arange(9.0))
    ds["level"].attrs = HISTOGRAMS.coordinates["level"].attributes()
    ds["density"][0] = 0.8 ** np.arange(9)
    assert len(plot_init_histograms(ds).lines) == 4


def test_another_layer_or_group_is_refused():
    with pytest.raises(UsageError, match=r"unknown layer 'fc1'; available: fc1.weight"):
        plot_init_histograms(example(), layer="fc1")
    with pytest.raises(UsageError, match="unknown group of runs 'imp'; available: magnitude"):
        plot_init_histograms(example(), group="imp")


def test_another_dataset_is_refused():
    with pytest.raises(LandscapeError, match="a histograms dataset needs 'centre'"):
        plot_init_histograms(example().drop_vars("centre"))
