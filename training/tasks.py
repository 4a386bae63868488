"""Tasks of grey pictures: digits, MNIST and Fashion-MNIST, each one function.

The validation examples of every task are taken from the training images, evenly spaced: number
``floor((i + 1/2) n / size)`` for ``i = 0 … size - 1`` out of `n`. They do not depend on a seed, so
all runs of a task hold out the same images, and the rest keep their order.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from landscape.data_store.errors import LandscapeError, UsageError
from landscape.training.datasets import (
    TEST_IMAGES,
    TEST_LABELS,
    TRAIN_IMAGES,
    TRAIN_LABELS,
    Bytes,
    Examples,
    find,
)
from landscape.training.idx import read_idx
from landscape.training.task import Task, make_task

Floats = npt.NDArray[np.float32]
Scale = Callable[[Bytes], Floats]

# MNIST and Fashion-MNIST have the same file names and shapes: only the content tells them apart.
_LABEL_DIGESTS = {
    "1feba77c54802fa5339a11837ea4b2866434b83314ec45192930f1df69120c13": "mnist",
    "ddeff807876a9661a1110d45c266c86239a3a1b7d37da0c3716a7a683c852ff5": "mnist",
    "657fbd221bfc9f4198cc14b5619cc33ec57c58dd0e47af4d99d6650759e869a7": "fashion-mnist",
    "3d0e6c6ea990b53b6f8f500a41cac93881d981b315f84578b7d915342ade01e9": "fashion-mnist",
}


def digits(data: Path | None = None, validation_size: int | None = None) -> Task:
    """UCI optical digits: 1 797 grey images of 8 × 8, part of the package; needs no download.

    Inputs are float32 (1, 8, 8), the counts 0 to 16 divided by 16; ten classes. The set that
    scikit-learn carries has no test part of its own: test is 360 evenly spaced images, validation
    `validation_size` of the other 1 437. The 13 writers are in all three splits, so the test error
    says nothing about new writers. The file repeats its order of classes, so the held-out classes
    are uneven: 26 to 45 of each in test, 7 to 25 in validation.

    Parameters
    ----------
    data
        Not used: the file is part of the package.
    validation_size
        Images held out of training, 1 to 1436; 180 if None.

    References
    ----------
    E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning
    Repository, 1998, doi:10.24432/C50P49; CC BY 4.0.

    Examples
    --------
    >>> {name: len(split) for name, split in digits().splits.items()}
    {'train': 1257, 'validation': 180, 'test': 360}
    """
    del data
    packed = resources.files("landscape.training").joinpath("digits.csv.gz").read_bytes()
    table = np.loadtxt(
        gzip.decompress(packed).decode("ascii").splitlines(), dtype=np.uint8, delimiter=","
    )
    images, labels = table[:, :64].reshape(-1, 1, 8, 8), table[:, 64]
    rest, test = hold_out((images, labels), 360)
    size = 180 if validation_size is None else validation_size
    return bytes_task("digits", rest, test, size, lambda counts: divided(counts, 16))


def mnist(data: Path | None = None, validation_size: int | None = None) -> Task:
    """MNIST: 70 000 grey images of handwritten digits, 28 × 28, ten classes.

    Inputs are float32 (1, 28, 28), the bytes divided by 255; 0 is background. Train and validation
    are the official training part (55 000 and 5 000 by default), test is the official test part.

    Parameters
    ----------
    data
        Folder with ``mnist/train-images-idx3-ubyte.gz`` and its three sisters, as
        `landscape.training.datasets.find` looks for them.
    validation_size
        Images held out of training, 1 to 59999; 5000 if None.

    Raises
    ------
    UsageError
        `validation_size` is out of range, the folder does not exist or holds Fashion-MNIST.
    LandscapeError
        A file is missing and cannot be downloaded, or is damaged or not MNIST's.

    References
    ----------
    Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to document
    recognition", Proceedings of the IEEE 86(11), 1998; CC BY-SA 3.0.
    """
    return _idx_task("mnist", data, validation_size)


def fashion_mnist(data: Path | None = None, validation_size: int | None = None) -> Task:
    """Fashion-MNIST: 70 000 grey images of clothing, 28 × 28, ten classes.

    Inputs are float32 (1, 28, 28), the bytes divided by 255; 0 is background. Train and validation
    are the official training part (55 000 and 5 000 by default), test is the official test part.

    Parameters
    ----------
    data
        Folder with ``fashion-mnist/train-images-idx3-ubyte.gz`` and its three sisters, as
        `landscape.training.datasets.find` looks for them.
    validation_size
        Images held out of training, 1 to 59999; 5000 if None.

    Raises
    ------
    UsageError
        `validation_size` is out of range, the folder does not exist or holds MNIST.
    LandscapeError
        A file is missing and cannot be downloaded, or is damaged or not Fashion-MNIST's.

    References
    ----------
    H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine
    Learning Algorithms", arXiv:1708.07747, 2017; MIT licence, © 2017 Zalando SE.
    """
    return _idx_task("fashion-mnist", data, validation_size)


def evenly_spaced(size: int, n: int) -> npt.NDArray[np.int64]:
    """Numbers floor((i + 1/2) n / size), i = 0 … size - 1: increasing and distinct for size <= n.

    >>> evenly_spaced(3, 12).tolist()
    [2, 6, 10]
    """
    return (2 * np.arange(size, dtype=np.int64) + 1) * n // (2 * size)


def _idx_task(name: str, data: Path | None, validation_size: int | None) -> Task:
    """MNIST, or a set in its format."""
    train = _idx_part(name, data, TRAIN_IMAGES, TRAIN_LABELS)
    test = _idx_part(name, data, TEST_IMAGES, TEST_LABELS)
    size = 5000 if validation_size is None else validation_size
    return bytes_task(name, train, test, size, lambda levels: divided(levels, 255))


def _idx_part(name: str, data: Path | None, images_name: str, labels_name: str) -> Examples:
    """Images (n, 1, 28, 28) and labels (n,) of one part, checked against each other."""
    images_path, labels_path = find(data, name, images_name), find(data, name, labels_name)
    images, labels = read_idx(images_path, 3), read_idx(labels_path, 1)
    if images.shape != (len(labels), 28, 28) or labels.max() > 9:
        raise LandscapeError(
            f"{images_path} holds images {images.shape} and {labels_path} {len(labels)} labels up "
            f"to {labels.max()}; expected images (n, 28, 28) and n labels from 0 to 9"
        )
    holds = _LABEL_DIGESTS.get(hashlib.sha256(labels.tobytes()).hexdigest(), name)
    if holds != name:
        raise UsageError(f"{labels_path} holds the labels of {holds}, not of {name}")
    return images[:, None], labels


def bytes_task(
    name: str,
    train: Examples,
    test: Examples,
    validation_size: int | None,
    scale: Scale,
    classes: int = 10,
) -> Task:
    """The task of bytes that are scaled to floats, some training examples held out.

    Parameters
    ----------
    train, test
        Pairs of images uint8 (n, …) and labels (n,).
    validation_size
        Evenly spaced training examples to hold out, at least 1 and less than all; a tenth of
        them if None.
    scale
        Images as float32 inputs.
    classes
        Number of classes, whether or not all of them occur.

    Raises `UsageError` if the size is out of range, `LandscapeError` for fewer than two examples.
    """
    size = size_to_hold_out(name, len(train[1]), validation_size)
    # split the bytes, not the floats: a quarter of the memory to move
    rest, validation = hold_out(train, size)
    return make_task(
        name=name,
        train=_tensors(rest, scale),
        validation=_tensors(validation, scale),
        test=_tensors(test, scale),
        classes=classes,
    )


def size_to_hold_out(name: str, n_train: int, validation_size: int | None) -> int:
    """How many of `n_train` examples are held out: as asked for, or a tenth and at most 10 000.

    Raises `LandscapeError` for fewer than two examples, `UsageError` unless some, but not all,
    are held out.
    """
    if n_train < 2:
        raise LandscapeError(
            f"{name} has {n_train} training images here; expected at least 2, one to train on "
            "and one to hold out"
        )
    default = min(max(1, n_train // 10), 10_000)
    size = default if validation_size is None else validation_size
    if not 1 <= size <= n_train - 1:
        raise UsageError(f"validation_size of {name} must be from 1 to {n_train - 1}, got {size}")
    return size


def hold_out(examples: Examples, size: int) -> tuple[Examples, Examples]:
    """The examples without `size` evenly spaced ones, and those; both in their old order."""
    images, labels = examples
    taken = np.zeros(len(labels), dtype=bool)
    taken[evenly_spaced(size, len(labels))] = True
    return (images[~taken], labels[~taken]), (images[taken], labels[taken])


def _tensors(examples: Examples, scale: Scale) -> tuple[Tensor, Tensor]:
    """Inputs float32 and classes int64."""
    images, labels = examples
    return torch.from_numpy(scale(images)), torch.from_numpy(labels.astype(np.int64))


def divided(levels: Bytes, by: int) -> Floats:
    """Bytes divided by their largest value, in float32: 0 to 1."""
    inputs = levels.astype(np.float32)
    inputs /= np.float32(by)
    return inputs
