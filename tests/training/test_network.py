"""Network: a module as one vector, in shared memory; evaluation against a float64 loop."""

from __future__ import annotations

import copy
import math
from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from landscape.data_store.records import Point
from landscape.training.models import mlp, parameter_spec
from landscape.training.network import EVALUATION_BATCH, Network
from landscape.training.task import Split, Task, make_task
from tests.support import naive
from tests.support.experiments import CPU, bits, doubled, noisy, point_bits
from tests.support.runs import blobs


def network_of(module: nn.Module) -> Network:
    """The network that takes a module over."""
    return Network(module, parameter_spec(module), CPU)


def separate(module: nn.Module) -> Tensor:
    """All parameters of a module, one after the other."""
    return torch.cat([p.detach().reshape(-1) for p in module.parameters()])


def split_of(examples: int, seed: int = 0) -> Split:
    """Random examples of three classes with six inputs."""
    draws = torch.Generator().manual_seed(seed)
    inputs = torch.randn(examples, 6, generator=draws)
    return Split(inputs, torch.randint(0, 3, (examples,), generator=draws))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_vector_holds_the_weights_the_module_came_with(dtype: torch.dtype) -> None:
    module = noisy().to(dtype)
    before = separate(module)
    network = network_of(module)
    assert network.theta.dtype == dtype
    assert torch.equal(network.theta.detach(), before)
    assert torch.equal(separate(module), before)


def test_parameters_are_views_of_the_vector() -> None:
    network = network_of(noisy())
    network.theta.data.copy_(torch.arange(float(network.spec.size)))
    assert torch.equal(separate(network.module), torch.arange(float(network.spec.size)))
    network.module.get_parameter("fc2.bias").data.fill_(-1.0)
    assert network.theta.detach()[network.spec.slices["fc2.bias"]].tolist() == [-1.0] * 3
    whole = network.theta.untyped_storage().data_ptr()
    assert {p.untyped_storage().data_ptr() for p in network.module.parameters()} == {whole}


def test_gradients_are_views_of_the_gradient() -> None:
    network, plain = network_of(mlp([6, 8, 3])), mlp([6, 8, 3])
    plain.load_state_dict(network.module.state_dict())
    split = split_of(20)
    for _ in range(2):  # backward replaces, it does not add up
        network.backward(nn.functional.cross_entropy(network.module(split.inputs), split.targets))
    nn.functional.cross_entropy(plain(split.inputs), split.targets).backward()
    expected = torch.cat([p.grad.reshape(-1) for p in plain.parameters() if p.grad is not None])
    assert network.theta.grad is not None
    assert torch.equal(network.theta.grad, expected)
    whole = network.theta.grad.untyped_storage().data_ptr()
    for parameter in network.module.parameters():
        assert parameter.grad is not None
        assert parameter.grad.untyped_storage().data_ptr() == whole


def test_a_step_on_the_vector_moves_the_module() -> None:
    network = network_of(mlp([6, 8, 3]))
    split = split_of(20)
    before = network.module(split.inputs).detach()
    weights = separate(network.module)
    network.backward(nn.functional.cross_entropy(network.module(split.inputs), split.targets))
    torch.optim.SGD([network.theta], lr=0.5).step()
    assert network.theta.grad is not None
    assert torch.allclose(separate(network.module), weights - 0.5 * network.theta.grad)
    assert not torch.allclose(network.module(split.inputs), before)


