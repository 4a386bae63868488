"""Data-set files: where they lie, how they are downloaded, and the IDX and CIFAR formats."""

from __future__ import annotations

import gzip
import io
import math
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt
from platformdirs import user_cache_dir

from landscape.data_store.errors import LandscapeError, UsageError, unknown

Bytes = npt.NDArray[np.uint8]
Examples = tuple[Bytes, Bytes]

TRAIN_IMAGES, TRAIN_LABELS = "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"
TEST_IMAGES, TEST_LABELS = "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"
CIFAR_ARCHIVE = "cifar-10-binary.tar.gz"

_CIFAR_TRAIN = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
_CIFAR_TEST = "test_batch.bin"
_CIFAR_RECORD = 1 + 3 * 32 * 32
_CIFAR_BATCH = 10_000 * _CIFAR_RECORD
_CIFAR_TAR = 6 * _CIFAR_BATCH + 2**20  # the six batches, the class names and the tar headers
_IDX_LIMIT = 2**30
_DEFLATE_RATIO = 1032  # zlib cannot pack tighter than this


@dataclass(frozen=True)
class Source:
    """Where the official copy of a file is, and what else may stand in for it.

    Parameters
    ----------
    address
        URL of the official file or of a public mirror.
    sha256
        Checksum of the official file, in hex: a download must have it.
    also
        Other names that are accepted in its place, best first.
    """

    address: str
    sha256: str
    also: tuple[str, ...]


def _idx_sources(base: str, sums: tuple[str, str, str, str]) -> dict[str, Source]:
    """The four IDX files below `base`; an unpacked one stands in for its .gz."""
    names = (TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS)
    return {
        name: Source(base + name, checksum, (name.removesuffix(".gz"),))
        for name, checksum in zip(names, sums, strict=True)
    }


