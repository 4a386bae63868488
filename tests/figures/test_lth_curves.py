"""Curves on the axes are the test accuracies of the dataset, level by level."""

from __future__ import annotations

import numpy as np
import pytest

from landscape.data_store.errors import LandscapeError, UsageError
from landscape.data_store.schemas.training import TRAINING
from landscape.figures.lth_curves import draw, plot_lth_curves

NAN = np.nan
DENSITY = np.array([1.0, 0.8, 0.64])


def example(steps=(0.0, 100.0, 200.0)):
    """Two replicates of magnitude and one random run, with errors that are all different."""
    ds = TRAINING.example().reindex(step=list(steps))
    for name, variable in {**TRAINING.variables, **TRAINING.coordinates}.items():
        ds[name].attrs = variable.attributes()
    ds["strategy"] = ("run", ["magnitude", "magnitude", "random"], ds["strategy"].attrs)
    ds["density"] = (("run", "level"), np.tile(DENSITY, (3, 1)), ds["density"].attrs)
    shape = ds["test_error"].shape
    for name in ("test_error", "learning_rate"):
        values = np.linspace(0.5, 0.1, np.prod(shape)).reshape(shape)
        ds[name] = (ds[name].dims, values, ds[name].attrs)
    return ds


def legend(target):
    (found,) = target.legends if hasattr(target, "legends") else [target.get_legend()]
    return [text.get_text() for text in found.get_texts()]


def test_lines_are_mean_accuracies_of_the_first_group():
    ds = example()
    ax = plot_lth_curves(ds)
    accuracy = 100 * (1 - ds["test_error"][:2].mean("run"))
    assert len(ax.lines) == 3
    for line, values in zip(ax.lines, accuracy, strict=True):
        np.testing.assert_array_equal(line.get_xdata(), [0, 100, 200])
        np.testing.assert_allclose(line.get_ydata(), values)
    assert legend(ax) == ["100 %", "80 %", "64 %"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("training iteration", "test accuracy (%)")


def test_areas_run_from_least_to_greatest_or_a_standard_deviation():
    ds = example()
    accuracy = 100 * (1 - ds["test_error"][:2, 0].values)
    for spread, low in (
        ("range", accuracy.min(axis=0)),
        ("std", accuracy.mean(axis=0) - accuracy.std(axis=0, ddof=1)),
    ):
        area = plot_lth_curves(ds, spread=spread).collections[0]
        heights = area.get_paths()[0].vertices
        got = [heights[heights[:, 0] == step, 1].min() for step in (0, 100, 200)]
        np.testing.assert_allclose(got, low)


def test_a_group_is_taken_by_its_label():
    ds = example()
    ax = plot_lth_curves(ds, group="random")
    np.testing.assert_allclose(ax.lines[0].get_ydata(), 100 * (1 - ds["test_error"][2, 0]))
    assert not ax.collections


def test_the_axis_covers_what_comes_after_the_start():
    steps = np.arange(21) * 100.0
    ds = example(steps)
    accuracy = np.linspace(90.0, 98.0, 21)
    accuracy[:2] = 10.0
    values = np.broadcast_to(1 - accuracy / 100, ds["test_error"].shape).copy()
    ds["test_error"] = (ds["test_error"].dims, values, ds["test_error"].attrs)
    ax = plot_lth_curves(ds)
    lower, upper = ax.get_ylim()
    assert 10 < lower < accuracy[2]
    assert upper > 98
    assert ax.lines[0].get_ydata()[0] == pytest.approx(10)


def test_steps_that_no_run_has_do_not_break_a_line_but_unknown_values_do():
    ds = example()
    for name in ("test_error", "learning_rate"):
        ds[name][:, 1, 1] = NAN
    ds["test_error"][:, 2, 1] = NAN
    _, one, other = plot_lth_curves(ds).lines
    np.testing.assert_array_equal(one.get_xdata(), [0, 200])
    assert np.isnan(other.get_ydata()).tolist() == [False, True, False]


def test_figure_has_a_panel_for_each_group_and_one_y_axis():
    canvas = draw(example())
    titles = [ax.get_title(loc="left") for ax in canvas.axes]
    assert titles == ["magnitude (2 runs)", "random"]
    assert canvas.axes[0].get_ylim() == canvas.axes[1].get_ylim()
    assert legend(canvas) == ["100 %", "80 %", "64 %"]
    assert canvas.get_figwidth() == 6.75


def test_levels_that_a_group_lacks_are_said():
    ds = example()
    ds["density"][2, :2] = NAN
    ds["test_error"][2, :2] = NAN
    one, other = draw(ds).axes
    assert one.get_xlabel() == "training iteration"
    assert other.get_xlabel() == "training iteration\nnot there: 100 %, 80 %"
    assert len(other.lines) == 1


@pytest.mark.parametrize("keep", [{"level": [0]}, {"run": [2]}, {"step": [2]}])
def test_one_level_one_run_or_one_step_is_drawn_too(keep):
    canvas = draw(example().isel(keep))
    assert all(np.isfinite(ax.lines[0].get_ydata()).all() for ax in canvas.axes)


def test_another_group_or_spread_is_refused():
    with pytest.raises(UsageError, match="unknown group of runs 'magnitude'; did you mean"):
        plot_lth_curves(example(), group="magnitude")
    with pytest.raises(UsageError, match="unknown spread 'sem'"):
        plot_lth_curves(example(), spread="sem")


def test_another_dataset_is_refused():
    with pytest.raises(LandscapeError, match="a training dataset needs 'test_error'"):
        plot_lth_curves(example().drop_vars("test_error"))
