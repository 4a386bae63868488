"""Principal directions: those of a singular value decomposition, on whatever path."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landscape.analysis import trajectory
from landscape.analysis.plane import along
from landscape.analysis.trajectory import principal_directions
from landscape.data_store.errors import LandscapeError
from landscape.data_store.mask import Mask
from landscape.data_store.params import ParamSpec
from landscape.data_store.records import Checkpoint
from tests.support.landscapes import at

SEEDS = st.integers(0, 2**32 - 1)


def path(rows):
    return [at(*row, address=f"run@0.step-{i}") for i, row in enumerate(rows)]


@given(SEEDS, st.integers(3, 12), st.sampled_from([1, 2]))
def test_they_are_the_leading_singular_vectors_of_the_centred_differences(seed, length, count):
    rows = np.random.default_rng(seed).normal(size=(length, 9)) * [9, 7, 5, 3, 1, 1, 1, 1, 1]
    directions, shares = principal_directions(path(rows), count)
    differences = rows - rows[-1]  # Li et al., and scikit-learn's PCA of it
    _, sizes, vectors = np.linalg.svd(differences - differences.mean(axis=0))
    np.testing.assert_allclose(shares, (sizes**2 / (sizes**2).sum())[:count], rtol=1e-9)
    gap = sizes[count - 1] - sizes[count]
    aligned = np.abs(np.sum(directions * vectors[:count], axis=1))
    np.testing.assert_allclose(aligned, 1, atol=1e-7 / min(1, gap) ** 2)
    np.testing.assert_allclose(directions @ directions.T, np.eye(count), atol=1e-9)


def test_a_path_in_a_plane_is_explained_whole_and_lies_in_it():
    angle = np.linspace(0, 3, 8)
    basis = np.linalg.qr(np.random.default_rng(0).normal(size=(20, 2)))[0].T
    curve = np.stack([5 * np.cos(angle), np.sin(angle)], axis=1)
    points = path(3.0 + curve @ basis)
    directions, shares = principal_directions(points, 2)
    assert shares.sum() == pytest.approx(1)
    plane = along(points[-1], directions)
    for point, place in zip(points, curve, strict=True):
        coordinates, residual = plane.projection(point)
        assert residual == pytest.approx(0, abs=1e-12)
        assert np.linalg.norm(coordinates) == pytest.approx(np.linalg.norm(place - curve[-1]))


def test_the_path_runs_in_the_direction_of_the_components():
    rows = np.random.default_rng(1).normal(size=(6, 4)) + np.linspace(0, 9, 6)[:, None]
    for order in (1, -1):
        points = path(rows[::order])
        directions, _ = principal_directions(points, 2)
        starts = (points[0].theta - np.mean([p.theta for p in points], axis=0)) @ directions.T
        assert (starts < 0).all()


def test_it_does_not_matter_how_many_weights_are_looked_at_together(monkeypatch):
    points = path(np.random.default_rng(2).normal(size=(5, 30)))
    whole = principal_directions(points, 2)
    monkeypatch.setattr(trajectory, "_CHUNK", 7)
    for one, other in zip(whole, principal_directions(points, 2), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9)


def test_three_checkpoints_span_the_plane_through_them():
    points = path(np.random.default_rng(3).normal(size=(3, 8)))
    plane = along(points[-1], principal_directions(points, 2)[0])
    assert all(plane.projection(point)[1] < 1e-12 for point in points)


def test_buffers_move_as_in_the_same_combination_of_the_checkpoints():
    rng, spec = np.random.default_rng(4), ParamSpec(("w",), ((2, 3),), "float32")
    mask, map_to_buffers = Mask.dense(spec, ("w",)), rng.normal(size=(6, 2))
    points = []
    for _ in range(5):
        theta = rng.normal(size=6).astype("f4")
        points.append(
            Checkpoint(spec, theta, mask, {"mean": (theta @ map_to_buffers).astype("f4")})
        )
    directions, _ = principal_directions(points, 2)
    assert directions.shape == (2, 8)
    np.testing.assert_allclose(directions[:, :6] @ map_to_buffers, directions[:, 6:], atol=1e-5)


def test_pruned_weights_are_not_in_it():
    rows = np.random.default_rng(5).normal(size=(6, 8))
    rows[:, 3] = 0.0
    assert (principal_directions(path(rows), 2)[0][:, 3] == 0).all()


def test_checkpoints_that_vary_too_little_are_refused():
    rows = np.random.default_rng(6).normal(size=(2, 5))
    line = path(np.outer(np.arange(5.0), rows[0]) + rows[1])
    with pytest.raises(LandscapeError, match="these 5 checkpoints vary in fewer than 2 directions"):
        principal_directions(line, 2)
    assert principal_directions(line, 1)[1] == pytest.approx([1.0])
    with pytest.raises(LandscapeError, match="these 3 checkpoints vary in fewer than 1 direction"):
        principal_directions(path([rows[0]] * 3), 1)
    with pytest.raises(LandscapeError, match="hold different networks"):
        principal_directions([*line, at(1.0)], 1)
