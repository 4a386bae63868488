"""Planted tickets: the counts and qualities of the paper, and the functions they stand for."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from landscape.data_store.errors import UsageError
from landscape.data_store.params import Array
from landscape.training.planting.targets import (
    Target,
    circle_logits,
    helix,
    relu,
    target,
    univariate,
)

# PAPER: weights of the authors' tickets and their density at width 100, by depth
SIZES = [
    *[("circle", d, n, rho) for d, n, rho in [(3, 100, 0.1667), (4, 124, 0.0117)]],
    *[("circle", d, n, rho) for d, n, rho in [(5, 108, 0.00524), (6, 119, 0.00389)]],
    ("circle", 10, 153, 0.00217),
    *[("relu", d, n, rho) for d, n, rho in [(3, 2, 0.01), (4, 3, 0.00029), (5, 4, 0.000198)]],
    *[("relu", d, n, rho) for d, n, rho in [(6, 5, 0.00017), (10, 9, 0.00013)]],
    *[("helix-released", d, n, rho) for d, n, rho in [(3, 115, 0.2875), (4, 117, 0.01125)]],
    *[("helix-released", d, n, rho) for d, n, rho in [(5, 120, 0.00588), (6, 123, 0.00405)]],
    ("helix-released", 10, 135, 0.00192),
    *[("helix", d, n, rho) for d, n, rho in [(3, 91, 0.2275), (5, 95, 0.0047)]],
]
BOUNDARIES = (0.2, 0.5, 0.7)


def naive_forward(layers: tuple[tuple[Array, Array], ...], x: Array) -> Array:
    """One example, neuron by neuron."""
    for number, (weight, bias) in enumerate(layers):
        sums = [sum(w * v for w, v in zip(row, x, strict=True)) for row in weight]
        x = np.array([s + b for s, b in zip(sums, bias, strict=True)])
        if number < len(layers) - 1:
            x = np.array([max(v, 0.0) for v in x])
    return x


def circle_grid(side: int) -> Array:
    """Centres of side² cells of [-1, 1]²."""
    axis = (np.arange(side) + 0.5) * 2 / side - 1
    return np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)


@pytest.mark.parametrize(("name", "depth", "kept", "density"), SIZES)
def test_the_tickets_have_the_sizes_of_the_paper(
    name: str, depth: int, kept: int, density: float
) -> None:
    ticket = target(name, depth)
    assert ticket.depth == depth
    assert ticket.kept == kept
    digits = len(str(density).rstrip("0").split(".")[1])
    assert abs(ticket.density(100) - density) <= 0.51 * 10**-digits


def test_a_circle_in_a_network_of_width_1000_is_4_in_100_000() -> None:
    assert round(target("circle", 6).density(1000), 6) == 4.0e-5


@pytest.mark.parametrize(
    ("name", "depth", "widths"),
    [
        ("circle", 3, (2, 20, 4)),
        ("circle", 4, (2, 4, 20, 4)),
        ("circle", 5, (2, 4, 2, 20, 4)),
        ("circle", 7, (2, 4, 2, 3, 3, 20, 4)),
        ("helix", 3, (1, 30, 3)),
        ("helix", 5, (1, 1, 30, 3, 3)),
        ("relu", 5, (1, 1, 1, 1, 1)),
    ],
)
def test_widths_count_every_layer_of_neurons(
    name: str, depth: int, widths: tuple[int, ...]
) -> None:
    ticket = target(name, depth)
    assert ticket.widths == widths
    assert ticket.hidden_widths == widths[1:-1]


def test_kept_biases_are_the_non_zero_ones() -> None:
    assert target("relu", 6).kept_biases == 0
    ticket = target("circle", 5)
    # 2 × 10 knots of which each first is at 0, and the four logits' constants
    assert ticket.kept_biases == 2 * 9 + 4


@pytest.mark.parametrize("name", ["relu", "circle", "helix", "helix-released"])
@pytest.mark.parametrize("depth", [3, 4, 5, 6, 8])
def test_a_ticket_computes_as_its_layers_say(name: str, depth: int) -> None:
    ticket = target(name, depth)
    x = np.random.default_rng(0).uniform(-1, 1, (20, ticket.widths[0]))
    naive = np.array([naive_forward(ticket.layers, row) for row in x])
    assert_allclose(ticket(x), naive, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("depth", [3, 4, 5, 6, 10])
def test_the_relu_ticket_is_exact(depth: int) -> None:
    x = np.linspace(-1, 1, 201)[:, None]
    assert_array_equal(target("relu", depth)(x), np.maximum(x, 0))


@pytest.mark.parametrize(
    ("depth", "stated", "accuracy"),
    [
        (3, 0.954, 0.9604),
        (4, 0.990, 0.9904),
        (5, 0.990, 0.9904),
        (6, 0.988, 0.9874),
        (10, 0.999, 0.9979),
    ],
)
def test_the_circle_tickets_are_as_accurate_as_the_paper_s(
    depth: int, stated: float, accuracy: float
) -> None:
    """The stated numbers are of one draw of 1 000 examples, ours of the whole square."""
    x = circle_grid(700)
    hits = (target("circle", depth)(x).argmax(1) == circle_logits(x).argmax(1)).mean()
    assert hits == pytest.approx(accuracy, abs=3e-4)
    assert abs(hits - stated) < 2 * math.sqrt(hits * (1 - hits) / 1000)


@pytest.mark.parametrize("depth", [3, 4, 5, 6, 10])
@pytest.mark.parametrize("name", ["helix", "helix-released"])
def test_the_helix_tickets_are_as_accurate_as_the_paper_s(name: str, depth: int) -> None:
    x = np.linspace(-1, 1, 20_001)[:, None]
    error = np.square(target(name, depth)(x) - helix(x[:, 0])).mean()
    assert 2.1e-4 <= error <= 2.2e-4


@pytest.mark.parametrize("depth", [3, 4, 5])
def test_a_shallow_circle_squares_each_coordinate_by_interpolation(depth: int) -> None:
    x = circle_grid(41)
    knots = np.linspace(-1 if depth == 3 else 0, 1, 10)
    seen = x if depth == 3 else np.abs(x)
    g = np.interp(seen, knots, knots**2).sum(1)
    logits = np.stack([5 * g, 10 * g - 1, 20 * g - 6, 40 * g - 20], 1)
    assert_allclose(target("circle", depth)(x), logits, atol=1e-12)


@pytest.mark.parametrize("depth", [6, 7, 10])
def test_a_deep_circle_folds_the_angle_and_squares_two_parts(depth: int) -> None:
    x = circle_grid(41)
    radius, angle = np.hypot(*x.T), np.arctan2(np.abs(x[:, 1]), np.abs(x[:, 0]))
    axis = math.pi / 2
    for _ in range(depth - 5):
        axis /= 2
        angle = axis - np.abs(angle - axis)  # mirrored into [0, axis]
    along, across = radius * np.cos(axis - angle), radius * np.sin(axis - angle)
    reach = math.sin(axis) * math.sqrt(0.7) + 0.01
    wide = min(math.ceil(20 * math.sqrt(2) / (reach + math.sqrt(2))), 17)
    g = np.zeros(len(x))
    for part, end, count in [(along, math.sqrt(2), wide), (across, reach, 20 - wide)]:
        knots = np.linspace(0, end, count)
        g += np.interp(part, knots, knots**2)
        slope = 2 * end + knots[1]  # beyond the last knot, that of the step after it
        g += slope * np.maximum(part - end, 0)
    logits = np.stack([5 * g, 10 * g - 1, 20 * g - 6, 40 * g - 20], 1)
    assert_allclose(target("circle", depth)(x), logits, atol=1e-10)


@pytest.mark.parametrize("depth", [3, 5, 6])
def test_more_knots_make_a_better_circle(depth: int) -> None:
    x = circle_grid(200)
    labels = circle_logits(x).argmax(1)
    missed = [(target("circle", depth, knots=k)(x).argmax(1) != labels).mean() for k in (3, 9, 40)]
    assert missed[0] > missed[1] > missed[2]


def test_the_logits_of_the_circle_change_places_at_the_boundaries() -> None:
    for number, g in enumerate(BOUNDARIES):
        logits = circle_logits(np.array([[math.sqrt(g), 0.0]]))[0]
        assert logits[number] == pytest.approx(logits[number + 1])
        assert np.argmax(circle_logits(np.array([[0.0, math.sqrt(g - 0.01)]]))) == number
        assert np.argmax(circle_logits(np.array([[0.0, math.sqrt(g + 0.01)]]))) == number + 1


def test_the_helix_is_the_paper_s() -> None:
    y = 8 * math.pi  # x = 1
    assert_allclose(helix(np.array([1.0])), [[math.cos(y), math.sin(y), 1]], atol=1e-12)
    assert_allclose(helix(np.array([0.0])), [[-5 / 8, 0, 5 / 8]], atol=1e-12)


@pytest.mark.parametrize("depth", [3, 4, 5, 6])
def test_clean_and_released_helix_are_one_function(depth: int) -> None:
    x = np.linspace(-1, 1, 301)[:, None]
    assert_allclose(target("helix", depth)(x), target("helix-released", depth)(x), atol=1e-12)


@pytest.mark.parametrize("depth", [3, 4, 5, 6, 9])
@pytest.mark.parametrize("count", [2, 5, 30, 31])
def test_any_function_of_one_variable_is_met_at_its_knots(depth: int, count: int) -> None:
    def wave(x: Array) -> Array:
        return np.asarray(3 * np.sin(2 * x) - 2)

    ticket = univariate(wave, "wave", depth, low=-2.0, high=1.0, knots=count)
    knots = np.linspace(-2, 1, count)
    assert_allclose(ticket(knots[:, None])[:, 0], wave(knots), atol=1e-10)
    x = np.linspace(-2, 1, 400)
    between = np.interp(x, knots, wave(knots))
    assert_allclose(ticket(x[:, None])[:, 0], between, atol=1e-10)
    assert (ticket.name, ticket.depth, ticket.widths[0]) == ("wave", depth, 1)


def test_the_error_of_a_ticket_falls_with_the_square_of_the_knots() -> None:
    x = np.linspace(-1, 1, 10_001)[:, None]
    worst = [
        np.abs(univariate(np.exp, "exp", 5, knots=k)(x) - np.exp(x)).max() for k in (11, 21, 41)
    ]
    assert worst[0] / worst[1] == pytest.approx(4, rel=0.1)
    assert worst[1] / worst[2] == pytest.approx(4, rel=0.1)


def test_a_unit_that_no_output_reads_is_left_out() -> None:
    # |x| has one kink inside, at a knot; the first unit carries the slope
    ticket = univariate(np.abs, "abs", 3, knots=21)
    assert ticket.widths == (1, 2, 1)
    assert ticket.kept == 4
    x = np.linspace(-1, 1, 101)[:, None]
    assert_allclose(ticket(x), np.abs(x), atol=1e-12)


def test_a_constant_needs_no_weights() -> None:
    ticket = univariate(lambda x: np.full_like(x, -3.0), "constant", 5)
    assert_array_equal(ticket(np.array([[-1.0], [0.5]])), [[-3], [-3]])
    assert min(ticket.widths) == 1


def test_a_small_function_keeps_its_weights() -> None:
    small = univariate(lambda x: 1e-12 * np.exp(x), "small", 4, knots=10)
    assert small.kept == univariate(np.exp, "exp", 4, knots=10).kept == 21


def test_several_outputs_share_their_knots() -> None:
    ticket = univariate(helix, "coil", 5)
    clean = target("helix", 5)
    for (weight, bias), (same, also) in zip(ticket.layers, clean.layers, strict=True):
        assert_array_equal(weight, same)
        assert_array_equal(bias, also)


def test_the_layers_of_a_target_cannot_be_written_to() -> None:
    weight, _ = target("circle", 5).layers[0]
    with pytest.raises(ValueError, match="read-only"):
        weight[0, 0] = 3


@pytest.mark.parametrize("name", ["relu", "circle", "helix", "helix-released"])
@pytest.mark.parametrize("depth", [2, 0, -1])
def test_a_depth_below_three_is_refused(name: str, depth: int) -> None:
    with pytest.raises(UsageError, match=rf"depth of {name} is {depth}; give at least 3"):
        target(name, depth)


def test_a_depth_below_three_is_refused_for_any_function() -> None:
    with pytest.raises(UsageError, match=r"depth of exp is 2; give at least 3"):
        univariate(np.exp, "exp", 2)


def test_an_unknown_target_names_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"unknown target 'circel'; did you mean 'circle'\?"):
        target("circel", 5)


@pytest.mark.parametrize(("name", "knots", "least"), [("circle", 2, 3), ("helix", 1, 2)])
def test_too_few_knots_are_refused(name: str, knots: int, least: int) -> None:
    with pytest.raises(UsageError, match=rf"knots of {name} is {knots}; give at least {least}"):
        target(name, 5, knots=knots)


def test_relu_has_no_knots() -> None:
    with pytest.raises(UsageError, match=r"target relu has no knots, got 10; leave knots out"):
        target("relu", 5, knots=10)


def test_a_network_must_be_as_wide_as_the_ticket() -> None:
    with pytest.raises(
        UsageError, match=r"circle of depth 5 has a layer of 20 units, width is 19; give at least"
    ):
        target("circle", 5).density(19)
    assert target("circle", 5).density(20) == 108 / (40 + 800 + 80)


def test_a_function_must_be_finite_one_step_beyond_its_range() -> None:
    with pytest.raises(UsageError, match=r"odd is nan at x = 1\.069; it must be finite from -1 to"):
        univariate(lambda x: np.where(x > 1, np.nan, x), "odd", 4)


@pytest.mark.parametrize(("low", "high"), [(1.0, 1.0), (2.0, 1.0), (-math.inf, 1.0)])
def test_an_empty_range_is_refused(low: float, high: float) -> None:
    with pytest.raises(
        UsageError, match=re.escape(f"range of exp is {low} to {high}; give finite numbers, low <")
    ):
        univariate(np.exp, "exp", 4, low=low, high=high)


def test_relu_takes_arrays() -> None:
    assert_array_equal(relu(np.array([-1.0, 0.0, 2.0])), [0, 0, 2])


def test_a_target_is_a_value() -> None:
    assert isinstance(target("relu", 3), Target)
    with pytest.raises(AttributeError):
        target("relu", 3).name = "other"  # type: ignore[misc]
