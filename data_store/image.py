"""An HDF5 image in memory: a few arrays and one JSON header, sealed by a digest.

Every HDF5 tool opens the file. This program reads it by a table behind the HDF5 part, as HDF5
itself crashes or hangs on files that somebody made for that: no byte is ever given to its parser.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import math
import re
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
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
_LARGEST_CHUNK = 2**20
_WORTH_PACKING, _SAMPLE = 4096, 1024  # bytes
_ZLIB_HEAD, _ZLIB_END = b"\x78\x01", b"\x03\x00"
_BEST_RATIO = 1100  # deflate cannot shrink by more
_LARGEST_HEADER = 2**24


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
        places = [
            _write(file, name, np.asarray(array, order="C"), compress)
            for name, array in {"header": text, **arrays}.items()
        ]
    image = buffer.getvalue()
    table = json.dumps([place.entry(image) for place in places]).encode()
    parts = (memoryview(image)[USER_BLOCK:], table, f"{len(table):016d}".encode())
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    block = _MAGIC + digest.hexdigest().encode()
    return b"".join((block.ljust(USER_BLOCK, b"\0"), *parts))


@dataclass(frozen=True)
class _Written:
    """An array as it was written: whole, or in packed chunks, each with where HDF5 put it."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    chunk: tuple[int, ...]
    pieces: tuple[tuple[int, bytes], ...]

    def entry(self, image: bytes) -> list[Any]:
        """The line of the table."""
        places = [[_found(image, piece, at), len(piece)] for at, piece in self.pieces]
        return [self.name, self.dtype, self.shape, self.chunk, places]


def _found(image: bytes, piece: bytes, stated: int) -> int:
    """Where in an image a piece is; versions of HDF5 count from its begin, or from its block."""
    for at in (stated, stated + USER_BLOCK):
        if image.startswith(piece, at):
            return at
    return image.index(piece, USER_BLOCK)


def _write(file: h5py.File, name: str, array: Array, compress: bool) -> _Written:
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
        pieces = [(stored.get_offset() or USER_BLOCK, array.tobytes())]
        return _Written(name, array.dtype.str, array.shape, chunk, tuple(pieces))
    pieces = []
    for corner in itertools.product(*map(range, [0] * len(chunk), array.shape, chunk)):
        piece = array[tuple(slice(i, i + n) for i, n in zip(corner, chunk, strict=True))]
        if piece.shape != chunk:  # a chunk is kept whole
            piece = np.pad(piece, [(0, n - m) for n, m in zip(chunk, piece.shape, strict=True)])
        packed = _packed(piece)
        stored.write_direct_chunk(corner, packed)
        pieces.append((stored.get_chunk_info_by_coord(corner).byte_offset, packed))
    return _Written(name, array.dtype.str, array.shape, chunk, tuple(pieces))


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
        places = _places(content)
        _require_room(path, sum(place.size for place in places.values()), limit)
        header = _header(places.pop("header"), content, path, format_name, version)
        if fits:
            shapes = {name: place.shape for name, place in places.items()}
            _require_room(path, _size_made(fits, header, shapes), limit)
        return header, {name: place.values(content) for name, place in places.items()}
    except (
        LookupError, ValueError, TypeError, AttributeError, OverflowError, RecursionError,
        zlib.error,
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
    place: _Place, content: bytes, path: Path, format_name: str, version: tuple[int, int]
) -> dict[str, Any]:
    """The header of an image of the right format and version."""
    if place.size > _LARGEST_HEADER:
        raise ValueError(f"its header takes {place.size} bytes")
    header: dict[str, Any] = json.loads(place.values(content).tobytes())
    found, major = header["format"], int(header["version"][0])
    if not re.fullmatch(r"[a-z-]{1,40}", found):
        raise ValueError(f"it says that it is {found!r:.80}")
    if found != format_name:
        raise OtherFormat(f"{path} is a {found} file; expected {format_name}", str(found))
    if major > version[0]:
        raise newer(path, major, version[0], str(header.get("written_by", "")))
    return header


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


@dataclass(frozen=True)
class _Place:
    """Where an array lies in a file, whole or in packed chunks: a line of the table."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    chunk: tuple[int, ...]
    pieces: tuple[tuple[int, int], ...]

    @property
    def size(self) -> int:
        """Size of the array in bytes."""
        return math.prod(self.shape) * self.dtype.itemsize

    def values(self, content: bytes) -> Array:
        """The array; ValueError if a chunk holds more or less than it should."""
        parts = [content[start : start + size] for start, size in self.pieces]
        if not self.chunk:
            return np.frombuffer(parts[0], self.dtype).reshape(self.shape).copy()
        values = np.empty(self.shape, self.dtype)
        corners = itertools.product(*map(range, [0] * len(self.chunk), self.shape, self.chunk))
        for corner, packed in zip(corners, parts, strict=True):
            chunk = _unpacked(packed, self.dtype, math.prod(self.chunk)).reshape(self.chunk)
            ends = map(sum, zip(corner, self.chunk, strict=True))
            place = values[tuple(map(slice, corner, ends))]
            place[...] = chunk[tuple(map(slice, place.shape))]
        return values


def _places(content: bytes) -> dict[str, _Place]:
    """The table of a file; ValueError unless every line claims what the file can hold."""
    end = len(content) - 16
    if not re.fullmatch(rb"[0-9]{16}", content[end:]):
        raise ValueError("it has no table of its arrays")
    start = end - int(content[end:])
    if start < USER_BLOCK or end - start > _LARGEST_HEADER:
        raise ValueError(f"its table takes {end - start} bytes")
    places = [_place(entry, start) for entry in json.loads(content[start:end])]
    if len({place.name for place in places}) < len(places):
        raise ValueError("it holds a name twice")
    return {place.name: place for place in places}


def _place(entry: list[Any], end: int) -> _Place:
    """One line of the table; ValueError if it claims bytes that are not there."""
    name, kind, shape, chunk, pieces = entry
    if not isinstance(name, str) or not re.fullmatch(r"[<>|][fiub][1248]", kind):
        raise ValueError(f"it holds {name!r:.80} of type {kind!r:.80}")
    for number in (*shape, *chunk, *(part for piece in pieces for part in piece)):
        if type(number) is not int or number < 0:
            raise ValueError(f"{name!r} has {number!r:.80} for a length or a place")
    place = _Place(name, np.dtype(kind), tuple(shape), tuple(chunk), tuple(map(tuple, pieces)))
    whole, count = place.size, 1
    if 0 in chunk:
        raise ValueError(f"{name!r} has chunks of {chunk}")
    if chunk:
        steps = zip(shape, chunk, strict=True)
        count = math.prod(-(-side // step) for side, step in steps)
        whole = math.prod(chunk) * place.dtype.itemsize
    if len(pieces) != count or whole > place.size:
        raise ValueError(f"{name!r} of {shape} has {len(pieces)} chunks of {chunk}")
    for begin, size in place.pieces:
        if begin + size > end or whole > size * (_BEST_RATIO if chunk else 1):
            raise ValueError(f"{name!r} claims {whole} bytes and {size} in the file")
    return place


def _unpacked(content: bytes, dtype: np.dtype[Any], count: int) -> Array:
    """The `count` numbers that `_packed` packed; ValueError if it holds more or fewer."""
    size = count * dtype.itemsize
    content = zlib.decompressobj().decompress(content, size + 1)
    if len(content) != size:
        raise ValueError(f"a chunk of {size} bytes holds another number of them")
    planes = np.frombuffer(content, np.uint8).reshape(dtype.itemsize, count)
    return np.frombuffer(planes.T.tobytes(), dtype)
