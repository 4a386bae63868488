"""Results: one immutable netCDF-4 file each, named by the question it answers."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from landscape.data_store import layout
from landscape.data_store.atomic import write_atomic
from landscape.data_store.catalog import Catalog
from landscape.data_store.errors import LandscapeError, unknown
from landscape.data_store.result_file import read_netcdf, result_image
from landscape.data_store.schemas import SCHEMAS, TRAINING

if TYPE_CHECKING:
    from landscape.data_store.records import Level
    from landscape.data_store.store import Run


def result_id(
    kind: str,
    version: Sequence[int],
    inputs: Sequence[str],
    data: str,
    settings: Mapping[str, Any],
) -> str:
    """Digest of a question: kind, schema version, checkpoint and data digests, settings."""
    question = [kind, list(version), list(inputs), data, dict(settings)]
    return hashlib.sha256(json.dumps(question, sort_keys=True).encode()).hexdigest()[:40]


def save_result(root: Path, result: str, ds: xr.Dataset, record: Mapping[str, Any]) -> xr.Dataset:
    """Validate `ds`, add its record and content digest, and keep it as result `result`.

    The first file of an id wins. Returns the dataset as a reader will get it.

    Raises `LandscapeError` if the dataset does not follow its schema or cannot be written.
    """
    kind = str(record["kind"])
    SCHEMAS[kind].validate(ds)
    sealed = seal_dataset(ds, record)
    path = layout.result_file(root, kind, result)
    if not path.exists():
        content = sealed.to_netcdf(engine="h5netcdf", encoding=_packing(sealed))
        write_atomic(path, result_image(bytes(content)))
    return load_result(path)


def seal_dataset(ds: xr.Dataset, record: Mapping[str, Any]) -> xr.Dataset:
    """`ds` with its record as one JSON attribute and the digest of its whole content."""
    sealed = ds.copy()
    sealed.attrs = {layout.RECORD_ATTRIBUTE: json.dumps(record, sort_keys=True, allow_nan=False)}
    sealed.attrs[layout.DIGEST_ATTRIBUTE] = content_digest(sealed)
    return sealed


def load_result(path: Path) -> xr.Dataset:
    """The dataset in a result file, in memory, after its content digest was checked.

    Raises `LandscapeError`, naming the file, if it is cut, flipped or foreign.
    """
    netcdf = io.BytesIO(read_netcdf(path))
    try:
        with xr.open_dataset(
            netcdf, engine="h5netcdf", mask_and_scale=False, decode_times=False
        ) as file:
            ds = file.load()
        whole = content_digest(ds) == ds.attrs.get(layout.DIGEST_ATTRIBUTE)
    except Exception as error:  # a damaged HDF5 file may raise anything
        raise LandscapeError(f"{path} is no readable result: {error}") from error
    if not whole:
        raise LandscapeError(
            f"{path} is damaged: its content does not match its SHA-256; remove it and repeat "
            "the command that made it"
        )
    return ds


def find_result(root: Path, kind: str, result: str) -> xr.Dataset | None:
    """The stored result of an id, or None if there is none."""
    path = layout.result_file(root, kind, result)
    return load_result(path) if path.exists() else None


def record_of(ds: xr.Dataset) -> dict[str, Any]:
    """What made a dataset: kind, inputs, data, settings, versions; see ``attrs["record"]``."""
    if layout.RECORD_ATTRIBUTE not in ds.attrs:
        raise LandscapeError("this dataset carries no record; results of landscape do")
    record: dict[str, Any] = json.loads(ds.attrs[layout.RECORD_ATTRIBUTE])
    return record


def content_digest(ds: xr.Dataset) -> str:
    """SHA-256 over record, names, dims, dtypes, values and attributes."""
    digest = hashlib.sha256(str(ds.attrs.get(layout.RECORD_ATTRIBUTE)).encode())
    for name in sorted(map(str, ds.variables)):
        variable = ds.variables[name]
        values = np.ascontiguousarray(variable.values)
        if values.dtype.kind in "OTU":
            values = np.char.encode(values.astype(np.str_), "utf-8")
        attrs = {k: np.asarray(v).tolist() for k, v in variable.attrs.items()}
        digest.update(
            f"{name}{variable.dims}{values.dtype}{values.shape}{sorted(attrs.items())}".encode()
        )
        digest.update(values.tobytes())
    return digest.hexdigest()


def query(root: Path, kind: str, where: Mapping[str, Any]) -> xr.Dataset:
    """All results of `kind` in the store that match, joined along ``pair``.

    Parameters
    ----------
    where
        Conditions on the fields of the catalogue (``task``, ``model``, ``run``, ``level``,
        ``density`` of the first checkpoint, …): a value, a list, or a slice with both ends
        included.

    Points that some results lack (another α grid, another split) are NaN. The coordinate
    ``result`` names each pair's result.

    Raises `UsageError` for an unknown kind or field, `LandscapeError` if nothing matches.
    """
    if kind not in SCHEMAS or kind == TRAINING.kind:
        raise unknown("kind of result", kind, [k for k in SCHEMAS if k != TRAINING.kind])
    rows = Catalog(root).rows("results", {"kind": kind, **where})
    if not rows:
        conditions = ", ".join(f"{k}={v!r}" for k, v in where.items()) or "no condition"
        raise LandscapeError(f"no stored {kind} result matches {conditions}; see 'landscape ls'")
    parts = []
    for row in sorted(rows, key=lambda r: (r["run"], r["level"] or 0, r["inputs"], r["id"])):
        ds = load_result(root / row["path"])
        parts.append(ds.assign_coords(result=("pair", [row["id"]] * ds.sizes["pair"])))
    return join(parts)


def join(parts: Sequence[xr.Dataset]) -> xr.Dataset:
    """Datasets of one kind along ``pair``; points that one of them lacks are NaN.

    The record of several holds theirs, in order, as ``results``.
    """
    if len(parts) == 1:
        return parts[0]
    whole = xr.concat(
        parts,
        dim="pair",
        data_vars="minimal",
        coords="minimal",
        compat="override",
        join="outer",
        combine_attrs="drop",
    )
    described = {k: v for part in reversed(parts) for k, v in part.variables.items()}
    for name, variable in described.items():
        whole[name].attrs = dict(variable.attrs)
        if "flag_meanings" in variable.attrs and whole[name].dtype != variable.dtype:
            absent = variable.attrs["flag_meanings"].split().index("absent")
            whole[name] = whole[name].fillna(absent).astype(variable.dtype)
            whole[name].attrs = dict(variable.attrs)
    if all(layout.RECORD_ATTRIBUTE in part.attrs for part in parts):
        records = [record_of(part) for part in parts]
        record = {"kind": records[0]["kind"], "results": records}
        whole.attrs[layout.RECORD_ATTRIBUTE] = json.dumps(record, sort_keys=True)
    return whole


def training(runs: Sequence[Run]) -> xr.Dataset:
    """The training curves of several runs as one dataset; schema ``training``.

    Levels or steps that a run lacks are NaN, with status ``absent``.
    """
    levels = [[run.level(number) for number in run.levels] for run in runs]
    numbers = sorted({level.number for of_run in levels for level in of_run})
    steps = sorted({s for of_run in levels for lv in of_run for s in lv.trace.column("step")})
    if not numbers:
        names = ", ".join(run.name for run in runs)
        raise LandscapeError(f"no level of {names} is finished yet; train on first")
    curves = [n for n, v in TRAINING.variables.items() if v.dims == ("run", "level", "step")]
    shape = (len(runs), len(numbers), len(steps))
    arrays: dict[str, Any] = {
        name: np.full(shape if name in curves else shape[:2], np.nan) for name in TRAINING.variables
    }
    arrays["status"] = np.full(shape[:2], 2, dtype=np.int8)
    for r, of_run in enumerate(levels):
        for level in of_run:
            where = (r, numbers.index(level.number))
            at = np.searchsorted(steps, level.trace.column("step"))
            for name in curves:
                arrays[name][where][at] = level.trace.column(name)
            for name, value in _level_numbers(level).items():
                arrays[name][where] = value
    configs = [run.config for run in runs]
    coords = {
        "run": [run.name for run in runs],
        "level": numbers,
        "step": steps,
        "criterion": [config.criterion for config in configs],
        "seed": [config.seed for config in configs],
    }
    return TRAINING.build(coords, arrays)


def _level_numbers(level: Level) -> dict[str, float]:
    """The per-level variables of a training dataset."""
    row = level.trace.early_stop_row
    column = level.trace.column
    metrics = level.metrics
    return {
        "density": level.mask.density,
        "early_stop_step": np.nan if row is None else column("step")[row],
        "early_stop_test_error": np.nan if row is None else column("test_error")[row],
        "final_train_loss": metrics.get("train_loss", np.nan),
        "final_train_error": metrics.get("train_error", np.nan),
        "final_test_loss": metrics.get("test_loss", np.nan),
        "final_test_error": metrics.get("test_error", np.nan),
        "status": 1 if level.status == "diverged" else 0,
    }


def _packing(ds: xr.Dataset) -> dict[str, dict[str, Any]]:
    """Checksums and compression for every numeric array; no fill values are invented."""
    packing: dict[str, dict[str, Any]] = {}
    for name, variable in ds.variables.items():
        numeric = variable.dtype.kind in "fi"
        packing[str(name)] = {"_FillValue": None} if numeric else {}
        if numeric and variable.size > 1:
            packing[str(name)] |= {"fletcher32": True, "shuffle": True, "zlib": True}
    return packing
