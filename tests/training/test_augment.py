"""Augmentation against a loop over pictures, rows and columns; all outcomes are reached."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from landscape.data_store.errors import UsageError
from landscape.training.augment import flipped_and_cropped, require_pictures
from tests.support import naive


def naive_outcome(picture: Tensor, flip: bool, down: int, right: int) -> Tensor:
    """Move a (c, h, w) picture by up to 4 pixels, fill with zeros, then mirror it or not."""
    channels, height, width = picture.shape
    moved = torch.zeros_like(picture)
    for c in range(channels):
        for y in range(height):
            for x in range(width):
                from_y, from_x = y + down - 4, x + right - 4
                if 0 <= from_y < height and 0 <= from_x < width:
                    moved[c, y, width - 1 - x if flip else x] = picture[c, from_y, from_x]
    return moved


def numbered(count: int, shape: tuple[int, int, int]) -> Tensor:
    """Copies of one picture whose pixels are all different and not zero."""
    size = shape[0] * shape[1] * shape[2]
    return torch.arange(1.0, size + 1).reshape(1, *shape).repeat(count, 1, 1, 1)


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 5, 9), (2, 7, 4), (1, 1, 1)])
def test_it_is_the_naive_loop(shape: tuple[int, int, int]) -> None:
    seed, level, step = 3, 2, 17
    draws = torch.Generator().manual_seed(naive.stream(seed, "augmentation", level, step))
    flips = (torch.rand(20, generator=draws) < 0.5).tolist()
    moves = torch.randint(0, 9, (20, 2), generator=draws).tolist()
    pictures = torch.randn(20, *shape, generator=torch.Generator().manual_seed(0))
    before = pictures.clone()
    expected = torch.stack(
        [naive_outcome(pictures[i], flips[i], *moves[i]) for i in range(len(pictures))]
    )
    assert torch.equal(flipped_and_cropped(pictures, seed, level, step), expected)
    assert torch.equal(pictures, before)


@pytest.mark.parametrize("shape", [(1, 10, 10), (2, 9, 12)])
def test_all_81_places_mirrored_or_not_are_reached_equally(shape: tuple[int, int, int]) -> None:
    pictures = numbered(2000, shape)
    counts: dict[bytes, int] = {}
    for step in range(10):
        for outcome in flipped_and_cropped(pictures, 0, 0, step):
            key = outcome.numpy().tobytes()
            counts[key] = counts.get(key, 0) + 1
    possible = {
        naive_outcome(pictures[0], flip, down, right).numpy().tobytes()
        for flip in (False, True)
        for down in range(9)
        for right in range(9)
    }
    assert counts.keys() == possible
    assert len(possible) == 162
    expected = 20_000 / 162
    chi_square = sum((count - expected) ** 2 / expected for count in counts.values())
    assert chi_square < 161 + 5 * (2 * 161) ** 0.5  # mean and deviation of chi square


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_is_drawn_is_a_function_of_seed_level_and_step(dtype: torch.dtype) -> None:
    pictures = numbered(50, (1, 9, 9)).to(dtype)
    first = flipped_and_cropped(pictures, 1, 2, 3)
    assert first.dtype == dtype
    torch.manual_seed(5)
    state = torch.get_rng_state()
    assert torch.equal(flipped_and_cropped(pictures, 1, 2, 3), first)
    assert torch.equal(torch.get_rng_state(), state)
    for other in ((2, 2, 3), (1, 3, 3), (1, 2, 4), (3, 2, 1)):
        same = (flipped_and_cropped(pictures, *other) == first).flatten(1).all(1)
        assert same.sum() < 10


def test_channels_move_together() -> None:
    pictures = numbered(40, (1, 6, 6)).repeat(1, 3, 1, 1)
    moved = flipped_and_cropped(pictures, 0, 0, 0)
    assert torch.equal(moved[:, 0], moved[:, 1])
    assert torch.equal(moved[:, 0], moved[:, 2])
    assert len({picture.numpy().tobytes() for picture in moved}) > 20


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_on_a_gpu_it_is_the_same() -> None:
    pictures = numbered(30, (3, 8, 8))
    there = flipped_and_cropped(pictures.cuda(), 1, 2, 3)
    assert there.device.type == "cuda"
    assert torch.equal(there.cpu(), flipped_and_cropped(pictures, 1, 2, 3))


@pytest.mark.parametrize("shape", [(784,), (28, 28), (3, 4, 5, 6), ()])
def test_what_is_no_picture_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match=r"augment takes pictures .*, not inputs of shape \("):
        require_pictures(shape)


def test_pictures_are_taken() -> None:
    require_pictures((3, 32, 32))
