"""SVHN's MATLAB files against scipy's writer and reader, and damaged ones byte by byte."""

from __future__ import annotations

import io
import os
import struct
import sys
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import scipy.io

from landscape.data_store.errors import LandscapeError
from landscape.training import svhn
from landscape.training.svhn import read_arrays, read_svhn
from tests.support.data_files import some, written


def mat(arrays: dict[str, Any], compressed: bool = False) -> bytes:
    """A MATLAB 5 file, as scipy writes it."""
    buffer = io.BytesIO()
    scipy.io.savemat(buffer, arrays, do_compression=compressed)
    return buffer.getvalue()


def digits(count: int, seed: int = 3) -> dict[str, Any]:
    """X and y of an SVHN file with labels 1, 2, …, 10, 1, …"""
    labels = (np.arange(count) % 10 + 1).astype(np.uint8)
    return {"X": some(32, 32, 3, count, seed=seed), "y": labels[:, None]}


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("count", [1, 2, 12])
def test_the_digits_are_those_that_were_written(
    tmp_path: Path, compressed: bool, count: int
) -> None:
    arrays = digits(count)
    images, labels = read_svhn(written(tmp_path / "t.mat", mat(arrays, compressed)))
    assert images.dtype == labels.dtype == np.uint8
    assert images.shape == (count, 3, 32, 32)
    for number in range(count):
        for channel, row, column in [(0, 0, 0), (1, 31, 2), (2, 5, 30)]:
            pixel = arrays["X"][row, column, channel, number]
            assert images[number, channel, row, column] == pixel
    assert labels.tolist() == [(number + 1) % 10 for number in range(count)]  # 10 is the digit 0


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize(
    "array",
    [
        some(3, 5),
        np.arange(12.0).reshape(2, 3, 2),
        np.arange(6, dtype=np.float32).reshape(3, 2),
        np.arange(-3, 3, dtype=np.int16).reshape(2, 3),
        np.arange(4, dtype=np.uint64).reshape(1, 4),
        np.zeros((0, 0), np.uint8),
        some(1, 1),
        some(2, 2),
    ],
)
def test_arrays_are_what_scipy_reads(
    tmp_path: Path, compressed: bool, array: npt.NDArray[np.generic]
) -> None:
    path = written(tmp_path / "t.mat", mat({"name": array}, compressed))
    mine = read_arrays(path)["name"]
    np.testing.assert_array_equal(mine, scipy.io.loadmat(path)["name"])
    np.testing.assert_array_equal(mine, array)


def big_endian(values: list[int]) -> bytes:
    """A file of one column of int16 as a big-endian machine writes it, by struct."""
    data = b"".join(struct.pack(">h", value) for value in values)
    parts = struct.pack(">IIII", 6, 8, 10 << 0, 0)
    parts += struct.pack(">IIii", 5, 8, len(values), 1)
    parts += struct.pack(">HHcxxx", 1, 1, b"y")
    parts += struct.pack(">II", 3, len(data)) + data + bytes(-len(data) % 8)
    header = b"MATLAB 5.0 MAT-file".ljust(116) + bytes(8) + b"\x01\x00MI"
    return header + struct.pack(">II", 14, len(parts)) + parts


def test_the_other_byte_order_is_read(tmp_path: Path) -> None:
    path = written(tmp_path / "t.mat", big_endian([1, -2, 300]))
    np.testing.assert_array_equal(scipy.io.loadmat(path)["y"], [[1], [-2], [300]])
    np.testing.assert_array_equal(read_arrays(path)["y"], [[1], [-2], [300]])


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"X": some(32, 32, 3, 2)}, "holds X; expected X and y, SVHN's arrays"),
        ({"a": some(1, 2)}, "holds a; expected X and y"),
        ({}, "holds nothing; expected X and y"),
        ({**digits(2), "z": some(1, 2)}, "holds more than 2 arrays; expected SVHN's X and y"),
        (
            {"X": some(2, 3, 32, 32), "y": digits(2)["y"]},
            r"X \(2, 3, 32, 32\) and y \(2, 1\); expected X \(32, 32, 3, n\) and y \(n, 1\)",
        ),
        ({"X": some(32, 32, 3, 2), "y": digits(3)["y"]}, r"X \(32, 32, 3, 2\) and y \(3, 1\)"),
        ({"X": some(32, 32, 3, 2), "y": digits(2)["y"].T}, r"and y \(1, 2\); expected"),
        (
            {"X": some(32, 32, 3, 2).astype(np.uint16), "y": digits(2)["y"]},
            "holds 2 images of uint16; expected 1 to 73257 of uint8",
        ),
        (
            {"X": np.zeros((32, 32, 3, 0), np.uint8), "y": np.zeros((0, 1), np.uint8)},
            "holds 0 images of uint8; expected 1 to",
        ),
        ({"X": some(32, 32, 3, 1), "y": np.uint8([[0]])}, "has a label that is not from 1 to 10"),
        ({"X": some(32, 32, 3, 1), "y": np.array([[1.5]])}, "has a label that is not from 1 to 10"),
        ({"X": some(32, 32, 3, 1), "y": np.array([[np.nan]])}, "label that is not from 1 to 10"),
    ],
)
def test_other_arrays_are_refused(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    with pytest.raises(LandscapeError, match=f"t.mat .*{message}"):
        read_svhn(written(tmp_path / "t.mat", mat(arrays)))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("text", "an array of class 4 is not one of plain numbers"),
        ({"a": 1}, "does not have the four parts of a real one"),
        (np.array([[1, "a"]], dtype=object), "does not have the four parts"),
        (np.array([[1 + 2j]]), "does not have the four parts"),
        (scipy.sparse.eye(3, format="csc"), "does not have the four parts"),
    ],
)
def test_what_is_no_array_of_real_numbers_is_refused(
    tmp_path: Path, value: Any, message: str
) -> None:
    with pytest.raises(LandscapeError, match=f"t.mat is cut or damaged: .*{message}"):
        read_svhn(written(tmp_path / "t.mat", mat({"y": value})))


