"""Made-up results: thousands of files by changing the numbers in one real file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from landscape.data_store import layout
from landscape.data_store.params import Array
from landscape.data_store.result_file import Result, result_image
from landscape.data_store.results import result_id, with_record
from landscape.data_store.schemas.barrier import BARRIER, DEFINITIONS

PAIRS, POINTS, SPLITS = 10, 25, ("train", "test")
_TASKS = {"mnist": "lenet-300-100", "fashion-mnist": "lenet-300-100", "digits": "mlp:64-32-10"}
_RECORD_SIZE = 2_000
_CIRCUMSTANCES = {
    "batch_size": 10_000,
    "landscape": "0.1.0",
    "torch": "2.13.0+cpu",
    "numpy": "2.4.6",
    "python": "3.11.7",
    "platform": "Linux-6.1-x86_64-with-glibc2.36",
    "device": "cpu",
    "threads": 2,
    "cpu_capability": "AVX512",
}


def write_results(root: Path, runs: int) -> list[Path]:
    """Keep the barriers between neighbours in `runs` runs of 11 levels in the store at `root`.

    3 of 8 runs are of the task mnist, as many of fashion-mnist, the rest of digits; level k has
    density 0.8^k. Numbers, labels, record, id and digest of each file are its own: those of one
    real file are replaced by others of the same length, since a netCDF library takes a tenth
    of a second to lay out a file.

    Returns the paths.
    """
    draws = np.random.default_rng(0)
    first = _first(draws)
    image = result_image(first)
    paths = []
    for number, task in zip(range(runs), _tasks(), strict=False):
        for level in range(PAIRS):
            result = _other(first, draws, f"run-{number:04d}", task, level)
            path = layout.result_file(root, BARRIER.kind, result_id(json.loads(result.record)))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(_changed(image, first, result))
            paths.append(path)
    return paths


def _tasks() -> Iterator[str]:
    """The task of each run."""
    mnist, fashion, digits = _TASKS
    while True:
        yield from (mnist, fashion, digits, mnist, fashion, digits, mnist, fashion)


def _first(draws: np.random.Generator) -> Result:
    """A barrier as the analysis gives it, all its numbers drawn at random."""
    sizes = {"pair": 1, "split": len(SPLITS), "alpha": POINTS, "definition": len(DEFINITIONS)}
    known: dict[str, Any] = {
        "pair": ["run-none@98 run-none@99"],
        "run": ["run-none"],
        "split": list(SPLITS),
        "alpha": np.linspace(0, 1, POINTS),
        "definition": list(DEFINITIONS),
        "status": np.zeros((1, len(SPLITS)), np.int8),
    }
    wanted = {**BARRIER.coordinates, **BARRIER.variables}
    arrays = {
        name: known.get(name, draws.random([sizes[dim] for dim in variable.dims]))
        for name, variable in wanted.items()
        if not variable.optional
    }
    ds = BARRIER.build(
        {name: values for name, values in arrays.items() if name in BARRIER.coordinates},
        {name: values for name, values in arrays.items() if name in BARRIER.variables},
    )
    result = Result.of(with_record(ds, {}))
    return replace(result, record=_record("mnist", "run-none", 98))


def _other(first: Result, draws: np.random.Generator, run: str, task: str, level: int) -> Result:
    """The same with other numbers, as the barrier from a level of a run to the next."""
    known: dict[str, Any] = {
        "pair": f"{run}@{level:02d} {run}@{level + 1:02d}",
        "run": run,
        "level_a": level,
        "level_b": level + 1,
        "density_a": 0.8**level,
        "density_b": 0.8 ** (level + 1),
    }
    variables = {}
    for name, variable in first.variables.items():
        values = variable.values
        if name in known:
            values = np.full(values.shape, known[name], values.dtype)
        elif name in BARRIER.variables and values.dtype.kind == "f":
            values = draws.random(values.shape)
        variables[name] = variable._replace(values=values)
    return Result(_record(task, run, level), variables)


def _record(task: str, run: str, level: int) -> str:
    """What made a barrier, as JSON padded to one length."""
    inputs = [
        {
            "address": f"{run}@{number:02d}",
            "digest": hashlib.sha256(f"{run}@{number}".encode()).hexdigest(),
            "run": run,
            "level": number,
            "part": "final",
            "density": 0.8**number,
        }
        for number in (level, level + 1)
    ]
    record = {
        "kind": BARRIER.kind,
        "schema_version": list(BARRIER.version),
        "inputs": inputs,
        "task": task,
        "model": _TASKS[task],
        "settings": {
            "points": POINTS, "splits": SPLITS, "refine": False, "tolerance": 1e-3,
            "bn": "interpolate",
        },
        "seconds": 1.234,
        "data": {
            "digest": hashlib.sha256(task.encode()).hexdigest(),
            "network": hashlib.sha256(_TASKS[task].encode()).hexdigest(),
            "examples": {"train": 55_000, "test": 10_000},
        },
        "created": f"2026-01-01T00:{level:02d}:00+00:00",
        **_CIRCUMSTANCES,
    }  # fmt: skip
    return json.dumps(record, sort_keys=True).ljust(_RECORD_SIZE)


def _changed(image: bytes, first: Result, result: Result) -> bytes:
    """The file of `result`, made of that of `first`: its values in their place, sealed anew."""
    body = image[:-64].replace(first.record.encode(), result.record.encode())
    for name, variable in result.variables.items():
        before, after = _stored(first.variables[name].values), _stored(variable.values)
        if before != after:
            if body.count(before) != 1 or len(before) != len(after):
                raise ValueError(f"the values of {name} are not found in one place")
            body = body.replace(before, after)
    return body + hashlib.sha256(body).hexdigest().encode()


def _stored(values: Array) -> bytes:
    """The bytes of an array in a result's file."""
    return (np.char.encode(values, "utf-8") if values.dtype.kind == "U" else values).tobytes()
