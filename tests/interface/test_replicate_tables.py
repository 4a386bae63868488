"""Training and verdicts over replicates: means and spreads by hand, what is missing in words."""

from __future__ import annotations

import math
from statistics import mean, stdev

import numpy as np
import pytest

from landscape.data_store.schemas.insights import INSIGHTS
from landscape.data_store.schemas.training import TRAINING
from landscape.replicate_tables import insights, training
from landscape.sheet import Quantity

ERRORS = [[0.03, 0.04], [0.01, 0.02], [0.02, 0.09]]
STEPS = [[300.0, 200.0], [500.0, 100.0], [100.0, 600.0]]


def runs(strategies=("magnitude",) * 3, **changes):
    """Three runs of two levels; the curves play no part."""
    dims = {"run": 3, "level": 2, "step": 1}
    arrays = {
        name: np.full([dims[d] for d in v.dims], np.nan) for name, v in TRAINING.variables.items()
    }
    arrays |= {
        "density": [[1.0, 0.8]] * 3,
        "early_stop_step": STEPS,
        "early_stop_test_error": np.array(ERRORS) / 2,
        "final_test_error": ERRORS,
        "status": np.zeros((3, 2)),
        **changes,
    }
    coords = {
        "run": ["a", "b", "c"], "level": [0, 1], "step": [0.0], "seed": [0, 1, 2],
        "criterion": [s.partition(",")[0] for s in strategies], "strategy": list(strategies),
    }  # fmt: skip
    return TRAINING.build(coords, arrays)


def rows(sheet):
    names = [column.name for column in sheet.columns]
    return [dict(zip(names, row, strict=True)) for row in sheet.rows]


def test_means_and_standard_deviations_are_those_of_a_sample():
    sheet = training(runs(), "std")
    for level, row in enumerate(rows(sheet)):
        right = [1 - error[level] for error in ERRORS]
        assert row["strategy"] == "magnitude"
        assert row["level"].value == level
        assert row["density"].value == pytest.approx([1.0, 0.8][level])
        assert row["test_accuracy"].value == pytest.approx(mean(right))
        assert row["test_accuracy"].error == pytest.approx(stdev(right))
        early = [1 - error[level] / 2 for error in ERRORS]
        assert row["early_stop_test_accuracy"].value == pytest.approx(mean(early))
        assert row["early_stop_step"].error == pytest.approx(stdev(s[level] for s in STEPS))
        assert row["replicates"] == Quantity(3.0)
        assert (row["runs"], row["status"]) == ("a b c", "ok")
    assert sheet.caption == "Training of a, b and c"
    assert sheet.notes == ("Means over the runs, ± one standard deviation of a sample.",)


def test_a_range_is_the_least_and_the_greatest():
    sheet = training(runs(), "range")
    accuracy = rows(sheet)[1]["test_accuracy"]
    assert (accuracy.low, accuracy.high) == pytest.approx((0.91, 0.98))
    assert math.isnan(accuracy.error)
    assert sheet.columns[3].spread == "range"
    assert sheet.notes == ("Means over the runs, with the least and the greatest.",)


def test_the_order_of_the_runs_does_not_matter():
    one = rows(training(runs(), "std"))[0]["test_accuracy"]
    other = rows(training(runs().isel(run=[2, 0, 1]), "std"))[0]["test_accuracy"]
    assert one.value == pytest.approx(other.value)
    assert one.error == pytest.approx(other.error)


def test_one_run_has_no_spread_and_no_note_of_one():
    sheet = training(runs().isel(run=[0]), "std")
    row = rows(sheet)[0]
    assert row["test_accuracy"].value == 1 - 0.03
    assert math.isnan(row["test_accuracy"].error)
    assert row["replicates"] == Quantity(1.0)
    assert (sheet.notes, sheet.caption) == ((), "Training of a")


def test_strategies_and_schedules_are_not_averaged():
    sheet = training(runs(("magnitude", "magnitude, finetune", "magnitude")), "std")
    assert [row["strategy"] for row in rows(sheet)] == ["magnitude"] * 2 + [
        "magnitude, finetune"
    ] * 2
    assert [row["replicates"].value for row in rows(sheet)] == [2, 2, 1, 1]
    other = runs(density=[[1.0, 0.8], [1.0, 0.8], [1.0, 0.3]])
    assert [row["strategy"] for row in rows(training(other, "std"))] == [
        "magnitude: a", "magnitude: a", "magnitude: c", "magnitude: c",
    ]  # fmt: skip


