"""Small data sets in the true formats of the large ones, written from their specifications."""

from __future__ import annotations

import gzip
import io
import itertools
import struct
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
PIXELS = 3072


def some(*shape: int, seed: int = 7) -> Bytes:
    """Random bytes, the same at every call."""
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def written(path: Path, content: bytes) -> Path:
    """`path`, holding `content`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def idx(array: Bytes) -> bytes:
    """IDX content, by struct."""
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    return header + array.tobytes()


def records(count: int, seed: int, classes: int = 10, before: int = 1) -> bytes:
    """CIFAR records with random pixels and labels; what precedes the label is random too."""
    table = some(count, before + PIXELS, seed=seed)
    table[:, before - 1] %= classes
    return table.tobytes()


def tar_of(members: Mapping[str, bytes], folder: str = "cifar-10-batches-bin") -> bytes:
    """A plain tar archive of these files in this order."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(f"{folder}/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def tar_gz(members: Mapping[str, bytes], folder: str = "cifar-10-batches-bin") -> bytes:
    """The same, gzipped."""
    return gzip.compress(tar_of(members, folder), compresslevel=1, mtime=0)


class Python2Pickle:
    """Python 2's cPickle at protocol 2, for what CIFAR's files hold; opcode for opcode."""

    def __init__(self) -> None:
        self.content = bytearray(b"\x80\x02")
        self._memo: dict[bytes, int] = {}
        self._puts = itertools.count(1)

    def dictionary(self, values: Mapping[bytes, object]) -> bytes:
        """The whole file."""
        self.content += b"}" + self._put()
        self.content += b"("
        for key, value in values.items():
            self._value(key)
            self._value(value)
        return bytes(self.content + b"u.")

    def _value(self, value: object) -> None:
        if isinstance(value, bytes):
            self._string(value)
        elif isinstance(value, np.ndarray):
            self._array(value)
        elif isinstance(value, Sequence):
            self._list(value)
        else:
            assert isinstance(value, int)
            self.content += self._integer(value)

    def _put(self) -> bytes:
        place = next(self._puts)
        return struct.pack("<cB", b"q", place) if place < 256 else struct.pack("<cI", b"r", place)

    def _string(self, value: bytes) -> None:
        if value in self._memo:
            place = self._memo[value]
            get = (
                struct.pack("<cB", b"h", place) if place < 256 else struct.pack("<cI", b"j", place)
            )
            self.content += get
            return
        short = len(value) < 256
        head = (
            struct.pack("<cB", b"U", len(value)) if short else struct.pack("<ci", b"T", len(value))
        )
        self.content += head + value
        self._remember(value)

    def _remember(self, value: bytes) -> None:
        put = self._put()
        self._memo[value] = put[1] if len(put) == 2 else struct.unpack("<I", put[1:])[0]
        self.content += put

    def _list(self, values: Sequence[object]) -> None:
        self.content += b"]" + self._put()
        for start in range(0, len(values), 1000):  # cPickle's batches
            self.content += b"("
            for value in values[start : start + 1000]:
                self._value(value)
            self.content += b"e"

    @staticmethod
    def _integer(value: int) -> bytes:
        if 0 <= value < 256:
            return struct.pack("<cB", b"K", value)
        return (
            struct.pack("<cH", b"M", value)
            if 0 <= value < 65536
            else struct.pack("<ci", b"J", value)
        )

    def _array(self, array: npt.NDArray[np.generic]) -> None:
        rows, columns = array.shape
        by_columns = array.flags.f_contiguous and not array.flags.c_contiguous
        self.content += b"cnumpy.core.multiarray\n_reconstruct\n" + self._put()
        self.content += b"cnumpy\nndarray\n" + self._put() + b"K\x00\x85" + self._put()
        self._string(b"b")
        self.content += b"\x87" + self._put() + b"R" + self._put()
        self.content += (
            b"(K\x01" + self._integer(rows) + self._integer(columns) + b"\x86" + self._put()
        )
        self.content += b"cnumpy\ndtype\n" + self._put()
        self._string(array.dtype.str[1:].encode())
        self.content += b"K\x00K\x01\x87" + self._put() + b"R" + self._put() + b"(K\x03"
        self._string(b"|")
        self.content += b"NNN" + self._integer(-1) * 2 + b"K\x00tb"
        self.content += b"\x88" if by_columns else b"\x89"
        content = array.tobytes(order="F" if by_columns else "C")
        self.content += struct.pack("<ci", b"T", len(content)) + content + b"tb"


def python_batch(content: bytes, labels: bytes = b"labels", before: int = 1) -> bytes:
    """The python version of a file of binary records."""
    table = np.frombuffer(content, np.uint8).reshape(-1, before + PIXELS)
    batch: dict[bytes, object] = {
        b"batch_label": b"training batch 1 of 5",
        labels: table[:, before - 1].tolist(),
        b"data": np.ascontiguousarray(table[:, before:]),
        b"filenames": [b"leptodactylus_s_%06d.png" % number for number in range(len(table))],
    }
    if before == 2:
        batch[b"coarse_labels"] = table[:, 0].tolist()
    return Python2Pickle().dictionary(batch)
