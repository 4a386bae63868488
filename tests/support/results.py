"""Results without an analysis: records, datasets, and files sealed whatever they hold."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import xarray as xr

from landscape.data_store import layout
from landscape.data_store.result_file import Result, result_image
from landscape.data_store.results import result_id, save_result
from landscape.data_store.schema import ResultSchema
from landscape.data_store.schemas.barrier import BARRIER


def record(
    kind: str = "barrier", run: str = "imp", level: int = 0, **changes: Any
) -> dict[str, Any]:
    """The record of a result about two successive levels of a run."""
    inputs = [
        {
            "address": f"{run}@{n}", "digest": hashlib.sha256(f"{run}{n}".encode()).hexdigest(),
            "run": run, "level": n, "part": "final", "density": 0.8**n,
        }
        for n in (level, level + 1)
    ]  # fmt: skip
    return {
        "kind": kind, "schema_version": [1, 0], "inputs": inputs, "task": "digits",
        "model": "mlp:64-20-10", "settings": {"points": 5},
        "data": {"digest": "d" * 64, "network": "e" * 64}, "seconds": 0.5,
        "landscape": "0.1.0", "created": f"2026-01-0{level % 9 + 1}T00:00:00+00:00", **changes,
    }  # fmt: skip


def pair(
    name: str = "imp@0 imp@1", schema: ResultSchema = BARRIER, shift: float = 0.0, **selection: Any
) -> xr.Dataset:
    """A result about one pair whose numbers begin at `shift`."""
    ds = schema.example().isel(pair=[0])
    ds = ds.assign_coords(pair=("pair", [name], ds.pair.attrs))
    for variable in ds.data_vars.values():
        if variable.dtype.kind == "f":
            variable.values += shift
    return ds.sel(**selection) if selection else ds


def saved(root: Path, ds: xr.Dataset, said: dict[str, Any]) -> Path:
    """The file of a result that was saved."""
    save_result(root, ds, said)
    return place(root, said)


def place(root: Path, said: dict[str, Any]) -> Path:
    """Where the answer to a record's question lies."""
    return layout.result_file(root, said["kind"], result_id(said))


def written(root: Path, ds: xr.Dataset, said: dict[str, Any]) -> Path:
    """A whole file under its own name, though its dataset follows no schema."""
    path = place(root, said)
    path.parent.mkdir(parents=True, exist_ok=True)
    result = Result.of(ds)
    path.write_bytes(result_image(Result(json.dumps(said), result.variables)))
    return path


def sealed(netcdf: bytes, said: bytes, table: bytes, version: int = 1) -> bytes:
    """A file with the right digest of its bytes, whatever its parts are."""
    sizes = f"{len(said):016d} {len(table):016d}"
    body = netcdf + said + table + f"landscape-result/{version:03d} {sizes} sha256 ".encode()
    return body + hashlib.sha256(body).hexdigest().encode()


def parts(content: bytes) -> tuple[bytes, bytes, list[Sequence[Any]]]:
    """netCDF image, record and table of a result's file, the table as values."""
    trailer = content[-(21 + 34 + 7 + 64) :]
    sizes = [int(word) for word in trailer.split()[1:3]]
    end = len(content) - len(trailer)
    middle = end - sizes[1]
    begin = middle - sizes[0]
    return content[:begin], content[begin:middle], json.loads(content[middle:end])