def test_runs_on_other_tasks_are_no_replicates():
    ds = runs()
    for name in ("source", "optimizer"):
        ds = ds.assign_coords({name: ("run", ["mnist", "mnist", "mnist"])})
    ds = ds.assign_coords(target=("run", ["mnist", "digits", "mnist"]))
    sheet = training(ds, "std")
    assert [(row["target"], row["replicates"].value) for row in rows(sheet)] == [
        ("mnist", 2), ("mnist", 2), ("digits", 1), ("digits", 1),
    ]  # fmt: skip
    assert {row["strategy"] for row in rows(sheet)} == {"magnitude"}
    right = [1 - ERRORS[0][0], 1 - ERRORS[2][0]]
    assert rows(sheet)[0]["test_accuracy"].error == pytest.approx(stdev(right))
    shown = [column.name for column in sheet.for_readers().columns]
    assert shown[:3] == ["strategy", "target", "level"]  # what all share is left to the CSV


def test_what_diverged_is_absent_or_unknown_is_said():
    nan = np.nan
    ds = runs(
        status=[[0, 1], [0, 2], [1, 0]],
        density=[[1.0, 0.8], [1.0, nan], [1.0, 0.8]],
        early_stop_step=[[300.0, nan], [nan, nan], [100.0, 600.0]],
        final_test_error=[[0.03, nan], [0.01, nan], [0.02, nan]],
    )
    first, second = rows(training(ds, "std"))
    assert first["status"] == "1 of 3 diverged; 1 of 3 no early stop known"
    assert first["early_stop_step"].value == pytest.approx(200.0)
    assert second["replicates"] == Quantity(2.0)
    assert second["status"] == (
        "1 of 3 diverged; 1 of 3 absent; 1 of 2 no early stop known; no test accuracy"
    )
    assert math.isnan(second["test_accuracy"].value)
    assert math.isnan(second["early_stop_step"].error)


def test_a_level_that_no_run_has_is_no_row():
    ds = runs(status=[[0, 2]] * 3, density=[[1.0, np.nan]] * 3)
    assert [row["level"].value for row in rows(training(ds, "std"))] == [0.0]


def test_many_runs_are_counted_in_the_caption():
    ds = runs().isel(run=[0, 1, 2] * 3)
    assert training(ds, "std").caption == "Training of a, b, c, a, b, c and 3 more"


def claims(**changes):
    ds = INSIGHTS.example()
    ds["missing"] = ds["missing"].copy(data=np.full((1, 7), ""))
    ds["measure"] = ds["measure"].copy(data=np.array(["error"]))
    for name, values in changes.items():
        ds[name] = ds[name].copy(data=np.array(values))
    return ds


def test_a_claim_has_its_verdict_counts_and_headline_number():
    ds = claims()
    found = rows(insights(ds, "std"))
    assert len(found) == 7
    for i, row in enumerate(found):
        one = ds.isel(study=0, claim=i)
        assert row["claim"].value == i + 1
        assert row["verdict"] == str(one["verdict"].values)
        assert row["in_favour"].value == float(one["in_favour"])
        assert row["effect"].value == pytest.approx(mean(one["effect"].values))
        assert row["effect"].error == pytest.approx(stdev(one["effect"].values))
        assert row["status"] == "ok"


def test_a_claim_that_lacks_something_says_what_and_by_what_command():
    lacks = [["landscape insights imp --volume hessian", *[""] * 6]]
    effect = np.full((1, 7, 2), 0.5)
    effect[0, 1] = np.nan
    sheet = insights(claims(missing=lacks, effect=effect), "std")
    status = [row["status"] for row in rows(sheet)]
    assert status == ["something is missing", "no headline number", *["ok"] * 5]
    assert sheet.notes[-1] == "To decide claim 1: landscape insights imp --volume hessian."
    assert sheet.notes[1].startswith("Judged by the error on the example split, with slack")
