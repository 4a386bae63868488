"""Checks: what the files of a store must be besides whole, each named where it is not."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from landscape.data_store.errors import DamagedFile, LandscapeError
from landscape.data_store.mask import Mask
from landscape.data_store.params import ParamSpec
from landscape.data_store.records import Level, RunConfig
from landscape.data_store.result_file import Result, Variable
from landscape.data_store.settings import from_json

_DIGEST = re.compile(r"[0-9a-f]{64}")
_ORIGINS = {"init", "rewind"}


def require_manifest(path: Path, record: Mapping[str, Any]) -> None:
    """Raise unless a run.json describes the run of its folder.

    `LandscapeError` for settings that this version does not know or for another run's name,
    `DamagedFile` for what was never written by landscape.
    """
    if record["name"] != path.parent.name:
        raise LandscapeError(
            f"{path} describes the run {record['name']!r}; the folder was copied or renamed: give "
            "it back its name"
        )
    spec = ParamSpec.from_json(record["spec"])
    if is_trained(record):
        from_json(RunConfig, record["config"])
        if "branch" in record:
            [record["branch"][entry] for entry in ("parent", "digest", "mask", "mask_density")]
        foreign = [name for name in record["prunable"] if name not in spec.names]
        if foreign or not _DIGEST.fullmatch(record["init"]):
            raise DamagedFile(f"{path} contradicts itself: it was not written by landscape")
    else:
        [record["config"][name] for name in ("task", "model", "levels")]


def is_trained(record: Mapping[str, Any]) -> bool:
    """True for the manifest of a run that was trained here, not imported."""
    return "imported" not in record


def require_level(
    path: Path, level: Level, record: Mapping[str, Any] | None, previous: Mask | None
) -> None:
    """Raise `DamagedFile` unless a level is what its name and its run say.

    Parameters
    ----------
    record
        The run's manifest, None if there is none to compare with.
    previous
        Mask of the level before, None if it is not known.
    """
    problem = _own_problem(path, level)
    if not problem and record is not None:
        problem = _problem_with_run(level, record)
        if not problem and _is_nested(record) and previous is not None:
            nested = level.mask.spec == previous.spec and level.mask.is_within(previous)
            problem = "" if nested else "its mask keeps weights that the level before had pruned"
    if problem:
        raise DamagedFile(f"{path} is not what its name says: {problem}")


def _is_nested(record: Mapping[str, Any]) -> bool:
    """True if the levels of a run keep only weights of the level before."""
    return is_trained(record) and bool(record["config"].get("nested", True))


def _own_problem(path: Path, level: Level) -> str:
    """What is wrong with a level by itself, empty if nothing is."""
    if path.name != f"level_{level.number:04d}.h5":
        return f"it holds level {level.number}"
    if not all(_DIGEST.fullmatch(digest) for digest in level.origins.values()):
        return "what it started from is no digest"
    for name, point in level.points.items():
        pruned = np.ascontiguousarray(point.theta[~level.mask.kept])
        if pruned.view(np.uint8).any():
            return f"pruned weights of {name} are not zero"
    return ""


def _problem_with_run(level: Level, record: Mapping[str, Any]) -> str:
    """What contradicts the run's manifest, empty if nothing does."""
    if level.mask.spec != ParamSpec.from_json(record["spec"]):
        return "it has other tensors than its run"
    if not is_trained(record):
        return ""
    if level.mask.prunable != tuple(record["prunable"]):
        return "other tensors of it are prunable than of its run"
    if set(level.origins) != _ORIGINS or level.origins["init"] != record["init"]:
        return "it began from other weights than its run"
    return ""


def require_log(path: Path, content: bytes) -> None:
    """Raise `DamagedFile` naming the lines of a log that are no JSON.

    A line that a kill tore begins as one and does not end: it counts as none.
    """
    bad = [n for n, line in enumerate(content.split(b"\n"), 1) if not _is_record(line)]
    if bad:
        named = ", ".join(map(str, bad[:3])) + (", …" if len(bad) > 3 else "")
        raise DamagedFile(f"{path} has lines that are no JSON: {named}")


def _is_record(line: bytes) -> bool:
    """True for a line of a log, whole, torn or empty."""
    if not line.startswith(b"{") or not line.endswith(b"}"):
        return not line or (line.startswith(b"{") and line.count(b"{") == 1 and line.isascii())
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def require_result(path: Path, result: Result, record: Mapping[str, Any]) -> None:
    """Raise unless a result follows the schema of its kind.

    `LandscapeError` for a kind that this version does not know, `DamagedFile` for a departure.
    """
    from landscape.data_store.schemas.table import SCHEMAS

    kind = record["kind"]
    if kind not in SCHEMAS:
        raise LandscapeError(
            f"{path} is of kind {kind!r}, which this version does not know; update landscape"
        )
    if int(record["schema_version"][0]) != SCHEMAS[kind].version[0]:
        return
    variables = tuple(
        (
            name, v.is_coordinate, v.dims, v.values.shape, v.values.dtype.str,
            str(v.attrs.get("units")),
        )
        for name, v in result.variables.items()
    )  # fmt: skip
    problem = _departure(kind, variables)
    if problem:
        raise DamagedFile(f"{path} does not follow its schema: {problem}")


@lru_cache(maxsize=256)
def _departure(kind: str, variables: tuple[tuple[Any, ...], ...]) -> str:
    """Where a result with variables of these shapes departs from its schema, empty if nowhere.

    Results of one analysis have one shape: xarray takes a millisecond, and is asked once.
    """
    from landscape.data_store.schemas.table import SCHEMAS

    blank = {
        name: Variable(dims, np.zeros(shape, dtype), {"units": units}, is_coordinate)
        for name, is_coordinate, dims, shape, dtype, units in variables
    }
    try:
        SCHEMAS[kind].validate(Result("", blank).dataset())
    except (LandscapeError, ValueError, TypeError) as error:
        return str(error)
    return ""
