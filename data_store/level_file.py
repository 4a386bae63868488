"""The files of levels and of content-addressed points: values and their images."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from landscape.data_store import layout
from landscape.data_store.errors import DamagedFile, LandscapeError
from landscape.data_store.files import SIZE_LIMIT
from landscape.data_store.image import read_image, seal
from landscape.data_store.mask import Mask
from landscape.data_store.params import Array, ParamSpec
from landscape.data_store.records import TRACE_COLUMNS, Level, Point, Trace

_MALFORMED = (LandscapeError, LookupError, TypeError, ValueError, AttributeError, OverflowError)
_BUFFER_HOMES = {
    "bool": "counters",
    **{f"{sign}int{bits}": "counters" for sign in ("", "u") for bits in (8, 16, 32, 64)},
    **{f"float{bits}": "buffers" for bits in (16, 32, 64)},
}
_MASK_BYTES = 4  # booleans of a mask while it is unpacked


def level_image(level: Level) -> bytes:
    """The bytes of a level's file: surviving weights, packed mask, the rest, the curve.

    The points are packed as by `pack_points`.
    """
    packing, arrays = pack_points(level.mask, level.points)
    header = {
        "format": layout.LEVEL_FORMAT,
        "version": layout.LEVEL_VERSION,
        "level": level.number,
        "status": level.status,
        **packing,
        "trace_columns": TRACE_COLUMNS,
        "metrics": {k: v if math.isfinite(v) else None for k, v in level.metrics.items()},
        "origins": dict(level.origins),
        "run": level.run,
    }
    return seal(header, {**arrays, "trace": level.trace.values}, compress=True)


def read_level(path: Path, *, root: Path | None = None, limit: int = SIZE_LIMIT) -> Level:
    """The level whose file is at `path`; raises `LandscapeError` if it is not whole.

    `root` and `limit` as in `read_image`.
    """
    header, arrays = read_image(
        path,
        format_name=layout.LEVEL_FORMAT,
        version=layout.LEVEL_VERSION,
        root=root,
        limit=limit,
        fits=points_fit,
    )
    try:
        mask, points = unpack_points(header, arrays)
        if "final" not in points:
            raise KeyError("final")
        return Level(
            number=int(header["level"]),
            mask=mask,
            points=points,
            trace=Trace(arrays["trace"].reshape(-1, len(TRACE_COLUMNS))),
            metrics={k: math.nan if v is None else float(v) for k, v in header["metrics"].items()},
            origins={part: str(digest) for part, digest in header["origins"].items()},
            status=str(header["status"]),
            run=str(header["run"]),
        )
    except _MALFORMED as error:
        raise DamagedFile(f"{path} is an incomplete level file: {error!r}") from error


def pack_points(mask: Mask, points: Mapping[str, Point]) -> tuple[dict[str, Any], dict[str, Array]]:
    """Header entries and arrays that hold named points of one mask.

    Pruned entries are left out where all of them are the bit pattern +0.0 (encoding
    ``survivors``); points that break this are kept whole (``dense``), so nothing is lost.
    """
    thetas = [np.ascontiguousarray(point.theta) for point in points.values()]
    buffers = [point.buffers for point in points.values()]
    bits = np.dtype(f"u{thetas[0].itemsize}")
    survivors = not any((theta.view(bits) * ~mask.kept).any() for theta in thetas)
    stored = np.flatnonzero(mask.covered & mask.kept if survivors else mask.covered)
    rest = np.flatnonzero(~mask.covered)
    header = {
        "points": list(points),
        "encoding": "survivors" if survivors else "dense",
        "spec": mask.spec.to_json(),
        "prunable": mask.prunable,
        "buffers": _buffer_layout(buffers[0]),
    }
    arrays = {
        "values": np.stack([theta[stored] for theta in thetas]),
        "mask": mask.packed(),
        "dense": np.stack([theta[rest] for theta in thetas]),
        **_pack_buffers(buffers),
    }
    return header, arrays


def unpack_points(
    header: Mapping[str, Any], arrays: Mapping[str, Array]
) -> tuple[Mask, dict[str, Point]]:
    """The mask and the points that `pack_points` wrote; `points_fit` comes first.

    Raises what lookups and conversions raise where the header is not what it wrote.
    """
    spec = ParamSpec.from_json(header["spec"])
    mask = Mask.unpack(spec, tuple(header["prunable"]), arrays["mask"])
    choices = {"survivors": mask.covered & mask.kept, "dense": mask.covered}
    stored, rest = np.flatnonzero(choices[header["encoding"]]), np.flatnonzero(~mask.covered)
    if arrays["values"].shape[1:] != stored.shape:
        raise ValueError(f"{arrays['values'].shape[1:]} values for {stored.size}")
    if {arrays[name].dtype for name in ("values", "dense")} != {np.dtype(spec.dtype)}:
        raise ValueError(f"values that are not {spec.dtype}")
    points = {}
    for row, name in enumerate(header["points"]):
        theta = np.zeros(spec.size, dtype=spec.dtype)
        theta[stored] = arrays["values"][row]
        theta[rest] = arrays["dense"][row]
        points[str(name)] = Point(theta, _unpack_buffers(header["buffers"], arrays, row))
    return mask, points


def points_fit(header: dict[str, Any], shapes: dict[str, tuple[int, ...]]) -> int:
    """Bytes that `unpack_points` makes of these arrays.

    Raises ValueError, before anything is allocated, unless they can hold what the header says.
    """
    spec = ParamSpec.from_json(header["spec"])
    covered = sum(math.prod(spec.shape(name)) for name in header["prunable"])
    points = len(header["points"])
    stated = {
        "dense": (points, spec.size - covered),
        "mask": ((covered + 7) // 8,),
        **_buffer_shapes(header["buffers"], points),
    }
    found = {name: shapes[name] for name in stated}
    if found != stated or shapes["values"][0] != points or shapes["values"][1] > covered:
        raise ValueError(f"arrays of {found} entries for {stated}")
    return spec.size * (points * np.dtype(spec.dtype).itemsize + _MASK_BYTES)


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


def read_object(
    path: Path, digest: str, *, root: Path | None = None, limit: int = SIZE_LIMIT
) -> Point:
    """The point of this digest, whose file is at `path`.

    Raises `LandscapeError` if the file is not whole or holds another point; `root` and `limit`
    as in `read_image`.
    """
    header, arrays = read_image(
        path,
        format_name=layout.OBJECT_FORMAT,
        version=layout.OBJECT_VERSION,
        root=root,
        limit=limit,
        fits=_object_fits,
    )
    try:
        spec = ParamSpec.from_json(header["spec"])
        if arrays["theta"].dtype != spec.dtype:
            raise ValueError(f"values that are not {spec.dtype}")
        point = Point(arrays["theta"], _unpack_buffers(header["buffers"], arrays, 0))
        found = point.digest(spec)
    except _MALFORMED as error:
        raise DamagedFile(f"{path} is an incomplete object file: {error!r}") from error
    if found != digest:
        raise DamagedFile(
            f"{path} holds the point {found[:12]}, not the one it is named after; it was copied "
            "or renamed: remove it, or restore it from a copy"
        )
    return point


def _object_fits(header: dict[str, Any], shapes: dict[str, tuple[int, ...]]) -> int:
    """Bytes of a point; raises ValueError unless the arrays can hold what the header says."""
    stated = {
        "theta": (ParamSpec.from_json(header["spec"]).size,),
        **_buffer_shapes(header["buffers"], 1),
    }
    if shapes != stated:
        raise ValueError(f"arrays of {shapes} entries for {stated}")
    return 0  # no more than the arrays


def _buffer_layout(buffers: Mapping[str, Array]) -> list[list[Any]]:
    """Name, shape and dtype of every buffer, in order."""
    for name, array in buffers.items():
        if array.dtype.name not in _BUFFER_HOMES:
            raise LandscapeError(
                f"buffer {name!r} is {array.dtype}; a store keeps booleans, integers and floats "
                "up to 64 bits"
            )
    return [[name, list(array.shape), array.dtype.name] for name, array in buffers.items()]


def _buffer_shapes(plan: list[list[Any]], points: int) -> dict[str, tuple[int, int]]:
    """Shapes of the arrays that hold buffers of this layout; ValueError if it is none."""
    widths = {"buffers": 0, "counters": 0}
    for name, shape, dtype in plan:
        name.encode()  # a ValueError for half a surrogate pair
        if not all(type(side) is int and side >= 0 for side in shape):
            raise ValueError(f"a buffer of shape {shape!r:.80}")
        widths[_BUFFER_HOMES[dtype]] += math.prod(shape)
    return {name: (points, width) for name, width in widths.items()}


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
        source = _BUFFER_HOMES[dtype]
        stop = start[source] + math.prod(shape)
        values = arrays[source][row, start[source] : stop]
        buffers[str(name)] = values.astype(dtype).reshape(shape)
        start[source] = stop
    return buffers
