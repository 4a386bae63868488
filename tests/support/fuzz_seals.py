"""Seals set right again, so that damage inside a file reaches what reads it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from functools import lru_cache
from random import Random
from typing import Any

import h5py
import numpy as np

from landscape.data_store import image as landscape_image
from tests.support.fuzz import NUMBERS, altered, damaged, json_bytes

BLOCK = 512
IMAGE_MAGIC = b"landscape-image/1 sha256 "
INDEX_MAGIC = b"landscape-index/1 sha256 "
_WORD = 0xFFFFFFFF

# structures of HDF5 that end in a checksum of all before
_SIGNATURES = (
    b"\x89HDF\r\n\x1a\n", b"OHDR", b"OCHK", b"FAHD", b"FADB", b"EAHD", b"EAIB", b"EASB", b"EADB",
    b"BTHD", b"BTLF", b"BTIN", b"FRHP", b"FHIB", b"FSHD", b"FSSE", b"SMTB", b"SMLI",
)  # fmt: skip
_LONGEST = 600


def image(body: bytes) -> bytes:
    """An HDF5 body under the seal of a landscape image."""
    block = IMAGE_MAGIC + hashlib.sha256(body).hexdigest().encode()
    return block.ljust(BLOCK, b"\0") + body


def manifest(content: bytes) -> bytes:
    """JSON bytes with the last ``sha256`` in them set right, if there is one."""
    head, key, tail = content.rpartition(b'"sha256": "')
    if not key or len(tail) < 64:
        return content
    blank = head + key + b"0" * 64 + tail[64:]
    return head + key + hashlib.sha256(blank).hexdigest().encode() + tail[64:]


def result(
    netcdf: bytes, record: bytes, table: bytes, sizes: tuple[int, int] | None = None
) -> bytes:
    """A result's file of these parts; `sizes` are stated instead of their own."""
    first, second = sizes or (len(record), len(table))
    trailer = f"landscape-result/001 {first:016d} {second:016d} sha256 ".encode()
    body = netcdf + record + table + trailer
    return body + hashlib.sha256(body).hexdigest().encode()


def result_parts(content: bytes) -> tuple[bytes, bytes, bytes]:
    """netCDF image, record and table of a good result's file."""
    fields = content[-64 - 7 - 34 :].split(b" ")
    first, second = int(fields[0]), int(fields[1])
    end = len(content) - 64 - 7 - 34 - len(b"landscape-result/001 ")
    return (
        content[: end - first - second],
        content[end - first - second : end - second],
        content[end - second : end],
    )


def index(database: bytes) -> bytes:
    """An SQLite database under the seal of a landscape index."""
    return database + INDEX_MAGIC + hashlib.sha256(database).hexdigest().encode()


def damaged_hdf5(draws: Random, content: bytes) -> bytes:
    """A sealed image damaged inside; half of the time HDF5's own checksums are set right too."""
    body = content[BLOCK:]
    pieces = _pieces(body)
    if not pieces or draws.random() < 0.5:
        return image(damaged(draws, body))
    broken = bytearray(body)
    for _ in range(draws.choice((1, 1, 2, 3))):
        start, end = draws.choice(pieces)
        _spoil(draws, broken, start + 4, end)
        broken[end : end + 4] = lookup3(bytes(broken[start:end])).to_bytes(4, "little")
    return image(bytes(broken))


def _spoil(draws: Random, content: bytearray, start: int, end: int) -> None:
    """Change one to four places of a structure without moving its end."""
    for _ in range(draws.choice((1, 1, 2, 4))):
        at = draws.randrange(start, end)
        if draws.random() < 0.4:
            content[at] ^= 1 << draws.randrange(8)
            continue
        width = min(draws.choice((1, 1, 2, 4, 8)), end - at)
        number = int(draws.choice([n for n in NUMBERS if isinstance(n, int)])) % 256**width
        if draws.random() < 0.3:
            number = draws.randrange(256**width)
        content[at : at + width] = number.to_bytes(width, "little")


@lru_cache(maxsize=64)
def _pieces(body: bytes) -> list[tuple[int, int]]:
    """Begin and end (where the checksum is) of every checked structure in an HDF5 body."""
    found = []
    for signature in _SIGNATURES:
        start = body.find(signature)
        while start >= 0:
            for end in _ends(body, start, signature):
                if lookup3(body[start:end]).to_bytes(4, "little") == body[end : end + 4]:
                    found.append((start, end))
                    break
            start = body.find(signature, start + 4)
    return found


