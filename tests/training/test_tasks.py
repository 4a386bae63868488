"""The built-in tasks: splits and scales against naive readers, on small files and the real ones."""

from __future__ import annotations

import csv
import gzip
import hashlib
import os
import struct
from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from importlib import resources
from math import floor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from landscape.data_store.errors import LandscapeError, UsageError
from landscape.training import datasets, tasks
from landscape.training.task import Split, Task
from landscape.training.tasks import (
    digits,
    evenly_spaced,
    fashion_mnist,
    mnist,
    size_to_hold_out,
)

Bytes = npt.NDArray[np.uint8]
Pictures = tuple[list[bytes], list[int]]


def naive_places(size: int, n: int) -> list[int]:
    """Validation places by exact fractions."""
    return [floor((number + Fraction(1, 2)) * n / size) for number in range(size)]


def naive_split(pictures: Pictures, size: int) -> tuple[Pictures, Pictures]:
    """Training and validation pictures, one by one."""
    places = set(naive_places(size, len(pictures[1])))
    rest: Pictures = ([], [])
    held: Pictures = ([], [])
    for number, (picture, label) in enumerate(zip(*pictures, strict=True)):
        images, labels = held if number in places else rest
        images.append(picture)
        labels.append(label)
    return rest, held


def levels(split: Split, by: int = 255) -> list[bytes]:
    """The bytes of which each input was made, undone from the floats."""
    whole = (split.inputs * by).round()
    assert ((whole / by) == split.inputs).all()
    return [picture.tobytes() for picture in whole.to(torch.uint8).numpy()]


def assert_holds(split: Split, pictures: Pictures, by: int = 255) -> None:
    """The split is these pictures in this order."""
    assert split.inputs.dtype == torch.float32
    assert split.targets.dtype == torch.int64
    assert levels(split, by) == pictures[0]
    assert split.targets.tolist() == pictures[1]


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setattr(datasets, "user_cache_dir", lambda name: str(folder / name))


@given(st.data())
def test_evenly_spaced_places_are_exact_distinct_and_inside(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 400), label="n")
    size = data.draw(st.integers(1, n), label="size")
    places = evenly_spaced(size, n).tolist()
    assert places == naive_places(size, n)
    assert len(set(places)) == size
    assert 0 <= min(places) <= max(places) < n


def naive_digits() -> Pictures:
    text = gzip.decompress(
        resources.files("landscape.training").joinpath("digits.csv.gz").read_bytes()
    )
    rows = [[int(value) for value in row] for row in csv.reader(text.decode().splitlines())]
    return [bytes(row[:64]) for row in rows], [row[64] for row in rows]


def test_the_digits_are_the_file_that_scikit_learn_carries() -> None:
    content = resources.files("landscape.training").joinpath("digits.csv.gz").read_bytes()
    assert hashlib.sha256(content).hexdigest() == (
        "09f66e6debdee2cd2b5ae59e0d6abbb73fc2b0e0185d2e1957e9ebb51e23aa22"
    )
    counts = Counter(naive_digits()[1])
    assert [counts[digit] for digit in range(10)] == [
        *(178, 182, 177, 183, 181),
        *(182, 181, 179, 174, 180),
    ]


def test_the_digits_come_with_their_attribution() -> None:
    notice = resources.files("landscape.training").joinpath("digits.LICENSE.txt").read_text("utf-8")
    for part in ("Alpaydin", "Kaynak", "10.24432/C50P49", "creativecommons.org/licenses/by/4.0"):
        assert part in notice


@pytest.mark.parametrize("size", [None, 1, 1436])
def test_the_digits_are_split_evenly(size: int | None) -> None:
    rest, test = naive_split(naive_digits(), 360)
    train, validation = naive_split(rest, size or 180)
    task = digits(None, size)
    assert task.name == "digits"
    assert task.input_shape == (1, 8, 8)
    assert task.outputs == 10
    assert_holds(task.splits["train"], train, by=16)
    assert_holds(task.splits["validation"], validation, by=16)
    assert_holds(task.splits["test"], test, by=16)


def test_every_class_of_the_digits_is_in_every_split() -> None:
    # the file repeats its order of classes, so that even spacing favours some of them
    counts = {name: torch.bincount(split.targets) for name, split in digits().splits.items()}
    extremes = {name: (int(count.min()), int(count.max())) for name, count in counts.items()}
    assert extremes == {"train": (118, 136), "validation": (7, 25), "test": (26, 45)}


def pictures(count: int, sides: tuple[int, int], seed: int) -> Bytes:
    return np.random.default_rng(seed).integers(0, 256, (count, *sides), dtype=np.uint8)


