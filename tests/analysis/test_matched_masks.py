"""Masks of matched units: all orders tried, planted answers, and the test's own statistics."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from landscape.analysis.alignment.symmetry import Group, Member, Permutations, permuted_vector
from landscape.analysis.matched_masks import matched_counts
from landscape.data_store.mask import Mask
from landscape.data_store.params import ParamSpec

SPEC = ParamSpec(("w1", "b1", "w2", "b2", "w3"), ((4, 3), (4,), (3, 4), (3,), (2, 3)))
HIDDEN = Permutations(
    (
        Group(4, (Member("w1", 0), Member("b1", 0), Member("w2", 1))),
        Group(3, (Member("w2", 0), Member("b2", 0), Member("w3", 1))),
    )
)
WEIGHTS = ("w1", "w2", "w3")


def drawn(seed, density=0.4, prunable=WEIGHTS):
    dense = Mask.dense(SPEC, prunable)
    kept = np.random.default_rng(seed).random(SPEC.size) < density
    return Mask(SPEC, prunable, np.where(dense.covered, kept, True))


def shared(a, b, layers=WEIGHTS):
    return [int((a.layer(name) & b.layer(name)).sum()) for name in layers]


def best(a, b):
    """The most weights that both keep under any order of the hidden units."""
    orders = itertools.product(itertools.permutations(range(4)), itertools.permutations(range(3)))
    return max(
        sum(shared(a, Mask(SPEC, WEIGHTS, permuted_vector(HIDDEN, SPEC, b.kept, order))))
        for order in ([np.array(one) for one in both] for both in orders)
    )


def test_no_order_of_the_units_is_better():
    reached = 0
    for seed in range(30):
        a, b = drawn(seed), drawn(1000 + seed)
        found, _ = matched_counts(HIDDEN, a, b, WEIGHTS, draws=1, seed=0)
        assert sum(shared(a, b)) <= found.sum() <= best(a, b)
        reached += found.sum() == best(a, b)
    assert reached >= 25  # coordinate descent ends in a local optimum now and then


@pytest.mark.parametrize("seed", range(10))
def test_a_mask_on_other_units_is_found(seed):
    rng = np.random.default_rng(seed)
    spec = ParamSpec(("w1", "w2", "w3"), ((40, 8), (40, 40), (3, 40)))
    hidden = Permutations(
        (
            Group(40, (Member("w1", 0), Member("w2", 1))),
            Group(40, (Member("w2", 0), Member("w3", 1))),
        )
    )
    a = Mask(spec, spec.names, rng.random(spec.size) < 0.1)
    b = Mask(spec, spec.names, permuted_vector(hidden, spec, a.kept, hidden.drawn(rng)))
    found, chance = matched_counts(hidden, a, b, spec.names, draws=5, seed=seed)
    assert found.sum() >= sum(shared(a, a, spec.names)) - 1
    assert (chance.sum(axis=1) < 0.6 * found.sum()).all()


def test_it_is_the_same_whichever_numbering_the_second_has():
    rng = np.random.default_rng(0)
    a, b = drawn(0), drawn(1)
    counts = {
        int(matched_counts(HIDDEN, a, other, WEIGHTS, draws=1, seed=0)[0].sum())
        for other in [
            Mask(SPEC, WEIGHTS, permuted_vector(HIDDEN, SPEC, b.kept, HIDDEN.drawn(rng)))
            for _ in range(20)
        ]
    }
    assert max(counts) - min(counts) <= 1
    assert max(counts) == best(a, b)


def test_what_nobody_may_prune_does_not_decide():
    """Biases are kept everywhere; they would be equal under any order."""
    a, b = drawn(2, prunable=("w2",)), drawn(3, prunable=("w2",))
    found, chance = matched_counts(HIDDEN, a, b, ("w2",), draws=3, seed=0)
    assert found.shape == (1,)
    assert chance.shape == (3, 1)
    columns = [a.layer("w2").reshape(3, 4), b.layer("w2").reshape(3, 4)]
    every = itertools.product(itertools.permutations(range(3)), itertools.permutations(range(4)))
    assert found[0] <= max((columns[0] & columns[1][list(p)][:, list(q)]).sum() for p, q in every)


def test_random_masks_keep_as_much_of_every_layer_and_are_named_by_the_seed():
    a, b = drawn(4), drawn(5)
    one = matched_counts(HIDDEN, a, b, WEIGHTS, draws=6, seed=1)
    again = matched_counts(HIDDEN, a, b, WEIGHTS, draws=6, seed=1)
    more = matched_counts(HIDDEN, a, b, WEIGHTS, draws=9, seed=1)
    other = matched_counts(HIDDEN, a, b, WEIGHTS, draws=6, seed=2)
    np.testing.assert_array_equal(one[1], again[1])
    np.testing.assert_array_equal(one[1], more[1][:6])
    assert not np.array_equal(one[1], other[1])
    most = [min(a.layer(name).sum(), b.layer(name).sum()) for name in WEIGHTS]
    assert (one[1] <= most).all()


def test_full_layers_leave_nothing_to_chance():
    dense = Mask.dense(SPEC, WEIGHTS)
    found, chance = matched_counts(HIDDEN, dense, drawn(6), WEIGHTS, draws=4, seed=0)
    assert (chance == found).all()
    assert found.tolist() == shared(dense, drawn(6))


@pytest.mark.slow
def test_a_random_first_mask_is_rarely_called_found():
    """P(p <= 1/10) is at most 1/10 if the first mask is random: the ranks are exchangeable."""
    truth, small, trials = drawn(7), 0, 300
    for trial in range(trials):
        found, chance = matched_counts(HIDDEN, drawn(trial), truth, WEIGHTS, draws=9, seed=trial)
        small += (1 + (chance.sum(axis=1) >= found.sum()).sum()) / 10 <= 0.1
    assert small / trials < 0.1 + 3 * np.sqrt(0.09 / trials)
