"""Alignment: the hidden units of one network in the order that is most like another's.

`weight_matching` compares weights, `activation_matching` what units respond to.

>>> from landscape.analysis.alignment.symmetry import Group
>>> hidden = Group(3, (Member("fc1.weight", 0), Member("fc2.weight", 1)))
>>> a = {"fc1.weight": np.eye(3), "fc2.weight": np.array([[4.0, 5.0, 6.0]])}
>>> b = permuted(Permutations((hidden,)), a, [np.array([2, 0, 1])])
>>> weight_matching(Permutations((hidden,)), a, b, seed=0).orders
(array([1, 2, 0]),)
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from landscape.analysis.alignment.symmetry import Member, Permutations, entries, permuted
from landscape.data_store.errors import LandscapeError, UsageError
from landscape.data_store.params import Array

_GAIN = 1e-12  # an assignment must be better by this share of the terms summed: more than rounding


@dataclass(frozen=True, eq=False)
class Alignment:
    """What `weight_matching` found.

    Parameters
    ----------
    orders
        One order per group, to be given to `permuted` with the second network.
    history
        Float64 (rounds + 1,): the objective before the first round and after each one.
    converged
        True if no group can be improved by itself any more; False if the rounds ran out.
    start
        Which start was best: 0 the identity, 1 grown from the fixed ends, from 2 on random.
    """

    orders: tuple[Array, ...]
    history: Array
    converged: bool
    start: int


def similarity(
    structure: Permutations,
    a: Mapping[str, Array],
    b: Mapping[str, Array],
    orders: Sequence[Array],
) -> float:
    """Inner product of a's weights and b's in these orders, over all tensors of a group.

    ``Σ_t ⟨a_t, permuted(b)_t⟩``, summed in float64 over tensors with a permuted axis; buffers do
    not count. Maximising it minimises the distance ``‖a − permuted(b)‖``.
    """
    names = _weights(structure)
    moved = permuted(structure, {name: b[name] for name in names}, orders)
    return math.fsum(
        float(np.vdot(a[name].astype(np.float64), moved[name].astype(np.float64))) for name in names
    )


def weight_matching(
    structure: Permutations,
    a: Mapping[str, Array],
    b: Mapping[str, Array],
    *,
    seed: int,
    starts: int = 2,
    rounds: int = 100,
) -> Alignment:
    """Orders for b under which its weights are most like a's: Ainsworth's Algorithm 1.

    Maximises `similarity` by coordinate descent: groups are taken in random order, and each gets
    the best order given all others, by one linear assignment, until no group can be improved.
    The optimum is a local one. The first start is the identity, as in the paper. The second is
    grown from the network's inputs and outputs: a group is matched by those weights only whose
    other units are fixed or matched already. Further starts are random. The best is kept, the
    earlier one where two are equal.

    Parameters
    ----------
    structure
        Which units can be renumbered.
    a, b
        Weights by name, of equal shapes. Further names are passed over. Statistics of BatchNorm
        move with `permuted` but are not part of the objective.
    seed
        Of the order of groups and of random starts; named in full by ``[seed, start]``.
    starts
        How many starts, at least 1.
    rounds
        At most this many sweeps over the groups from each start, at least 1.

    Returns
    -------
    Alignment
        The same for the same arguments. Its history never decreases. A network aligned to itself
        gets the identity, since an order is changed only for a higher objective.

    Raises
    ------
    UsageError
        If `starts` or `rounds` is below 1.
    LandscapeError
        If a weight is missing, misshapen or not finite.

    Notes
    -----
    No loss evaluations. For a group of u units with n weights, u · n multiplications and one
    assignment, O(u³), per visit. Ainsworth, Hayase & Srinivasa (2023), section 3.2.
    """
    if starts < 1 or rounds < 1:
        raise UsageError(f"starts is {starts} and rounds {rounds}; both must be at least 1")
    _require_weights(structure, a, b)
    found = []
    for start in range(starts):
        rng = np.random.default_rng([seed, start])
        matching = _Matching(structure, a, b)
        if start == 1:
            matching.grow()
        elif start > 1:
            matching.orders = list(structure.drawn(rng))
        history, converged = matching.climb(rng, rounds)
        found.append(Alignment(tuple(matching.orders), np.array(history), converged, start))
    best, rounding = found[0], _rounding(a, b, _weights(structure))
    for other in found[1:]:
        if other.history[-1] > best.history[-1] + rounding:
            best = other
    return best


def activation_matching(correlations: Sequence[Array]) -> tuple[Array, ...]:
    """Orders under which units are most correlated with those of the first network.

    Each group's order maximises ``Σ_i C[i, order[i]]``, an exact linear assignment. Of equally
    good orders the identity is taken, and otherwise units are left in place where that costs
    nothing.

    Parameters
    ----------
    correlations
        Per group, float (size, size): correlation of unit i of the first network with unit j of
        the second, as `landscape.analysis.correlations.correlations` measures it.

    Raises
    ------
    LandscapeError
        If a matrix is not square or not finite.

    Notes
    -----
    Li et al. (2016); Ainsworth et al. (2023), section 3.1.
    """
    orders = []
    for matrix in correlations:
        if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not np.isfinite(matrix).all():
            raise LandscapeError(
                f"correlations of shape {matrix.shape} cannot be matched; "
                "expected a square matrix of finite numbers"
            )
        own = np.arange(len(matrix))
        found = _assignment(matrix)
        gain = _value(matrix, found) - _value(matrix, own)
        orders.append(found if gain > _GAIN * np.abs(matrix).max(1).sum() else own)
    return tuple(orders)


class _Matching:
    """Coordinate descent from one start: the orders so far, and the weights."""

    def __init__(
        self, structure: Permutations, a: Mapping[str, Array], b: Mapping[str, Array]
    ) -> None:
        self.structure, self.a, self.b = structure, a, b
        self.orders = list(structure.identity())
        self.touching: dict[str, list[tuple[int, Member]]] = {n: [] for n in _weights(structure)}
        for g, group in enumerate(structure.groups):
            for member in group.members:
                if not member.buffer:
                    self.touching[member.tensor].append((g, member))
        self.rounding = _rounding(a, b, list(self.touching))

    def grow(self) -> None:
        """Match group after group, each by the weights whose other units are placed.

        The next group is always that with the most such weights per unit.
        """
        left = set(range(len(self.orders)))
        while left:
            usable = {g: self._placed(g, left) for g in left}
            columns = {
                g: sum(self.a[m.tensor].size for m in members) / self.structure.groups[g].size
                for g, members in usable.items()
            }
            g = max(left, key=lambda group: (columns[group], -group))
            left.discard(g)
            self.orders[g] = _assignment(self._gains(g, usable[g]))

    def climb(self, rng: np.random.Generator, rounds: int) -> tuple[list[float], bool]:
        """Improve group after group; returns the objective after each round, and if it is done."""
        history = [self._objective()]
        stale = set(range(len(self.orders)))
        for _ in range(rounds):
            if not stale:
                break
            for g in rng.permutation(len(self.orders)).tolist():
                if g in stale:
                    stale.discard(g)
                    stale |= self._neighbours(g) if self._improve(g) else set()
            history.append(self._objective())
        return history, not stale

    def _improve(self, g: int) -> bool:
        """Give a group its best order given all others; False if its own is as good."""
        members = [m for m in self.structure.groups[g].members if not m.buffer]
        gains = self._gains(g, members)
        found, before = _assignment(gains), self.orders[g]
        if _value(gains, found) <= _value(gains, before) + self.rounding:
            return False
        if g not in self._neighbours(g):
            self.orders[g] = found
            return True
        # a tensor with two axes in this group: its gain is not linear, so it is tried
        objective = self._objective()
        self.orders[g] = found
        if self._objective() > objective + self.rounding:
            return True
        self.orders[g] = before
        return False

    def _gains(self, g: int, members: Sequence[Member]) -> Array:
        """Float64 (size, size): what unit j of b at place i adds to the objective."""
        size = self.structure.groups[g].size
        gains = np.zeros((size, size))
        for member in members:
            other = self.b[member.tensor]
            for h, beside in self.touching[member.tensor]:
                if beside != member:
                    other = np.take(other, entries(self.orders[h], beside.block), beside.axis)
            rows = _rows(self.a[member.tensor], member, size)
            gains += rows @ _rows(other, member, size).T
        return gains

    def _placed(self, g: int, left: set[int]) -> list[Member]:
        """Members of a group whose tensors' other axes are fixed or matched already."""
        return [
            member
            for member in self.structure.groups[g].members
            if not member.buffer
            and all(h not in left for h, m in self.touching[member.tensor] if m != member)
        ]

    def _neighbours(self, g: int) -> set[int]:
        """Groups that share a tensor with this one."""
        return {
            h
            for member in self.structure.groups[g].members
            for h, beside in self.touching.get(member.tensor, ())
            if beside != member
        }

    def _objective(self) -> float:
        """The inner product at the orders so far."""
        return similarity(self.structure, self.a, self.b, self.orders)


