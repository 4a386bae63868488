"""Criteria against their formulas, random as a function of seed and level alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from landscape.data_store.mask import Mask
from landscape.data_store.params import Array, ParamSpec
from landscape.training.criteria import (
    Candidate,
    Criterion,
    magnitude,
    magnitude_at_init,
    magnitude_largest,
    movement,
    random,
)

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


FORMULAS = [
    (magnitude, lambda theta, init: theta if theta > 0 else -theta),
    (magnitude_largest, lambda theta, init: -theta if theta > 0 else theta),
    (magnitude_at_init, lambda theta, init: init if init > 0 else -init),
    (movement, lambda theta, init: theta - init if theta > init else init - theta),
]


@pytest.mark.parametrize(("criterion", "formula"), FORMULAS)
def test_scores_are_the_formula_weight_by_weight(criterion: Criterion, formula: Any) -> None:
    theta, init = np.random.default_rng(0).standard_normal((2, SPEC.size))
    init[:3] = theta[:3]
    theta[3], init[4] = 0.0, -0.0
    given = Candidate(theta, init, Mask.dense(SPEC, ("w",)), seed=0, level=1)
    scores = criterion(given)
    expected = [formula(a, b) for a, b in zip(theta.tolist(), init.tolist(), strict=True)]
    assert scores.tolist() == expected
    other = Candidate(theta, init, Mask.dense(SPEC, ()), seed=7, level=5)
    assert criterion(other).tolist() == expected


def test_largest_first_is_the_opposite_order() -> None:
    theta = np.random.default_rng(0).standard_normal(SPEC.size)
    given = candidate(theta)
    assert (
        np.argsort(magnitude_largest(given)).tolist() == np.argsort(magnitude(given)).tolist()[::-1]
    )


def test_pruning_at_initialisation_does_not_see_the_training() -> None:
    init = np.random.default_rng(0).standard_normal(SPEC.size)
    mask = Mask.dense(SPEC, ("w",))
    scores = [
        magnitude_at_init(Candidate(theta, init, mask, 0, 1)).tobytes()
        for theta in np.random.default_rng(1).standard_normal((2, SPEC.size))
    ]
    assert scores[0] == scores[1] == np.abs(init).tobytes()


def test_a_weight_that_came_back_to_its_start_has_not_moved() -> None:
    init = np.float32([1.0, -2.0, 0.5, 3.0])
    theta = np.float32([1.0, 2.0, 0.25, -3.0])
    spec = ParamSpec(("w",), ((4,),))
    given = Candidate(theta, init, Mask.dense(spec, ("w",)), 0, 1)
    assert movement(given).tolist() == [0.0, 4.0, 0.25, 6.0]
    assert movement(given).dtype == np.float32