class Tied(nn.Module):
    """A layer applied twice under two names, and one after it."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(6, 6)
        self.b = nn.Linear(6, 6)
        self.b.weight = self.a.weight
        self.c = nn.Linear(6, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.c(torch.tanh(self.b(torch.tanh(self.a(inputs)))))


def test_tied_parameters_are_one_and_stay_tied() -> None:
    module = Tied()
    plain, split = copy.deepcopy(module), split_of(20)
    network = network_of(module)
    assert network.spec.size == 36 + 6 + 6 + 18 + 3
    assert module.a.weight is module.b.weight
    network.backward(nn.functional.cross_entropy(module(split.inputs), split.targets))
    nn.functional.cross_entropy(plain(split.inputs), split.targets).backward()
    assert network.theta.grad is not None
    assert plain.a.weight.grad is not None
    both = network.theta.grad[network.spec.slices["a.weight"]]
    assert torch.equal(both, plain.a.weight.grad.reshape(-1))
    network.set(Point(np.ones(network.spec.size, np.float32)))
    assert module.b.weight.tolist() == [[1.0] * 6] * 6


def test_a_point_round_trips_with_buffers_and_counters() -> None:
    network = network_of(noisy())
    network.module.train()
    for seed in range(3):
        network.module(split_of(20, seed).inputs)
    point = network.point()
    assert point.buffers["norm.num_batches_tracked"] == 3
    assert point.buffers["norm.num_batches_tracked"].shape == ()
    assert point.buffers["norm.running_mean"].any()

    other = network_of(noisy())
    assert point_bits(other.point()) != point_bits(point)
    other.set(point)
    assert point_bits(other.point()) == point_bits(point)
    assert other.module.state_dict().keys() == network.module.state_dict().keys()
    for name, value in network.module.state_dict().items():
        assert torch.equal(other.module.state_dict()[name], value)


def test_a_point_is_a_copy_and_set_takes_one() -> None:
    network = network_of(noisy())
    point = network.point()
    before = point_bits(point)
    network.theta.data.zero_()
    network.module.train()
    network.module(split_of(20).inputs)
    assert point_bits(point) == before
    network.set(point)
    network.theta.data.zero_()
    network.module(split_of(20).inputs)
    assert point_bits(point) == before


@pytest.mark.parametrize("examples", [1, EVALUATION_BATCH, 2 * EVALUATION_BATCH + 203])
def test_evaluation_is_a_float64_loop_over_examples(examples: int) -> None:
    task, split = doubled(blobs()), split_of(examples)
    split = Split(split.inputs.double(), split.targets)
    network = network_of(mlp([6, 8, 3]).double())
    loss, error = network.evaluate(split, task)
    naive_loss, naive_error = naive.judged(network.module, split)
    assert loss == pytest.approx(naive_loss, rel=1e-12)
    assert error == naive_error


def test_sums_over_many_examples_keep_their_digits() -> None:
    # 2^24 is the last whole number a float32 sum can count: 1.0 more is lost
    split = Split(torch.zeros(3 * EVALUATION_BATCH, 6), torch.zeros(3 * EVALUATION_BATCH))
    big, small = float(2**24), 1.0

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        values = torch.full((len(outputs),), small)
        values[0] = big
        return values

    task = Task("t", {"train": split, "test": split}, loss)
    mean, _ = network_of(mlp([6, 3])).evaluate(split, task)
    assert mean == (3 * big + 3 * EVALUATION_BATCH - 3) / (3 * EVALUATION_BATCH)


def test_evaluation_is_in_evaluation_mode_and_changes_nothing() -> None:
    network = network_of(noisy())
    network.module.train()
    network.module(split_of(20).inputs)
    before, state = point_bits(network.point()), torch.get_rng_state()
    split, task = split_of(50), blobs()
    first = network.evaluate(split, task)
    assert network.evaluate(split, task) == first
    loss, error = naive.judged(network.module, split)
    assert first == (pytest.approx(loss, rel=1e-6), error)
    assert point_bits(network.point()) == before
    assert torch.equal(torch.get_rng_state(), state)


def test_a_regression_has_a_loss_and_no_error() -> None:
    draws = torch.Generator().manual_seed(0)
    pair = torch.randn(1203, 4, generator=draws), torch.randn(1203, 2, generator=draws)
    task = make_task(train=pair, test=pair)
    network = network_of(mlp([4, 5, 2]))
    outputs = network.module(pair[0]).detach().double().numpy()
    expected = np.mean((outputs - pair[1].double().numpy()) ** 2)
    loss, error = network.evaluate(task.splits["test"], task)
    assert loss == pytest.approx(expected, rel=1e-6)
    assert math.isnan(error)


def test_unknown_outputs_have_an_unknown_error() -> None:
    network = network_of(mlp([6, 3]))
    network.theta.data.fill_(math.nan)
    loss, error = network.evaluate(split_of(20), blobs())
    assert math.isnan(loss)
    assert math.isnan(error)


def test_an_infinite_loss_stays_infinite() -> None:
    module = nn.Sequential(OrderedDict([("fc", nn.Linear(6, 3))]))
    network = network_of(module)
    network.theta.data.zero_()
    module.fc.bias.data.copy_(torch.tensor([1e38, -1e38, 0.0]) * 3)
    split = Split(torch.zeros(2, 6), torch.tensor([1, 0]))
    loss, error = network.evaluate(split, blobs())
    assert loss == math.inf
    assert error == 0.5


def test_set_takes_the_bits() -> None:
    network = network_of(mlp([6, 8, 3]))
    theta = np.random.default_rng(0).standard_normal(network.spec.size).astype(np.float32)
    theta[:3] = [-0.0, np.nan, 1e-42]
    network.set(Point(theta))
    assert bits(network.point().theta) == bits(theta)
