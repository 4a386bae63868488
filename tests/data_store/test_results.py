"""Results: the id of a question, files that are whole or refused, joins and queries."""

import hashlib
import json

import h5py
import numpy as np
import pytest
import xarray as xr

import landscape
from landscape.data_store import layout
from landscape.data_store.errors import LandscapeError, UsageError
from landscape.data_store.records import TRACE_COLUMNS
from landscape.data_store.result_file import read_netcdf, result_image
from landscape.data_store.results import (
    content_digest,
    find_result,
    join,
    load_result,
    query,
    record_of,
    result_id,
    save_result,
    seal_dataset,
    training,
)
from landscape.data_store.schemas import BARRIER, OVERLAP, TRAINING
from landscape.data_store.store import open_store
from tests.support.runs import SMALL

QUESTION = {
    "kind": "barrier",
    "version": (1, 0),
    "inputs": ["a" * 64, "b" * 64],
    "data": "c" * 64,
    "settings": {"points": 25, "splits": ["train", "test"], "refine": False, "bn": "first"},
}
REFINED = ["refinement", "refined_alpha", "refined_loss", "refined_error"]


def record(kind="barrier", run="imp", level=0, **changes):
    """The record of a result about one pair of levels."""
    inputs = [
        {"address": f"{run}@{n}", "run": run, "level": n, "density": 0.8**n}
        for n in (level, level + 1)
    ]
    return {
        "kind": kind, "task": "digits", "model": "mlp:64-20-10", "inputs": inputs, "seconds": 0.5,
        "created": f"2026-01-0{level + 1}T00:00:00+00:00", "settings": {"points": 5}, **changes,
    }  # fmt: skip


def pair(name="imp@0 imp@1", schema=BARRIER, shift=0.0, **selection):
    """A result about one pair whose numbers begin at `shift`."""
    ds = schema.example().isel(pair=[0])
    ds = ds.assign_coords(pair=("pair", [name], ds.pair.attrs))
    for variable in ds.data_vars.values():
        if variable.dtype.kind == "f":
            variable.values += shift
    return ds.sel(**selection) if selection else ds


def saved(root, result, ds, **changes):
    return save_result(root, result * 20, ds, record(**changes))


def test_the_id_of_a_question_is_fixed():
    text = (
        f'["barrier", [1, 0], ["{"a" * 64}", "{"b" * 64}"], "{"c" * 64}", '
        '{"bn": "first", "points": 25, "refine": false, "splits": ["train", "test"]}]'
    )
    assert result_id(**QUESTION) == hashlib.sha256(text.encode()).hexdigest()[:40]
    assert result_id(**QUESTION) == "ea0baea11181adac4c2fee6c9d190a6cd3fcd887"


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "overlap"},
        {"version": (1, 1)},
        {"version": (2, 0)},
        {"inputs": ["b" * 64, "a" * 64]},
        {"inputs": ["a" * 64]},
        {"inputs": ["a" * 64, "b" * 63 + "c"]},
        {"data": ""},
        {"settings": {**QUESTION["settings"], "points": 26}},
        {"settings": {**QUESTION["settings"], "splits": ["test", "train"]}},
        {"settings": {**QUESTION["settings"], "refine": True}},
        {"settings": {k: v for k, v in QUESTION["settings"].items() if k != "bn"}},
    ],
)
def test_another_question_has_another_id(change):
    assert result_id(**{**QUESTION, **change}) != result_id(**QUESTION)


def test_the_same_question_has_the_same_id():
    again = {
        **QUESTION,
        "version": [1, 0],
        "inputs": tuple(QUESTION["inputs"]),
        "settings": dict(reversed(QUESTION["settings"].items())),
    }
    assert result_id(**again) == result_id(**QUESTION)


def test_what_is_saved_is_loaded(tmp_path):
    ds = pair()
    assert find_result(tmp_path, "barrier", "ab" * 20) is None
    kept = saved(tmp_path, "ab", ds)
    path = layout.result_file(tmp_path, "barrier", "ab" * 20)
    assert path == tmp_path / "results" / "barrier" / "ab" / ("ab" * 20 + ".nc")
    for found in (load_result(path), find_result(tmp_path, "barrier", "ab" * 20)):
        xr.testing.assert_identical(found, kept)
    assert record_of(kept) == record()
    for name in ds.variables:
        np.testing.assert_array_equal(kept[name].values, ds[name].values)
        assert kept[name].dims == ds[name].dims
    assert set(kept.coords) == set(ds.coords)


