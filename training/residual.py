"""Residual networks: ResNet-20 of CIFAR, ResNet-18 and ResNet-50."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from landscape.training.convolutional import GlobalAveragePool, picture
from landscape.training.models import Model, Shape

_LARGE = 64  # pictures from this size on get the stem of ImageNet


def _convolution(inner: int, outer: int, size: int, stride: int = 1) -> nn.Conv2d:
    """A convolution that keeps the picture's size but for its stride, without bias."""
    return nn.Conv2d(inner, outer, size, stride, padding=size // 2, bias=False)


class Block(nn.Module):
    """A residual block: convolutions with BatchNorm beside a shortcut, then ReLU.

    Parameters
    ----------
    inner
        Channels that come in.
    widths, sizes
        Channels and kernel size of each convolution.
    stride
        Of the convolution numbered `strided`.
    strided
        Which convolution reduces the picture.

    Where channels or size change, the shortcut is a 1 × 1 convolution with BatchNorm.
    """

    def __init__(
        self, inner: int, widths: Sequence[int], sizes: Sequence[int], stride: int, strided: int
    ) -> None:
        super().__init__()
        layers: list[tuple[str, nn.Module]] = []
        channels = inner
        for i, (wide, size) in enumerate(zip(widths, sizes, strict=True)):
            layers += [
                (f"conv{i + 1}", _convolution(channels, wide, size, stride if i == strided else 1)),
                (f"norm{i + 1}", nn.BatchNorm2d(wide)),
                (f"relu{i + 1}", nn.ReLU()),
            ]
            channels = wide
        self.body = nn.Sequential(OrderedDict(layers[:-1]))
        self.shortcut = nn.Sequential()
        if stride != 1 or inner != channels:
            self.shortcut = nn.Sequential(
                OrderedDict(
                    [
                        ("conv", _convolution(inner, channels, 1, stride)),
                        ("norm", nn.BatchNorm2d(channels)),
                    ]
                )
            )

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """The block's output (b, c, h, w)."""
        return functional.relu(self.body(inputs) + self.shortcut(inputs))


def _resnet(name: str, stem: int, blocks: Sequence[int], widths: Sequence[int], wide: bool) -> Any:
    """A builder of residual networks.

    `stem` channels first; `blocks[i]` blocks of width `widths[i]`, the first of every stage but
    the first halving the picture; `wide` blocks are bottlenecks of four times the width.
    """

    def build(shape: Shape, outputs: int) -> nn.Module:
        channels, height, width = picture(name, shape, 8)
        large = stem == 64 and min(height, width) >= _LARGE
        first = nn.Conv2d(channels, stem, 7, 2, 3, bias=False) if large else None
        layers: list[tuple[str, nn.Module]] = [
            ("conv", first or _convolution(channels, stem, 3)),
            ("norm", nn.BatchNorm2d(stem)),
            ("relu", nn.ReLU()),
        ]
        layers += [("pool", nn.MaxPool2d(3, 2, 1))] if large else []
        inner = stem
        for stage, (count, size) in enumerate(zip(blocks, widths, strict=True)):
            for number in range(count):
                stride = 2 if stage and not number else 1
                block = (
                    Block(inner, (size, size, 4 * size), (1, 3, 1), stride, 1)
                    if wide
                    else Block(inner, (size, size), (3, 3), stride, 0)
                )
                layers.append((f"stage{stage + 1}_block{number + 1}", block))
                inner = 4 * size if wide else size
        layers += [("average", GlobalAveragePool()), ("fc", nn.Linear(inner, outputs))]
        return nn.Sequential(OrderedDict(layers))

    return build


_SGD: dict[str, Any] = {
    "optimizer": "sgd",
    "lr": 0.1,
    "momentum": 0.9,
    "weight_decay": 1e-4,
    "scope": "global",
    "pruning_fraction": 0.2,
    "augment": True,
}

# Frankle & Carbin (2019), figure 2, where it is called Resnet-18: 20 000, 5 000 and 5 000 steps of
# 128; convolutions are pruned together, but for the shortcuts'.
RESNET_20 = Model(
    _resnet("resnet-20", 16, (3, 3, 3), (16, 32, 64), wide=False),
    {
        **_SGD,
        "iterations": 30_000,
        "batch_size": 128,
        "lr_milestones": (20_000, 25_000),
        "exclude": ("output", "shortcut"),
    },
)
# 160 epochs of 45 000 images in batches of 128, as open_lth trains networks on CIFAR-10.
RESNET_18 = Model(
    _resnet("resnet-18", 64, (2, 2, 2, 2), (64, 128, 256, 512), wide=False),
    {
        **_SGD,
        "iterations": 56_320,
        "batch_size": 128,
        "lr_milestones": (28_160, 42_240),
        "exclude": ("output",),
    },
)
# Morcos et al. (2019), section 2: 90 epochs in batches of 512, here of 45 000 images.
RESNET_50 = Model(
    _resnet("resnet-50", 64, (3, 4, 6, 3), (64, 128, 256, 512), wide=True),
    {
        **_SGD,
        "iterations": 7_920,
        "batch_size": 512,
        "lr_milestones": (4_400, 5_720, 7_040),
        "exclude": ("output",),
    },
)
