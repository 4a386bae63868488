"""Planes: coordinates are displacements, corners are exact, pruned weights stay where they are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landscape.analysis.plane import along, through
from landscape.data_store.errors import LandscapeError
from landscape.data_store.mask import Mask
from landscape.data_store.params import ParamSpec
from landscape.data_store.records import Checkpoint
from tests.support.landscapes import at

SEEDS = st.integers(0, 2**32 - 1)


def some(count, seed=0, size=7):
    """Checkpoints anywhere."""
    rows = np.random.default_rng(seed).normal(size=(count, size))
    return [at(*row, address=f"p{i}") for i, row in enumerate(rows)]


def with_buffers(seed, dtype="float32"):
    """A checkpoint of two tensors, a BatchNorm's statistics and a counter."""
    rng = np.random.default_rng(seed)
    spec = ParamSpec(("w", "b"), ((3, 2), (3,)), dtype)
    buffers = {
        "mean": rng.normal(0, 100, 3).astype(dtype),
        "count": np.array([seed]),
    }
    theta = rng.normal(size=9).astype(dtype)
    return Checkpoint(spec, theta, Mask.dense(spec, ("w",)), buffers, address=f"{seed}.pt")


@given(SEEDS, st.sampled_from([(2, 1), (3, 2)]))
def test_coordinates_are_euclidean_displacements(seed, how):
    count, axes = how
    points = some(count, seed)
    plane = through(points)
    coordinates = np.random.default_rng(seed).normal(0, 3, size=(20, axes))
    walked = plane.coefficients(coordinates) @ plane.anchors
    displacement = np.linalg.norm(walked - points[0].theta, axis=1)
    np.testing.assert_allclose(displacement, np.linalg.norm(coordinates, axis=1), rtol=1e-9)
    np.testing.assert_allclose(plane.displacement(coordinates), displacement, rtol=1e-9)


@given(SEEDS)
def test_distances_on_the_picture_are_those_of_the_weights(seed):
    points = some(3, seed)
    places = through(points).places
    for i in range(3):
        for j in range(3):
            true = np.linalg.norm(points[i].theta - points[j].theta)
            assert np.linalg.norm(places[i] - places[j]) == pytest.approx(true, rel=1e-9)
    assert places[0].tolist() == [0, 0]
    assert places[1][1] == 0
    assert places[1][0] > 0
    assert places[2][1] > 0


@given(SEEDS)
def test_corners_are_exactly_the_checkpoints(seed):
    """An endpoint missing from the path, in loss-landscapes and rebasin."""
    points = some(3, seed)
    plane = through(points)
    np.testing.assert_array_equal(plane.coefficients(plane.places), np.eye(3))
    for point, place in zip(points, plane.places, strict=True):
        coordinates, residual = plane.projection(point)
        assert coordinates.tolist() == place.tolist()
        assert residual == 0.0


@given(SEEDS)
def test_coefficients_are_affine_in_the_coordinates(seed):
    plane = through(some(3, seed))
    rows = plane.coefficients(np.random.default_rng(seed).normal(size=(9, 2)))
    np.testing.assert_allclose(rows.sum(axis=1), 1.0, atol=1e-9)


@given(SEEDS)
def test_a_projection_is_the_nearest_point_and_its_residual_the_distance(seed):
    points = some(4, seed)
    for plane in (through(points[:3]), along(points[0], np.stack([p.point for p in points[1:3]]))):
        coordinates, residual = plane.projection(points[3])
        foot = (plane.coefficients(coordinates[None]) @ plane.anchors)[0]
        away = points[3].theta - foot
        assert np.linalg.norm(away) == pytest.approx(residual, rel=1e-9)
        np.testing.assert_allclose(plane.directions @ away, 0, atol=1e-9 * (1 + residual))


def test_a_point_of_the_plane_is_its_own_projection():
    points = some(3)
    inside = at(*(np.array([0.5, 0.2, 0.3]) @ np.stack([p.theta for p in points])))
    coordinates, residual = through(points).projection(inside)
    assert residual == pytest.approx(0, abs=1e-12)
    want = np.array([0.5, 0.2, 0.3]) @ through(points).places
    np.testing.assert_allclose(coordinates, want, atol=1e-12)


