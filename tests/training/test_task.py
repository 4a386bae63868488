"""Task: losses against their formulas, splits, and a digest that follows every part."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from landscape.data_store.errors import LandscapeError, UsageError
from landscape.training.task import (
    Split,
    Task,
    cross_entropy,
    make_task,
    require_fit,
    squared_error,
)
from tests.support.runs import blobs


def pair(examples: int, classes: int = 3, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Random inputs (examples, 2) and classes that go round."""
    inputs = torch.randn(examples, 2, generator=torch.Generator().manual_seed(seed))
    return inputs, torch.arange(examples) % classes


def test_cross_entropy_is_the_logarithm_of_the_softmax() -> None:
    logits = [[1.0, -2.0, 0.5], [0.0, 0.0, 0.0], [30.0, -30.0, 0.0]]
    classes = [2, 0, 1]
    naive = [
        -math.log(math.exp(row[target]) / sum(math.exp(value) for value in row))
        for row, target in zip(logits, classes, strict=True)
    ]
    losses = cross_entropy(torch.tensor(logits, dtype=torch.float64), torch.tensor(classes))
    assert losses.tolist() == pytest.approx(naive, rel=1e-12)
    assert losses[1] == pytest.approx(math.log(3))


def test_squared_error_is_averaged_over_the_outputs_of_an_example() -> None:
    outputs = torch.tensor([[1.0, 2.0], [0.0, -1.0], [3.0, 3.0]])
    targets = torch.tensor([[1.0, 0.0], [0.0, -1.0], [0.0, 4.0]])
    assert squared_error(outputs, targets).tolist() == [2.0, 0.0, 5.0]
    images = torch.arange(16.0).reshape(2, 1, 2, 4)
    assert squared_error(images, torch.zeros_like(images)).tolist() == [
        sum(value**2 for value in range(8)) / 8,
        sum(value**2 for value in range(8, 16)) / 8,
    ]


def test_squared_error_of_one_output_does_not_broadcast() -> None:
    outputs, targets = torch.tensor([[1.0], [2.0], [3.0]]), torch.tensor([1.0, 0.0, 5.0])
    assert squared_error(outputs, targets).tolist() == [0.0, 4.0, 4.0]


@pytest.mark.parametrize(("inputs", "targets"), [(3, 2), (2, 3), (0, 0)])
def test_a_split_needs_one_target_per_input(inputs: int, targets: int) -> None:
    with pytest.raises(
        LandscapeError,
        match=f"one target per input, got {inputs} inputs and {targets} targets",
    ):
        Split(torch.zeros(inputs, 2), torch.zeros(targets))


def test_the_splits_are_those_given_in_order() -> None:
    train, test, validation = pair(6), pair(4, seed=1), pair(3, seed=2)
    task = make_task(train=train, test=test, validation=validation, name="mine")
    assert task.name == "mine"
    assert {name: len(split) for name, split in task.splits.items()} == {
        "train": 6,
        "validation": 3,
        "test": 4,
    }
    assert torch.equal(task.splits["validation"].inputs, validation[0])
    assert set(make_task(train=train, test=test).splits) == {"train", "test"}


def test_classes_get_cross_entropy_and_values_squared_error() -> None:
    inputs, classes = pair(6)
    classified = make_task(train=(inputs, classes.to(torch.uint8)), test=(inputs, classes))
    assert classified.loss is cross_entropy
    assert classified.is_classification
    assert classified.splits["train"].targets.dtype == torch.int64
    values = torch.zeros(6, 2, 5)
    regressed = make_task(train=(inputs, values), test=(inputs, values))
    assert regressed.loss is squared_error
    assert not regressed.is_classification
    assert regressed.outputs == 10
    own = make_task(train=(inputs, classes), test=(inputs, classes), loss=squared_error)
    assert own.loss is squared_error


def test_shape_and_classes_are_those_of_all_splits() -> None:
    inputs = torch.zeros(4, 3, 8, 8)
    low, high = torch.tensor([0, 1, 0, 1]), torch.tensor([0, 1, 2, 6])
    task = make_task(train=(inputs, low), test=(inputs, high))
    assert task.input_shape == (3, 8, 8)
    assert task.outputs == 7


def test_classes_that_do_not_occur_are_counted_if_they_are_stated() -> None:
    inputs, classes = pair(6)
    task = make_task(train=(inputs, classes), test=(inputs, classes), classes=100)
    assert task.outputs == 100
    assert make_task(train=(inputs, classes), test=(inputs, classes)).outputs == 3
    assert task.digest == make_task(train=(inputs, classes), test=(inputs, classes)).digest


