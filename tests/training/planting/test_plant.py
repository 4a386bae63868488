"""Planting: the function is the ticket's, the units are those of a naive transcription."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from landscape.data_store.errors import LandscapeError, UsageError
from landscape.data_store.params import Array, ParamSpec
from landscape.training.models import mlp, parameter_spec
from landscape.training.planting.chain import Link, chain
from landscape.training.planting.mother import draw_scaled
from landscape.training.planting.plant import RULES, Planted, plant
from landscape.training.planting.targets import target

Ticket = list[tuple[Array, Array | None]]
rules = pytest.mark.parametrize("rule", RULES)


def sparse_ticket(shapes: Sequence[tuple[int, ...]], seed: int, density: float = 0.3) -> Ticket:
    """Normal parameters, most of them zero; some units have no parameters, some only a bias."""
    draws = np.random.default_rng([seed, 1])
    ticket: Ticket = []
    for shape in shapes:
        weight = draws.standard_normal(shape) * (draws.random(shape) < density)
        bias = draws.standard_normal(shape[0]) * (draws.random(shape[0]) < 0.5)
        ticket.append((weight, bias))
    return ticket


def dense_shapes(widths: Sequence[int]) -> list[tuple[int, int]]:
    """Weight shapes of fully connected layers."""
    return [(outer, inner) for inner, outer in itertools.pairwise(widths)]


def drawn(network: nn.Module, seed: int) -> nn.Module:
    """A network with scaled normal weights."""
    draw_scaled(network, "scaled-normal", torch.Generator().manual_seed(seed))
    return network


def flat(network: nn.Module) -> tuple[ParamSpec, Array]:
    """The parameters of a network as a vector."""
    spec = parameter_spec(network)
    return spec, spec.flatten({n: p.detach().numpy() for n, p in network.named_parameters()})


def planted_in(network: nn.Module, shape: tuple[int, ...], ticket: Ticket, rule: str) -> Planted:
    """A ticket planted in a network's present weights."""
    spec, theta = flat(network)
    return plant(ticket, spec, chain(network, shape), theta, rule=rule)


def with_values(network: nn.Module, theta: Array) -> nn.Module:
    """The network in float64 with these parameters."""
    spec = parameter_spec(network)
    network = network.double()
    tensors = spec.unflatten(theta.astype(np.float64))
    network.load_state_dict({name: torch.from_numpy(t.copy()) for name, t in tensors.items()})
    return network.eval()


def output(network: nn.Module, inputs: Array) -> Array:
    """What a float64 network makes of inputs."""
    with torch.no_grad():
        values: Tensor = network(torch.from_numpy(inputs))
    return values.numpy()


def function(ticket: Ticket, inputs: Array) -> Array:
    """A fully connected ticket's outputs, in numpy."""
    values = inputs
    for layer, (weight, bias) in enumerate(ticket):
        values = values @ weight.T + (0 if bias is None else bias)
        values = np.maximum(values, 0) if layer < len(ticket) - 1 else values
    return values


def paths(ticket: Ticket, inputs: Array) -> Array:
    """The sum of the sizes of all paths: a ticket of absolute values at absolute inputs."""
    sizes = [(np.abs(w), None if b is None else np.abs(b)) for w, b in ticket]
    return function(sizes, np.abs(inputs))


def require_equal(values: Array, expected: Array, size: Array, layers: int) -> None:
    """Equal up to the rounding of every planted value to float32, which is a theorem's bound.

    Each value is off by a factor of 1 ± 2^-24, so a path of L layers by (1 + 2^-24)^L - 1 of its
    size, and ReLU makes no difference larger. At depth 10 this is 5.4e-7.
    """
    bound = ((1 + 2.0**-24) ** layers - 1) * (1 + 1e-6)
    assert bound < 1e-6
    assert (np.abs(values - expected) <= bound * size).all()


def require_same_function(network: nn.Module, planted: Planted, ticket: Ticket, seed: int) -> None:
    """The masked network over its scales is the fully connected ticket, at random inputs."""
    inputs = np.random.default_rng(seed).uniform(-1, 1, (100, ticket[0][0].shape[1]))
    masked = with_values(network, np.where(planted.kept, planted.theta, 0))
    values = output(masked, inputs) / planted.scale
    require_equal(values, function(ticket, inputs), paths(ticket, inputs), len(ticket))


def connected(widths: Sequence[int], seed: int = 0) -> nn.Module:
    """A drawn multilayer perceptron."""
    return drawn(mlp(list(widths)), seed)


