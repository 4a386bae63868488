"""Chains of layers: read off networks written in several ways; what is no chain is named."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from landscape.data_store.errors import UsageError
from landscape.training.convolutional import CONV_2, LENET_5, VGG_16
from landscape.training.models import build, mlp
from landscape.training.planting.chain import Link, chain
from landscape.training.residual import RESNET_20


class Written(nn.Module):
    """Two layers with what is given between and after them."""

    def __init__(self, between: Callable[[Tensor], Tensor], after: Callable[[Tensor], Tensor]):
        super().__init__()
        self.first = nn.Conv2d(1, 3, 3, bias=False)
        self.second = nn.Linear(12, 2)
        self.between, self.after = between, after

    def forward(self, inputs: Tensor) -> Tensor:
        return self.after(self.second(self.between(self.first(inputs))))


def same(values: Tensor) -> Tensor:
    """Nothing done."""
    return values


def test_a_multilayer_perceptron() -> None:
    assert chain(mlp([2, 7, 5, 4]), (2,)) == (
        Link("fc1.weight", "fc1.bias", units=7, inputs=2, block=1),
        Link("fc2.weight", "fc2.bias", units=5, inputs=7, block=1),
        Link("fc3.weight", "fc3.bias", units=4, inputs=5, block=1),
    )


def test_flattened_inputs_are_no_units_of_a_layer() -> None:
    assert [link.block for link in chain(mlp([12, 7, 4]), (3, 2, 2))] == [1, 1]


def test_lenet_5_has_25_features_per_channel_after_flattening() -> None:
    links = chain(build(LENET_5, (1, 28, 28), 10, seed=0), (1, 28, 28))
    assert [(link.units, link.inputs, link.block) for link in links] == [
        (6, 1, 1),
        (16, 6, 1),
        (120, 400, 25),
        (84, 120, 1),
        (10, 84, 1),
    ]


def test_conv_2_with_dropout() -> None:
    links = chain(build(CONV_2, (3, 32, 32), 10, seed=0).train(), (3, 32, 32))
    assert [link.weight for link in links] == [
        "conv1.weight",
        "conv2.weight",
        "fc1.weight",
        "fc2.weight",
        "fc3.weight",
    ]
    assert [link.block for link in links] == [1, 1, 256, 1, 1]


def test_one_dimensional_convolutions_and_poolings() -> None:
    network = nn.Sequential(
        nn.Conv1d(2, 4, 3), nn.ReLU(), nn.AvgPool1d(2), nn.Identity(), nn.Conv1d(4, 5, 2),
        nn.ReLU(), nn.AdaptiveAvgPool1d(3), nn.Flatten(), nn.Dropout(0.5), nn.Linear(15, 2),
    )  # fmt: skip
    assert chain(network, (2, 16)) == (
        Link("0.weight", "0.bias", 4, 2, 1),
        Link("4.weight", "4.bias", 5, 4, 1),
        Link("9.weight", "9.bias", 2, 15, 3),
    )


@pytest.mark.parametrize(
    "between",
    [
        lambda x: functional.relu(x).flatten(1),
        lambda x: torch.flatten(torch.relu(x), 1),
        lambda x: functional.relu(x, inplace=True).view(x.size(0), -1),
        lambda x: x.relu().reshape(x.shape[0], -1),
        lambda x: functional.dropout(x.relu_().view(-1, 12), 0.3),
        lambda x: x.flatten(start_dim=1),  # two linear layers in a row
        lambda x: functional.max_pool2d(functional.relu(x), 1).flatten(1),
        lambda x: functional.adaptive_avg_pool2d(functional.relu(x), 2).flatten(2).flatten(1),
    ],
)
def test_functions_between_layers(between: Callable[[Tensor], Tensor]) -> None:
    assert chain(Written(between, same), (1, 4, 4)) == (
        Link("first.weight", None, units=3, inputs=1, block=1),
        Link("second.weight", "second.bias", units=2, inputs=12, block=4),
    )


def test_neither_the_network_nor_its_mode_is_touched() -> None:
    network = nn.Sequential(nn.Linear(2, 3), nn.Dropout(0.5), nn.ReLU(), nn.Linear(3, 1))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    chain(network, (2,))
    assert network.training
    assert network[1].training
    assert all(torch.equal(before[n], tensor) for n, tensor in network.state_dict().items())


@pytest.mark.parametrize(
    ("network", "shape", "named"),
    [
        (build(VGG_16, (3, 32, 32), 10, seed=0), (3, 32, 32), r"'norm1' \(BatchNorm2d\)"),
        (build(RESNET_20, (3, 32, 32), 10, seed=0), (3, 32, 32), r"BatchNorm2d"),
        (nn.Sequential(nn.Linear(2, 3), nn.Sigmoid(), nn.Linear(3, 1)), (2,), r"'1' \(Sigmoid\)"),
        (nn.Sequential(nn.Linear(2, 3), nn.LeakyReLU(), nn.Linear(3, 1)), (2,), "LeakyReLU"),
        (Written(lambda x: torch.tanh(x).flatten(1), same), (1, 4, 4), "'tanh'"),
        (Written(lambda x: (x + x.relu()).flatten(1), same), (1, 4, 4), "'add'"),
        (Written(lambda x: (2 * x).flatten(1), same), (1, 4, 4), "'mul'"),
        (Written(lambda x: x.flatten(1), lambda x: x.softmax(1)), (1, 4, 4), "'softmax'"),
    ],
)
def test_what_is_not_understood_is_named(
    network: nn.Module, shape: tuple[int, ...], named: str
) -> None:
    with pytest.raises(UsageError, match=rf"{named}.*; supported are Linear, Conv1d, Conv2d, ReLU"):
        chain(network, shape)


class Twice(nn.Module):
    """One layer, called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.layer(self.layer(inputs))