def _ends(body: bytes, start: int, signature: bytes) -> Iterable[int]:
    """Where a structure may end: an object's header says so, others are tried."""
    if signature == _SIGNATURES[0]:
        return [start + 44]
    if signature == b"OHDR" and len(body) > start + 40:
        flags = body[start + 5]
        begun = start + 6 + (16 if flags & 0x20 else 0) + (4 if flags & 0x10 else 0)
        width = 1 << (flags & 3)
        return [begun + width + int.from_bytes(body[begun : begun + width], "little")]
    return range(start + 8, min(start + _LONGEST, len(body) - 4) + 1)


def lookup3(content: bytes) -> int:
    """Jenkins' lookup3 hash, HDF5's checksum of its metadata."""
    a = b = c = (0xDEADBEEF + len(content)) & _WORD
    full = max(0, (len(content) - 1) // 12 * 12)
    for i in range(0, full, 12):
        a = (a + int.from_bytes(content[i : i + 4], "little")) & _WORD
        b = (b + int.from_bytes(content[i + 4 : i + 8], "little")) & _WORD
        c = (c + int.from_bytes(content[i + 8 : i + 12], "little")) & _WORD
        a = (a - c & _WORD) ^ _turned(c, 4)
        c = c + b & _WORD
        b = (b - a & _WORD) ^ _turned(a, 6)
        a = a + c & _WORD
        c = (c - b & _WORD) ^ _turned(b, 8)
        b = b + a & _WORD
        a = (a - c & _WORD) ^ _turned(c, 16)
        c = c + b & _WORD
        b = (b - a & _WORD) ^ _turned(a, 19)
        a = a + c & _WORD
        c = (c - b & _WORD) ^ _turned(b, 4)
        b = b + a & _WORD
    rest = content[full:].ljust(12, b"\0")
    if not content:
        return c
    a = a + int.from_bytes(rest[0:4], "little") & _WORD
    b = b + int.from_bytes(rest[4:8], "little") & _WORD
    c = c + int.from_bytes(rest[8:12], "little") & _WORD
    c = ((c ^ b) - _turned(b, 14)) & _WORD
    a = ((a ^ c) - _turned(c, 11)) & _WORD
    b = ((b ^ a) - _turned(a, 25)) & _WORD
    c = ((c ^ b) - _turned(b, 16)) & _WORD
    a = ((a ^ c) - _turned(c, 4)) & _WORD
    b = ((b ^ a) - _turned(a, 14)) & _WORD
    return ((c ^ b) - _turned(b, 24)) & _WORD


def _turned(value: int, bits: int) -> int:
    """A 32-bit word rotated to the left."""
    return (value << bits | value >> (32 - bits)) & _WORD


def with_header(content: bytes, header: bytes) -> bytes:
    """A sealed image whose JSON header is replaced."""
    arrays = {**opened(content), "header": np.frombuffer(header, np.uint8)}
    return landscape_image.seal({}, arrays, compress=True)


def header_of(content: bytes) -> dict[str, Any]:
    """The JSON header of a good image."""
    header: dict[str, Any] = json.loads(opened(content)["header"].tobytes())
    return header


def opened(content: bytes) -> dict[str, Any]:
    """All arrays of a good image, the header among them, as HDF5 has them."""
    with h5py.File(h5py.h5f.open_file_image(content)) as file:
        return {name: file[name][...] for name in file}


def damaged_table(draws: Random, content: bytes) -> bytes:
    """A sealed image whose table of arrays is altered: places, shapes, types, chunks, sizes."""
    size = int(content[-16:])
    body, table = content[BLOCK : -16 - size], json.loads(content[-16 - size : -16])
    how = draws.randrange(8)
    if how == 0:
        table += [[f"x{i}", *table[0][1:]] for i in range(draws.choice((2, 3000)))]
    elif how == 1:
        entry = draws.choice(table)
        entry[2] = draws.choice(([0, 2**62], [2**62, 0], [0] * 70, [2**31, 2**31], [], [-1], [1e9]))
    elif how == 2:
        entry = draws.choice(table)
        entry[3], entry[2] = (
            draws.choice(([0], [1], [2**40], [1, 1])),
            [draws.choice((1, 2**40, 10**6))],
        )
    else:
        table = altered(draws, table)
    text = json_bytes(draws, table)
    stated = len(text) if draws.random() < 0.95 else abs(int(draws.choice((0, 1, 10**9, size))))
    return image(body + text + f"{stated:016d}".encode())
