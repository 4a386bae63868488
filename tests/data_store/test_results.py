"""Results: the id of a question, files that are whole or refused."""

import hashlib
import json
import os

import h5py
import numpy as np
import pytest
import xarray as xr

from landscape.data_store import layout
from landscape.data_store.errors import DamagedFile, LandscapeError
from landscape.data_store.files import DAMAGED
from landscape.data_store.result_file import Result
from landscape.data_store.results import (
    find_result,
    load_result,
    read_stored,
    record_of,
    records_of,
    require_own_name,
    result_id,
    save_result,
    together,
    with_record,
)
from landscape.data_store.schemas.barrier import BARRIER
from landscape.data_store.schemas.overlap import OVERLAP
from tests.support.results import pair, parts, place, record, saved, sealed, written

QUESTION = {
    "kind": "barrier",
    "schema_version": [1, 0],
    "inputs": [{"digest": "a" * 64}, {"digest": "b" * 64}],
    "data": {"digest": "c" * 64, "network": "d" * 64},
    "settings": {"points": 25, "splits": ["train", "test"], "refine": False, "bn": "first"},
}


def test_the_id_of_a_question_is_fixed():
    text = (
        f'["barrier", [1, 0], ["{"a" * 64}", "{"b" * 64}"], ["{"c" * 64}", "{"d" * 64}"], '
        '{"bn": "first", "points": 25, "refine": false, "splits": ["train", "test"]}]'
    )
    assert result_id(QUESTION) == hashlib.sha256(text.encode()).hexdigest()[:40]
    assert result_id(QUESTION) == "ea019a9f5f492d5c7d0778bb355cb99e4fb83195"


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "overlap"},
        {"schema_version": [2, 0]},
        {"companions": [{"digest": "e" * 64}]},
        {"companions": [None]},
        {"inputs": QUESTION["inputs"][::-1]},
        {"inputs": QUESTION["inputs"][:1]},
        {"inputs": [{"digest": "a" * 64}, {"digest": "b" * 63 + "c"}]},
        {"data": {}},
        {"data": {**QUESTION["data"], "digest": "d" * 64}},
        {"data": {**QUESTION["data"], "network": "c" * 64}},
        {"settings": {**QUESTION["settings"], "points": 26}},
        {"settings": {**QUESTION["settings"], "splits": ["test", "train"]}},
        {"settings": {**QUESTION["settings"], "refine": True}},
        {"settings": {k: v for k, v in QUESTION["settings"].items() if k != "bn"}},
    ],
)
def test_another_question_has_another_id(change):
    assert result_id({**QUESTION, **change}) != result_id(QUESTION)


def test_the_same_question_has_the_same_id():
    again = {
        **QUESTION,
        "schema_version": (1, 0),
        "inputs": tuple({**i, "address": "x@1", "run": "x"} for i in QUESTION["inputs"]),
        "settings": dict(reversed(QUESTION["settings"].items())),
        "data": {**QUESTION["data"], "examples": {"train": 7}},
        "task": "digits",
        "created": "now",
    }
    assert result_id(again) == result_id(QUESTION)


def test_a_question_without_data_has_an_id():
    bare = {k: v for k, v in QUESTION.items() if k != "data"}
    assert result_id(bare) == result_id({**QUESTION, "data": {}})


def test_what_is_saved_is_loaded(tmp_path):
    ds, said = pair(), record()
    assert find_result(tmp_path, "barrier", result_id(said)) is None
    kept = save_result(tmp_path, ds, said)
    path = place(tmp_path, said)
    name = result_id(said)
    assert path == tmp_path / "results" / "barrier" / name[:2] / f"{name}.nc"
    for found in (load_result(path, root=tmp_path), find_result(tmp_path, "barrier", name)):
        xr.testing.assert_identical(found, kept)
    assert record_of(kept) == said
    xr.testing.assert_identical(kept.drop_attrs(deep=False), ds)
    assert all(kept[name].dtype.kind == ds[name].dtype.kind for name in ds.variables)


def test_the_dataset_that_was_given_is_not_changed(tmp_path):
    ds = pair().assign_attrs(note="mine")
    before = ds.copy(deep=True)
    saved(tmp_path, ds, record())
    xr.testing.assert_identical(ds, before)


