"""CIFAR-10, its halves, CIFAR-100 and SVHN as tasks, on small files and the real part."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import scipy.io
import torch

from landscape.data_store.errors import LandscapeError, UsageError
from landscape.training import colour_tasks, datasets
from landscape.training.colour_tasks import cifar10, cifar10a, cifar10b, cifar100, half, svhn
from landscape.training.task import Task
from tests.support.data_files import python_batch, records, some, written

Bytes = npt.NDArray[np.uint8]
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
TASKS: list[Callable[[Path, int | None], Task]] = [cifar10, cifar10a, cifar10b, cifar100, svhn]


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setattr(datasets, "user_cache_dir", lambda name: str(folder / name))


def write_cifar(folder: Path, train: int, test: int) -> list[bytes]:
    """A small CIFAR-10 in two batches; its training records."""
    content = records(train + test, 3)
    rows = [content[3073 * number : 3073 * (number + 1)] for number in range(train + test)]
    written(folder / "data_batch_1.bin", b"".join(rows[: train // 2]))
    written(folder / "data_batch_2.bin", b"".join(rows[train // 2 : train]))
    written(folder / "test_batch.bin", b"".join(rows[train:]))
    return rows[:train]


def quietly(function: Callable[[Path, int | None], Task], data: Path, size: int | None) -> Task:
    """The task, of what is known to be a part."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return function(data, size)


def test_cifar_is_normalised_by_channel(tmp_path: Path) -> None:
    rows = write_cifar(tmp_path / "cifar-10" / "cifar-10-batches-bin", 20, 6)
    with pytest.warns(UserWarning, match="a part of CIFAR-10: 20 of 50000 training and 6 of 10000"):
        task = cifar10(tmp_path, None)
    train, validation = task.splits["train"], task.splits["validation"]
    assert validation.targets.tolist() == [rows[5][0], rows[15][0]]
    assert train.targets.tolist() == [r[0] for number, r in enumerate(rows) if number % 10 != 5]
    assert (task.name, task.input_shape, task.outputs) == ("cifar10", (3, 32, 32), 10)
    for channel in range(3):
        plane = rows[15][1 + 1024 * channel : 1 + 1024 * (channel + 1)]
        naive = [(byte / 255 - MEAN[channel]) / STD[channel] for byte in plane]
        assert validation.inputs[1, channel].flatten().tolist() == pytest.approx(naive, abs=1e-6)


def test_the_python_version_is_the_same_task(tmp_path: Path) -> None:
    write_cifar(tmp_path / "binary" / "cifar-10-batches-bin", 20, 6)
    for path in (tmp_path / "binary" / "cifar-10-batches-bin").iterdir():
        content = python_batch(path.read_bytes())
        written(tmp_path / "python" / "cifar-10-batches-py" / path.stem, content)
    one, other = (quietly(cifar10, tmp_path / name, None) for name in ("binary", "python"))
    assert one.digest == other.digest


def write_all(folder: Path) -> None:
    """A small copy of every set."""
    write_cifar(folder / "cifar-10" / "cifar-10-batches-bin", 40, 6)
    written(folder / "cifar-100" / "cifar-100-binary" / "train.bin", records(30, 5, 100, 2))
    written(folder / "cifar-100" / "cifar-100-binary" / "test.bin", records(7, 6, 100, 2))
    write_svhn(folder / "svhn")


def write_svhn(folder: Path) -> Bytes:
    """A small SVHN; its training images as the file has them."""
    images = some(32, 32, 3, 20)
    for name, count in (("train", 20), ("test", 4)):
        buffer = io.BytesIO()
        labels = (np.arange(count) % 10 + 1).astype(np.uint8)[:, None]
        scipy.io.savemat(buffer, {"X": images[..., :count], "y": labels}, do_compression=True)
        written(folder / f"{name}_32x32.mat", buffer.getvalue())
    return images


