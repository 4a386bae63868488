"""Rules of units: each layer and function alone, by the symmetry it leaves, and every refusal.

That what is found is right is tried by `permutations` itself, on random weights in float64; here
it is that all of it is found, and that nothing else is.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations, prune

from landscape.analysis.alignment.permutations import permutations
from landscape.data_store.errors import UsageError

PICTURE = torch.zeros(1, 2, 8, 8)
SIGNAL = torch.zeros(1, 2, 8)
VOLUME = torch.zeros(1, 2, 4, 4, 4)
TOKENS = torch.zeros(1, 5, 4)


class Around(nn.Module):
    """A convolution, a function of its output, and a layer that reads the result."""

    def __init__(self, function: Callable[[Tensor], Tensor], reader: nn.Module) -> None:
        super().__init__()
        self.first, self.function, self.reader = nn.Conv2d(2, 6, 3), function, reader

    def forward(self, x: Tensor) -> Tensor:
        return self.reader(self.function(self.first(x)))


def members(model: nn.Module, sample: Tensor) -> list[tuple[int, set[str]]]:
    """Sizes, and members as ``name[axis]×block``."""
    return [
        (g.size, {f"{m.tensor}[{m.axis}]" + f"×{m.block}" * (m.block > 1) for m in g.members})
        for g in permutations(model, sample).groups
    ]


FIRST = {"first.weight[0]", "first.bias[0]"}
FUNCTIONS: dict[str, tuple[Callable[[Tensor], Tensor], nn.Module, str]] = {
    "max_pool": (lambda x: functional.max_pool2d(x, 2), nn.Conv2d(6, 3, 1), ""),
    "avg_pool": (lambda x: functional.avg_pool2d(x, 2), nn.Conv2d(6, 3, 1), ""),
    "adaptive_avg": (lambda x: functional.adaptive_avg_pool2d(x, 2), nn.Conv2d(6, 3, 1), ""),
    "adaptive_max": (lambda x: functional.adaptive_max_pool2d(x, 2), nn.Conv2d(6, 3, 1), ""),
    "torch.flatten": (lambda x: torch.flatten(x, 1), nn.Linear(216, 3), "×36"),
    "flatten": (lambda x: x.flatten(1), nn.Linear(216, 3), "×36"),
    "view": (lambda x: x.view(x.size(0), -1), nn.Linear(216, 3), "×36"),
    "reshape": (lambda x: x.reshape(x.shape[0], 6 * 36), nn.Linear(216, 3), "×36"),
    "reshape and back": (lambda x: x.flatten(1).reshape(-1, 6, 6, 6), nn.Conv2d(6, 3, 1), ""),
    "flatten pixels": (lambda x: x.flatten(2), nn.Conv1d(6, 3, 1), ""),
    "squeeze": (
        lambda x: functional.adaptive_avg_pool2d(x, 1).squeeze(-1).squeeze(-1),
        nn.Linear(6, 3),
        "",
    ),
    "unsqueeze": (lambda x: x.mean((2, 3)).unsqueeze(2), nn.Conv1d(6, 3, 1), ""),
    "mean": (lambda x: x.mean(dim=(2, 3)), nn.Linear(6, 3), ""),
    "torch.mean": (lambda x: torch.mean(x, [-1, -2]), nn.Linear(6, 3), ""),
    "keepdim": (lambda x: x.mean((2, 3), keepdim=True), nn.Conv2d(6, 3, 1), ""),
    "one axis": (lambda x: x.sum(-1), nn.Conv1d(6, 3, 1), ""),
    "amax": (lambda x: x.amax((2, 3)), nn.Linear(6, 3), ""),
    "relu": (lambda x: functional.relu(x), nn.Conv2d(6, 3, 1), ""),
    "method": (lambda x: x.relu().clamp(max=1.0).contiguous(), nn.Conv2d(6, 3, 1), ""),
    "in place": (lambda x: functional.relu(x, inplace=True).add_(1.0), nn.Conv2d(6, 3, 1), ""),
    "arithmetic": (lambda x: 1.0 - 2.0 * x**2 / 3.0, nn.Conv2d(6, 3, 1), ""),
    "itself": (lambda x: x * torch.sigmoid(x), nn.Conv2d(6, 3, 1), ""),
    "squeezed and excited": (lambda x: x * x.mean((2, 3), keepdim=True), nn.Conv2d(6, 3, 1), ""),
    "less the mean of all": (lambda x: x - x.mean(1, keepdim=True), nn.Conv2d(6, 3, 1), ""),
    "divided by the largest": (lambda x: x / x.amax(()), nn.Conv2d(6, 3, 1), ""),
    "softmax": (lambda x: functional.softmax(x, dim=1), nn.Conv2d(6, 3, 1), ""),
    "dropout": (lambda x: functional.dropout(x, 0.5, training=False), nn.Conv2d(6, 3, 1), ""),
    "permute": (lambda x: x.permute(0, 2, 3, 1), nn.Linear(6, 3), ""),
    "torch.permute": (lambda x: torch.permute(x, (0, 2, 3, -3)), nn.Linear(6, 3), ""),
    "transpose": (lambda x: x.transpose(1, -1), nn.Linear(6, 3), ""),
    "slice": (lambda x: x[:, :, ::2, 1:], nn.Conv2d(6, 3, 1), ""),
    "pad": (lambda x: functional.pad(x, (1, 1, 2, 0)), nn.Conv2d(6, 3, 1), ""),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_carry_units_to_the_next_layer(name: str) -> None:
    function, reader, block = FUNCTIONS[name]
    ((size, found),) = members(Around(function, reader), PICTURE)
    assert (size, found) == (6, FIRST | {f"reader.weight[1]{block}"})


LAYERS: dict[str, tuple[list[nn.Module], Tensor, list[tuple[int, set[str]]]]] = {
    "conv1d": (
        [nn.Conv1d(2, 6, 3), nn.BatchNorm1d(6), nn.MaxPool1d(2), nn.Flatten(), nn.Linear(18, 2)],
        SIGNAL,
        [(6, {"0.weight[0]", "0.bias[0]", "4.weight[1]×3"}
          | {f"1.{t}[0]" for t in ("weight", "bias", "running_mean", "running_var")})],
    ),
    "conv3d": (
        [nn.Conv3d(2, 6, 3), nn.BatchNorm3d(6, affine=False), nn.AvgPool3d(2), nn.Conv3d(6, 2, 1)],
        VOLUME,
        [(6, {"0.weight[0]", "0.bias[0]", "1.running_mean[0]", "1.running_var[0]", "3.weight[1]"})],
    ),
    "depthwise": (
        [nn.Conv2d(2, 6, 3), nn.Conv2d(6, 6, 3, groups=6), nn.ReLU6(), nn.Conv2d(6, 3, 1)],
        PICTURE,
        [(6, {"0.weight[0]", "0.bias[0]", "1.weight[0]", "1.bias[0]", "3.weight[1]"})],
    ),
    "depthwise, two of each": (
        [nn.Conv2d(2, 6, 3), nn.Conv2d(6, 12, 3, groups=6), nn.BatchNorm2d(12), nn.Flatten(),
         nn.Linear(12 * 16, 3)],
        PICTURE,
        [(6, {"0.weight[0]", "0.bias[0]", "1.weight[0]×2", "1.bias[0]×2", "4.weight[1]×32"}
          | {f"2.{t}[0]×2" for t in ("weight", "bias", "running_mean", "running_var")})],
    ),
    "depthwise on the input": (
        [nn.Conv2d(2, 4, 3, groups=2), nn.Conv2d(4, 6, 1), nn.Conv2d(6, 3, 1)],
        PICTURE,
        [(6, {"1.weight[0]", "1.bias[0]", "2.weight[1]"})],
    ),
    "batch norm after flattening": (
        [nn.Conv2d(2, 6, 7), nn.Flatten(), nn.BatchNorm1d(24), nn.Linear(24, 3)],
        PICTURE,
        [(6, {"0.weight[0]", "0.bias[0]", "3.weight[1]×4"}
          | {f"2.{t}[0]×4" for t in ("weight", "bias", "running_mean", "running_var")})],
    ),
    "group norm of one": (
        [nn.Conv2d(2, 6, 3), nn.GroupNorm(1, 6), nn.Conv2d(6, 3, 1)],
        PICTURE,
        [(6, {"0.weight[0]", "0.bias[0]", "1.weight[0]", "1.bias[0]", "2.weight[1]"})],
    ),
    "group norm of each": (
        [nn.Conv2d(2, 6, 3), nn.GroupNorm(6, 6), nn.Conv2d(6, 3, 1)],
        PICTURE,
        [(6, {"0.weight[0]", "0.bias[0]", "1.weight[0]", "1.bias[0]", "2.weight[1]"})],
    ),
    "layer norm of units": (
        [nn.Linear(4, 6), nn.LayerNorm(6), nn.GELU(), nn.Linear(6, 3)],
        TOKENS,
        [(6, {"0.weight[0]", "0.bias[0]", "1.weight[0]", "1.bias[0]", "3.weight[1]"})],
    ),
    "layer norm of all": (
        [nn.Conv2d(2, 6, 3), nn.LayerNorm((6, 6, 6)), nn.Conv2d(6, 3, 1)],
        PICTURE,
        [(6, {"0.weight[0]", "0.bias[0]", "1.weight[0]", "1.bias[0]", "2.weight[1]"})],
    ),
    "layer norm of pixels": (
        [nn.Conv2d(2, 6, 3), nn.LayerNorm(6), nn.Conv2d(6, 3, 1)],
        PICTURE,
        [(6, {"0.weight[0]", "0.bias[0]", "2.weight[1]"})],
    ),
    "one slope": (
        [nn.Linear(4, 6), nn.PReLU(), nn.Linear(6, 3)],
        torch.zeros(1, 4),
        [(6, {"0.weight[0]", "0.bias[0]", "2.weight[1]"})],
    ),
    "a slope per channel": (
        [nn.Conv2d(2, 6, 3), nn.PReLU(6), nn.ZeroPad2d(1), nn.Conv2d(6, 3, 1)],
        PICTURE,
        [(6, {"0.weight[0]", "0.bias[0]", "1.weight[0]", "3.weight[1]"})],
    ),
    "flatten and unflatten": (
        [nn.Conv2d(2, 6, 3), nn.Flatten(), nn.Unflatten(1, (6, 6, 6)), nn.Conv2d(6, 3, 1)],
        PICTURE,
        [(6, {"0.weight[0]", "0.bias[0]", "3.weight[1]"})],
    ),
    "a single unit": ([nn.Linear(4, 1), nn.ReLU(), nn.Linear(1, 3)], torch.zeros(1, 4), []),
    "outputs only": ([nn.Linear(4, 6), nn.Identity()], torch.zeros(1, 4), []),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYERS)
def test_layers(name: str) -> None:
    layers, sample, expected = LAYERS[name]
    assert members(nn.Sequential(*layers), sample) == expected


class Graph(nn.Module):
    """Layers ``one``, ``two``, ``three`` and a function that calls them."""

    def __init__(self, function: Callable[[Graph, Tensor], object], *layers: nn.Module) -> None:
        super().__init__()
        self.one, self.two, self.three, *rest = (*layers, nn.Identity(), nn.Identity())
        self.function = function
        assert not [layer for layer in rest if not isinstance(layer, nn.Identity)]

    def forward(self, x: Tensor) -> object:
        return self.function(self, x)


def squares(*more: nn.Module) -> list[nn.Module]:
    return [nn.Linear(4, 6), nn.Linear(6, 6), *more]


def test_a_sum_makes_two_groups_one_with_both_axes_of_a_square_layer() -> None:
    model = Graph(
        lambda m, x: m.three((h := m.one(x)) + m.two(h).relu()), *squares(nn.Linear(6, 3))
    )
    assert members(model, torch.zeros(1, 4)) == [
        (6, {"one.weight[0]", "one.bias[0]", "two.weight[0]", "two.weight[1]", "two.bias[0]",
             "three.weight[1]"})
    ]  # fmt: skip


def test_a_sum_with_the_input_or_the_output_keeps_the_numbering() -> None:
    layers = [nn.Linear(4, 4), nn.Linear(4, 3)]
    assert members(Graph(lambda m, x: m.two(m.one(x) + x), *layers), torch.zeros(1, 4)) == []
    hidden = Graph(lambda m, x: (h := m.one(x), m.two(h)), *layers)
    assert members(hidden, torch.zeros(1, 4)) == []


def test_a_gate_of_one_unit_is_broadcast() -> None:
    model = Graph(
        lambda m, x: m.three(m.one(x) * m.two(x)), nn.Linear(4, 6), nn.Linear(4, 1), nn.Linear(6, 3)
    )
    assert [size for size, _ in members(model, torch.zeros(1, 4))] == [6]


def test_a_layer_that_is_called_twice_joins_its_inputs_and_outputs() -> None:
    model = Graph(lambda m, x: m.three(m.two(m.two(m.one(x)))), *squares(nn.Linear(6, 3)))
    (only,) = members(model, torch.zeros(1, 4))
    assert only[1] >= {"one.weight[0]", "two.weight[0]", "two.weight[1]", "three.weight[1]"}


def test_a_layer_that_is_called_on_the_input_too_keeps_the_numbering_it_reads() -> None:
    model = Graph(lambda m, x: m.two(m.one(m.one(x))), nn.Linear(4, 4), nn.Linear(4, 3))
    assert members(model, torch.zeros(1, 4)) == []


def test_tied_layers_are_one_tensor() -> None:
    layers = squares(nn.Linear(6, 6))
    layers[2].weight = layers[1].weight
    model = Graph(lambda m, x: m.three(m.two(m.one(x)).relu()).sum(1), *layers)
    (only,) = members(model, torch.zeros(1, 4))
    assert only == (
        6,
        {"one.weight[0]", "one.bias[0]", "two.weight[0]", "two.weight[1]"}
        | {"two.bias[0]", "three.bias[0]"},
    )


class Functional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.zeros(3, 4))

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.matrix)


def _unused() -> nn.Module:
    model = nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 3))
    model.register_parameter("spare", nn.Parameter(torch.zeros(2)))
    return model


def _with_buffer() -> nn.Module:
    model = nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 3))
    model[0].register_buffer("seen", torch.zeros(6))
    return model


def _pruned() -> nn.Module:
    with torch.no_grad():
        return nn.Sequential(prune.identity(nn.Linear(4, 6), "weight"), nn.Linear(6, 3))


def _shortcut(m: Graph, x: Tensor) -> object:
    return m.two(functional.pad(x := m.one(x), (0, 0, 0, 0, 1, 1)) + x[:, :1])


CONV = (nn.Conv2d(2, 6, 3), nn.Conv2d(12, 3, 1))
REFUSED: dict[str, tuple[nn.Module, Tensor, str]] = {
    "cat": (
        Graph(lambda m, x: m.two(torch.cat([m.one(x), m.one(x)], 1)), *CONV), PICTURE,
        "its operation 'cat' is not understood",
    ),
    "chunk": (
        Graph(lambda m, x: m.one(x).chunk(2, 1)[0], *CONV), PICTURE, "its operation 'chunk'",
    ),
    "method": (
        Graph(lambda m, x: m.one(x).roll(1, 1), *CONV), PICTURE, "operation 'roll' is not",
    ),
    "attribute": (Graph(lambda m, x: m.one(x).mT, *CONV), PICTURE, "'getattr' reads 'mT'"),
    "functional weights": (Functional(), torch.zeros(1, 4), "tensor 'matrix' is used outside of a"),
    "unused parameter": (_unused(), torch.zeros(1, 4), "tensor 'spare' is in no layer"),
    "unknown buffer": (_with_buffer(), torch.zeros(1, 4), "tensor '0.seen' is in no layer"),
    "pruned by a hook": (
        _pruned(), torch.zeros(1, 4),
        "layer '0' .Linear. computes its weight from other tensors",
    ),
    "parametrized": (
        nn.Sequential(parametrizations.weight_norm(nn.Linear(4, 6)), nn.Linear(6, 3)),
        torch.zeros(1, 4), "cannot be aligned: its",
    ),
    "layer": (
        nn.Sequential(nn.Linear(4, 6), nn.Bilinear(6, 6, 3)), torch.zeros(1, 4), "cannot be traced",
    ),
    "recurrent": (nn.Sequential(nn.GRU(4, 6)), TOKENS, "its layer '0' .GRU. is not understood"),
    "instance norm": (
        nn.Sequential(nn.Conv2d(2, 6, 3), nn.InstanceNorm2d(6)), PICTURE, "'1' .InstanceNorm2d. is",
    ),
    "grouped convolution": (
        nn.Sequential(nn.Conv2d(2, 6, 3), nn.Conv2d(6, 6, 3, groups=2)), PICTURE,
        "layer '1' .Conv2d. has 2 groups of several channels",
    ),
    "group norm": (
        nn.Sequential(nn.Conv2d(2, 6, 3), nn.GroupNorm(3, 6)), PICTURE,
        "layer '1' .GroupNorm. normalises 3 groups of several channels",
    ),
    "linear along pixels": (
        nn.Sequential(nn.Conv2d(2, 6, 3), nn.Linear(6, 3)), PICTURE,
        "layer '1' .Linear. acts on the last axis of .3, 6, 6, 6., units lie along 1",
    ),
    "pooling of units": (
        nn.Sequential(nn.Linear(4, 6), nn.MaxPool1d(2)), TOKENS,
        "layer '1' .MaxPool1d. has an input .3, 5, 6. whose units are not along axis 1",
    ),
    "no batch": (
        nn.Sequential(nn.Linear(4, 6), nn.MaxPool1d(2)), torch.zeros(1, 4),
        "layer '1' .MaxPool1d. has an input .3, 6. whose units",
    ),
    "mixing reshape": (
        Graph(lambda m, x: m.one(x).reshape(-1, 4, 9, 6), *CONV), PICTURE,
        "operation 'reshape' from .3, 6, 6, 6. to .3, 4, 9, 6. does not keep units apart",
    ),
    "part of the units": (
        Graph(lambda m, x: m.one(x)[:, :2], *CONV), PICTURE, "operation 'getitem' takes some of",
    ),
    "index": (Graph(lambda m, x: m.one(x)[0], *CONV), PICTURE, "'getitem' takes some .* no slice"),
    "zero-padded shortcut": (
        Graph(_shortcut, nn.Conv2d(2, 6, 3), nn.Conv2d(8, 3, 1)), PICTURE,
        "'pad' adds units of its own, as zero-padded",
    ),
    "sum along other axes": (
        Graph(lambda m, x: (h := m.one(x)) + h.transpose(1, 2), *CONV), PICTURE,
        "operation 'add' joins units along different axes",
    ),
    "sum of other sizes": (
        Graph(
            lambda m, x: m.one(x).flatten(1) + m.two(x.flatten(1)),
            nn.Conv2d(2, 6, 3), nn.Linear(128, 216),
        ),
        PICTURE, "operation 'add' joins units of different sizes",
    ),
    "axes that are computed": (
        Graph(lambda m, x: m.one(x).mean(x.dim() - 1), *CONV), PICTURE,
        "operation 'mean' is over the axes .*; numbers were expected",
    ),
    "index by a tensor": (
        Graph(lambda m, x: m.one(x)[x.sum((1, 2, 3)) > -1], *CONV), PICTURE,
        "operation 'getitem' takes 2 tensors; one was expected",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_understood_is_refused_by_name(name: str) -> None:
    model, sample, words = REFUSED[name]
    with pytest.raises(UsageError, match=words) as caught:
        permutations(model, sample)
    assert "cannot be aligned" in str(caught.value)
    assert "\n" not in str(caught.value)
