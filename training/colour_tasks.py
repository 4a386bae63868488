"""Tasks of small colour pictures: CIFAR-10, its halves, CIFAR-100 and SVHN, each one function.

Inputs are float32 (3, 32, 32): bytes divided by 255, less the training part's mean of each
channel, divided by its standard deviation. The test split is the official test part; validation
is held out of the training part as in `landscape.training.tasks`, a tenth of it by default.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from landscape.training.cifar import CIFAR10, CIFAR100, Version, read_cifar
from landscape.training.datasets import (
    CIFAR10_ARCHIVE,
    CIFAR100_ARCHIVE,
    SVHN_TEST,
    SVHN_TRAIN,
    Bytes,
    Examples,
    find,
)
from landscape.training.svhn import read_svhn
from landscape.training.task import Task
from landscape.training.tasks import Floats, Scale, bytes_task, divided

Colours = tuple[float, float, float]


@dataclass(frozen=True)
class _Cifar:
    """One of the two CIFAR sets: its files and its channels' statistics."""

    what: str
    folder: str
    archive: str
    versions: Iterable[Version]
    classes: int
    mean: Colours
    std: Colours

    def read(self, data: Path | None) -> tuple[Examples, Examples]:
        """Training and test examples; warns of a part."""
        path = find(data, self.folder, self.archive)
        train, test = read_cifar(path, self.versions)
        _warn_of_part(path, self.what, (len(train[1]), len(test[1])), (50_000, 10_000))
        return train, test


_CIFAR10 = _Cifar(
    what="CIFAR-10",
    folder="cifar-10",
    archive=CIFAR10_ARCHIVE,
    versions=CIFAR10,
    classes=10,
    mean=(0.4914, 0.4822, 0.4465),
    std=(0.2470, 0.2435, 0.2616),
)
_CIFAR100 = _Cifar(
    what="CIFAR-100",
    folder="cifar-100",
    archive=CIFAR100_ARCHIVE,
    versions=CIFAR100,
    classes=100,
    mean=(0.5071, 0.4865, 0.4409),
    std=(0.2673, 0.2564, 0.2762),
)
_SVHN_MEAN, _SVHN_STD = (0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970)


def cifar10(data: Path | None = None, validation_size: int | None = None) -> Task:
    """CIFAR-10: 60 000 colour images of 32 × 32, ten classes.

    Train and validation are the official training part, or of a partial copy what is there.

    Parameters
    ----------
    data
        Folder with ``cifar-10/cifar-10-binary.tar.gz``, or unpacked
        ``cifar-10/cifar-10-batches-bin``, or the python version, ``cifar-10-python.tar.gz`` or
        ``cifar-10-batches-py``, as `landscape.training.datasets.find` looks for them.
    validation_size
        Images held out of training, at least 1; a tenth of the training images if None.

    Raises
    ------
    UsageError
        `validation_size` is out of range, or the folder does not exist.
    LandscapeError
        The files are missing and cannot be downloaded, or are damaged or not CIFAR-10's.

    Warns
    -----
    UserWarning
        The copy has fewer than 50 000 training or 10 000 test images.

    References
    ----------
    A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", technical report,
    University of Toronto, 2009; no licence is declared.
    """
    train, test = _CIFAR10.read(data)
    return _task("cifar10", _CIFAR10, train, test, validation_size)


def cifar10a(data: Path | None = None, validation_size: int | None = None) -> Task:
    """The first half of CIFAR-10's training images: 2 500 of each class.

    These are the first, third, fifth, … image of each class in the order of the files, and
    `cifar10b` has the others; the test split is CIFAR-10's for both. Of a partial copy they are
    halves of what is there.

    Parameters, errors and the warning are those of `cifar10`.

    References
    ----------
    A. Morcos, H. Yu, M. Paganini, Y. Tian, "One ticket to win them all: generalizing lottery
    ticket initializations across datasets and optimizers", NeurIPS 2019: two disjoint halves of
    25 000 images; which images they were is not said.
    """
    train, test = _CIFAR10.read(data)
    return _task("cifar10a", _CIFAR10, half(train, 0), test, validation_size)


