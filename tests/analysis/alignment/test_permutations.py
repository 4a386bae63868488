"""Permutations: a renumbered network computes the same function, and all symmetry is found."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from landscape.analysis.alignment.permutations import permutations, steps, traced
from landscape.analysis.alignment.symmetry import Member, Permutations, permuted
from landscape.data_store.errors import LandscapeError, UsageError
from landscape.training.models import build, parse_mlp
from landscape.training.registry import MODELS

STAGE = [16, 32, 64]
WIDE = [64, 128, 256, 512]
DEPTHS = {64: 3, 128: 4, 256: 6, 512: 3}
BOTTLENECKS = [64] + [4 * w for w in WIDE] + [w for w in WIDE for _ in range(2 * DEPTHS[w])]
FAMILIES = {
    "mlp:192-7-7-5-10": ((3, 8, 8), [7, 7, 5]),
    "lenet-300-100": ((3, 8, 8), [300, 100]),
    "lenet-5": ((3, 28, 28), [6, 16, 120, 84]),
    "conv-2": ((3, 8, 6), [64, 64, 256, 256]),
    "conv-4": ((3, 8, 9), [64, 64, 128, 128, 256, 256]),
    "conv-6": ((3, 8, 8), [64, 64, 128, 128, 256, 256, 256, 256]),
    # one group per residual stream, one inside each of the nine blocks
    "resnet-20": ((3, 8, 8), STAGE + [w for w in STAGE for _ in range(3)]),
    "vgg-16": ((3, 16, 16), [64] * 2 + [128] * 2 + [256] * 3 + [512] * 6),
    "vgg-19": ((3, 16, 16), [64] * 2 + [128] * 2 + [256] * 4 + [512] * 8),
    "resnet-18": ((3, 8, 8), WIDE + [w for w in WIDE for _ in range(2)]),
    # the stem is a group of its own; two groups inside each of 3 + 4 + 6 + 3 bottlenecks
    "resnet-50": ((3, 8, 8), BOTTLENECKS),
    "resnet-50 of large pictures": ((3, 64, 64), BOTTLENECKS),
}
SLOW = {"vgg-19", "resnet-18", "resnet-50", "resnet-50 of large pictures"}
NAMES = [pytest.param(n, marks=[pytest.mark.slow] if n in SLOW else []) for n in FAMILIES]


def network(name: str) -> nn.Module:
    """A family's network in float64, with statistics, scales and biases that differ by channel."""
    name, shape = name.split(" ")[0], FAMILIES[name][0]
    family = parse_mlp(name) if name.startswith("mlp") else MODELS.load(name)
    model = build(family, shape, 10, 0).double().eval()
    rng = torch.Generator().manual_seed(1)
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.ndim == 1:
            drawn = torch.rand(tensor.shape, generator=rng, dtype=torch.float64)
            tensor.data.copy_(0.5 + drawn)
    return model


def renumbered(model: nn.Module, structure: Permutations, seed: int) -> nn.Module:
    """A copy with all groups in random orders."""
    state = {n: t.numpy() for n, t in model.state_dict().items()}
    orders = structure.drawn(np.random.default_rng(seed))
    assert not all(np.array_equal(o, np.sort(o)) for o in orders)
    other = copy.deepcopy(model)
    moved = permuted(structure, state, orders)
    other.load_state_dict({n: torch.from_numpy(value) for n, value in moved.items()})
    return other


