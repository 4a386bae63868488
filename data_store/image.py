"""An HDF5 image in memory: a few arrays and one JSON header, sealed by a digest."""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import math
import re
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from landscape.data_store.errors import DamagedFile, LandscapeError, OtherFormat
from landscape.data_store.files import SIZE_LIMIT, read_file
from landscape.data_store.manifest import newer
from landscape.data_store.params import Array

USER_BLOCK = 512
_MAGIC = b"landscape-image/1 sha256 "
_FILTERS = {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32}
_LARGEST_CHUNK, _SMALLEST_CHUNK = 2**20, 4096
_WORTH_PACKING, _SAMPLE = 4096, 1024  # bytes
_ZLIB_HEAD, _ZLIB_END = b"\x78\x01", b"\x03\x00"
_BEST_RATIO = 1100  # deflate cannot shrink by more
_LARGEST_HEADER = 2**24
_MOST_ARRAYS = 20_000


def seal(header: Mapping[str, Any], arrays: Mapping[str, Array], *, compress: bool) -> bytes:
    """The bytes of an HDF5 file that holds `arrays` and `header`.

    The 512-byte user block carries the SHA-256 of the rest. Equal input gives equal bytes.
    `compress` shuffles and deflates what is worth it. HDF5 1.10 or later reads it.
    """
    buffer = io.BytesIO()
    with h5py.File(
        buffer, "w", libver=("v110", "v110"), userblock_size=USER_BLOCK, track_order=False
    ) as file:
        text = np.frombuffer(json.dumps(header, sort_keys=True).encode(), dtype=np.uint8)
        for name, array in {"header": text, **arrays}.items():
            _write(file, name, np.asarray(array, order="C"), compress)
    body = buffer.getbuffer()[USER_BLOCK:]
    block = _MAGIC + hashlib.sha256(body).hexdigest().encode()
    return b"".join((block.ljust(USER_BLOCK, b"\0"), body))


def _write(file: h5py.File, name: str, array: Array, compress: bool) -> None:
    """Write one array, by calls that cost little; the SHA-256 guards it, no filter need do so."""
    chunk = _even_chunks(array.shape) if compress and array.nbytes > _WORTH_PACKING else ()
    plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plan.set_obj_track_times(False)
    if chunk:
        plan.set_chunk(chunk)
        plan.set_shuffle()
        plan.set_deflate(1)
    kind = h5py.h5t.py_create(array.dtype, logical=True)
    stored = h5py.h5d.create(
        file.id, name.encode(), kind, h5py.h5s.create_simple(array.shape), plan
    )
    if not chunk:
        if array.size:
            stored.write(h5py.h5s.ALL, h5py.h5s.ALL, array)
        return
    for corner in itertools.product(*map(range, [0] * len(chunk), array.shape, chunk)):
        piece = array[tuple(slice(i, i + n) for i, n in zip(corner, chunk, strict=True))]
        if piece.shape != chunk:  # a chunk is kept whole
            piece = np.pad(piece, [(0, n - m) for n, m in zip(chunk, piece.shape, strict=True)])
        stored.write_direct_chunk(corner, _packed(piece))


def _packed(values: Array) -> bytes:
    """Numbers as HDF5's filters shuffle and deflate leave them; `_unpacked` reads them.

    Bytes of the same significance lie together. Those of low significance are noise, on
    which deflate would spend nine tenths of its time to no end: they are stored as they are.
    The stream is an ordinary one that any zlib inflates.
    """
    planes = np.frombuffer(values.tobytes(), np.uint8).reshape(-1, values.itemsize).T.copy()
    parts = [_ZLIB_HEAD]
    for plane in planes:
        level, strategy = _effort(plane)
        packer = zlib.compressobj(level, zlib.DEFLATED, -15, 9, strategy)
        parts += [packer.compress(plane.data), packer.flush(zlib.Z_FULL_FLUSH)]
    check = zlib.adler32(planes.data).to_bytes(4, "big")
    return b"".join((*parts, _ZLIB_END, check))


