"""Baselines on the axes are those of the dataset, a line for each source of the masks."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import to_hex

from landscape.data_store.errors import LandscapeError, UsageError
from landscape.data_store.schemas.insights import INSIGHTS
from landscape.figures.baseline import FIGURE, plot_baseline

DENSITY = 0.8 ** np.arange(4)
DRAWN = ["imp", "one-shot", "random", "largest-first"]


def example(measure="error", split="test"):
    ds = INSIGHTS.example()
    ds["density"][:] = DENSITY
    ds["measure"][:], ds["judged_split"][:] = measure, split
    return ds


def lines(ax):
    """The strategies' lines as (x, y), and that of the solution before pruning."""
    grey = [x for x in ax.lines if to_hex(x.get_color()) == to_hex("0.5")]
    others = [np.array(x.get_data(), dtype=float) for x in ax.lines if x not in grey]
    return others, [np.array(x.get_data(), dtype=float) for x in grey]


def words(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize(("measure", "factor"), [("error", 100), ("loss", 1)])
def test_lines_are_the_mean_over_the_runs(measure, factor, split):
    ds = example()
    found, (before,) = lines(plot_baseline(ds, measure=measure, split=split))
    one = factor * ds[measure].isel(study=0).sel(split=split).mean("replicate")
    assert len(found) == len(DRAWN)
    for (x, y), strategy in zip(found, DRAWN, strict=True):
        np.testing.assert_allclose(x, 100 * DENSITY)
        np.testing.assert_allclose(y, one.sel(strategy=strategy, point="baseline"))
    np.testing.assert_allclose(before[1], one.sel(strategy="imp", point="previous"))


def test_bars_run_from_the_least_to_the_greatest():
    ds = example()
    ax = plot_baseline(ds)
    one = 100 * ds["error"].isel(study=0).sel(split="test", point="baseline", strategy="imp")
    bars = np.array(ax.collections[0].get_segments())
    np.testing.assert_allclose(bars[:, 0, 1], one.min("replicate"))
    np.testing.assert_allclose(bars[:, 1, 1], one.max("replicate"))
    assert not plot_baseline(ds.isel(replicate=[0])).collections


def test_the_split_is_the_one_the_claims_are_judged_on():
    assert plot_baseline(example(split="train")).get_ylabel().startswith("train error (%)")
    assert plot_baseline(example(split="test")).get_ylabel().startswith("test error (%)")


def test_strategies_that_differ_in_training_only_are_asked_for():
    assert words(plot_baseline(example()))[:-1] == ["iterative (imp)", *DRAWN[1:]]
    ax = plot_baseline(example(), strategies=["imp", "finetune"])
    assert words(ax) == ["iterative (imp)", "finetune", "L(i), before pruning"]


def test_what_was_not_measured_has_no_line_and_is_named():
    ds = example()
    ds["error"].loc[{"strategy": "random"}] = np.nan
    ax = plot_baseline(ds)
    assert len(lines(ax)[0]) == 3
    assert words(ax)[2] == "random (not measured)"


def test_missing_levels_are_joined_over():
    ds = example()
    ds["error"].loc[{"strategy": "one-shot", "level": [0.0, 2.0]}] = np.nan
    x, _ = lines(plot_baseline(ds))[0][1]
    np.testing.assert_allclose(x, 100 * DENSITY[[1, 3]])


def test_one_level_is_a_point():
    found, _ = lines(plot_baseline(example().isel(level=[1])))
    assert [len(x) for x, _ in found] == [1] * 4


def test_nothing_known_is_said():
    ds = example()
    ds["error"][:] = np.nan
    assert plot_baseline(ds).texts[0].get_text() == "no value is known (all NaN)"


def test_a_study_without_imp_has_no_line_of_its_solutions():
    ds = example().sel(strategy=["one-shot", "random"])
    found, before = lines(plot_baseline(ds))
    assert (len(found), before) == (2, [])


def test_the_figure_is_error_and_loss_with_one_legend():
    figure = FIGURE.draw(example())
    assert [ax.get_ylabel() for ax in figure.axes] == [
        "test error (%)\nright after pruning",
        "test loss (nats per example)\nright after pruning",
    ]
    assert len(figure.legends) == 1
    assert not any(ax.get_legend() for ax in figure.axes)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"measure": "accuracy"}, "unknown measure 'accuracy'"),
        ({"split": "tset"}, "unknown split 'tset'; did you mean 'test'"),
        ({"strategies": ["oneshot"]}, "unknown strategy 'oneshot'; did you mean 'one-shot'"),
    ],
)
def test_an_unknown_choice_names_the_nearest(options, message):
    with pytest.raises(UsageError, match=message):
        plot_baseline(example(), **options)


def test_another_dataset_is_refused():
    with pytest.raises(LandscapeError, match="a insights dataset needs 'verdict'"):
        plot_baseline(example().drop_vars("verdict"))
