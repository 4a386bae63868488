"""Checks: sealed files that are not what their run, their name or their schema says."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from landscape.data_store.checks import (
    is_trained,
    require_level,
    require_log,
    require_manifest,
    require_result,
)
from landscape.data_store.errors import DamagedFile, LandscapeError
from landscape.data_store.mask import Mask
from landscape.data_store.params import ParamSpec
from landscape.data_store.records import TRACE_COLUMNS, Level, Point, RunConfig, Trace
from landscape.data_store.result_file import Result
from landscape.data_store.schemas.table import SCHEMAS
from landscape.data_store.settings import to_json

SPEC = ParamSpec(("w", "b"), ((2, 4), (2,)))
INIT = "ab" * 32
RUN = Path("runs/imp/run.json")
MANIFEST: dict[str, Any] = {
    "name": "imp",
    "config": to_json(RunConfig()),
    "spec": SPEC.to_json(),
    "prunable": {"w": "linear"},
    "init": INIT,
}
IMPORTED: dict[str, Any] = {
    "name": "imp",
    "config": {"task": "digits", "model": "mlp:8-2", "levels": 2},
    "spec": SPEC.to_json(),
    "imported": {"sources": []},
}


def mask(*pruned: int) -> Mask:
    """The mask of `SPEC` without some weights of ``w``."""
    kept = np.ones(SPEC.size, bool)
    kept[list(pruned)] = False
    return Mask(SPEC, ("w",), kept)


def level(number: int, *pruned: int, **changes: Any) -> Level:
    """A level that is right."""
    of = mask(*pruned)
    return replace(
        Level(
            number=number,
            mask=of,
            points={"final": Point(of.apply(np.arange(1, 11, dtype=np.float32)))},
            trace=Trace(np.zeros((0, len(TRACE_COLUMNS)))),
            metrics={"test_error": math.nan},
            origins={"init": INIT, "rewind": INIT},
        ),
        **changes,
    )


PATH = RUN.with_name("level_0001.h5")


@pytest.mark.parametrize("record", [MANIFEST, IMPORTED])
def test_a_manifest_of_its_run_is_right(record: dict[str, Any]) -> None:
    require_manifest(RUN, record)
    assert is_trained(record) == (record is MANIFEST)


@pytest.mark.parametrize("record", [MANIFEST, IMPORTED])
def test_a_manifest_of_another_run_is_no_damage_but_a_wrong_name(record: dict[str, Any]) -> None:
    with pytest.raises(LandscapeError, match=r"describes the run 'imp'; .* give it back") as caught:
        require_manifest(Path("runs/other/run.json"), record)
    assert not isinstance(caught.value, DamagedFile)


def test_a_setting_of_a_newer_version_is_no_damage() -> None:
    config = {**MANIFEST["config"], "warmth": 1}
    with pytest.raises(LandscapeError, match="unknown setting 'warmth'") as caught:
        require_manifest(RUN, {**MANIFEST, "config": config})
    assert not isinstance(caught.value, DamagedFile)


@pytest.mark.parametrize("changes", [{"prunable": {"v": "linear"}}, {"init": "0" * 63}])
def test_a_manifest_that_contradicts_itself_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(DamagedFile, match=r"runs/imp/run\.json contradicts itself"):
        require_manifest(RUN, {**MANIFEST, **changes})


def test_a_branch_states_where_it_begins() -> None:
    branch = {"parent": "imp@3", "digest": INIT, "mask": "pruned", "mask_density": 0.5}
    require_manifest(RUN, {**MANIFEST, "branch": branch})
    for name in branch:
        left = {k: v for k, v in branch.items() if k != name}
        with pytest.raises(KeyError, match=name):
            require_manifest(RUN, {**MANIFEST, "branch": left})


def test_masks_of_which_weights_come_back_are_right_where_the_run_asks_for_it() -> None:
    free = {**MANIFEST, "config": {**MANIFEST["config"], "nested": False}}
    require_level(PATH, level(1, 2, 5), free, mask(3))
    with pytest.raises(DamagedFile, match="keeps weights that the level before had pruned"):
        require_level(PATH, level(1, 2, 5), MANIFEST, mask(3))


def test_the_first_level_of_a_branch_need_not_be_dense() -> None:
    require_level(RUN.with_name("level_0000.h5"), level(0, 2, 5), MANIFEST, None)


def test_an_imported_manifest_states_task_model_and_levels() -> None:
    for name in ("task", "model", "levels"):
        config = {k: v for k, v in IMPORTED["config"].items() if k != name}
        with pytest.raises(KeyError, match=name):
            require_manifest(RUN, {**IMPORTED, "config": config})


def test_a_level_of_its_run_is_right_with_and_without_what_it_is_compared_with() -> None:
    right = level(1, 2, 5)
    for record in (MANIFEST, IMPORTED, None):
        for previous in (mask(), mask(2), mask(5, 2), None):
            require_level(PATH, right, record, previous)


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        (level(2), "it holds level 2"),
        (level(1, origins={"init": "x"}), "what it started from is no digest"),
        (level(1, mask=mask(0)), "pruned weights of final are not zero"),
        (
            level(1, 0, points={"final": Point(np.array([-0.0] + [1.0] * 9, np.float32))}),
            "pruned weights of final are not zero",
        ),
        (level(1, 3), "its mask keeps weights that the level before had pruned"),
        (level(1, 2, origins={"init": INIT}), "it began from other weights than its run"),
        (
            level(1, 2, origins={"init": "0" * 64, "rewind": INIT}),
            "it began from other weights than its run",
        ),
        (
            level(1, mask=Mask.dense(SPEC, ("w", "b"))),
            "other tensors of it are prunable than of its run",
        ),
        (
            level(
                1,
                mask=Mask.dense(ParamSpec(("v", "b"), SPEC.shapes), ("v",)),
            ),
            "it has other tensors than its run",
        ),
    ],
)
def test_a_level_that_is_not_what_its_name_says_is_refused(wrong: Level, problem: str) -> None:
    match = rf"runs/imp/level_0001\.h5 is not what its name says: {problem}"
    with pytest.raises(DamagedFile, match=match):
        require_level(PATH, wrong, MANIFEST, mask(2))


def test_of_imported_levels_neither_nested_masks_nor_origins_are_asked() -> None:
    require_level(PATH, level(1, 3, origins={}), IMPORTED, mask(2))


@pytest.mark.parametrize(
    "lines",
    [
        b"",
        b'{"level": 0}\n{"level": 1}\n',
        b'{"level": 0}\n{"lev',  # torn by a kill
        b'{"lev\n{"level": 0}\n',  # torn, and gone on with
    ],
)
def test_a_log_is_right_also_where_a_kill_tore_a_line(lines: bytes) -> None:
    require_log(Path("log.jsonl"), lines)


@pytest.mark.parametrize(
    ("lines", "bad"),
    [
        (b'{"level": 0}\nhello\n{"level": 1}\n', "2"),
        (b'{"lev{"level": 0}\n\xff\n', "1, 2"),
        (b"[" * 100_000 + b"\n{" + b'"a":{' * 100_000 + b"}", "1, 2"),
        (b"a\nb\nc\nd\n", r"1, 2, 3, …"),
    ],
)
def test_the_lines_of_a_log_that_are_none_are_named(lines: bytes, bad: str) -> None:
    with pytest.raises(DamagedFile, match=rf"log\.jsonl has lines that are no JSON: {bad}$"):
        require_log(Path("log.jsonl"), lines)


@pytest.mark.parametrize("kind", SCHEMAS)
def test_a_result_of_its_schema_is_right_with_any_number_of_pairs(kind: str) -> None:
    ds = SCHEMAS[kind].example()
    for part in (ds, ds.isel({SCHEMAS[kind].dims[0]: [0]})):
        require_result(Path("x.nc"), Result.of(part), {"kind": kind, "schema_version": [1, 0]})


@pytest.mark.parametrize(
    ("name", "changes", "problem"),
    [
        ("distance", None, "needs 'distance'"),
        ("distance", {"attrs": {"units": "m"}}, "has units 'm'; expected '1'"),
        ("distance", {"attrs": {"units": ["m"]}}, "has units"),
        ("distance", {"values": np.zeros(3, np.float32)}, "is float32; expected float64"),
        ("distance", {"dims": ("split",)}, "split"),
        ("alpha", {"values": np.zeros(2)}, "alpha"),
    ],
)
def test_a_departure_from_the_schema_is_named(
    name: str, changes: dict[str, Any] | None, problem: str
) -> None:
    result = Result.of(SCHEMAS["barrier"].example())
    variables = dict(result.variables)
    if changes is None:
        del variables[name]
    else:
        variables[name] = variables[name]._replace(**changes)
    record = {"kind": "barrier", "schema_version": [1, 0]}
    with pytest.raises(DamagedFile, match=rf"x\.nc does not follow its schema: .*{problem}"):
        require_result(Path("x.nc"), Result(json.dumps(record), variables), record)


def test_the_schema_of_another_major_version_is_not_asked_of_a_result() -> None:
    empty = Result("", {})
    require_result(Path("x.nc"), empty, {"kind": "barrier", "schema_version": [0, 9]})
    with pytest.raises(LandscapeError, match=r"x\.nc is of kind 'hessian', which this version"):
        require_result(Path("x.nc"), empty, {"kind": "hessian", "schema_version": [1, 0]})