class Forked(Twice):
    """A layer whose result is left unused by the next."""

    def __init__(self) -> None:
        super().__init__()
        self.other = nn.Linear(3, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        self.layer(inputs)
        return self.other(inputs)


class Idle(Twice):
    """A layer that is never called."""

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs.relu()


class Undecided(Twice):
    """A forward pass that depends on values."""

    def forward(self, inputs: Tensor) -> Tensor:
        return self.layer(inputs) if inputs.sum() > 0 else inputs


class Pair(Twice):
    """Two outputs."""

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        return self.layer(inputs), inputs


class Bare(Twice):
    """A tensor used outside of a layer."""

    def forward(self, inputs: Tensor) -> Tensor:
        return functional.linear(inputs, self.layer.weight)


class Empty(nn.Module):
    """No layer at all."""

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs.relu()


@pytest.mark.parametrize(
    ("network", "shape", "message"),
    [
        (Twice(), (3,), r"'layer' \(Linear\) is called twice"),
        (Forked(), (3,), r"'other' \(Linear\) does not take the result of the step before it"),
        (Idle(), (3,), r"its tensor 'layer.weight' is in no layer that is called"),
        (Empty(), (3,), r"has no linear or convolution layer"),
        (Undecided(), (3,), r"forward pass cannot be traced: TraceError"),
        (Pair(), (3,), r"its output is not the result of its last step"),
        (Bare(), (3,), r"its tensor 'layer.weight' is used outside of a layer"),
        (
            Written(lambda x: x.view(x.shape[7], -1), same),
            (1, 4, 4),
            r"operation 'getitem' cannot take inputs of shape \(3, 2, 2\)",
        ),
        (mlp([4, 3, 2]), (5,), r"'fc1' \(Linear\) cannot take inputs of shape \(5,\)"),
        (nn.Sequential(nn.Linear(4, 3)), (2, 4), r"'0' \(Linear\) has inputs \(2, 4\); flatten"),
        (
            nn.Sequential(nn.Conv2d(2, 4, 1, groups=2), nn.Flatten(), nn.Linear(36, 1)),
            (2, 3, 3),
            r"'0' \(Conv2d\) has 2 groups; 1 is supported",
        ),
        (
            nn.Sequential(nn.Conv2d(2, 4, 1), nn.Flatten(2), nn.ReLU()),
            (2, 3, 3),
            r"ends in values of shape \(4, 9\); one value per unit is needed",
        ),
        (
            nn.Sequential(nn.Flatten(0), nn.Unflatten(0, (3, 2)), nn.Linear(2, 1)),
            (2,),
            r"'0' \(Flatten\) reorders",
        ),
        (
            nn.Sequential(nn.Conv2d(2, 4, 1), nn.MaxPool2d(2, return_indices=True)),
            (2, 4, 4),
            r"'1' \(MaxPool2d\) returns no single tensor",
        ),
    ],
)
def test_what_is_no_chain_is_refused(
    network: nn.Module, shape: tuple[int, ...], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        chain(network, shape)
