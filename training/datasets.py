"""Data-set files: where they lie, how they are downloaded, and how one is opened."""

from __future__ import annotations

import gzip
import io
import os
import stat
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from platformdirs import user_cache_dir

from landscape.data_store.errors import LandscapeError, UsageError, unknown

Bytes = npt.NDArray[np.uint8]
Examples = tuple[Bytes, Bytes]

TRAIN_IMAGES, TRAIN_LABELS = "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"
TEST_IMAGES, TEST_LABELS = "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"
CIFAR10_ARCHIVE, CIFAR100_ARCHIVE = "cifar-10-binary.tar.gz", "cifar-100-binary.tar.gz"
SVHN_TRAIN, SVHN_TEST = "train_32x32.mat", "test_32x32.mat"

DEFLATE_RATIO = 1032  # zlib cannot pack tighter than this
_NAMED = 6  # files named in an error, out of what a folder holds


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
        CIFAR10_ARCHIVE: Source(
            "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
            "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
            (
                "cifar-10-batches-bin",
                "cifar-10-python.tar.gz",
                "cifar-10-batches-py",
                "cifar-10-binary-subset.tar.gz",
            ),
        )
    },
    "cifar-100": {
        CIFAR100_ARCHIVE: Source(
            "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
            "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
            ("cifar-100-binary", "cifar-100-python.tar.gz", "cifar-100-python"),
        )
    },
    "svhn": {
        SVHN_TRAIN: Source(
            "http://ufldl.stanford.edu/housenumbers/train_32x32.mat",
            "435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8",
            (),
        ),
        SVHN_TEST: Source(
            "http://ufldl.stanford.edu/housenumbers/test_32x32.mat",
            "cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b",
            (),
        ),
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
    places = places_of(folder, dataset)
    for place in places:
        for spelling in (name, *SOURCES[dataset][name].also):
            if (place / spelling).exists():
                return place / spelling
    return _download(dataset, name, places[0])


def places_of(folder: Path | None, dataset: str) -> list[Path]:
    """The folders that may hold a data set, best first: below yours, yours, the user cache.

    Raises `UsageError` if your folder does not exist.
    """
    if folder is not None and not folder.is_dir():
        raise UsageError(f"the data folder {folder} does not exist; give an existing folder")
    yours = [] if folder is None else [folder / dataset, folder]
    return [*yours, cache_folder(dataset)]


def listed(names: Iterable[str]) -> str:
    """The first few names, sorted, for an error: ``a, b and 3 more``; ``nothing`` for none."""
    found = sorted(name for name in names if not name.startswith("."))
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return ", ".join(found[:_NAMED]) + more if found else "nothing"


def content_of(folder: Path) -> str:
    """What a folder holds, for an error: as `listed`, or that it does not exist."""
    try:
        return f"holds {listed(path.name for path in folder.iterdir())}"
    except OSError:
        return "does not exist"


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
            f"put the file into {place}, which {content_of(place)}"
        ) from error
    return Path(path)


@contextmanager
def reading(path: Path) -> Iterator[io.BufferedIOBase]:
    """Unpacked content of a file, gzipped or plain; one that fails is named in the error.

    Raises `LandscapeError` if it is no plain file (a pipe is not waited for), cannot be read,
    or turns out to be cut while it is.
    """
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise LandscapeError(f"{path} cannot be read: it is no plain file")
            packed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            with gzip.open(file) if packed else file as stream:
                yield stream
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise LandscapeError(f"{path} is cut or damaged: {error}; fetch it again") from error
    except OSError as error:
        raise LandscapeError(f"{path} cannot be read: {error.strerror or error}") from error


def content_of_file(path: Path, limit: int) -> bytes:
    """Unpacked content of a file, gzipped or plain: up to `limit` bytes, and one more if it has it.

    Raises as `reading`.
    """
    with reading(path) as stream:
        # memory is taken for all that is asked for: ask for no more than the file can hold
        most = DEFLATE_RATIO * path.stat().st_size
        return stream.read(min(limit, most) + 1)


def _without_waiting(path: str, flags: int) -> int:
    """Open a file so that a pipe without a writer does not hold us up."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