@pytest.mark.parametrize("function", TASKS)
def test_a_part_is_said_once_at_the_callers_line(
    tmp_path: Path, function: Callable[[Path, int | None], Task]
) -> None:
    write_all(tmp_path)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        function(tmp_path, None)
    assert [(warning.category, warning.filename) for warning in caught] == [(UserWarning, __file__)]
    assert " is a part of " in str(caught[0].message)


@pytest.mark.parametrize("function", TASKS)
def test_a_missing_folder_is_wrong_use(
    tmp_path: Path, function: Callable[[Path, int | None], Task]
) -> None:
    with pytest.raises(UsageError, match="nowhere does not exist"):
        function(tmp_path / "nowhere", None)


@pytest.mark.parametrize("function", [cifar10, cifar10a, cifar10b])
def test_a_whole_cifar_trains_without_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: Callable[[Path, int | None], Task]
) -> None:
    def blank(count: int) -> tuple[Bytes, Bytes]:
        return np.zeros((count, 3, 1, 1), np.uint8), (np.arange(count) % 10).astype(np.uint8)

    (tmp_path / "cifar-10-batches-bin").mkdir()
    monkeypatch.setattr(
        colour_tasks, "read_cifar", lambda path, versions: (blank(50_000), blank(10_000))
    )
    task = function(tmp_path, None)
    sizes = {name: len(split) for name, split in task.splits.items()}
    if function is cifar10:
        assert sizes == {"train": 45_000, "validation": 5_000, "test": 10_000}
    else:
        assert sizes == {"train": 22_500, "validation": 2_500, "test": 10_000}
        held = torch.cat([task.splits[name].targets for name in ("train", "validation")])
        assert torch.bincount(held).tolist() == [2_500] * 10


def naive_halves(labels: list[int]) -> tuple[list[int], list[int]]:
    """Places of the first and second half, dealing out each class in turns."""
    seen: dict[int, int] = {}
    halves: tuple[list[int], list[int]] = ([], [])
    for place, label in enumerate(labels):
        halves[seen.get(label, 0) % 2].append(place)
        seen[label] = seen.get(label, 0) + 1
    return halves


def test_the_halves_are_disjoint_and_deal_out_each_class() -> None:
    labels = np.random.default_rng(0).integers(0, 10, 501).astype(np.uint8)
    images = np.arange(501)
    first, second = (half((images, labels), which) for which in (0, 1))  # type: ignore[arg-type]
    assert (first[0].tolist(), second[0].tolist()) == naive_halves(labels.tolist())
    assert sorted([*first[0].tolist(), *second[0].tolist()]) == list(range(501))
    apart = np.bincount(first[1]) - np.bincount(second[1])
    assert set(apart.tolist()) <= {0, 1}
    np.testing.assert_array_equal(first[1], labels[first[0]])


def test_the_halves_of_a_part_share_only_the_test_split(tmp_path: Path) -> None:
    rows = write_cifar(tmp_path / "cifar-10-batches-bin", 40, 6)
    a, b = quietly(cifar10a, tmp_path, 3), quietly(cifar10b, tmp_path, 3)
    assert (a.name, b.name, a.outputs, b.outputs) == ("cifar10a", "cifar10b", 10, 10)
    assert a.splits["test"].digest == b.splits["test"].digest
    pictures = {name: pictures_of(task) for name, task in (("a", a), ("b", b))}
    assert not pictures["a"] & pictures["b"]
    assert len(pictures["a"] | pictures["b"]) == len({row[1:] for row in rows}) == 40
    assert a.digest == quietly(cifar10a, tmp_path, 3).digest


def pictures_of(task: Task) -> set[bytes]:
    """All inputs that are trained on or held out."""
    both = torch.cat([task.splits[name].inputs for name in ("train", "validation")])
    return {picture.numpy().tobytes() for picture in both}


