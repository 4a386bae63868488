"""Rules of planting: the units and factors are those of a naive transcription."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from landscape.data_store.params import Array, ParamSpec
from landscape.training.models import mlp, parameter_spec
from landscape.training.planting.chain import Link
from landscape.training.planting.plant import Planted, plant
from landscape.training.planting.rules import RULES
from tests.support.tickets import (
    CASES,
    Ticket,
    connected,
    dense_shapes,
    planted_in,
    sparse_ticket,
)

rules = pytest.mark.parametrize("rule", RULES)

# A transcription of each rule, unit by unit in plain Python: (rows of the mother (N, nnz), its
# biases, the target's weights and bias, what is taken, the mother's weights of the first input,
# the target unit) -> (unit, factor).


def naive_paper(rows, biases, weights, bias, taken, first, i):
    target = list(weights) + ([bias] if bias else [])
    best = (None, np.inf, None)
    opposed = (None, -np.inf, None)
    for unit in range(len(biases)):
        if taken[unit]:
            continue
        mother = list(rows[unit]) + ([biases[unit]] if bias else [])
        product = sum(t * m for t, m in zip(target, mother, strict=True))
        squares = sum(m * m for m in mother)
        size = sum(t * t for t in target) ** 0.5
        if squares > 0 and product > 0:
            lam = product / squares
            distance = sum((t - lam * m) ** 2 for t, m in zip(target, mother, strict=True)) ** 0.5
            if distance < best[1] - 1e-12 * size:
                best = (unit, distance, 1 / lam)
        elif squares > 0 and product / (squares**0.5 * size) > opposed[1] + 1e-12:
            opposed = (unit, product / (squares**0.5 * size), squares**0.5 / size)
    if best[0] is not None:
        return best[0], best[2]
    if opposed[0] is not None:
        return opposed[0], opposed[2]
    return list(taken).index(False), 1.0


def naive_code(rows, biases, weights, bias, taken, first, i):
    target = [bias, *weights]
    tie = 1e-12 * max(np.abs(rows).max(initial=0), np.abs(biases).max())
    best = (None, np.inf, None)
    for unit in range(len(biases)):
        mother = [biases[unit], *rows[unit]]
        c = sum(t * m for t, m in zip(target, mother, strict=True)) / sum(t * t for t in target)
        signs = all(t == 0 or t * m > 0 for t, m in zip(target, mother, strict=True))
        distance = sum(abs(m - c * t) for t, m in zip(target, mother, strict=True))
        if c > 0 and signs and distance < best[1] - tie:
            best = (unit, distance, c)

    def fallback(unit):
        ratio = abs(first[unit] / weights[0]) if len(weights) else abs(biases[unit] / bias)
        return unit, ratio if 0 < ratio < np.inf else 1.0

    if len(biases) == 1:
        return (0, best[2]) if best[0] == 0 else fallback(0)
    unit, c = (best[0], best[2]) if best[0] is not None else fallback(i)
    if taken[unit] or unit == 0:
        free = [u for u in range(1, len(biases)) if not taken[u]]
        return fallback(free[0] if free else 0)
    return unit, c


def naive_fast(rows, biases, weights, bias, taken, first, i):
    value, target = (rows[i][0], weights[0]) if len(weights) else (biases[i], bias)
    return i, abs(value / target) or 1.0


NAIVE: dict[str, Callable[..., tuple[int, float]]] = {
    "paper": naive_paper,
    "code": naive_code,
    "fast": naive_fast,
}


def naive_units(network: nn.Module, ticket: Ticket, rule: str) -> tuple[list[Array], list[Array]]:
    """Units and factors of fully connected planting, one unit after the other."""
    mothers = [m for m in network.modules() if isinstance(m, nn.Linear)]
    inner = np.arange(ticket[0][0].shape[1])
    before = np.ones(len(inner))
    chosen, scales = [], []
    for layer, (module, (weight, bias)) in enumerate(zip(mothers, ticket, strict=True)):
        wide = module.weight.detach().double().numpy().copy()
        wide_bias = module.bias.detach().double().numpy().copy()
        taken = np.zeros(len(wide_bias), dtype=bool)
        units, factors = np.zeros(len(bias), dtype=int), np.ones(len(bias))
        alive = [i for i in range(len(bias)) if bias[i] != 0 or weight[i].any()]
        for i in alive:
            places = np.flatnonzero(weight[i])
            target = weight[i, places] / before[places]
            among = slice(i, i + 1) if layer == len(ticket) - 1 else slice(None)
            args = (wide[among][:, inner[places]], wide_bias[among], target, bias[i])
            place = 0 if layer == len(ticket) - 1 else i
            unit, c = NAIVE[rule](*args, taken[among], wide[among, inner[0]], place)
            unit += i if layer == len(ticket) - 1 else 0
            wide[unit, inner[places]], wide_bias[unit] = c * target, c * bias[i]
            taken[unit], units[i], factors[i] = True, unit, c
        for i in set(range(len(bias))) - set(alive):
            units[i] = i if layer == len(ticket) - 1 else np.flatnonzero(~taken)[0]
            taken[units[i]] = True
        chosen.append(units)
        scales.append(factors)
        before, inner = factors, units
    return chosen, scales


@rules
@pytest.mark.parametrize(("narrow", "wide"), CASES)
@pytest.mark.parametrize("density", [0.3, 0.8])
def test_units_and_factors_are_those_of_the_transcription(
    rule: str, narrow: list[int], wide: list[int], density: float
) -> None:
    for seed in range(3):
        ticket = sparse_ticket(dense_shapes(narrow), seed, density)
        network = connected(wide, seed)
        units, factors = naive_units(network, ticket, rule)
        planted = planted_in(network, (wide[0],), ticket, rule)
        for layer in range(len(ticket)):
            assert planted.units[layer].tolist() == units[layer].tolist()
            assert planted.factors[layer] == pytest.approx(factors[layer], rel=1e-9)


def one_layer(weight: Array, bias: Array, target: Array, rule: str) -> Planted:
    """A single hidden layer of two inputs, with given mother and target, and one output."""
    units = len(weight)
    spec = ParamSpec(("a", "b", "c"), ((units, 2), (units,), (1, units)), "float64")
    theta = spec.flatten({"a": weight, "b": bias, "c": np.ones((1, units))})
    links = (Link("a", "b", units, 2, 1), Link("c", None, 1, units, 1))
    ticket: Ticket = [(target[:, 1:], target[:, 0]), (np.ones((1, len(target))), None)]
    return plant(ticket, spec, links, theta, rule=rule)


def test_paper_takes_the_parallel_unit_and_leaves_it_as_it_is() -> None:
    weight = np.array([[1.0, 0.0], [-0.4, 0.8], [0.2, -0.4]])
    bias = np.array([0.3, -0.2, 0.1])
    planted = one_layer(weight, bias, np.array([[0.5, 1.0, -2.0]]), "paper")
    assert planted.units[0].tolist() == [2]
    assert planted.factors[0] == pytest.approx([0.2])
    assert planted.theta[4:6] == pytest.approx(weight[2])
    # the unit of negative correlation is never chosen: it is parallel with a negative factor
    assert planted.factors[0][0] > 0


def test_paper_without_a_positive_unit_takes_the_least_opposed_at_its_norm() -> None:
    weight = np.array([[-1.0, -1.0], [-3.0, 2.9], [-1.0, 0.0]])
    planted = one_layer(weight, np.zeros(3), np.array([[0.0, 1.0, 1.0]]), "paper")
    assert planted.units[0].tolist() == [1]
    expected = np.linalg.norm(weight[1]) / np.sqrt(2)
    assert planted.factors[0] == pytest.approx([expected])
    assert planted.theta[2:4] == pytest.approx([expected, expected])


@pytest.mark.parametrize(("rule", "units"), [("paper", [0, 1]), ("code", [1, 2]), ("fast", [0, 1])])
def test_in_a_mother_of_zeros_nothing_is_scaled(rule: str, units: list[int]) -> None:
    targets = np.array([[0.0, 1.0, 1.0], [3.0, 0.0, 0.0]])
    planted = one_layer(np.zeros((3, 2)), np.zeros(3), targets, rule)
    assert planted.units[0].tolist() == units
    assert planted.factors[0].tolist() == [1, 1]


def test_code_never_begins_with_unit_zero() -> None:
    """The list of taken units starts as zeros: unit 0 is parallel, yet unit 1 is planted."""
    weight = np.array([[1.0, 2.0], [0.5, -1.0], [3.0, 3.0]])
    planted = one_layer(weight, np.zeros(3), np.array([[0.0, 2.0, 4.0]]), "code")
    assert planted.units[0].tolist() == [1]
    assert planted.factors[0] == pytest.approx([0.5 / 2])  # |w[first input, unit]| / theta_w1


def test_code_needs_equal_signs_where_the_paper_needs_correlation() -> None:
    weight = np.array([[9.0, 9.0], [-0.01, 1.0], [0.5, 0.1]])
    target = np.array([[0.0, 0.1, 1.0]])
    assert one_layer(weight, np.zeros(3), target, "paper").units[0].tolist() == [1]
    planted = one_layer(weight, np.zeros(3), target, "code")
    assert planted.units[0].tolist() == [2]
    c = (0.05 + 0.1) / 1.01
    assert planted.factors[0] == pytest.approx([c])


def test_code_uses_unit_zero_when_nothing_else_is_left() -> None:
    draws = np.random.default_rng(0)
    weight, targets = draws.standard_normal((3, 2)), draws.standard_normal((3, 3))
    planted = one_layer(weight, draws.standard_normal(3), targets, "code")
    assert sorted(planted.units[0].tolist()) == [0, 1, 2]
    assert planted.units[0][2] == 0


def test_code_counts_a_zero_bias_in_the_distance_and_does_not_plant_it() -> None:
    weight = np.array([[5.0, -5.0], [1.0, 1.0], [1.0, 1.1]])
    bias = np.array([0.0, 3.0, 0.0])
    planted = one_layer(weight, bias, np.array([[0.0, 1.0, 1.0]]), "code")
    assert planted.units[0].tolist() == [2]
    assert not planted.kept[6:9].any()
    assert planted.theta[6:9].tolist() == bias.tolist()


def test_fast_keeps_the_index_and_a_positive_factor() -> None:
    weight = np.array([[-3.0, 1.0], [2.0, 2.0]])
    planted = one_layer(weight, np.zeros(2), np.array([[0.5, 1.5, 2.0], [0, 0, 4.0]]), "fast")
    assert planted.units[0].tolist() == [0, 1]
    assert planted.factors[0] == pytest.approx([2.0, 0.5])
    assert planted.theta[:2] == pytest.approx([3.0, 4.0])


@rules
def test_a_unit_of_a_bias_alone_has_the_factor_of_its_bias(rule: str) -> None:
    weight, bias = np.ones((3, 2)), np.array([-1.0, 0.25, 7.0])
    planted = one_layer(weight, bias, np.array([[0.0, 0.0, 0.0], [0.5, 0.0, 0.0]]), rule)
    unit = int(planted.units[0][1])
    assert planted.factors[0] == pytest.approx([1, abs(bias[unit]) / 0.5])
    assert unit == 1
    assert np.flatnonzero(planted.kept).tolist() == [7, 9 + planted.units[0][0], 10]


def test_paper_chooses_the_same_units_for_a_renumbered_mother() -> None:
    """Permuting the mother's hidden units permutes the chosen ones."""
    ticket = sparse_ticket(dense_shapes([2, 5, 3]), 0, density=1.0)
    network = connected([2, 30, 3])
    first = planted_in(network, (2,), ticket, "paper")
    order = np.random.default_rng(0).permutation(30)
    with torch.no_grad():
        for tensor, axis in (
            (network.fc1.weight, 0),
            (network.fc1.bias, 0),
            (network.fc2.weight, 1),
        ):
            tensor.copy_(tensor.index_select(axis, torch.from_numpy(order)))
    second = planted_in(network, (2,), ticket, "paper")
    assert order[second.units[0]].tolist() == first.units[0].tolist()
    assert second.scale == pytest.approx(first.scale)


@rules
def test_the_targets_scale_does_not_choose_the_units(rule: str) -> None:
    """A ticket times 7 in its first layer has factors over 7, the same units and weights."""
    ticket = sparse_ticket(dense_shapes([2, 5, 4, 3]), 0, density=0.8)
    larger: Ticket = [(7 * ticket[0][0], 7 * ticket[0][1]), *ticket[1:]]
    one = planted_in(connected([2, 30, 30, 3]), (2,), ticket, rule)
    two = planted_in(connected([2, 30, 30, 3]), (2,), larger, rule)
    assert one.units[0].tolist() == two.units[0].tolist()
    alive = ticket[0][0].any(axis=1) | (ticket[0][1] != 0)
    assert two.factors[0][alive] == pytest.approx(one.factors[0][alive] / 7)
    places = parameter_spec(mlp([2, 30, 30, 3])).slices["fc1.weight"]
    assert two.theta[places] == pytest.approx(one.theta[places], rel=1e-6)