def test_the_dataset_that_was_given_is_not_changed(tmp_path):
    ds = pair().assign_attrs(note="mine")
    before = ds.copy(deep=True)
    saved(tmp_path, "ab", ds)
    xr.testing.assert_identical(ds, before)


def test_the_first_file_of_an_id_wins(tmp_path):
    first = saved(tmp_path, "ab", pair())
    content = layout.result_file(tmp_path, "barrier", "ab" * 20).read_bytes()
    second = saved(tmp_path, "ab", pair(shift=0.05))
    xr.testing.assert_identical(second, first)
    assert layout.result_file(tmp_path, "barrier", "ab" * 20).read_bytes() == content


@pytest.mark.parametrize("schema", [BARRIER, OVERLAP])
def test_other_tools_read_a_result(tmp_path, schema):
    kept = save_result(tmp_path, "ab" * 20, pair(schema=schema), record(schema.kind))
    path = layout.result_file(tmp_path, schema.kind, "ab" * 20)
    with xr.open_dataset(path) as ds:
        xr.testing.assert_equal(ds.load(), kept)
        assert ds.attrs == kept.attrs
        assert ds[next(iter(schema.variables))].attrs == kept[next(iter(schema.variables))].attrs
    with h5py.File(path, "r") as file:
        assert json.loads(file.attrs["record"]) == record(schema.kind)
        for name, variable in kept.data_vars.items():
            np.testing.assert_array_equal(file[name][()], variable.values)
            assert variable.size == 1 or file[name].fletcher32


def test_flipped_bytes_and_cuts_are_refused(tmp_path):
    saved(tmp_path, "ab", pair())
    path = layout.result_file(tmp_path, "barrier", "ab" * 20)
    content = path.read_bytes()
    draws = np.random.default_rng(0)
    for place in draws.integers(0, len(content), 300):
        damaged = bytearray(content)
        damaged[place] ^= 1 << int(draws.integers(8))
        path.write_bytes(damaged)
        with pytest.raises(
            LandscapeError, match=r"damaged .* does not match its SHA-256; remove it"
        ):
            load_result(path)
    for length in draws.integers(0, len(content), 60):
        path.write_bytes(content[:length])
        with pytest.raises(LandscapeError, match=f"^{path} is damaged or no result"):
            load_result(path)
    with pytest.raises(LandscapeError, match="is damaged"):
        saved(tmp_path, "ab", pair())  # what is damaged is not taken for an answer
    path.unlink()
    saved(tmp_path, "ab", pair())
    assert len(path.read_bytes()) == len(content)


def test_a_missing_result_is_named(tmp_path):
    with pytest.raises(LandscapeError, match=r"^cannot read .*none\.nc: No such file"):
        load_result(tmp_path / "none.nc")


def written(path, ds):
    """A file with the right digest of its bytes, whatever it holds."""
    plain = {n: {"_FillValue": None} for n, v in ds.variables.items() if v.dtype.kind == "f"}
    path.write_bytes(result_image(bytes(ds.to_netcdf(engine="h5netcdf", encoding=plain))))
    return path


def changed_value(ds):
    ds.loss.values[0, 0, 0] += 1e-12


def changed_unit(ds):
    ds.loss.attrs["units"] = "bits"


def changed_record(ds):
    ds.attrs["record"] = json.dumps(record(level=1), sort_keys=True)


def changed_label(ds):
    ds["run"] = ("pair", ["other"], ds.run.attrs)


def lost_digest(ds):
    del ds.attrs["content_sha256"]


@pytest.mark.parametrize(
    "change", [changed_value, changed_unit, changed_record, changed_label, lost_digest]
)
def test_content_that_was_changed_by_another_program_is_refused(tmp_path, change):
    sealed = seal_dataset(pair(), record())
    load_result(written(tmp_path / "a.nc", sealed))
    other = sealed.copy(deep=True)
    change(other)
    with pytest.raises(LandscapeError, match="its content does not match its SHA-256; remove it"):
        load_result(written(tmp_path / "a.nc", other))


