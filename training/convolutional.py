"""Convolutional networks without shortcuts: LeNet-5, Conv-2, Conv-4, Conv-6, VGG-16, VGG-19."""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Any

import torch
from torch import nn

from landscape.data_store.errors import UsageError
from landscape.training.models import Model, Shape, fully_connected

_STAGES = ((64, 64), (128, 128), (256, 256))
_VGG_STAGES = {16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
_VGG_WIDTHS = (64, 128, 256, 512, 512)


def picture(name: str, shape: Shape, least: int = 1) -> tuple[int, int, int]:
    """Channels, height and width; raises `UsageError` if inputs are no large enough picture."""
    if len(shape) != 3 or min(shape[1:]) < least:
        size = f" of at least {least} × {least} pixels" if least > 1 else ""
        raise UsageError(f"{name} takes inputs (channels, height, width){size}, not {shape}")
    channels, height, width = shape
    return channels, height, width


def _frankle(stages: int) -> Model:
    """Conv-2, -4 or -6: one to three stages of two 3 × 3 convolutions and a pooling, then 256, 256.

    Frankle & Carbin (2019), figure 2, with their protocols. Dropout (off unless asked for) is
    before each fully connected layer.
    """
    name = f"conv-{2 * stages}"
    widths = _STAGES[:stages]

    def build(shape: Shape, outputs: int) -> nn.Module:
        channels, height, width = picture(name, shape, 2**stages)
        layers: list[tuple[str, nn.Module]] = []
        for stage, pair in enumerate(widths):
            for i, wide in enumerate(pair, start=2 * stage + 1):
                layers += [
                    (f"conv{i}", nn.Conv2d(channels, wide, 3, padding=1)),
                    (f"conv{i}_relu", nn.ReLU()),
                ]
                channels = wide
            layers.append((f"pool{stage + 1}" if stage else "pool", nn.MaxPool2d(2)))
            height, width = height // 2, width // 2
        layers.append(("flatten", nn.Flatten()))
        connected = fully_connected([channels * height * width, 256, 256, outputs], dropout=True)
        return nn.Sequential(OrderedDict([*layers, *connected]))

    rates = {1: (20_000, 2e-4, 0.1), 2: (25_000, 3e-4, 0.1), 3: (30_000, 3e-4, 0.15)}
    iterations, lr, fraction_conv = rates[stages]
    return Model(
        build,
        {
            "iterations": iterations,
            "batch_size": 60,
            "optimizer": "adam",
            "lr": lr,
            "pruning_fraction": 0.2,
            "pruning_fraction_conv": fraction_conv,
            "pruning_fraction_output": 0.1,
            "eval_every": 100,
        },
    )


def _lenet_5(shape: Shape, outputs: int) -> nn.Module:
    """Two 5 × 5 convolutions of 6 and 16 with max pooling, hidden layers of 120 and 84, ReLU.

    Pictures of 28 × 28 are padded to 32 × 32, as LeCun et al. (1998) did.
    """
    channels, height, width = picture("lenet-5", shape, 16)
    padding = 2 if min(height, width) < 32 else 0
    sides = [((side + 2 * padding - 4) // 2 - 4) // 2 for side in (height, width)]
    return nn.Sequential(
        OrderedDict(
            [
                ("conv1", nn.Conv2d(channels, 6, 5, padding=padding)),
                ("conv1_relu", nn.ReLU()),
                ("pool1", nn.MaxPool2d(2)),
                ("conv2", nn.Conv2d(6, 16, 5)),
                ("conv2_relu", nn.ReLU()),
                ("pool2", nn.MaxPool2d(2)),
                ("flatten", nn.Flatten()),
                *fully_connected([16 * math.prod(sides), 120, 84, outputs]),
            ]
        )
    )


class GlobalAveragePool(nn.Module):
    """Mean over height and width: (b, c, h, w) -> (b, c)."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """The mean of each channel."""
        return inputs.mean(dim=(2, 3))


def _vgg(depth: int) -> Any:
    """A VGG with BatchNorm whose five stages end in four poolings and a global average."""

    def build(shape: Shape, outputs: int) -> nn.Module:
        channels, _, _ = picture(f"vgg-{depth}", shape, 16)
        layers: list[tuple[str, nn.Module]] = []
        number = 0
        for stage, (count, wide) in enumerate(zip(_VGG_STAGES[depth], _VGG_WIDTHS, strict=True)):
            for _ in range(count):
                number += 1
                layers += [
                    (f"conv{number}", nn.Conv2d(channels, wide, 3, padding=1)),
                    (f"norm{number}", nn.BatchNorm2d(wide)),
                    (f"relu{number}", nn.ReLU()),
                ]
                channels = wide
            if stage < len(_VGG_WIDTHS) - 1:
                layers.append((f"pool{stage + 1}", nn.MaxPool2d(2)))
        layers += [("average", GlobalAveragePool()), ("fc", nn.Linear(channels, outputs))]
        return nn.Sequential(OrderedDict(layers))

    return build


CONV_2, CONV_4, CONV_6 = _frankle(1), _frankle(2), _frankle(3)

LENET_5 = Model(
    _lenet_5,
    {
        "iterations": 20_000,
        "batch_size": 60,
        "optimizer": "adam",
        "lr": 1.2e-3,
        "pruning_fraction": 0.2,
        "pruning_fraction_conv": 0.1,
        "pruning_fraction_output": 0.1,
    },
)

# Frankle & Carbin (2019), figure 2 and section 4: 160 epochs of 45 000 images in batches of 64;
# only convolutions are pruned, together.
VGG_19 = Model(
    _vgg(19),
    {
        "iterations": 112_480,
        "batch_size": 64,
        "optimizer": "sgd",
        "lr": 0.1,
        "momentum": 0.9,
        "weight_decay": 1e-4,
        "lr_milestones": (56_240, 84_360),
        "scope": "global",
        "pruning_fraction": 0.2,
        "exclude": ("output",),
        "augment": True,
    },
)

# The defaults of open_lth for VGG-16 on CIFAR-10: 160 epochs in batches of 128, all weights but
# the output layer's pruned together.
VGG_16 = Model(
    _vgg(16),
    {
        "iterations": 56_320,
        "batch_size": 128,
        "optimizer": "sgd",
        "lr": 0.1,
        "momentum": 0.9,
        "weight_decay": 1e-4,
        "lr_milestones": (28_160, 42_240),
        "scope": "global",
        "pruning_fraction": 0.2,
        "exclude": ("output",),
        "augment": True,
        "initialization": "kaiming-normal",
        "norm_scale": "uniform",
    },
)
