"""A row per case: values read from the dataset by a loop, whatever the order of its dimensions."""

from __future__ import annotations

import math

import numpy as np
import pytest

from landscape.case_tables import NOT_KNOWN, Cases, Measure, Rows, Status
from landscape.data_store.schemas.sublevel import SUBLEVEL
from landscape.sheet import Quantity

CASES = Cases(
    "Sublevel sets",
    {"transition": "transition", "split": "split"},
    (
        Measure("density_b", "weights kept"),
        Measure("margin", "margin", "margin_se", at={"point": "solution"}),
        Measure("margin", "of baseline", at={"point": "baseline"}, name="baseline_margin"),
        Measure("member", "inside", at={"point": "solution"}, is_answer=True),
        Measure("measure", "measure"),
        Measure("error", "accuracy", "error_se", at={"point": "solution"}, is_accuracy=True),
        Measure("no_such", "none"),
        Measure("margin", "none", at={"point": "elsewhere"}, name="elsewhere"),
    ),
    (
        Status("status", "solution", {"point": "solution"}),
        Status("path_status", "path", {"path": "previous-solution"}),
    ),
    ("A note.",),
    ("measure", "epsilon"),
)


def dataset(**changes):
    ds = SUBLEVEL.example()
    ds["member"] = ds["member"].round()
    for name, value in changes.items():
        ds[name] = ds[name].where(False, value).assign_attrs(ds[name].attrs)
    return ds


@pytest.mark.parametrize("turned", [False, True], ids=["as-it-is", "transposed"])
def test_every_cell_is_the_datasets(turned):
    ds = dataset(measure="error")
    sheet = CASES.sheet("sublevel", ds.transpose() if turned else ds)
    names = [column.name for column in sheet.columns]
    assert names == [
        "transition", "split", "density_b", "margin", "baseline_margin", "member", "measure",
        "error", "status",
    ]  # fmt: skip
    rows = iter(sheet.rows)
    for transition in ds["transition"].values:
        for split in ds["split"].values:
            row = dict(zip(names, next(rows), strict=True))
            one = ds.sel(transition=transition, split=split)
            at = one.sel(point="solution")
            assert (row["transition"], row["split"]) == (transition, split)
            assert row["density_b"].value == float(one["density_b"])
            assert row["margin"] == Quantity(float(at["margin"]), float(at["margin_se"]))
            assert row["baseline_margin"].value == float(one["margin"].sel(point="baseline"))
            assert math.isnan(row["baseline_margin"].error)
            assert row["member"] == {1.0: "yes", 0.0: "no"}[float(at["member"])]
            assert row["error"].value == 1 - float(at["error"])
            assert row["error"].error == float(at["error_se"])
    assert next(rows, None) is None


def test_a_unit_is_that_of_the_measure_where_all_rows_have_one():
    def units(ds):
        return {c.name: c.units for c in CASES.sheet("sublevel", ds).columns}["margin"]

    assert units(dataset(measure="error")) == "fraction"
    assert units(dataset(measure="loss")) == "nats per example"
    mixed = dataset(measure="error")
    mixed["measure"] = mixed["measure"].copy(data=np.array(["loss", "error", "loss"]))
    assert units(mixed) == "1"


def test_what_is_the_same_for_all_rows_is_a_note():
    ds = dataset(measure="error", epsilon=0.02)
    assert CASES.sheet("sublevel", ds).notes == ("A note.", "Measure error, epsilon 0.02.")
    ds["epsilon"] = ds["epsilon"].copy(data=np.array([0.02, 0.02, 0.03]))
    assert CASES.sheet("sublevel", ds).notes == ("A note.", "Measure error.")


def test_a_status_says_of_what_and_a_number_without_a_reason_is_not_measured():
    ds = dataset(measure="error")
    ds["status"].loc[{"point": "solution", "transition": "imp@0 imp@1", "split": "test"}] = 2
    ds["path_status"].loc[{"transition": "imp@0 imp@1", "split": "test"}] = 1
    ds["status"].loc[{"point": "baseline"}] = 3
    ds["margin"].loc[{"point": "solution", "transition": "imp@1 imp@2", "split": "train"}] = np.nan
    rows = CASES.sheet("sublevel", ds).rows
    assert [row[-1] for row in rows] == [
        "ok", "solution: not finite; path: within two standard errors", NOT_KNOWN, "ok", "ok", "ok",
    ]  # fmt: skip


def test_what_may_be_unknown_needs_no_reason():
    ds = dataset(measure="error")
    ds["member"].loc[{"point": "solution", "transition": "imp@0 imp@1"}] = np.nan
    assert CASES.sheet("sublevel", ds).rows[0][-1] == NOT_KNOWN
    answer = Measure(
        "member", "inside", at={"point": "solution"}, is_answer=True, may_be_unknown=True
    )
    cases = Cases("x", CASES.dims, (answer,), CASES.statuses)
    first = cases.sheet("sublevel", ds).rows[0]
    assert first[-1] == "ok"
    assert math.isnan(first[2].value)


def test_what_a_variable_has_no_dimension_for_is_repeated():
    rows = Rows({"transition": 3, "split": 2})
    ds = SUBLEVEL.example()
    assert rows.of(ds["density_b"], {}).tolist() == np.repeat(ds["density_b"].values, 2).tolist()
    assert (
        rows.of(ds["threshold"], {"point": "x"}).tolist() == ds["threshold"].values.ravel().tolist()
    )
