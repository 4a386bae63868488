"""What the catalogue keeps of a file: one row per run, level and result."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from landscape.data_store import layout
from landscape.data_store.errors import LandscapeError

if TYPE_CHECKING:
    from landscape.data_store.records import Level

Row = tuple[Any, ...]

COLUMNS: dict[str, dict[str, str]] = {
    "run": {
        "run": "TEXT", "task": "TEXT", "model": "TEXT", "criterion": "TEXT", "seed": "INTEGER",
        "asked": "INTEGER", "created": "TEXT", "parent": "TEXT",
    },
    "level": {
        "run": "TEXT", "level": "INTEGER", "density": "REAL", "status": "TEXT",
        "test_error": "REAL", "test_loss": "REAL", "early_stop_step": "REAL",
    },
    "result": {
        "id": "TEXT", "kind": "TEXT", "version": "TEXT", "task": "TEXT", "model": "TEXT",
        "run": "TEXT", "level": "REAL", "part": "TEXT", "density": "REAL", "run_b": "TEXT",
        "level_b": "REAL", "density_b": "REAL", "inputs": "TEXT", "settings": "TEXT",
        "created": "TEXT", "seconds": "REAL",
    },
}  # fmt: skip

_MAY_BE_UNKNOWN = {
    "seed", "test_error", "test_loss", "early_stop_step", "task", "model", "run", "level", "part",
    "density", "run_b", "level_b", "density_b",
}  # fmt: skip


def described(root: Path, path: str, kind: str, limit: int) -> tuple[Row | None, str]:
    """The row of a file without its path, and what is wrong with it if it has none."""
    describe: Callable[[Path, Path, int], Row] = {
        "run": _run, "level": _level, "result": _result,
    }[kind]  # fmt: skip
    try:
        return kept(describe(root, root / path, limit)), ""
    except LandscapeError as error:
        return None, str(error)
    except Exception as error:  # sealed, and yet not ours: a row less, never a traceback
        return None, f"{root / path} is no {kind} file of landscape: {error!r}"


def _run(root: Path, path: Path, limit: int) -> Row:  # noqa: ARG001
    """The row of a run.json."""
    from landscape.data_store.manifest import read_manifest

    record = read_manifest(path, layout.RUN_FORMAT, layout.RUN_VERSION, root=root)
    return run_row(path, record)


def run_row(path: Path, record: Mapping[str, Any]) -> Row:
    """The row of the manifest at `path`."""
    config = record["config"]
    criterion = "imported" if "imported" in record else config["criterion"]
    return _typed("run", (
        path.parent.name, config["task"], config["model"], criterion, config.get("seed"),
        config["levels"], record["provenance"]["created"],
        record.get("branch", {}).get("parent", ""),
    ))  # fmt: skip


def _level(root: Path, path: Path, limit: int) -> Row:
    """The row of a level file."""
    from landscape.data_store.level_file import read_level

    return level_row(path, read_level(path, root=root, limit=limit))


def level_row(path: Path, level: Level) -> Row:
    """The row of the level whose file is at `path`."""
    metrics = level.metrics
    return _typed("level", (
        path.parent.name, level.number, level.mask.density, level.status,
        metrics.get("test_error"), metrics.get("test_loss"), metrics.get("early_stop_step"),
    ))  # fmt: skip


def _result(root: Path, path: Path, limit: int) -> Row:
    """The row of a result."""
    from landscape.data_store.result_file import read_record
    from landscape.data_store.results import require_own_name

    record = read_record(path, root=root, limit=limit)
    require_own_name(path, record)
    return result_row(path, record)


def result_row(path: Path, record: Mapping[str, Any]) -> Row:
    """The row of the result at `path` that has this record."""
    first, last = record["inputs"][0], record["inputs"][-1]
    major, minor = record["schema_version"]
    return _typed("result", (
        path.stem, record["kind"], f"{int(major)}.{int(minor)}", record["task"],
        record["model"], first["run"], first["level"], first["part"], first["density"],
        last["run"], last["level"], last["density"],
        " ".join(i["address"] for i in record["inputs"]),
        json.dumps(record["settings"], ensure_ascii=False), record["created"], record["seconds"],
    ))  # fmt: skip


def kept(row: Row) -> Row:
    """A row as columns hold it."""
    return tuple(
        float(value) if isinstance(value, int) and not -(2**63) <= value < 2**63 else value
        for value in row
    )


def _typed(kind: str, row: Row) -> Row:
    """`row`; raises TypeError or ValueError for one of a stranger's making."""
    for (name, column), value in zip(COLUMNS[kind].items(), row, strict=True):
        types = str if column == "TEXT" else int | float
        if not isinstance(value, types) and not (value is None and name in _MAY_BE_UNKNOWN):
            raise TypeError(f"its {name} is {value!r}")
        if isinstance(value, str):
            value.encode()  # SQLite holds no half of a surrogate pair
    return row
