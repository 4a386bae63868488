"""SNIP, GraSP and SynFlow against finite differences and their papers' formulas, in float64."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from landscape.data_store.errors import LandscapeError, UsageError
from landscape.data_store.mask import Mask
from landscape.data_store.params import Array
from landscape.training.criteria import Candidate, Criterion
from landscape.training.edge_popup import edge_popup
from landscape.training.gradient_criteria import grasp, scoring_examples, snip, synflow
from landscape.training.loop import on_device
from landscape.training.models import mlp
from landscape.training.network import Network
from landscape.training.task import Task, make_task
from tests.support.candidates import candidate, regression
from tests.support.experiments import noisy, pictures
from tests.support.runs import blobs

GRADIENT = {"snip": snip, "grasp": grasp, "synflow": synflow}


def loss_at(given: Candidate, theta: Array, temperature: float = 1.0) -> float:
    """Mean loss of the scoring examples with every weight as given, in evaluation mode."""
    sight = given.seen("test")
    module = copy.deepcopy(sight.network.module).double().eval()
    tensors = sight.network.spec.unflatten(theta)
    state = {n: torch.from_numpy(v.copy()) for n, v in {**tensors, **given.buffers}.items()}
    module.load_state_dict(state)
    chosen = scoring_examples(given, sight)
    train = sight.task.splits["train"]
    with torch.no_grad():
        outputs = module(train.inputs[chosen].double()) / temperature
        targets = train.targets[chosen]
        targets = targets.double() if targets.is_floating_point() else targets
        return float(sight.task.loss(outputs, targets).mean())


def slopes(function: Callable[[Array], float], at: Array, step: float) -> Array:
    """Central differences along every axis."""
    axes = np.eye(len(at))
    return np.array(
        [(function(at + step * e) - function(at - step * e)) / (2 * step) for e in axes]
    )


CASES = [(mlp([6, 5, 3]), blobs()), (mlp([6, 5, 2]), regression()), (noisy(), blobs())]


@pytest.mark.parametrize("biases", [True, False])
@pytest.mark.parametrize(("module", "task"), CASES)
def test_snip_is_the_slope_along_the_mask(module: nn.Module, task: Task, biases: bool) -> None:
    given = candidate(copy.deepcopy(module).double(), task, biases=biases)

    def loss(mask: Array) -> float:
        return loss_at(given, mask * given.theta)

    # the loss as a function of a mask of real numbers, at the candidate's
    expected = np.abs(slopes(loss, given.mask.kept.astype(np.float64), 1e-6))
    expected[~given.mask.covered] = 0
    scores = snip(given)
    np.testing.assert_allclose(scores, expected / expected.sum(), rtol=1e-5, atol=1e-9)
    assert scores.sum() == pytest.approx(1, rel=1e-12)
    assert (scores[given.mask.covered & ~given.mask.kept] > 0).any()  # what may come back


@pytest.mark.parametrize("biases", [True, False])
@pytest.mark.parametrize(("module", "task"), CASES)
def test_grasp_is_theta_times_hessian_times_gradient(
    module: nn.Module, task: Task, biases: bool
) -> None:
    # a smooth network, so that second differences are those of the formula
    smooth = copy.deepcopy(module).double()
    for name, part in module.named_children():
        if isinstance(part, nn.ReLU):
            setattr(smooth, name, nn.Tanh())
    given = candidate(smooth, task, biases=biases)
    alive = given.mask.kept & given.mask.covered
    theta = given.mask.apply(given.theta)

    def gradient(at: Array) -> Array:
        return np.where(alive, slopes(lambda w: loss_at(given, w, 200.0), at, 1e-3), 0)

    g = gradient(theta)
    unit = g / np.linalg.norm(g)
    step = 1e-3
    product = (gradient(theta + step * unit) - gradient(theta - step * unit)) / (2 * step)
    expected = theta * product * np.linalg.norm(g)
    expected = expected / (abs(expected.sum()) + 1e-10)
    scores = grasp(given)
    np.testing.assert_allclose(scores, expected, rtol=2e-3, atol=2e-3 * np.abs(expected).max())
    assert not scores[~alive].any()
    assert (scores < 0).any()
    assert (scores > 0).any()


def naive_synflow(weights: list[Array], biases: list[Array]) -> tuple[list[Array], list[Array]]:
    """The flow through every weight: what comes in times what goes out, layer by layer."""
    ins = [np.ones(weights[0].shape[1])]
    for w, b in zip(weights, biases, strict=True):
        ins.append(np.abs(w) @ ins[-1] + np.abs(b))
    outs = [np.ones(weights[-1].shape[0])]
    for w in reversed(weights[1:]):
        outs.insert(0, outs[0] @ np.abs(w))
    flows = [
        np.abs(w) * out[:, None] * before[None, :]
        for w, before, out in zip(weights, ins, outs, strict=False)
    ]
    return flows, [np.abs(b) * out for b, out in zip(biases, outs, strict=True)]


@pytest.mark.parametrize("biases", [True, False])
def test_synflow_is_the_flow_through_each_weight(biases: bool) -> None:
    given = candidate(mlp([6, 5, 4, 3]).double(), blobs(), biases=biases)
    tensors = given.mask.spec.unflatten(given.mask.apply(given.theta))
    weights, added = ([v for n, v in tensors.items() if n.endswith(e)] for e in ("weight", "bias"))
    flows, of_biases = naive_synflow(weights, added)
    expected = np.concatenate(
        [part.reshape(-1) for pair in zip(flows, of_biases, strict=True) for part in pair]
    )
    expected[~given.mask.covered] = 0
    np.testing.assert_allclose(synflow(given), expected, rtol=1e-12)


def test_synflow_is_conserved_from_layer_to_layer() -> None:
    module = nn.Sequential(
        OrderedDict(
            [
                ("a", nn.Linear(6, 9, bias=False)),
                ("relu", nn.ReLU()),
                ("b", nn.Linear(9, 7, bias=False)),
                ("relu2", nn.ReLU()),
                ("c", nn.Linear(7, 3, bias=False)),
            ]
        )
    )
    given = candidate(module, blobs())
    scores = synflow(given)
    flows = [scores[place].sum() for place in given.mask.spec.slices.values()]
    # Tanaka et al. (2020), theorem 2: each layer carries all of the flow
    assert flows == pytest.approx([flows[0]] * 3, rel=1e-12)
    assert flows[0] > 0
    # theorem 1: so does each hidden unit, from its inputs to its outputs
    a, b = (scores[given.mask.spec.slices[n]] for n in ("a.weight", "b.weight"))
    np.testing.assert_allclose(a.reshape(9, 6).sum(1), b.reshape(7, 9).sum(0), rtol=1e-12)


def test_synflow_takes_normalisation_as_it_is_evaluated() -> None:
    given = candidate(noisy().double(), blobs())

    def flow(theta: Array) -> float:
        tensors = {n: torch.from_numpy(v) for n, v in given.mask.spec.unflatten(theta).items()}
        mean, variance = (
            torch.from_numpy(given.buffers[f"norm.running_{n}"]) for n in ("mean", "var")
        )
        hidden = tensors["fc1.weight"].sum(1) + tensors["fc1.bias"]
        hidden = (hidden - mean) / (variance + 1e-5).sqrt()
        hidden = (tensors["norm.weight"] * hidden + tensors["norm.bias"]).relu()
        return float((tensors["fc2.weight"] @ hidden + tensors["fc2.bias"]).sum())

    theta = np.abs(given.mask.apply(given.theta))
    expected = np.where(given.mask.covered, np.abs(slopes(flow, theta, 1e-6) * theta), 0)
    np.testing.assert_allclose(synflow(given), expected, rtol=1e-6, atol=1e-9)


def test_synflow_does_not_overflow_where_float32_would() -> None:
    layers = [layer for _ in range(30) for layer in (nn.Linear(200, 200), nn.ReLU())]
    given = candidate(
        nn.Sequential(nn.Linear(6, 200), *layers, nn.Linear(200, 3)), blobs(), density=1.0
    )
    assert given.theta.dtype == np.float32
    scores = synflow(given)
    assert np.isfinite(scores).all()
    assert scores.max() > np.finfo(np.float32).max


@pytest.mark.parametrize("name", ["snip", "grasp"])
def test_the_examples_may_come_in_pieces(name: str) -> None:
    few, whole = (
        GRADIENT[name](candidate(mlp([6, 5, 3]).double(), blobs(), batch_size=size))
        for size in (7, 1000)
    )
    np.testing.assert_allclose(few, whole, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("name", GRADIENT)
@pytest.mark.parametrize("module", [mlp([6, 5, 3]), noisy()])
def test_the_network_is_left_alone(name: str, module: nn.Module) -> None:
    given = candidate(copy.deepcopy(module), blobs())
    network = given.seen("test").network
    network.module.train()
    before = copy.deepcopy(network.module.state_dict())
    theta, state = given.theta.copy(), torch.random.get_rng_state()
    scores = GRADIENT[name](given)
    assert scores.dtype == np.float64
    assert scores.shape == given.theta.shape
    assert network.module.training
    assert network.theta.dtype == torch.float32
    assert not network.theta.grad.any()  # type: ignore[union-attr]
    assert np.array_equal(given.theta, theta)
    for key, value in network.module.state_dict().items():
        assert torch.equal(value, before[key])
    assert torch.equal(torch.random.get_rng_state(), state)
    assert np.array_equal(scores, GRADIENT[name](given))


@pytest.mark.parametrize("name", GRADIENT)
def test_scores_are_those_of_the_candidate_s_weights_and_buffers(name: str) -> None:
    one, other = (candidate(noisy(), blobs(), density=1.0) for _ in range(2))
    moved = replace(other, buffers={n: np.asarray(b + 1) for n, b in other.buffers.items()})
    doubled_weights = replace(other, theta=2 * other.theta)
    scores = GRADIENT[name](one)
    assert np.array_equal(scores, GRADIENT[name](other))
    assert not np.allclose(scores, GRADIENT[name](moved))
    assert not np.allclose(scores, GRADIENT[name](doubled_weights))


@pytest.mark.parametrize("name", GRADIENT)
def test_convolutions_are_scored(name: str) -> None:
    module = nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(24, 3)
    )
    given = candidate(module, pictures())
    scores = GRADIENT[name](given)
    assert np.isfinite(scores).all()
    assert scores[given.mask.spec.slices["0.weight"]].any()


def test_a_network_without_any_path_scores_zero() -> None:
    given = candidate(mlp([6, 5, 3]), blobs(), biases=False)
    nothing = Mask(given.mask.spec, given.mask.prunable, ~given.mask.covered)
    for name, criterion in GRADIENT.items():
        scores = criterion(replace(given, mask=nothing))
        assert np.isfinite(scores).all()
        assert name == "snip" or not scores.any()


def test_snip_of_a_loss_that_no_weight_moves_is_zero() -> None:
    given = candidate(mlp([6, 5, 3]), blobs(), biases=False)
    still = replace(given, theta=np.zeros_like(given.theta))
    assert not snip(still).any()


def test_a_loss_that_is_linear_in_the_weights_has_no_curvature() -> None:
    def mean(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return outputs.mean(1)

    task = blobs()
    linear = Task("linear", task.splits, mean)
    assert not grasp(candidate(mlp([6, 3]), linear)).any()


@pytest.mark.parametrize(
    ("task", "changes", "number"),
    [
        (blobs(), {}, 30),
        (blobs(), {"score_examples": 7}, 7),
        (blobs(), {"score_examples": 60}, 60),
        (blobs(), {"score_examples": 10_000}, 60),
        (regression(), {}, 40),
        (regression(30), {}, 15),
    ],
)
def test_the_scoring_examples_are_drawn_once_each(
    task: Task, changes: dict[str, Any], number: int
) -> None:
    given = candidate(mlp([6, 5, 3]), task, **changes)
    found = scoring_examples(given, given.seen("test")).tolist()
    assert len(set(found)) == len(found) == number
    assert set(found) <= set(range(len(task.splits["train"])))


def test_levels_rounds_and_seeds_draw_other_examples() -> None:
    first = candidate(mlp([6, 5, 3]), blobs(), score_examples=20)
    others = [
        first,
        replace(first, level=2),
        replace(first, round=1),
        replace(first, seed=4),
    ]
    drawn = [scoring_examples(one, one.seen("test")).tolist() for one in others]
    assert len({tuple(places) for places in drawn}) == 4
    again = candidate(mlp([6, 5, 3]), blobs(), score_examples=20)
    assert scoring_examples(again, again.seen("test")).tolist() == drawn[0]


@pytest.mark.parametrize("name", [*GRADIENT, "edge-popup"])
def test_weights_alone_are_not_enough(name: str) -> None:
    criterion: Criterion = {**GRADIENT, "edge-popup": edge_popup}[name]
    given = replace(candidate(mlp([6, 5, 3]), blobs()), sight=None)
    message = f"^criterion '{name}' asks the network and its data, and got weights alone; give the"
    with pytest.raises(LandscapeError, match=message):
        criterion(given)


def test_synflow_refuses_inputs_that_are_no_real_numbers() -> None:
    x, y = torch.zeros(4, 6, dtype=torch.int64), torch.tensor([0, 1, 2, 0])
    task = make_task(train=(x, y), test=(x, y), name="words")
    message = "^synflow gives a network inputs of ones, but those of task 'words' are whole numbers"
    with pytest.raises(UsageError, match=message):
        synflow(candidate(mlp([6, 5, 3]), task))


class Constant(nn.Module):
    """Multiplies by a matrix in float32 that is registered nowhere."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(6, 3)
        self.hidden = [torch.eye(3)]

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Logits."""
        outputs: torch.Tensor = self.fc(inputs) @ self.hidden[0]
        return outputs


@pytest.mark.parametrize("name", GRADIENT)
def test_a_network_that_cannot_be_evaluated_in_float64_is_named(name: str) -> None:
    message = f"^criterion '{name}' needs the network in float64, and there it fails: .*register"
    with pytest.raises(LandscapeError, match=message):
        GRADIENT[name](candidate(Constant(), blobs()))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("name", [*GRADIENT, "edge-popup"])
def test_on_a_gpu_the_scores_are_those_of_the_processor(name: str) -> None:
    criterion = {**GRADIENT, "edge-popup": edge_popup}[name]
    here = candidate(mlp([6, 8, 3]).double(), blobs(), density=1.0, score_epochs=2)
    here = replace(here, keep=dict.fromkeys(here.mask.prunable, 3))
    sight = here.seen("test")
    network = Network(copy.deepcopy(sight.network.module), sight.network.spec, torch.device("cuda"))
    there = replace(sight, network=network, task=on_device(sight.task, network))
    scores = criterion(replace(here, sight=there))
    np.testing.assert_allclose(scores, criterion(here), rtol=1e-6, atol=1e-12)
