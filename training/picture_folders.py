"""Tasks of pictures in folders, one for each class, read lazily: ImageNet and Places365."""

from __future__ import annotations

import os
import stat
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from landscape.data_store.errors import LandscapeError
from landscape.training.datasets import content_of, listed, places_of
from landscape.training.pictures import Pictures
from landscape.training.task import Split, Task
from landscape.training.tasks import evenly_spaced, size_to_hold_out

SUFFIXES = (".jpg", ".jpeg", ".png")

_FILE = 2**26  # bytes of a file: ImageNet's largest has a quarter of it
_LAYOUT = "train/CLASS/*.jpg and val/CLASS/*.jpg"


@dataclass(frozen=True)
class _Set:
    """A data set in folders: its name, its other folder names, its size, and where it is."""

    name: str
    what: str
    also: tuple[str, ...]
    classes: int
    train: int
    test: int
    address: str


_IMAGENET = _Set(
    name="imagenet",
    what="ImageNet",
    also=(),
    classes=1000,
    train=1_281_167,
    test=50_000,
    address="https://image-net.org/download.php",
)
_PLACES365 = _Set(
    name="places365",
    what="Places365",
    also=("places365_standard",),
    classes=365,
    train=1_803_460,
    test=36_500,
    address="http://places2.csail.mit.edu/download.html",
)


def imagenet(data: Path | None = None, validation_size: int | None = None) -> Task:
    """ImageNet (ILSVRC 2012): 1.3 million colour pictures in 1 000 classes, read lazily.

    Inputs are float32 (3, 224, 224), as `landscape.training.pictures.Pictures` makes them.
    Classes are the folders, numbered by name. Test is ``val``, the official validation part;
    validation is held out of ``train``, evenly spaced. The digest of the task's data covers the
    names and sizes of the files and their classes, not the pixels.

    Parameters
    ----------
    data
        Folder with ``imagenet/train/CLASS/*`` and ``imagenet/val/CLASS/*``, JPEG or PNG; no
        download.
    validation_size
        Pictures held out of training, at least 1; a tenth and at most 10 000 if None.

    Raises
    ------
    UsageError
        `validation_size` is out of range, or the folder does not exist.
    LandscapeError
        The folders are not laid out like this, or hold something else than pictures. A picture
        that cannot be decoded is named when its batch is read.

    Warns
    -----
    UserWarning
        Pictures or classes are missing.

    References
    ----------
    O. Russakovsky et al., "ImageNet Large Scale Visual Recognition Challenge", International
    Journal of Computer Vision 115, 2015; for non-commercial research.
    """
    return _task(_IMAGENET, data, validation_size)


def places365(data: Path | None = None, validation_size: int | None = None) -> Task:
    """Places365-Standard: 1.8 million colour pictures of scenes in 365 classes, read lazily.

    As `imagenet`, from ``places365/train/CLASS/*`` and ``places365/val/CLASS/*``, or the folder
    ``places365_standard`` as it is unpacked.

    References
    ----------
    B. Zhou, A. Lapedriza, A. Khosla, A. Oliva, A. Torralba, "Places: A 10 million image database
    for scene recognition", IEEE Transactions on Pattern Analysis and Machine Intelligence, 2017.
    """
    return _task(_PLACES365, data, validation_size)


def read_folder(folder: Path) -> tuple[Pictures, npt.NDArray[np.int64], list[str]]:
    """The pictures below a folder of classes, without opening them.

    Returns
    -------
    pictures, classes, names
        Pictures by class and name; the class number of each, int64 (n,); the classes' names,
        sorted. Hidden files are passed over, links are followed.

    Raises
    ------
    LandscapeError
        Something else than folders of pictures is there: another file, a pipe, an empty file or
        class, a broken link.
    """
    names = _class_names(folder)
    files, sizes, classes = [], [], []
    for number, name in enumerate(names):
        found = _files(folder / name)
        files += [f"{name}/{file}" for file, _ in found]
        sizes += [size for _, size in found]
        classes += [number] * len(found)
    pictures = Pictures(folder, tuple(files), np.array(sizes, np.int64))
    return pictures, np.array(classes, np.int64), names


