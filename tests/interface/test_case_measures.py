"""The tables of the analyses: names that schemas have, and why a number is not there."""

from __future__ import annotations

import math

import numpy as np
import pytest

from landscape.case_measures import CASES
from landscape.case_tables import NOT_KNOWN
from landscape.data_store.schemas.table import SCHEMAS
from landscape.sheet import Quantity
from landscape.sheet_formats import text


def rows(kind, ds):
    sheet = CASES[kind].sheet(kind, ds)
    names = [column.name for column in sheet.columns]
    assert len(set(names)) == len(names)
    return [dict(zip(names, row, strict=True)) for row in sheet.rows]


@pytest.mark.parametrize("kind", CASES)
def test_every_name_is_in_the_schema(kind):
    schema, cases = SCHEMAS[kind], CASES[kind]
    known = {**schema.variables, **schema.coordinates}
    of_figures = {"criterion", "densities", "target"}
    for measure in cases.measures:
        assert measure.variable in known.keys() | of_figures
        assert not measure.error or measure.error in known
    assert {status.variable for status in cases.statuses} <= known.keys()
    assert set(cases.stated) <= known.keys()
    assert set(cases.dims) <= set(schema.dims)


@pytest.mark.parametrize("kind", CASES)
def test_an_example_has_a_row_for_every_case(kind):
    ds = SCHEMAS[kind].example()
    found = rows(kind, ds)
    assert len(found) == math.prod(ds.sizes[dim] for dim in CASES[kind].dims)
    assert text(CASES[kind].sheet(kind, ds)).count("\n") >= len(found)


@pytest.mark.parametrize("kind", CASES)
def test_nothing_known_is_not_ok(kind):
    ds = SCHEMAS[kind].example()
    for name, variable in SCHEMAS[kind].variables.items():
        if variable.dtype == "float64":
            ds[name] = ds[name].where(False).assign_attrs(ds[name].attrs)
    assert {row["status"] for row in rows(kind, ds)} == {NOT_KNOWN}


@pytest.mark.parametrize("kind", CASES)
def test_what_is_optional_may_be_missing(kind):
    schema = SCHEMAS[kind]
    optional = [n for n, v in {**schema.variables, **schema.coordinates}.items() if v.optional]
    ds = schema.example().drop_vars(optional)
    assert {row["status"] for row in rows(kind, ds)} <= {"ok", NOT_KNOWN}


def test_the_barrier_is_the_one_the_field_reports():
    ds = SCHEMAS["barrier"].example()
    row = rows("barrier", ds)[3]
    at = ds.sel(pair="imp@1 imp@2", split="test", definition="lmc")
    assert row["error_barrier"] == Quantity(
        float(at["error_barrier"]), float(at["error_barrier_se"])
    )
    assert row["loss_barrier"] == Quantity(float(at["loss_barrier"]), float(at["loss_barrier_se"]))


def test_a_barrier_that_may_be_stable_or_not_is_a_dash_and_ok():
    ds = SCHEMAS["barrier"].example()
    ds["stable"] = ds["stable"].copy(data=np.array([[1.0, 0.0], [np.nan, 1.0], [1.0, 1.0]]))
    found = rows("barrier", ds)
    assert [row["stable"] for row in found[:2]] == ["yes", "no"]
    assert math.isnan(found[2]["stable"].value)
    assert {row["status"] for row in found} == {"ok"}


def test_eigenvalues_are_the_first_and_the_last_with_their_residuals():
    ds = SCHEMAS["curvature"].example()
    row = rows("curvature", ds)[0]
    for name, rank in (("largest_eigenvalue", 1.0), ("smallest_eigenvalue", -1.0)):
        at = ds.isel(checkpoint=0).sel(rank=rank)
        assert row[name] == Quantity(float(at["eigenvalue"]), float(at["residual"]))
    assert "smallest_eigenvalue" not in rows("curvature", ds.sel(rank=[1.0]))[0]


def test_a_volume_says_its_own_verdict():
    ds = SCHEMAS["volume"].example()
    ds["status"].loc[{"checkpoint": "imp@0", "estimator": "monte-carlo"}] = 1
    found = rows("volume", ds)
    assert found[0]["status"] == "effective sample size too small"
    assert found[0]["log_volume"].value == float(ds["log_volume"][0, 0])
    assert found[1]["status"] == "ok"


def test_a_sweeps_places_stand_in_the_table_of_tickets():
    ds = SCHEMAS["tickets"].example()
    ds = ds.assign_coords(criterion=("checkpoint", ["snip", "grasp", "synflow"]))
    ds["criterion"].attrs = {"long_name": "criterion", "units": "1"}
    assert rows("tickets", ds)[0]["criterion"] == "snip"
    assert rows("tickets", ds)[-1]["criterion"] == "synflow"
