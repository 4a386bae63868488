"""CIFAR-10 and CIFAR-100 in their official files: binary version and python version."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from landscape.data_store.errors import LandscapeError
from landscape.training.batch_pickle import read_batch
from landscape.training.datasets import Bytes, Examples, content_of, content_of_file, listed

PIXELS = 3 * 32 * 32
_NAMES = 128  # bytes per record that the python version may use beside its pixels
_REST = 2**20  # class names and tar headers of an archive; headers of a pickle


@dataclass(frozen=True)
class Version:
    """How one of the sets is stored in one of its versions.

    Parameters
    ----------
    what
        The set and the version, in words.
    train, test
        Names of its files; at least one of `train` must be there, and may be short.
    records
        The most records that a file of `train` and that of `test` have.
    classes
        Labels are from 0 to this less one.
    label
        Bytes before the pixels of a record, of which the last is the label; or, in the python
        version, the key of the labels.
    """

    what: str
    train: tuple[str, ...]
    test: str
    records: tuple[int, int]
    classes: int
    label: int | bytes

    @property
    def files(self) -> tuple[str, ...]:
        """Names of all files."""
        return (*self.train, self.test)

    @property
    def record(self) -> int:
        """The most bytes of a record."""
        return PIXELS + (self.label if isinstance(self.label, int) else _NAMES)

    def limit(self, name: str) -> int:
        """The most bytes of a file."""
        rest = 0 if isinstance(self.label, int) else _REST
        return self.records[name == self.test] * self.record + rest

    @property
    def archive(self) -> int:
        """The most bytes of all files in a tar archive."""
        return sum(self.limit(name) for name in self.files) + _REST


_BATCHES = tuple(f"data_batch_{number}" for number in range(1, 6))
CIFAR10 = (
    Version(
        what="the binary version of CIFAR-10",
        train=tuple(f"{name}.bin" for name in _BATCHES),
        test="test_batch.bin",
        records=(10_000, 10_000),
        classes=10,
        label=1,
    ),
    Version(
        what="the python version of CIFAR-10",
        train=_BATCHES,
        test="test_batch",
        records=(10_000, 10_000),
        classes=10,
        label=b"labels",
    ),
)
CIFAR100 = (
    Version(
        what="the binary version of CIFAR-100",
        train=("train.bin",),
        test="test.bin",
        records=(50_000, 10_000),
        classes=100,
        label=2,
    ),
    Version(
        what="the python version of CIFAR-100",
        train=("train",),
        test="test",
        records=(50_000, 10_000),
        classes=100,
        label=b"fine_labels",
    ),
)


def read_cifar(path: Path, versions: Iterable[Version]) -> tuple[Examples, Examples]:
    """Training and test examples, whole or in part.

    Parameters
    ----------
    path
        Folder with the official files of one of the versions, or a tar archive of them (gzipped
        or plain), which is read without writing to disk. At least one training file and the
        test file must be there; they may have fewer records than the official ones.
    versions
        What may be there, the preferred first: `CIFAR10` or `CIFAR100`.

    Returns
    -------
    train, test
        Each a pair: images uint8 (n, 3, 32, 32), channels red, green, blue; labels uint8 (n,).

    Raises
    ------
    LandscapeError
        The files of no version are there, one is not a whole number of records or no pickle of
        plain arrays, a label is out of range, or the archive is cut, damaged or larger than the
        official one.
    """
    versions = tuple(versions)
    found, held = _in_folder(path, versions) if path.is_dir() else _in_archive(path, versions)
    for version in versions:
        names = [name for name in version.train if name in found]
        if names and version.test in found:
            parts = [_examples(path, version, n, found[n]) for n in (*names, version.test)]
            train = tuple(np.concatenate(column) for column in zip(*parts[:-1], strict=True))
            return (train[0], train[1]), parts[-1]
    expected = " or ".join(f"{v.what} ({v.train[0]}, … and {v.test})" for v in versions)
    raise LandscapeError(f"{path} {held}; expected {expected}")


def _in_folder(folder: Path, versions: Iterable[Version]) -> tuple[dict[str, bytes], str]:
    """Content of each file of a version, and in words what is there."""
    contents = {}
    for version in versions:
        for name in version.files:
            if (folder / name).exists():
                contents[name] = content_of_file(folder / name, version.limit(name))
    return contents, content_of(folder)


def _in_archive(path: Path, versions: tuple[Version, ...]) -> tuple[dict[str, bytes], str]:
    """As `_in_folder`, of a tar archive."""
    limit = max(version.archive for version in versions)
    # read whole, so that gzip compares its checksum, which covers every file
    archive = content_of_file(path, limit)
    if len(archive) > limit:
        raise LandscapeError(f"{path} unpacks to more than the {limit} bytes of its data set")
    limits = {name: version.limit(name) for version in versions for name in version.files}
    try:
        contents, names = _members(archive, limits)
    except (tarfile.TarError, OverflowError, ValueError) as error:  # all of them from bad headers
        raise LandscapeError(f"{path} is not a whole tar archive: {error}") from error
    return contents, f"holds {listed(names)}"


def _members(archive: bytes, limits: Mapping[str, int]) -> tuple[dict[str, bytes], list[str]]:
    """Content of the plain files in a tar archive that have a limit, and the names of all."""
    contents, names = {}, []
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:") as tar:
        for member in tar:
            name = PurePosixPath(member.name).name
            file = tar.extractfile(member) if member.isreg() else None
            if file is None:
                continue
            names.append(name)
            if name in limits:
                contents[name] = file.read(limits[name] + 1)  # a sparse member may claim more
    return contents, names


def _examples(path: Path, version: Version, name: str, content: bytes) -> Examples:
    """Images (n, 3, 32, 32) and labels (n,) of one file, checked."""
    what, limit = f"{name} in {path}", version.limit(name)
    most = version.records[name == version.test]
    if len(content) > limit:
        raise LandscapeError(f"{what} has more than {limit} bytes; expected 1 to {most} records")
    if isinstance(version.label, int):
        pixels, labels = _records(content, version.label, what, most)
    else:
        pixels, labels = _arrays(read_batch(content, what), version.label, what, most)
    if labels.max() >= version.classes:
        raise LandscapeError(
            f"{what} has the label {labels.max()}; expected 0 to {version.classes - 1}"
        )
    return pixels.reshape(-1, 3, 32, 32), labels


def _records(content: bytes, before: int, what: str, most: int) -> tuple[Bytes, Bytes]:
    """Pixels (n, 3072) and labels (n,) of a file of records."""
    record = before + PIXELS
    if not content or len(content) % record:
        raise LandscapeError(
            f"{what} has {len(content)} bytes; expected 1 to {most} records of {record}"
        )
    records = np.frombuffer(content, np.uint8).reshape(-1, record)
    return records[:, before:], records[:, before - 1]


def _arrays(batch: Mapping[bytes, object], key: bytes, what: str, most: int) -> tuple[Bytes, Bytes]:
    """Pixels (n, 3072) and labels (n,) of a python batch."""
    pixels, labels = batch.get(b"data"), batch.get(key)
    held = listed(name.decode("latin-1") for name in batch)
    if not isinstance(pixels, np.ndarray) or not isinstance(labels, list):
        raise LandscapeError(f"{what} holds {held}; expected data and {key.decode()}")
    if pixels.shape != (len(labels), PIXELS) or not 1 <= len(labels) <= most:
        raise LandscapeError(
            f"{what} has data {pixels.shape} and {len(labels)} labels; expected 1 to {most} "
            f"records of {PIXELS}"
        )
    if not all(type(label) is int and 0 <= label < 256 for label in labels):
        raise LandscapeError(f"{what} has a label that is no class number")
    return pixels, np.array(labels, np.uint8)
