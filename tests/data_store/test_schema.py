"""Schemas: what is built is complete and labelled, and every departure is one sentence."""

import re

import numpy as np
import pytest
import xarray as xr

from landscape.data_store.errors import LandscapeError
from landscape.data_store.schema import STATUS, TEXT, ResultSchema, Variable

SCHEMA = ResultSchema(
    kind="probe",
    version=(1, 0),
    coordinates={
        "pair": Variable(("pair",), "1", "pair of points", TEXT),
        "alpha": Variable(("alpha",), "1", "position"),
        "note": Variable(("pair",), "1", "a note", TEXT, optional=True),
    },
    variables={
        "loss": Variable(("pair", "alpha"), "nats per example", "loss"),
        "status": Variable(("pair",), "1", "worth", STATUS, ("ok", "bad", "absent")),
        "extra": Variable(("alpha",), "count", "more", optional=True),
    },
    samples={"pair": ("a b", "b c"), "alpha": (0.0, 0.5, 1.0)},
)
COORDS = {"pair": ["a b", "b c"], "alpha": [0, 0.5, 1]}
VALUES = {"loss": np.arange(6, dtype=np.float32).reshape(2, 3), "status": [0, 1]}


def built(**changes):
    return SCHEMA.build(COORDS, {**VALUES, **changes})


def test_what_is_built():
    ds = built()
    assert dict(ds.sizes) == {"pair": 2, "alpha": 3}
    assert list(ds.data_vars) == ["loss", "status"]
    assert ds.loss.dtype == np.float64
    assert ds.status.dtype == np.int8
    assert ds.pair.dtype.kind == "U"
    np.testing.assert_array_equal(ds.loss, VALUES["loss"])
    assert ds.loss.attrs == {"long_name": "loss", "units": "nats per example"}
    assert ds.status.attrs["flag_meanings"] == "ok bad absent"
    np.testing.assert_array_equal(ds.status.attrs["flag_values"], np.arange(3, dtype=np.int8))
    assert ds.alpha.attrs == {"long_name": "position", "units": "1"}


def test_optional_parts_may_be_given():
    ds = SCHEMA.build({**COORDS, "note": ["x", "y"]}, {**VALUES, "extra": [1, 2, 3]})
    assert list(ds.extra.values) == [1.0, 2.0, 3.0]
    assert list(ds.note.values) == ["x", "y"]
    assert "note" in ds.coords


def test_unknown_stays_unknown():
    ds = built(loss=[[np.nan, 1, 2], [3, np.inf, 5]])
    assert np.isnan(ds.loss.values[0, 0])
    assert np.isinf(ds.loss.values[1, 1])


@pytest.mark.parametrize(
    ("coords", "values", "name"),
    [
        (COORDS, {**VALUES, "los": [1, 2]}, "los"),
        ({**COORDS, "beta": [1]}, VALUES, "beta"),
        (COORDS, {**VALUES, "alpha": [0, 0.5, 1]}, "alpha"),
        ({**COORDS, "loss": VALUES["loss"]}, {"status": [0, 0]}, "loss"),
    ],
)
def test_a_name_the_schema_does_not_have(coords, values, name):
    with pytest.raises(LandscapeError, match=f"^a probe result has no variable '{name}'$"):
        SCHEMA.build(coords, values)


def test_a_missing_variable():
    with pytest.raises(
        LandscapeError,
        match=re.escape("a probe dataset needs 'status' over ('pair',); it has loss, pair, alpha"),
    ):
        SCHEMA.build(COORDS, {"loss": VALUES["loss"]})
    with pytest.raises(LandscapeError, match=r"needs 'pair' over .*; it has nothing$"):
        SCHEMA.validate(xr.Dataset())
    with pytest.raises(LandscapeError, match="needs 'alpha' over"):
        SCHEMA.validate(built().drop_vars("alpha"))


def test_other_dimensions():
    ds = built()
    with pytest.raises(
        LandscapeError,
        match=re.escape(
            "'loss' of a probe dataset has dims ('alpha', 'pair'); expected ('pair', 'alpha')"
        ),
    ):
        SCHEMA.validate(ds.transpose("alpha", "pair"))
    with pytest.raises(LandscapeError, match=r"'pair' of a probe dataset has dims \(\); expected"):
        SCHEMA.validate(ds.isel(pair=0))
    with pytest.raises(LandscapeError, match=r"'pair' of a probe dataset has dims \('x',\)"):
        SCHEMA.validate(ds.rename_dims(pair="x"))


@pytest.mark.parametrize(
    ("name", "dtype", "message"),
    [
        ("loss", "float32", "'loss' of a probe dataset is float32; expected float64"),
        ("status", "int64", "'status' of a probe dataset is int64; expected int8"),
        ("loss", "str", "'loss' of a probe dataset is str; expected float64"),
        ("status", "bool", "'status' of a probe dataset is bool; expected int8"),
    ],
)
def test_another_type(name, dtype, message):
    ds = built()
    ds[name] = ds[name].astype(dtype).assign_attrs(ds[name].attrs)
    with pytest.raises(LandscapeError, match=f"^{message}$"):
        SCHEMA.validate(ds)


def test_text_may_be_objects():
    ds = built()
    SCHEMA.validate(ds.assign_coords(pair=ds.pair.astype(object).assign_attrs(ds.pair.attrs)))
    with pytest.raises(LandscapeError, match="'pair' of a probe dataset is int64; expected str"):
        SCHEMA.validate(ds.assign_coords(pair=("pair", [0, 1], ds.pair.attrs)))


@pytest.mark.parametrize("units", ["bits per example", None])
def test_other_units(units):
    ds = built()
    del ds.loss.attrs["units"]
    if units:
        ds.loss.attrs["units"] = units
    with pytest.raises(
        LandscapeError,
        match=f"^'loss' of a probe dataset has units {units!r}; expected 'nats per example'$",
    ):
        SCHEMA.validate(ds)


def test_an_optional_variable_is_checked_where_it_is():
    ds = built(extra=[1, 2, 3])
    ds.extra.attrs["units"] = "m"
    with pytest.raises(LandscapeError, match="'extra' of a probe dataset has units 'm'; expected"):
        SCHEMA.validate(ds)


def test_more_variables_are_allowed_in_a_dataset():
    SCHEMA.validate(built().assign(mine=("pair", [1, 2])))


def test_the_example_is_of_the_schema():
    ds = SCHEMA.example()
    SCHEMA.validate(ds)
    assert SCHEMA.dims == ("pair", "alpha")
    assert set(ds.variables) == {*SCHEMA.coordinates, *SCHEMA.variables}
    assert tuple(ds.alpha.values) == SCHEMA.samples["alpha"]
    assert ((ds.loss > 0) & (ds.loss < 1)).all()
    assert (ds.status == 0).all()
    assert len(np.unique(ds.loss)) == ds.loss.size
