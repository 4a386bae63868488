"""Directions against a naive transcription, and what makes them comparable across masks."""

from __future__ import annotations

import numpy as np
import pytest

from landscape.analysis.directions import (
    Filters,
    filter_normalised,
    filter_scales,
    gaussian,
    isotropic,
)
from landscape.data_store.params import ParamSpec

SPEC = ParamSpec(
    ("conv.weight", "conv.bias", "empty", "scale", "fc.weight"),
    ((4, 2, 3, 3), (4,), (0, 5), (), (3, 6)),
    "float64",
)


@pytest.fixture
def theta():
    return np.random.default_rng(1).standard_normal(SPEC.size)


@pytest.fixture
def kept():
    kept = np.random.default_rng(2).random(SPEC.size) < 0.5
    for name in ("conv.bias", "scale"):
        kept[SPEC.slices[name]] = True
    kept[: 2 * 3 * 3] = False  # the whole first filter
    return kept


def naive(draw, theta, kept, spec):
    """Filter after filter, as the formula has it: mask first, then the norm."""
    out = np.zeros(spec.size)
    tensors = spec.unflatten(theta * kept)
    masked = spec.unflatten(draw * kept)
    filled = spec.unflatten(out)
    for name, tensor in tensors.items():
        if tensor.ndim < 2:
            continue
        for f in range(len(tensor)):
            have = np.sqrt((masked[name][f] ** 2).sum())
            if have > 0:
                want = np.sqrt((tensor[f] ** 2).sum())
                filled[name][f] = masked[name][f] / have * want
    return out


def test_filter_normalised_is_the_formula(theta, kept):
    draws = gaussian(SPEC.size, 0, range(5))
    got = filter_normalised(draws, theta * kept, kept, SPEC)
    for row, draw in zip(got, draws, strict=True):
        np.testing.assert_allclose(row, naive(draw, theta, kept, SPEC), rtol=1e-13)


def test_every_filter_has_exactly_the_norm_of_its_weights_and_the_rest_does_not_move(theta, kept):
    got = filter_normalised(gaussian(SPEC.size, 3, [7]), theta * kept, kept, SPEC)[0]
    for name, tensor in SPEC.unflatten(got).items():
        weights = SPEC.unflatten(theta * kept)[name]
        if tensor.ndim < 2:
            assert not tensor.any()
        else:
            axes = tuple(range(1, tensor.ndim))
            norms = np.sqrt((tensor**2).sum(axis=axes))
            np.testing.assert_allclose(norms, np.sqrt((weights**2).sum(axis=axes)), rtol=1e-13)
    assert not got[~kept].any()
    assert not got[: 2 * 3 * 3].any()  # the filter that is pruned whole


def test_the_mask_goes_before_the_norm(theta, kept):
    """Trap: biases normalised, directions not masked before filter normalisation."""
    draw = gaussian(SPEC.size, 0, [0])
    late = filter_normalised(draw, theta * kept, np.ones(SPEC.size, bool), SPEC) * kept
    right = filter_normalised(draw, theta * kept, kept, SPEC)
    assert np.linalg.norm(late) < 0.95 * np.linalg.norm(right)


def test_filter_normalisation_forgets_the_scale_of_filters(theta, kept):
    """Rescaling a filter rescales its part of the direction and nothing else."""
    draw = gaussian(SPEC.size, 0, [0])
    before = filter_normalised(draw, theta * kept, kept, SPEC)[0]
    scaled = theta.copy()
    second = slice(18, 36)
    scaled[second] *= 10
    after = filter_normalised(draw, scaled * kept, kept, SPEC)[0]
    np.testing.assert_allclose(after[second], 10 * before[second], rtol=1e-13)
    after[second] = before[second]
    np.testing.assert_array_equal(after, before)


def test_isotropic_directions_are_unit_vectors_in_the_mask(kept):
    got = isotropic(gaussian(SPEC.size, 0, range(4)), kept)
    np.testing.assert_allclose(np.linalg.norm(got, axis=1), 1.0, rtol=1e-14)
    assert not got[:, ~kept].any()


def test_draws_are_gaussian_and_not_uniform():
    """Trap: directions drawn from U[0, 1]."""
    draws = gaussian(20_000, 0, range(3))
    assert abs(draws.mean()) < 0.02
    assert abs(draws.std() - 1) < 0.02
    assert abs((draws**4).mean() - 3) < 0.15
    cosines = np.corrcoef(draws)[np.triu_indices(3, 1)]
    assert np.abs(cosines).max() < 0.03


def test_a_draw_depends_on_its_seed_and_number_alone():
    together = gaussian(50, 5, [3, 9, 4])
    np.testing.assert_array_equal(gaussian(50, 5, [9])[0], together[1])
    assert not np.array_equal(gaussian(50, 6, [9])[0], together[1])
    assert not np.array_equal(together[0], together[1])
    assert gaussian(50, 5, []).shape == (0, 50)


def test_filters_cover_the_vector():
    filters = Filters.of(SPEC)
    assert filters.sizes.tolist() == [18] * 4 + [4] + [1] + [6] * 3
    assert filters.starts.tolist() == [0, 18, 36, 54, 72, 76, 77, 83, 89]
    assert filters.sizes.sum() == SPEC.size
    assert filters.inside.sum() == 72 + 18


def test_scales_are_root_mean_squares_of_the_kept_weights(theta, kept):
    got = filter_scales(theta * kept, kept, SPEC)
    assert not got[~kept].any()
    assert not got[SPEC.slices["conv.bias"]].any()
    second = np.arange(18, 36)[kept[18:36]]
    np.testing.assert_allclose(got[second], np.sqrt((theta[second] ** 2).mean()), rtol=1e-13)
    direction = filter_normalised(gaussian(SPEC.size, 0, [0]), theta * kept, kept, SPEC)[0]
    moved = got > 0
    in_units = direction[moved] / got[moved]
    np.testing.assert_allclose(np.linalg.norm(in_units), np.sqrt(moved.sum()), rtol=1e-13)
