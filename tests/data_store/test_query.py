"""Queries: all results that match, each pair's from its own file, and what is said otherwise."""

import gc
import json
import shutil
import warnings

import numpy as np
import pytest
import xarray as xr

import landscape
from landscape.data_store.errors import DamagedFile, LandscapeError, UsageError
from landscape.data_store.query import query
from landscape.data_store.results import find_result, record_of, result_id
from landscape.data_store.schemas.barrier import BARRIER
from landscape.data_store.schemas.overlap import OVERLAP
from landscape.data_store.store import open_store
from tests.support.results import pair, record, saved, written

RECORDS = {
    **{f"imp@{level} imp@{level + 1}": record(level=level) for level in (0, 2, 1)},
    "random@0 random@1": record(
        run="random", task="mnist", settings={"points": 3, "splits": ["test"]}
    ),
}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A store with five results and no run."""
    root = open_store(tmp_path_factory.mktemp("results") / "store").root
    for i, (name, said) in enumerate(RECORDS.items()):
        ds = pair(name, shift=i / 100)
        saved(root, ds.isel(alpha=[0, 2, 4]) if "random" in name else ds, said)
    saved(root, pair("imp@0 imp@1", OVERLAP), record("overlap"))
    return open_store(root)


@pytest.fixture
def store(prepared, tmp_path):
    """A copy of it that may be damaged."""
    shutil.copytree(prepared.root, tmp_path / "store", ignore=shutil.ignore_patterns("*.sqlite"))
    return open_store(tmp_path / "store")


@pytest.mark.parametrize(
    ("where", "pairs"),
    [
        ({}, ["imp@0 imp@1", "imp@1 imp@2", "imp@2 imp@3", "random@0 random@1"]),
        ({"run": "random"}, ["random@0 random@1"]),
        ({"task": "digits"}, ["imp@0 imp@1", "imp@1 imp@2", "imp@2 imp@3"]),
        ({"level": 1}, ["imp@1 imp@2"]),
        ({"level_b": 1}, ["imp@0 imp@1", "random@0 random@1"]),
        ({"level": [0, 2], "run": "imp"}, ["imp@0 imp@1", "imp@2 imp@3"]),
        ({"level": (2,)}, ["imp@2 imp@3"]),
        ({"level": {1, 2}}, ["imp@1 imp@2", "imp@2 imp@3"]),
        ({"level": range(2), "task": "digits"}, ["imp@0 imp@1", "imp@1 imp@2"]),
        ({"level": slice(1, 2)}, ["imp@1 imp@2", "imp@2 imp@3"]),
        ({"level": slice(None, 1), "run": "imp"}, ["imp@0 imp@1", "imp@1 imp@2"]),
        ({"level": slice(1, None)}, ["imp@1 imp@2", "imp@2 imp@3"]),
        ({"density": slice(0.6, 0.9)}, ["imp@1 imp@2", "imp@2 imp@3"]),
        ({"run": ["imp", "random"], "level": 0}, ["imp@0 imp@1", "random@0 random@1"]),
        ({"model": "mlp:64-20-10", "level": 2}, ["imp@2 imp@3"]),
        ({"points": 3}, ["random@0 random@1"]),
        ({"points": slice(4, None), "level": 0}, ["imp@0 imp@1"]),
        ({"splits": [["test"]]}, ["random@0 random@1"]),
        ({"part": "final", "level": 1}, ["imp@1 imp@2"]),
        ({"kind": ["barrier", "overlap"], "level": 1}, ["imp@1 imp@2"]),
    ],
)
def test_a_query_finds_what_matches(prepared, where, pairs):
    found = query(prepared, "barrier", where)
    assert list(found.pair.values) == pairs
    BARRIER.validate(found)
    records = record_of(found).get("results", [record_of(found)])
    assert records == [RECORDS[name] for name in pairs]


def test_a_query_says_which_result_each_pair_is_from(prepared):
    found = query(prepared, "barrier", {})
    assert list(found.result.values) == [result_id(RECORDS[name]) for name in found.pair.values]
    assert found.result.attrs == {"long_name": "id of the result", "units": "1"}
    for i, result in enumerate(found.result.values):
        stored = find_result(prepared.root, "barrier", str(result))
        assert list(stored.pair.values) == [found.pair.values[i]]
        np.testing.assert_array_equal(
            found.loss.isel(pair=i).sel(alpha=stored.alpha), stored.loss.isel(pair=0)
        )
    assert np.isnan(found.loss.isel(pair=3).sel(alpha=0.25)).all()
    assert found.alpha_present.isel(pair=3).values.tolist() == [1, 0, 1, 0, 1]
    overlaps = query(prepared, "overlap", {})
    assert list(overlaps.result.values) == [result_id(record("overlap"))]


def test_a_result_of_several_pairs_names_each(store):
    said = record(run="both")
    saved(store.root, xr.concat([pair("a"), pair("b")], "pair", data_vars="minimal"), said)
    found = query(store, "barrier", {"run": "both"})
    assert list(found.pair.values) == ["a", "b"]
    assert list(found.result.values) == [result_id(said)] * 2


def test_a_store_asks_the_same(prepared):
    xr.testing.assert_identical(
        prepared.results("barrier", level=slice(1, 2)),
        query(prepared, "barrier", {"level": slice(1, 2)}),
    )


def test_what_was_found_may_be_changed(prepared):
    found = query(prepared, "barrier", {"level": 1})
    before = found.copy(deep=True)
    found.loss.values[:] = 7
    found.status.attrs["flag_values"][:] = 7
    xr.testing.assert_identical(query(prepared, "barrier", {"level": 1}), before)


@pytest.mark.parametrize(
    ("kind", "where", "error", "match"),
    [
        ("barier", {}, UsageError, "^unknown kind of result 'barier'; did you mean 'barrier'. "
         "available: barrier, bezier, curvature, insights, overlap, sublevel, surface, tickets, "
         "volume$"),
        ("training", {}, UsageError, "^unknown kind of result 'training'; .*available: barrier"),
        ("barrier", {"levl": 1}, UsageError, "^unknown field of results 'levl'; did you mean 'lev"),
        ("barrier", {"level": 7, "x": 1}, UsageError, "^unknown field of results 'x'; available: "
         ".*density.*, points, .*task, version"),
        ("barrier", {"settings": "x"}, UsageError, "^unknown field of results 'settings'; "),
        ("barrier", {"level": "low"}, UsageError, "^level is a number; 'low' cannot be compared"),
        ("barrier", {"run": 3}, UsageError, "^run is text; 3 cannot be compared with it$"),
        ("barrier", {"level": 7, "run": "imp"}, LandscapeError, "^no stored barrier result matches "
         "level=7, run='imp'; see 'landscape ls'$"),
        ("barrier", {"level": slice(7, 9)}, LandscapeError, r"matches level=slice\(7, 9, None\); "),
        ("barrier", {"kind": "overlap"}, LandscapeError, "^no stored barrier result matches kind="),
    ],
)  # fmt: skip
def test_a_query_without_an_answer(prepared, kind, where, error, match):
    with pytest.raises(error, match=match):
        query(prepared, kind, where)


def test_a_wrong_field_is_said_in_an_empty_store(tmp_path):
    store = open_store(tmp_path / "store")
    with pytest.raises(UsageError, match="unknown field of results 'levl'"):
        query(store, "barrier", {"levl": 1})
    with pytest.raises(LandscapeError, match="no stored barrier result matches no condition"):
        query(store, "barrier", {})


def path_of(store, name):
    """The file of one of the results."""
    (found,) = store.root.rglob(f"{result_id(RECORDS[name])}.nc")
    return found


@pytest.mark.parametrize("known", [False, True])
def test_a_damaged_result_is_left_out_and_named(store, known):
    if known:
        query(store, "barrier", {})
    path = path_of(store, "imp@1 imp@2")
    damaged = bytearray(path.read_bytes())
    damaged[-200] ^= 1
    path.write_bytes(damaged)
    with pytest.warns(
        UserWarning, match=f"^left out: {path} is damaged or no result: .*; see 'landscape verify'$"
    ):
        found = store.results("barrier")
    assert list(found.pair.values) == ["imp@0 imp@1", "imp@2 imp@3", "random@0 random@1"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        query(store, "overlap", {})


def test_a_result_under_a_strangers_name_is_left_out_and_named(store):
    one, other = (path_of(store, f"imp@{i} imp@{i + 1}") for i in (0, 1))
    other.write_bytes(one.read_bytes())
    with pytest.warns(UserWarning, match=f"left out: {other} answers the question barrier/"):
        found = query(store, "barrier", {"run": "imp"})
    assert list(found.pair.values) == ["imp@0 imp@1", "imp@2 imp@3"]


def test_a_result_damaged_at_the_last_moment_is_an_error(store, monkeypatch):
    from landscape.data_store import query as queries

    path = path_of(store, "imp@1 imp@2")
    read = queries.read_stored

    def late(place, **options):
        path.write_bytes(path.read_bytes()[:-1])
        return read(place, **options)

    monkeypatch.setattr(queries, "read_stored", late)
    with pytest.raises(DamagedFile, match=f"^{path} is damaged"):
        query(store, "barrier", {"level": 1})


def test_results_of_other_schema_versions_are_refused_by_name(store):
    written(store.root, pair("a b"), record(schema_version=[1, 10], settings={"points": 7}))
    written(store.root, pair("a c"), record(schema_version=[1, 9], settings={"points": 9}))
    with pytest.raises(
        LandscapeError,
        match=r"^the barrier results that match are of schema versions 1.0, 1.9, 1.10, which are "
        r"not joined; add version='1.10'$",
    ):
        query(store, "barrier", {})
    assert list(query(store, "barrier", {"version": "1.9"}).pair.values) == ["a c"]
    assert len(query(store, "barrier", {"version": "1.0"}).pair) == 4


def test_a_result_of_a_newer_schema_says_what_it_needs(store):
    written(store.root, pair("a b"), record(schema_version=[2, 0], landscape="0.7"))
    with pytest.raises(LandscapeError, match=r"of schema versions 1\.0, 2\.0, which are not join"):
        query(store, "barrier", {})
    with pytest.raises(LandscapeError, match=r"is of barrier schema 2 .* needs landscape 0\.7; u"):
        query(store, "barrier", {"version": "2.0"})


def test_results_that_cannot_be_joined_are_refused_by_name(store):
    other = pair("a b")
    other.loss.attrs["units"] = "bits"
    written(store.root, other, record(run="bits"))
    with pytest.raises(LandscapeError, match=r"^'loss' has units 'bits' in one result and 'nats"):
        query(store, "barrier", {})


def test_a_result_over_the_limit_is_left_out_until_it_is_raised(store):
    query(store, "barrier", {})
    path = saved(store.root, pair("a b").isel(alpha=[0] * 10_000), record(run="large"))
    small = open_store(store.root, size_limit=path.stat().st_size - 1)
    with pytest.warns(UserWarning, match=f"left out: {path} has .* is refused unless --max-size"):
        found = query(small, "barrier", {})
    assert len(found.pair) == 4
    assert len(query(store, "barrier", {"run": "large"}).pair) == 1


def test_what_a_stranger_sealed_is_never_a_traceback(store):
    bare = xr.Dataset({"loss": ("x", [1.0])})
    written(store.root, bare, record(run="bare"))
    with pytest.raises(
        LandscapeError, match=r"^a result without labels of 'pair'.* cannot be join"
    ):
        query(store, "barrier", {"run": ["bare", "imp"]})
    with pytest.raises(
        LandscapeError, match=r"^a result without labels of 'pair'.* cannot be join"
    ):
        query(store, "barrier", {"run": "bare"})


def test_settings_are_fields(store):
    said = record(run="odd", settings={"α": 1, "a b": 2, "x') OR (1=1": 3, "kind": "z", "path": 4})
    saved(store.root, pair("odd"), said)
    assert list(query(store, "barrier", {"α": 1}).pair.values) == ["odd"]
    assert list(query(store, "barrier", {"path": 4}).pair.values) == ["odd"]
    assert len(query(store, "barrier", {"kind": "barrier"}).pair) == 5  # not the setting
    for name in ("a b", "x') OR (1=1"):
        with pytest.raises(UsageError, match=r"^unknown field of results"):
            query(store, "barrier", {name: 2})
    assert json.loads(store.catalog().settings.iloc[-1])


@pytest.mark.parametrize("enabled", [True, False])
def test_garbage_collection_is_as_it_was(small_store, enabled):
    landscape.overlap("imp", store=small_store)
    before = gc.isenabled()
    try:
        (gc.enable if enabled else gc.disable)()
        small_store.results("overlap")
        assert gc.isenabled() == enabled
        with pytest.raises(LandscapeError, match="no stored overlap result matches"):
            small_store.results("overlap", run="nobody")
        assert gc.isenabled() == enabled
    finally:
        (gc.enable if before else gc.disable)()
