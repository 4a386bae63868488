"""Correlations: against numpy's own on all activations at once, batch by batch, dead units."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from landscape.analysis.alignment.align import activation_matching
from landscape.analysis.alignment.correlations import correlations
from landscape.analysis.alignment.permutations import permutations
from landscape.analysis.alignment.symmetry import permuted
from landscape.data_store.errors import LandscapeError
from landscape.data_store.params import Array
from landscape.training.models import build, parse_mlp
from landscape.training.registry import MODELS


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def convolutional(seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(2, 5, 3), nn.BatchNorm2d(5), nn.ReLU(), nn.Conv2d(5, 4, 3), nn.ReLU(),
        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16, 3),
    )  # fmt: skip


def naive(first: Array, second: Array) -> Array:
    """numpy's correlation of two (observations, units), 0 for constant units."""
    size = first.shape[1]
    with np.errstate(invalid="ignore", divide="ignore"):
        matrix = np.corrcoef(first.T, second.T)[:size, size:]
    return np.nan_to_num(matrix)


@pytest.mark.parametrize("sizes", [[40], [13, 13, 14], [1] * 40])
def test_the_correlation_is_that_of_all_activations_at_once(sizes: list[int]) -> None:
    a, b = convolutional(0).eval(), convolutional(1).eval()
    inputs = drawn(40, 2, 8, 8)
    structure = permutations(a, inputs)
    found = correlations(a, b, structure, torch.split(inputs, sizes))
    with torch.no_grad():
        for matrix, stop, flat in zip(found, (3, 7), (False, True), strict=True):
            one, two = (
                net[:stop](inputs).reshape(40, -1, 4).transpose(1, 2).reshape(-1, 4)
                if flat
                else net[:stop](inputs).transpose(1, -1).reshape(-1, 5)
                for net in (a, b)
            )
            expected = naive(one.double().numpy(), two.double().numpy())
            np.testing.assert_allclose(matrix, expected, atol=1e-6)  # float32 passes


def test_places_of_a_residual_stream_are_averaged() -> None:
    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.branch, self.head = nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            stream = self.stem(x)
            return self.head(stream + functional.relu(self.branch(stream), inplace=True))

    torch.manual_seed(0)
    a, b, inputs = Residual(), Residual(), drawn(30, 3)
    structure = permutations(a, inputs)
    assert [group.size for group in structure.groups] == [4]
    (found,) = correlations(a, b, structure, [inputs[:11], inputs[11:]])
    with torch.no_grad():
        stems = [net.stem(inputs) for net in (a, b)]
        sums = [s + net.branch(s).relu() for net, s in zip((a, b), stems, strict=True)]
    at_each = [naive(*(x.double().numpy() for x in pair)) for pair in (stems, sums)]
    np.testing.assert_allclose(found, sum(at_each) / 2, atol=1e-6)


def test_dead_and_constant_units_correlate_with_nothing() -> None:
    model = parse_mlp("mlp:6-5-3").build((6,), 3)
    with torch.no_grad():
        model.fc1.weight[1], model.fc1.bias[1] = 0.0, -1.0  # never positive
        model.fc1.weight[3], model.fc1.bias[3] = 0.0, 0.3  # always the same
    inputs = drawn(50, 6)
    (found,) = correlations(model, model, permutations(model, inputs), torch.split(inputs, 7))
    assert np.isfinite(found).all()
    assert (found[[1, 3]] == 0).all()
    assert (found[:, [1, 3]] == 0).all()
    np.testing.assert_allclose(np.diag(found)[[0, 2, 4]], 1, rtol=1e-12)
    assert (np.abs(found) <= 1 + 1e-12).all()


@pytest.mark.parametrize(("name", "shape"), [("conv-2", (3, 8, 8)), ("resnet-20", (3, 8, 8))])
def test_a_planted_permutation_is_recovered_from_activations(
    name: str, shape: tuple[int, ...]
) -> None:
    a = build(MODELS.load(name), shape, 10, 0).eval()
    inputs = drawn(60, *shape)
    structure = permutations(a, inputs)
    orders = structure.drawn(np.random.default_rng(0))
    state = {n: t.numpy() for n, t in a.state_dict().items()}
    b = copy.deepcopy(a)
    moved = permuted(structure, state, orders)
    b.load_state_dict({n: torch.from_numpy(value) for n, value in moved.items()})
    measured = correlations(a, b, structure, torch.split(inputs, 25))
    for matrix, order, found in zip(measured, orders, activation_matching(measured), strict=True):
        planted = np.argsort(order)
        alive = matrix[np.arange(len(order)), planted] > 0.5  # a dead unit may be any
        assert alive.mean() > 0.7
        assert np.array_equal(found[alive], planted[alive])
    own = activation_matching(correlations(a, a, structure, torch.split(inputs, 25)))
    assert [o.tolist() for o in own] == [o.tolist() for o in structure.identity()]


def test_the_networks_are_not_touched() -> None:
    a = convolutional(0).train()
    before = copy.deepcopy(a.state_dict())
    inputs = drawn(4, 2, 8, 8)
    correlations(a, a, permutations(a, inputs), [inputs])
    assert a.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in a.state_dict().items())


def test_refusals() -> None:
    a, inputs = convolutional(0), drawn(4, 2, 8, 8)
    structure = permutations(a, inputs)
    with pytest.raises(LandscapeError, match="there is no batch of inputs"):
        correlations(a, a, structure, [])
    with pytest.raises(LandscapeError, match="2 groups of another network; this one has 1"):
        correlations(parse_mlp("mlp:6-5-3").build((6,), 3), a, structure, [drawn(4, 6)])
    with pytest.raises(LandscapeError, match="an activation is not finite"):
        correlations(a, a, structure, [inputs * float("inf")])
