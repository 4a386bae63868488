"""Planting: a ticket written into a wider network, unit by unit, where it stands out least.

ReLU is positively homogeneous: a hidden unit may be larger by a factor c > 0 if the layer after
it divides by c. So every unit of the ticket can take the size of the weights it replaces.

>>> spec = ParamSpec(("w", "v"), ((3, 1), (1, 3)), "float64")
>>> mother = np.array([-1.0, 0.5, 2.0, 0.3, 0.25, -4.0])
>>> links = (Link("w", None, 3, 1, 1), Link("v", None, 1, 3, 1))
>>> relu = [(np.ones((1, 1)), None), (np.ones((1, 1)), None)]  # max(x, 0)
>>> planted = plant(relu, spec, links, mother, rule="paper")
>>> np.flatnonzero(planted.kept).tolist(), planted.theta[planted.kept].tolist()
([1, 4], [0.5, 0.25])
>>> planted.scale.tolist()  # 0.25 · max(0.5 x, 0) over it is max(x, 0)
[0.125]
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from landscape.data_store.errors import LandscapeError, UsageError, unknown
from landscape.data_store.params import Array, ParamSpec
from landscape.training.planting.chain import Link
from landscape.training.planting.rules import RULES, Mother, Rule, Unit


@dataclass(frozen=True, eq=False)
class Planted:
    """A network with a ticket in it.

    Parameters
    ----------
    theta
        Parameters (n,): the mother's, with the ticket's entries overwritten; her dtype.
    kept
        Boolean (n,): True exactly on these entries, the non-zero weights and biases of the ticket.
    units
        Per layer the network's unit that each unit of the ticket became, (units,).
    factors
        Per layer the positive factors (units,): activation in the network / in the ticket.
    scale
        The factors of the outputs, (outputs,).
    """

    theta: Array
    kept: Array
    units: tuple[Array, ...]
    factors: tuple[Array, ...]
    scale: Array


def plant(
    ticket: Sequence[tuple[Array, Array | None]],
    spec: ParamSpec,
    links: Sequence[Link],
    theta: Array,
    *,
    rule: str = "paper",
) -> Planted:
    """Write a ticket into a network, so that the masked network over `scale` is the ticket.

    Unit i of a layer of the ticket, of weights w_ij and bias b_i, becomes unit u(i) of the
    network with a factor c_i > 0; with the factors c_j of the layer before,

        theta[u(i), u(j)] = c_i w_ij / c_j,    bias[u(i)] = c_i b_i,    where w_ij, b_i are not 0.

    Everything else stays as it was. Inputs and outputs keep their places. Units are chosen one
    after the other, layer by layer, comparing ``v = (b_i, w_ij / c_j)``, its non-zero entries,
    with the mother's entries m at the same places. Filters are chosen whole, their kernels'
    positions fixed. The rules, and what they do if the first choice does not exist:

    paper
        Of the free units with ``lambda = v·m / |m|² > 0`` the one of least ``|v - lambda m|``;
        c = 1 / lambda. Without one, the free unit of the largest cosine between v and m, with
        c = ``|m| / |v|`` (this project's choice: the paper has none). If all m are 0, the first
        free unit, c = 1. Ties go to the first unit.
    code
        As the authors' program: of all units with ``c = v·m / |v|² > 0`` and the signs of m
        those of v, the one of least ``|m - c v|_1``. The bias counts in the distance even if
        b_i = 0. Without one, the unit of the same index i. Where there is none, or the unit is
        taken, c = ``|m_1 / v_1|`` of the unit's weight from the ticket's *first input* and the
        first non-zero weight of v; instead of a taken unit, the first free one. Unit 0 counts
        as taken, until nothing else is free: their list of taken units starts as zeros
        (in a layer of one unit, or at an output, this is left out).
    fast
        Unit i becomes unit i, c = ``|m_1 / v_1|`` of its first non-zero weight. (The authors'
        fast program keeps the sign, which breaks the equality.)

    A unit without weights has the factor of its bias. A unit without anything is 0 wherever it
    is: it takes a unit that is left, c = 1. A ratio of 0 becomes c = 1. Output i is unit i, for
    which the rule gives the factor alone (the authors match outputs, and then reorder them).

    Parameters
    ----------
    ticket
        Per layer weights (units, inputs, …) and biases (units,) or None; ReLU between layers.
    spec, links
        The network's parameters, and its layers (`chain`).
    theta
        Its weights (n,).
    rule
        ``paper``, ``code`` or ``fast``.

    Returns
    -------
    Planted
        The function is equal up to the rounding of the planted weights to the dtype of `theta`.

    Raises
    ------
    UsageError
        If the ticket does not fit: other depth, inputs, outputs or kernels, a hidden layer that
        is too narrow, a bias that the network lacks; for another rule.
    LandscapeError
        If a planted value is too small or too large for the dtype.

    Notes
    -----
    Without a forward pass; units × width × inputs operations per layer. Fischer & Burkholz
    (2022), the planting algorithm; `code` and `fast` by ``plant.py`` and ``planting.py`` of their
    program (RelationalML/PlantNSeek).
    """
    if rule not in RULES:
        raise unknown("rule", rule, RULES)
    for number, (weight, bias) in enumerate(ticket, start=1):
        _require_sound(number, weight, bias)
    _require_fit(ticket, spec, links)
    result, kept = theta.copy(), np.zeros(spec.size, dtype=np.bool_)
    tensors, marks = spec.unflatten(result), spec.unflatten(kept)
    units = np.arange(links[0].inputs)
    factors = np.ones(links[0].inputs)
    maps: list[Array] = []
    scales: list[Array] = []
    for link, (weight, bias) in zip(links, ticket, strict=True):
        kernel = math.prod(weight.shape[2:])
        inputs = (units[:, None] * link.block + np.arange(link.block)).ravel()
        goals = _goals(weight, bias, inputs, np.repeat(factors, link.block))
        mother = Mother(
            tensors[link.weight].reshape(link.units, -1).astype(np.float64),
            _bias(tensors, link).astype(np.float64),
            np.zeros(link.units, dtype=np.bool_),
            int(inputs[0]) * kernel,
        )
        units, factors = _matched(mother, goals, RULES[rule], in_place=link is links[-1])
        _write(tensors, marks, link, goals, units, factors)
        maps.append(units)
        scales.append(factors)
    return Planted(result, kept, tuple(maps), tuple(scales), factors)


def _goals(weight: Array, bias: Array | None, inputs: Array, factors: Array) -> list[Unit]:
    """The units of one layer of the ticket; `inputs` is where its inputs are in the mother."""
    own = weight.reshape(*weight.shape[:2], -1).astype(np.float64)
    goals = []
    for i, entries in enumerate(own):
        j, k = np.nonzero(entries)
        own_bias = 0.0 if bias is None else float(bias[i])
        columns = inputs[j] * entries.shape[1] + k
        goals.append(Unit(i, columns, entries[j, k] / factors[j], own_bias))
    return goals


def _matched(
    mother: Mother, goals: Sequence[Unit], rule: Rule, *, in_place: bool
) -> tuple[Array, Array]:
    """The unit and the factor of each goal; those without any parameters come last."""
    units, factors = np.arange(len(goals)), np.ones(len(goals))
    alive = [goal for goal in goals if goal.weights.size or goal.bias]
    for goal in alive:
        i = goal.index
        if in_place:
            factors[i] = rule(mother.only(i), replace(goal, index=0))[1]
        else:
            units[i], factors[i] = rule(mother, goal)
        mother.put(units[i], factors[i], goal)
    for i in {goal.index for goal in goals} - {goal.index for goal in alive}:
        units[i] = i if in_place else np.argmin(mother.taken)
        mother.taken[units[i]] = True
    return units, factors


def _write(
    tensors: dict[str, Array],
    marks: dict[str, Array],
    link: Link,
    goals: Sequence[Unit],
    units: Array,
    factors: Array,
) -> None:
    """Put the goals where they were matched, in the network's dtype, and mark them."""
    weights, kept = (parts[link.weight].reshape(link.units, -1) for parts in (tensors, marks))
    biases, kept_biases = _bias(tensors, link), _bias(marks, link)
    with np.errstate(over="ignore", under="ignore"):  # seen below
        for goal, unit, factor in zip(goals, units, factors, strict=True):
            weights[unit, goal.columns] = factor * goal.weights
            kept[unit, goal.columns] = True
            if goal.bias:
                biases[unit], kept_biases[unit] = factor * goal.bias, True
    smallest = np.finfo(weights.dtype).tiny
    for name, values in ((link.weight, weights[kept]), (link.bias, biases[kept_biases])):
        size = np.abs(values)
        if not ((size >= smallest) & (size < np.inf)).all():
            raise LandscapeError(
                f"planted values of {name!r} cannot be held in {weights.dtype}: they reach from "
                f"{size.min():.3g} to {size.max():.3g}; use a network of larger initial weights"
            )


def _bias(tensors: dict[str, Array], link: Link) -> Array:
    """A layer's biases; zeros of their own if it has none."""
    if link.bias is not None:
        return tensors[link.bias]
    return np.zeros(link.units, dtype=tensors[link.weight].dtype)


def _require_sound(number: int, weight: Array, bias: Array | None) -> None:
    """Raise unless a layer's weights and biases are of one size, and finite."""
    if bias is not None and bias.shape != weight.shape[:1]:
        raise UsageError(
            f"layer {number} of the ticket has biases {bias.shape} for {weight.shape[0]} units"
        )
    if not (np.isfinite(weight).all() and (bias is None or np.isfinite(bias).all())):
        raise UsageError(f"layer {number} of the ticket holds values that are not finite")


def _require_fit(
    ticket: Sequence[tuple[Array, Array | None]], spec: ParamSpec, links: Sequence[Link]
) -> None:
    """Raise unless the ticket has the network's depth, ends and kernels, and no layer is wider."""
    if len(ticket) != len(links):
        raise UsageError(
            f"the ticket has {len(ticket)} layers, the network {len(links)}; "
            f"plant it in a network of depth {len(ticket) + 1}"
        )
    widths = [weight.shape[0] for weight, _ in ticket]
    inputs = ticket[0][0].shape[1]
    if inputs != links[0].inputs:
        raise UsageError(
            f"layer {links[0].weight!r} takes {links[0].inputs} inputs, the ticket {inputs}"
        )
    if widths[-1] != links[-1].units:
        raise UsageError(f"the network has {links[-1].units} outputs, the ticket {widths[-1]}")
    for number, ((weight, bias), link) in enumerate(zip(ticket, links, strict=True), start=1):
        before = widths[number - 2] * link.block if number > 1 else inputs
        _require_layer_fits(number, weight, bias, before, link, spec.shape(link.weight)[2:])
    hidden = [link.units for link in links[:-1]]
    if any(wide < narrow for wide, narrow in zip(hidden, widths, strict=False)):
        raise UsageError(
            "the network is too narrow for the ticket: its hidden layers have "
            f"{', '.join(map(str, hidden))} units; "
            f"at least {', '.join(map(str, widths[:-1]))} are needed"
        )


def _require_layer_fits(
    number: int, weight: Array, bias: Array | None, inputs: int, link: Link, kernel: tuple[int, ...]
) -> None:
    """Raise unless a layer of the ticket has these inputs, the network's kernels and its biases."""
    if weight.shape[2:] != kernel:
        raise UsageError(
            f"layer {link.weight!r} has kernels {kernel}, the ticket's {weight.shape[2:]}; "
            "they must be equal"
        )
    if weight.shape[1] != inputs:
        raise UsageError(
            f"layer {number} of the ticket has weights {weight.shape}; "
            f"{inputs} inputs are needed after layer {number - 1}"
        )
    needed = 0 if bias is None else np.count_nonzero(bias)
    if needed and link.bias is None:
        raise UsageError(
            f"layer {link.weight!r} has no bias; the ticket's layer {number} needs {needed}"
        )
