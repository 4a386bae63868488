"""Subset: a task with fewer examples of each split, for sizes that only have to run."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch

from landscape.data_store.errors import UsageError
from landscape.training.task import Split, Task
from landscape.training.tasks import evenly_spaced

Places = npt.NDArray[np.int64]


def subset(task: Task, max_examples: int | None) -> Task:
    """The task with at most `max_examples` examples of every split, in their old order.

    Where targets are classes, every class gets as many as every other as far as it has them, lower
    class numbers the odd ones; those of a class are evenly spaced among its examples, as are those
    of a split whose targets are no classes. Nothing is drawn, so all runs of a task have the same
    examples, and those of one split do not depend on the others. Inputs that are read lazily
    still are. A task without more examples is returned as it is.

    Parameters
    ----------
    max_examples
        At least 1; None for all.

    Raises `UsageError` for a number below 1.

    Examples
    --------
    >>> from landscape.training.tasks import digits
    >>> {name: len(split) for name, split in subset(digits(), 200).splits.items()}
    {'train': 200, 'validation': 180, 'test': 200}
    """
    if max_examples is None:
        return task
    if type(max_examples) is not int or max_examples < 1:
        raise UsageError(
            f"max_examples is {max_examples!r:.80}; it must be a whole number, at least 1"
        )
    if all(len(split) <= max_examples for split in task.splits.values()):
        return task
    splits = {name: _reduced(split, max_examples) for name, split in task.splits.items()}
    # a class may have no example left: the number of outputs stays what it was
    classes = task.outputs if task.is_classification else task.classes
    return replace(task, splits=splits, classes=classes)


def _reduced(split: Split, size: int) -> Split:
    """The split with at most `size` examples."""
    if len(split) <= size:
        return split
    if split.targets.is_floating_point() or split.targets.dim() != 1:
        places = evenly_spaced(size, len(split))
    else:
        places = _by_class(split.targets.numpy(), size)
    chosen = torch.from_numpy(places)
    if isinstance(split.inputs, torch.Tensor):
        return Split(split.inputs[chosen], split.targets[chosen])
    return Split(split.inputs.take(places), split.targets[chosen])


def _by_class(classes: Places, size: int) -> Places:
    """Places of `size` examples, from every class as many as from every other."""
    _, numbers, counts = np.unique(classes, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    order = np.argsort(numbers, kind="stable")  # class by class, each in its old order
    ranks = np.arange(len(classes)) - np.repeat(ends - counts, counts)
    dealt = np.lexsort((numbers[order], ranks))[:size]  # the first of each class, the second, …
    wanted = np.bincount(numbers[order][dealt], minlength=len(counts))
    of_class = np.split(order, ends[:-1])
    taken = [m[evenly_spaced(int(n), len(m))] for m, n in zip(of_class, wanted, strict=True) if n]
    return np.sort(np.concatenate(taken))
