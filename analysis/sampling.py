"""Random subsets of the examples of a split: nested, and the same at every point."""

from __future__ import annotations

import numpy as np

from landscape.data_store.params import Array


def order(examples: int, seed: int) -> Array:
    """A random order of the examples: int64 (examples,), a function of its arguments alone."""
    return np.random.default_rng([seed, examples]).permutation(examples)


def subset(examples: int, count: int | None, seed: int) -> Array | None:
    """The first `count` examples of the random order, sorted; None for all of them.

    Subsets of one seed are nested: a larger one holds the smaller.

    >>> subset(10, 3, seed=0)
    array([1, 4, 7])
    """
    if count is None or count >= examples:
        return None
    return np.sort(order(examples, seed)[:count])


def added(examples: int, before: int, count: int, seed: int) -> Array | None:
    """The examples by which the subset of `count` is larger than that of `before`, sorted.

    None for all examples.

    >>> added(10, 3, 5, seed=0)
    array([2, 6])
    """
    if before == 0:
        return subset(examples, count, seed)
    return np.sort(order(examples, seed)[before:count])