@pytest.mark.parametrize("content", [b"", b"text", b"\x89HDF\r\n\x1a\n" + bytes(100)])
def test_a_digest_over_no_netcdf_is_refused(tmp_path, content):
    path = tmp_path / "a.nc"
    path.write_bytes(result_image(content))
    with pytest.raises(LandscapeError, match=f"^{path} is no readable result: "):
        load_result(path)


def test_the_content_digest_sees_everything():
    base = seal_dataset(pair(), record())
    digests = {content_digest(base)}
    for change in (changed_value, changed_unit, changed_record, changed_label):
        other = base.copy(deep=True)
        change(other)
        digests.add(content_digest(other))
    digests.add(content_digest(base.drop_vars("distance")))
    digests.add(content_digest(base.rename_vars(distance="length")))
    digests.add(content_digest(base.assign(status=base.status.astype("int16"))))
    assert len(digests) == 8
    assert content_digest(base) == content_digest(base.copy(deep=True))
    assert content_digest(base) == base.attrs["content_sha256"]


def test_a_dataset_without_a_record():
    with pytest.raises(
        LandscapeError, match=r"^this dataset carries no record; results of landscape do$"
    ):
        record_of(xr.Dataset())


def test_one_dataset_is_joined_to_itself():
    ds = seal_dataset(pair(), record())
    xr.testing.assert_identical(join([ds]), ds)


def test_joined_pairs_keep_their_numbers():
    parts = [pair(f"imp@{i} imp@{i + 1}", shift=i / 100) for i in range(3)]
    whole = join(parts)
    BARRIER.validate(whole)
    assert list(whole.pair.values) == ["imp@0 imp@1", "imp@1 imp@2", "imp@2 imp@3"]
    assert whole.attrs == {}
    for i, part in enumerate(parts):
        for name in part.data_vars:
            np.testing.assert_array_equal(whole[name].isel(pair=i), part[name].isel(pair=0))
            assert whole[name].dtype == part[name].dtype
            assert whole[name].attrs.keys() == part[name].attrs.keys()


def test_a_joined_dataset_carries_the_records_of_its_parts():
    records = [record(level=level) for level in (1, 0)]
    whole = join([seal_dataset(pair(f"pair {i}"), r) for i, r in enumerate(records)])
    assert record_of(whole) == {"kind": "barrier", "results": records}
    assert list(whole.attrs) == ["record"]
    assert join([seal_dataset(pair("a"), records[0]), pair("b")]).attrs == {}


def test_points_of_another_grid_are_unknown():
    fine, coarse = pair("a b"), pair("b c").isel(alpha=[0, 2, 4])
    for parts in ([fine, coarse], [coarse, fine]):
        whole = join(parts)
        BARRIER.validate(whole)
        assert list(whole.alpha.values) == [0, 0.25, 0.5, 0.75, 1]
        for name in ("loss", "loss_se", "error", "error_se"):
            row = whole[name].sel(pair="b c")
            assert np.isnan(row.sel(alpha=[0.25, 0.75])).all()
            np.testing.assert_array_equal(row.sel(alpha=[0, 0.5, 1]), coarse[name].isel(pair=0))
            np.testing.assert_array_equal(whole[name].sel(pair="a b"), fine[name].isel(pair=0))
        assert (whole.status == 0).all()  # what was measured is whole
        assert whole.status.dtype == np.int8


def test_a_split_that_one_lacks_is_absent():
    both, test = pair("a b"), pair("b c", split=["test"])
    for parts in ([both, test], [test, both]):
        whole = join(parts)
        BARRIER.validate(whole)
        assert set(whole.split.values) == {"train", "test"}
        status = whole.status.sel(pair="b c")
        meanings = whole.status.attrs["flag_meanings"].split()
        assert meanings[int(status.sel(split="train"))] == "absent"
        assert meanings[int(status.sel(split="test"))] == "ok"
        assert (whole.status.sel(pair="a b") == 0).all()
        assert np.isnan(whole.loss_barrier.sel(pair="b c", split="train")).all()
        np.testing.assert_array_equal(
            whole.loss_barrier.sel(pair="b c", split="test"),
            test.loss_barrier.isel(pair=0, split=0),
        )