CASES = [
    ([2, 4, 3], [2, 20, 3]),
    ([1, 1, 1, 1], [1, 30, 30, 1]),
    ([2, 4, 2, 20, 4], [2, 100, 100, 100, 4]),
    ([3, 8, 6, 8, 5, 2], [3, 25, 40, 25, 20, 2]),
    ([2, 12, 12, 12, 12, 12, 12, 12, 12, 3], [2, *[100] * 8, 3]),
]


@rules
@pytest.mark.parametrize(("narrow", "wide"), CASES)
@pytest.mark.parametrize("seed", range(4))
def test_the_masked_network_over_its_scales_is_the_ticket(
    rule: str, narrow: list[int], wide: list[int], seed: int
) -> None:
    ticket = sparse_ticket(dense_shapes(narrow), seed, density=0.6)
    network = connected(wide, seed)
    planted = planted_in(network, (wide[0],), ticket, rule)
    require_same_function(network, planted, ticket, seed)


@rules
@pytest.mark.parametrize("depth", [3, 6, 10])
@pytest.mark.parametrize("width", [20, 1000])
def test_function_equality_at_every_depth_and_width(rule: str, depth: int, width: int) -> None:
    narrow = [2, *[20] * (depth - 2), 4]
    ticket = sparse_ticket(dense_shapes(narrow), depth, density=0.4)
    network = connected([2, *[width] * (depth - 2), 4], depth)
    planted = planted_in(network, (2,), ticket, rule)
    require_same_function(network, planted, ticket, depth)


@rules
def test_in_float64_the_function_is_equal_to_rounding(rule: str) -> None:
    """1e-13 of the sizes of the paths: what the test above allows is float32 alone."""
    ticket = sparse_ticket(dense_shapes([2, *[20] * 8, 4]), 0, density=0.4)
    network = connected([2, *[100] * 8, 4]).double()
    planted = planted_in(network, (2,), ticket, rule)
    assert planted.theta.dtype == np.float64
    inputs = np.random.default_rng(0).uniform(-1, 1, (100, 2))
    masked = with_values(network, np.where(planted.kept, planted.theta, 0))
    error = np.abs(output(masked, inputs) / planted.scale - function(ticket, inputs))
    assert (error <= 1e-13 * paths(ticket, inputs)).all()


@rules
@pytest.mark.parametrize("depth", [3, 5, 6, 10])
@pytest.mark.parametrize("name", ["relu", "circle", "helix", "helix-released"])
def test_the_tickets_of_the_paper(rule: str, name: str, depth: int) -> None:
    goal = target(name, depth)
    ends = goal.layers[0][0].shape[1], goal.layers[-1][0].shape[0]
    network = connected([ends[0], *[100] * (depth - 2), ends[1]], depth)
    planted = planted_in(network, ends[:1], list(goal.layers), rule)
    assert planted.kept.sum() == goal.kept + goal.kept_biases
    require_same_function(network, planted, list(goal.layers), depth)


@rules
@settings(max_examples=40, deadline=None)
@given(
    widths=st.lists(st.tuples(st.integers(1, 6), st.integers(0, 4)), min_size=2, max_size=6),
    seed=st.integers(0, 2**20),
    density=st.sampled_from([0.0, 0.2, 0.5, 1.0]),
)
def test_any_ticket_in_any_wider_network(
    rule: str, widths: list[tuple[int, int]], seed: int, density: float
) -> None:
    """Dead units, units of a bias alone, equal widths, single units."""
    narrow = [width for width, _ in widths]
    wide = [narrow[0], *(w + more for w, more in widths[1:-1]), narrow[-1]]
    ticket = sparse_ticket(dense_shapes(narrow), seed, density)
    network = connected(wide, seed)
    before = flat(network)[1]
    planted = planted_in(network, (wide[0],), ticket, rule)
    require_same_function(network, planted, ticket, seed)
    require_consistent(planted, ticket, parameter_spec(mlp(wide)), before)


def require_consistent(planted: Planted, ticket: Ticket, spec: ParamSpec, before: Array) -> None:
    """Kept entries are the ticket's, one to one; the rest of the network is as it was."""
    entries = sum(np.count_nonzero(w) + np.count_nonzero(b) for w, b in ticket)
    assert planted.kept.dtype == np.bool_
    assert planted.kept.sum() == entries
    assert planted.theta.dtype == before.dtype
    assert np.array_equal(planted.theta[~planted.kept], before[~planted.kept])
    for units, factors, (weight, _) in zip(planted.units, planted.factors, ticket, strict=True):
        assert len(set(units.tolist())) == len(units) == len(factors) == len(weight)
        assert (factors > 0).all()
    assert planted.units[-1].tolist() == list(range(len(ticket[-1][0])))
    assert np.array_equal(planted.scale, planted.factors[-1])


