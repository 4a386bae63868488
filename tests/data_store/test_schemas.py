"""The schemas of the results: complete, unambiguous, and stored without loss."""

import numpy as np
import pytest
import xarray as xr

from landscape.data_store import layout
from landscape.data_store.errors import LandscapeError
from landscape.data_store.results import load_result, save_result
from landscape.data_store.schema import FLOAT, STATUS, TEXT
from landscape.data_store.schemas.barrier import DEFINITIONS
from landscape.data_store.schemas.table import SCHEMAS
from tests.support.results import place, record

each_schema = pytest.mark.parametrize("kind", SCHEMAS)


def test_names_are_kinds():
    assert {kind: schema.kind for kind, schema in SCHEMAS.items()} == {k: k for k in SCHEMAS}
    assert {"barrier", "overlap", "training"} <= set(SCHEMAS)


@each_schema
def test_every_variable_is_described(kind):
    schema = SCHEMAS[kind]
    assert not set(schema.coordinates) & set(schema.variables)
    for name, variable in {**schema.coordinates, **schema.variables}.items():
        assert variable.units, name
        assert variable.long_name, name
        assert set(variable.dims) <= set(schema.dims)
        assert variable.dtype in (FLOAT, TEXT, STATUS)
        assert bool(variable.flags) == (variable.dtype == STATUS)
    for dim in schema.dims:
        assert schema.coordinates[dim].dims == (dim,)


@each_schema
def test_every_status_can_say_ok_and_absent(kind):
    flags = [v.flags for v in SCHEMAS[kind].variables.values() if v.dtype == STATUS]
    assert flags
    for meanings in flags:
        assert meanings[0] == "ok"
        assert "absent" in meanings
        assert not any(" " in word for word in meanings)


@each_schema
def test_the_example_is_valid(kind):
    SCHEMAS[kind].validate(SCHEMAS[kind].example())


@each_schema
def test_the_example_is_stored_without_loss(kind, tmp_path):
    ds = SCHEMAS[kind].example()
    kept = save_result(tmp_path, ds, record(kind))
    for found in (kept, load_result(place(tmp_path, record(kind)))):
        SCHEMAS[kind].validate(found)
        assert list(found.attrs) == ["record"]
        xr.testing.assert_identical(found.drop_attrs(deep=False), ds)
        assert set(found.coords) == set(ds.coords)
        for name in ds.variables:
            assert (found[name].dtype.kind in "OU") == (ds[name].dtype.kind in "OU")
            if ds[name].dtype.kind not in "OU":
                assert found[name].dtype == ds[name].dtype
                assert found[name].values.tobytes() == ds[name].values.tobytes()


@each_schema
def test_unknown_values_are_stored_as_they_are(kind, tmp_path):
    ds = SCHEMAS[kind].example()
    name = next(n for n, v in SCHEMAS[kind].variables.items() if v.dtype == FLOAT)
    ds[name].values.flat[:4] = [np.nan, -0.0, np.inf, -np.inf][: ds[name].size]
    kept = save_result(tmp_path, ds, record(kind))
    assert kept[name].values.tobytes() == ds[name].values.tobytes()
    assert kept[name].attrs == ds[name].attrs


@each_schema
def test_a_result_that_departs_from_its_schema_is_not_saved(kind, tmp_path):
    name = next(n for n, v in SCHEMAS[kind].variables.items() if not v.optional)
    with pytest.raises(LandscapeError, match=f"a {kind} dataset needs '{name}' over"):
        save_result(tmp_path, SCHEMAS[kind].example().drop_vars(name), record(kind))
    assert not layout.results(tmp_path).exists()


def test_the_definitions_of_a_barrier_label_its_dimension():
    assert tuple(SCHEMAS["barrier"].example().definition.values) == DEFINITIONS