def write_idx(path: Path, array: Bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    header = struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    path.write_bytes(gzip.compress(header + array.tobytes(), mtime=0))


def write_set(folder: Path, train: int = 40, test: int = 10) -> None:
    """A small data set in MNIST's four files."""
    for prefix, count in (("train", train), ("t10k", test)):
        write_idx(folder / f"{prefix}-images-idx3-ubyte.gz", pictures(count, (28, 28), count))
        labels = (np.arange(count) % 10).astype(np.uint8)
        write_idx(folder / f"{prefix}-labels-idx1-ubyte.gz", labels)


@pytest.mark.parametrize(("function", "name"), [(mnist, "mnist"), (fashion_mnist, "fashion-mnist")])
def test_the_idx_tasks_hold_out_evenly_and_keep_the_order(
    tmp_path: Path, function: Callable[[Path, int], Task], name: str
) -> None:
    write_set(tmp_path / name)
    task = function(tmp_path, 7)
    whole = [image.tobytes() for image in pictures(40, (28, 28), 40)]
    train, validation = naive_split((whole, [number % 10 for number in range(40)]), 7)
    assert task.name == name
    assert task.input_shape == (1, 28, 28)
    assert_holds(task.splits["train"], train)
    assert_holds(task.splits["validation"], validation)
    test = [image.tobytes() for image in pictures(10, (28, 28), 10)]
    assert_holds(task.splits["test"], (test, list(range(10))))
    assert not set(levels(task.splits["train"])) & set(levels(task.splits["validation"]))


def test_every_byte_is_divided_by_255_as_float32(tmp_path: Path) -> None:
    write_set(tmp_path / "mnist")
    ramp = np.resize(np.arange(256, dtype=np.uint8), (10, 28, 28))
    write_idx(tmp_path / "mnist" / "t10k-images-idx3-ubyte.gz", ramp)
    inputs = mnist(tmp_path, 1).splits["test"].inputs.flatten()[:256]
    assert inputs.tolist() == [float(np.float32(byte / 255)) for byte in range(256)]


@pytest.mark.parametrize("size", [0, -1, 40, 5000])
def test_a_validation_size_out_of_range_is_wrong_use(tmp_path: Path, size: int) -> None:
    write_set(tmp_path / "mnist")
    with pytest.raises(UsageError, match=f"size of mnist must be from 1 to 39, got {size}"):
        mnist(tmp_path, size)


def test_a_tenth_and_at_most_ten_thousand_are_held_out() -> None:
    sizes = [size_to_hold_out("x", n, None) for n in (2, 19, 20, 50_000, 100_001, 1_281_167)]
    assert sizes == [1, 1, 2, 5_000, 10_000, 10_000]
    assert size_to_hold_out("x", 1_281_167, 50_000) == 50_000


@pytest.mark.parametrize("n_train", [0, 1])
def test_one_image_is_too_few_to_hold_one_out(n_train: int) -> None:
    with pytest.raises(LandscapeError, match=f"x has {n_train} training images here; expected at"):
        size_to_hold_out("x", n_train, None)


def test_classes_that_a_part_lacks_are_counted_all_the_same(tmp_path: Path) -> None:
    write_set(tmp_path / "mnist", train=5, test=3)
    assert mnist(tmp_path, 1).outputs == 10


def test_the_range_of_the_digits_leaves_their_test_images_out() -> None:
    with pytest.raises(UsageError, match="size of digits must be from 1 to 1436, got 1437"):
        digits(None, 1437)


def test_the_digest_is_the_content_and_the_validation_size(tmp_path: Path) -> None:
    write_set(tmp_path / "mnist")
    before = mnist(tmp_path, 7).digest
    assert mnist(tmp_path, 7).digest == before
    assert mnist(tmp_path, 8).digest != before
    changed = pictures(10, (28, 28), 10)
    changed[9, 27, 27] ^= 1
    write_idx(tmp_path / "mnist" / "t10k-images-idx3-ubyte.gz", changed)
    assert mnist(tmp_path, 7).digest != before


def test_images_and_labels_must_belong_together(tmp_path: Path) -> None:
    folder = tmp_path / "mnist"
    write_set(folder)
    wanted = r"expected images \(n, 28, 28\) and n labels from 0 to 9"
    write_idx(folder / "t10k-images-idx3-ubyte.gz", pictures(9, (28, 28), 0))
    with pytest.raises(LandscapeError, match=rf"images \(9, 28, 28\) and .* 10 labels .*{wanted}"):
        mnist(tmp_path, 7)
    write_idx(folder / "t10k-images-idx3-ubyte.gz", pictures(10, (28, 27), 0))
    with pytest.raises(LandscapeError, match=rf"images \(10, 28, 27\) .*{wanted}"):
        mnist(tmp_path, 7)
    write_set(folder)
    write_idx(folder / "t10k-labels-idx1-ubyte.gz", np.full(10, 26, np.uint8))
    with pytest.raises(LandscapeError, match=rf"10 labels up to 26; {wanted}"):
        mnist(tmp_path, 7)


def test_trap_a_folder_of_mnist_does_not_pass_for_fashion(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_set(tmp_path)
    labels = bytes(number % 10 for number in range(40))
    monkeypatch.setitem(tasks._LABEL_DIGESTS, hashlib.sha256(labels).hexdigest(), "mnist")
    assert len(mnist(tmp_path, 7).splits["train"]) == 33
    with pytest.raises(UsageError, match="holds the labels of mnist, not of fashion-mnist"):
        fashion_mnist(tmp_path, 7)


def test_a_missing_folder_is_wrong_use(tmp_path: Path) -> None:
    for function in (mnist, fashion_mnist):
        with pytest.raises(UsageError, match="nowhere does not exist"):
            function(tmp_path / "nowhere", None)


FOLDER = Path(
    os.environ.get("LANDSCAPE_DATA", Path(__file__).parents[2].parent / "shared" / "data")
)
IDX_NAMES = (
    datasets.TRAIN_IMAGES,
    datasets.TRAIN_LABELS,
    datasets.TEST_IMAGES,
    datasets.TEST_LABELS,
)


def real(dataset: str, *names: str) -> Path:
    """The data folder, or a skip that names the file it lacks."""
    for name in names:
        if not (FOLDER / dataset / name).exists():
            pytest.skip(f"needs {FOLDER / dataset / name}; set LANDSCAPE_DATA")
    return FOLDER


def naive_idx_part(images: Path, labels: Path) -> Pictures:
    """Pictures and labels of a gzipped IDX pair, by struct, one by one."""
    content = gzip.decompress(images.read_bytes())
    magic, count, rows, columns = struct.unpack(">4I", content[:16])
    assert magic == 2051
    size = rows * columns
    whole = [content[16 + size * number : 16 + size * (number + 1)] for number in range(count)]
    marks = gzip.decompress(labels.read_bytes())
    assert struct.unpack(">2I", marks[:8]) == (2049, count)
    return whole, list(marks[8:])


@pytest.fixture(scope="module")
def real_mnist() -> Task:
    return mnist(real("mnist", *IDX_NAMES), None)


@pytest.fixture(scope="module")
def real_fashion() -> Task:
    return fashion_mnist(real("fashion-mnist", *IDX_NAMES), None)


def class_counts(task: Task, *names: str) -> list[int]:
    return sum(torch.bincount(task.splits[name].targets) for name in names).tolist()  # type: ignore


def test_real_mnist_is_55k_5k_10k(real_mnist: Task) -> None:
    shapes = {name: tuple(split.inputs.shape) for name, split in real_mnist.splits.items()}
    assert shapes == {
        "train": (55_000, 1, 28, 28),
        "validation": (5_000, 1, 28, 28),
        "test": (10_000, 1, 28, 28),
    }
    assert class_counts(real_mnist, "train", "validation") == [
        *(5923, 6742, 5958, 6131, 5842),
        *(5421, 5918, 6265, 5851, 5949),
    ]
    assert class_counts(real_mnist, "test") == [
        *(980, 1135, 1032, 1010, 982),
        *(892, 958, 1028, 974, 1009),
    ]


def test_real_fashion_mnist_is_balanced(real_fashion: Task) -> None:
    assert {name: len(split) for name, split in real_fashion.splits.items()} == {
        "train": 55_000,
        "validation": 5_000,
        "test": 10_000,
    }
    assert class_counts(real_fashion, "train", "validation") == [6_000] * 10
    assert class_counts(real_fashion, "test") == [1_000] * 10


@pytest.mark.parametrize(
    ("dataset", "fixture"), [("mnist", "real_mnist"), ("fashion-mnist", "real_fashion")]
)
def test_real_pixels_are_those_of_a_naive_reader(
    dataset: str, fixture: str, request: pytest.FixtureRequest
) -> None:
    task: Task = request.getfixturevalue(fixture)
    paths = [FOLDER / dataset / name for name in IDX_NAMES]
    train, validation = naive_split(naive_idx_part(*paths[:2]), 5_000)
    assert_holds(task.splits["train"], train)
    assert_holds(task.splits["validation"], validation)
    assert_holds(task.splits["test"], naive_idx_part(*paths[2:]))


def test_trap_the_real_mnist_folder_does_not_pass_for_fashion() -> None:
    folder = real("mnist", *IDX_NAMES) / "mnist"
    with pytest.raises(UsageError, match="holds the labels of mnist, not of fashion-mnist"):
        fashion_mnist(folder, None)
