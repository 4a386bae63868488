"""Data of planted targets: exact labels, the noise models, independent draws, options in words."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
import torch

from landscape.data_store.errors import UsageError
from landscape.data_store.params import Array
from landscape.training.planting.target_data import (
    bayes,
    circle_task,
    floors,
    function_task,
    helix_task,
    is_target,
    relu_task,
    target_task,
)
from landscape.training.planting.targets import circle_logits, helix
from landscape.training.task import Split, Task, cross_entropy, make_task, squared_error

# CONSTANT: areas of the discs x₁² + x₂² <= 0.2, 0.5, 0.7 in the square of area 4
SHARES = [math.pi * 0.2 / 4, math.pi * 0.3 / 4, math.pi * 0.2 / 4, 1 - math.pi * 0.7 / 4]


def arrays(split: Split) -> tuple[Array, Array]:
    """Inputs as float64 and targets."""
    assert isinstance(split.inputs, torch.Tensor)
    return split.inputs.double().numpy(), split.targets.numpy()


def naive_label(x: Array, *, second: bool) -> int:
    """The class of the largest logit, or of the one after it."""
    g = float(x[0]) ** 2 + float(x[1]) ** 2
    logits = [5 * g, 10 * g - 1, 20 * g - 6, 40 * g - 20]
    return sorted(range(4), key=lambda c: -logits[c])[1 if second else 0]


@pytest.mark.parametrize(
    ("name", "inputs", "outputs"), [("relu", 1, 1), ("circle", 2, 4), ("helix", 1, 3)]
)
def test_a_task_has_9000_training_and_1000_test_examples(
    name: str, inputs: int, outputs: int
) -> None:
    task = target_task(name)
    assert {key: len(split) for key, split in task.splits.items()} == {"train": 9000, "test": 1000}
    assert task.name == name
    assert task.input_shape == (inputs,)
    assert task.outputs == outputs
    for split in task.splits.values():
        assert isinstance(split.inputs, torch.Tensor)
        assert split.inputs.dtype == torch.float32
        assert split.inputs.abs().max() <= 1
    train = task.splits["train"]
    assert train.targets.dtype == (torch.int64 if name == "circle" else torch.float32)
    assert train.targets.shape == ((9000,) if name == "circle" else (9000, outputs))
    assert task.loss is (cross_entropy if name == "circle" else squared_error)


@pytest.mark.parametrize("factory", [relu_task, circle_task, helix_task])
def test_the_factories_of_the_table_are_the_text_without_options(factory: object) -> None:
    name = factory.__name__.removesuffix("_task")  # type: ignore[attr-defined]
    made = factory(None, 77)  # type: ignore[operator]
    assert made.digest == target_task(name, 77).digest


def test_the_classes_of_a_circle_are_four_where_one_does_not_occur() -> None:
    assert target_task("circle:examples=10").outputs == 4


def test_inputs_are_uniform() -> None:
    inputs, _ = arrays(target_task("circle:examples=100000").splits["train"])
    counts = np.histogramdd(inputs, bins=10, range=[(-1, 1)] * 2)[0]
    n = len(inputs)
    chi2 = np.square(counts - n / 100).sum() / (n / 100)
    assert abs(chi2 - 99) < 4 * math.sqrt(2 * 99)


def test_the_labels_of_a_circle_without_noise_are_those_of_the_exact_function() -> None:
    inputs, labels = arrays(target_task("circle:noise=0,examples=2000").splits["train"])
    assert labels.tolist() == [naive_label(x, second=False) for x in inputs]


def test_the_classes_of_a_circle_have_the_areas_shares() -> None:
    for split in target_task("circle:noise=0,examples=40000").splits.values():
        shares = np.bincount(split.targets.numpy(), minlength=4) / len(split)
        for share, area in zip(shares, SHARES, strict=True):
            assert abs(share - area) < 4 * math.sqrt(area * (1 - area) / len(split))
    assert [round(share, 3) for share in SHARES] == [0.157, 0.236, 0.157, 0.45]


@pytest.mark.parametrize("noise", [0.001, 0.01, 0.1, 0.7])
def test_noise_moves_labels_to_the_second_most_likely_class(noise: float) -> None:
    split = target_task(f"circle:noise={noise},examples=20000").splits["train"]
    inputs, labels = arrays(split)
    order = np.argsort(-circle_logits(inputs), axis=1)
    flipped = labels != order[:, 0]
    assert (labels[flipped] == order[flipped, 1]).all()
    n = len(labels)
    assert abs(flipped.sum() - noise * n) < 4 * math.sqrt(n * noise * (1 - noise))
    some = np.flatnonzero(flipped)[:20]
    assert labels[some].tolist() == [naive_label(inputs[i], second=True) for i in some]


def test_all_labels_move_at_noise_one() -> None:
    inputs, labels = arrays(target_task("circle:noise=1,examples=300").splits["train"])
    assert labels.tolist() == [naive_label(x, second=True) for x in inputs]


@pytest.mark.parametrize("noise", [0.01, 0.3])
def test_the_noise_of_a_regression_is_gaussian_for_each_output(noise: float) -> None:
    inputs, targets = arrays(target_task(f"helix:noise={noise},examples=20000").splits["train"])
    apart = (targets - helix(inputs[:, 0])) / noise
    n = len(apart)
    assert np.abs(apart.mean(0)).max() < 4 / math.sqrt(n)
    assert np.abs(np.square(apart).mean(0) - 1).max() < 4 * math.sqrt(2 / n)
    assert np.abs((apart**4).mean(0) - 3).max() < 4 * math.sqrt(96 / n)
    assert np.abs(np.corrcoef(apart.T) - np.eye(3)).max() < 4 / math.sqrt(n)


def test_without_noise_a_regression_is_the_function() -> None:
    inputs, targets = arrays(target_task("relu:noise=0").splits["test"])
    assert np.array_equal(targets, np.maximum(inputs, 0).astype(np.float32))
    inputs, targets = arrays(target_task("helix:noise=0").splits["test"])
    assert np.array_equal(targets, helix(inputs[:, 0]).astype(np.float32))


@pytest.mark.parametrize("name", ["relu", "circle", "helix"])
def test_the_same_text_gives_the_same_bits(name: str) -> None:
    assert target_task(f"{name}:seed=3").digest == target_task(f"{name}:seed=3").digest
    assert target_task(name).digest == target_task(f"{name}:noise=0.01,seed=0").digest


@pytest.mark.parametrize("name", ["relu", "circle", "helix"])
def test_seeds_splits_and_targets_have_independent_inputs(name: str) -> None:
    columns = []
    for seed in (0, 1):
        for split in target_task(f"{name}:seed={seed},examples=50000", 5000).splits.values():
            columns.append(arrays(split)[0][:5000, 0])
    other = "helix" if name == "relu" else "relu"
    columns.append(arrays(target_task(f"{other}:examples=50000").splits["train"])[0][:5000, 0])
    assert np.abs(np.corrcoef(columns) - np.eye(len(columns))).max() < 4 / math.sqrt(5000)


def test_noise_is_independent_between_splits() -> None:
    task = target_task("relu:noise=0.5,examples=50000", 5000)
    noise = []
    for split in task.splits.values():
        inputs, targets = arrays(split)
        noise.append((targets - np.maximum(inputs, 0))[:5000, 0])
    assert np.abs(np.corrcoef(noise) - np.eye(3)).max() < 4 / math.sqrt(5000)


def test_more_noise_on_the_same_inputs() -> None:
    """A sweep of the noise changes nothing else: inputs stay, flipped labels stay flipped."""
    few, more = (target_task(f"circle:noise={p}").splits["train"] for p in (0.01, 0.1))
    exact = target_task("circle:noise=0").splits["train"].targets
    assert torch.equal(few.inputs, more.inputs)  # type: ignore[arg-type]
    flipped = few.targets != exact
    assert torch.equal(few.targets[flipped], more.targets[flipped])


def test_fewer_examples_are_the_first_ones() -> None:
    few, many = target_task("helix:examples=100"), target_task("helix:examples=1000")
    for name, split in few.splits.items():
        n = len(split)
        assert torch.equal(split.inputs, many.splits[name].inputs[:n])  # type: ignore[arg-type]
        assert torch.equal(split.targets, many.splits[name].targets[:n])


def test_examples_are_nine_tenths_training() -> None:
    task = target_task("relu:examples=1019")
    assert (len(task.splits["train"]), len(task.splits["test"])) == (918, 101)


def test_validation_is_a_third_draw_and_takes_nothing_away() -> None:
    plain, held = target_task("circle"), target_task("circle", 500)
    assert set(held.splits) == {"train", "validation", "test"}
    assert len(held.splits["validation"]) == 500
    for name in ("train", "test"):
        assert held.splits[name].digest == plain.splits[name].digest
    assert target_task("circle", 100).splits["validation"].digest != held.splits["test"].digest


@pytest.mark.parametrize("size", [0, -5, True, 2.0])
def test_a_validation_size_below_one_is_refused(size: int) -> None:
    with pytest.raises(
        UsageError, match=rf"validation_size of circle is {size!r}; expected a whole number from 1"
    ):
        target_task("circle", size)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("circle:seed=3,noise=0.1", "circle:noise=0.1,seed=3"),
        ("circle:noise=1e-1", "circle:noise=0.1"),
        ("circle:noise=0.01", "circle"),
        ("relu:examples=500,seed=007", "relu:seed=7,examples=500"),
        ("helix:noise=0", "helix:noise=0.0"),
        ("helix:noise=-0", "helix:noise=0.0"),
    ],
)
def test_the_name_of_a_task_is_its_text_in_one_form(text: str, name: str) -> None:
    assert target_task(text).name == name
    assert target_task(name).digest == target_task(text).digest


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("circle:nose=0.1", "unknown option of circle 'nose'; did you mean 'noise'?"),
        ("circle:noise", "option 'noise' of circle has no value; write it as circle:noise=0.01"),
        ("circle:", "circle: has no option after the colon; write it as circle:noise=0.01"),
        ("circle:seed=1,", "circle: has no option after the comma; write it as circle:noise=0.01"),
        ("circle:seed=1,seed=2", "option 'seed' of circle is given twice; give it once"),
        ("circle:noise=abc", "noise of circle is 'abc'; expected a number from 0 to 1, as in 0.01"),
        ("circle:noise=1.5", "noise of circle is '1.5'; expected a number from 0 to 1, as in 0.01"),
        ("circle:noise=nan", "noise of circle is 'nan'; expected a number from 0 to 1, as in 0.01"),
        ("relu:noise=-1", "noise of relu is '-1'; expected a number from 0 on"),
        ("relu:noise=inf", "noise of relu is 'inf'; expected a number from 0 on"),
        ("relu:seed=-1", "seed of relu is '-1'; expected a whole number from 0 on"),
        ("relu:seed=1.5", "seed of relu is '1.5'; expected a whole number from 0 on"),
        ("relu:examples=9", "examples of relu is '9'; expected a whole number from 10 to"),
        ("relu:examples=1e4", "examples of relu is '1e4'; expected a whole number from 10 to"),
        ("relu:examples=99999999", "examples of relu is '99999999'; expected a whole number"),
        ("circel:seed=1", "unknown target 'circel'; did you mean 'circle'?"),
    ],
)
def test_a_wrong_text_is_refused_in_one_sentence(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        target_task(text)


@pytest.mark.parametrize(
    ("text", "yes"),
    [
        ("circle", True),
        ("relu:noise=1", True),
        ("helix:", True),
        ("helix-released", False),
        ("circle.py:make", False),
        ("mnist", False),
        ("", False),
    ],
)
def test_a_target_is_known_by_its_head(text: str, yes: bool) -> None:
    assert is_target(text) is yes


def test_a_function_task_is_the_function_with_noise() -> None:
    def wave(x: Array) -> Array:
        return np.stack([np.sin(x), x**2], 1)

    task = function_task(wave, "wave", low=1.0, high=3.0, noise=0.1, examples=10_000)
    assert task.outputs == 2
    assert task.loss is squared_error
    inputs, targets = arrays(task.splits["train"])
    assert 1 <= inputs.min() < 1.01
    assert 2.99 < inputs.max() <= 3
    apart = (targets - wave(inputs[:, 0])) / 0.1
    assert np.abs(np.square(apart).mean(0) - 1).max() < 4 * math.sqrt(2 / len(apart))
    same = function_task(wave, "wave", low=1.0, high=3.0, noise=0.1, examples=10_000)
    assert task.digest == same.digest
    other = function_task(wave, "other", low=1.0, high=3.0, noise=0.1, examples=10_000)
    assert task.digest != other.digest


def test_relu_is_the_function_task_of_relu() -> None:
    made = function_task(lambda x: np.maximum(x, 0), "relu", validation_size=50)
    assert made.digest == target_task("relu", 50).digest


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"noise": -0.1}, r"noise of odd is -0\.1; expected a number from 0 on"),
        ({"noise": 1e39}, r"noise of odd is 1e\+39; expected a number from 0 on"),
        ({"noise": True}, r"noise of odd is True; expected a number from 0 on"),
        ({"seed": 1.5}, r"seed of odd is 1\.5; expected a whole number from 0 on"),
        ({"examples": 3}, r"examples of odd is 3; expected a whole number from 10 to"),
        ({"low": 1.0}, r"range of odd is 1\.0 to 1\.0; give finite numbers, low < high"),
        ({"low": -1e39}, r"range of odd is -1e\+39 to 1\.0; give finite numbers, low < high"),
        ({"noise": 3e38}, r"targets of odd reach .*e\+\d+; scale the function or its noise so"),
    ],
)
def test_wrong_options_of_a_function_task_are_refused(
    options: dict[str, float], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        function_task(np.exp, "odd", **options)  # type: ignore[arg-type]


def test_a_function_task_refuses_a_function_that_fails() -> None:
    with pytest.raises(UsageError, match=r"function odd fails on an array of shape \(9000,\)"):
        function_task(math.sin, "odd")  # type: ignore[arg-type]


def test_the_floors_of_a_circle_are_those_of_the_majority_and_of_the_shares() -> None:
    train = torch.tensor([0, 3, 3, 3, 1, 1, 2, 3])
    test = torch.tensor([3, 3, 0, 1, 1])
    task = make_task(train=(torch.zeros(8, 2), train), test=(torch.zeros(5, 2), test), classes=4)
    expected = -(2 * math.log(4 / 8) + math.log(1 / 8) + 2 * math.log(2 / 8)) / 5
    assert floors(task) == pytest.approx({"majority_error": 3 / 5, "constant_loss": expected})


def test_a_class_that_training_lacks_costs_infinitely_much() -> None:
    task = make_task(
        train=(torch.zeros(3, 2), torch.tensor([0, 0, 1])),
        test=(torch.zeros(2, 2), torch.tensor([0, 2])),
    )
    assert floors(task) == {"majority_error": 0.5, "constant_loss": math.inf}


def test_the_floor_of_a_regression_is_the_loss_of_the_training_mean() -> None:
    train = torch.tensor([[0.0, 1.0], [2.0, 3.0]])
    test = torch.tensor([[1.0, 5.0]])
    task = make_task(train=(torch.zeros(2, 1), train), test=(torch.zeros(1, 1), test))
    assert floors(task) == {"constant_loss": 4.5}
    flat = Task(
        "flat", {n: Split(torch.zeros(2, 1), train[:, 1]) for n in ("train", "test")}, squared_error
    )
    assert floors(flat) == {"constant_loss": 1.0}


def test_the_floors_of_the_paper() -> None:
    # closed forms: relu 1/6 - 1/16; the circle's largest class covers 0.4502 of the square
    circle = floors(target_task("circle:noise=0,examples=100000"))
    assert circle["majority_error"] == pytest.approx(1 - SHARES[3], abs=0.02)
    entropy = -sum(share * math.log(share) for share in SHARES)
    assert circle["constant_loss"] == pytest.approx(entropy, abs=0.03)
    relu = floors(target_task("relu:noise=0,examples=100000"))["constant_loss"]
    assert relu == pytest.approx(1 / 6 - 1 / 16, abs=0.004)
    assert relu == pytest.approx(0.104, abs=0.004)
    assert floors(target_task("helix:noise=0,examples=100000"))["constant_loss"] == pytest.approx(
        0.161, abs=0.003
    )


def test_the_best_possible_is_what_the_noise_leaves() -> None:
    assert bayes("circle:noise=0") == {"error": 0.0, "loss": 0.0}
    at = bayes("circle:noise=0.1")
    assert at["error"] == 0.1
    assert at["loss"] == pytest.approx(-0.1 * math.log(0.1) - 0.9 * math.log(0.9))
    assert bayes("circle:noise=0.7")["error"] == pytest.approx(0.3)
    assert bayes("circle:noise=1") == {"error": 0.0, "loss": 0.0}
    assert bayes("helix") == {"loss": pytest.approx(1e-4)}


def test_the_exact_function_reaches_the_best_possible() -> None:
    inputs, labels = arrays(target_task("circle:noise=0.2,examples=40000").splits["train"])
    error = (circle_logits(inputs).argmax(1) != labels).mean()
    assert abs(error - bayes("circle:noise=0.2")["error"]) < 4 * 0.4 / math.sqrt(len(labels))
    inputs, targets = arrays(target_task("helix:noise=0.2,examples=40000").splits["train"])
    loss = np.square(helix(inputs[:, 0]) - targets).mean()
    assert loss == pytest.approx(bayes("helix:noise=0.2")["loss"], rel=4 * math.sqrt(2 / 108_000))
