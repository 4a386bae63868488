"""Weights on a path: brute force over paths and over unrolled pixels, and limiting cases."""

from __future__ import annotations

import itertools
from collections import defaultdict

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from landscape.analysis.landscape import Wired
from landscape.analysis.network.connections import on_a_path
from landscape.analysis.network.evaluator import Evaluator
from landscape.data_store.errors import LandscapeError, UsageError
from landscape.training.residual import Block

PLAIN_8 = torch.zeros(1, 8)
PICTURE = torch.zeros(1, 2, 5, 5)


def mlp(*widths: int, act: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inner, outer in itertools.pairwise(widths):
        layers += [nn.Linear(inner, outer), act()]
    return nn.Sequential(*layers[:-1])


def size(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def drawn(model: nn.Module, seed: int, density: float) -> np.ndarray:
    return np.random.default_rng(seed).random(size(model)) < density


def by_name(model: nn.Module, flat: np.ndarray) -> dict[str, np.ndarray]:
    parts, start = {}, 0
    for name, p in model.named_parameters():
        parts[name] = flat[start : start + p.numel()].reshape(tuple(p.shape))
        start += p.numel()
    return parts


def every_path(masks: list[np.ndarray]) -> list[np.ndarray]:
    """Naive: all tuples of units, one per layer; a path marks each weight it goes through."""
    found = [np.zeros(m.shape, bool) for m in masks]
    widths = [masks[0].shape[1], *(m.shape[0] for m in masks)]
    for units in itertools.product(*map(range, widths)):
        steps = list(zip(units[1:], units[:-1], strict=True))
        if all(m[step] for m, step in zip(masks, steps, strict=True)):
            for marks, step in zip(found, steps, strict=True):
                marks[step] = True
    return found


class Pixels:
    """Naive: a graph of single values, each edge a weight (name, place in it) or none."""

    def __init__(self) -> None:
        self.edges: list[tuple[object, object, object]] = []

    def linear(self, name, mask, source, target):
        for o, i in zip(*np.nonzero(mask), strict=True):
            self.edges.append(((source, i), (target, o), (name, (o, i))))

    def convolution(self, name, mask, source, target, extent, stride=1, padding=0):
        wide = (extent + 2 * padding - mask.shape[2]) // stride + 1
        for o, c, dy, dx in zip(*np.nonzero(mask), strict=True):
            for y, x in itertools.product(range(wide), repeat=2):
                row, column = y * stride + dy - padding, x * stride + dx - padding
                if 0 <= row < extent and 0 <= column < extent:
                    start = (source, (c, row, column))
                    self.edges.append((start, (target, (o, y, x)), (name, (o, c, dy, dx))))
        return wide

    def copied(self, source, target, places):
        for one, other in places:
            self.edges.append(((source, one), (target, other), None))

    def reached(self, starts, backwards=False):
        nexts = defaultdict(list)
        for one, other, _ in self.edges:
            nexts[other if backwards else one].append(one if backwards else other)
        seen, stack = set(starts), list(starts)
        while stack:
            for node in nexts[stack.pop()]:
                if node not in seen:
                    seen.add(node)
                    stack.append(node)
        return seen

    def on_a_path(self, first, last):
        nodes = {node for edge in self.edges for node in edge[:2]}
        fore = self.reached([node for node in nodes if node[0] == first])
        back = self.reached([node for node in nodes if node[0] == last], backwards=True)
        return {w for one, other, w in self.edges if w and one in fore and other in back}


def pooled(channels, extent, window, source, target, pixels):
    places = [
        ((c, y * window + dy, x * window + dx), (c, y, x))
        for c, y, x in itertools.product(range(channels), *[range(extent // window)] * 2)
        for dy, dx in itertools.product(range(window), repeat=2)
    ]
    pixels.copied(source, target, places)


def assert_marks(model, kept, sample, expected):
    """`on_a_path` marks the expected (name, place) pairs and nothing else."""
    found = by_name(model, on_a_path(model, sample, kept))
    marked = {
        (name, tuple(map(int, place)))
        for name, part in found.items()
        for place in zip(*np.nonzero(part), strict=True)
    }
    assert marked == {(name, tuple(map(int, place))) for name, place in expected}
    return marked


@pytest.mark.parametrize("act", [nn.ReLU, nn.Tanh, nn.Sigmoid, nn.GELU])
@pytest.mark.parametrize("seed", range(6))
def test_small_perceptrons_equal_all_their_paths(seed, act):
    model = mlp(3, 5, 4, 2, act=act)
    kept = drawn(model, seed, 0.25)
    found = by_name(model, on_a_path(model, torch.zeros(1, 3), kept))
    masks = by_name(model, kept)
    weights = [name for name in masks if name.endswith("weight")]
    expected = every_path([masks[name] for name in weights])
    for name, marks in zip(weights, expected, strict=True):
        np.testing.assert_array_equal(found[name], marks)
    assert not any(found[name].any() for name in masks if name.endswith("bias"))


@pytest.mark.parametrize("pool", [nn.MaxPool2d(2), nn.AvgPool2d(2)])
@pytest.mark.parametrize("seed", range(4))
def test_a_convolutional_network_equals_its_pixels(seed, pool):
    model = nn.Sequential(
        nn.Conv2d(2, 4, 2), nn.ReLU(), pool, nn.Conv2d(4, 3, 2, padding=1), nn.ReLU(),
        nn.Flatten(), nn.Linear(27, 2),
    )  # fmt: skip
    kept = drawn(model, seed, 0.2)
    masks, pixels = by_name(model, kept), Pixels()
    wide = pixels.convolution("0.weight", masks["0.weight"], "in", "a", 5)
    pooled(4, wide, 2, "a", "b", pixels)
    wide = pixels.convolution("3.weight", masks["3.weight"], "b", "c", wide // 2, padding=1)
    places = itertools.product(range(3), range(wide), range(wide))
    pixels.copied("c", "d", [(place, i) for i, place in enumerate(places)])
    pixels.linear("6.weight", masks["6.weight"], "d", "out")
    marked = assert_marks(model, kept, PICTURE, pixels.on_a_path("in", "out"))
    assert 0 < len(marked) < sum(masks[n].sum() for n in masks if n.endswith("weight"))


@pytest.mark.parametrize("seed", range(4))
def test_a_residual_network_equals_its_pixels(seed):
    """A block with BatchNorm and a convolution in its shortcut, then one without."""
    model = nn.Sequential(
        Block(2, (3, 3), (3, 3), 2, 0), Block(3, (3, 3), (3, 3), 1, 0), nn.Flatten(),
        nn.Linear(27, 2),
    )  # fmt: skip
    with torch.no_grad():
        for name, tensor in (*model.named_parameters(), *model.named_buffers()):
            if "norm" in name and tensor.is_floating_point():
                tensor.fill_(3.0)
    kept = drawn(model, seed, 0.08)
    masks, pixels = by_name(model, kept), Pixels()
    first = ("0.body.conv1", "0.body.conv2", "0.shortcut.conv")
    one, two, beside = (f"{name}.weight" for name in first)
    pixels.convolution(one, masks[one], "in", "a", 5, stride=2, padding=1)
    pixels.convolution(two, masks[two], "a", "b", 3, padding=1)
    pixels.convolution(beside, masks[beside], "in", "b", 5, stride=2)
    one, two = "1.body.conv1.weight", "1.body.conv2.weight"
    pixels.convolution(one, masks[one], "b", "c", 3, padding=1)
    pixels.convolution(two, masks[two], "c", "d", 3, padding=1)
    places = list(itertools.product(range(3), range(3), range(3)))
    pixels.copied("b", "d", [(place, place) for place in places])
    pixels.copied("d", "e", [(place, i) for i, place in enumerate(places)])
    pixels.linear("3.weight", masks["3.weight"], "e", "out")
    marked = assert_marks(model, kept, PICTURE, pixels.on_a_path("in", "out"))
    assert 0 < len(marked) < sum(masks[n].sum() for n in masks if n.endswith("weight"))


@pytest.mark.parametrize("seed", range(5))
def test_it_is_where_the_derivative_of_all_paths_is_positive(seed):
    """SynFlow's R = sum of outputs at ones, weights 0 or 1, where the number of paths fits."""
    model = mlp(8, 12, 12, 12, 3)
    kept = drawn(model, seed, 0.1)
    masks = by_name(model, kept)
    naive = mlp(8, 12, 12, 12, 3).double()
    with torch.no_grad():
        for name, p in naive.named_parameters():
            p.copy_(torch.from_numpy(masks[name]) if p.ndim > 1 else torch.zeros(p.shape))
    naive(torch.ones(1, 8, dtype=torch.float64)).sum().backward()
    parts = [(p.grad * p > 0).numpy().ravel() for p in naive.parameters()]
    np.testing.assert_array_equal(on_a_path(model, PLAIN_8, kept), np.concatenate(parts))


def test_more_paths_than_there_are_numbers():
    model = mlp(8, *[100] * 200, 1)  # 8e400 paths
    assert on_a_path(model, PLAIN_8, np.ones(size(model), bool)).sum() == sum(
        p.numel() for p in model.parameters() if p.ndim > 1
    )


def test_a_dense_network_loses_its_biases_only():
    model = mlp(8, 6, 3)
    found = by_name(model, on_a_path(model, PLAIN_8, np.ones(size(model), bool)))
    assert {name: part.all() for name, part in found.items()} == {
        "0.weight": True, "0.bias": False, "2.weight": True, "2.bias": False,
    }  # fmt: skip
    assert not found["0.bias"].any()


def test_an_empty_layer_leaves_no_path_at_all():
    model = mlp(8, 6, 5, 3)
    masks = by_name(model, np.ones(size(model), bool))
    masks["2.weight"][:] = False
    kept = np.concatenate([part.ravel() for part in masks.values()])
    assert not on_a_path(model, PLAIN_8, kept).any()


@pytest.mark.parametrize(
    "norm",
    [nn.BatchNorm1d(6), nn.LayerNorm(6), nn.GroupNorm(2, 6), nn.BatchNorm1d(6, affine=False)],
)
def test_shifts_and_means_of_normalisation_make_no_path(norm):
    model = nn.Sequential(nn.Linear(8, 6), norm, nn.ReLU(), nn.Linear(6, 2))
    with torch.no_grad():
        for tensor in (*norm.parameters(), *norm.buffers()):
            if tensor.is_floating_point():
                tensor.fill_(2.5)
    masks = by_name(model, np.ones(size(model), bool))
    masks["0.weight"][2:] = False
    kept = np.concatenate([part.ravel() for part in masks.values()])
    found = by_name(model, on_a_path(model, PLAIN_8, kept))
    np.testing.assert_array_equal(found["0.weight"], masks["0.weight"])
    np.testing.assert_array_equal(found["3.weight"].all(0), [1, 1, 0, 0, 0, 0])
    assert found["3.weight"][:, 2:].sum() == 0


class Odd(nn.Module):
    """Branches, a subtraction, means over pixels, and functions instead of layers."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 4, 3, padding=1, groups=2)
        self.left = nn.Conv2d(4, 2, 1)
        self.right = nn.Conv2d(4, 2, 1)
        self.last = nn.Linear(4, 2)

    def forward(self, x):
        h = functional.max_pool2d(torch.sigmoid(self.first(x)), 3, stride=1, padding=1)
        joined = torch.cat([self.left(h) - self.right(h), self.right(h) * 0.5], dim=1)
        return functional.softmax(self.last(joined.mean(dim=(2, 3)).view(x.size(0), -1)), dim=1)


@pytest.mark.parametrize("seed", range(4))
def test_functions_are_followed_as_layers_are(seed):
    model = Odd()
    kept = drawn(model, seed, 0.3)
    masks, pixels = by_name(model, kept), Pixels()
    for group, half in enumerate(np.split(masks["first.weight"], 2)):
        for o, _, dy, dx in zip(*np.nonzero(half), strict=True):
            name = ("first.weight", (2 * group + o, 0, dy, dx))
            pixels.edges.append((("in", group), ("a", 2 * group + o), name))
    for side, offsets in (("left", (0,)), ("right", (0, 2))):
        mask = masks[f"{side}.weight"]
        for o, i, _, _ in zip(*np.nonzero(mask), strict=True):
            for offset in offsets:
                edge = (("a", i), ("b", o + offset), (f"{side}.weight", (o, i, 0, 0)))
                pixels.edges.append(edge)
    pixels.linear("last.weight", masks["last.weight"], "b", "out")
    assert_marks(model, kept, PICTURE, pixels.on_a_path("in", "out"))


class Padded(nn.Module):
    """Two features more, of a constant; as many rows as there were."""

    def forward(self, x):
        return functional.pad(x, (0, 2), value=1.0).view(x.size(0) * 1, -1)


def test_what_is_padded_begins_no_path():
    model = nn.Sequential(nn.Linear(8, 2), Padded(), nn.Linear(4, 2))
    masks = by_name(model, np.ones(size(model), bool))
    masks["0.weight"][1] = False
    kept = np.concatenate([part.ravel() for part in masks.values()])
    found = by_name(model, on_a_path(model, PLAIN_8, kept))
    np.testing.assert_array_equal(found["0.weight"], masks["0.weight"])
    np.testing.assert_array_equal(found["2.weight"], [[1, 0, 0, 0]] * 2)


def test_the_network_that_is_given_is_not_touched():
    model = mlp(8, 6, 3)
    before = [p.detach().clone() for p in model.parameters()]
    on_a_path(model, PLAIN_8, drawn(model, 0, 0.5))
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), before, strict=True))
    assert all(p.grad is None for p in model.parameters())


def test_an_evaluator_knows_its_wiring():
    draws = torch.Generator().manual_seed(0)
    data = torch.randn(20, 8, generator=draws), torch.zeros(20, dtype=torch.long)
    model = mlp(8, 6, 3)
    landscape = Evaluator(model, {"train": data}, lambda y, t: functional.cross_entropy(y, t))
    assert isinstance(landscape, Wired)
    kept = drawn(model, 1, 0.3)
    np.testing.assert_array_equal(landscape.on_a_path(kept), on_a_path(model, PLAIN_8, kept))
    (group,) = landscape.units().groups
    assert [(m.tensor, m.axis) for m in group.members] == [
        ("0.weight", 0), ("0.bias", 0), ("2.weight", 1),
    ]  # fmt: skip


class Branching(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x


class Product(nn.Module):
    def forward(self, x):
        return x * x.flip(1)


class Shifted(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.ones(8))

    def forward(self, x):
        return x + self.shift


@pytest.mark.parametrize(
    ("layer", "why"),
    [
        (Branching(), r"forward pass cannot be traced: TraceError: symbolically traced variables"),
        (nn.Bilinear(8, 8, 8), r"its layer '1' \(Bilinear\) is not understood"),
        (Product(), r"its operation 'flip' is not understood"),
        (Shifted(), r"its tensor '1.shift' is used outside of a layer"),
        (nn.MaxPool1d(2, dilation=2), r"its layer '1' \(MaxPool1d\) is dilated"),
    ],
)
def test_what_is_not_understood_is_named(layer, why):
    model = nn.Sequential(nn.Linear(8, 8), layer)
    with pytest.raises(
        UsageError, match=f"the paths of Sequential cannot be followed.* {why}[^\n]*$"
    ):
        on_a_path(model, PLAIN_8, np.ones(size(model), bool))


def test_a_product_of_two_branches_is_refused():
    class Gate(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(8, 2), nn.Linear(8, 2)

        def forward(self, x):
            return self.a(x) * torch.sigmoid(self.b(x))

    model = Gate()
    with pytest.raises(UsageError, match="its operation 'mul' multiplies two branches"):
        on_a_path(model, PLAIN_8, np.ones(size(model), bool))


def test_a_mask_of_another_size_is_refused():
    model = mlp(8, 6, 3)
    with pytest.raises(LandscapeError, match=r"mask of shape \(5,\) .* expected \(75,\)"):
        on_a_path(model, PLAIN_8, np.ones(5, bool))
