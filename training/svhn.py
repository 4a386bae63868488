"""SVHN's files: two arrays of bytes in a MATLAB 5 file.

`scipy.io.loadmat` reads such files too, but trusts them: one flipped byte in a type code crashes
the interpreter (scipy #25349), and a compressed element may claim any size. Here only arrays of
whole numbers are read, and nothing is larger than the official file.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

from landscape.data_store.errors import LandscapeError
from landscape.training.datasets import Examples, content_of_file, listed

RECORDS = 73_257  # of the training file; the test file has 26 032
_LIMIT = RECORDS * (3 * 32 * 32 + 8) + 2**16
_HEADER = 128
_ARRAYS = 2  # each may unpack to all that the limit allows
_TYPES = {
    1: "i1",
    2: "u1",
    3: "i2",
    4: "u2",
    5: "i4",
    6: "u4",
    7: "f4",
    9: "f8",
    12: "i8",
    13: "u8",
}
_MATRIX, _COMPRESSED, _INT32, _UINT32 = 14, 15, 5, 6
_NUMERIC = range(6, 16)  # array classes: float64, float32, whole numbers; others are refused

Numbers = npt.NDArray[np.generic]


@dataclass(frozen=True)
class _Element:
    """A tagged piece of a file: what its bytes are, and they."""

    kind: int
    content: memoryview


def read_svhn(path: Path) -> Examples:
    """Images and labels of ``train_32x32.mat`` or ``test_32x32.mat``, whole or in part.

    Returns
    -------
    images, labels
        uint8 (n, 3, 32, 32), channels red, green, blue, and uint8 (n,), the digits 0 to 9. In
        the file X is (32, 32, 3, n) and 0 is labelled 10.

    Raises
    ------
    LandscapeError
        The file is no MATLAB 5 file of these two arrays, is cut or damaged, or larger than the
        official ones.
    """
    arrays = read_arrays(path)
    images, labels = arrays.get("X"), arrays.get("y")
    if images is None or labels is None:
        raise LandscapeError(f"{path} holds {listed(arrays)}; expected X and y, SVHN's arrays")
    if images.shape != (32, 32, 3, len(labels)) or labels.shape != (len(labels), 1):
        raise LandscapeError(
            f"{path} holds X {images.shape} and y {labels.shape}; expected X (32, 32, 3, n) and "
            "y (n, 1)"
        )
    if images.dtype != np.uint8 or not 1 <= len(labels) <= RECORDS:
        raise LandscapeError(
            f"{path} holds {len(labels)} images of {images.dtype}; expected 1 to {RECORDS} of uint8"
        )
    if not np.isin(labels, np.arange(1, 11)).all():
        raise LandscapeError(f"{path} has a label that is not from 1 to 10, as SVHN's are")
    images = images.astype(np.uint8, copy=False).transpose(3, 2, 0, 1)
    return images, (labels[:, 0].astype(np.uint8) % 10)


def read_arrays(path: Path) -> dict[str, Numbers]:
    """The numeric arrays of a MATLAB 5 file by name, in the types they are stored in.

    Raises `LandscapeError` if it is no such file, holds anything else, is cut, or larger than
    SVHN's.
    """
    content = content_of_file(path, _LIMIT)
    if len(content) > _LIMIT:
        raise LandscapeError(f"{path} has more than {_LIMIT} bytes; expected SVHN's 32 × 32 digits")
    order = {b"\x00\x01IM": "<", b"\x01\x00MI": ">"}.get(content[124:_HEADER])
    if order is None:
        raise LandscapeError(
            f"{path} is no MATLAB 5 file: it starts with {content[:4].hex(' ') or 'nothing'}"
        )
    try:
        found = _elements(memoryview(content)[_HEADER:], order)
        arrays = [_array(element, order) for element in islice(found, _ARRAYS + 1)]
    except (ValueError, TypeError, struct.error, zlib.error) as error:
        raise LandscapeError(f"{path} is cut or damaged: {error}; fetch it again") from error
    if len(arrays) > _ARRAYS:
        raise LandscapeError(f"{path} holds more than {_ARRAYS} arrays; expected SVHN's X and y")
    return dict(arrays)


def _elements(content: memoryview, order: str) -> Iterator[_Element]:
    """The elements that follow each other in `content`; a short one lies in its tag."""
    place = 0
    while place < len(content):
        kind, size = struct.unpack_from(f"{order}II", content, place)
        start, short = place + 8, kind >> 16
        if short:
            kind, size, start = kind & 0xFFFF, short, place + 4
        if size > len(content) - start or (short and size > 4):
            raise ValueError(f"an element claims {size} bytes and has {len(content) - start}")
        yield _Element(kind, content[start : start + size])
        # compressed elements are not padded to 8 bytes
        place = start + (4 if short else size if kind == _COMPRESSED else -(-size // 8) * 8)


def _array(element: _Element, order: str) -> tuple[str, Numbers]:
    """Name and values of an array."""
    if element.kind == _COMPRESSED:
        [element] = _elements(_unpacked(element.content), order)
    if element.kind != _MATRIX:
        raise ValueError(f"an element of type {element.kind} is no array")
    flags, shape, name, values = _parts(element, order)
    kind = flags.content[0 if order == "<" else 3]
    if kind not in _NUMERIC or values.kind not in _TYPES:
        raise ValueError(f"an array of class {kind} is not one of plain numbers")
    sides = np.frombuffer(shape.content, f"{order}i4").tolist()
    numbers = np.frombuffer(values.content, f"{order}{_TYPES[values.kind]}")
    if len(sides) < 2 or min(sides) < 0 or math.prod(sides) != len(numbers):
        raise ValueError(f"an array of {sides} has {len(numbers)} numbers")
    return bytes(name.content).decode("latin-1"), numbers.reshape(sides, order="F")


def _parts(element: _Element, order: str) -> list[_Element]:
    """Flags, shape, name and values of a real array; complex ones have a fifth part."""
    parts = list(islice(_elements(element.content, order), 5))
    if [part.kind for part in parts[:3]] != [_UINT32, _INT32, 1] or len(parts) != 4:
        raise ValueError("an array does not have the four parts of a real one")
    if len(parts[0].content) != 8:
        raise ValueError("an array has no flags")
    return parts


def _unpacked(content: memoryview) -> memoryview:
    """What a compressed element holds, refused where it is larger than SVHN."""
    stream = zlib.decompressobj()
    unpacked = stream.decompress(content, _LIMIT)
    if not stream.eof:
        raise ValueError("a compressed element is cut or larger than SVHN")
    return memoryview(unpacked)