@rules
def test_every_planted_value_is_the_targets_times_the_factors(rule: str) -> None:
    """theta[u(i), u(j)] = c_i w_ij / c_j, theta_b[u(i)] = c_i b_i: entry by entry."""
    ticket = sparse_ticket(dense_shapes([2, 5, 6, 3]), 3, density=0.7)
    network = connected([2, 12, 15, 3], 3)
    planted = planted_in(network, (2,), ticket, rule)
    tensors, kept = (parameter_spec(network).unflatten(v) for v in (planted.theta, planted.kept))
    before, inner = np.ones(2), np.arange(2)
    for layer, (weight, bias) in enumerate(ticket):
        name, units, factors = f"fc{layer + 1}", planted.units[layer], planted.factors[layer]
        for i, j in itertools.product(range(weight.shape[0]), range(weight.shape[1])):
            place = units[i], inner[j]
            assert kept[f"{name}.weight"][place] == (weight[i, j] != 0)
            if weight[i, j] != 0:
                value = factors[i] * weight[i, j] / before[j]
                assert tensors[f"{name}.weight"][place] == pytest.approx(value, rel=1e-6)
        for i, value in enumerate(bias):
            assert kept[f"{name}.bias"][units[i]] == (value != 0)
            if value != 0:
                assert tensors[f"{name}.bias"][units[i]] == pytest.approx(factors[i] * value)
        before, inner = factors, units


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