@pytest.mark.parametrize("name", NAMES)
def test_a_renumbered_network_computes_the_same_function(name: str) -> None:
    model, (shape, _) = network(name), FAMILIES[name]
    structure = permutations(model, torch.zeros(1, *shape))
    inputs = torch.randn((5, *shape), generator=torch.Generator().manual_seed(2)).double()
    with torch.no_grad():
        expected = model(inputs)
        assert expected.std() > 1e-3 * expected.abs().max()
        for seed in (0, 1):
            outputs = renumbered(model, structure, seed)(inputs)
            assert not torch.equal(outputs, expected)
            torch.testing.assert_close(outputs, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", NAMES)
def test_every_symmetry_is_found(name: str) -> None:
    shape, sizes = FAMILIES[name]
    structure = permutations(network(name), torch.zeros(1, *shape))
    assert sorted(group.size for group in structure.groups) == sorted(sizes)
    axes = [(m.tensor, m.axis) for group in structure.groups for m in group.members]
    assert len(axes) == len(set(axes))


@pytest.mark.parametrize("name", ["conv-4", "resnet-20"])
def test_float32_agrees_to_1e_6(name: str) -> None:
    model, (shape, _) = network(name).float(), FAMILIES[name]
    structure = permutations(model, torch.zeros(1, *shape))
    inputs = torch.randn((5, *shape), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        expected, outputs = model(inputs), renumbered(model, structure, 0)(inputs)
    assert (outputs - expected).abs().max() <= 2e-6 * expected.abs().max()


def test_a_channel_covers_its_pixels_after_flattening() -> None:
    structure = permutations(network("lenet-5"), torch.zeros(1, 3, 28, 28))
    assert structure.groups[1].members[-1] == Member("fc1.weight", 1, block=25)


def test_statistics_move_and_are_marked_as_no_weights() -> None:
    structure = permutations(network("resnet-20"), torch.zeros(1, 3, 8, 8))
    first = {(m.tensor, m.axis, m.buffer) for m in structure.groups[0].members}
    assert ("norm.running_var", 0, True) in first
    assert ("norm.weight", 0, False) in first
    assert ("stage2_block1.shortcut.conv.weight", 1, False) in first


def test_the_network_is_not_touched() -> None:
    model = network("resnet-20").float().train()
    before = copy.deepcopy(model.state_dict())
    permutations(model, torch.zeros(1, 3, 8, 8))
    assert model.training
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_it_is_the_same_whatever_the_sample_holds() -> None:
    model = network("conv-2")
    one = permutations(model, torch.zeros(1, 3, 8, 6))
    assert one == permutations(model, torch.full((7, 3, 8, 6), float("nan")))


def test_steps_are_the_forward_pass() -> None:
    model = network("resnet-20")
    copied, graph, _ = traced(model, torch.zeros(1, 3, 8, 8))
    inputs = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)).double()
    with torch.no_grad():
        *_, (last, result) = steps(copied, graph, inputs)
        assert last.op == "output"
        assert torch.equal(result, model(inputs))


class WithDefault(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 6), nn.Linear(6, 3)

    def forward(self, x: torch.Tensor, scale: float = 2.0) -> tuple[torch.Tensor, torch.Tensor]:
        hidden = torch.relu(self.first(x)) * scale
        return self.second(hidden), hidden.sum(1)


def test_inputs_with_defaults_and_several_outputs() -> None:
    structure = permutations(WithDefault(), torch.zeros(1, 4))
    assert [group.size for group in structure.groups] == [6]


class Branching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x) if x.sum() > 0 else x


def test_a_network_that_cannot_be_traced_is_refused() -> None:
    with pytest.raises(UsageError, match=r"Branching cannot be aligned.*cannot be traced: Trace"):
        permutations(Branching(), torch.zeros(1, 4))


def test_a_sample_of_another_shape_is_refused() -> None:
    with pytest.raises(UsageError, match="cannot be traced: RuntimeError: mat1 and mat2"):
        permutations(nn.Sequential(nn.Linear(4, 2)), torch.zeros(1, 5))


def test_a_layer_that_is_changed_by_a_hook_is_found_out() -> None:
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
    model[0].register_forward_hook(lambda _module, _inputs, out: out * torch.arange(6.0) + 1)
    with pytest.raises(LandscapeError, match=r"renumbering .* changed an output by .*kind says"):
        permutations(model, torch.zeros(1, 4))
