"""Fitting: what a network accepts of foreign tensors; the names are tested in data_store."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from landscape.data_store.errors import LandscapeError, UsageError
from landscape.fitting import onto_network, without_network


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))


def arrays(module: nn.Module) -> dict[str, np.ndarray]:
    return {name: tensor.numpy().copy() for name, tensor in module.state_dict().items()}


def test_parameters_and_buffers_come_in_the_networks_order():
    net = network()
    state = dict(reversed(arrays(net).items()))
    found = onto_network(net, state, "a.pt")
    assert found.spec.names == ("0.weight", "0.bias", "1.weight", "1.bias")
    assert list(found.buffers) == ["1.running_mean", "1.running_var", "1.num_batches_tracked"]
    want = [p.detach().numpy().reshape(-1) for p in net.parameters()]
    np.testing.assert_array_equal(found.theta, np.concatenate(want))


def test_a_wrong_network_is_refused_by_name():
    with pytest.raises(LandscapeError, match=r"a\.pt does not fit the model: it lacks 'weight'"):
        onto_network(nn.Linear(3, 2), arrays(network()), "a.pt")
    with pytest.raises(UsageError, match=r"parameter '0\.weight' is float16; all"):
        onto_network(network().half(), arrays(network()), "a.pt")


def test_without_a_network_only_matrices_remain():
    state = {**arrays(network()), "n": np.arange(4).reshape(2, 2)}
    found = without_network(state, "a.pt")
    assert found.spec.names == ("0.weight",)
    assert found.spec.dtype == "float32"
    double = without_network({"w": np.full((2, 2), 1 / 3)}, "b.pt")
    np.testing.assert_array_equal(double.theta, np.full(4, np.float32(1 / 3)))
    assert torch.equal(torch.from_numpy(double.theta), torch.full((4,), 1 / 3))
