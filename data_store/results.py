"""Results: one immutable file each, named by the question it answers."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from landscape.data_store import layout
from landscape.data_store.errors import DamagedFile, LandscapeError
from landscape.data_store.files import SIZE_LIMIT, move_aside, sweep, write_new
from landscape.data_store.join import join
from landscape.data_store.result_file import Result, read_result, result_image
from landscape.data_store.schemas.table import SCHEMAS

if TYPE_CHECKING:
    import xarray as xr


_SORTED = json.JSONEncoder(sort_keys=True)


def result_id(record: Mapping[str, Any]) -> str:
    """Digest of the question a record answers.

    That is its kind, schema version, digests of the checkpoints and their companions, data, network
    and settings;
    not the names it was asked under, nor when and where.
    """
    question = [
        record["kind"],
        [record["schema_version"][0], 0],  # a minor version adds what may be missing
        [checkpoint["digest"] for checkpoint in record["inputs"]],
        [record.get("data", {}).get(name, "") for name in ("digest", "network")],
        record["settings"],
    ]
    if companions := record.get("companions"):
        question.append([c["digest"] if c else "" for c in companions])
    return hashlib.sha256(_SORTED.encode(question).encode()).hexdigest()[:40]


def save_result(
    root: Path, ds: xr.Dataset, record: Mapping[str, Any], *, limit: int = SIZE_LIMIT
) -> xr.Dataset:
    """Validate `ds`, add its record, and keep it as the answer to the record's question.

    The first file of an id wins. Returns the dataset as a reader will get it.

    Raises `LandscapeError` if the dataset does not follow its schema or cannot be written.
    """
    kind = str(record["kind"])
    SCHEMAS[kind].validate(ds)
    path = layout.result_file(root, kind, result_id(record))
    if path.exists():
        sweep(path.parent)
    else:
        write_new(path, result_image(Result.of(with_record(ds, record))), root=root)
    return load_result(path, root=root, limit=limit)


def with_record(ds: xr.Dataset, record: Mapping[str, Any]) -> xr.Dataset:
    """`ds` with its record as one JSON attribute, its only one."""
    described = ds.copy()
    text = json.dumps(record, sort_keys=True, allow_nan=False)
    described.attrs = {layout.RECORD_ATTRIBUTE: text}
    return described


def load_result(path: Path, *, root: Path | None = None, limit: int = SIZE_LIMIT) -> xr.Dataset:
    """The dataset in a result's file, in memory.

    `root` and `limit` as in `read_file`. Raises as `read_stored`.
    """
    try:
        return read_stored(path, root=root, limit=limit).dataset()
    except (ValueError, TypeError) as error:  # arrays that do not make a dataset
        raise DamagedFile(f"{path} is no readable result: {error}") from error


def read_stored(path: Path, *, root: Path | None = None, limit: int = SIZE_LIMIT) -> Result:
    """The result in a file, after it was found to answer the question it is named after.

    Raises `DamagedFile`, naming the file, if it is cut, flipped, foreign or renamed,
    `LandscapeError` if its format or schema is newer than this program.
    """
    result = read_result(path, root=root, limit=limit)
    try:
        record = json.loads(result.record)
        kind, major = str(record["kind"]), int(record["schema_version"][0])
        require_own_name(path, record)
    except (
        LookupError, TypeError, ValueError, AttributeError, OverflowError, RecursionError,
    ) as error:  # fmt: skip
        raise DamagedFile(f"{path} is no readable result: {error!r}") from error
    if kind in SCHEMAS and major > SCHEMAS[kind].version[0]:
        raise LandscapeError(
            f"{path} is of {kind} schema {major} and this version reads up to "
            f"{SCHEMAS[kind].version[0]}: it needs landscape {record.get('landscape', 'newer')}; "
            "update landscape"
        )
    return result


def require_own_name(path: Path, record: Mapping[str, Any]) -> None:
    """Raise `DamagedFile` if a result lies under another name than its question's."""
    name = f"{record['kind']}/{result_id(record)}"
    if "/".join((*path.parts[-3:-2], path.stem)) != name:
        raise DamagedFile(
            f"{path} answers the question {name}, not the one it is named after; it was copied or "
            "renamed: remove it and repeat the command"
        )


def find_result(
    root: Path, kind: str, result: str, *, limit: int = SIZE_LIMIT
) -> xr.Dataset | None:
    """The stored result of an id, or None if there is none.

    A damaged one is moved aside with a warning, so that it is computed again.
    """
    path = layout.result_file(root, kind, result)
    if not path.exists():
        return None
    sweep(path.parent)
    try:
        return load_result(path, root=root, limit=limit)
    except DamagedFile as error:
        place = move_aside(root, path)
        warnings.warn(f"{error}; it is now {place}, and computed again", stacklevel=2)
        return None


def record_of(ds: xr.Dataset) -> dict[str, Any]:
    """What made a dataset: kind, inputs, data, settings, versions; see ``attrs["record"]``."""
    if layout.RECORD_ATTRIBUTE not in ds.attrs:
        raise LandscapeError("this dataset carries no record; results of landscape do")
    record: dict[str, Any] = json.loads(ds.attrs[layout.RECORD_ATTRIBUTE])
    return record


def records_of(ds: xr.Dataset) -> list[dict[str, Any]]:
    """The records of the single results that a dataset was joined of, in order.

    Raises `LandscapeError` if it carries none.
    """
    left, single = [record_of(ds)], []
    while left:
        record = left.pop(0)
        left = [*record["results"], *left] if "results" in record else left
        single += [] if "results" in record else [record]
    return single


def together(parts: Sequence[xr.Dataset]) -> xr.Dataset:
    """Datasets of one kind in one, as `landscape.data_store.join.join` has it."""
    return parts[0] if len(parts) == 1 else join([Result.of(ds) for ds in parts]).dataset()