def cifar10b(data: Path | None = None, validation_size: int | None = None) -> Task:
    """The second half of CIFAR-10's training images: those that `cifar10a` does not have."""
    train, test = _CIFAR10.read(data)
    return _task("cifar10b", _CIFAR10, half(train, 1), test, validation_size)


def cifar100(data: Path | None = None, validation_size: int | None = None) -> Task:
    """CIFAR-100: 60 000 colour images of 32 × 32 in 100 classes, the fine labels.

    Parameters
    ----------
    data
        Folder with ``cifar-100/cifar-100-binary.tar.gz``, or unpacked
        ``cifar-100/cifar-100-binary``, or the python version, ``cifar-100-python.tar.gz`` or
        ``cifar-100-python``, as `landscape.training.datasets.find` looks for them.
    validation_size
        Images held out of training, at least 1; a tenth of the training images if None.

    Errors, the warning and the reference are those of `cifar10`.
    """
    train, test = _CIFAR100.read(data)
    return _task("cifar100", _CIFAR100, train, test, validation_size)


def svhn(data: Path | None = None, validation_size: int | None = None) -> Task:
    """SVHN: 99 289 colour images of house numbers' digits, 32 × 32, ten classes.

    Class 0 is the digit 0, which the files label 10. Train and validation are the official
    training part of 73 257, test the official test part of 26 032; the extra part is not read.

    Parameters
    ----------
    data
        Folder with ``svhn/train_32x32.mat`` and ``svhn/test_32x32.mat``, as
        `landscape.training.datasets.find` looks for them.
    validation_size
        Images held out of training, at least 1; a tenth of the training images if None.

    Errors and the warning are those of `cifar10`.

    References
    ----------
    Y. Netzer, T. Wang, A. Coates, A. Bissacco, B. Wu, A. Ng, "Reading Digits in Natural Images
    with Unsupervised Feature Learning", NIPS Workshop on Deep Learning and Unsupervised Feature
    Learning, 2011; for non-commercial use.
    """
    path = find(data, "svhn", SVHN_TRAIN)
    train, test = read_svhn(path), read_svhn(find(data, "svhn", SVHN_TEST))
    # one level up: what is warned of is this function's caller's data
    counts = len(train[1]), len(test[1])
    _warn_of_part(path, "SVHN", counts, (73_257, 26_032), stacklevel=3)
    return bytes_task("svhn", train, test, validation_size, standardised(_SVHN_MEAN, _SVHN_STD))


def half(examples: Examples, which: int) -> Examples:
    """Every other example of each class, from its first (0) or its second (1), in their order."""
    images, labels = examples
    taken = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        taken[np.flatnonzero(labels == label)[which::2]] = True
    return images[taken], labels[taken]


def standardised(mean: Colours, std: Colours) -> Scale:
    """How bytes (n, 3, h, w) become inputs: divided by 255, then standardised by channel."""

    def scale(levels: Bytes) -> Floats:
        inputs = divided(levels, 255)
        inputs -= _by_channel(mean)
        inputs /= _by_channel(std)
        return inputs

    return scale


def _by_channel(values: Colours) -> npt.NDArray[np.float32]:
    """One number for each channel, as (3, 1, 1)."""
    return np.array(values, np.float32)[:, None, None]


def _task(
    name: str, source: _Cifar, train: Examples, test: Examples, validation_size: int | None
) -> Task:
    """A task of (a part of) one of the CIFAR sets."""
    scale = standardised(source.mean, source.std)
    return bytes_task(name, train, test, validation_size, scale, source.classes)


def _warn_of_part(
    path: Path, what: str, have: tuple[int, int], whole: tuple[int, int], stacklevel: int = 4
) -> None:
    """Warn whoever asked for the task if examples are missing."""
    if have != whole:
        warnings.warn(
            f"{path} is a part of {what}: {have[0]} of {whole[0]} training and {have[1]} of "
            f"{whole[1]} test images",
            UserWarning,
            stacklevel=stacklevel,
        )
