"""Cells: evenly spaced, around the checkpoints, with these among them where they can be."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landscape.analysis.cells import grids_around, grids_between

SIZES = st.integers(2, 60)
FINITE = st.integers(-(10**6), 10**6).map(lambda thousandths: thousandths / 1000)


@given(st.lists(st.tuples(FINITE, FINITE), min_size=2, max_size=6), SIZES, SIZES)
def test_grids_around_checkpoints_hold_them_all_evenly_and_zero(places, nx, ny):
    marks = np.array([(0.0, 0.0), *places])
    extents = np.ptp(marks, axis=0)
    if extents.max() < 1e-3:
        return
    for grid, mark, extent, size in zip(
        grids_around(marks, [nx, ny], None), marks.T, extents, (nx, ny), strict=True
    ):
        assert len(grid) == size
        cell = np.diff(grid).mean()
        np.testing.assert_allclose(np.diff(grid), cell, rtol=1e-6)
        room = 0.25 * extents.max() + (0 if extent else extents.max() / 2)
        slack = cell / 2 * (1 + 1e-9)
        assert grid[0] == pytest.approx(mark.min() - room, abs=slack)
        assert grid[-1] == pytest.approx(mark.max() + room, abs=slack)
        assert (0.0 in grid) or room < slack


def test_a_line_has_more_room_than_a_plane():
    marks = np.array([[0.0], [2.0]])
    assert grids_around(marks, [5], None)[0].tolist() == [-1, 0, 1, 2, 3]
    assert grids_around(marks, [5], 0.0)[0].tolist() == [0, 0.5, 1, 1.5, 2]


def test_what_is_a_checkpoint_up_to_rounding_is_the_checkpoint():
    third = 0.1 + 0.2  # not 0.3
    (grid,) = grids_between(np.array([[0.0], [third], [0.55]]), [11], (0.0, 1.0))
    assert third in grid
    assert 0.55 not in grid


def test_ends_are_those_given():
    marks = np.zeros((1, 2))
    assert [g.tolist() for g in grids_between(marks, [3, 2], ())] == [[-1, 0, 1], [-1, 1]]
    assert [g.tolist() for g in grids_between(marks, [2, 2], (2.0, 3.0))] == [[2, 3], [2, 3]]
    pairs = grids_between(marks, [2, 2], (2.0, 3.0, -5.0, 0.0))
    assert [g.tolist() for g in pairs] == [[2, 3], [-5, 0]]
