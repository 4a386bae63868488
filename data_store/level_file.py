"""The files of levels and of content-addressed points: values and their images."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from landscape.data_store import layout
from landscape.data_store.errors import LandscapeError
from landscape.data_store.image import read_image, seal
from landscape.data_store.mask import Mask
from landscape.data_store.params import Array, ParamSpec
from landscape.data_store.records import TRACE_COLUMNS, Level, Point, Trace


def level_image(level: Level) -> bytes:
    """The bytes of a level's file: surviving weights, packed mask, the rest, the curve.

    Pruned entries are left out where all of them are the bit pattern +0.0 (encoding
    ``survivors``); a level that breaks this is kept whole (``dense``), so nothing is lost.
    """
    mask = level.mask
    names = list(level.points)
    thetas = np.stack([level.points[name].theta for name in names])
    survivors = not np.ascontiguousarray(thetas[:, ~mask.kept]).view(np.uint8).any()
    stored = mask.covered & mask.kept if survivors else mask.covered
    header = {
        "format": layout.LEVEL_FORMAT,
        "version": layout.LEVEL_VERSION,
        "level": level.number,
        "status": level.status,
        "points": names,
        "encoding": "survivors" if survivors else "dense",
        "spec": mask.spec.to_json(),
        "prunable": mask.prunable,
        "buffers": _buffer_layout(level.points[names[0]].buffers),
        "trace_columns": TRACE_COLUMNS,
        "metrics": {k: v if math.isfinite(v) else None for k, v in level.metrics.items()},
        "origins": dict(level.origins),
    }
    arrays = {
        "values": thetas[:, stored],
        "mask": mask.packed(),
        "dense": thetas[:, ~mask.covered],
        "trace": level.trace.values,
        **_pack_buffers([level.points[name].buffers for name in names]),
    }
    return seal(header, arrays, compress=True)


def read_level(path: Path) -> Level:
    """The level whose file is at `path`; raises `LandscapeError` if it is not whole."""
    header, arrays = read_image(path, format_name=layout.LEVEL_FORMAT, version=layout.LEVEL_VERSION)
    try:
        spec = ParamSpec.from_json(header["spec"])
        _require_fit(spec, header["prunable"], arrays)
        mask = Mask.unpack(spec, tuple(header["prunable"]), arrays["mask"])
        stored = mask.covered & mask.kept if header["encoding"] == "survivors" else mask.covered
        points = {}
        for row, name in enumerate(header["points"]):
            theta = np.zeros(spec.size, dtype=spec.dtype)
            theta[stored] = arrays["values"][row]
            theta[~mask.covered] = arrays["dense"][row]
            points[str(name)] = Point(theta, _unpack_buffers(header["buffers"], arrays, row))
        if "final" not in points:
            raise KeyError("final")
        return Level(
            number=int(header["level"]),
            mask=mask,
            points=points,
            trace=Trace(arrays["trace"].reshape(-1, len(TRACE_COLUMNS))),
            metrics={k: math.nan if v is None else v for k, v in header["metrics"].items()},
            origins=dict(header["origins"]),
            status=str(header["status"]),
        )
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise LandscapeError(f"{path} is an incomplete level file: {error!r}") from error


def _require_fit(spec: ParamSpec, prunable: list[str], arrays: Mapping[str, Array]) -> None:
    """Raise ValueError, before anything is allocated, unless the arrays can hold the spec."""
    covered = sum(math.prod(spec.shape(name)) for name in prunable)
    stated = (spec.size - covered, (covered + 7) // 8)
    found = (arrays["dense"].shape[-1], arrays["mask"].size)
    if stated != found:
        raise ValueError(f"arrays of {found} entries for {stated}")


def object_image(spec: ParamSpec, point: Point) -> bytes:
    """The bytes of a content-addressed point's file."""
    header = {
        "format": layout.OBJECT_FORMAT,
        "version": layout.OBJECT_VERSION,
        "spec": spec.to_json(),
        "buffers": _buffer_layout(point.buffers),
    }
    arrays = {"theta": point.theta, **_pack_buffers([point.buffers])}
    return seal(header, arrays, compress=True)


def read_object(path: Path) -> Point:
    """The point whose file is at `path`; raises `LandscapeError` if it is not whole."""
    header, arrays = read_image(
        path, format_name=layout.OBJECT_FORMAT, version=layout.OBJECT_VERSION
    )
    try:
        return Point(arrays["theta"], _unpack_buffers(header["buffers"], arrays, 0))
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise LandscapeError(f"{path} is an incomplete object file: {error!r}") from error


def _buffer_layout(buffers: Mapping[str, Array]) -> list[list[Any]]:
    """Name, shape and dtype of every buffer, in order."""
    for name, array in buffers.items():
        if array.dtype.kind not in "fiub" or array.dtype.itemsize > 8:
            raise LandscapeError(
                f"buffer {name!r} is {array.dtype}; a store keeps booleans, integers and floats "
                "up to 64 bits"
            )
    return [[name, list(array.shape), array.dtype.name] for name, array in buffers.items()]


def _pack_buffers(rows: list[Mapping[str, Array]]) -> dict[str, Array]:
    """Floating-point buffers as ``buffers``, integer ones as ``counters``: (points, size)."""
    packed = {}
    for name, kind, dtype in (("buffers", "f", np.float64), ("counters", "iub", np.int64)):
        packed[name] = np.stack(
            [
                np.concatenate(
                    [np.zeros(0, dtype)]
                    + [b.reshape(-1).astype(dtype) for b in row.values() if b.dtype.kind in kind]
                )
                for row in rows
            ]
        )
    return packed


def _unpack_buffers(
    plan: list[list[Any]], arrays: Mapping[str, Array], row: int
) -> dict[str, Array]:
    """The buffers of one point."""
    buffers: dict[str, Array] = {}
    start = {"buffers": 0, "counters": 0}
    for name, shape, dtype in plan:
        source = "buffers" if np.dtype(dtype).kind == "f" else "counters"
        stop = start[source] + math.prod(shape)
        values = arrays[source][row, start[source] : stop]
        buffers[str(name)] = values.astype(dtype).reshape(shape)
        start[source] = stop
    return buffers