def test_what_was_read_may_be_changed(tmp_path):
    path = saved(tmp_path, pair(), record())
    first, before = load_result(path), load_result(path)
    first.loss.values[:] = 7
    first.loss.attrs["units"] = "bits"
    first.status.attrs["flag_values"][:] = 7
    xr.testing.assert_identical(load_result(path), before)


def test_the_first_file_of_an_id_wins(tmp_path):
    path = saved(tmp_path, pair(), record())
    content = path.read_bytes()
    second = save_result(tmp_path, pair(shift=0.05), record())
    xr.testing.assert_identical(second, load_result(path))
    np.testing.assert_array_equal(second.loss, pair().loss)
    assert path.read_bytes() == content


@pytest.mark.parametrize("schema", [BARRIER, OVERLAP])
def test_other_tools_read_a_result(tmp_path, schema):
    said = record(schema.kind)
    kept = save_result(tmp_path, pair(schema=schema), said)
    path = place(tmp_path, said)
    with xr.open_dataset(path) as ds:
        xr.testing.assert_identical(ds.load(), kept)
    with h5py.File(path, "r") as file:
        assert json.loads(file.attrs["record"]) == said
        for name, variable in kept.data_vars.items():
            np.testing.assert_array_equal(file[name][()], variable.values)


def test_flipped_bytes_and_cuts_are_refused(tmp_path):
    path = saved(tmp_path, pair(), record())
    content = path.read_bytes()
    draws = np.random.default_rng(0)
    for spot in draws.integers(0, len(content), 300):
        damaged = bytearray(content)
        damaged[spot] ^= 1 << int(draws.integers(8))
        path.write_bytes(damaged)
        with pytest.raises(DamagedFile, match=r"damaged .* does not match its SHA-256; remove it"):
            load_result(path)
    for length in draws.integers(0, len(content), 60):
        path.write_bytes(content[:length])
        with pytest.raises(DamagedFile, match=f"^{path} is damaged or no result"):
            load_result(path)
    with pytest.raises(DamagedFile, match="is damaged"):
        saved(tmp_path, pair(), record())  # what is damaged is not taken for an answer
    path.unlink()
    saved(tmp_path, pair(), record())
    assert path.read_bytes() == content


def test_a_damaged_result_is_moved_aside_and_asked_again(tmp_path):
    path = saved(tmp_path, pair(), record())
    damaged = path.read_bytes()[:-1]
    path.write_bytes(damaged)
    aside = tmp_path / DAMAGED / path.relative_to(tmp_path)
    with pytest.warns(UserWarning, match=f"{path} is damaged.*; it is now {aside}, and computed"):
        assert find_result(tmp_path, "barrier", result_id(record())) is None
    assert not path.exists()
    assert aside.read_bytes() == damaged
    saved(tmp_path, pair(), record())
    assert find_result(tmp_path, "barrier", result_id(record())) is not None


def test_a_result_of_a_newer_format_is_left_where_it_is(tmp_path):
    path = saved(tmp_path, pair(), record())
    netcdf, said, table = parts(path.read_bytes())
    path.write_bytes(sealed(netcdf, said, json.dumps(table).encode(), version=2))
    with pytest.raises(LandscapeError, match=f"^{path} is of format version 2 and this .* up to 1"):
        find_result(tmp_path, "barrier", result_id(record()))
    assert path.is_file()


def test_a_missing_result_is_named(tmp_path):
    with pytest.raises(LandscapeError, match=r"^cannot read .*none\.nc: No such file"):
        load_result(tmp_path / "none.nc")


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege there")
def test_a_link_is_not_followed(tmp_path):
    path = saved(tmp_path / "store", pair(), record())
    path.rename(tmp_path / "outside.nc")
    path.symlink_to(tmp_path / "outside.nc")
    with pytest.raises(LandscapeError, match=f"^{path} is a symbolic link; a store keeps plain"):
        load_result(path, root=tmp_path / "store")


def test_a_result_over_the_limit_is_refused(tmp_path):
    path = saved(tmp_path, pair(), record())
    with pytest.raises(LandscapeError, match=r"has [0-9]+ bytes; more than 1000 is refused unless"):
        load_result(path, limit=1000)


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "overlap"},
        {"schema_version": [0, 9]},
        {"settings": {"points": 7}},
        {"data": {}},
        {"inputs": record(level=1)["inputs"]},
    ],
)
def test_an_answer_to_another_question_is_refused(tmp_path, change):
    path = place(tmp_path, record())
    path.parent.mkdir(parents=True)
    other = {**record(), **change}
    path.write_bytes(written(tmp_path / "other", pair(), other).read_bytes())
    with pytest.raises(
        DamagedFile,
        match=f"^{path} answers the question {other['kind']}/{result_id(other)}, not the one it is "
        "named after; it was copied or renamed: remove it and repeat the command$",
    ):
        load_result(path)
    with pytest.raises(DamagedFile, match="answers the question"):
        require_own_name(path, other)
    require_own_name(path, record())


