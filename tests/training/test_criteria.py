"""Criteria: magnitude against its formula, random as a function of seed and level alone."""

from __future__ import annotations

import numpy as np
import pytest

from landscape.data_store.mask import Mask
from landscape.data_store.params import Array, ParamSpec
from landscape.training.criteria import Candidate, magnitude, random

SPEC = ParamSpec(("w", "b"), ((50, 40), (100,)))


def candidate(theta: Array | None = None, *, seed: int = 0, level: int = 1) -> Candidate:
    """A candidate that differs from another in what is given alone."""
    weights = np.linspace(-1, 1, SPEC.size, dtype=np.float32) if theta is None else theta
    return Candidate(weights, weights[::-1], Mask.dense(SPEC, ("w",)), seed, level)


def test_magnitude_is_the_absolute_value() -> None:
    theta = np.array([0.5, -2.0, 0.0, -0.0, -1e-30, 3.0] * 350, dtype=np.float32)
    expected = [0.5, 2.0, 0.0, 0.0, 1e-30, 3.0] * 350
    scores = magnitude(candidate(theta))
    assert scores.tolist() == np.float32(expected).tolist()
    assert theta[1] == -2.0  # not in place


def test_magnitude_does_not_see_signs_seed_or_level() -> None:
    theta = np.random.default_rng(0).standard_normal(SPEC.size)
    assert np.array_equal(magnitude(candidate(theta)), magnitude(candidate(-theta)))
    assert np.array_equal(magnitude(candidate(theta)), magnitude(candidate(theta, seed=5, level=9)))


def test_random_is_a_function_of_seed_and_level() -> None:
    theta = np.random.default_rng(0).standard_normal(SPEC.size)
    scores = random(candidate(seed=3, level=2))
    assert np.array_equal(scores, random(candidate(theta, seed=3, level=2)))
    assert scores.shape == (SPEC.size,)


@pytest.mark.parametrize(("seed", "level"), [(3, 3), (4, 2), (2, 3)])
def test_other_seeds_and_levels_draw_other_scores(seed: int, level: int) -> None:
    scores, others = random(candidate(seed=3, level=2)), random(candidate(seed=seed, level=level))
    assert not np.any(scores == others)
    correlation = np.corrcoef(scores, others)[0, 1]
    assert abs(correlation) < 5 / SPEC.size**0.5


def test_random_scores_are_uniform() -> None:
    scores = np.concatenate([random(candidate(level=level)) for level in range(10)])
    assert 0 <= scores.min() < scores.max() < 1
    tenths, _ = np.histogram(scores, bins=10, range=(0, 1))
    expected = len(scores) / 10
    assert np.abs(tenths - expected).max() < 5 * (expected * 0.9) ** 0.5  # standard errors


def test_random_leaves_the_global_generator_alone() -> None:
    before = np.random.get_state()[1].tolist()  # type: ignore[index, union-attr]
    random(candidate())
    assert np.random.get_state()[1].tolist() == before  # type: ignore[index, union-attr]
