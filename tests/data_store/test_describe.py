"""Rows of the catalogue: what a file says, in the types of their columns, or what is wrong."""

import json

import pytest

from landscape.data_store import layout
from landscape.data_store.describe import (
    COLUMNS,
    described,
    kept,
    level_row,
    result_row,
    run_row,
)
from landscape.data_store.files import SIZE_LIMIT
from landscape.data_store.results import result_id
from tests.support.results import pair, record, saved

MANIFEST = {
    "config": {
        "task": "digits", "model": "mlp", "criterion": "random", "seed": 3, "levels": 12,
    },
    "provenance": {"created": "2026-01-01"},
}  # fmt: skip


def test_the_row_of_a_run(tmp_path):
    path = layout.run_manifest(tmp_path, "imp")
    row = ("imp", "digits", "mlp", "random", 3, 12, "2026-01-01")
    assert run_row(path, MANIFEST) == (*row, "")
    begun = MANIFEST | {"branch": {"parent": "other@3", "mask": "preserved"}}
    assert run_row(path, begun) == (*row, "other@3")
    imported = {
        "imported": {"sources": []}, "config": {"task": "digits", "model": "mlp", "levels": 2},
        "provenance": MANIFEST["provenance"],
    }  # fmt: skip
    assert run_row(path, imported) == (
        "imp",
        "digits",
        "mlp",
        "imported",
        None,
        2,
        "2026-01-01",
        "",
    )


def test_rows_of_a_trained_run(small_store):
    for number in small_store["imp"].levels:
        path = layout.level_file(small_store.root, "imp", number)
        level = small_store["imp"].level(number)
        row = dict(zip(COLUMNS["level"], level_row(path, level), strict=True))
        assert row == {
            "run": "imp", "level": number, "density": level.mask.density, "status": "done",
            **{n: level.metrics[n] for n in ("test_error", "test_loss", "early_stop_step")},
        }  # fmt: skip
        place = path.relative_to(small_store.root).as_posix()
        assert described(small_store.root, place, "level", SIZE_LIMIT) == (tuple(row.values()), "")


def test_the_row_of_a_result(tmp_path):
    said = record(level=3)
    path = saved(tmp_path, pair(), said)
    row, fault = described(tmp_path, path.relative_to(tmp_path).as_posix(), "result", SIZE_LIMIT)
    assert fault == ""
    assert row == result_row(path, said)
    assert dict(zip(COLUMNS["result"], row, strict=True)) == {
        "id": result_id(said), "kind": "barrier", "version": "1.0", "task": "digits",
        "model": "mlp:64-20-10", "run": "imp", "level": 3, "part": "final", "density": 0.8**3,
        "run_b": "imp", "level_b": 4, "density_b": 0.8**4, "inputs": "imp@3 imp@4",
        "settings": '{"points": 5}', "created": said["created"], "seconds": 0.5,
    }  # fmt: skip


def test_the_row_of_a_result_about_one_checkpoint_says_it_twice(tmp_path):
    said = record()
    alone = {**said, "inputs": said["inputs"][:1]}
    row = dict(zip(COLUMNS["result"], result_row(tmp_path / "a.nc", alone), strict=True))
    assert (row["run"], row["level"]) == (row["run_b"], row["level_b"]) == ("imp", 0)
    assert row["inputs"] == "imp@0"


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"config": {**MANIFEST["config"], "task": 3}}, TypeError, "^its task is 3$"),
        ({"config": {**MANIFEST["config"], "levels": "3"}}, TypeError, "^its asked is '3'$"),
        ({"config": {**MANIFEST["config"], "levels": None}}, TypeError, "^its asked is None$"),
        ({"config": {**MANIFEST["config"], "model": []}}, TypeError, r"^its model is \[\]$"),
        ({"provenance": {"created": None}}, TypeError, "^its created is None$"),
        ({"config": {**MANIFEST["config"], "task": "\udcff"}}, UnicodeEncodeError, "surrogates"),
    ],
)
def test_what_no_column_holds_is_refused(tmp_path, change, error, match):
    with pytest.raises(error, match=match):
        run_row(layout.run_manifest(tmp_path, "imp"), {**MANIFEST, **change})


def test_numbers_beyond_a_column_are_rounded():
    assert kept((2**63 - 1, 2**63, -(2**63) - 1, "a", None, 0.5)) == (
        2**63 - 1, float(2**63), float(-(2**63)), "a", None, 0.5,
    )  # fmt: skip


@pytest.mark.parametrize("kind", COLUMNS)
def test_a_file_that_is_not_there_is_a_fault(tmp_path, kind):
    row, fault = described(tmp_path, "none", kind, SIZE_LIMIT)
    assert row is None
    assert fault == f"cannot read {tmp_path / 'none'}: No such file or directory"


@pytest.mark.parametrize("kind", COLUMNS)
def test_what_is_of_another_kind_is_a_fault(tmp_path, kind):
    for content in (b"", b"{}", json.dumps(MANIFEST).encode()):
        (tmp_path / "a").write_bytes(content)
        row, fault = described(tmp_path, "a", kind, SIZE_LIMIT)
        assert row is None
        assert fault.startswith(f"{tmp_path / 'a'} ")


def test_a_result_under_another_name_is_a_fault(tmp_path):
    path = saved(tmp_path, pair(), record())
    other = path.rename(path.with_name("ab.nc")).relative_to(tmp_path).as_posix()
    row, fault = described(tmp_path, other, "result", SIZE_LIMIT)
    assert row is None
    assert "not the one it is named after" in fault
