"""ImageNet and Places365 in folders: classes by name, splits, parts, and wrong folders."""

from __future__ import annotations

import io
import os
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from landscape.data_store.errors import LandscapeError, UsageError
from landscape.training import datasets, picture_folders
from landscape.training.picture_folders import imagenet, places365, read_folder
from landscape.training.pictures import Pictures
from landscape.training.task import Task
from tests.support.data_files import written


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setattr(datasets, "user_cache_dir", lambda name: str(folder / name))


def picture(level: int, kind: str = "JPEG") -> bytes:
    """A small picture of one grey."""
    buffer = io.BytesIO()
    Image.new("RGB", (20, 16), (level, level, level)).save(buffer, kind)
    return buffer.getvalue()


def write_folders(root: Path, train: int = 4, val: int = 2) -> Path:
    """Three classes of pictures, written out of order; grey says class and number."""
    for number, name in reversed(list(enumerate(["n01440764", "n01443537", "n15075141"]))):
        for part, count in (("train", train), ("val", val)):
            for i in reversed(range(count)):
                level = 80 * number + 10 * i
                written(root / part / name / f"{name}_{i}.JPEG", picture(level))
    return root


def quietly(function: Callable[[Path, int | None], Task], data: Path, size: int | None) -> Task:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return function(data, size)


def lazy(task: Task, split: str) -> Pictures:
    inputs = task.splits[split].inputs
    assert isinstance(inputs, Pictures)
    return inputs


@pytest.mark.parametrize(
    ("function", "folder", "name"),
    [
        (imagenet, "imagenet", "imagenet"),
        (places365, "places365", "places365"),
        (places365, "places365_standard", "places365"),
        (imagenet, ".", "imagenet"),
    ],
)
def test_classes_are_the_folders_by_name_and_val_is_the_test(
    tmp_path: Path, function: Callable[[Path, int | None], Task], folder: str, name: str
) -> None:
    write_folders(tmp_path / folder)
    task = quietly(function, tmp_path, 3)
    assert (task.name, task.outputs, task.input_shape) == (name, 3, (3, 224, 224))
    assert lazy(task, "test").names == tuple(
        f"{c}/{c}_{i}.JPEG" for c in ("n01440764", "n01443537", "n15075141") for i in (0, 1)
    )
    assert task.splits["test"].targets.tolist() == [0, 0, 1, 1, 2, 2]
    # floor((i + 1/2) 12 / 3) of twelve: the third of each class
    assert lazy(task, "validation").names == tuple(
        f"{c}/{c}_2.JPEG" for c in ("n01440764", "n01443537", "n15075141")
    )
    assert task.splits["validation"].targets.tolist() == [0, 1, 2]
    assert task.splits["train"].targets.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert not set(lazy(task, "train").names) & set(lazy(task, "validation").names)
    grey = lazy(task, "train")[8:9][0, 0]
    assert torch.allclose(grey * 0.229 + 0.485, torch.tensor((160 + 30) / 255), atol=0.02)


def test_the_digest_follows_names_sizes_labels_and_the_split(tmp_path: Path) -> None:
    root = write_folders(tmp_path / "imagenet")
    digest = quietly(imagenet, tmp_path, 3).digest
    assert quietly(imagenet, tmp_path, 3).digest == digest
    assert quietly(imagenet, tmp_path, 4).digest != digest
    path = root / "train" / "n01440764" / "n01440764_0.JPEG"
    path.rename(path.with_name("n01440764_00.JPEG"))
    renamed = quietly(imagenet, tmp_path, 3).digest
    path.with_name("n01440764_00.JPEG").write_bytes(picture(0) + b"\0")
    longer = quietly(imagenet, tmp_path, 3).digest
    assert len({digest, renamed, longer}) == 3


@pytest.mark.parametrize("function", [imagenet, places365])
def test_a_part_is_said_once_at_the_callers_line(
    tmp_path: Path, function: Callable[[Path, int | None], Task]
) -> None:
    write_folders(tmp_path)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        function(tmp_path, None)
    assert [(warning.category, warning.filename) for warning in caught] == [(UserWarning, __file__)]
    whole = (1281167, 50000, 1000) if function is imagenet else (1803460, 36500, 365)
    assert (
        f"12 of {whole[0]} training and 6 of {whole[1]} validation pictures in 3 of {whole[2]}"
    ) in str(caught[0].message)


def test_a_whole_set_trains_without_a_warning_and_more_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_folders(tmp_path)
    whole = replace(picture_folders._IMAGENET, classes=3, train=12, test=6)
    monkeypatch.setattr(picture_folders, "_IMAGENET", whole)
    assert len(imagenet(tmp_path).splits["train"]) == 11
    monkeypatch.setattr(picture_folders, "_IMAGENET", replace(whole, classes=2))
    with pytest.raises(LandscapeError, match=r"is not ImageNet: it has 12 of 12 .* 3 of 2 classes"):
        imagenet(tmp_path)


def test_hidden_files_are_passed_over_and_links_followed(tmp_path: Path) -> None:
    root = write_folders(tmp_path / "elsewhere")
    before = read_folder(root / "train")
    written(root / "train" / ".DS_Store", b"")
    written(root / "train" / "n01440764" / ".hidden", b"")
    (tmp_path / "links").mkdir()
    for name in before[2]:
        (tmp_path / "links" / name).symlink_to(root / "train" / name)
    for found in (read_folder(root / "train"), read_folder(tmp_path / "links")):
        assert found[0].digest == before[0].digest
        assert found[1].tolist() == before[1].tolist()
        assert found[2] == before[2]


