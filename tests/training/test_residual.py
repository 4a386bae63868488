"""Residual networks: a naive block and forward, sizes of the papers, strides, protocols."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from landscape.data_store.errors import UsageError
from landscape.data_store.records import RunConfig
from landscape.training.models import Model, build, initialize, prunable_kinds, without
from landscape.training.residual import RESNET_18, RESNET_20, RESNET_50, Block

COLOUR, GREY = (3, 32, 32), (1, 28, 28)
RESNETS = {"resnet-18": RESNET_18, "resnet-20": RESNET_20, "resnet-50": RESNET_50}
# stem, blocks per stage, widths, factor of the last width of a block
PLANS: dict[str, tuple[int, tuple[int, ...], tuple[int, ...], int]] = {
    "resnet-18": (64, (2, 2, 2, 2), (64, 128, 256, 512), 1),
    "resnet-20": (16, (3, 3, 3), (16, 32, 64), 1),
    "resnet-50": (64, (3, 4, 6, 3), (64, 128, 256, 512), 4),
}


def without_memory(model: Model, shape: tuple[int, ...], outputs: int = 10) -> nn.Module:
    """The network with shapes but no numbers, in evaluation mode."""
    with torch.device("meta"):
        return build(model, shape, outputs, seed=0).eval()


def weights(module: nn.Module, *kinds: str) -> int:
    """Number of weights of these kinds."""
    named = dict(module.named_parameters())
    return sum(named[n].numel() for n, kind in prunable_kinds(module).items() if kind in kinds)


def total(module: nn.Module) -> int:
    """Number of parameters."""
    return sum(p.numel() for p in module.parameters())


def normed(x: Tensor, norm: nn.BatchNorm2d) -> Tensor:
    """Training-mode batch normalisation, channel by channel."""
    channels = []
    for c in range(x.shape[1]):
        values = x[:, c]
        scaled = (values - values.mean()) / torch.sqrt(values.var(unbiased=False) + 1e-5)
        channels.append(scaled * norm.weight[c] + norm.bias[c])
    return torch.stack(channels, dim=1)


def naive_block(block: Block, x: Tensor, sizes: list[int], stride: int, strided: int) -> Tensor:
    """conv, norm, relu, …, norm; plus the shortcut; relu."""
    y = x
    for i, size in enumerate(sizes):
        weight = block.body.get_parameter(f"conv{i + 1}.weight")
        assert weight.shape[2:] == (size, size)
        step, around = stride if i == strided else 1, (size - 1) // 2
        y = functional.conv2d(functional.pad(y, (around,) * 4), weight)[:, :, ::step, ::step]
        y = normed(y, block.body.get_submodule(f"norm{i + 1}"))  # type: ignore[arg-type]
        y = y.clamp_min(0) if i < len(sizes) - 1 else y
    if len(block.shortcut) == 0:
        assert x.shape == y.shape
        return (x + y).clamp_min(0)
    weight = block.shortcut.get_parameter("conv.weight")[:, :, 0, 0]
    beside = torch.einsum("oi,bihw->bohw", weight, x[:, :, ::stride, ::stride])
    return (normed(beside, block.shortcut.get_submodule("norm")) + y).clamp_min(0)  # type: ignore[arg-type]


def shaken(module: nn.Module) -> nn.Module:
    """In double precision, with random scales and biases of its normalisations."""
    module = module.double()
    initialize(module, "kaiming-normal", 0, norm_scale="uniform")
    draws = torch.Generator().manual_seed(5)
    for name, parameter in module.named_parameters():
        if name.endswith("bias"):
            parameter.data.normal_(generator=draws)
    return module


@pytest.mark.parametrize(
    ("inner", "widths", "sizes", "stride", "strided"),
    [
        (4, [4, 4], [3, 3], 1, 0),
        (4, [8, 8], [3, 3], 2, 0),
        (4, [6, 6], [3, 3], 1, 0),
        (4, [4, 4], [3, 3], 2, 0),
        (8, [2, 2, 8], [1, 3, 1], 1, 1),
        (8, [4, 4, 16], [1, 3, 1], 2, 1),
    ],
)
@pytest.mark.parametrize("size", [(8, 8), (7, 5)])
def test_a_block_is_the_naive_one(
    inner: int, widths: list[int], sizes: list[int], stride: int, strided: int, size: Any
) -> None:
    block = shaken(Block(inner, widths, sizes, stride, strided)).train()
    assert isinstance(block, Block)
    assert (len(block.shortcut) == 0) == (stride == 1 and inner == widths[-1])
    draws = torch.Generator().manual_seed(0)
    inputs = torch.randn(3, inner, *size, generator=draws, dtype=torch.float64)
    outputs, expected = block(inputs), naive_block(block, inputs, sizes, stride, strided)
    assert outputs.shape == (3, widths[-1], -(-size[0] // stride), -(-size[1] // stride))
    torch.testing.assert_close(outputs, expected, rtol=1e-9, atol=1e-9)


def naive_forward(name: str, network: nn.Module, x: Tensor) -> Tensor:
    """A whole network, block after block."""
    stem, counts, _, wide = PLANS[name]
    weight = network.get_parameter("conv.weight")
    if stem == 64 and min(x.shape[2:]) >= 64:
        x = functional.conv2d(functional.pad(x, (3, 3, 3, 3)), weight)[:, :, ::2, ::2]
        x = normed(x, network.get_submodule("norm")).clamp_min(0)  # type: ignore[arg-type]
        x = functional.max_pool2d(functional.pad(x, (1, 1, 1, 1)), 3, 2)  # relu: 0 is the least
    else:
        x = functional.conv2d(functional.pad(x, (1, 1, 1, 1)), weight)
        x = normed(x, network.get_submodule("norm")).clamp_min(0)  # type: ignore[arg-type]
    sizes, strided = ([3, 3], 0) if wide == 1 else ([1, 3, 1], 1)
    for stage, count in enumerate(counts, start=1):
        for number in range(1, count + 1):
            block = network.get_submodule(f"stage{stage}_block{number}")
            assert isinstance(block, Block)
            stride = 2 if stage > 1 and number == 1 else 1
            x = naive_block(block, x, sizes, stride, strided)
    pooled = x.sum((2, 3)) / (x.shape[2] * x.shape[3])
    return pooled @ network.get_parameter("fc.weight").T + network.get_parameter("fc.bias")


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("resnet-20", COLOUR),
        ("resnet-20", (1, 9, 14)),
        ("resnet-18", (3, 16, 16)),
        ("resnet-18", (3, 64, 70)),
        ("resnet-50", (3, 16, 16)),
    ],
)
def test_a_network_is_the_naive_one(name: str, shape: tuple[int, ...]) -> None:
    network = shaken(build(RESNETS[name], shape, 7, seed=0)).train()
    draws = torch.Generator().manual_seed(0)
    inputs = torch.randn(3, *shape, generator=draws, dtype=torch.float64)
    with torch.no_grad():
        expected = naive_forward(name, network, inputs)
        torch.testing.assert_close(network(inputs), expected, rtol=1e-6, atol=1e-6)


def test_resnet_20_has_the_paper_s_size() -> None:
    network = without_memory(RESNET_20, COLOUR)
    # He et al. (2016), table 6: 0.27M; Frankle & Carbin (2019), figure 2: 270K convolutions
    assert weights(network, "conv", "shortcut") == 270_256
    assert weights(network, "shortcut") == 16 * 32 + 32 * 64 == 2_560
    assert weights(network, "output") == 640
    norms = 7 * 16 + 6 * 32 + 6 * 64 + (32 + 64)  # one a convolution, of two tensors each
    assert total(network) == 270_256 + 640 + 10 + 2 * norms
    left = without(prunable_kinds(network), RESNET_20.protocol["exclude"])
    assert set(left.values()) == {"conv"}
    named = dict(network.named_parameters())
    assert sum(named[name].numel() for name in left) == 270_256 - 2_560
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    assert len(convolutions) - 2 + 1 == 20  # without the shortcuts, with the linear layer


def test_the_large_networks_have_the_sizes_known_for_imagenet() -> None:
    # He et al. (2016), table 1; the counts of torchvision's resnet18 and resnet50
    assert total(without_memory(RESNET_18, (3, 224, 224), 1000)) == 11_689_512
    assert total(without_memory(RESNET_50, (3, 224, 224), 1000)) == 25_557_032
    # the stem for small pictures has 3 x 3 instead of 7 x 7 weights
    for model in (RESNET_18, RESNET_50):
        small = total(without_memory(model, COLOUR, 1000))
        assert total(without_memory(model, (3, 224, 224), 1000)) - small == 64 * 3 * (49 - 9)


@pytest.mark.parametrize("name", RESNETS)
def test_the_stages_and_widths(name: str) -> None:
    stem, counts, widths, wide = PLANS[name]
    network = without_memory(RESNETS[name], COLOUR)
    blocks = {n: b for n, b in network.named_children() if isinstance(b, Block)}
    assert [n for n, _ in network.named_children()] == [
        "conv", "norm", "relu", *blocks, "average", "fc",
    ]  # fmt: skip
    inner, names = stem, []
    for stage, (count, width) in enumerate(zip(counts, widths, strict=True), start=1):
        for number in range(1, count + 1):
            names.append(f"stage{stage}_block{number}")
            block = blocks[names[-1]]
            shapes = [tuple(m.weight.shape) for m in block.body if isinstance(m, nn.Conv2d)]
            if wide == 4:  # Morcos et al. (2019): (64, 64, 256), …, (512, 512, 2048)
                assert shapes == [
                    (width, inner, 1, 1), (width, width, 3, 3), (4 * width, width, 1, 1),
                ]  # fmt: skip
            else:
                assert shapes == [(width, inner, 3, 3), (width, width, 3, 3)]
            stride = 2 if stage > 1 and number == 1 else 1
            strides = [m.stride[0] for m in block.body if isinstance(m, nn.Conv2d)]
            assert sorted(strides)[-1] == stride
            assert strides[1 if wide == 4 else 0] == stride
            inner = width * wide
    assert list(blocks) == names
    assert network.get_parameter("fc.weight").shape == (10, inner)
    assert not any("conv" in n and n.endswith("bias") for n, _ in network.named_parameters())


@pytest.mark.parametrize("shape", [GREY, COLOUR, (3, 64, 64), (3, 63, 224), (3, 224, 224)])
@pytest.mark.parametrize("name", RESNETS)
def test_pictures_shrink_by_halves(name: str, shape: tuple[int, ...]) -> None:
    network = without_memory(RESNETS[name], shape, 100)
    stem, counts, widths, wide = PLANS[name]
    seen: dict[str, tuple[int, ...]] = {}
    for child, layer in network.named_children():
        layer.register_forward_hook(
            lambda _layer, _inputs, outputs, child=child: seen.update({child: outputs.shape})
        )
    assert network(torch.empty(2, *shape, device="meta")).shape == (2, 100)
    height, width = shape[1:]
    large = stem == 64 and min(height, width) >= 64
    assert ("pool" in seen) == large
    if large:
        height, width = -(-height // 4), -(-width // 4)
    for stage, (count, channels) in enumerate(zip(counts, widths, strict=True), start=1):
        if stage > 1:
            height, width = -(-height // 2), -(-width // 2)
        assert seen[f"stage{stage}_block{count}"] == (2, channels * wide, height, width)
    assert seen["average"] == (2, widths[-1] * wide)


def test_shortcuts_are_where_shapes_change() -> None:
    expected = {
        "resnet-20": ["stage2_block1", "stage3_block1"],
        "resnet-18": ["stage2_block1", "stage3_block1", "stage4_block1"],
        "resnet-50": ["stage1_block1", "stage2_block1", "stage3_block1", "stage4_block1"],
    }
    for name, model in RESNETS.items():
        kinds = prunable_kinds(without_memory(model, COLOUR))
        beside = [n for n, kind in kinds.items() if kind == "shortcut"]
        assert beside == [f"{block}.shortcut.conv.weight" for block in expected[name]]
        assert kinds["fc.weight"] == "output"
        assert set(kinds.values()) == {"conv", "shortcut", "output"}


def test_shared_settings_of_the_protocols() -> None:
    for model in RESNETS.values():
        config = RunConfig(**model.protocol)
        assert (config.optimizer, config.lr, config.momentum) == ("sgd", 0.1, 0.9)
        assert (config.weight_decay, config.lr_gamma) == (1e-4, 0.1)
        assert (config.scope, config.pruning_fraction) == ("global", 0.2)
        assert (config.augment, config.warmup, config.initialization) == (True, 0, "glorot-normal")


@pytest.mark.parametrize(
    ("name", "iterations", "batch", "milestones", "exclude"),
    [
        # Frankle & Carbin (2019): 20K, 5K and 5K iterations; shortcuts are not pruned
        ("resnet-20", 30_000, 128, (20_000, 25_000), ("output", "shortcut")),
        # 160 epochs of 352 steps
        ("resnet-18", 160 * 352, 128, (80 * 352, 120 * 352), ("output",)),
        # Morcos et al. (2019): 90 epochs, drops at 50, 65 and 80, of 88 steps
        ("resnet-50", 90 * 88, 512, (50 * 88, 65 * 88, 80 * 88), ("output",)),
    ],
)
def test_the_protocols(
    name: str, iterations: int, batch: int, milestones: tuple[int, ...], exclude: tuple[str, ...]
) -> None:
    config = RunConfig(**RESNETS[name].protocol)
    assert (config.iterations, config.batch_size) == (iterations, batch)
    assert (config.lr_milestones, config.exclude) == (milestones, exclude)
    if name != "resnet-20":
        assert iterations // (-(-45_000 // batch)) in (90, 160)


@pytest.mark.parametrize(
    ("name", "shape"), [("resnet-20", (784,)), ("resnet-18", (3, 7, 32)), ("resnet-50", (3, 32, 4))]
)
def test_what_is_no_large_enough_picture_is_refused(name: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match=f"{name} takes .* of at least 8 × 8 pixels, not"):
        build(RESNETS[name], shape, 10, seed=0)