def _task(source: _Set, data: Path | None, validation_size: int | None) -> Task:
    """A task of one of the sets."""
    root = _root(source, data)
    train, train_classes, names = read_folder(root / "train")
    test, test_classes, test_names = read_folder(root / "val")
    if names != test_names:
        raise LandscapeError(
            f"{root / 'train'} and {root / 'val'} hold different classes: only one of them has "
            f"{listed(set(names) ^ set(test_names))}"
        )
    _require_part(source, root, len(names), len(train), len(test))
    held = evenly_spaced(size_to_hold_out(source.name, len(train), validation_size), len(train))
    rest = np.delete(np.arange(len(train)), held)
    splits = {
        "train": _split(train.take(rest), train_classes[rest]),
        "validation": _split(train.take(held), train_classes[held]),
        "test": _split(test, test_classes),
    }
    return Task(source.name, splits, classes=len(names))


def _split(pictures: Pictures, classes: npt.NDArray[np.int64]) -> Split:
    """A split of pictures and their classes."""
    return Split(pictures, torch.from_numpy(classes))


def _root(source: _Set, data: Path | None) -> Path:
    """The folder with ``train`` and ``val``."""
    places = places_of(data, source.name)
    for place in places:
        for root in (place, *(place / name for name in source.also)):
            if (root / "train").is_dir() and (root / "val").is_dir():
                return root
    raise LandscapeError(
        f"there is no {source.what} in {places[0]}, which {content_of(places[0])}; expected "
        f"{_LAYOUT}: get it from {source.address}, it is not downloaded by itself"
    )


def _require_part(source: _Set, root: Path, classes: int, train: int, test: int) -> None:
    """Refuse more than there is in the data set; warn whoever asked for the task of less."""
    have, whole = (classes, train, test), (source.classes, source.train, source.test)
    counts = (
        f"{train} of {source.train} training and {test} of {source.test} validation pictures in "
        f"{classes} of {source.classes} classes"
    )
    if any(mine > most for mine, most in zip(have, whole, strict=True)):
        raise LandscapeError(f"{root} is not {source.what}: it has {counts}")
    if have != whole:
        warnings.warn(f"{root} is a part of {source.what}: {counts}", UserWarning, stacklevel=4)


def _class_names(folder: Path) -> list[str]:
    """Names of the folders in a folder that holds nothing else, sorted."""
    try:
        with os.scandir(folder) as entries:
            found = sorted((e.name, e.is_dir()) for e in entries if not e.name.startswith("."))
    except OSError as error:
        raise LandscapeError(f"{folder} cannot be read: {error.strerror or error}") from error
    for name, is_folder in found:
        if not is_folder:
            raise LandscapeError(
                f"{folder} holds {name}, which is no folder of a class; expected {_LAYOUT}"
            )
    if not found:
        raise LandscapeError(f"{folder} holds no folder of a class; expected {_LAYOUT}")
    return [name for name, _ in found]


def _files(folder: Path) -> list[tuple[str, int]]:
    """Names and sizes of the pictures of a class, sorted."""
    found = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if not entry.name.startswith("."):
                    found.append((entry.name, _size(entry)))
    except OSError as error:
        place = error.filename or folder
        raise LandscapeError(f"{place} cannot be read: {error.strerror or error}") from error
    if not found:
        raise LandscapeError(f"{folder} holds no picture; expected {_LAYOUT}")
    return sorted(found)


def _size(entry: os.DirEntry[str]) -> int:
    """Bytes of a picture's file, refused if it cannot be one."""
    state = entry.stat()
    if not stat.S_ISREG(state.st_mode) or not entry.name.lower().endswith(SUFFIXES):
        raise LandscapeError(f"{entry.path} is no picture; expected files {', '.join(SUFFIXES)}")
    if not 1 <= state.st_size <= _FILE:
        raise LandscapeError(f"{entry.path} has {state.st_size} bytes; expected 1 to {_FILE}")
    return state.st_size