def test_all_suffixes_are_taken_in_any_case(tmp_path: Path) -> None:
    for name in ("a.JPEG", "b.jpg", "c.Jpeg", "d.PNG"):
        written(tmp_path / "class" / name, picture(0, "PNG" if name == "d.PNG" else "JPEG"))
    assert read_folder(tmp_path)[0][:].shape == (4, 3, 224, 224)


@pytest.mark.parametrize(
    ("place", "content", "message"),
    [
        (
            "val/ILSVRC2012_val_1.JPEG",
            picture(0),
            r"val holds ILSVRC.*, which is no folder of a cl",
        ),
        (
            "train/n01440764/labels.csv",
            b"a",
            r"labels\.csv is no picture; expected files \.jpg, \.j",
        ),
        ("train/n01440764/deep/a.jpg", b"a", r"deep is no picture; expected files"),
        ("train/n01440764/a.jpg", b"", r"a\.jpg has 0 bytes; expected 1 to 67108864"),
        ("train/n09/a.jpg", picture(0), r"different classes: only one of them has n09$"),
        ("val/n09/a.jpg", picture(0), r"different classes: only one of them has n09$"),
    ],
)
def test_a_wrong_file_in_the_folders_is_named(
    tmp_path: Path, place: str, content: bytes, message: str
) -> None:
    write_folders(tmp_path)
    written(tmp_path / place, content)
    with pytest.raises(LandscapeError, match=message):
        imagenet(tmp_path)


def test_an_empty_class_or_part_is_named(tmp_path: Path) -> None:
    write_folders(tmp_path)
    (tmp_path / "train" / "n09").mkdir()
    with pytest.raises(LandscapeError, match=r"n09 holds no picture; expected train/CLASS"):
        imagenet(tmp_path)
    (tmp_path / "other" / "train").mkdir(parents=True)
    (tmp_path / "other" / "val").mkdir()
    with pytest.raises(LandscapeError, match="train holds no folder of a class; expected train/CL"):
        imagenet(tmp_path / "other")


@pytest.mark.parametrize(
    ("function", "address"), [(imagenet, "image-net.org"), (places365, "places2.csail.mit.edu")]
)
def test_a_folder_without_the_layout_is_told_what_it_holds(
    tmp_path: Path, function: Callable[[Path, int | None], Task], address: str
) -> None:
    name = function.__name__
    with pytest.raises(LandscapeError, match=f"in .*{name}, which does not exist; expected train/"):
        function(tmp_path, None)
    written(tmp_path / name / "ILSVRC2012_img_train.tar", b"")
    with pytest.raises(LandscapeError, match=f"which holds ILSVRC2012_img_train.tar; .*{address}"):
        function(tmp_path, None)
    with pytest.raises(UsageError, match="nowhere does not exist; give an existing folder"):
        function(tmp_path / "nowhere", None)


@pytest.mark.parametrize("size", [0, 12, 5000])
def test_a_validation_size_out_of_range_is_wrong_use(tmp_path: Path, size: int) -> None:
    write_folders(tmp_path)
    with pytest.raises(UsageError, match=f"size of imagenet must be from 1 to 11, got {size}"):
        quietly(imagenet, tmp_path, size)


@pytest.mark.skipif(sys.platform == "win32", reason="no pipes here")
def test_hostile_entries_are_named_and_never_opened(tmp_path: Path) -> None:
    place = write_folders(tmp_path) / "train" / "n01440764"
    os.mkfifo(place / "pipe.jpg")
    with pytest.raises(LandscapeError, match=r"pipe\.jpg is no picture; expected files"):
        imagenet(tmp_path)
    (place / "pipe.jpg").unlink()
    (place / "loop.jpg").symlink_to("loop.jpg")
    with pytest.raises(LandscapeError, match=r"loop\.jpg cannot be read: "):
        imagenet(tmp_path)
    (place / "loop.jpg").unlink()
    (place / "gone.jpg").symlink_to("nothing")
    with pytest.raises(LandscapeError, match=r"gone\.jpg cannot be read: No such file"):
        imagenet(tmp_path)
    (place / "gone.jpg").unlink()
    with (place / "huge.jpg").open("wb") as file:
        file.truncate(2**26 + 1)  # sparse: takes no disk
    with pytest.raises(
        LandscapeError, match=r"huge\.jpg has 67108865 bytes; expected 1 to 67108864"
    ):
        imagenet(tmp_path)


def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(LandscapeError, match="nowhere cannot be read: No such file"):
        read_folder(tmp_path / "nowhere")


def test_a_damaged_picture_is_named_when_its_batch_is_read(tmp_path: Path) -> None:
    root = write_folders(tmp_path)
    path = root / "train" / "n01440764" / "n01440764_0.JPEG"
    path.write_bytes(path.read_bytes()[:-30])
    task = quietly(imagenet, tmp_path, 3)
    with pytest.raises(LandscapeError, match=r"n01440764_0\.JPEG is no whole JPEG or PNG picture"):
        lazy(task, "train")[:2]
    assert np.isfinite(lazy(task, "train")[1:3].numpy()).all()
