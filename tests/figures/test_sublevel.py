"""Sublevel sets on the axes are those of the dataset: values, thresholds, and who is inside."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import to_hex

from landscape.data_store.errors import LandscapeError, UsageError
from landscape.data_store.schemas.sublevel import PATHS, POINTS, SUBLEVEL
from landscape.figures.sublevel import FIGURE, plot_sublevel

DENSITY = np.array([0.8, 0.64, 0.512])


def example(measure="error"):
    ds = SUBLEVEL.example()
    ds["density_b"] = ("transition", DENSITY, ds["density_b"].attrs)
    ds["measure"][:] = measure
    ds["member"][:] = 1.0
    ds["connected"][:] = 1.0
    ds["epsilon"][:] = 0.02
    return ds


def lines(ax):
    """Lines between points, without markers and the bound, as (x, y)."""
    grey = to_hex("0.6")
    chosen = [x for x in ax.lines if x.get_linestyle() == "-" and to_hex(x.get_color()) != grey]
    return [np.array(line.get_data(), dtype=float) for line in chosen]


def bound(ax):
    (line,) = [x for x in ax.lines if to_hex(x.get_color()) == to_hex("0.6")]
    return np.array(line.get_data(), dtype=float)


def faces(ax, colour):
    """What the markers of a colour are filled with, by position."""
    found = {}
    for line in ax.lines:
        if line.get_marker() not in ("None", "x") and to_hex(line.get_color()) == colour:
            found |= dict.fromkeys(map(float, line.get_xdata()), to_hex(line.get_markerfacecolor()))
    return found


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize(("measure", "factor"), [("error", 100), ("loss", 1)])
def test_points_are_the_measure_in_its_unit(split, measure, factor):
    ds = example(measure)
    ax = plot_sublevel(ds, split=split)
    assert len(lines(ax)) == len(POINTS)
    for (x, y), point in zip(lines(ax), POINTS, strict=True):
        np.testing.assert_allclose(x, 100 * DENSITY)
        np.testing.assert_allclose(y, factor * ds[measure].sel(split=split, point=point))
    np.testing.assert_allclose(bound(ax)[1], factor * ds["threshold"].sel(split=split))
    assert ax.get_ylabel() == f"{split} {measure} ({'%' if factor == 100 else 'nats'})"


def test_paths_are_barriers_beside_epsilon():
    ds = example()
    ax = plot_sublevel(ds, subject="paths")
    for (_, y), path in zip(lines(ax), PATHS, strict=True):
        np.testing.assert_allclose(y, 100 * ds["barrier"].sel(split="test", path=path))
    np.testing.assert_allclose(bound(ax)[1], 2.0)
    assert ax.get_ylabel() == "test error barrier (%)"


def test_filled_is_inside_open_is_not_and_a_cross_is_unknown():
    ds = example()
    ds["member"].loc[{"point": "solution", "split": "test"}] = [1.0, 0.0, np.nan]
    ax = plot_sublevel(ds)
    colour = to_hex(ax.get_legend().get_lines()[POINTS.index("solution")].get_color())
    found = faces(ax, colour)
    assert found == {80.0: colour, 64.0: "#ffffff"}
    crosses = [x for x in ax.lines if x.get_marker() == "x" and len(x.get_xdata())]
    assert [x.get_xdata().tolist() for x in crosses] == [[51.2]]


def test_runs_are_lines_of_their_own():
    ds = example()
    ds["run"] = ("transition", np.array(["a", "a", "b"]), ds["run"].attrs)
    assert len(lines(plot_sublevel(ds))) == 2 * len(POINTS)


def test_files_of_unknown_density_get_a_place_each():
    ds = example()
    ds["density_b"][:] = np.nan
    ax = plot_sublevel(ds)
    assert lines(ax) == []
    assert ax.get_xlabel() == "pair of checkpoints"


def test_the_split_is_the_first_where_there_is_no_test():
    ds = example().sel(split=["train"])
    assert plot_sublevel(ds).get_ylabel().startswith("train")


def test_the_legend_can_be_left_out():
    assert plot_sublevel(example(), legend=False).get_legend() is None


def test_the_figure_has_points_and_paths():
    left, right = FIGURE.draw(example()).axes
    assert left.get_ylabel() == "test error (%)"
    assert right.get_ylabel() == "test error barrier (%)"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"subject": "point"}, "unknown subject 'point'; did you mean 'points'"),
        ({"split": "tset"}, "unknown split 'tset'; did you mean 'test'"),
    ],
)
def test_an_unknown_choice_names_the_nearest(options, message):
    with pytest.raises(UsageError, match=message):
        plot_sublevel(example(), **options)


def test_another_dataset_is_refused():
    with pytest.raises(LandscapeError, match="a sublevel dataset needs 'transition'"):
        plot_sublevel(example().drop_vars("transition"))
