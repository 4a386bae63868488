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
    assert bars == [[1.0, 4.0]]  # one value has no spread


def test_bars_of_one_standard_deviation_lie_about_the_mean():
    (group, _) = replicates(training(LADDER))
    values = group.training["final_test_error"].copy(data=[[1.0, NAN, NAN], [4.0, 5.0, NAN]])
    ax = Canvas().add_subplot()
    group.plot(ax, values, spread="std", color="black")
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), [2.5, 5.0, NAN])
    (bar,) = ax.collections[0].get_segments()  # of one value there is no deviation
    half = np.std([1.0, 4.0], ddof=1)
    np.testing.assert_allclose(bar, [[100, 2.5 - half], [100, 2.5 + half]])


def test_a_single_run_has_no_bars():
    (_, group) = replicates(training(LADDER))
    ax = Canvas().add_subplot()
    group.plot(ax, group.training["final_test_error"], color="black")
    assert not ax.collections


def test_groups_come_in_the_order_of_the_runs():
    turned = training(LADDER).isel(run=[2, 1, 0])
    assert [group.label for group in replicates(turned)] == ["random", "magnitude (2 runs)"]


def test_other_tasks_optimisers_and_networks_make_no_replicates():
    ds = training(LADDER, ["magnitude"] * 3)
    for name, values, labels in (
        ("target", ["a", "a", "b"], ["magnitude, on a (2 runs)", "magnitude, on b"]),
        (
            "optimizer",
            ["sgd", "adam", "sgd"],
            ["magnitude, with sgd (2 runs)", "magnitude, with adam"],
        ),
        ("model", ["mlp", "mlp", "cnn"], ["magnitude, mlp (2 runs)", "magnitude, cnn"]),
        ("source", ["a", "b", ""], ["magnitude, of a", "magnitude, of b", "magnitude"]),
        ("parent", ["", "a", "b"], ["magnitude", "magnitude, trained again (2 runs)"]),
    ):
        found = replicates(ds.assign_coords({name: ("run", values)}))
        assert [group.label for group in found] == labels


def test_what_does_not_differ_within_a_strategy_is_not_said():
    ds = training(LADDER).assign_coords(target=("run", ["a", "a", "b"]))
    assert [group.label for group in replicates(ds)] == ["magnitude (2 runs)", "random"]


def test_a_source_that_is_the_target_is_said_once():
    tasks = ("run", ["a", "b", "b"])
    ds = training(LADDER, ["magnitude"] * 3).assign_coords(target=tasks, source=tasks)
    assert [group.label for group in replicates(ds)] == [
        "magnitude, on a",
        "magnitude, on b (2 runs)",
    ]


def test_what_only_reads_alike_is_not_pooled():
    strategies = ["magnitude", "magnitude", "magnitude, on b"]
    ds = training(LADDER, strategies).assign_coords(target=("run", ["a", "b", "b"]))
    assert members(replicates(ds)) == {
        "magnitude, on a": ["imp-a"],
        "magnitude, on b: imp-b": ["imp-b"],
        "magnitude, on b: random": ["random"],
    }