@pytest.mark.parametrize(
    ("content", "starts"),
    [
        (b"", "nothing"),
        (b"\x89HDF\r\n\x1a\n" + bytes(200), "89 48 44 46"),
        (bytes(200), "00 00 00 00"),  # MATLAB 4 begins like this
        (b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + bytes(99), "4d 41 54 4c"),
    ],
)
def test_a_file_of_another_format_is_refused(tmp_path: Path, content: bytes, starts: str) -> None:
    path = written(tmp_path / "t.mat", content)
    with pytest.raises(LandscapeError, match=f"no MATLAB 5 file: it starts with {starts}$"):
        read_svhn(path)


@pytest.mark.parametrize("compressed", [True, False])
def test_trap_every_cut_and_every_flip_is_refused_or_harmless(
    tmp_path: Path, compressed: bool
) -> None:
    whole = mat({"y": np.arange(1, 10, dtype=np.uint8)[:, None], "X": some(2, 3)}, compressed)
    for length in range(len(whole)):
        path = written(tmp_path / "t.mat", whole[:length])
        with pytest.raises(LandscapeError, match=r"t\.mat"):
            read_svhn(path)
    refused = 0
    for place in range(124, len(whole)):
        for bits in (0x01, 0x08, 0x80, 0xFF):
            flipped = bytearray(whole)
            flipped[place] ^= bits
            try:
                read_arrays(written(tmp_path / "t.mat", bytes(flipped)))
            except LandscapeError as error:
                assert "t.mat" in str(error)  # noqa: PT017
                refused += 1
    assert refused > len(whole)


def element(kind: int, content: bytes) -> bytes:
    """One tagged element, padded."""
    return struct.pack("<II", kind, len(content)) + content + bytes(-len(content) % 8)


def matrix(sides: list[int], claimed: int, content: bytes) -> bytes:
    """An array of uint8 that claims some size."""
    parts = element(6, struct.pack("<II", 9, 0)) + element(
        5, struct.pack(f"<{len(sides)}i", *sides)
    )
    return parts + element(1, b"X") + struct.pack("<II", 2, claimed) + content


HEADER = b"MATLAB 5.0 MAT-file".ljust(116) + bytes(8) + b"\x00\x01IM"


@pytest.mark.parametrize(
    "body",
    [
        struct.pack("<II", 14, 2**32 - 1),
        element(14, matrix([2**31 - 1] * 4, 8, bytes(8))),
        element(14, matrix([32, 32, 3, 2**31 - 1], 2**32 - 1, bytes(8))),
        element(14, matrix([-1, -8], 8, bytes(8))),
        element(14, matrix([8], 8, bytes(8))),
        element(14, matrix([], 8, bytes(8))),
        element(14, element(14, b"") * 30),
        element(14, b"\x06\x00\x08\x00" + bytes(4)),  # 8 bytes in a tag that has room for 4
        element(15, zlib.compress(element(15, zlib.compress(b"")))),
        element(15, zlib.compress(bytes(16))),
        element(15, zlib.compress(element(9, b""))),
        element(15, b"no zlib"),
        element(9, bytes(8)),
    ],
)
def test_claims_beyond_the_file_take_no_memory(tmp_path: Path, body: bytes) -> None:
    path = written(tmp_path / "t.mat", HEADER + body)
    tracemalloc.start()
    with pytest.raises(LandscapeError, match=r"t\.mat is cut or damaged: "):
        read_svhn(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**22


def test_a_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(svhn, "_LIMIT", 2**16)
    path = written(tmp_path / "t.mat", HEADER + element(15, zlib.compress(bytes(2**24))))
    tracemalloc.start()
    with pytest.raises(LandscapeError, match="a compressed element is cut or larger than SVHN"):
        read_svhn(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20
    with pytest.raises(LandscapeError, match="has more than 65536 bytes; expected SVHN's 32 × 32"):
        read_svhn(written(tmp_path / "t.mat", HEADER + bytes(2**16)))


@pytest.mark.skipif(sys.platform == "win32", reason="no pipes and no links here")
def test_a_pipe_is_refused_and_a_link_followed(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mat")
    with pytest.raises(LandscapeError, match=r"pipe\.mat cannot be read: it is no plain file"):
        read_svhn(tmp_path / "pipe.mat")
    written(tmp_path / "real.mat", mat(digits(2)))
    (tmp_path / "link.mat").symlink_to("real.mat")
    assert len(read_svhn(tmp_path / "link.mat")[1]) == 2
