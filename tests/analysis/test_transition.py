"""Transition: its points, the rows that reach its paths, and distances on shared weights."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landscape.analysis.paths import grid
from landscape.analysis.transition import Rows, Transition, angular_distance
from landscape.data_store.mask import Mask
from landscape.data_store.params import ParamSpec
from landscape.data_store.records import Checkpoint
from landscape.data_store.schemas.sublevel import PATHS

SPEC = ParamSpec(("w",), ((1, 3),), "float64")


def point(*theta, kept=(1, 1, 1), buffers=None) -> Checkpoint:
    mask = Mask(SPEC, ("w",), np.array(kept, dtype=bool))
    return Checkpoint(SPEC, mask.apply(np.array(theta, dtype=float)), mask, buffers or {})


A = point(1.0, 2.0, -3.0, kept=(1, 1, 1))
B = point(0.5, 9.0, -4.0, kept=(1, 0, 1))
TICKET = point(0.1, 0.2, 0.3, kept=(1, 0, 1))


def test_the_baseline_is_the_next_mask_on_the_previous_solution():
    found = Transition.between(A, B).vectors
    np.testing.assert_array_equal(found["baseline"], [1.0, 0.0, -3.0])
    assert not np.signbit(found["baseline"][1])
    assert found["previous"] is A.point
    assert found["solution"] is B.point
    assert found["rewind"] is None


def test_the_baseline_has_the_buffers_of_the_previous_solution():
    a = point(1.0, 2.0, 3.0, buffers={"mean": np.array([7.0])})
    b = point(4.0, 5.0, 6.0, kept=(0, 1, 1), buffers={"mean": np.array([8.0])})
    np.testing.assert_array_equal(Transition.between(a, b).vectors["baseline"], [0, 2, 3, 7])


def test_only_a_dense_level_is_one():
    assert Transition.between(A, B, dense=A).known == [
        "previous", "baseline", "solution", "dense"
    ]  # fmt: skip
    assert Transition.between(A, B, dense=B).vectors["dense"] is None


def test_rows_reach_every_path_and_their_ends_exactly():
    transition = Transition.between(A, B, TICKET)
    alpha = grid(5)
    rows = Rows.of(transition, alpha)
    reached = rows.coefficients @ transition.anchors
    assert set(rows.at) == set(PATHS)
    assert len(reached) == 4 + 4 * 3
    for path, at in rows.at.items():
        first, last = (transition.vectors[end] for end in path.split("-"))
        want = (1 - alpha)[:, None] * first + alpha[:, None] * last
        np.testing.assert_allclose(reached[at], want, rtol=0, atol=1e-15)
        np.testing.assert_array_equal(reached[at[[0, -1]]], [first, last])


def test_a_path_from_an_unknown_point_has_no_rows():
    assert set(Rows.of(Transition.between(A, B), grid(3)).at) == set(PATHS) - {"rewind-solution"}


def test_nothing_moves_between_equal_points():
    rows = Rows.of(Transition.between(A, A, TICKET), grid(7))
    assert rows.at["previous-solution"].tolist() == [0] * 7
    assert rows.at["previous-baseline"].tolist() == [0] * 7


def test_distances_by_hand():
    distance, angle = Transition.between(A, B, TICKET).distances()
    found = dict(zip(PATHS, distance, strict=True))
    assert found["previous-solution"] == pytest.approx(math.sqrt(0.25 + 4 + 1))
    assert found["baseline-solution"] == pytest.approx(math.sqrt(0.25 + 1))
    assert found["previous-baseline"] == 2.0
    turned = math.acos((0.5 + 12) / math.sqrt(10 * 16.25)) * 2 / math.pi
    assert angle[PATHS.index("previous-solution")] == pytest.approx(turned)
    assert angle[PATHS.index("previous-baseline")] == 0.0  # alike where both are kept


def test_distances_leave_buffers_out():
    a = point(1.0, 2.0, 3.0, buffers={"mean": np.array([7.0])})
    b = point(1.0, 2.0, 3.0, buffers={"mean": np.array([900.0])})
    assert Transition.between(a, b).distances()[0][0] == 0.0


def test_distances_from_an_unknown_point_are_unknown():
    distance, angle = Transition.between(A, B).distances()
    assert np.isnan([distance[-1], angle[-1]]).all()


def test_an_angle_with_nothing_is_unknown():
    assert math.isnan(angular_distance(np.zeros(3), np.ones(3)))
    assert math.isnan(angular_distance(np.ones(0), np.ones(0)))


@given(st.floats(0.0, math.pi), st.floats(0.1, 10), st.floats(0.1, 10))
def test_the_angular_distance_is_the_angle_whatever_the_lengths(angle, r, s):
    u = r * np.array([1.0, 0.0])
    v = s * np.array([math.cos(angle), math.sin(angle)])
    assert angular_distance(u, v) == pytest.approx(2 * angle / math.pi, abs=1e-12)
    assert angular_distance(u, v) == angular_distance(v, u)


def test_a_tiny_angle_is_not_rounded_away():
    u, v = np.array([1.0, 0.0]), np.array([1.0, 1e-12])
    assert angular_distance(u, v) == pytest.approx(2e-12 / math.pi, rel=1e-3)
