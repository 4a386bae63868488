"""A small store made by hand, the same bytes every time: what hostile inputs are made from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from landscape.analysis.registry import ANALYSES
from landscape.data_store import layout
from landscape.data_store.level_file import level_image, object_image
from landscape.data_store.manifest import manifest_bytes
from landscape.data_store.mask import Mask
from landscape.data_store.params import ParamSpec
from landscape.data_store.records import (
    TRACE_COLUMNS,
    Checkpoint,
    Level,
    Point,
    RunConfig,
    Trace,
)
from landscape.data_store.result_file import Result, result_image
from landscape.data_store.results import result_id, with_record
from landscape.data_store.schemas.table import SCHEMAS
from landscape.data_store.settings import to_json

MODEL = "mlp:64-40-10"
CREATED = "2026-01-01T00:00:00+00:00"
SPEC = ParamSpec(
    ("fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"), ((40, 64), (40,), (10, 40), (10,))
)
PRUNABLE = ("fc1.weight", "fc2.weight")
CONFIG = to_json(RunConfig(task="digits", model=MODEL, levels=3, iterations=4, eval_every=2))
PROVENANCE = {
    "landscape": "0.1.0", "torch": "2.6.0", "numpy": "2.0.0", "python": "3.11.0",
    "platform": "made-up", "device": "cpu", "threads": 1, "cpu_capability": "AVX2",
    "created": CREATED,
}  # fmt: skip
OTHER = ParamSpec(("w",), ((2, 3),))


def mask(number: int) -> Mask:
    """The mask of a level: 0.7^number of the weights."""
    dense = Mask.dense(SPEC, PRUNABLE)
    draws = np.random.default_rng(1).random(SPEC.size)
    return Mask(SPEC, PRUNABLE, (draws < 0.7**number) | ~dense.covered)


@cache
def data() -> dict[str, Any]:
    """What a manifest says of the digits."""
    from landscape.sources import task_named

    task = task_named("digits", None, None)
    return {"digest": task.digest, "examples": {n: len(s) for n, s in task.splits.items()}}


def point(seed: int, under: Mask | None = None, *, buffered: bool = False) -> Point:
    """Gaussian weights, and buffers of both kinds if there are to be any."""
    theta = np.random.default_rng(seed).standard_normal(SPEC.size).astype(np.float32) / 4
    buffers = {"norm.mean": np.linspace(0, 1, 4, dtype=np.float32), "norm.count": np.array(7)}
    return Point(theta if under is None else under.apply(theta), buffers if buffered else {})


def level(number: int, *, buffered: bool = False) -> Level:
    """One level of the run ``imp``."""
    trace = np.random.default_rng(number).random((3, len(TRACE_COLUMNS)))
    trace[:, 0] = (0, 2, 4)
    names = ("train_loss", "train_error", "test_loss", "test_error", "early_stop_step")
    return Level(
        number=number,
        mask=mask(number),
        points={
            "final": point(10 + number, mask(number), buffered=buffered),
            "step-2": point(20, mask(number), buffered=buffered),
        },
        trace=Trace(trace),
        metrics=dict.fromkeys(names, 0.25),
        origins={"init": point(0).digest(SPEC), "rewind": point(1).digest(SPEC)},
    )


def description(name: str, *, imported: bool = False) -> dict[str, Any]:
    """The manifest of a run, without format and digest."""
    config = {k: CONFIG[k] for k in ("task", "model", "levels")} if imported else CONFIG
    made: dict[str, Any] = {
        "name": name, "written_by": "0.1.0", "config": config, "spec": SPEC.to_json(),
        "prunable": dict.fromkeys(PRUNABLE, "linear"), "init": point(0).digest(SPEC),
        "data": data(), "provenance": PROVENANCE,
    }  # fmt: skip
    if imported:
        made["imported"] = {"sources": [{"name": "model.pt", "sha256": "e" * 64}]}
    return made


def run_manifest(name: str, *, imported: bool = False) -> bytes:
    """The bytes of a run.json."""
    record = description(name, imported=imported)
    return manifest_bytes(layout.RUN_FORMAT, layout.RUN_VERSION, record)


def store_manifest() -> bytes:
    """The bytes of store.json."""
    record = {"id": "0" * 32, "written_by": "0.1.0"}
    return manifest_bytes(layout.STORE_FORMAT, layout.STORE_VERSION, record)


def final(number: int) -> Checkpoint:
    """The final weights of a level of ``imp``."""
    made = level(number)
    return Checkpoint(SPEC, made.points["final"].theta, made.mask)


def record(kind: str, first: int) -> dict[str, Any]:
    """What made a result about two levels."""
    inputs = [
        {"address": f"imp@{n}", "digest": final(n).digest, "run": "imp", "level": n,
         "part": "final", "density": 0.7**n}
        for n in (first, first + 1)
    ]  # fmt: skip
    settings = to_json(ANALYSES.load(kind).settings())
    return {
        "kind": kind, "schema_version": list(SCHEMAS[kind].version), "inputs": inputs,
        "task": "digits", "model": MODEL, "settings": settings, "seconds": 0.5, **PROVENANCE,
        **({"data": {"digest": data()["digest"], "network": MODEL}} if kind == "barrier" else {}),
    }  # fmt: skip


def result(kind: str, first: int) -> bytes:
    """The file of a result about two levels."""
    ds = SCHEMAS[kind].example().isel(pair=[0])
    return result_image(Result.of(with_record(ds, record(kind, first))))


def result_place(made: Mapping[str, Any]) -> str:
    """Where a result with this record belongs, below the store."""
    root = Path()
    return layout.result_file(root, str(made["kind"]), result_id(made)).as_posix()


def checkpoint() -> Checkpoint:
    """The last level's ticket."""
    start = point(1, mask(2), buffered=True)
    return Checkpoint(SPEC, start.theta, mask(2), start.buffers, {"test_error": 0.25},
                      address="imp@2.ticket", level=2, part="ticket", home=".")  # fmt: skip


@cache
def store_files() -> dict[str, bytes]:
    """All files of a store with the runs ``imp`` and ``mailed``, and four results."""
    files = {"store.json": store_manifest()}
    for seed in (0, 1):
        place = layout.object_file(Path(), point(seed).digest(SPEC))
        files[place.as_posix()] = object_image(SPEC, point(seed))
    for name in ("imp", "mailed"):
        mailed = name == "mailed"
        files[f"runs/{name}/run.json"] = run_manifest(name, imported=mailed)
        for number in range(3):
            image = level_image(level(number, buffered=mailed))
            files[f"runs/{name}/level_{number:04d}.h5"] = image
    files["runs/imp/log.jsonl"] = json.dumps({"time": 0.0, "level": 0, "step": 2}).encode() + b"\n"
    for kind in ("barrier", "overlap"):
        for first in (0, 1):
            files[result_place(record(kind, first))] = result(kind, first)
    return files


def write(root: Path, files: Mapping[str, bytes]) -> None:
    """Put files below a folder."""
    for name, content in files.items():
        place = root / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