def test_what_a_result_is_about_is_only_told_not_asked(tmp_path):
    path = place(tmp_path, record())
    told = {**record(), "task": "another", "created": "later", "seconds": 9.0}
    assert written(tmp_path, pair(), told) == path
    assert record_of(load_result(path)) == told


def test_a_result_of_a_newer_schema_names_the_version_it_needs(tmp_path):
    newer = record(schema_version=[2, 0], landscape="0.9.1")
    path = written(tmp_path, pair(), newer)
    with pytest.raises(
        LandscapeError,
        match=f"^{path} is of barrier schema 2 and this version reads up to 1: it needs landscape "
        "0.9.1; update landscape$",
    ) as caught:
        load_result(path)
    assert not isinstance(caught.value, DamagedFile)  # nothing is wrong with it
    load_result(written(tmp_path, pair(), record(schema_version=[1, 7])))


@pytest.mark.parametrize(
    "said",
    [
        "", "null", "[]", "{}", "text", "\x00", '{"kind": "barrier"}', "[" * 100_000,
        json.dumps({**record(), "kind": ["barrier"]}),
        json.dumps({**record(), "schema_version": []}),
        json.dumps({**record(), "schema_version": ["a"]}),
        json.dumps({**record(), "schema_version": 3}),
        json.dumps({**record(), "inputs": [3]}),
        json.dumps({**record(), "inputs": 3}),
        json.dumps({**record(), "data": ["x"]}),
        json.dumps(record()).replace('"schema_version": [1, 0]', '"schema_version": [1e999, 0]'),
        json.dumps(record()).replace('"schema_version": [1, 0]', '"schema_version": [NaN, 0]'),
    ],
)  # fmt: skip
def test_a_record_that_is_none_is_refused(tmp_path, said):
    path = place(tmp_path, record())
    path.parent.mkdir(parents=True)
    netcdf, _, table = parts(written(tmp_path / "other", pair(), record()).read_bytes())
    path.write_bytes(sealed(netcdf, said.encode(), json.dumps(table).encode()))
    with pytest.raises(DamagedFile, match=rf"^{path} (is no readable result|answers the question)"):
        read_stored(path)


def test_a_dataset_without_a_record():
    with pytest.raises(
        LandscapeError, match=r"^this dataset carries no record; results of landscape do$"
    ):
        record_of(xr.Dataset())


def test_a_record_is_json(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        save_result(tmp_path, pair(), record(seconds=float("nan")))
    assert not layout.results(tmp_path).exists()


def test_one_dataset_together_is_itself():
    ds = with_record(pair(), record())
    assert together([ds]) is ds


def test_datasets_together_are_joined_with_their_records():
    records = [record(level=level) for level in (1, 0)]
    whole = together([with_record(pair(f"pair {i}"), r) for i, r in enumerate(records)])
    BARRIER.validate(whole)
    assert list(whole.pair.values) == ["pair 0", "pair 1"]
    assert record_of(whole) == {"kind": "barrier", "results": records}
    assert list(whole.attrs) == ["record"]
    assert together([with_record(pair("a"), records[0]), pair("b")]).attrs == {}


def test_records_are_those_of_the_single_results_however_often_they_were_joined():
    records = [record(level=level) for level in range(3)]
    one, two, three = (with_record(pair(f"pair {i}"), r) for i, r in enumerate(records))
    assert records_of(one) == records[:1]
    assert records_of(together([together([one, two]), three])) == records
    with pytest.raises(LandscapeError, match="carries no record"):
        records_of(pair())


def test_a_dataset_and_its_content_are_one():
    ds = with_record(pair(), record())
    xr.testing.assert_identical(Result.of(ds).dataset(), ds)


def test_a_minor_version_and_no_companion_ask_the_same_question():
    assert result_id({**QUESTION, "schema_version": [1, 7]}) == result_id(QUESTION)
    assert result_id({**QUESTION, "companions": []}) == result_id(QUESTION)
