"""Line: losses of the examples on the way, their means, and its parts."""

from __future__ import annotations

import math

import numpy as np
import pytest

from landscape.analysis.line import Line, moves
from landscape.analysis.paths import grid
from tests.support.examples import made_up
from tests.support.landscapes import ClosedForm

ENDS = np.array([[0.0], [1.0]])


def walked(positions=5, examples=30) -> Line:
    return Line.walk(made_up("peak", grid(positions), examples), ENDS, grid(positions), "train")


def test_means_and_standard_errors_are_over_the_examples():
    line = walked()
    assert line.examples == 30
    for name in ("loss", "error"):
        values = line.measures[name]
        np.testing.assert_allclose(line.curves[name], values.mean(axis=1), rtol=1e-15)
        spread = values.std(axis=1, ddof=1) / math.sqrt(30)
        np.testing.assert_allclose(line.curves[f"{name}_se"], spread, rtol=1e-12)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_position_with_a_loss_that_is_no_number_is_unknown(bad):
    line = walked()
    line.loss[2, 7] = bad
    known = [True, True, False, True, True]
    for curve in line.curves.values():
        np.testing.assert_array_equal(np.isfinite(curve), known)


def test_one_example_has_no_standard_error():
    line = walked(examples=1)
    assert np.isfinite(line.curves["loss"]).all()
    assert np.isnan(line.curves["loss_se"]).all()


def test_chosen_examples_are_columns_of_the_whole():
    landscape, places = made_up("peak", grid(5), 30), np.array([3, 4, 17])
    part = Line.walk(landscape, ENDS, grid(5), "train", places=places)
    np.testing.assert_array_equal(part.loss, walked().loss[:, places])


def test_between_equal_points_nothing_moves_not_even_by_rounding():
    landscape = ClosedForm(lambda theta: theta[:, 0])
    line = Line.walk(landscape, np.full((2, 1), 0.1), grid(11), "train")
    assert set(line.loss.ravel()) == {0.1}
    assert not moves(np.full((3, 2), 0.1))
    assert moves(np.array([[0.1, 0.2], [0.1, 0.3]]))


def test_another_path_over_three_anchors():
    def bent(t):
        return np.stack([(1 - t) ** 2, 2 * t * (1 - t), t**2], axis=1)

    anchors = np.array([[0.0], [4.0], [0.0]])
    line = Line.walk(ClosedForm(lambda x: x[:, 0]), anchors, grid(3), "train", path=bent)
    assert line.loss.ravel().tolist() == [0.0, 2.0, 0.0]


def test_parts_and_the_whole():
    line = walked()
    back = line.reversed()
    np.testing.assert_array_equal(back.alpha, grid(5))
    np.testing.assert_array_equal(back.loss, line.loss[::-1])
    np.testing.assert_array_equal(back.curves["error"], line.curves["error"][::-1])
    even = line.at(np.array([0, 2, 4])).with_points(line.at(np.array([1, 3])))
    np.testing.assert_array_equal(even.alpha, line.alpha)
    np.testing.assert_array_equal(even.loss, line.loss)
    halves = [
        Line(line.alpha, line.loss[:, h], line.error[:, h]) for h in np.split(np.arange(30), 2)
    ]
    whole = halves[0].with_examples(halves[1])
    np.testing.assert_array_equal(whole.loss, line.loss)
    np.testing.assert_array_equal(whole.error, line.error)
