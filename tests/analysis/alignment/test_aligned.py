"""Alignment and repair through the evaluator: the same function, a lower line."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from landscape.analysis.alignment.aligned import RepairedLine
from landscape.analysis.alignment.permutations import permutations
from landscape.analysis.alignment.symmetry import permuted, permuted_vector
from landscape.analysis.barrier import BarrierSettings, barrier
from landscape.analysis.network.evaluator import Evaluator
from landscape.data_store.errors import LandscapeError, UsageError
from landscape.data_store.mask import Mask
from landscape.data_store.params import ParamSpec
from landscape.data_store.records import Checkpoint

DRAWS = torch.Generator().manual_seed(3)
INPUTS = torch.randn(300, 12, generator=DRAWS)
TARGETS = torch.randint(0, 4, (300,), generator=DRAWS)


def network(norm: bool) -> nn.Module:
    layers: list[nn.Module] = [nn.Linear(12, 20), nn.ReLU(), nn.Linear(20, 4)]
    if norm:
        layers.insert(1, nn.BatchNorm1d(20))
    return nn.Sequential(*layers)


def loss(outputs, targets):
    return nn.functional.cross_entropy(outputs, targets, reduction="none")


def evaluator(net: nn.Module, **more) -> Evaluator:
    return Evaluator(net, {"train": (INPUTS, TARGETS), "test": (INPUTS, TARGETS)}, loss, **more)


def checkpoint(net: nn.Module, seed: int) -> Checkpoint:
    """Random weights, a fifth of the first layer's pruned, statistics of the data."""
    draws = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in net.parameters():
            tensor.copy_(torch.randn(tensor.shape, generator=draws) * 0.4)
        net[0].weight[torch.rand(net[0].weight.shape, generator=draws) < 0.2] = 0.0
        net.train()
        net(INPUTS)
        net.eval()
    parameters = {n: p.detach().numpy() for n, p in net.named_parameters()}
    spec = ParamSpec(tuple(parameters), tuple(p.shape for p in parameters.values()), "float32")
    theta = spec.flatten(parameters).copy()
    kept = np.ones(spec.size, dtype=np.bool_)
    kept[spec.slices["0.weight"]] = theta[spec.slices["0.weight"]] != 0.0
    buffers = {n: b.numpy().copy() for n, b in net.named_buffers()}
    return Checkpoint(
        spec, theta, Mask(spec, ("0.weight",), kept), buffers=buffers, address=str(seed)
    )


def renumbered(net: nn.Module, point: Checkpoint) -> Checkpoint:
    """The same network with its units in a random order."""
    structure = permutations(net, INPUTS[:2])
    orders = structure.drawn(np.random.default_rng(5))
    kept = permuted_vector(structure, point.spec, point.mask.kept, orders)
    return replace(
        point,
        theta=permuted_vector(structure, point.spec, point.theta, orders),
        mask=Mask(point.spec, point.mask.prunable, kept),
        buffers=permuted(structure, point.buffers, orders),
    )


@pytest.mark.parametrize("norm", [False, True], ids=["plain", "norm"])
@pytest.mark.parametrize("how", ["weights", "activations"])
def test_a_renumbered_network_comes_back_with_mask_and_statistics(how, norm):
    net = network(norm)
    a = checkpoint(net, 0)
    landscape = evaluator(net)
    b = renumbered(net, a)
    assert not np.array_equal(a.theta, b.theta)
    found = landscape.aligned(a, b, how, 0)
    assert np.array_equal(found.theta, a.theta)
    assert np.array_equal(found.mask.kept, a.mask.kept)
    assert not found.theta[~found.mask.kept].any()
    for name, values in a.buffers.items():
        assert np.array_equal(found.buffers[name], values)


@pytest.mark.parametrize("how", ["weights", "activations"])
def test_the_barrier_to_a_renumbered_copy_vanishes(how):
    net = network(norm=True)
    a = checkpoint(net, 0)
    b = renumbered(net, a)
    with torch.no_grad():
        right = net(INPUTS).argmax(1)  # of what the network says itself: it is at its best
    landscape = Evaluator(net, {"train": (INPUTS, right), "test": (INPUTS, right)}, loss)
    plain = barrier(a, b, landscape, BarrierSettings(points=5))
    aligned = barrier(a, b, landscape, BarrierSettings(points=5, align=how))
    assert float(plain.loss_barrier.max()) > 0.01
    assert float(aligned.loss_barrier.max()) == 0.0
    assert aligned.distance.item() == 0.0


def test_repaired_points_have_the_statistics_between_those_of_the_ends():
    net = network(norm=True)
    a, b = checkpoint(net, 0), checkpoint(net, 1)
    landscape = evaluator(net)
    line = landscape.repaired(a, b)
    assert isinstance(line, RepairedLine)
    ends = np.stack([a.point, b.point])
    rows = np.array([[1.0, 0.0], [0.75, 0.25], [0.0, 1.0]])
    plain = landscape.evaluate(ends, rows, split="test")
    repaired = line.evaluate(ends, rows, split="test")
    assert plain.loss[0] == repaired.loss[0]
    assert plain.loss[2] == repaired.loss[2]
    assert plain.loss[1] != repaired.loss[1]
    network_there = network(norm=True)
    state = network_there.state_dict()
    point, start = line._repaired(0.25), 0
    for name in [*a.spec.names, "1.running_mean", "1.running_var"]:
        size = state[name].numel()
        state[name] = torch.from_numpy(point[start : start + size]).reshape(state[name].shape)
        start += size
    network_there.load_state_dict(state)
    network_there.eval()
    with torch.no_grad():
        out = network_there[1](network_there[0](INPUTS)).double()
    for got, want in (
        (out.mean(0), 0.75 * line.statistics[0]["1"].mean + 0.25 * line.statistics[1]["1"].mean),
        (
            out.std(0, unbiased=False),
            0.75 * line.statistics[0]["1"].std + 0.25 * line.statistics[1]["1"].std,
        ),
    ):
        assert torch.allclose(got, want, atol=1e-4)
    mirrored = line.evaluate(ends[::-1], rows[:, ::-1], split="test")
    assert np.array_equal(mirrored.loss, repaired.loss)
    with pytest.raises(LandscapeError, match="asked about other points than its ends"):
        line.evaluate(ends + 1, rows, split="test")
    each = line.per_example(ends, rows, split="test")
    assert np.allclose(each.loss.mean(1), repaired.loss)


def test_what_cannot_be_repaired_is_refused():
    a, b = (checkpoint(network(norm=False), seed) for seed in (0, 1))
    with pytest.raises(UsageError, match="BatchNorm"):
        evaluator(network(norm=False)).repaired(a, b)
    net = network(norm=True)
    a, b = (checkpoint(net, seed) for seed in (0, 1))
    with pytest.raises(UsageError, match="repair sets the statistics that bn=recompute sets"):
        evaluator(net, bn="recompute").repaired(a, b)
    alone = Evaluator(net, {"test": (INPUTS, TARGETS)}, loss)
    with pytest.raises(UsageError, match="compared on the train split; this task has none"):
        alone.aligned(a, b, "weights", 0)
