"""Which runs are replicates, and how their spread is drawn."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure as Canvas

from landscape.data_store.schemas.training import TRAINING
from landscape.figures.replicates import replicates

NAN = np.nan


def training(density, criterion=("magnitude", "magnitude", "random")):
    example = TRAINING.example().assign_coords(strategy=("run", list(criterion)))
    example["density"] = (("run", "level"), density, example["density"].attrs)
    return example


LADDER = [[1.0, 0.8, 0.64]] * 3


def members(groups):
    return {group.label: group.training["run"].values.tolist() for group in groups}


def test_runs_of_a_criterion_are_replicates():
    assert members(replicates(training(LADDER))) == {
        "magnitude (2 runs)": ["imp-a", "imp-b"],
        "random": ["random"],
    }


def test_other_densities_make_no_replicates():
    groups = replicates(training([[1.0, 0.8, 0.64], [1.0, 0.5, 0.25], [1.0, 0.8, 0.64]]))
    assert members(groups) == {
        "magnitude: imp-a": ["imp-a"],
        "magnitude: imp-b": ["imp-b"],
        "random": ["random"],
    }


def test_a_level_that_one_run_lacks_is_counted_in_the_label():
    ds = training([[1.0, 0.8, NAN], [1.0, 0.8, 0.64], [1.0, 0.8, 0.64]])
    ds["status"][0, 2] = 2
    (group, _) = replicates(ds)
    assert group.label == "magnitude (1–2 runs)"
    np.testing.assert_array_equal(group.density, [1.0, 0.8, 0.64])


def test_line_is_the_mean_and_bars_run_from_least_to_greatest():
    (group, _) = replicates(training(LADDER))
    values = group.training["final_test_error"].copy(data=[[1.0, NAN, NAN], [4.0, 5.0, NAN]])
    ax = Canvas().add_subplot()
    group.plot(ax, values, color="black")
    (line,) = ax.lines
    np.testing.assert_array_equal(line.get_xdata(), 100 * np.array([1.0, 0.8, 0.64]))
    np.testing.assert_array_equal(line.get_ydata(), [2.5, 5.0, NAN])
    bars = [bar[:, 1].tolist() for bar in ax.collections[0].get_segments()]
    assert bars == [[1.0, 4.0], [5.0, 5.0]]


def test_a_single_run_has_no_bars():
    (_, group) = replicates(training(LADDER))
    ax = Canvas().add_subplot()
    group.plot(ax, group.training["final_test_error"], color="black")
    assert not ax.collections


def test_groups_come_in_the_order_of_the_runs():
    turned = training(LADDER).isel(run=[2, 1, 0])
    assert [group.label for group in replicates(turned)] == ["random", "magnitude (2 runs)"]
