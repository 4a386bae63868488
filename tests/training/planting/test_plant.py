"""Planting: the function is the ticket's, every entry is where it should be, the rest stays."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from landscape.data_store.errors import LandscapeError, UsageError
from landscape.data_store.params import Array, ParamSpec
from landscape.training.models import mlp, parameter_spec
from landscape.training.planting.chain import chain
from landscape.training.planting.plant import Planted, plant
from landscape.training.planting.rules import RULES, Mother, Unit
from landscape.training.planting.targets import target
from tests.support.tickets import (
    CASES,
    Ticket,
    connected,
    dense_shapes,
    drawn,
    flat,
    planted_in,
    sparse_ticket,
)

rules = pytest.mark.parametrize("rule", RULES)


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


def test_nothing_given_is_changed() -> None:
    ticket = sparse_ticket(dense_shapes([2, 3, 2]), 0)
    network = connected([2, 9, 2])
    spec, theta = flat(network)
    copies = [(w.copy(), b.copy()) for w, b in ticket], theta.copy()
    plant(ticket, spec, chain(network, (2,)), theta, rule="paper")
    assert np.array_equal(theta, copies[1])
    assert all(np.array_equal(w, v) for (w, _), (v, _) in zip(ticket, copies[0], strict=True))


@rules
def test_in_a_wide_deep_network_the_rule_is_asked_once_for_each_unit(
    rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the layer's 1000 units and the ticket's own weights; at an output with one unit."""
    network = mlp([2, *[1000] * 8, 4])
    spec, theta = flat(network)
    ticket = sparse_ticket(dense_shapes([2, *[35] * 8, 4]), 0, density=0.3)
    own, asked = RULES[rule], []

    def counted(mother: Mother, goal: Unit) -> tuple[int, float]:
        asked.append((len(mother.taken), goal.columns.size))
        return own(mother, goal)

    monkeypatch.setitem(RULES, rule, counted)
    planted = plant(ticket, spec, chain(network, (2,)), theta, rule=rule)
    among = [*[1000] * 8, 1]
    assert asked == [
        (units, np.count_nonzero(row))
        for units, (weight, bias) in zip(among, ticket, strict=True)
        for row, value in zip(weight, bias, strict=True)
        if row.any() or value
    ]
    require_consistent(planted, ticket, spec, theta)
    inner = np.arange(2)
    for layer, (units, (weight, _)) in enumerate(zip(planted.units, ticket, strict=True), start=1):
        kept = spec.unflatten(planted.kept)[f"fc{layer}.weight"]
        assert np.array_equal(kept[np.ix_(units, inner)], weight != 0)
        inner = units


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