def test_a_split_is_moved_with_its_classes_as_they_are() -> None:
    inputs, classes = pair(6)
    moved = Split(inputs, classes).to(torch.device("cpu"), torch.float64)
    assert isinstance(moved.inputs, torch.Tensor)
    assert (moved.inputs.dtype, moved.targets.dtype) == (torch.float64, torch.int64)
    assert torch.equal(moved.inputs, inputs.double())
    same = Split(classes[:, None], inputs).to(torch.device("cpu"), torch.float64)
    assert isinstance(same.inputs, torch.Tensor)
    assert (same.inputs.dtype, same.targets.dtype) == (torch.int64, torch.float64)
    kept = Split(inputs, classes).to(torch.device("cpu"), torch.float32)
    assert isinstance(kept.inputs, torch.Tensor)
    assert kept.inputs.data_ptr() == inputs.data_ptr()  # nothing is copied for nothing


def test_tensors_that_carry_a_gradient_and_arrays_are_taken_as_data() -> None:
    inputs, classes = pair(4)
    plain = make_task(train=(inputs, classes), test=(inputs, classes))
    grown = inputs.clone().requires_grad_()
    assert (
        not make_task(train=(grown, classes), test=(grown, classes))
        .splits["train"]
        .inputs.requires_grad
    )
    arrays = (inputs.numpy().copy(), np.asarray(classes))
    assert make_task(train=arrays, test=arrays).digest == plain.digest  # type: ignore[arg-type]


def test_the_digest_is_a_function_of_the_content_alone() -> None:
    one = make_task(train=pair(6), test=pair(4, seed=1), name="one")
    other = make_task(train=pair(6), test=pair(4, seed=1), name="other")
    assert one.digest == other.digest
    assert len(bytes.fromhex(one.digest)) == 32


def test_trap_a_digest_for_another_task() -> None:
    train, test = pair(6), pair(4, seed=1)
    moved = train[0].clone()
    moved[5, 1] += 1e-6
    relabelled = train[1].clone()
    relabelled[0] = 2
    tasks = [
        make_task(train=train, test=test),
        make_task(train=(moved, train[1]), test=test),
        make_task(train=(train[0], relabelled), test=test),
        make_task(train=(train[0].double(), train[1]), test=test),
        make_task(train=(train[0].flip(0), train[1].flip(0)), test=test),
        make_task(train=(train[0].reshape(6, 1, 2), train[1]), test=test),
        make_task(train=test, test=train),
        make_task(train=train, test=test, validation=test),
        make_task(train=train, test=test, loss=squared_error),
    ]
    assert len({task.digest for task in tasks}) == len(tasks)


@pytest.mark.parametrize("missing", ["train", "test"])
def test_a_task_needs_train_and_test(missing: str) -> None:
    splits = {name: Split(*pair(6)) for name in ("train", "validation", "test") if name != missing}
    with pytest.raises(
        LandscapeError, match=f"task 'mine' has no {missing} split; it has {', '.join(splits)}"
    ):
        Task("mine", splits)


def test_a_task_is_not_changed_by_its_digest() -> None:
    inputs, classes = pair(6)
    strided, plain = Split(inputs.t().contiguous().t(), classes), Split(inputs, classes)
    task = Task("t", {"train": strided, "test": strided}, cross_entropy)
    contiguous = Task("t", {"train": plain, "test": plain}, cross_entropy)
    assert task.digest == contiguous.digest
    assert torch.equal(task.splits["train"].inputs, inputs)


class Changing(torch.nn.Linear):
    """Rectifies its input in place."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return super().forward(inputs.relu_())


def test_a_network_that_fits_is_left_as_it_was() -> None:
    network = torch.nn.Sequential(torch.nn.Linear(6, 3), torch.nn.BatchNorm1d(3)).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    require_fit(network, blobs())
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_a_network_in_float64_fits_data_in_float32() -> None:
    require_fit(torch.nn.Linear(6, 3).double(), blobs())


def test_a_network_of_other_inputs_is_refused_in_words() -> None:
    with pytest.raises(LandscapeError, match=r"fails on examples of task 'blobs', inputs of shape"):
        require_fit(torch.nn.Linear(5, 3), blobs())


def test_a_network_that_changes_its_inputs_is_refused_and_the_data_are_whole() -> None:
    task = blobs()
    before = task.splits["train"].inputs.clone()
    with pytest.raises(LandscapeError, match="changes the inputs of task 'blobs' in place"):
        require_fit(Changing(6, 3), task)
    assert torch.equal(task.splits["train"].inputs, before)


def test_a_loss_that_is_one_number_is_refused() -> None:
    task = Task("mean", blobs().splits, torch.nn.functional.cross_entropy)
    with pytest.raises(UsageError, match=r"returned shape \(\) for 2 examples; it must return one"):
        require_fit(torch.nn.Linear(6, 3), task)


def test_fewer_outputs_than_classes_are_refused() -> None:
    message = "^the network has 2 outputs and task 'blobs' 3 classes; give a --model with an output"
    task = blobs()
    two = Task("blobs", {"train": Split(task.splits["train"].inputs, torch.arange(60) % 3),
                         "test": task.splits["test"]})  # fmt: skip
    with pytest.raises(UsageError, match=message):
        require_fit(torch.nn.Linear(6, 2), two)
    require_fit(torch.nn.Linear(6, 5), two)  # more than there are occur in no target