def test_a_status_other_than_ok_survives_a_join():
    bad, test = pair("a b"), pair("b c", split=["test"])
    bad.status.values[0] = [1, 2]
    whole = join([test, bad]).sel(pair="a b")
    assert [int(whole.status.sel(split=s)) for s in ("train", "test")] == [1, 2]


def test_refined_and_plain_results_are_joined():
    refined, plain = pair("a b"), pair("b c").drop_vars(REFINED)
    for parts in ([refined, plain], [plain, refined]):
        whole = join(parts)
        BARRIER.validate(whole)
        assert np.isnan(whole.refined_loss.sel(pair="b c")).all()
        np.testing.assert_array_equal(
            whole.refined_loss.sel(pair="a b"), refined.refined_loss.isel(pair=0)
        )


def test_overlaps_of_other_layers_are_joined():
    a = pair("a b", OVERLAP)
    b = pair("b c", OVERLAP, layer=["all", "fc2.weight"])
    whole = join([a, b])
    OVERLAP.validate(whole)
    assert int(whole.status.sel(pair="b c", layer="fc1.weight")) == 2
    assert (whole.status.sel(pair="a b") == 0).all()
    assert np.isnan(whole.jaccard.sel(pair="b c", layer="fc1.weight"))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A store with five results and no run."""
    root = open_store(tmp_path_factory.mktemp("results") / "store").root
    for level, name in enumerate(["30", "10", "20"]):
        saved(root, name, pair(f"imp@{level} imp@{level + 1}", shift=level / 100), level=level)
    saved(root, "40", pair("random@0 random@1").isel(alpha=[0, 2, 4]), run="random", task="mnist")
    saved(root, "50", pair("imp@0 imp@1", OVERLAP), kind="overlap")
    return root


@pytest.mark.parametrize(
    ("where", "pairs"),
    [
        ({}, ["imp@0 imp@1", "imp@1 imp@2", "imp@2 imp@3", "random@0 random@1"]),
        ({"run": "random"}, ["random@0 random@1"]),
        ({"task": "digits"}, ["imp@0 imp@1", "imp@1 imp@2", "imp@2 imp@3"]),
        ({"level": 1}, ["imp@1 imp@2"]),
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
    ],
)
def test_a_query_finds_what_matches(root, where, pairs):
    found = query(root, "barrier", where)
    assert list(found.pair.values) == pairs
    BARRIER.validate(found)


def test_a_query_says_which_result_each_pair_is_from(root):
    found = query(root, "barrier", {})
    assert list(found.result.values) == [name * 20 for name in ("30", "10", "20", "40")]
    for i, result in enumerate(found.result.values):
        stored = find_result(root, "barrier", str(result))
        assert list(stored.pair.values) == [found.pair.values[i]]
        np.testing.assert_array_equal(
            found.loss.isel(pair=i).sel(alpha=stored.alpha), stored.loss.isel(pair=0)
        )
    assert np.isnan(found.loss.isel(pair=3).sel(alpha=0.25)).all()
    assert list(query(root, "overlap", {}).result.values) == ["50" * 20]


def test_a_store_asks_the_same(root):
    store = open_store(root)
    xr.testing.assert_identical(
        store.results("barrier", level=slice(1, 2)), query(root, "barrier", {"level": slice(1, 2)})
    )


@pytest.mark.parametrize(
    ("kind", "where", "error", "match"),
    [
        ("barier", {}, UsageError, "^unknown kind of result 'barier'; did you mean 'barrier'. "
         "available: barrier, overlap$"),
        ("training", {}, UsageError, "^unknown kind of result 'training'; .*available: barrier"),
        ("barrier", {"levl": 1}, UsageError, "^unknown field of results 'levl'; did you mean 'lev"),
        ("barrier", {"level": 7, "x": 1}, UsageError, "^unknown field of results 'x'; available: "),
        ("barrier", {"level": 7, "run": "imp"}, LandscapeError, "^no stored barrier result matches "
         "level=7, run='imp'; see 'landscape ls'$"),
        ("barrier", {"level": slice(7, 9)}, LandscapeError, r"matches level=slice\(7, 9, None\); "),
    ],
)  # fmt: skip
def test_a_query_without_an_answer(root, kind, where, error, match):
    with pytest.raises(error, match=match):
        query(root, kind, where)


def test_a_wrong_field_is_said_in_an_empty_store(tmp_path):
    root = open_store(tmp_path / "store").root
    with pytest.raises(UsageError, match="unknown field of results 'levl'"):
        query(root, "barrier", {"levl": 1})
    with pytest.raises(LandscapeError, match="no stored barrier result matches no condition"):
        query(root, "barrier", {})


def test_a_damaged_result_is_named_by_a_query(root, tmp_path):
    path = layout.result_file(tmp_path, "barrier", "60" * 20)
    saved(tmp_path, "60", pair())
    assert len(query(tmp_path, "barrier", {}).pair) == 1
    damaged = bytearray(path.read_bytes())
    damaged[-200] ^= 1
    stamp = path.stat()
    path.write_bytes(damaged)
    with pytest.raises(LandscapeError):
        query(tmp_path, "barrier", {})
    assert stamp.st_size == path.stat().st_size


@pytest.fixture(scope="module")
def uneven(small_store, tmp_path_factory):
    """Runs with other levels, steps, seeds and criteria."""
    store = landscape.open(tmp_path_factory.mktemp("uneven") / "store")
    settings = {**SMALL, "levels": 1, "eval_every": 30, "seed": 5, "snapshots": ()}
    short = landscape.train(store=store, name="short", **settings)
    return [small_store["imp"], short, small_store["random"]]


def test_training_curves_of_several_runs(uneven):
    ds = training(uneven)
    TRAINING.validate(ds)
    assert list(ds.run.values) == ["imp", "short", "random"]
    assert list(ds.criterion.values) == ["magnitude", "magnitude", "random"]
    assert list(ds.seed.values) == [0, 5, 0]
    assert list(ds.level.values) == [0, 1, 2]
    assert list(ds.step.values) == [0, 20, 30, 40, 60]
    for run in uneven:
        for number in ds.level.values:
            cell = ds.sel(run=run.name, level=number)
            if number not in run.levels:
                assert int(cell.status) == 2
                rest = cell.drop_vars(["status", "criterion", "seed"]).data_vars.values()
                assert all(np.isnan(v).all() for v in rest)
                continue
            level = run.level(int(number))
            assert int(cell.status) == 0
            assert float(cell.density) == level.mask.density
            steps = level.trace.column("step")
            for name in TRACE_COLUMNS[1:]:
                np.testing.assert_array_equal(cell[name].sel(step=steps), level.trace.column(name))
                others = [s for s in ds.step.values if s not in steps]
                assert np.isnan(cell[name].sel(step=others)).all()
            for split in ("train", "test"):
                for measure in ("loss", "error"):
                    got = float(cell[f"final_{split}_{measure}"])
                    assert got == level.metrics[f"{split}_{measure}"]
            validation = level.trace.column("validation_loss")
            row = int(np.argmin(validation))
            assert float(cell.early_stop_step) == steps[row] == level.metrics["early_stop_step"]
            assert float(cell.early_stop_test_error) == level.trace.column("test_error")[row]


def test_training_of_no_level(tmp_path):
    store = open_store(tmp_path / "store")
    config = {"config": {}, "provenance": {}}
    runs = [store.create(name, config) for name in ("a", "b")]
    with pytest.raises(LandscapeError, match=r"^no level of a, b is finished yet; train on first$"):
        training(runs)


def test_the_netcdf_of_a_result_is_what_xarray_wrote(tmp_path):
    kept = saved(tmp_path, "ab", pair())
    path = layout.result_file(tmp_path, "barrier", "ab" * 20)
    assert read_netcdf(path)[:4] == b"\x89HDF"
    assert path.stat().st_size < 120_000
    assert kept.attrs["content_sha256"] == content_digest(kept)
