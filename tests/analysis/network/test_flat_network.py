"""FlatNetwork: a network as one vector, there and back."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from landscape.analysis.network.flat_network import FlatNetwork, exchange

CPU = torch.device("cpu")


def made() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.Linear(5, 2, bias=False))


def point(seed=0):
    return np.random.default_rng(seed).normal(size=50).astype(np.float32)


SIZES = [15, 5, 5, 5, 10, 5, 5]  # weights in the order of named_parameters, then two buffers


def test_a_point_is_the_parameters_then_the_buffers():
    network, theta = FlatNetwork(made(), CPU), point()
    network.move([network.point(theta)], [1.0], buffers="interpolate")
    assert network.size == 50
    assert list(network.tensors)[-2:] == ["1.running_mean", "1.running_var"]
    flat = torch.cat([t.reshape(-1) for t in network.tensors.values()])
    assert flat.numpy().tobytes() == theta.tobytes()
    state = network.model.state_dict()
    np.testing.assert_array_equal(state["0.weight"].reshape(-1), theta[:15])
    np.testing.assert_array_equal(state["1.running_var"], theta[45:])


def test_tensors_start_at_multiples_of_256_bytes_in_network_and_points():
    network = FlatNetwork(made(), CPU)
    whole = network.point(point())
    assert len(whole) == len(network.theta)
    for (name, place), size in zip(network.places.items(), SIZES, strict=True):
        assert place.start * 4 % 256 == 0
        assert place.stop - place.start == size
        assert network.tensors[name].data_ptr() == network.theta[place].data_ptr()


def test_it_is_a_copy():
    net = made()
    before = {name: t.clone() for name, t in net.state_dict().items()}
    network = FlatNetwork(net.train(), CPU)
    network.move([network.point(point())], [1.0], buffers="interpolate")
    assert all(torch.equal(t, before[name]) for name, t in net.state_dict().items())
    assert net.training
    assert all(p.requires_grad for p in net.parameters())
    assert not network.model.training
    assert not any(p.requires_grad for p in network.model.parameters())


@pytest.mark.parametrize("buffers", ["interpolate", "recompute", "first"])
def test_between_two_points(buffers):
    network, ends = FlatNetwork(made(), CPU), [point(0), point(1)]
    network.move([network.point(end) for end in ends], [0.25, 0.75], buffers=buffers)
    got = torch.cat([t.reshape(-1) for t in network.tensors.values()]).numpy()
    want = 0.25 * ends[0] + 0.75 * ends[1]
    if buffers == "first":
        want[40:] = ends[0][40:]
    np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-7)


def test_displacements_are_parts_of_vectors_and_back():
    network = FlatNetwork(made(), CPU)
    vectors = np.stack([point(0), point(1), point(2)])
    parts = network.displacements(vectors)
    assert list(parts) == ["0.weight", "0.bias", "1.weight", "1.bias", "2.weight"]
    assert parts["0.weight"].shape == (3, 5, 3)
    np.testing.assert_array_equal(parts["2.weight"][1].reshape(-1), vectors[1, 30:40])
    back = network.vectors(parts, 3)
    assert back.dtype == np.float64
    np.testing.assert_array_equal(back[:, :40], vectors[:, :40])
    assert (back[:, 40:] == 0).all()


def test_weights_are_those_of_where_it_is():
    network = FlatNetwork(made(), CPU)
    network.move([network.point(point())], [1.0], buffers="interpolate")
    weights = network.weights
    assert list(weights) == [n for n, _ in network.model.named_parameters()]
    np.testing.assert_array_equal(weights["0.bias"], point()[15:20])


def test_exchanged_memory():
    net = made()
    tensors = [net[0].bias, net[2].weight]
    own = [t.data for t in tensors]
    values = [torch.ones(5), torch.zeros(2, 5)]
    exchange(tensors, values)
    assert net(torch.ones(2, 3)).abs().sum() == 0
    assert [t.data_ptr() for t in tensors] == [v.data_ptr() for v in values]
    exchange(tensors, own)
    assert [t.data_ptr() for t in tensors] == [t.data_ptr() for t in own]
