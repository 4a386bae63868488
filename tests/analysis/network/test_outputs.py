"""A network's answers, and what its task makes of answers that somebody else gives."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from landscape.analysis.landscape import Rescalable
from landscape.analysis.network.evaluator import Evaluator
from landscape.data_store.errors import LandscapeError, UsageError
from landscape.training.task import cross_entropy, squared_error
from tests.support.landscapes import quadratic

EXAMPLES = 23


class Pair(nn.Module):
    """Two answers to every example."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.layer(x), x


def made(dtype=torch.float32, outputs=3):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, outputs)).to(dtype)


def inputs(seed=1):
    return torch.randn(EXAMPLES, 4, generator=torch.Generator().manual_seed(seed))


def classes(seed=2):
    return torch.randint(0, 3, (EXAMPLES,), generator=torch.Generator().manual_seed(seed))


def values(outputs=3, seed=3):
    return torch.randn(EXAMPLES, outputs, generator=torch.Generator().manual_seed(seed))


def evaluator(model, targets, loss, **options):
    splits = {"train": (inputs(9), targets), "test": (inputs(), targets)}
    return Evaluator(model, splits, loss, batch_size=8, **options)


def point(model, factor=1.0):
    parts = [p.detach().reshape(-1) for p in model.parameters()]
    return factor * torch.cat(parts).numpy()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_outputs_are_those_of_the_network_at_the_point(dtype):
    model = made(dtype)
    landscape = evaluator(model, classes(), cross_entropy)
    got = landscape.outputs(point(model, 0.5), split="test")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(0.5)
        rows = [model(part) for part in inputs().to(dtype).split(8)]
    assert got.dtype == np.float64
    np.testing.assert_array_equal(got, torch.cat(rows).double().numpy())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_judged_outputs_have_the_losses_of_the_network_bit_for_bit(dtype):
    model = made(dtype)
    for targets, loss in ((classes(), cross_entropy), (values().to(dtype), squared_error)):
        landscape = evaluator(model, targets, loss)
        theta = point(model)
        got = landscape.judged(landscape.outputs(theta, split="test")[None], split="test")
        want = landscape.per_example(theta[None], np.ones((1, 1)), split="test")
        np.testing.assert_array_equal(got.loss, want.loss)
        np.testing.assert_array_equal(got.error, want.error)


def test_other_outputs_have_the_tasks_loss_written_out():
    landscape = evaluator(made(torch.float64), classes(), cross_entropy)
    given = np.random.default_rng(0).standard_normal((2, EXAMPLES, 3))
    got = landscape.judged(given, split="test")
    for k, outputs in enumerate(given):
        for i, (row, answer) in enumerate(zip(outputs, classes().tolist(), strict=True)):
            want = math.log(np.exp(row).sum()) - row[answer]
            assert got.loss[k, i] == pytest.approx(want, rel=1e-12)
            assert got.error[k, i] == float(row.argmax() != answer)


def test_answers_of_a_regression_are_never_wrong():
    landscape = evaluator(made(), values(), squared_error)
    assert np.isnan(landscape.judged(np.zeros((1, EXAMPLES, 3)), split="test").error).all()


def test_an_answer_without_a_finite_loss_is_nan_alone():
    landscape = evaluator(made(torch.float64), values().double(), squared_error)
    given = np.zeros((1, EXAMPLES, 3))
    given[0, 5, 1] = np.nan
    given[0, 7, 0] = np.inf
    unknown = np.flatnonzero(np.isnan(landscape.judged(given, split="test").loss[0]))
    assert unknown.tolist() == [5, 7]


def test_targets_are_those_of_the_split():
    for targets, loss, kind in ((classes(), cross_entropy, "i"), (values(), squared_error, "f")):
        got = evaluator(made(), targets, loss).targets("test")
        np.testing.assert_array_equal(got, targets.numpy())
        assert got.dtype.kind == kind


def test_the_shape_of_an_answer():
    assert evaluator(made(outputs=2), values(2), squared_error).output_shape == (2,)
    lone = nn.Sequential(nn.Linear(4, 1), nn.Flatten(0))
    assert evaluator(lone, values()[:, 0], squared_error).output_shape == ()


def test_answers_that_are_no_tensor_have_no_shape_and_no_factors():
    landscape = evaluator(Pair(), classes(), lambda given, y: cross_entropy(given[0], y))
    assert landscape.output_shape is None
    with pytest.raises(LandscapeError, match="answers with a tuple; a tensor with a row per ex"):
        landscape.outputs(point(Pair()), split="test")


@pytest.mark.parametrize("shape", [(EXAMPLES, 3), (1, EXAMPLES - 1, 3), (EXAMPLES,)])
def test_outputs_of_another_number_of_examples_are_refused(shape):
    landscape = evaluator(made(), classes(), cross_entropy)
    with pytest.raises(LandscapeError, match=r"outputs of shape \(.*expected \(any, 23, …\)"):
        landscape.judged(np.zeros(shape), split="test")


def test_an_unknown_split_is_refused():
    landscape = evaluator(made(), classes(), cross_entropy)
    for ask in (
        lambda: landscape.targets("tests"),
        lambda: landscape.outputs(point(made()), split="tests"),
        lambda: landscape.judged(np.zeros((1, EXAMPLES, 3)), split="tests"),
    ):
        with pytest.raises(UsageError, match="there is no split 'tests'"):
            ask()


def test_statistics_are_recomputed_by_the_policy():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Linear(5, 3))
    point = np.concatenate(
        [p.detach().numpy().reshape(-1) for p in model.parameters()] + [np.zeros(5), np.ones(5)]
    )
    other, own = (
        evaluator(model, classes(), cross_entropy, bn=bn) for bn in ("recompute", "interpolate")
    )
    got = other.outputs(point, split="test")
    assert not np.allclose(got, own.outputs(point, split="test"))
    want = other.per_example(point[None], np.ones((1, 1)), split="test")
    np.testing.assert_array_equal(other.judged(got[None], split="test").loss, want.loss)


def test_the_evaluator_is_rescalable_and_a_formula_is_not():
    assert isinstance(evaluator(made(), classes(), cross_entropy), Rescalable)
    assert not isinstance(quadratic(np.ones(2)), Rescalable)
