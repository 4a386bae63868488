"""Axes: random, spanned, of the curvature, of a trajectory; each with what is known of it."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from landscape.analysis.axes import (
    checkpoint_axes,
    eigenvector_axes,
    principal_axes,
    random_axes,
)
from landscape.analysis.work import AtOnce
from landscape.data_store.errors import LandscapeError
from landscape.data_store.mask import Mask
from landscape.data_store.params import ParamSpec
from landscape.data_store.records import Checkpoint
from tests.support.landscapes import ClosedForm, at, quadratic


def pruned(density=0.4, seed=0, address="imp@3"):
    """A checkpoint of 40 filters of 50 weights, their biases and a buffer, partly pruned."""
    rng = np.random.default_rng(seed)
    spec = ParamSpec(("w", "b"), ((40, 50), (40,)), "float32")
    kept = np.ones(spec.size, dtype=bool)
    kept[:2000] = rng.random(2000) < density
    kept[:50] = False  # a filter that is pruned whole
    mask = Mask(spec, ("w",), kept)
    theta = mask.apply(rng.normal(0, 0.1, spec.size).astype("f4"))
    return Checkpoint(spec, theta, mask, {"mean": np.ones(3, "f4")}, address=address)


def weights(axes):
    """The directions without the buffers."""
    return axes.plane.directions[:, :2040]


@pytest.mark.parametrize("normalization", ["filter", "unit", "none"])
def test_random_directions_are_centred_nearly_orthogonal_and_of_both_signs(normalization):
    """Directions drawn from U[0, 1], in loss-landscapes: mean 1/2, cosine 3/4."""
    one, other = weights(random_axes(pruned(1.0), 2, normalization, seed=0))
    cosine = one @ other / np.linalg.norm(one) / np.linalg.norm(other)
    assert abs(cosine) < 0.07
    assert abs(one.mean()) < 0.07 * one.std()
    assert 0.45 < np.mean(one[one != 0] > 0) < 0.55


@pytest.mark.parametrize("normalization", ["filter", "unit", "none"])
def test_pruned_weights_and_buffers_never_move(normalization):
    origin = pruned()
    directions = random_axes(origin, 2, normalization, seed=0).plane.directions
    assert directions.shape == (2, 2043)
    assert (directions[:, :2040][:, ~origin.mask.kept] == 0).all()
    assert (directions[:, 2040:] == 0).all()
    assert (directions[:, :2000][:, origin.mask.kept[:2000]] != 0).all()


def test_each_filter_is_as_long_as_the_checkpoints_and_masked_first():
    origin = pruned()
    for direction in weights(random_axes(origin, 2, "filter", seed=3)):
        lengths = np.linalg.norm(direction[:2000].reshape(40, 50), axis=1)
        want = np.linalg.norm(origin.theta[:2000].reshape(40, 50), axis=1)
        np.testing.assert_allclose(lengths, want, rtol=1e-6)
        assert (direction[2000:] == 0).all()


def test_lengths_of_the_other_normalizations():
    origin = pruned()
    unit = weights(random_axes(origin, 2, "unit", seed=0))
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1)
    assert (unit[:, 2000:] != 0).all()
    drawn = weights(random_axes(origin, 2, "none", seed=0))
    assert drawn[:, origin.mask.kept].std() == pytest.approx(1, abs=0.05)


def test_seeds_are_deterministic_and_recorded_with_digests():
    axes = random_axes(pruned(), 2, "filter", seed=7)
    again = random_axes(pruned(), 2, "filter", seed=7)
    assert axes.plane.directions.tobytes() == again.plane.directions.tobytes()
    assert axes.digests == again.digests
    first = axes.plane.directions[0]
    assert first.dtype == np.float64
    assert axes.digests[0] == hashlib.sha256(first.tobytes()).hexdigest()
    assert axes.seeds == ("7/0", "7/1")
    others = [*axes.digests, *random_axes(pruned(), 2, "filter", seed=8).digests]
    assert len(set(others)) == 4
    assert random_axes(pruned(), 1, "filter", seed=7).digests == axes.digests[:1]


def test_draws_are_the_same_for_all_levels_before_the_mask():
    dense, sparse = pruned(1.0), pruned(0.3)
    both = sparse.mask.kept & dense.mask.kept
    one, other = (weights(random_axes(p, 1, "none", seed=0))[0] for p in (dense, sparse))
    np.testing.assert_array_equal(one[both], other[both])


def test_a_checkpoint_of_zeros_has_no_random_direction():
    spec = ParamSpec(("w",), ((2, 2),), "float64")
    empty = Checkpoint(spec, np.zeros(4), Mask(spec, ("w",), np.zeros(4, dtype=bool)))
    for normalization in ("filter", "unit", "none"):
        with pytest.raises(LandscapeError, match="this checkpoint has length 0, so nothing moves"):
            random_axes(empty, 2, normalization, seed=0)


def some(count, seed=0):
    rows = np.random.default_rng(seed).normal(size=(count, 9))
    return [at(*row, address=f"imp@{i}") for i, row in enumerate(rows)]


def test_two_checkpoints_make_a_line_or_a_plane_with_a_random_axis():
    points = some(2)
    line = checkpoint_axes(points, 1, seed=0)
    assert line.words == ("from imp@0 to imp@1",)
    assert line.spanned
    plane = checkpoint_axes(points, 2, seed=5)
    assert plane.words == ("from imp@0 to imp@1", "random, at right angles")
    assert plane.seeds == ("", "5/0")
    assert plane.digests[0] == line.digests[0]
    assert plane.digests[1] != checkpoint_axes(points, 2, seed=6).digests[1]


def test_the_first_three_of_several_checkpoints_span_the_plane():
    points = some(5)
    axes = checkpoint_axes(points, 2, seed=0)
    assert axes.words == ("from imp@0 to imp@1", "at right angles, to imp@2")
    assert axes.seeds == ("", "")
    residuals = [axes.plane.projection(p)[1] for p in points]
    assert residuals[:3] == [0, 0, 0]
    assert min(residuals[3:]) > 0.1


def test_eigenvectors_of_a_known_hessian_in_the_kept_weights():
    spec = ParamSpec(("w",), ((2, 4),), "float64")
    kept = np.array([1, 0, 1, 1, 1, 1, 1, 1], dtype=bool)
    mask = Mask(spec, ("w",), kept)
    origin = Checkpoint(spec, mask.apply(np.ones(8)), mask, address="imp@1")
    bowl = quadratic(np.array([3.0, 100, 5, 1, 2, 7, -9, 4]))
    axes = eigenvector_axes(origin, 2, bowl, AtOnce(), split="train", places=None, seed=0)
    np.testing.assert_allclose(axes.facts["eigenvalue"], [7, 5], atol=1e-5)
    np.testing.assert_allclose(axes.plane.directions, np.eye(8)[[5, 2]], atol=1e-5)
    assert axes.plane.directions[:, 1].tolist() == [0, 0]
    assert not axes.spanned


def test_a_curvature_that_is_not_finite_is_said_so():
    broken = ClosedForm(lambda theta: np.full(len(theta), np.nan))
    with pytest.raises(LandscapeError, match="the curvature at imp@0 is not finite, so it has no"):
        eigenvector_axes(some(1)[0], 1, broken, AtOnce(), split="train", places=None, seed=0)


def test_principal_axes_start_at_the_last_checkpoint():
    points = some(6)
    axes = principal_axes(points, 2)
    assert axes.plane.corners == (points[-1],)
    assert axes.facts["explained_variance"].sum() < 1
    assert axes.spanned
    assert axes.words == ("principal component 1", "principal component 2")
