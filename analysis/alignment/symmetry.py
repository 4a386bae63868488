"""Permutation symmetry: which tensors move together when hidden units are numbered anew.

The units of a hidden layer can be numbered in any order: permuting them, in every tensor that
reads or writes them, leaves the function of the network as it is. `Permutations` says which axes
move together (`landscape.analysis.alignment.permutations` finds them in a network); `permuted`
moves them.

>>> hidden = Group(3, (Member("fc1.bias", 0), Member("fc2.weight", 1)))
>>> tensors = {"fc1.bias": np.arange(3.0), "fc2.weight": np.array([[4.0, 5.0, 6.0]])}
>>> permuted(Permutations((hidden,)), tensors, [np.array([2, 0, 1])])
{'fc1.bias': array([2., 0., 1.]), 'fc2.weight': array([[6., 4., 5.]])}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from landscape.data_store.errors import LandscapeError
from landscape.data_store.params import Array, ParamSpec


@dataclass(frozen=True)
class Member:
    """One axis of one tensor along which units are numbered.

    Parameters
    ----------
    tensor, axis
        Name of a parameter or buffer, and its axis.
    block
        Consecutive entries of the axis that belong to one unit: h · w where a channel of
        h × w pixels is flattened, otherwise 1.
    buffer
        True for what is no weight: statistics of BatchNorm. They move, but are not matched.
    """

    tensor: str
    axis: int
    block: int = 1
    buffer: bool = False


@dataclass(frozen=True)
class Group:
    """`size` units that can be renumbered if all `members` are."""

    size: int
    members: tuple[Member, ...]


@dataclass(frozen=True)
class Permutations:
    """The groups of units of a network that can each be renumbered by itself.

    An order of a group is an int array (size,): the unit placed at i is that which was at
    ``order[i]``.
    """

    groups: tuple[Group, ...]

    def identity(self) -> tuple[Array, ...]:
        """The orders that change nothing, one per group."""
        return tuple(np.arange(group.size) for group in self.groups)

    def drawn(self, rng: np.random.Generator) -> tuple[Array, ...]:
        """Uniformly random orders, one per group."""
        return tuple(rng.permutation(group.size) for group in self.groups)


def permuted(
    structure: Permutations, tensors: Mapping[str, Array], orders: Sequence[Array]
) -> dict[str, Array]:
    """Tensors with the units of every group in a new order: ``new[i] = old[order[i]]``.

    Parameters
    ----------
    structure
        Which axes are moved.
    tensors
        Arrays by name, of any dtype: weights, buffers or boolean masks. Members of a group that
        are not among them are passed over, so that a mask of some tensors can be given.
    orders
        One order per group.

    Returns
    -------
    dict
        New arrays under the same names. Values are moved and never computed with: what was
        exactly 0 stays so.

    Raises
    ------
    LandscapeError
        If the orders are no permutations of the groups, or a tensor does not fit its group.
    """
    _require_orders(structure, orders)
    moved = {name: np.array(tensor) for name, tensor in tensors.items()}
    for group, order in zip(structure.groups, orders, strict=True):
        for member in group.members:
            if member.tensor in moved:
                tensor = moved[member.tensor]
                _require_fit(group, member, tensor)
                moved[member.tensor] = np.take(tensor, entries(order, member.block), member.axis)
    return moved


def permuted_vector(
    structure: Permutations, spec: ParamSpec, vector: Array, orders: Sequence[Array]
) -> Array:
    """`permuted` for a flat vector (n,) of any dtype: weights, or what a mask keeps."""
    if vector.shape != (spec.size,):
        raise LandscapeError(
            f"a vector of shape {vector.shape} does not hold these tensors; expected ({spec.size},)"
        )
    moved = permuted(structure, spec.unflatten(vector), orders)
    result = np.empty_like(vector)
    for name, place in spec.slices.items():
        result[place] = moved[name].reshape(-1)
    return result


def entries(order: Array, block: int) -> Array:
    """An order of units as indices of an axis on which each covers `block` consecutive entries."""
    return order if block == 1 else (order[:, None] * block + np.arange(block)).reshape(-1)


def _require_orders(structure: Permutations, orders: Sequence[Array]) -> None:
    """Raise unless there is one permutation per group."""
    sizes = [group.size for group in structure.groups]
    if len(orders) != len(sizes) or any(
        order.shape != (size,) or not np.array_equal(np.sort(order), np.arange(size))
        for order, size in zip(orders, sizes, strict=False)
    ):
        raise LandscapeError(
            f"orders of shapes {[order.shape for order in orders]} were given; "
            f"expected one permutation per group, of {sizes} units"
        )


def _require_fit(group: Group, member: Member, tensor: Array) -> None:
    """Raise unless a tensor's axis holds the group's units."""
    expected = group.size * member.block
    if tensor.ndim <= member.axis or tensor.shape[member.axis] != expected:
        raise LandscapeError(
            f"tensor {member.tensor!r} has shape {tensor.shape}; "
            f"expected {expected} entries along axis {member.axis}"
        )
