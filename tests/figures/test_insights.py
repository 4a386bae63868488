"""Insights on the axes are those of the dataset: a line per strategy, thresholds, verdicts."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import to_hex

from landscape.data_store.errors import LandscapeError, UsageError
from landscape.data_store.schemas.insights import INSIGHTS
from landscape.figures.insights import FIGURE, PANELS, plot_insights

STRATEGIES = INSIGHTS.samples["strategy"]
DENSITY = 0.8 ** np.arange(4)


def example(measure="error", split="test"):
    ds = INSIGHTS.example()
    ds["density"][:] = DENSITY
    ds["measure"][:], ds["judged_split"][:] = measure, split
    ds["epsilon"][:] = 0.02
    return ds


def lines(ax):
    """The strategies' lines, without thresholds, as (x, y)."""
    found = [x for x in ax.lines if to_hex(x.get_color()) != to_hex("0.6")]
    return [np.array(line.get_data(), dtype=float) for line in found]


def thresholds(ax):
    found = [x for x in ax.lines if to_hex(x.get_color()) == to_hex("0.6")]
    return [np.array(line.get_data()[1], dtype=float) for line in found]


def wanted(ds, panel):
    """What a panel shows, transcribed: (replicate, strategy, level)."""
    one = ds.isel(study=0)
    measure, split = str(one["measure"].values), str(one["judged_split"].values)
    factor = 100 if measure == "error" else 1
    at, on = one.sel(split=split), "baseline-solution"
    return {
        "accuracy": 100 * (1 - one["error"].sel(split="test", point="solution")),
        "solution": factor * at[measure].sel(point="solution"),
        "between": factor * at[f"{measure}_barrier"].sel(path="previous-solution"),
        "baseline": factor * at[measure].sel(point="baseline"),
        "escape": factor * at[f"{measure}_barrier"].sel(path=on),
        "distance": one["distance"].sel(path=on),
        "angle": one["angle"].sel(path=on),
        "volume": one["log_volume_per_dimension"],
    }[panel]


@pytest.mark.parametrize("panel", PANELS)
@pytest.mark.parametrize(("measure", "split"), [("error", "test"), ("loss", "train")])
def test_lines_are_means_over_the_runs(panel, measure, split):
    ds = example(measure, split)
    ax = plot_insights(ds, panel)
    want = wanted(ds, panel).mean("replicate")
    assert len(lines(ax)) == len(STRATEGIES)
    for (x, y), strategy in zip(lines(ax), STRATEGIES, strict=True):
        np.testing.assert_allclose(x, 100 * DENSITY)
        np.testing.assert_allclose(y, want.sel(strategy=strategy))


def test_bars_run_from_the_least_to_the_greatest():
    ds = example()
    ax = plot_insights(ds, "distance")
    want = wanted(ds, "distance").sel(strategy="imp")
    bars = np.array(ax.collections[0].get_segments())
    np.testing.assert_allclose(bars[:, 0, 1], want.min("replicate"))
    np.testing.assert_allclose(bars[:, 1, 1], want.max("replicate"))
    assert not plot_insights(ds.isel(replicate=[0]), "distance").collections


def test_a_strategy_of_some_levels_is_joined_over_its_gaps():
    ds = example()
    ds["distance"].loc[{"strategy": "one-shot", "level": [0.0, 2.0]}] = np.nan
    x, _ = lines(plot_insights(ds, "distance"))[1]
    np.testing.assert_allclose(x, 100 * DENSITY[[1, 3]])


def test_a_strategy_that_was_never_measured_has_no_line():
    ds = example()
    ds["distance"].loc[{"strategy": "random"}] = np.nan
    assert len(lines(plot_insights(ds, "distance"))) == len(STRATEGIES) - 1


def test_solutions_stand_beside_the_edges_of_the_sets():
    ds = example()
    dense, before = thresholds(plot_insights(ds, "solution"))
    own = ds.isel(study=0).sel(strategy="imp", split="test")["error"].mean("replicate")
    np.testing.assert_allclose(dense, [100 * float(own.sel(point="solution")[0]) + 2] * 3)
    np.testing.assert_allclose(before, 100 * own.sel(point="previous")[1:] + 2)


@pytest.mark.parametrize("panel", ["between", "escape"])
def test_barriers_stand_beside_epsilon_and_zero(panel):
    ax = plot_insights(example(), panel)
    np.testing.assert_allclose(thresholds(ax), [[2.0, 2.0]])
    assert ax.get_ylim()[0] <= 0


def test_strategies_look_the_same_whichever_are_there():
    everything = plot_insights(example(), "angle")
    few = plot_insights(example().sel(strategy=["imp", "random"]), "angle")
    colours = {to_hex(line.get_color()) for line in few.lines}
    assert colours == {to_hex(everything.lines[i].get_color()) for i in (0, 3)}


def test_the_figure_has_every_panel_the_verdicts_and_one_legend():
    ds = example()
    ds["verdict"][:] = "holds"
    ds["in_favour"][:], ds["comparisons"][:] = 3, 4
    ds["comparisons"][0, 0] = 0
    figure = FIGURE.draw(ds)
    assert len(figure.axes) == len(PANELS) + 1
    verdicts = figure.axes[-1]
    np.testing.assert_array_equal(verdicts.lines[0].get_xdata(), [np.nan, *[75.0] * 6])
    np.testing.assert_array_equal(verdicts.lines[0].get_ydata(), range(1, 8))
    assert [text.get_text() for text in verdicts.texts] == ["holds", *["holds (n = 4)"] * 6]
    (legend,) = figure.legends
    names = [entry.get_text() for entry in legend.get_texts()]
    assert names == [*STRATEGIES, "ε", "L(0) + ε", "L(i) + ε"]


def test_a_strategy_without_a_colour_of_its_own_gets_one():
    ds = example()
    ds["strategy"] = ("strategy", np.array([*STRATEGIES[:5], "zigzag"]), ds["strategy"].attrs)
    colours = [to_hex(line.get_color()) for line in plot_insights(ds, "angle").lines]
    assert len(set(colours)) == 6


def test_a_panel_without_volumes_says_what_measures_them():
    ds = example()
    ds["log_volume_per_dimension"][:] = np.nan
    missing = np.where(ds["claim"] == 1, "landscape insights imp-a --volume hessian", "")
    ds["missing"] = (ds["missing"].dims, missing[None], ds["missing"].attrs)
    texts = [text.get_text().replace("\n", " ") for text in plot_insights(ds, "volume").texts]
    want = ["no value is known (all NaN)", "landscape insights imp-a --volume hessian"]
    assert texts == want


def test_an_unknown_panel_names_the_nearest():
    with pytest.raises(UsageError, match="unknown panel 'angles'; did you mean 'angle'"):
        plot_insights(example(), "angles")


def test_another_dataset_is_refused():
    with pytest.raises(LandscapeError, match="a insights dataset needs 'verdict'"):
        plot_insights(example().drop_vars("verdict"), "angle")