def convolutional(channels: Sequence[int], hidden: int, kernel: int = 3) -> nn.Module:
    """Two convolutions with poolings, flattening, two linear layers; 10 × 10 pictures."""
    inner, first, second = channels
    return nn.Sequential(
        nn.Conv2d(inner, first, kernel, padding=kernel // 2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(first, second, kernel, padding=kernel // 2), nn.ReLU(), nn.AvgPool2d(2),
        nn.Flatten(), nn.Linear(second * 4, hidden), nn.ReLU(), nn.Linear(hidden, 3),
    )  # fmt: skip


@rules
@pytest.mark.parametrize("seed", range(3))
def test_convolutions_then_flattening_then_linear_layers(rule: str, seed: int) -> None:
    shapes = [(3, 2, 3, 3), (4, 3, 3, 3), (6, 16), (3, 6)]
    ticket = sparse_ticket(shapes, seed, density=0.4)
    small, network = convolutional((2, 3, 4), 6), drawn(convolutional((2, 8, 12), 20), seed)
    planted = planted_in(network, (2, 10, 10), ticket, rule)
    spec = parameter_spec(network)
    require_consistent(planted, ticket, spec, flat(network)[1])
    own = np.concatenate([part.ravel() for pair in ticket for part in pair])
    inputs = np.random.default_rng(seed).uniform(-1, 1, (20, 2, 10, 10))
    expected = output(with_values(small, own), inputs)
    size = output(with_values(small, np.abs(own)), np.abs(inputs))
    masked = with_values(network, np.where(planted.kept, planted.theta, 0))
    require_equal(output(masked, inputs) / planted.scale, expected, size, layers=4)


@rules
def test_filters_of_one_pixel_are_planted_like_neurons(rule: str) -> None:
    """A 1 × 1 convolution is a linear layer: the same units, factors and weights."""
    ticket = sparse_ticket(dense_shapes([2, 4, 5, 3]), 1, density=0.7)
    pictures: Ticket = [(w[:, :, None, None] if i < 2 else w, b) for i, (w, b) in enumerate(ticket)]
    plain = connected([2, 9, 10, 3], 1)
    network = nn.Sequential(
        nn.Conv2d(2, 9, 1), nn.ReLU(), nn.Conv2d(9, 10, 1), nn.ReLU(), nn.Flatten(),
        nn.Linear(10, 3),
    )  # fmt: skip
    spec, theta = flat(plain)
    same = plant(pictures, flat(network)[0], chain(network, (2, 1, 1)), theta, rule=rule)
    other = plant(ticket, spec, chain(plain, (2,)), theta, rule=rule)
    assert np.array_equal(same.theta, other.theta)
    assert np.array_equal(same.kept, other.kept)
    assert all(map(np.array_equal, same.units, other.units))


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


def test_nothing_given_is_changed() -> None:
    ticket = sparse_ticket(dense_shapes([2, 3, 2]), 0)
    network = connected([2, 9, 2])
    spec, theta = flat(network)
    copies = [(w.copy(), b.copy()) for w, b in ticket], theta.copy()
    plant(ticket, spec, chain(network, (2,)), theta, rule="paper")
    assert np.array_equal(theta, copies[1])
    assert all(np.array_equal(w, v) for (w, _), (v, _) in zip(ticket, copies[0], strict=True))


@rules
def test_a_wide_deep_network_takes_under_a_second(rule: str) -> None:
    widths = [2, *[1000] * 8, 4]
    spec = parameter_spec(mlp(widths))
    theta = np.random.default_rng(0).standard_normal(spec.size, dtype=np.float32)
    links = chain(mlp(widths), (2,))
    ticket = sparse_ticket(dense_shapes([2, *[35] * 8, 4]), 0, density=0.3)
    began = time.process_time()
    plant(ticket, spec, links, theta, rule=rule)
    assert time.process_time() - began < 1


TWO = dense_shapes([2, 4, 3])


@pytest.mark.parametrize(
    ("ticket", "widths", "message"),
    [
        (
            sparse_ticket(dense_shapes([2, 4, 9, 3]), 0),
            [2, 4, 8, 3],
            "the network is too narrow for the ticket: its hidden layers have 4, 8 units; "
            "at least 4, 9 are needed",
        ),
        (
            sparse_ticket(TWO, 0),
            [2, 9, 9, 3],
            "the ticket has 2 layers, the network 3; plant it in a network of depth 3",
        ),
        (sparse_ticket(TWO, 0), [5, 9, 3], "layer 'fc1.weight' takes 5 inputs, the ticket 2"),
        (sparse_ticket(TWO, 0), [2, 9, 4], "the network has 4 outputs, the ticket 3"),
        (
            [(np.ones((4, 2)), None), (np.ones((3, 5)), None)],
            [2, 9, 3],
            r"layer 2 of the ticket has weights \(3, 5\); 4 inputs are needed after layer 1",
        ),
        (
            [(np.ones((4, 2)), np.ones(3)), (np.ones((3, 4)), None)],
            [2, 9, 3],
            r"layer 1 of the ticket has biases \(3,\) for 4 units",
        ),
        (
            [(np.full((4, 2), np.nan), None), (np.ones((3, 4)), None)],
            [2, 9, 3],
            "layer 1 of the ticket holds values that are not finite",
        ),
        (
            [(np.ones((4, 2, 1)), None), (np.ones((3, 4)), None)],
            [2, 9, 3],
            r"layer 'fc1.weight' has kernels \(\), the ticket's \(1,\); they must be equal",
        ),
    ],
)
def test_a_ticket_that_does_not_fit_is_refused(
    ticket: Ticket, widths: list[int], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        planted_in(connected(widths), (widths[0],), ticket, "paper")


def test_kernels_of_other_sizes_are_refused() -> None:
    ticket = sparse_ticket([(3, 2, 3, 3), (4, 3, 3, 3), (6, 16), (3, 6)], 0)
    with pytest.raises(UsageError, match=r"'0.weight' has kernels \(5, 5\), the ticket's \(3, 3\)"):
        planted_in(convolutional((2, 8, 12), 20, kernel=5), (2, 10, 10), ticket, "paper")


def test_a_ticket_for_other_pictures_is_refused() -> None:
    ticket = sparse_ticket([(3, 2, 3, 3), (4, 3, 3, 3), (6, 4), (3, 6)], 0)
    with pytest.raises(UsageError, match=r"layer 3 .* weights \(6, 4\); 16 inputs are needed"):
        planted_in(convolutional((2, 8, 12), 20), (2, 10, 10), ticket, "paper")


@rules
def test_a_mother_without_biases(rule: str) -> None:
    """It can hold a ticket whose biases there are zero, no other."""
    network = nn.Sequential(nn.Linear(2, 9, bias=False), nn.ReLU(), nn.Linear(9, 3))
    (weight, _), (outer, bias) = sparse_ticket(TWO, 0, density=0.8)
    planted = planted_in(network, (2,), [(weight, np.zeros(4)), (outer, bias)], rule)
    require_same_function(network, planted, [(weight, None), (outer, bias)], 0)
    with pytest.raises(UsageError, match=r"'0.weight' has no bias; the ticket's layer 1 needs 4"):
        planted_in(network.float(), (2,), [(weight, np.ones(4)), (outer, bias)], rule)


def test_an_unknown_rule_is_refused() -> None:
    with pytest.raises(UsageError, match="unknown rule 'papr'; did you mean 'paper'"):
        planted_in(connected([2, 9, 3]), (2,), sparse_ticket(TWO, 0), "papr")


def test_values_that_the_dtype_cannot_hold_are_refused() -> None:
    spec, theta = flat(connected([2, 9, 3]))
    links = chain(mlp([2, 9, 3]), (2,))
    with pytest.raises(LandscapeError, match=r"'fc1.weight'.* cannot be held in float32"):
        plant(
            [(np.ones((4, 2)), None), (np.ones((3, 4)), None)],
            spec,
            links,
            theta * 1e-38,
            rule="paper",
        )
