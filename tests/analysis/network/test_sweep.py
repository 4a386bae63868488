"""Sweep: how often batches are made and how much is held at once."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from landscape.analysis.network import sweep as sweep_module
from landscape.analysis.network.evaluator import Evaluator
from landscape.analysis.network.sweep import numbers_in_flight
from landscape.analysis.paths import grid, line
from landscape.training.task import cross_entropy
from tests.support.lazy_inputs import Recorded
from tests.support.tensor_memory import TensorMemory

WIDTH = 200  # 93 000 numbers, much more than a batch of the examples


def made(first=64):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Linear(first, WIDTH),
            nn.BatchNorm1d(WIDTH),
            nn.ReLU(),
            nn.Linear(WIDTH, WIDTH),
            nn.ReLU(),
            nn.Linear(WIDTH, WIDTH),
            nn.ReLU(),
            nn.Linear(WIDTH, 3),
        )


def data(first=64):
    draws = torch.Generator().manual_seed(0)
    inputs = torch.randn(48, first, generator=draws)
    return inputs, torch.randint(0, 3, (48,), generator=draws)


def ends(landscape):
    rng = np.random.default_rng(0)
    return rng.uniform(0.01, 0.05, (2, landscape.size)).astype(np.float32)


@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize("lazy", [True, False])
@pytest.mark.parametrize("at_once", [1, 4])
def test_points_in_flight_and_nothing_more(share, lazy, at_once, monkeypatch):
    """Two anchors, the points at once, and batches of eight examples.

    The network itself is held from the start.
    """
    inputs, targets = data()
    given = Recorded(inputs) if lazy else inputs
    landscape = Evaluator(made(), {"t": (given, targets)}, cross_entropy, batch_size=8, share=share)
    points = ends(landscape)
    whole = landscape.evaluate(points, line(grid(9)), split="t")  # probes
    monkeypatch.setattr(sweep_module, "_NUMBERS_IN_FLIGHT", at_once * landscape.size)
    with TensorMemory() as memory:
        parts = landscape.evaluate(points, line(grid(9)), split="t")
    assert parts.loss.tobytes() == whole.loss.tobytes()
    copy, batch = 4 * landscape.size, 4 * 8 * WIDTH
    held = 2 + (at_once if at_once > 1 and (lazy or share) else 0)
    assert memory.peak <= held * copy + 12 * batch
    assert memory.peak >= 2 * copy


def test_one_point_at_a_time_is_three_copies(monkeypatch):
    """Two anchors and the network, where not even two points may be held."""
    monkeypatch.setattr(sweep_module, "_NUMBERS_IN_FLIGHT", 1)
    inputs, targets = data()
    with TensorMemory() as memory:
        landscape = Evaluator(
            made(), {"t": (Recorded(inputs), targets)}, cross_entropy, batch_size=8, share=False
        )
        memory.peak = 0
        landscape.evaluate(ends(landscape), line(grid(9)), split="t")
    assert memory.peak <= 3 * 4 * landscape.size + 2**17


def test_derivatives_hold_the_vectors_that_are_allowed(monkeypatch):
    landscape = Evaluator(made(), {"t": data()}, cross_entropy, batch_size=8)
    point = ends(landscape)[0]
    vectors = np.ones((12, len(point)), dtype=np.float32)
    landscape.gradient(point, split="t")
    monkeypatch.setattr(sweep_module, "_NUMBERS_IN_FLIGHT", 6 * landscape.size)
    with TensorMemory() as memory:
        landscape.hessian_product(point, vectors, split="t")
    copy = 4 * landscape.size
    # two vectors, their products in float64, the point, its gradient and what a product takes
    assert memory.peak <= 2 * 3 * copy + 8 * copy


@pytest.mark.parametrize("bn", ["interpolate", "recompute"])
@pytest.mark.parametrize("what", ["t", "train"])
def test_lazy_batches_are_made_once(bn, what):
    """For all points: those that are evaluated on, and those that statistics are made from."""
    splits = {"t": data(), "train": data()}
    lazy = Recorded(splits[what][0])
    given = splits | {what: (lazy, splits[what][1])}
    plain, landscape = (
        Evaluator(made(), chosen, cross_entropy, batch_size=16, bn=bn, share=False)
        for chosen in (splits, given)
    )
    points = ends(landscape)
    want = plain.evaluate(points, line(grid(7)), split="t")
    landscape.evaluate(points, line(grid(2)), split="t")  # probes
    lazy.asked.clear()
    got = landscape.evaluate(points, line(grid(7)), split="t")
    assert got.loss.tobytes() == want.loss.tobytes()
    used = what == "t" or bn == "recompute"
    assert lazy.asked == ([(0, 16), (16, 32), (32, 48)] if used else [])


def test_a_quarter_of_an_accelerators_free_memory(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (2**33, 2**34))
    cuda = torch.device("cuda", 0)
    assert numbers_in_flight(cuda, torch.float32) == 2**29
    assert numbers_in_flight(cuda, torch.float64) == 2**28
    assert numbers_in_flight(torch.device("cpu"), torch.float32) == 2**26


@pytest.mark.parametrize("bn", ["interpolate", "recompute"])
@pytest.mark.parametrize("make", [nn.SyncBatchNorm, nn.InstanceNorm1d])
def test_other_normalisations(make, bn):
    """Against a network that is moved by hand, its statistics averaged batch by batch."""
    layer = {"track_running_stats": True} if make is nn.InstanceNorm1d else {}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(
            nn.Unflatten(1, (2, 6)), make(2, **layer), nn.Flatten(), nn.Linear(12, 3)
        ).double()
    inputs, targets = data(12)
    landscape = Evaluator(net, {"train": (inputs, targets)}, cross_entropy, bn=bn, batch_size=12)
    points = np.random.default_rng(0).uniform(0.2, 0.6, (2, landscape.size))
    got = landscape.evaluate(points, line(grid(4)), split="train").loss
    for alpha, loss in zip(grid(4), got, strict=True):
        theta = torch.tensor((1 - alpha) * points[0] + alpha * points[1])
        nn.utils.vector_to_parameters(theta[:-4], net.parameters())
        mean, variance = theta[-4:-2], theta[-2:]
        rows = inputs.double().unflatten(1, (2, 6))
        if bn == "recompute":
            parts = rows.split(12)
            mean = torch.stack([p.mean((0, 2)) for p in parts]).mean(0)
            if make is nn.InstanceNorm1d:
                variance = torch.stack([p.var(2).mean(0) for p in parts]).mean(0)
            else:
                variance = torch.stack([p.var((0, 2)) for p in parts]).mean(0)
        scaled = (rows - mean[:, None]) / torch.sqrt(variance[:, None] + 1e-5)
        if make is nn.SyncBatchNorm:
            scaled = scaled * net[1].weight[:, None] + net[1].bias[:, None]
        want = cross_entropy(net[3](scaled.flatten(1)), targets).mean().item()
        assert loss == pytest.approx(want, rel=1e-12)
    assert math.isfinite(got[0])