def test_with_two_checkpoints_the_second_axis_is_at_right_angles():
    points, across = some(2), np.random.default_rng(1).normal(size=7)
    plane = through(points, across)
    np.testing.assert_allclose(plane.gram, np.eye(2), atol=1e-14)
    np.testing.assert_array_equal(plane.coefficients(plane.places), [[1, 0, 0], [0, 1, 0]])
    there = (plane.coefficients(np.array([[0.3, -2.0]])) @ plane.anchors)[0]
    want = points[0].theta + [0.3, -2.0] @ plane.directions
    np.testing.assert_allclose(there, want, atol=1e-14)
    spanned = np.stack([points[1].theta - points[0].theta, across])
    assert np.linalg.matrix_rank(np.concatenate([spanned, plane.directions]), tol=1e-9) == 2


def test_directions_need_be_neither_orthogonal_nor_of_one_length():
    origin, directions = some(1)[0], np.array([[2.0, 0, 0, 0, 0, 0, 0], [3.0, 4.0, 0, 0, 0, 0, 0]])
    plane = along(origin, directions)
    coordinates = np.array([[0.0, 0.0], [1.5, -0.5], [-2.0, 1.0]])
    walked = plane.coefficients(coordinates) @ plane.anchors
    np.testing.assert_allclose(walked, origin.theta + coordinates @ directions, atol=1e-15)
    want = [0, np.linalg.norm([3 - 1.5, -2]), np.linalg.norm([-4 + 3, 4])]
    np.testing.assert_allclose(plane.displacement(coordinates), want)
    assert plane.coefficients(coordinates[:1]).tolist() == [[1, 0, 0]]


def test_lengths_are_of_the_weights_and_buffers_are_carried_along():
    a, b, c = map(with_buffers, range(3))
    plane = through([a, b, c])
    assert plane.anchors.dtype == np.float32
    assert plane.anchors.shape == (3, 12)
    assert plane.places[1][0] == pytest.approx(np.linalg.norm(a.theta - b.theta), rel=1e-6)
    middle = plane.coefficients(plane.places.mean(axis=0)[None]) @ plane.anchors
    np.testing.assert_allclose(middle[0], (a.point + b.point + c.point) / 3, rtol=1e-5)
    assert plane.projection(with_buffers(0))[1] == pytest.approx(0, abs=1e-5)


def test_what_all_checkpoints_prune_never_moves():
    spec = ParamSpec(("w",), ((2, 4),), "float32")
    kept = np.array([1, 0, 1, 1, 0, 1, 1, 0], dtype=bool)
    rng = np.random.default_rng(0)
    points = []
    for _ in range(3):
        mask = Mask(spec, ("w",), kept)
        points.append(Checkpoint(spec, mask.apply(rng.normal(size=8).astype("f4")), mask))
    plane = through(points)
    rows = plane.coefficients(rng.normal(0, 10, size=(50, 2)))
    walked = rows @ plane.anchors.astype(np.float64)
    assert (walked[:, ~kept] == 0).all()
    assert (plane.directions[:, ~kept] == 0).all()


def test_checkpoints_that_span_too_little_are_refused():
    a, b = some(2)
    with pytest.raises(LandscapeError, match="p0 and p1 have the same weights, so no line"):
        through([a, replace(a, address="p1")])
    middle = at(*(0.3 * a.theta + 0.7 * b.theta), address="middle")
    with pytest.raises(LandscapeError, match="p0, p1, middle lie on one line, so they span no"):
        through([a, b, middle])
    with pytest.raises(LandscapeError, match="checkpoint 1 and checkpoint 2 have the same"):
        through([replace(a, address="")] * 2)


def test_directions_that_lead_nowhere_are_refused():
    origin = some(1)[0]
    with pytest.raises(LandscapeError, match="a direction at p0 has length 0, so nothing moves"):
        along(origin, np.zeros((1, 7)))
    with pytest.raises(LandscapeError, match="the two directions are parallel; ask for one axis"):
        along(origin, np.array([np.arange(7.0), -2 * np.arange(7.0)]))


def test_other_architectures_are_refused():
    a, b = some(2)
    other = at(1.0, 2.0, address="other")
    for ask in (lambda: through([a, other]), lambda: through([a, b]).projection(other)):
        with pytest.raises(LandscapeError, match="hold different networks and cannot be compared"):
            ask()
