"""Convolutional networks: sizes of the papers, a naive forward of each, their protocols."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from landscape.data_store.errors import UsageError
from landscape.data_store.records import RunConfig
from landscape.training.convolutional import (
    CONV_2,
    CONV_4,
    CONV_6,
    LENET_5,
    VGG_16,
    VGG_19,
    GlobalAveragePool,
)
from landscape.training.models import (
    LENET_300_100,
    Model,
    build,
    initialize,
    parameter_spec,
    prunable_kinds,
    set_dropout,
    without,
)

GREY, COLOUR = (1, 28, 28), (3, 32, 32)
FRANKLE = {"conv-2": CONV_2, "conv-4": CONV_4, "conv-6": CONV_6}
VGGS = {"vgg-16": VGG_16, "vgg-19": VGG_19}
# Simonyan & Zisserman (2015), table 1, columns D and E; M is a pooling
VGG_PLANS: dict[str, list[Any]] = {
    "vgg-16": [64, 64, "M", 128, 128, "M", *[256] * 3, "M", *[512] * 3, "M", *[512] * 3],
    "vgg-19": [64, 64, "M", 128, 128, "M", *[256] * 4, "M", *[512] * 4, "M", *[512] * 4],
}
FRANKLE_PLANS: dict[str, list[Any]] = {
    "conv-2": [64, 64, "M"],
    "conv-4": [64, 64, "M", 128, 128, "M"],
    "conv-6": [64, 64, "M", 128, 128, "M", 256, 256, "M"],
}


def without_memory(model: Model, shape: tuple[int, ...], outputs: int = 10) -> nn.Module:
    """The network with shapes but no numbers, in evaluation mode."""
    with torch.device("meta"):
        return build(model, shape, outputs, seed=0).eval()


def weights(module: nn.Module, *kinds: str) -> int:
    """Number of weights of these kinds, of all if none is named."""
    found = prunable_kinds(module)
    named = dict(module.named_parameters())
    return sum(named[n].numel() for n, kind in found.items() if not kinds or kind in kinds)


def total(module: nn.Module) -> int:
    """Number of parameters."""
    return sum(p.numel() for p in module.parameters())


def by_hand(plan: list[Any], channels: int, side: int, hidden: list[int]) -> tuple[int, int]:
    """Convolution weights and all weights, one product at a time."""
    convolutions = 0
    for entry in plan:
        if entry == "M":
            side //= 2
        else:
            convolutions += channels * entry * 3 * 3
            channels = entry
    inner, connected = channels * side * side if hidden else channels, 0
    for outer in [*hidden, 10]:
        connected += inner * outer
        inner = outer
    return convolutions, convolutions + connected


# Frankle & Carbin (2019), figure 2: weights, all and convolutions, and the decimals they are
# printed with. Conv-6 is printed as 1.7M, which its 4 x 4 x 256 inputs to 256 do not give.
@pytest.mark.parametrize(
    ("name", "exact", "convolutions", "printed"),
    [
        ("conv-2", 4_300_992, 38_592, ("4.3M", "39K")),
        ("conv-4", 2_425_024, 259_776, ("2.4M", "260K")),
        ("conv-6", 2_261_184, 1_144_512, ("2.3M", "1145K")),
    ],
)
def test_the_conv_nets_have_the_paper_s_sizes(
    name: str, exact: int, convolutions: int, printed: tuple[str, str]
) -> None:
    network = without_memory(FRANKLE[name], COLOUR)
    assert (weights(network, "conv"), weights(network)) == (convolutions, exact)
    assert by_hand(FRANKLE_PLANS[name], 3, 32, [256, 256]) == (convolutions, exact)
    assert (f"{exact / 1e6:.1f}M", f"{convolutions / 1e3:.0f}K") == printed
    # biases: one for each output of a layer
    widths = [w for w in FRANKLE_PLANS[name] if w != "M"]
    assert total(network) == exact + sum(widths) + 256 + 256 + 10


def test_the_vggs_have_the_paper_s_sizes() -> None:
    sixteen, nineteen = without_memory(VGG_16, COLOUR), without_memory(VGG_19, COLOUR)
    assert by_hand(VGG_PLANS["vgg-16"], 3, 32, []) == (14_710_464, 14_715_584)
    assert (weights(sixteen, "conv"), weights(sixteen)) == (14_710_464, 14_715_584)
    assert by_hand(VGG_PLANS["vgg-19"], 3, 32, []) == (20_018_880, 20_024_000)
    assert (weights(nineteen, "conv"), weights(nineteen)) == (20_018_880, 20_024_000)
    assert weights(nineteen, "output") == 5_120
    # Morcos et al. (2019), figure 1: the first layer has 1 792 parameters
    assert nineteen.conv1.weight.numel() + nineteen.conv1.bias.numel() == 1_792
    # each of the 13 convolutions and BatchNorms has two tensors, as the output layer
    assert len(list(sixteen.parameters())) == 54
    assert f"{total(sixteen) / 1e6:.1f}M {total(nineteen) / 1e6:.1f}M" == "14.7M 20.0M"


def test_lenet_5_has_its_size() -> None:
    network = without_memory(LENET_5, GREY)
    assert weights(network, "conv") == 6 * 25 + 16 * 6 * 25
    # LeCun et al. (1998), with all 16 maps joined to all 6: 61 706 parameters
    assert total(network) == 61_706
    assert total(without_memory(LENET_5, (1, 32, 32))) == 61_706
    assert weights(network) == 61_706 - 6 - 16 - 120 - 84 - 10


def test_the_layers_and_kinds_of_conv_4_in_order() -> None:
    network = without_memory(CONV_4, COLOUR)
    assert [name for name, _ in network.named_children()] == [
        "conv1", "conv1_relu", "conv2", "conv2_relu", "pool",
        "conv3", "conv3_relu", "conv4", "conv4_relu", "pool2", "flatten",
        "fc1_dropout", "fc1", "fc1_relu", "fc2_dropout", "fc2", "fc2_relu", "fc3_dropout", "fc3",
    ]  # fmt: skip
    assert prunable_kinds(network) == {
        "conv1.weight": "conv",
        "conv2.weight": "conv",
        "conv3.weight": "conv",
        "conv4.weight": "conv",
        "fc1.weight": "fc",
        "fc2.weight": "fc",
        "fc3.weight": "output",
    }


def test_the_parameters_of_conv_2_in_order() -> None:
    spec = parameter_spec(without_memory(CONV_2, COLOUR))
    layers = ["conv1", "conv2", "fc1", "fc2", "fc3"]
    assert spec.names == tuple(f"{layer}.{part}" for layer in layers for part in ("weight", "bias"))
    assert [spec.shape(f"{layer}.weight") for layer in layers] == [
        (64, 3, 3, 3), (64, 64, 3, 3), (256, 16_384), (256, 256), (10, 256),
    ]  # fmt: skip


@pytest.mark.parametrize("name", VGGS)
def test_the_layers_of_a_vgg_in_order(name: str) -> None:
    expected, number, pools = [], 0, 0
    for entry in VGG_PLANS[name]:
        if entry == "M":
            pools += 1
            expected.append(f"pool{pools}")
        else:
            number += 1
            expected += [f"conv{number}", f"norm{number}", f"relu{number}"]
    network = without_memory(VGGS[name], COLOUR)
    assert [n for n, _ in network.named_children()] == [*expected, "average", "fc"]
    kinds = list(prunable_kinds(network).values())
    assert kinds == ["conv"] * number + ["output"]
    assert number == int(name[-2:]) - 3  # the paper's three linear layers are one


def blocks(parameters: Mapping[str, Tensor], x: Tensor, plan: list[Any], norm: bool) -> Tensor:
    """The convolutions of a plan, written out."""
    number = 0
    for entry in plan:
        if entry == "M":
            x = functional.max_pool2d(x, kernel_size=2, stride=2)
            continue
        number += 1
        weight, bias = parameters[f"conv{number}.weight"], parameters[f"conv{number}.bias"]
        assert weight.shape == (entry, x.shape[1], 3, 3)
        x = functional.conv2d(functional.pad(x, (1, 1, 1, 1)), weight, bias)
        if norm:
            mean, var = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), False, keepdim=True)
            x = (x - mean) / torch.sqrt(var + 1e-5)
            x = x * parameters[f"norm{number}.weight"][:, None, None]
            x = x + parameters[f"norm{number}.bias"][:, None, None]
        x = x.clamp_min(0)
    return x


def connected(parameters: Mapping[str, Tensor], x: Tensor) -> Tensor:
    """The three linear layers, written out."""
    for i in (1, 2, 3):
        x = x @ parameters[f"fc{i}.weight"].T + parameters[f"fc{i}.bias"]
        x = x.clamp_min(0) if i < 3 else x
    return x


def drawn(model: Model, shape: tuple[int, ...], examples: int) -> tuple[nn.Module, Tensor]:
    """A network in double precision with random biases and scales, and random pictures."""
    network = build(model, shape, 7, seed=0).double()
    initialize(network, "kaiming-normal", 0, norm_scale="uniform")
    draws = torch.Generator().manual_seed(1)
    for name, parameter in network.named_parameters():
        if name.endswith("bias"):
            parameter.data.normal_(generator=draws)
    return network, torch.randn(examples, *shape, generator=draws, dtype=torch.float64)


@pytest.mark.parametrize("shape", [COLOUR, (1, 28, 28), (2, 9, 13)])
@pytest.mark.parametrize("name", FRANKLE)
def test_a_conv_net_is_the_naive_one(name: str, shape: tuple[int, ...]) -> None:
    network, inputs = drawn(FRANKLE[name], shape, 3)
    parameters = dict(network.named_parameters())
    hidden = blocks(parameters, inputs, FRANKLE_PLANS[name], norm=False)
    expected = connected(parameters, hidden.reshape(3, -1))
    torch.testing.assert_close(network(inputs), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("name", "shape"), [("vgg-16", COLOUR), ("vgg-19", (3, 20, 36))])
def test_a_vgg_is_the_naive_one(name: str, shape: tuple[int, ...]) -> None:
    network, inputs = drawn(VGGS[name], shape, 3)
    parameters = dict(network.named_parameters())
    with torch.no_grad():
        hidden = blocks(parameters, inputs, VGG_PLANS[name], norm=True)
        pooled = hidden.sum((2, 3)) / (hidden.shape[2] * hidden.shape[3])
        expected = pooled @ parameters["fc.weight"].T + parameters["fc.bias"]
        torch.testing.assert_close(network.train()(inputs), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("shape", [GREY, (1, 32, 32), (3, 40, 33)])
def test_lenet_5_is_the_naive_one(shape: tuple[int, ...]) -> None:
    network, inputs = drawn(LENET_5, shape, 3)
    parameters = dict(network.named_parameters())
    x = functional.pad(inputs, (2, 2, 2, 2)) if shape == GREY else inputs
    for i in (1, 2):
        x = functional.conv2d(x, parameters[f"conv{i}.weight"], parameters[f"conv{i}.bias"])
        x = functional.max_pool2d(x.clamp_min(0), 2)
    expected = connected(parameters, x.reshape(3, -1))
    torch.testing.assert_close(network(inputs), expected, rtol=1e-9, atol=1e-9)


def test_a_global_average_is_the_mean_of_each_channel() -> None:
    pictures = torch.arange(2 * 3 * 4 * 5, dtype=torch.float64).reshape(2, 3, 4, 5)
    expected = [[[*picture[c].flatten()] for c in range(3)] for picture in pictures]
    means = [[float(sum(values)) / 20 for values in picture] for picture in expected]
    assert GlobalAveragePool()(pictures).tolist() == means


@pytest.mark.parametrize("shape", [GREY, COLOUR, (3, 64, 64), (3, 224, 224)])
@pytest.mark.parametrize("name", [*FRANKLE, *VGGS, "lenet-5"])
def test_pictures_of_any_size_give_one_row_each(name: str, shape: tuple[int, ...]) -> None:
    model = {**FRANKLE, **VGGS, "lenet-5": LENET_5}[name]
    network = without_memory(model, shape, 100)
    seen: dict[str, tuple[int, ...]] = {}
    for child, layer in network.named_children():
        layer.register_forward_hook(
            lambda _layer, _inputs, outputs, child=child: seen.update({child: outputs.shape})
        )
    assert network(torch.empty(2, *shape, device="meta")).shape == (2, 100)
    if name in VGGS:  # a global average absorbs the size
        assert total(network) == total(without_memory(model, (shape[0], 16, 16), 100))
        side = shape[1] // 16
        assert seen[f"relu{int(name[-2:]) - 3}"] == (2, 512, side, side)
        assert seen["average"] == (2, 512)
    elif name in FRANKLE:
        stages = int(name[-1]) // 2
        side = shape[1] // 2**stages
        last = "pool" if stages == 1 else f"pool{stages}"
        assert seen[last] == (2, 32 * 2**stages, side, side)
    else:
        padded = 32 if shape == GREY else shape[1]
        side = ((padded - 4) // 2 - 4) // 2
        assert seen["pool2"] == (2, 16, side, side)


@pytest.mark.parametrize(
    ("model", "shape", "message"),
    [
        (CONV_2, (6,), r"conv-2 takes .* of at least 2 × 2 pixels, not \(6,\)"),
        (CONV_2, (3, 32, 1), r"conv-2 takes .* of at least 2 × 2 pixels, not \(3, 32, 1\)"),
        (CONV_4, (3, 3, 32), r"conv-4 takes .* of at least 4 × 4 pixels, not \(3, 3, 32\)"),
        (CONV_6, (1, 7, 8), r"conv-6 takes .* of at least 8 × 8 pixels, not \(1, 7, 8\)"),
        (LENET_5, (1, 8, 8), r"lenet-5 takes .* of at least 16 × 16 pixels, not \(1, 8, 8\)"),
        (VGG_16, (3, 15, 16), r"vgg-16 takes .* of at least 16 × 16 pixels, not \(3, 15, 16\)"),
        (VGG_19, (784,), r"vgg-19 takes .* of at least 16 × 16 pixels, not \(784,\)"),
    ],
)
def test_what_is_no_large_enough_picture_is_refused(
    model: Model, shape: tuple[int, ...], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        build(model, shape, 10, seed=0)


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (CONV_2, (1, 2, 2)),
        (CONV_4, (1, 4, 4)),
        (CONV_6, (1, 8, 8)),
        *((model, (1, 16, 16)) for model in (LENET_5, VGG_16, VGG_19)),
    ],
)
def test_the_smallest_pictures_are_taken(model: Model, shape: tuple[int, ...]) -> None:
    network = without_memory(model, shape)
    assert network(torch.empty(2, *shape, device="meta")).shape == (2, 10)


# Frankle & Carbin (2019), figure 2: iterations, rate, and what a round removes of convolutions
@pytest.mark.parametrize(
    ("name", "iterations", "lr", "conv"),
    [
        ("conv-2", 20_000, 2e-4, 0.1),
        ("conv-4", 25_000, 3e-4, 0.1),
        ("conv-6", 30_000, 3e-4, 0.15),
    ],
)
def test_the_protocols_of_the_conv_nets(name: str, iterations: int, lr: float, conv: float) -> None:
    config = RunConfig(**FRANKLE[name].protocol)
    assert (config.iterations, config.batch_size) == (iterations, 60)
    assert (config.optimizer, config.lr, config.weight_decay) == ("adam", lr, 0.0)
    assert (config.scope, config.exclude, config.augment) == ("layer", (), False)
    assert (config.pruning_fraction, config.pruning_fraction_output) == (0.2, 0.1)
    assert (config.pruning_fraction_conv, config.eval_every) == (conv, 100)
    assert (config.initialization, config.dropout) == ("glorot-normal", 0.0)
    assert (config.lr_milestones, config.warmup) == ((), 0)


# 160 epochs of 45 000 pictures, drops at 80 and 120. VGG-19: Frankle & Carbin (2019), batches of
# 64, who count 703 steps an epoch, without the last, short one; VGG-16: open_lth, batches of 128
@pytest.mark.parametrize(("name", "batch", "epoch"), [("vgg-19", 64, 703), ("vgg-16", 128, 352)])
def test_the_protocols_of_the_vggs(name: str, batch: int, epoch: int) -> None:
    config = RunConfig(**VGGS[name].protocol)
    assert epoch == (45_000 // batch if name == "vgg-19" else -(-45_000 // batch))
    assert (config.iterations, config.batch_size) == (160 * epoch, batch)
    assert config.lr_milestones == (80 * epoch, 120 * epoch)
    assert (config.optimizer, config.lr, config.momentum) == ("sgd", 0.1, 0.9)
    assert (config.weight_decay, config.lr_gamma) == (1e-4, 0.1)
    assert (config.scope, config.pruning_fraction) == ("global", 0.2)
    assert (config.exclude, config.augment) == (("output",), True)
    schemes = {"vgg-19": ("glorot-normal", "one"), "vgg-16": ("kaiming-normal", "uniform")}
    assert (config.initialization, config.norm_scale) == schemes[name]


def test_the_iterations_of_vgg_19_are_the_printed_ones() -> None:
    assert VGG_19.protocol["iterations"] == 112_480


@pytest.mark.parametrize("name", VGGS)
def test_only_convolutions_of_a_vgg_are_pruned(name: str) -> None:
    network = without_memory(VGGS[name], COLOUR)
    left = without(prunable_kinds(network), VGGS[name].protocol["exclude"])
    assert set(left.values()) == {"conv"}
    assert "fc.weight" not in left


def test_the_protocol_of_lenet_5() -> None:
    config = RunConfig(**LENET_5.protocol)
    assert (config.optimizer, config.lr) == ("adam", LENET_300_100.protocol["lr"])
    assert (config.pruning_fraction, config.pruning_fraction_conv) == (0.2, 0.1)
    assert config.pruning_fraction_output == 0.1


@pytest.mark.parametrize("name", FRANKLE)
def test_dropout_is_before_each_linear_layer_and_off(name: str) -> None:
    network = without_memory(FRANKLE[name], COLOUR)
    children = dict(network.named_children())
    before = [list(children)[list(children).index(f"fc{i}") - 1] for i in (1, 2, 3)]
    assert before == [f"fc{i}_dropout" for i in (1, 2, 3)]
    assert {m.p for m in network.modules() if isinstance(m, nn.Dropout)} == {0.0}
    set_dropout(network, 0.5)
    assert [children[layer].p for layer in before] == [0.5] * 3
