"""Pruning: exact counts, ties by position and nested masks against a naive sort."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landscape.data_store.errors import LandscapeError
from landscape.data_store.mask import Mask
from landscape.data_store.params import Array, ParamSpec
from landscape.data_store.records import RunConfig
from landscape.training.criteria import Candidate, magnitude
from landscape.training.prune import chosen, prune
from landscape.training.schedule import kept_counts

LENET = ParamSpec(
    ("fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias", "fc3.weight", "fc3.bias"),
    ((300, 784), (300,), (100, 300), (100,), (10, 100), (10,)),
)
LENET_FRACTIONS = {"fc1.weight": 0.2, "fc2.weight": 0.2, "fc3.weight": 0.1}
KINDS = {
    "w": "fc",
    "small": "fc",
    "large": "conv",
    "t0": "fc",
    "t1": "conv",
    "t2": "output",
    "fc1.weight": "fc",
    "fc2.weight": "fc",
    "fc3.weight": "output",
}


def pruned(
    scores: Array,
    mask: Mask,
    fc: float,
    conv: float = 0.0,
    output: float = 0.0,
    *,
    scope: str = "layer",
) -> Mask:
    """The next mask by fractions of the surviving weights; globally `fc` of all."""
    config = RunConfig(
        scope=scope,
        pruning_fraction=fc,
        pruning_fraction_conv=conv,
        pruning_fraction_output=output,
    )
    return prune(scores, mask, kept_counts(config, KINDS, mask, 1))


def one_layer(size: int) -> Mask:
    """A dense mask of one prunable layer between two biases."""
    spec = ParamSpec(("before", "w", "after"), ((3,), (size, 1), (2,)))
    return Mask.dense(spec, ("w",))


def lowest(scores: list[float], positions: list[int], count: int) -> set[int]:
    """The positions of the lowest scores, the earliest of equal ones first, by bubbling."""
    left, gone = list(positions), set()
    for _ in range(count):
        worst = left[0]
        for position in left:
            if scores[position] < scores[worst]:
                worst = position
        left.remove(worst)
        gone.add(worst)
    return gone


def naive_prune(scores: Array, mask: Mask, fractions: dict[str, float], scope: str) -> list[bool]:
    """The kept weights, one by one."""
    values, kept = scores.tolist(), mask.kept.tolist()
    alive: dict[str, list[int]] = {}
    start = 0
    for name, shape in zip(mask.spec.names, mask.spec.shapes, strict=True):
        size = int(np.prod(shape))
        if name in fractions:
            alive[name] = [i for i in range(start, start + size) if kept[i]]
        start += size
    if scope == "global":
        wanted = round(sum(fractions[name] * len(places) for name, places in alive.items()))
        gone = lowest(values, sorted(itertools.chain(*alive.values())), wanted)
    else:
        gone = set()
        for name, places in alive.items():
            gone |= lowest(values, places, round(fractions[name] * len(places)))
    return [bool(kept[i]) and i not in gone for i in range(len(kept))]


@st.composite
def cases(draw: st.DrawFn) -> tuple[Array, Mask, dict[str, float]]:
    """A few layers, one of them not prunable, with a mask, fractions and scores full of ties."""
    sizes = draw(st.lists(st.integers(1, 25), min_size=2, max_size=4))
    names = tuple(f"t{i}" for i in range(len(sizes)))
    spec = ParamSpec(names, tuple((size,) for size in sizes))
    prunable = names[:-1]
    dense = Mask.dense(spec, prunable)
    drawn = draw(st.lists(st.booleans(), min_size=spec.size, max_size=spec.size))
    values = st.sampled_from([0.0, -0.0, 1.0, 1.0, 2.0, 3.5, np.inf, -1.0])
    scores = np.array(draw(st.lists(values, min_size=spec.size, max_size=spec.size)))
    fractions = {name: draw(st.floats(0, 1)) for name in prunable}
    return scores, Mask(spec, prunable, np.array(drawn) | ~dense.covered), fractions


@given(cases(), st.sampled_from(["layer", "global"]))
def test_a_naive_sort_keeps_the_same_weights(
    case: tuple[Array, Mask, dict[str, float]], scope: str
) -> None:
    scores, mask, fractions = case
    if scope == "global":
        fractions = dict.fromkeys(fractions, fractions["t0"])
    before = mask.kept.copy()
    smaller = pruned(scores, mask, *fractions.values(), scope=scope)
    assert smaller.kept.tolist() == naive_prune(scores, mask, fractions, scope)
    assert smaller.is_within(mask)
    assert np.array_equal(mask.kept, before)


@given(st.integers(1, 5000), st.floats(0, 1), st.integers(0, 100))
def test_trap_an_off_by_one_that_overprunes(size: int, fraction: float, seed: int) -> None:
    mask = one_layer(size)
    scores = np.random.default_rng(seed).standard_normal(mask.spec.size)
    once = pruned(scores, mask, fraction)
    assert once.kept_size == size - round(fraction * size)
    twice = pruned(scores, once, fraction)
    assert twice.kept_size == once.kept_size - round(fraction * once.kept_size)


@given(st.integers(1, 2000), st.floats(0, 1))
def test_trap_ties_that_overprune(size: int, fraction: float) -> None:
    mask = one_layer(size)
    layer = pruned(np.ones(mask.spec.size), mask, fraction).layer("w")
    gone = round(fraction * size)
    assert not layer[:gone].any()
    assert layer[gone:].all()


@pytest.mark.parametrize(("size", "gone"), [(15, 2), (25, 2), (35, 4), (5, 0), (4, 0), (6, 1)])
def test_halves_are_rounded_to_even(size: int, gone: int) -> None:
    mask = one_layer(size)
    assert pruned(np.arange(mask.spec.size), mask, 0.1).kept_size == size - gone


@pytest.mark.parametrize("scope", ["layer", "global"])
def test_fraction_0_removes_nothing_and_1_everything(scope: str) -> None:
    scores = np.random.default_rng(0).standard_normal(LENET.size)
    dense = Mask.dense(LENET, tuple(LENET_FRACTIONS))
    nothing = pruned(scores, dense, 0.0, 0.0, 0.0, scope=scope)
    assert nothing.kept.all()
    everything = pruned(scores, dense, 1.0, 1.0, 1.0, scope=scope)
    assert everything.kept_size == 0
    assert everything.kept.sum() == 410  # the biases
    again = pruned(scores, everything, 1.0, 1.0, 1.0, scope=scope)
    assert again.kept_size == 0


def test_the_ladder_of_lenet_is_that_of_the_paper() -> None:
    draws = np.random.default_rng(0)
    masks = [Mask.dense(LENET, tuple(LENET_FRACTIONS))]
    for _ in range(11):
        masks.append(pruned(draws.random(LENET.size), masks[-1], fc=0.2, output=0.1))
    # Frankle & Carbin (2019), figures 3 and 4: percent of weights remaining
    ladder = [100.0, 80.0, 64.1, 51.3, 41.1, 32.9, 26.3, 21.1, 16.9, 13.5, 10.8, 8.7]
    assert [round(100 * mask.density, 1) for mask in masks] == ladder
    for before, after in itertools.pairwise(masks):
        assert after.is_within(before)
        assert not before.is_within(after)


def test_twelve_levels_are_nested_under_global_scope() -> None:
    draws = np.random.default_rng(1)
    mask = Mask.dense(LENET, tuple(LENET_FRACTIONS))
    size = mask.kept_size
    for _ in range(12):
        smaller = pruned(draws.random(LENET.size), mask, 0.2, scope="global")
        assert smaller.is_within(mask)
        size -= round(sum(0.2 * np.count_nonzero(mask.layer(n)) for n in LENET_FRACTIONS))
        assert smaller.kept_size == size
        mask = smaller


def test_global_scope_compares_across_layers() -> None:
    spec = ParamSpec(("small", "large"), ((10,), (10,)))
    mask = Mask.dense(spec, spec.names)
    scores = np.concatenate([np.arange(10.0), 100 + np.arange(10.0)])
    together = pruned(scores, mask, 0.4, scope="global")
    assert np.count_nonzero(together.layer("small")) == 2
    assert together.layer("large").all()
    # 0.25 of 10 twice: each layer alone rounds 2.5 to 2, together they lose 5
    assert pruned(scores, mask, 0.25, 0.25).kept_size == 16
    assert pruned(scores, mask, 0.25, scope="global").kept_size == 15


def test_trap_negative_weights_are_kept_by_their_magnitude() -> None:
    mask = one_layer(8)
    weights = [0.1, -5.0, 0.2, -4.0, 3.0, -0.3, 0.05, -0.01]
    theta = np.array([9.0] * 3 + weights + [9.0] * 2, dtype=np.float32)
    candidate = Candidate(theta, theta, mask, seed=0, level=1)
    kept = pruned(magnitude(candidate), mask, 0.625).layer("w")
    assert kept.tolist() == [False, True, False, True, True, False, False, False]
    mirrored = Candidate(-theta, theta, mask, seed=0, level=1)
    assert np.array_equal(pruned(magnitude(mirrored), mask, 0.625).layer("w"), kept)


@pytest.mark.parametrize("scope", ["layer", "global"])
def test_nan_scores_are_refused(scope: str) -> None:
    mask = one_layer(8)
    scores = np.arange(mask.spec.size, dtype=np.float64)
    scores[5] = np.nan
    with pytest.raises(LandscapeError, match="some surviving weights have NaN scores"):
        pruned(scores, mask, 0.5, scope=scope)


@pytest.mark.parametrize("scope", ["layer", "global"])
def test_scores_of_pruned_and_other_weights_are_not_looked_at(scope: str) -> None:
    mask = one_layer(8)
    scores = np.arange(mask.spec.size, dtype=np.float64)
    half = pruned(scores, mask, 0.5, scope=scope)
    scores[~half.kept | ~half.covered] = np.nan
    quarter = pruned(scores, half, 0.5, scope=scope)
    assert quarter.layer("w").tolist() == [False] * 6 + [True] * 2
    assert quarter.kept[~quarter.covered].all()


@given(cases(), st.booleans(), st.booleans(), st.data())
def test_any_count_is_kept_exactly(
    case: tuple[Array, Mask, dict[str, float]], nested: bool, together: bool, data: st.DataObject
) -> None:
    scores, mask, _ = case
    values, places, start = scores.tolist(), {}, 0
    for name, (size,) in zip(mask.spec.names, mask.spec.shapes, strict=True):
        if name in mask.prunable:
            positions = range(start, start + size)
            places[name] = [i for i in positions if mask.kept[i] or not nested]
        start += size
    everywhere = sorted(itertools.chain(*places.values()))
    keep: int | dict[str, int]
    if together:
        keep = data.draw(st.integers(0, len(everywhere)))
        gone = lowest(values, everywhere, len(everywhere) - keep)
    else:
        keep = {name: data.draw(st.integers(0, len(found))) for name, found in places.items()}
        gone = set()
        for name, found in places.items():
            gone |= lowest(values, found, len(found) - keep[name])
    after = prune(scores, mask, keep, nested=nested)
    expected = {*everywhere} - gone
    assert set(np.flatnonzero(after.kept & after.covered).tolist()) == expected
    assert after.kept[~after.covered].all()
    assert after.is_within(mask) or not nested


def test_pruned_weights_come_back_where_masks_are_not_nested() -> None:
    mask = one_layer(6)
    scores = np.array([9.0] * 3 + [5, 1, 4, 2, 3, 0] + [9.0] * 2)
    first = prune(scores, mask, {"w": 2})
    assert first.layer("w").tolist() == [True, False, True, False, False, False]
    reversed_scores = -scores
    free = prune(reversed_scores, first, {"w": 2}, nested=False)
    assert free.layer("w").tolist() == [False, True, False, False, False, True]
    assert prune(reversed_scores, first, {"w": 2}).layer("w").tolist() == first.layer("w").tolist()


@pytest.mark.parametrize("keep", [5, {"w": 5}, -1, {"w": -1}])
def test_a_count_that_cannot_be_kept_is_refused(keep: int | dict[str, int]) -> None:
    mask = one_layer(8)
    scores = np.arange(mask.spec.size, dtype=np.float64)
    half = prune(scores, mask, {"w": 4})
    number = keep if isinstance(keep, int) else keep["w"]
    with pytest.raises(LandscapeError, match=rf"^cannot keep {number} of 4 weights"):
        prune(scores, half, keep)
    if number > 0:
        assert prune(scores, half, keep, nested=False).kept_size == 5


def test_nan_scores_of_weights_that_may_come_back_are_refused() -> None:
    mask = one_layer(8)
    scores = np.arange(mask.spec.size, dtype=np.float64)
    half = prune(scores, mask, 4)
    scores[3] = np.nan  # pruned
    assert prune(scores, half, 2).kept_size == 2
    with pytest.raises(LandscapeError, match="some prunable weights have NaN scores"):
        prune(scores, half, 2, nested=False)


@pytest.mark.parametrize("nested", [True, False])
def test_in_rounds_the_masks_between_are_what_is_scored(nested: bool) -> None:
    mask, init = one_layer(30), np.zeros(0)
    theta = np.random.default_rng(0).standard_normal(mask.spec.size)
    start = prune(np.abs(theta), mask, 20)

    def lonely(candidate: Candidate) -> Array:
        """Weights whose neighbours are kept go first."""
        kept = candidate.mask.kept.astype(float)
        return np.abs(candidate.theta) - np.roll(kept, 1) - np.roll(kept, -1)

    given = Candidate(theta, init, start, seed=0, level=2)
    expected = start
    for count in (14, 10, 7, 5):  # 20 (1/4)^(r/4)
        expected = prune(
            lonely(Candidate(theta, init, expected, 0, 2)), expected, count, nested=nested
        )
    found = chosen(lonely, given, 5, nested=nested, rounds=4)
    assert np.array_equal(found.kept, expected.kept)
    once = chosen(lonely, given, 5, nested=nested, rounds=1)
    assert np.array_equal(once.kept, prune(lonely(given), start, 5, nested=nested).kept)
    assert not np.array_equal(once.kept, found.kept)