def _assignment(gains: Array) -> Array:
    """The order of the highest sum; units are left in place where a swap costs nothing."""
    order: Array = linear_sum_assignment(gains, maximize=True)[1]
    place = np.argsort(order)
    for i in range(len(order)):
        j, other = place[i], order[i]
        change = gains[i, i] + gains[j, other] - gains[i, other] - gains[j, i]
        if other != i and change >= 0:
            order[i], order[j] = i, other
            place[i], place[other] = i, j
    return order


def _value(gains: Array, order: Array) -> float:
    """The sum that an order collects."""
    return float(gains[np.arange(len(order)), order].sum())


def _rows(tensor: Array, member: Member, size: int) -> Array:
    """A tensor as float64 (size, weights of a unit)."""
    return np.moveaxis(tensor, member.axis, 0).reshape(size, -1).astype(np.float64, copy=False)


def _weights(structure: Permutations) -> list[str]:
    """Names of the weights with a permuted axis, each once, in order."""
    members = (member for group in structure.groups for member in group.members)
    return list(dict.fromkeys(member.tensor for member in members if not member.buffer))


def _rounding(a: Mapping[str, Array], b: Mapping[str, Array], names: Sequence[str]) -> float:
    """What rounding may add to the objective: a share of the most that it can be."""
    norms = ((np.linalg.norm(x[name].astype(np.float64)) for x in (a, b)) for name in names)
    return _GAIN * math.fsum(float(first * second) for first, second in norms)


def _require_weights(
    structure: Permutations, a: Mapping[str, Array], b: Mapping[str, Array]
) -> None:
    """Raise unless both networks have all weights that are matched, finite and of one shape."""
    for name in _weights(structure):
        for which, tensors in (("first", a), ("second", b)):
            if name not in tensors:
                raise LandscapeError(f"weight {name!r} is missing from the {which} network")
            if not np.isfinite(tensors[name]).all():
                raise LandscapeError(
                    f"weight {name!r} of the {which} network has a value that is not finite; "
                    "it cannot be matched"
                )
        if a[name].shape != b[name].shape:
            raise LandscapeError(
                f"weight {name!r} is {a[name].shape} in the first network and "
                f"{b[name].shape} in the second; they must be equal"
            )
    permuted(structure, {name: a[name] for name in _weights(structure)}, structure.identity())
