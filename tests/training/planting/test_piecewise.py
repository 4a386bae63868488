"""Piecewise-linear networks: they meet their values at the knots, and refuse what they cannot."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from landscape.data_store.errors import UsageError
from landscape.data_store.params import Array
from landscape.training.planting.piecewise import (
    alternating,
    extended,
    function_values,
    piecewise_linear,
    require_knots,
    univariate_layers,
)


def block_value(block: tuple[Array, Array, Array, Array], x: Array) -> Array:
    """The piecewise-linear block at x (m,): (m, outputs)."""
    weight, bias, outer, constant = block
    return np.asarray(np.maximum(x[:, None] @ weight.T + bias, 0) @ outer.T + constant)


@given(
    st.integers(2, 12).flatmap(
        lambda n: st.tuples(
            st.lists(st.floats(0.05, 2), min_size=n, max_size=n),
            st.lists(st.sampled_from([-1.0, 1.0]), min_size=n - 1, max_size=n - 1),
            st.lists(st.tuples(st.floats(-5, 5), st.floats(-5, 5)), min_size=n + 1, max_size=n + 1),
        )
    )
)
def test_a_block_meets_its_values_at_the_knots_for_any_signs(
    case: tuple[list[float], list[float], list[tuple[float, float]]],
) -> None:
    steps, rest, pairs = case
    knots = np.cumsum(steps) - 3
    values = np.array(pairs)
    block = piecewise_linear(knots, values, np.array([1.0, *rest]))
    assert_allclose(block_value(block, knots), values[:-1], atol=1e-9)
    x = np.linspace(knots[0], knots[-1], 57)
    between = np.stack([np.interp(x, knots, column[:-1]) for column in values.T], 1)
    assert_allclose(block_value(block, x), between, atol=1e-9)
    # one step beyond the last knot, as long as the first
    beyond = np.array([knots[-1] + (knots[1] - knots[0])])
    assert_allclose(block_value(block, beyond), values[-1:], atol=1e-9)


def test_the_paper_s_first_weight_without_the_correction_is_wrong() -> None:
    """The appendix prints a_1 = μ_1; the code's a_1 adds those outer weights that have p = -1."""
    knots, values = np.array([0.0, 1.0, 2.0]), np.array([0.0, 1.0, 4.0, 9.0])[:, None]
    weight, bias, outer, constant = piecewise_linear(knots, values, np.array([1.0, -1.0, 1.0]))
    assert_array_equal(weight, [[1], [-1], [1]])
    assert_array_equal(bias, [0, 1, -2])
    assert_array_equal(outer, [[3, 2, 2]])  # slopes 1, 3, 5: 1 + 2 = 3
    assert_array_equal(constant, [-2])
    printed = np.array([[1.0, 2, 2]])
    assert block_value((weight, bias, printed, constant), np.array([1.0]))[0, 0] != 1


@pytest.mark.parametrize(
    ("knots", "signs", "message"),
    [
        ([0.0, 1.0], [-1.0, 1.0], r"signs must be \+1 or -1, the first \+1, got \[-1.0, 1.0\]"),
        ([0.0, 1.0], [1.0, 0.5], r"signs must be \+1 or -1, the first \+1, got \[1.0, 0.5\]"),
        ([1.0, 1.0], [1.0, 1.0], r"two or more increasing knots, got \[1.0, 1.0\]"),
        ([1.0], [1.0], r"two or more increasing knots, got \[1.0\]"),
    ],
)
def test_a_block_refuses_what_it_cannot_interpolate(
    knots: list[float], signs: list[float], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        piecewise_linear(np.array(knots), np.zeros((len(knots) + 1, 1)), np.array(signs))


def test_the_values_of_a_function_are_columns_in_float64() -> None:
    x = np.array([-1.0, 0.0, 2.0])
    assert_array_equal(function_values(lambda v: v.astype(np.int8), "whole", x), x[:, None])
    both = function_values(lambda v: np.stack([v, 2 * v], 1).astype(np.float32), "both", x)
    assert_array_equal(both, [[-1, -2], [0, 0], [2, 4]])
    assert both.dtype == np.float64


def bent(x: Array) -> Array:
    return np.where(x > 0, np.nan, x)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (math.sin, r"function odd fails on an array of shape \(31,\): TypeError: .*write it with"),
        (lambda x: x[:-1], r"function odd gave shape \(30,\) for 31 values; expected \(31,\) or"),
        (np.sum, r"function odd gave shape \(\) for 31 values"),
        (lambda x: x[:, None, None], r"function odd gave shape \(31, 1, 1\) for 31 values"),
        (lambda x: np.zeros((len(x), 0)), r"function odd gave shape \(31, 0\) for 31 values"),
        (bent, r"function odd is nan at x = 0\.06667; it must be finite from -1 to 1$"),
    ],
)
def test_a_function_that_cannot_be_used_is_refused(function: object, message: str) -> None:
    x = np.linspace(-1, 1, 31)
    with pytest.raises(UsageError, match=message):
        function_values(function, "odd", x)  # type: ignore[arg-type]


def test_the_step_beyond_the_last_knot_is_as_long_as_the_first() -> None:
    assert_array_equal(extended(np.array([1.0, 3.0, 10.0])), [1, 3, 10, 12])


def test_signs_alternate_from_plus_one() -> None:
    assert_array_equal(alternating(5), [1, -1, 1, -1, 1])
    assert alternating(1).dtype == np.float64


@pytest.mark.parametrize("least", [2, 3])
def test_knots_are_refused_below_the_least(least: int) -> None:
    require_knots("wave", least, least)
    with pytest.raises(UsageError, match=rf"knots of wave is {least - 1}; give at least {least}"):
        require_knots("wave", least - 1, least)


@pytest.mark.parametrize("depth", [3, 4, 5, 8])
def test_the_layers_of_a_line_are_one_unit_wide_once_they_are_clean(depth: int) -> None:
    """2x - 1 on [-1, 1] has one slope; a lift of 3 carries its least value through identities."""
    layers = univariate_layers(lambda x: 2 * x - 1, "line", depth, (-1.0, 1.0), 9, clean=True)
    assert [len(bias) for _, bias in layers] == [1] * (depth - 1)
    values = np.linspace(-1, 1, 21)[:, None]
    for number, (weight, bias) in enumerate(layers):
        values = values @ weight.T + bias
        values = np.maximum(values, 0) if number < depth - 2 else values
    assert_allclose(values[:, 0], np.linspace(-3, 1, 21), atol=1e-12)
    assert layers[-1][1] == pytest.approx([-3])