def _effort(plane: Array) -> tuple[int, int]:
    """zlib's level and strategy for some bytes, judged by those in the middle.

    Exponents repeat no sequences, so that looking for some is in vain: Huffman codes do.
    """
    begin = max(0, (len(plane) - _SAMPLE) // 2)
    sample = plane[begin : begin + _SAMPLE].tobytes()
    share = len(zlib.compress(sample, 1)) / len(sample)
    if share > 0.97:
        return 0, zlib.Z_DEFAULT_STRATEGY
    return 1, zlib.Z_HUFFMAN_ONLY if share > 0.2 else zlib.Z_DEFAULT_STRATEGY


def _even_chunks(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The chunks an array is cut into: as large as may be, and of one size."""
    size, inner = math.prod(shape), math.prod(shape[1:])
    if size <= _LARGEST_CHUNK:
        return shape
    if inner > _LARGEST_CHUNK:
        return (1, *_even_chunks(shape[1:]))
    pieces = -(-size // _LARGEST_CHUNK)
    return (-(-shape[0] // pieces), *shape[1:])


Fits = Callable[[dict[str, Any], dict[str, tuple[int, ...]]], int]


def unseal(
    content: bytes,
    path: Path,
    *,
    format_name: str,
    version: tuple[int, int],
    limit: int = SIZE_LIMIT,
    fits: Fits | None = None,
) -> tuple[dict[str, Any], dict[str, Array]]:
    """Header and arrays of an image, after its digest and its structure were checked.

    Parameters
    ----------
    content, path
        The bytes, and the file that messages name.
    format_name, version
        What is expected.
    limit
        Largest sum of the arrays in bytes, checked before any is allocated.
    fits
        Called with the header and the arrays' shapes before any array but the header is read;
        returns how many bytes will be made of them, and raises ValueError if they disagree.

    Raises `DamagedFile`, naming `path`, for a cut, flipped or foreign file, one of another
    format, and one that reaches outside itself; `LandscapeError` for one of a newer major
    version or that takes more than `limit`.
    """
    body = content[USER_BLOCK:]
    stated = content[len(_MAGIC) : len(_MAGIC) + 64]
    if not content.startswith(_MAGIC) or any(content[len(_MAGIC) + 64 : USER_BLOCK]):
        raise DamagedFile(f"{path} is not a {format_name} file: its first bytes say so")
    if hashlib.sha256(body).hexdigest().encode() != stated:
        raise DamagedFile(
            f"{path} is damaged: its content does not match its SHA-256; "
            "restore it from a copy, or remove it and repeat the command that made it"
        )
    try:
        with h5py.File(h5py.h5f.open_file_image(content)) as file:
            shapes = _audit(file, path, len(content), limit)
            header = _header(file, path, format_name, version)
            if fits:
                _require_room(path, _size_made(fits, header, shapes), limit)
            return header, {name: _values(file[name]) for name in shapes}
    except (
        OSError, LookupError, ValueError, TypeError, RuntimeError, AttributeError, OverflowError,
        RecursionError, zlib.error,
    ) as error:  # fmt: skip
        raise DamagedFile(f"{path} is no readable {format_name} file: {error}") from error


def read_image(
    path: Path,
    *,
    format_name: str,
    version: tuple[int, int],
    root: Path | None = None,
    limit: int = SIZE_LIMIT,
    fits: Fits | None = None,
) -> tuple[dict[str, Any], dict[str, Array]]:
    """`unseal` of the file at `path`, read whole and closed; `root` as in `read_file`."""
    content = read_file(path, root=root, limit=limit)
    return unseal(content, path, format_name=format_name, version=version, limit=limit, fits=fits)


def _header(
    file: h5py.File, path: Path, format_name: str, version: tuple[int, int]
) -> dict[str, Any]:
    """The header of an image of the right format and version."""
    if file["header"].size > _LARGEST_HEADER:
        raise ValueError(f"its header takes {file['header'].size} bytes")
    header: dict[str, Any] = json.loads(_values(file["header"]).tobytes())
    found, major = header["format"], int(header["version"][0])
    if not re.fullmatch(r"[a-z-]{1,40}", found):
        raise ValueError(f"it says that it is {found!r:.80}")
    if found != format_name:
        raise OtherFormat(f"{path} is a {found} file; expected {format_name}", str(found))
    if major > version[0]:
        raise newer(path, major, version[0], str(header.get("written_by", "")))
    return header


def _audit(file: h5py.File, path: Path, stored: int, limit: int) -> dict[str, tuple[int, ...]]:
    """Shapes of the arrays; ValueError unless the file is a flat set of plain, honest ones."""
    shapes: dict[str, tuple[int, ...]] = {}
    sizes = []
    if len(file) > _MOST_ARRAYS:
        raise ValueError(f"it has {len(file)} arrays")
    for name in file:
        if not isinstance(file.get(name, getlink=True), h5py.HardLink):
            raise ValueError(f"{name!r} is a link to somewhere else")
        item = file[name]
        if not isinstance(item, h5py.Dataset) or len(item.attrs):
            raise ValueError(f"{name!r} is not a plain array")
        _require_numbers(name, item)
        sizes.append(_honest_size(name, item, stored))
        shapes[name] = item.shape
    _require_room(path, sum(sizes), limit)
    shapes.pop("header", None)
    return shapes


def _size_made(fits: Fits, header: dict[str, Any], shapes: dict[str, tuple[int, ...]]) -> int:
    """What `fits` returns; ValueError if it refuses in whatever way."""
    try:
        return fits(header, shapes)
    except LandscapeError as error:
        raise ValueError(str(error)) from error


def _require_room(path: Path, size: int, limit: int) -> None:
    """Raise `LandscapeError` if what a file holds takes more than `limit` bytes."""
    if size > limit:
        raise LandscapeError(
            f"{path} takes {size} bytes unpacked; more than {limit} is refused unless --max-size "
            "allows it"
        )


def _require_numbers(name: str, item: h5py.Dataset) -> None:
    """Raise ValueError unless an array is of plain numbers, in the file, under known filters."""
    plan = item.id.get_create_plist()
    if plan.get_external_count() or item.is_virtual:
        raise ValueError(f"{name!r} keeps its values in another file")
    plain = item.dtype.kind in "fiub" and item.dtype.itemsize <= 8 and item.shape is not None
    if not plain or item.id.get_type() != h5py.h5t.py_create(item.dtype, logical=True):
        raise ValueError(f"{name!r} has the type {item.dtype}; expected numbers")
    filters = [plan.get_filter(i)[0] for i in range(plan.get_nfilters())]
    if not set(filters) <= _FILTERS:
        raise ValueError(f"{name!r} uses an unknown filter")
    if len(set(filters)) < len(filters):  # deflated twice, a thousandth is a millionth
        raise ValueError(f"{name!r} uses a filter twice")


def _honest_size(name: str, item: h5py.Dataset, stored: int) -> int:
    """Size of an array in bytes; ValueError if its file is too small to hold it.

    Chunks are bounded in number too: HDF5 keeps kilobytes for each, however little is in it.
    """
    size: int = item.size * item.dtype.itemsize
    kept: int = item.id.get_storage_size()
    if item.chunks:
        pieces = math.prod(
            -(-side // step) for side, step in zip(item.shape, item.chunks, strict=True)
        )
        if math.prod(item.chunks) > 2**23 or pieces > 1 + item.size // _SMALLEST_CHUNK:
            raise ValueError(f"{name!r} has {pieces} chunks of {item.chunks}")
    if kept > stored or size > kept * (_BEST_RATIO if item.chunks else 1):
        raise ValueError(f"{name!r} claims {size} bytes and {kept} in the file")
    return size


def _values(item: h5py.Dataset) -> Array:
    """The values of an audited array.

    Chunks are inflated here, not by HDF5, which makes room for as much as comes out of one.
    """
    if not item.chunks:
        values: Array = item[...]
        return values
    plan = item.id.get_create_plist()
    filters = [plan.get_filter(i)[0] for i in range(plan.get_nfilters())]
    values = np.empty(item.shape, item.dtype)
    steps = zip(item.shape, item.chunks, strict=True)
    for corner in itertools.product(*(range(0, side, step) for side, step in steps)):
        skipped, packed = item.id.read_direct_chunk(corner)
        used = [kind for i, kind in enumerate(filters) if not skipped >> i & 1]
        chunk = _unpacked(packed, used, item.dtype, math.prod(item.chunks)).reshape(item.chunks)
        place = values[tuple(map(slice, corner, map(sum, zip(corner, item.chunks, strict=True))))]
        place[...] = chunk[tuple(map(slice, place.shape))]
    return values


def _unpacked(content: bytes, filters: list[int], dtype: np.dtype[Any], count: int) -> Array:
    """The `count` numbers in a chunk; ValueError if it holds more or fewer."""
    size = count * dtype.itemsize
    if h5py.h5z.FILTER_FLETCHER32 in filters:  # the SHA-256 says more
        content = content[:-4]
    if h5py.h5z.FILTER_DEFLATE in filters:
        content = zlib.decompressobj().decompress(content, size + 1)
    if len(content) != size:
        raise ValueError(f"a chunk of {size} bytes holds another number of them")
    if h5py.h5z.FILTER_SHUFFLE in filters:
        planes = np.frombuffer(content, np.uint8).reshape(dtype.itemsize, count)
        content = planes.T.tobytes()
    return np.frombuffer(content, dtype)