def test_one_image_is_no_half_to_train_on(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-10-batches-bin"
    written(folder / "data_batch_1.bin", records(1, 0))
    written(folder / "test_batch.bin", records(1, 0))
    with pytest.raises(LandscapeError, match="cifar10b has 0 training images here; expected at le"):
        quietly(cifar10b, tmp_path, None)


def test_cifar_100_has_a_hundred_classes_even_if_a_part_has_fewer(tmp_path: Path) -> None:
    write_all(tmp_path)
    with pytest.warns(UserWarning, match="part of CIFAR-100: 30 of 50000 training and 7 of 10000"):
        task = cifar100(tmp_path, 10)
    content = records(30, 5, 100, 2)
    labels = [content[3074 * number + 1] for number in range(30)]
    assert max(labels) < 99
    assert (task.name, task.outputs, task.input_shape) == ("cifar100", 100, (3, 32, 32))
    assert task.splits["validation"].targets.tolist() == labels[1::3]
    plane = content[2 : 2 + 1024]
    first = task.splits["train"].inputs[0, 0].flatten().tolist()
    assert first == pytest.approx([(byte / 255 - 0.5071) / 0.2673 for byte in plane], abs=1e-6)


def test_svhn_is_the_digit_in_the_picture(tmp_path: Path) -> None:
    images = write_svhn(tmp_path / "svhn")
    with pytest.warns(UserWarning, match="part of SVHN: 20 of 73257 training and 4 of 26032 test"):
        task = svhn(tmp_path, None)
    assert (task.name, task.outputs, task.input_shape) == ("svhn", 10, (3, 32, 32))
    assert task.splits["test"].targets.tolist() == [1, 2, 3, 4]
    assert task.splits["validation"].targets.tolist() == [6, 6]
    assert task.splits["train"].targets.tolist()[8] == 0  # number 9, labelled 10
    blue = (images[:, :, 2, 3] / 255 - 0.4728) / 0.1970
    np.testing.assert_allclose(task.splits["test"].inputs[3, 2], blue, atol=1e-6)


@pytest.fixture(scope="module")
def real_cifar(data_folder: Path) -> Path:
    if not (data_folder / "cifar-10" / "cifar-10-binary-subset.tar.gz").is_file():
        pytest.skip(f"no CIFAR-10 in {data_folder}")
    return data_folder


def class_counts(task: Task, *names: str) -> list[int]:
    counts: list[int] = sum(torch.bincount(task.splits[n].targets) for n in names).tolist()  # type: ignore
    return counts


def test_the_real_part_of_cifar_is_counted_and_standardised(real_cifar: Path) -> None:
    task = quietly(cifar10, real_cifar, None)
    shapes = {name: tuple(split.inputs.shape) for name, split in task.splits.items()}
    assert shapes == {
        "train": (9_000, 3, 32, 32),
        "validation": (1_000, 3, 32, 32),
        "test": (1_000, 3, 32, 32),
    }
    assert class_counts(task, "train", "validation") == [
        *(1005, 974, 1032, 1016, 999),
        *(937, 1030, 1001, 1025, 981),
    ]
    assert class_counts(task, "test") == [103, 89, 100, 103, 90, 86, 112, 102, 106, 109]
    inputs = task.splits["train"].inputs
    assert inputs.mean((0, 2, 3)).tolist() == pytest.approx([0, 0, 0], abs=0.02)
    assert inputs.std((0, 2, 3)).tolist() == pytest.approx([1, 1, 1], abs=0.02)


def test_the_halves_of_the_real_part_differ_by_one_of_a_class(real_cifar: Path) -> None:
    a, b = (quietly(function, real_cifar, None) for function in (cifar10a, cifar10b))
    counts = [class_counts(task, "train", "validation") for task in (a, b)]
    whole = (1005, 974, 1032, 1016, 999, 937, 1030, 1001, 1025, 981)
    assert counts == [[-(-count // 2) for count in whole], [count // 2 for count in whole]]
    assert not pictures_of(a) & pictures_of(b)
