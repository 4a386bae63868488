"""Ends: projection on shared masks, distances in closed form, and what a landscape may lack."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, replace

import numpy as np
import pytest

from landscape.analysis.ends import aligned, distances, projected, repaired
from landscape.data_store.errors import UsageError
from landscape.data_store.mask import Mask
from landscape.data_store.params import ParamSpec
from landscape.data_store.records import Checkpoint
from tests.support.landscapes import at, double_well

SPEC = ParamSpec(("w", "b"), ((2, 2), (2,)), "float64")


def checkpoint(weights, kept=(1, 1, 1, 1), bias=(0.0, 0.0)) -> Checkpoint:
    """Four prunable weights and two that are never pruned."""
    mask = Mask(SPEC, ("w",), np.array([*kept, 1, 1], dtype=bool))
    return Checkpoint(SPEC, mask.apply(np.array([*weights, *bias], dtype=np.float64)), mask)


DENSE = checkpoint([1.0, -2.0, 3.0, 4.0], bias=(5.0, 6.0))
SPARSE = checkpoint([1.0, 2.0, 3.0, 4.0], kept=(1, 0, 1, 0))
CROSSING = checkpoint([1.0, 2.0, 3.0, 4.0], kept=(0, 0, 1, 1))


@pytest.mark.parametrize("turned", [False, True])
def test_of_nested_masks_the_denser_end_moves_into_the_sparser_subspace(turned):
    pair = (SPARSE, DENSE) if turned else (DENSE, SPARSE)
    found = projected(*pair)
    dense, sparse = found[::-1] if turned else found
    assert dense.theta.tolist() == [1.0, 0.0, 3.0, 0.0, 5.0, 6.0]
    assert sparse.theta.tobytes() == SPARSE.theta.tobytes()
    assert not np.signbit(dense.theta[1])  # +0.0
    for one in found:
        assert one.mask.kept.tolist() == SPARSE.mask.kept.tolist()


def test_of_other_masks_both_ends_move_into_the_intersection():
    first, second = projected(SPARSE, CROSSING)
    assert first.theta.tolist() == second.theta.tolist() == [0.0, 0.0, 3.0, 0.0, 0.0, 0.0]
    assert first.mask.kept_size == second.mask.kept_size == 1


def test_statistics_of_a_projected_end_are_its_own():
    buffers = {"mean": np.array([1.0, 2.0])}
    dense, _ = projected(replace(DENSE, buffers=buffers), replace(SPARSE, buffers=buffers))
    assert dense.point.tolist()[-2:] == [1.0, 2.0]


def test_distances_of_two_vectors_at_a_known_angle():
    a = checkpoint([3.0, 0.0, 0.0, 0.0], bias=(0.0, 0.0))
    for angle in (0.0, 1e-9, 0.5, math.pi / 2, 3.0, math.pi):
        b = checkpoint([2 * math.cos(angle), 2 * math.sin(angle), 0.0, 0.0], bias=(7.0, 0.0))
        found = distances(a, b)
        assert found["angular_distance"] == pytest.approx(2 * angle / math.pi, rel=1e-6)
        chord = math.sqrt(9 + 4 - 12 * math.cos(angle))
        assert found["shared_distance"] == pytest.approx(chord)
        assert found["distance"] == pytest.approx(math.hypot(chord, 7.0))


def test_shared_distances_are_over_the_weights_that_both_keep():
    found = distances(DENSE, SPARSE)
    assert found["distance"] == pytest.approx(math.sqrt(4 + 16 + 25 + 36))
    assert found["shared_distance"] == found["angular_distance"] == 0.0
    assert found["sign_agreement"] == 1.0


def test_signs_are_compared_one_by_one():
    other = checkpoint([1.0, 2.0, -3.0, 0.0])
    assert distances(DENSE, other)["sign_agreement"] == 0.25


def test_distances_are_the_same_from_either_side():
    draws = np.random.default_rng(0).normal(size=(2, 4))
    a, b = checkpoint(draws[0], (1, 1, 1, 0)), checkpoint(draws[1], (0, 1, 1, 1))
    assert distances(a, b) == distances(b, a)
    cosine = draws[0, 1:3] @ draws[1, 1:3] / math.prod(np.linalg.norm(draws[:, 1:3], axis=1))
    assert distances(a, b)["angular_distance"] == pytest.approx(2 * math.acos(cosine) / math.pi)


@pytest.mark.parametrize("other", [[0.0, 0.0, 0.0, 0.0], [np.nan, 1, 1, 1], [np.inf, 1, 1, 1]])
def test_an_angle_with_nothing_is_unknown(other):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert math.isnan(distances(DENSE, checkpoint(other))["angular_distance"])


def test_without_shared_weights_angle_and_signs_are_unknown():
    found = distances(SPARSE, checkpoint([1.0, 2.0, 3.0, 4.0], kept=(0, 1, 0, 1)))
    assert found["shared_distance"] == 0.0
    assert math.isnan(found["angular_distance"])
    assert math.isnan(found["sign_agreement"])


@dataclass
class Turning:
    """Aligns by negating, and says what it was asked."""

    asked: tuple = ()

    def aligned(self, a, b, how, seed):
        self.asked = (a, b, how, seed)
        return replace(b, theta=-b.theta)

    def repaired(self, a, b):
        self.asked = (a, b)
        return double_well(5.0)


def test_a_landscape_that_can_is_asked_to_align_and_to_repair():
    turning, a, b = Turning(), at(1.0), at(-1.0)
    assert aligned(turning, a, b, "weights", 7).theta.tolist() == [1.0]
    assert turning.asked == (a, b, "weights", 7)
    assert repaired(turning, a, b).loss(np.zeros((1, 1))).tolist() == [5.0]
    assert turning.asked == (a, b)


def test_one_that_cannot_is_refused_in_a_sentence():
    with pytest.raises(UsageError, match="align is weights, but this landscape does not say which"):
        aligned(double_well(1.0), at(1.0), at(-1.0), "weights", 0)
    with pytest.raises(UsageError, match="repair is asked for, but this landscape cannot set"):
        repaired(double_well(1.0), at(1.0), at(-1.0))
