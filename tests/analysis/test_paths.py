"""Paths: grids that can be walked from both ends, and the coefficients of a line."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from landscape.analysis.paths import bezier, grid, line


def test_a_grid_is_its_own_mirror_bit_for_bit():
    for points in range(3, 201):
        alpha = grid(points)
        assert alpha.dtype == np.float64
        assert alpha.shape == (points,)
        assert (alpha[0], alpha[-1]) == (0.0, 1.0)
        assert not np.signbit(alpha[0])
        assert alpha[::-1].tobytes() == (1.0 - alpha).tobytes()
        assert (1.0 - (1.0 - alpha)).tobytes() == alpha.tobytes()


def test_positions_lie_within_rounding_of_the_ideal_ones():
    for points in range(3, 201):
        for i, position in enumerate(grid(points)):
            exact = Fraction(float(position))
            assert abs(exact - Fraction(i, points - 1)) < Fraction(1, 2**53)
            assert (exact * 2**53).denominator == 1


@pytest.mark.parametrize("points", [3, 4, 5, 25, 101, 200])
def test_positions_are_distinct_and_evenly_spaced(points):
    steps = np.diff(grid(points))
    assert (steps > 0).all()
    np.testing.assert_allclose(steps, 1 / (points - 1), rtol=1e-13)


def test_small_grids():
    assert grid(3).tolist() == [0.0, 0.5, 1.0]
    assert grid(5).tolist() == [0.0, 0.25, 0.5, 0.75, 1.0]


@pytest.mark.parametrize("points", [3, 4, 25, 101])
def test_rows_of_a_line(points):
    alpha = grid(points)
    rows = line(alpha)
    assert rows.shape == (points, 2)
    assert rows[0].tolist() == [1.0, 0.0]
    assert rows[-1].tolist() == [0.0, 1.0]
    np.testing.assert_array_equal(rows.sum(axis=1), 1.0)
    np.testing.assert_array_equal(rows[::-1], rows[:, ::-1])
    np.testing.assert_allclose(rows @ np.array([[2.0], [6.0]]), (2 + 4 * alpha)[:, None])


def test_a_line_goes_on_beyond_its_ends():
    np.testing.assert_array_equal(line(np.array([-0.5, 1.5])), [[1.5, -0.5], [-0.5, 1.5]])


@pytest.mark.parametrize("points", [3, 4, 25, 101])
def test_rows_of_a_curve(points):
    t = grid(points)
    rows = bezier(t)
    assert rows[0].tolist() == [1.0, 0.0, 0.0]
    assert rows[-1].tolist() == [0.0, 0.0, 1.0]
    np.testing.assert_allclose(rows.sum(axis=1), 1.0, rtol=1e-15)
    assert rows[::-1].tobytes() == np.ascontiguousarray(rows[:, ::-1]).tobytes()
    anchors = np.array([[0.0, 0.0], [1.0, 2.0], [2.0, 0.0]])  # a parabola
    x, y = (rows @ anchors).T
    np.testing.assert_allclose(y, x * (2 - x), atol=1e-15)


def test_a_curve_over_the_middle_is_the_line():
    t = grid(9)
    anchors = np.array([[1.0, -4.0], [2.0, 0.0], [3.0, 4.0]])
    np.testing.assert_allclose(bezier(t) @ anchors, line(t) @ anchors[[0, 2]], atol=1e-14)
