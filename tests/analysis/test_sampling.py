"""Subsets of a split: random, nested, a function of the seed."""

from __future__ import annotations

import numpy as np
import pytest

from landscape.analysis.sampling import added, order, subset


def test_an_order_is_a_permutation_by_the_seed_alone():
    first, again, other = (order(50, seed) for seed in (1, 1, 2))
    assert sorted(first.tolist()) == list(range(50))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_subsets_are_nested_and_sorted():
    before: set[int] = set()
    for count in (1, 5, 20, 49):
        places = subset(50, count, seed=3).tolist()
        assert places == sorted(set(places))
        assert len(places) == count
        assert before <= set(places)
        before = set(places)


@pytest.mark.parametrize("count", [None, 50, 60])
def test_all_examples_are_none(count):
    assert subset(50, count, seed=3) is None


def test_what_is_added_makes_the_larger_subset_of_the_smaller():
    small, large = (set(subset(50, count, seed=3).tolist()) for count in (7, 30))
    further = added(50, 7, 30, seed=3).tolist()
    assert further == sorted(large - small)
    np.testing.assert_array_equal(added(50, 0, 30, seed=3), subset(50, 30, seed=3))
    assert added(50, 0, 50, seed=3) is None
    assert len(added(50, 30, 50, seed=3)) == 20


def test_every_example_is_drawn_as_often():
    drawn = sum(np.bincount(subset(10, 3, seed=s), minlength=10) for s in range(2000))
    assert (np.abs(drawn - 600) < 5 * np.sqrt(2000 * 0.3 * 0.7)).all()
