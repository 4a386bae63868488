"""Task: named splits of inputs and targets, and the loss they are judged by."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from landscape.data_store.errors import LandscapeError, UsageError
from landscape.data_store.params import array_digest

Loss = Callable[[Tensor, Tensor], Tensor]


class LazyInputs(Protocol):
    """Inputs that are read when a batch asks for them: what is used of a Tensor, and a digest.

    The same places must give the same values whenever and in whatever batch they are read.
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """(examples, …)."""

    @property
    def digest(self) -> str:
        """Hash in hex of what stands for the content."""

    def __len__(self) -> int:
        """Number of examples."""

    def __getitem__(self, places: slice, /) -> Tensor:
        """Consecutive examples (b, …) on the device."""

    def index_select(self, dim: int, index: Tensor) -> Tensor:
        """Examples (b, …) by number, along dimension 0."""

    def is_floating_point(self) -> bool:
        """True if they are floats."""

    def take(self, places: npt.NDArray[np.int64], /) -> Self:
        """Only the examples at these places, to be read as lazily."""

    def to(self, device: torch.device, dtype: torch.dtype | None) -> Self:
        """The same inputs, to be read onto a device and, unless None, in a dtype."""


Inputs = Tensor | LazyInputs


def cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of each example, in nats: logits (b, c), classes (b,) -> (b,)."""
    return functional.cross_entropy(outputs, targets, reduction="none")


def squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """Squared error of each example, averaged over its outputs: (b, …), (b, …) -> (b,)."""
    apart = outputs.reshape(targets.shape) - targets  # (b, 1) against (b,) must not broadcast
    return apart.reshape(len(targets), -1).square().mean(1)


@dataclass(frozen=True, eq=False)
class Split:
    """Examples of one split, in memory or read lazily.

    Parameters
    ----------
    inputs
        Tensor (examples, …) as the network takes it, or `LazyInputs` that give such.
    targets
        Class numbers, int64 (examples,), or float values (examples, …).
    """

    inputs: Inputs
    targets: Tensor

    def __post_init__(self) -> None:
        if len(self.inputs) != len(self.targets) or len(self.inputs) == 0:
            raise LandscapeError(
                f"a split needs one target per input, got {len(self.inputs)} inputs "
                f"and {len(self.targets)} targets"
            )

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def digest(self) -> str:
        """SHA-256 of inputs and targets, or of the digest of lazily read inputs and targets."""
        inputs = self.inputs.numpy() if isinstance(self.inputs, Tensor) else self.inputs.digest
        return array_digest(inputs, self.targets.numpy())

    def to(self, device: torch.device, dtype: torch.dtype) -> Split:
        """The split on a device, floating inputs and targets in `dtype`."""
        inputs = self.inputs.to(device, dtype if self.inputs.is_floating_point() else None)
        targets = self.targets.to(device, dtype if self.targets.is_floating_point() else None)
        return Split(inputs, targets)


@dataclass(frozen=True, eq=False)
class Task:
    """A data set split into train, test and perhaps validation, and a loss.

    Parameters
    ----------
    name
        For printing and provenance.
    splits
        ``train`` and ``test`` at least; ``validation`` where there is one.
    loss
        Per-example loss: (outputs, targets) -> (examples,), in nats for cross-entropy.
        The error is the misclassified fraction where targets are classes, NaN elsewhere.
    classes
        Number of classes, where not all of them may occur; None counts them in the targets.
    """

    name: str
    splits: Mapping[str, Split]
    loss: Loss = cross_entropy
    classes: int | None = None

    def __post_init__(self) -> None:
        for name in ("train", "test"):
            if name not in self.splits:
                raise LandscapeError(
                    f"task {self.name!r} has no {name} split; it has {', '.join(self.splits)}"
                )

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input."""
        return tuple(self.splits["train"].inputs.shape[1:])

    @property
    def is_classification(self) -> bool:
        """True if the targets are class numbers."""
        return not self.splits["train"].targets.is_floating_point()

    @cached_property
    def outputs(self) -> int:
        """Number of classes, or of regression outputs."""
        if self.classes is not None:
            return self.classes
        targets = self.splits["train"].targets
        if self.is_classification:
            return int(max(int(split.targets.max()) for split in self.splits.values())) + 1
        return int(targets[0].numel())

    @cached_property
    def digest(self) -> str:
        """SHA-256 of every split's name and digest, and of the loss's name."""
        parts: list[str] = [getattr(self.loss, "__qualname__", type(self.loss).__qualname__)]
        for name in sorted(self.splits):
            parts += [name, self.splits[name].digest]
        return array_digest(*parts)


