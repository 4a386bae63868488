"""Files of safetensors: tensors by name, their header checked twice."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from landscape.data_store.errors import LandscapeError
from landscape.data_store.params import Array

HEADER_LIMIT = 100_000_000

_TORCH = (b"PK\x03\x04", b"\x80\x02\x8a\nl\xfc\x9cF")
_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "BOOL": "?"}
_DTYPES |= {"I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1", "U8": "u1"}


def read_safetensors(path: Path, start: bytes, size: int) -> dict[str, Array]:
    """The tensors of a plain file that begins with `start` and has `size` bytes.

    Raises `LandscapeError` as `landscape.data_store.foreign.read_state` does.
    """
    if start.startswith(_TORCH):
        raise LandscapeError(f"{path} is a file of torch.save; name it .pt")
    length = int.from_bytes(start[:8], "little")
    if size < 8 or length > min(HEADER_LIMIT, size - 8):
        raise LandscapeError(
            f"{path} is cut or no safetensors file: {length} bytes of header in {size} bytes"
        )
    try:
        with safe_open(str(path), framework="np"):
            pass  # checks dtypes, shapes and offsets
    except (SafetensorError, OSError) as error:
        raise LandscapeError(f"{path} is cut or no safetensors file: {error}") from None
    with path.open("rb") as file:
        file.seek(8)
        header = json.loads(file.read(length), object_pairs_hook=lambda p: _unique(path, p))
    header.pop("__metadata__", None)
    if not header:
        raise LandscapeError(f"{path} holds no tensor")
    return {name: _from_file(path, name, entry, 8 + length) for name, entry in header.items()}


def _unique(path: Path, pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; raises if it has a name twice."""
    entries: dict[str, Any] = {}
    for name, value in pairs:
        if name in entries:
            raise LandscapeError(f"{path} holds {name!r} twice")
        entries[name] = value
    return entries


def _from_file(path: Path, name: str, entry: Mapping[str, Any], origin: int) -> Array:
    """One tensor of a checked safetensors file; half precision as float32."""
    kind = entry["dtype"]
    if kind not in _DTYPES:
        known = ", ".join(_DTYPES)
        raise LandscapeError(f"{name!r} in {path} is of dtype {kind}; expected one of {known}")
    begin, end = entry["data_offsets"]
    dtype = np.dtype(_DTYPES[kind])
    flat = np.fromfile(path, dtype, (end - begin) // dtype.itemsize, offset=origin + begin)
    if kind == "BF16":
        flat = (flat.astype(np.uint32) << 16).view(np.float32)
    wider = np.float32 if kind == "F16" else flat.dtype.newbyteorder("=")
    shape = entry["shape"]
    try:
        return flat.astype(wider).reshape(shape)
    except (ValueError, OverflowError):
        raise LandscapeError(f"{name!r} in {path} has the impossible shape {shape}") from None
