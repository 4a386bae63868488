"""IDX against a naive reader, and damaged files byte by byte."""

from __future__ import annotations

import gzip
import os
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from landscape.data_store.errors import LandscapeError
from landscape.training.idx import read_idx
from tests.support.data_files import idx, some, written

Pack = Callable[[bytes], bytes]


def naive_idx(content: bytes) -> list[int]:
    """All values of an IDX file, by struct, one by one."""
    dimensions = content[3]
    count = 1
    for number in range(dimensions):
        count *= struct.unpack_from(">I", content, 4 + 4 * number)[0]
    start = 4 + 4 * dimensions
    return [struct.unpack_from("B", content, start + number)[0] for number in range(count)]


@pytest.mark.parametrize("shape", [(5,), (3, 4), (6, 3, 2), (2, 2, 2, 2)])
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_idx_is_what_a_naive_reader_reads(
    tmp_path: Path, shape: tuple[int, ...], pack: Pack
) -> None:
    content = idx(some(*shape))
    array = read_idx(written(tmp_path / "a", pack(content)), len(shape))
    assert array.dtype == np.uint8
    assert array.shape == shape
    assert array.ravel().tolist() == naive_idx(content)


def test_packing_is_read_from_the_content_not_the_name(tmp_path: Path) -> None:
    array = some(4, 2, 2)
    plain = written(tmp_path / "unpacked-by-the-browser.gz", idx(array))
    packed = written(tmp_path / "packed-ubyte", gzip.compress(idx(array)))
    np.testing.assert_array_equal(read_idx(plain, 3), array)
    np.testing.assert_array_equal(read_idx(packed, 3), array)


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_trap_a_cut_file_is_named_and_refused_wherever_it_is_cut(
    tmp_path: Path, pack: Pack
) -> None:
    content = pack(idx(some(4, 3, 2)))
    for length in range(len(content)):
        with pytest.raises(LandscapeError, match="cut-images"):
            read_idx(written(tmp_path / "cut-images", content[:length]), 3)


def test_trap_a_flipped_gzip_byte_is_refused_or_harmless(tmp_path: Path) -> None:
    array = some(4, 3, 2)
    content = gzip.compress(idx(array), mtime=0)
    refused = 0
    for place in range(len(content)):
        for bits in (0x01, 0x80, 0xFF):
            flipped = bytearray(content)
            flipped[place] ^= bits
            path = written(tmp_path / "flipped", bytes(flipped))
            try:
                # the time and system in the gzip header are no part of the data
                np.testing.assert_array_equal(read_idx(path, 3), array)
            except LandscapeError as error:
                assert str(path) in str(error)  # noqa: PT017
                refused += 1
    assert refused >= 3 * (len(content) - 10)  # ten bytes of gzip header


def test_a_flipped_pixel_is_told_apart_from_a_cut_file(tmp_path: Path) -> None:
    stored = gzip.compress(idx(some(4, 3, 2)), compresslevel=0)
    flipped = stored[:-12] + bytes([stored[-12] ^ 1]) + stored[-11:]
    with pytest.raises(LandscapeError, match="cut or damaged: CRC check failed"):
        read_idx(written(tmp_path / "x", flipped), 3)
    with pytest.raises(LandscapeError, match="cut or damaged: Compressed file ended"):
        read_idx(written(tmp_path / "x", stored[:-12]), 3)


@pytest.mark.parametrize(
    ("content", "starts"),
    [
        (b"", "nothing"),
        (b"\x89PNG\r\n\x1a\n" + bytes(64), "89 50 4e 47"),
        (idx(some(9)), "00 00 08 01"),  # labels where images belong
        (b"\0\0\x0c\x03" + bytes(40), "00 00 0c 03"),  # IDX of int32
        (gzip.compress(b"label,pixel0\n", mtime=0), "6c 61 62 65"),
    ],
    ids=["empty", "png", "labels", "int32", "packed-text"],
)
def test_a_foreign_file_is_refused(tmp_path: Path, content: bytes, starts: str) -> None:
    with pytest.raises(LandscapeError, match=f"foreign is not an IDX .* starts with {starts}, exp"):
        read_idx(written(tmp_path / "foreign", content), 3)


@pytest.mark.parametrize(
    "sides", [(2**32 - 1,) * 3, (60_000, 28, 28), (2**31, 1, 1), (0, 28, 28), (5, 0, 28)]
)
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_an_absurd_header_is_refused_before_memory_is_taken(
    tmp_path: Path, sides: tuple[int, int, int], pack: Pack
) -> None:
    path = written(tmp_path / "absurd", pack(struct.pack(">4B3I", 0, 0, 8, 3, *sides) + bytes(99)))
    tracemalloc.start()
    with pytest.raises(LandscapeError, match=f"absurd declares {sides[0]} × .* expected 1 to "):
        read_idx(path, 3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    bomb = gzip.compress(idx(np.zeros((1, 28, 28), np.uint8)) + bytes(2**26))
    path = written(tmp_path / "bomb", bomb)
    del bomb
    tracemalloc.start()
    with pytest.raises(LandscapeError, match="bomb declares 784 bytes of data and holds more"):
        read_idx(path, 3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**21


def test_a_short_or_long_payload_is_refused(tmp_path: Path) -> None:
    content = idx(some(4, 3, 2))
    with pytest.raises(LandscapeError, match="declares 24 bytes of data and holds only 23"):
        read_idx(written(tmp_path / "x", content[:-1]), 3)
    with pytest.raises(LandscapeError, match="declares 24 bytes of data and holds more"):
        read_idx(written(tmp_path / "x", content + b"\0"), 3)
    with pytest.raises(LandscapeError, match="x is cut: it ends inside its header"):
        read_idx(written(tmp_path / "x", content[:11]), 3)
    with pytest.raises(LandscapeError, match="cut or damaged: Not a gzipped file"):
        read_idx(written(tmp_path / "x", gzip.compress(content) + b"more"), 3)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(LandscapeError, match=r"nowhere cannot be read: No such file"):
        read_idx(tmp_path / "nowhere", 3)
    with pytest.raises(LandscapeError, match=r"cannot be read: Is a directory"):
        read_idx(tmp_path, 3)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(LandscapeError, match="pipe cannot be read: it is no plain file"):
        read_idx(tmp_path / "pipe", 3)
