"""Batches: a split's examples on a device, or some of them, a slice at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
import torch
from torch import Tensor

from landscape.data_store.errors import UsageError
from landscape.data_store.params import Array

Loss = Callable[[Tensor, Tensor], Tensor]
Batch = tuple[Tensor, Tensor]


class Inputs(Protocol):
    """Inputs of a split: a tensor, or something that makes one of a slice when it is asked for."""

    def __len__(self) -> int: ...
    def __getitem__(self, places: slice, /) -> Tensor: ...
    def is_floating_point(self) -> bool:
        """Whether the numbers are floating."""
        ...

    def to(self, device: torch.device, dtype: torch.dtype | None) -> Self:
        """The same on a device, in a dtype."""
        ...


@dataclass(frozen=True, eq=False)
class Chosen:
    """Some of the examples of inputs that are read when they are asked for.

    Parameters
    ----------
    inputs
        All of them.
    places
        Numbers of those chosen, in the order in which they are given.
    """

    inputs: Inputs
    places: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, places: slice, /) -> Tensor:
        return torch.cat([self.inputs[run] for run in _runs(self.places[places])])

    def is_floating_point(self) -> bool:
        """Whether the numbers are floating."""
        return self.inputs.is_floating_point()

    def to(self, device: torch.device, dtype: torch.dtype | None) -> Chosen:
        """The same on a device, in a dtype."""
        return Chosen(self.inputs.to(device, dtype), self.places)


@dataclass(frozen=True, eq=False)
class Data:
    """Examples of one split on the device.

    Parameters
    ----------
    inputs
        (examples, …).
    targets
        Classes (examples,) or values (examples, …).
    """

    inputs: Inputs
    targets: Tensor

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def in_memory(self) -> bool:
        """False if the inputs are made anew for every batch."""
        return isinstance(self.inputs, Tensor)

    @property
    def has_classes(self) -> bool:
        """Whether an answer can be wrong."""
        return not self.targets.is_floating_point()

    def batches(self, size: int, examples: int | None = None) -> Iterator[Batch]:
        """Consecutive batches of the first `examples`; of tensors views, nothing is copied."""
        stop = len(self) if examples is None else min(examples, len(self))
        for start in range(0, stop, size):
            end = min(start + size, stop)
            yield self.inputs[start:end], self.targets[start:end]

    def chosen(self, places: Array | None) -> Data:
        """The examples with these numbers, in this order; all for None.

        Those of a tensor are gathered once; others are still read batch by batch.

        Raises `UsageError` for anything but at least one number of an example.
        """
        if places is None:
            return self
        numbers = _numbers(places, len(self))
        index = torch.from_numpy(numbers).to(self.targets.device)
        if isinstance(self.inputs, Tensor):
            return Data(self.inputs[index], self.targets[index])
        return Data(Chosen(self.inputs, tuple(numbers.tolist())), self.targets[index])


def _numbers(places: Array, examples: int) -> Array:
    """Numbers of examples as int64 (m,), if they are that."""
    numbers = np.asarray(places)
    if numbers.ndim != 1 or numbers.size == 0 or not np.issubdtype(numbers.dtype, np.integer):
        raise UsageError(
            f"places are the numbers of examples, integers (m,) with m > 0, "
            f"got {numbers.dtype} of shape {numbers.shape}"
        )
    least, most = int(numbers.min()), int(numbers.max())
    if least < 0 or most >= examples:
        raise UsageError(
            f"places go from {least} to {most}; this split has the examples 0 to {examples - 1}"
        )
    return numbers.astype(np.int64)


def _runs(numbers: Sequence[int]) -> list[slice]:
    """Numbers as slices of consecutive ones."""
    runs: list[slice] = []
    for number in numbers:
        if runs and runs[-1].stop == number:
            runs[-1] = slice(runs[-1].start, number + 1)
        else:
            runs.append(slice(number, number + 1))
    return runs
