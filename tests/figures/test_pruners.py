"""Lines, looks and replicates of pruners."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from landscape.figures.pruners import lines, looks, reduced, replicates, steps


def dataset(**coords):
    """Four cases with settings as coordinates."""
    return xr.Dataset(
        coords={
            "pair": ["a b", "c d", "e f", "g h"],
            "run": ("pair", ["a", "c", "e", "g"]),
            **{name: ("pair", values) for name, values in coords.items()},
        }
    )


def test_a_line_is_a_criterion_and_what_varies_within_it():
    ds = dataset(
        criterion=["snip", "snip", "synflow", "synflow"],
        scope=["global", "local", "global", "global"],
        score_rounds=[1, 1, 1, 100],
        seed=[0, 1, 2, 3],
        plant=["x", "y", "x", "y"],
    )
    assert lines(ds, "pair", {"pair", "run"}).tolist() == [
        "snip, scope global", "snip, scope local", "synflow, rounds 1", "synflow, rounds 100",
    ]  # fmt: skip


def test_what_is_off_needs_no_words():
    ds = dataset(criterion=["edge-popup"] * 4, score_annealed=[True, False, True, False])
    expected = ["edge-popup, annealed", "edge-popup"] * 2
    assert lines(ds, "pair", {"pair", "run"}).tolist() == expected


def test_without_criteria_there_is_one_line():
    one = dataset().drop_vars("run")
    assert set(lines(one, "pair", {"pair", "run"}).tolist()) == {"ticket"}


def test_without_criteria_every_run_has_its_line():
    ds = dataset()
    assert lines(ds, "pair", {"pair", "run"}).tolist() == ds["run"].values.tolist()


def test_a_criterion_looks_the_same_whatever_is_beside_it():
    one = looks(np.array(["snip", "grasp", "other"]))
    two = looks(np.array(["another", "grasp", "snip", "snip"]))
    assert one["snip"] == two["snip"]
    assert one["grasp"] == two["grasp"]
    assert list(two) == ["another", "grasp", "snip"]
    assert len({look["color"] for look in one.values()}) == 3


def test_replicates_are_of_like_density_and_go_from_dense_to_sparse():
    density = np.array([0.1, 1.0, np.nan, 0.0995, 0.5, 0.0, 1.0, 0.09])
    found = [rows.tolist() for rows in replicates(density)]
    assert found == [[1, 6], [4], [0, 3], [7]]


@pytest.mark.parametrize(("how", "value"), [(np.min, 1.0), (np.mean, 2.0), (np.max, 3.0)])
def test_the_unknown_is_left_out(how, value):
    assert reduced(how, np.array([np.nan, 1.0, 3.0])) == value
    assert np.isnan(reduced(how, np.array([np.nan])))


def test_steps_are_mean_and_spread_of_rows_of_like_density():
    density = np.array([50.0, 100.0, 49.5, np.nan, 10.0])
    values = np.array([1.0, 5.0, 3.0, 9.0, np.nan])
    x, mean, low, high = steps(density, values, "range")
    np.testing.assert_allclose(x, [100.0, 49.75, 10.0])
    np.testing.assert_array_equal(mean, [5.0, 2.0, np.nan])
    np.testing.assert_array_equal(low, [np.nan, 1.0, np.nan])
    np.testing.assert_array_equal(high, [np.nan, 3.0, np.nan])
    _, _, low, high = steps(density, values, "std")
    np.testing.assert_allclose(high - low, [np.nan, 2 * np.std([1, 3], ddof=1), np.nan])
    assert [len(part) for part in steps(density[:0], values[:0], "std")] == [0] * 4
