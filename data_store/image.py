"""An HDF5 image in memory: a few arrays and one JSON header, sealed by a digest."""

from __future__ import annotations

import hashlib
import io
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from landscape.data_store.errors import LandscapeError
from landscape.data_store.params import Array

USER_BLOCK = 512
SIZE_LIMIT = 2**34
_MAGIC = b"landscape-image/1 sha256 "
_FILTERS = {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32}
_LARGEST_CHUNK = 65_536
_BEST_RATIO = 1100  # deflate cannot shrink by more


def seal(header: Mapping[str, Any], arrays: Mapping[str, Array], *, compress: bool) -> bytes:
    """The bytes of an HDF5 file that holds `arrays` and `header`.

    The 512-byte user block carries the SHA-256 of the rest. Equal input gives equal bytes.
    `compress` applies gzip-1 and shuffle; fletcher32 is always on. HDF5 1.10 or later
    reads it.
    """
    buffer = io.BytesIO()
    with h5py.File(
        buffer, "w", libver=("v110", "v110"), userblock_size=USER_BLOCK, track_order=False
    ) as file:
        text = np.frombuffer(json.dumps(header, sort_keys=True).encode(), dtype=np.uint8)
        for name, array in {"header": text, **arrays}.items():
            _write(file, name, np.asarray(array, order="C"), compress)
    body = buffer.getvalue()[USER_BLOCK:]
    block = _MAGIC + hashlib.sha256(body).hexdigest().encode()
    return block.ljust(USER_BLOCK, b"\0") + body


def _write(file: h5py.File, name: str, array: Array, compress: bool) -> None:
    """Write one array in even chunks: a chunk that is not full is stored padded."""
    if array.size == 0 or array.ndim == 0:
        file.create_dataset(name, data=array, track_times=False)
        return
    chunks = array.shape
    if array.size > _LARGEST_CHUNK:
        width = array.shape[-1]
        pieces = -(-width // _LARGEST_CHUNK)
        chunks = (*(1 for _ in array.shape[1:]), -(-width // pieces))
    packing: dict[str, Any] = {"compression": "gzip", "compression_opts": 1, "shuffle": True}
    file.create_dataset(
        name,
        data=array,
        chunks=chunks,
        fletcher32=True,
        track_times=False,
        **(packing if compress else {}),
    )


def unseal(
    content: bytes, path: Path, *, format_name: str, version: tuple[int, int]
) -> tuple[dict[str, Any], dict[str, Array]]:
    """Header and arrays of an image, after its digest and its structure were checked.

    Raises `LandscapeError`, naming `path`, for a cut, flipped or foreign file, one of
    another format or of a newer major version, and one that reaches outside itself.
    """
    body = content[USER_BLOCK:]
    stated = content[len(_MAGIC) : len(_MAGIC) + 64]
    if not content.startswith(_MAGIC) or any(content[len(_MAGIC) + 64 : USER_BLOCK]):
        raise LandscapeError(f"{path} is not a {format_name} file: its first bytes say so")
    if hashlib.sha256(body).hexdigest().encode() != stated:
        raise LandscapeError(
            f"{path} is damaged: its content does not match its SHA-256; "
            "restore it from a copy, or remove it and repeat the command that made it"
        )
    try:
        with h5py.File(io.BytesIO(content), "r") as file:
            _audit(file, len(content))
            arrays = {name: file[name][...] for name in file}
        header = json.loads(arrays.pop("header").tobytes())
        found, major = header["format"], int(header["version"][0])
    except (
        OSError, LookupError, ValueError, TypeError, RuntimeError, AttributeError, OverflowError,
    ) as error:  # fmt: skip
        raise LandscapeError(f"{path} is no readable {format_name} file: {error}") from error
    if found != format_name:
        raise LandscapeError(f"{path} is a {found} file; expected {format_name}")
    if major > version[0]:
        raise LandscapeError(
            f"{path} is of format version {major}; this version reads up to {version[0]}: "
            "update landscape"
        )
    return header, arrays


def read_image(
    path: Path, *, format_name: str, version: tuple[int, int]
) -> tuple[dict[str, Any], dict[str, Array]]:
    """`unseal` of the file at `path`, read whole and closed."""
    try:
        if path.stat().st_size > SIZE_LIMIT:
            raise LandscapeError(
                f"{path} has {path.stat().st_size} bytes; more than {SIZE_LIMIT} is refused"
            )
        content = path.read_bytes()
    except OSError as error:
        raise LandscapeError(f"cannot read {path}: {error.strerror}") from error
    return unseal(content, path, format_name=format_name, version=version)


def _audit(file: h5py.File, stored: int) -> None:
    """Raise ValueError unless the file is a flat set of plain, honest arrays."""
    total = 0
    for name in file:
        if not isinstance(file.get(name, getlink=True), h5py.HardLink):
            raise ValueError(f"{name!r} is a link to somewhere else")
        item = file[name]
        if not isinstance(item, h5py.Dataset) or len(item.attrs):
            raise ValueError(f"{name!r} is not a plain array")
        plan = item.id.get_create_plist()
        if plan.get_external_count() or item.is_virtual:
            raise ValueError(f"{name!r} keeps its values in another file")
        if item.dtype.kind not in "fiub" or item.dtype.itemsize > 8 or item.shape is None:
            raise ValueError(f"{name!r} has the type {item.dtype}; expected numbers")
        filters = {plan.get_filter(i)[0] for i in range(plan.get_nfilters())}
        if not filters <= _FILTERS:
            raise ValueError(f"{name!r} uses an unknown filter")
        total += item.size * item.dtype.itemsize
        if item.chunks and math.prod(item.chunks) > 2**23:
            raise ValueError(f"{name!r} has chunks of {item.chunks}")
    if total > stored * _BEST_RATIO:
        raise ValueError(f"{stored} bytes cannot hold the {total} they claim")
