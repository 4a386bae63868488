"""Inputs that are made of a tensor when a slice is asked for, and say what was."""

from __future__ import annotations

import torch
from torch import Tensor


class Recorded:
    """Lazy inputs; `asked` holds the start and stop of every slice."""

    def __init__(self, inputs: Tensor) -> None:
        self._inputs = inputs
        self.asked: list[tuple[int, int]] = []

    def __len__(self) -> int:
        return len(self._inputs)

    def __getitem__(self, places: slice, /) -> Tensor:
        assert isinstance(places, slice)
        start, stop, step = places.indices(len(self))
        assert step == 1
        self.asked.append((start, stop))
        return self._inputs[start:stop].clone()

    def is_floating_point(self) -> bool:
        return self._inputs.is_floating_point()

    def to(self, device: torch.device, dtype: torch.dtype | None) -> Recorded:
        moved = Recorded(self._inputs.to(device, dtype))
        moved.asked = self.asked
        return moved
