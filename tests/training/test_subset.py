"""Subsets: even by class by a fixed rule, in their old order, lazy where the inputs are."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from landscape.data_store.errors import UsageError
from landscape.training.picture_folders import imagenet
from landscape.training.pictures import Pictures
from landscape.training.subset import subset
from landscape.training.task import Task, make_task
from landscape.training.tasks import digits
from tests.support.data_files import written


def numbered(classes: list[int]) -> Task:
    """A task whose inputs are the numbers of its examples."""
    pair = (torch.arange(float(len(classes)))[:, None], torch.tensor(classes))
    return make_task(train=pair, test=pair, name="numbered")


def naive(classes: list[int], size: int) -> list[int]:
    """The rule, transcribed: deal to the classes in turn, then space those of each evenly."""
    members = {c: [i for i, other in enumerate(classes) if other == c] for c in sorted({*classes})}
    wanted = dict.fromkeys(members, 0)
    while sum(wanted.values()) < min(size, len(classes)):
        for c in members:
            if wanted[c] < len(members[c]) and sum(wanted.values()) < size:
                wanted[c] += 1
    spaced = [
        own[(2 * i + 1) * len(own) // (2 * wanted[c])]
        for c, own in members.items()
        for i in range(wanted[c])
    ]
    return sorted(spaced)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=40), st.integers(1, 45))
def test_it_is_the_transcribed_rule(classes: list[int], size: int) -> None:
    found = subset(numbered(classes), size)
    for split in found.splits.values():
        assert split.inputs[:].reshape(-1).tolist() == naive(classes, size)
        assert split.targets.tolist() == [classes[i] for i in naive(classes, size)]


def test_every_class_is_there_as_often_as_every_other() -> None:
    train = subset(digits(), 105).splits["train"]
    assert np.bincount(train.targets).tolist() == [11] * 5 + [10] * 5


def test_a_rare_class_gives_all_it_has() -> None:
    found = subset(numbered([0] * 50 + [1] * 3 + [2] * 50), 31).splits["train"]
    assert np.bincount(found.targets).tolist() == [14, 3, 14]


def test_the_number_of_outputs_stays() -> None:
    task = numbered([0, 1, 2, 3])
    assert (task.outputs, subset(task, 2).outputs) == (4, 4)
    assert subset(task, 2).splits["test"].targets.max() == 1


def test_values_are_spaced_evenly() -> None:
    pair = (torch.arange(12.0)[:, None], torch.arange(12.0))
    task = subset(make_task(train=pair, test=pair), 3)
    assert task.splits["train"].targets.tolist() == [2, 6, 10]
    assert task.outputs == 1


def test_all_examples_are_the_task_itself() -> None:
    task = digits()
    assert subset(task, None) is task
    assert subset(task, 1257) is task
    smaller = subset(task, 1256)
    assert smaller.digest != task.digest
    assert smaller.splits["test"] is task.splits["test"]
    assert subset(task, 100).digest == subset(digits(), 100).digest


@pytest.mark.parametrize("size", [0, -1, True, "9", 2.0])
def test_what_is_no_number_of_examples_is_refused(size: int) -> None:
    message = f"^max_examples is {size!r}; it must be a whole number, at least 1$"
    with pytest.raises(UsageError, match=message):
        subset(digits(), size)


def test_pictures_are_still_read_lazily(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for part in ("train", "val"):
        for name in ("a", "b"):
            for i in range(6):
                buffer = io.BytesIO()
                Image.new("L", (8, 8), 20 * i).save(buffer, "PNG")
                written(tmp_path / "imagenet" / part / name / f"{i}.png", buffer.getvalue())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        task = imagenet(tmp_path, 4)
    with monkeypatch.context() as patched:
        patched.setattr(Pictures, "_read", lambda *_: pytest.fail("a picture was read"))
        fewer = subset(task, 2)
        assert fewer.digest != task.digest
    train = fewer.splits["train"]
    assert isinstance(train.inputs, Pictures)
    assert train.inputs.names == ("a/3.png", "b/3.png")
    assert train.inputs[:].shape == (2, 3, 224, 224)
    assert train.targets.tolist() == [0, 1]
