"""Overlap of masks: definitions, and the random-mask model against exact arithmetic."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import hypergeom

from landscape.analysis.overlap import OverlapSettings, mask_overlap, overlap
from landscape.analysis.random_masks import random_overlap
from landscape.data_store.errors import LandscapeError
from landscape.data_store.mask import Mask
from landscape.data_store.params import ParamSpec
from landscape.data_store.records import Checkpoint
from landscape.data_store.schemas.overlap import OVERLAP

SPEC = ParamSpec(("w1", "b1", "w2", "b2"), ((6, 10), (6,), (4, 6), (4,)))
PRUNABLE = ("w1", "w2")


def checkpoint(kept, theta=None, prunable=PRUNABLE, address="x.pt"):
    """A checkpoint that keeps what `kept` says of the prunable tensors."""
    mask = Mask.dense(SPEC, prunable)
    kept = np.where(mask.covered, kept, True)
    theta = np.ones(SPEC.size, np.float32) if theta is None else theta.astype(np.float32)
    mask = Mask(SPEC, prunable, kept)
    return Checkpoint(SPEC, mask.apply(theta), mask, address=address)


def random_pair(seed, density=0.4):
    rng = np.random.default_rng(seed)
    return tuple(
        checkpoint(rng.random(SPEC.size) < density, rng.normal(size=SPEC.size), address=name)
        for name in ("a.pt", "b.pt")
    )


def exact(layers, observed):
    """Expected Jaccard index and P(I >= observed) in rational arithmetic."""
    mass = {0: Fraction(1)}
    for n, a, b in layers:
        layer = {
            x: Fraction(math.comb(a, x) * math.comb(n - a, b - x), math.comb(n, b))
            for x in range(max(0, a + b - n), min(a, b) + 1)
        }
        mass_after = {}
        for (x, p), (y, q) in itertools.product(mass.items(), layer.items()):
            mass_after[x + y] = mass_after.get(x + y, 0) + p * q
        mass = mass_after
    kept = sum(a + b for _, a, b in layers)
    expected = sum(p * Fraction(x, kept - x) for x, p in mass.items())
    return expected, sum(p for x, p in mass.items() if x >= observed)


def log_of(fraction):
    return math.log(fraction.numerator) - math.log(fraction.denominator)


def chance(layers, observed):
    return random_overlap(*np.array(layers).T, observed)


def test_every_number_equals_its_definition():
    a, b = random_pair(0)
    ds = overlap(a, b, OverlapSettings())
    OVERLAP.validate(ds)
    assert list(ds["layer"].values) == ["all", "w1", "w2"]
    assert ds["pair"].item() == "a.pt b.pt"
    for layer in ds["layer"].values:
        names = PRUNABLE if layer == "all" else (layer,)
        found, truth, same, both = set(), set(), 0, 0
        for i in itertools.chain(*(range(*SPEC.slices[name].indices(SPEC.size)) for name in names)):
            found |= {i} if a.mask.kept[i] else set()
            truth |= {i} if b.mask.kept[i] else set()
            if a.mask.kept[i] and b.mask.kept[i]:
                both += 1
                same += (a.theta[i] > 0) == (b.theta[i] > 0)
        row = ds.sel(layer=layer).isel(pair=0)
        assert row["weights"] == sum(math.prod(SPEC.shape(name)) for name in names)
        assert (row["kept_a"], row["kept_b"]) == (len(found), len(truth))
        assert row["kept_both"] == len(found & truth) == both
        assert row["jaccard"].item() == len(found & truth) / len(found | truth)
        assert row["precision"].item() == len(found & truth) / len(found)
        assert row["recall"].item() == len(found & truth) / len(truth)
        harmonic = 2 / (1 / row["precision"].item() + 1 / row["recall"].item())
        assert row["f1"].item() == pytest.approx(harmonic, rel=1e-15)
        assert row["sign_agreement"].item() == same / both
        assert row["status"] == 0


def test_identical_masks_agree_fully():
    a, _ = random_pair(1)
    ds = overlap(a, a)
    for name in ("jaccard", "precision", "recall", "f1", "sign_agreement"):
        assert (ds[name] == 1).all()
    for layer in PRUNABLE:
        row = ds.sel(layer=layer).isel(pair=0)
        choices = math.comb(int(row["weights"]), int(row["kept_a"]))
        assert row["log_p_value"].item() == pytest.approx(-math.log(choices), rel=1e-13)


def test_disjoint_masks_do_not_overlap():
    kept = np.arange(SPEC.size) % 2 == 0
    ds = overlap(checkpoint(kept), checkpoint(~kept))
    for name in ("jaccard", "precision", "recall", "f1"):
        assert (ds[name] == 0).all()
    assert (ds["p_value"] == 1).all()
    assert np.isnan(ds["sign_agreement"]).all()
    assert (ds["status"] == 0).all()


@pytest.mark.parametrize("seed", range(5))
def test_swapping_the_masks_swaps_precision_and_recall(seed):
    a, b = random_pair(seed, density=0.2 + 0.15 * seed)
    ab, ba = overlap(a, b), overlap(b, a)
    for name in (
        *("weights", "kept_both", "jaccard", "f1", "sign_agreement", "status"),
        *("expected_jaccard", "p_value", "log_p_value"),
    ):
        np.testing.assert_array_equal(ab[name], ba[name])
    np.testing.assert_array_equal(ab["precision"], ba["recall"])
    np.testing.assert_array_equal(ab["kept_a"], ba["kept_b"])


def test_permuting_the_weights_of_a_layer_changes_nothing():
    a, b = random_pair(3)
    rng = np.random.default_rng(4)
    order = np.arange(SPEC.size)
    for name in SPEC.names:
        order[SPEC.slices[name]] = rng.permutation(order[SPEC.slices[name]])
    permuted = (checkpoint(c.mask.kept[order], c.theta[order], address=c.address) for c in (a, b))
    xr.testing.assert_identical(overlap(a, b), overlap(*permuted))


def test_layers_are_what_either_mask_may_prune():
    a, b = random_pair(5)
    ds = overlap(
        checkpoint(a.mask.kept, prunable=("w2",)), checkpoint(b.mask.kept, prunable=("w1",))
    )
    assert list(ds["layer"].values) == ["all", "w1", "w2"]
    assert ds["kept_a"].sel(layer="w1").item() == 60
    assert ds["precision"].sel(layer="w1").item() == ds["kept_b"].sel(layer="w1").item() / 60
    assert ds["log_p_value"].sel(layer="w1").item() == 0
    assert ds["expected_jaccard"].sel(layer="w1").item() == ds["jaccard"].sel(layer="w1").item()


def test_zero_agrees_with_zero_only():
    theta_a, theta_b = np.ones((2, SPEC.size))
    theta_a[:4], theta_b[:4] = (0, 0, -0.0, -1), (0, 1, 0, -2)
    ds = overlap(
        checkpoint(np.arange(SPEC.size) < 4, theta_a), checkpoint(np.arange(SPEC.size) < 4, theta_b)
    )
    assert ds["sign_agreement"].sel(layer="w1").item() == 0.75


def test_a_nan_weight_leaves_the_signs_of_its_layer_unknown():
    a, b = random_pair(6)
    theta = a.theta.copy()
    theta[SPEC.slices["w2"]] = np.nan
    signs = overlap(checkpoint(a.mask.kept, theta), b)["sign_agreement"].isel(pair=0)
    assert np.isnan(signs.sel(layer=["all", "w2"])).all()
    assert np.isfinite(signs.sel(layer="w1"))


@pytest.mark.parametrize("swap", [False, True])
def test_an_empty_mask_is_a_status(swap):
    kept = np.ones(SPEC.size, bool)
    kept[SPEC.slices["w2"]] = False
    pair = checkpoint(kept), checkpoint(np.ones(SPEC.size, bool))
    ds = overlap(*(reversed(pair) if swap else pair)).isel(pair=0)
    assert list(ds["status"].values) == [0, 0, 1]
    row = ds.sel(layer="w2")
    share, undefined = ("precision", "recall") if swap else ("recall", "precision")
    assert math.isnan(row[undefined].item())
    assert [row[name].item() for name in (share, "jaccard", "f1", "expected_jaccard")] == [0] * 4
    assert row["p_value"].item() == 1


def test_two_empty_masks_leave_every_share_unknown():
    none = checkpoint(np.zeros(SPEC.size, bool))
    ds = overlap(none, none)
    assert (ds["status"] == 1).all()
    for name in ("jaccard", "precision", "recall", "f1", "expected_jaccard", "sign_agreement"):
        assert np.isnan(ds[name]).all()
    assert (ds["p_value"] == 1).all()


def test_a_network_without_prunable_weights_has_only_the_row_of_all():
    nothing = checkpoint(np.ones(SPEC.size, bool), prunable=())
    ds = overlap(nothing, nothing)
    assert list(ds["layer"].values) == ["all"]
    assert ds["weights"].item() == 0
    assert ds["status"].item() == 1


def test_different_networks_are_refused():
    spec = ParamSpec(("w1",), ((6, 11),))
    other = Checkpoint(spec, np.ones(66, np.float32), Mask.dense(spec, ("w1",)), address="y.pt")
    with pytest.raises(LandscapeError, match=r"'w1' is \(6, 10\) in the first and \(6, 11\)"):
        overlap(random_pair(0)[0], other)


def test_expectation_and_tail_by_listing_every_pair_of_masks():
    layers = [(5, 2, 3), (4, 3, 2)]
    masks = [
        [
            [frozenset((i, w) for w in kept) for kept in itertools.combinations(range(n), k)]
            for k in (a, b)
        ]
        for i, (n, a, b) in enumerate(layers)
    ]
    shared = [
        sum(len(first & second) for first, second in zip(*pair, strict=True))
        for pair in itertools.product(
            itertools.product(*(m[0] for m in masks)), itertools.product(*(m[1] for m in masks))
        )
    ]
    jaccard = [x / (10 - x) for x in shared]
    for observed in range(5):
        expected, log_p = chance(layers, observed)
        assert expected == pytest.approx(np.mean(jaccard), rel=1e-14)
        assert math.exp(log_p) == pytest.approx(np.mean(np.array(shared) >= observed), rel=1e-14)


LAYERS = st.integers(1, 12).flatmap(
    lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(0, n))
)


@settings(max_examples=200, deadline=None)
@given(st.lists(LAYERS, min_size=1, max_size=3).filter(lambda ls: sum(a + b for _, a, b in ls)))
def test_small_layers_equal_rational_arithmetic(layers):
    least = sum(max(0, a + b - n) for n, a, b in layers)
    most = sum(min(a, b) for _, a, b in layers)
    for observed in range(least, most + 1):
        exact_expected, tail = exact(layers, observed)
        expected, log_p = chance(layers, observed)
        assert expected == pytest.approx(float(exact_expected), rel=1e-13)
        assert log_p == pytest.approx(log_of(tail), abs=1e-12)
    assert chance(layers, most + 1)[1] == -math.inf


@pytest.mark.parametrize("observed", [1, 60, 110, 126, 140, 180, 229, 249, 250])
def test_three_layers_far_into_both_tails_equal_rational_arithmetic(observed):
    layers = [(300, 120, 90), (500, 60, 400), (200, 100, 100)]
    exact_expected, tail = exact(layers, observed)
    expected, log_p = chance(layers, observed)
    assert expected == pytest.approx(float(exact_expected), rel=1e-14)
    if tail > 0.5:
        assert math.expm1(log_p) == pytest.approx(float(tail - 1), rel=1e-11)
    else:
        assert log_p == pytest.approx(log_of(tail), rel=1e-12)


@pytest.mark.parametrize(
    ("n", "a", "b"), [(2_000, 300, 500), (100_000, 20_000, 30_000), (235_200, 200_000, 190_000)]
)
@pytest.mark.parametrize("deviations", [-3, -0.5, 0, 0.5, 3, 8])
def test_one_layer_equals_scipy(n, a, b, deviations):
    reference = hypergeom(n, a, b)
    observed = int(reference.mean() + deviations * reference.std())
    expected, log_p = chance([(n, a, b)], observed)
    reach = 40 + int(12 * reference.std())
    x = np.arange(int(reference.mean()) - reach, int(reference.mean()) + reach)
    assert expected == pytest.approx(reference.pmf(x) @ (x / (a + b - x)), rel=1e-8)
    assert math.exp(log_p) == pytest.approx(reference.sf(observed - 1), rel=1e-7)


def test_nested_masks_of_a_large_network_underflow_only_in_p():
    sizes = [(235_200, 0.1), (30_000, 0.1), (1_000, 0.3)]
    layers = [(n, int(n * share), int(n * share * 0.8)) for n, share in sizes]
    log_p = chance(layers, sum(b for _, _, b in layers))[1]
    closed = sum(log_of(Fraction(math.comb(a, b), math.comb(n, b))) for n, a, b in layers)
    assert log_p == pytest.approx(closed, rel=1e-12)
    assert log_p < -50_000
    one_less = chance(layers, sum(b for _, _, b in layers) - 1)[1]
    two_less = chance(layers, sum(b for _, _, b in layers) - 2)[1]
    assert log_p < one_less < two_less < log_p + 50


def test_one_weight_short_of_nested_equals_rational_arithmetic():
    layers = [(3_000, 300, 240), (800, 200, 160), (100, 50, 45)]
    observed = 240 + 160 + 45 - 1
    tails = [
        [Fraction(math.comb(a, x) * math.comb(n - a, b - x), math.comb(n, b)) for x in (b, b - 1)]
        for n, a, b in layers
    ]
    nested = math.prod(tail[0] for tail in tails)
    tail = nested * (1 + sum(short / full for full, short in tails))
    assert chance(layers, observed)[1] == pytest.approx(log_of(tail), rel=1e-13)


def test_random_masks_are_a_fair_draw_of_the_model():
    layers, rng, repeats = [(60, 20, 30), (24, 5, 9)], np.random.default_rng(0), 4000
    jaccards, exceeded = [], []
    slices = [slice(0, 60), slice(60, 84)]
    for _ in range(repeats):
        kept = np.zeros((2, 84), bool)
        for mask, counts in zip(kept, ((20, 5), (30, 9)), strict=True):
            for layer, count in zip(slices, counts, strict=True):
                mask[layer.start + rng.permutation(layer.stop - layer.start)[:count]] = True
        both = np.count_nonzero(kept[0] & kept[1])
        jaccards.append(both / (64 - both))
        exceeded.append(both >= 14)
    expected, log_p = chance(layers, 14)
    for sample, truth in ((jaccards, expected), (exceeded, math.exp(log_p))):
        standard_error = np.std(sample, ddof=1) / math.sqrt(repeats)
        assert abs(np.mean(sample) - truth) < 4 * standard_error


def test_sixty_layers_of_ten_million_weights():
    n = np.full(60, 10**7)
    kept = n // 10
    both = kept // 10
    spread = math.sqrt(60 * hypergeom(10**7, 10**6, 10**6).var())
    for deviations in (0, 2, 6):
        log_p = random_overlap(n, kept, kept, int(both.sum() + deviations * spread))[1]
        normal = math.erfc(deviations / math.sqrt(2)) / 2
        assert math.exp(log_p) == pytest.approx(normal, rel=0.02)
    # nearly nested: below the best single tail times the number of ways to reach it
    far = random_overlap(n, kept, kept, int(kept.sum()) - 1000)[1]
    nested = random_overlap(n, kept, kept, int(kept.sum()))[1]
    assert nested < far < nested + 1000 * math.log(60 * 9e12)


def test_the_masks_alone_decide_the_array_floor():
    kept = np.array([1, 1, 0, 0, 1, 0], bool), np.array([1, 0, 1, 0, 1, 1], bool)
    numbers = mask_overlap(*kept, [slice(0, 4), slice(4, 6)])
    assert {name: list(numbers[name]) for name in ("weights", "kept_a", "kept_b", "kept_both")} == {
        "weights": [6, 4, 2],
        "kept_a": [3, 2, 1],
        "kept_b": [4, 2, 2],
        "kept_both": [2, 1, 1],
    }
    np.testing.assert_allclose(numbers["jaccard"], [2 / 5, 1 / 3, 1 / 2])
    np.testing.assert_allclose(numbers["p_value"], [5 / 6, 5 / 6, 1])