def make_task(
    *,
    train: tuple[Tensor, Tensor],
    test: tuple[Tensor, Tensor],
    validation: tuple[Tensor, Tensor] | None = None,
    loss: Loss | None = None,
    name: str = "my-task",
    classes: int | None = None,
) -> Task:
    """A `Task` from tensors: what a ``--task file.py:factory`` returns.

    Parameters
    ----------
    train, test, validation
        Pairs (inputs (examples, …), targets); integer targets are classes.
    loss
        Per-example loss; cross-entropy for classes and squared error otherwise.
    classes
        Number of classes, where not all of them may occur in the targets.

    Examples
    --------
    >>> import torch
    >>> x, y = torch.zeros(4, 2), torch.tensor([0, 1, 0, 1])
    >>> make_task(train=(x, y), test=(x, y)).outputs
    2
    """
    given = {"train": train, "validation": validation, "test": test}
    splits = {key: Split(*_tensors(pair)) for key, pair in given.items() if pair is not None}
    floats = splits["train"].targets.is_floating_point()
    return Task(name, splits, loss or (squared_error if floats else cross_entropy), classes)


def require_fit(network: nn.Module, task: Task) -> None:
    """Try a copy of a network on two training examples of a task.

    Raises `LandscapeError` if the network fails on them or changes them in place (that would
    corrupt the data, which are views), `UsageError` if it has fewer outputs than there are classes,
    or the loss is not one number per example.
    """
    split = task.splits["train"]
    try:
        trial = copy.deepcopy(network).eval()
    except RuntimeError as error:  # weights that are computed, as under torch.nn.utils.prune
        raise LandscapeError(
            f"the network cannot be copied: {str(error).splitlines()[0]}; give one whose weights "
            "are parameters, not the results of other tensors"
        ) from error
    dtype = next(network.parameters()).dtype
    inputs = split.inputs[:2].clone()
    given = inputs.to(dtype) if inputs.is_floating_point() else inputs
    before = given.clone()
    try:
        with torch.no_grad():
            outputs = trial(given)
            losses = task.loss(outputs, split.targets[:2])
    except Exception as error:
        raise LandscapeError(
            f"the network or the loss fails on examples of task {task.name!r}, inputs of shape "
            f"{task.input_shape}: {type(error).__name__}: {str(error).splitlines()[0]}"
        ) from error
    if task.loss is cross_entropy and outputs.shape[1] < task.outputs:
        raise UsageError(
            f"the network has {outputs.shape[1]} outputs and task {task.name!r} {task.outputs} "
            "classes; give a --model with an output for each"
        )
    if losses.shape != (len(given),):
        raise UsageError(
            f"the loss of task {task.name!r} returned shape {tuple(losses.shape)} for "
            f"{len(given)} examples; it must return one number per example"
        )
    if not torch.equal(given, before):
        raise LandscapeError(
            f"the network changes the inputs of task {task.name!r} in place; make its first "
            "operations return new tensors"
        )


def _tensors(pair: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Inputs and targets as detached CPU tensors; classes as int64."""
    inputs, targets = (torch.as_tensor(part).detach().cpu() for part in pair)
    return inputs, targets if targets.is_floating_point() else targets.long()