SOURCES: Mapping[str, Mapping[str, Source]] = {
    "mnist": _idx_sources(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        (
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        ),
    ),
    "fashion-mnist": _idx_sources(
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        (
            "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        ),
    ),
    "cifar-10": {
        CIFAR_ARCHIVE: Source(
            "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
            "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
            ("cifar-10-batches-bin", "cifar-10-binary-subset.tar.gz"),
        )
    },
}


def cache_folder(dataset: str) -> Path:
    """Folder below the user's cache that holds the downloads of `dataset`."""
    return Path(user_cache_dir("landscape")) / "data" / dataset


def find(folder: Path | None, dataset: str, name: str) -> Path:
    """Where a file of a data set lies: your folder, else the user cache, else downloaded there.

    Looks for ``folder/dataset/name``, ``folder/name`` and ``cache/data/dataset/name``, in each
    place under the name and then under the names in `Source.also`. Only a download is compared
    with the official checksum: a file that you put there is yours to choose.

    Parameters
    ----------
    folder
        Data folder, or None for the user cache alone.
    dataset, name
        Keys of `SOURCES`: the data set and its standard file name.

    Raises
    ------
    UsageError
        The folder does not exist, or the data set or file is not in `SOURCES`.
    LandscapeError
        The file is nowhere and could not be downloaded.
    """
    if dataset not in SOURCES:
        raise unknown("data set", dataset, SOURCES)
    if name not in SOURCES[dataset]:
        raise unknown(f"file of {dataset}", name, SOURCES[dataset])
    if folder is not None and not folder.is_dir():
        raise UsageError(f"the data folder {folder} does not exist; give an existing folder")
    yours = [] if folder is None else [folder / dataset, folder]
    for place in [*yours, cache_folder(dataset)]:
        for spelling in (name, *SOURCES[dataset][name].also):
            if (place / spelling).exists():
                return place / spelling
    return _download(dataset, name, yours[0] if yours else cache_folder(dataset))


def _download(dataset: str, name: str, place: Path) -> Path:
    """The official file in the user cache; without a network, an error that says what to do."""
    import pooch  # 0.2 s, and rarely needed

    source = SOURCES[dataset][name]
    try:
        path = pooch.retrieve(
            source.address,
            known_hash=f"sha256:{source.sha256}",
            fname=name,
            path=cache_folder(dataset),
            progressbar=False,
        )
    except (OSError, ValueError) as error:  # ValueError: pooch's word for a wrong checksum
        wrong = "the checksum is not the official one"
        reason = wrong if isinstance(error, ValueError) else type(error).__name__
        raise LandscapeError(
            f"{name} of {dataset} could not be downloaded from {source.address} ({reason}); "
            f"put the file into {place}"
        ) from error
    return Path(path)


def read_idx(path: Path, dimensions: int) -> Bytes:
    """Array of unsigned bytes from an IDX file, gzipped or plain.

    The size that the header declares is compared with the size of the file before memory is
    taken, and no more than that size plus one byte is ever unpacked.

    Parameters
    ----------
    path
        The file; whether it is gzipped is read from its content, not from its name.
    dimensions
        Number of dimensions that the file must have: 3 for images, 1 for labels.

    Returns
    -------
    array
        Read-only uint8 array of the shape in the header; the first side counts the examples.

    Raises
    ------
    LandscapeError
        The file is not IDX, is cut or damaged, or declares a size that it cannot hold.
    """
    magic = bytes((0, 0, 8, dimensions))
    with _reading(path) as stream:
        header = stream.read(4 + 4 * dimensions)
        if header[:4] != magic:
            raise LandscapeError(
                f"{path} is not an IDX file of bytes in {dimensions} dimensions: it starts with "
                f"{header[:4].hex(' ') or 'nothing'}, expected {magic.hex(' ')}"
            )
        if len(header) < 4 + 4 * dimensions:
            raise LandscapeError(f"{path} is cut: it ends inside its header")
        shape = tuple(int(side) for side in np.frombuffer(header, ">u4", offset=4))
        size = _declared_size(path, shape)
        payload = stream.read(size + 1)
    if len(payload) != size:
        held = "more" if len(payload) > size else f"only {len(payload)}"
        raise LandscapeError(f"{path} declares {size} bytes of data and holds {held}")
    return np.frombuffer(payload, np.uint8).reshape(shape)


def _declared_size(path: Path, shape: tuple[int, ...]) -> int:
    """Bytes of an IDX array of `shape`; refuses none, and more than the file can hold."""
    size = math.prod(shape)
    limit = min(_IDX_LIMIT, _DEFLATE_RATIO * path.stat().st_size)
    if not 0 < size <= limit:
        sides = " × ".join(str(side) for side in shape)
        raise LandscapeError(
            f"the header of {path} declares {sides} bytes; "
            f"expected 1 to {limit} in a file of this length"
        )
    return size


def read_cifar(path: Path) -> tuple[Examples, Examples]:
    """Training and test examples of CIFAR-10 in its binary version, whole or in part.

    Parameters
    ----------
    path
        Folder with ``data_batch_1.bin`` … ``data_batch_5.bin`` and ``test_batch.bin``, or a
        tar archive of them (gzipped or plain), which is read without writing to disk. At least
        one training batch and the test batch must be there; batches may be short.

    Returns
    -------
    train, test
        Each a pair: images uint8 (n, 3, 32, 32), channels red, green, blue; labels uint8 (n,).

    Raises
    ------
    LandscapeError
        A batch is missing or not a whole number of records, a label is above 9, or the archive
        is cut, damaged or larger than the official one.
    """
    batches = _batches_in_folder(path) if path.is_dir() else _batches_in_archive(path)
    names = [name for name in _CIFAR_TRAIN if name in batches]
    for name, there in ((_CIFAR_TRAIN[0], bool(names)), (_CIFAR_TEST, _CIFAR_TEST in batches)):
        if not there:
            raise LandscapeError(f"{path} holds no {name}; expected the binary version of CIFAR-10")
    train = np.concatenate([_records(path, name, batches[name]) for name in names])
    return _examples(train), _examples(_records(path, _CIFAR_TEST, batches[_CIFAR_TEST]))


def _batches_in_folder(folder: Path) -> dict[str, bytes]:
    """Content of each batch file in a folder, at most one byte more than a batch has."""
    contents = {}
    for name in (*_CIFAR_TRAIN, _CIFAR_TEST):
        if (folder / name).is_file():
            with _reading(folder / name) as stream:
                contents[name] = stream.read(_CIFAR_BATCH + 1)
    return contents


def _batches_in_archive(path: Path) -> dict[str, bytes]:
    """Content of each batch file in a tar archive."""
    with _reading(path) as stream:
        # read whole, so that gzip compares its checksum, which covers every batch
        archive = stream.read(_CIFAR_TAR + 1)
    if len(archive) > _CIFAR_TAR:
        raise LandscapeError(f"{path} unpacks to more than the {_CIFAR_TAR} bytes of CIFAR-10")
    contents = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:") as tar:
            for member in tar:
                name = PurePosixPath(member.name).name
                file = tar.extractfile(member) if member.isreg() else None
                if file is not None and name in (*_CIFAR_TRAIN, _CIFAR_TEST):
                    contents[name] = file.read(_CIFAR_BATCH + 1)  # a sparse member may claim more
    except (tarfile.TarError, OverflowError, ValueError) as error:  # all of them from bad headers
        raise LandscapeError(f"{path} is not a whole tar archive: {error}") from error
    return contents


def _records(path: Path, name: str, content: bytes) -> Bytes:
    """Records (n, 3073) of one batch, checked: whole, at most 10 000, labels 0 to 9."""
    if not 0 < len(content) <= _CIFAR_BATCH or len(content) % _CIFAR_RECORD:
        held = f"more than {_CIFAR_BATCH}" if len(content) > _CIFAR_BATCH else len(content)
        raise LandscapeError(
            f"{name} in {path} has {held} bytes; expected 1 to 10000 records of {_CIFAR_RECORD}"
        )
    records = np.frombuffer(content, np.uint8).reshape(-1, _CIFAR_RECORD)
    if records[:, 0].max() > 9:
        raise LandscapeError(
            f"{name} in {path} has the label {records[:, 0].max()}; expected 0 to 9"
        )
    return records


def _examples(records: Bytes) -> Examples:
    """Images (n, 3, 32, 32) and labels (n,) of records (n, 3073)."""
    return records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0]


@contextmanager
def _reading(path: Path) -> Iterator[io.BufferedIOBase]:
    """Unpacked content of a file, gzipped or plain; one that fails is named in the error."""
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            with gzip.open(file) if packed else file as stream:
                yield stream
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise LandscapeError(f"{path} is cut or damaged: {error}; fetch it again") from error
    except OSError as error:
        raise LandscapeError(f"{path} cannot be read: {error.strerror or error}") from error
