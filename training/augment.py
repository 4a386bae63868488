"""Augmentation of pictures: flips and crops, on the device, drawn anew for every step."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from landscape.data_store.errors import UsageError
from landscape.training.seeds import generator

PADDING = 4


def require_pictures(shape: tuple[int, ...]) -> None:
    """Raise `UsageError` unless one input is a picture (channels, height, width)."""
    if len(shape) != 3:
        raise UsageError(
            f"augment takes pictures (channels, height, width), not inputs of shape {shape}; "
            "leave it out"
        )


def flipped_and_cropped(pictures: Tensor, seed: int, level: int, step: int) -> Tensor:
    """Pictures (b, c, h, w) mirrored with probability 1/2 and moved by up to 4 pixels.

    Each is padded by 4 zeros on every side and cropped at one of 81 places, as is standard for
    CIFAR-10 (He et al. 2016, section 4.2). What is drawn is a function of (seed, level, step):
    no generator state is kept. One gather, on the device of the pictures.
    """
    draws = generator(seed, "augmentation", level, step)
    count, channels, height, width = pictures.shape
    flips = torch.rand(count, generator=draws) < 0.5
    moves = torch.randint(0, 2 * PADDING + 1, (count, 2), generator=draws)
    rows = moves[:, :1] + torch.arange(height)
    columns = torch.where(flips[:, None], torch.arange(width - 1, -1, -1), torch.arange(width))
    columns = moves[:, 1:] + columns
    padded_width = width + 2 * PADDING
    places = rows[:, :, None] * padded_width + columns[:, None, :]
    padded = functional.pad(pictures, (PADDING,) * 4).reshape(count, channels, -1)
    index = places.reshape(count, 1, -1).expand(-1, channels, -1).to(pictures.device)
    return padded.gather(2, index).reshape(pictures.shape)
