"""Overlap of masks: definitions, and the random-mask model against exact arithmetic."""

import itertools
import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import hypergeom

from landscape.analysis.alignment.symmetry import Group, Member, Permutations, permuted_vector
from landscape.analysis.matched_masks import matched_counts
from landscape.analysis.overlap import (
    ANALYSIS,
    OverlapSettings,
    companions,
    mask_overlap,
    overlap,
)
from landscape.analysis.random_masks import random_overlap
from landscape.analysis.work import AtOnce
from landscape.data_store.errors import LandscapeError, UsageError
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
        assert row["false_positive"] == len(found - truth)
        assert row["false_negative"] == len(truth - found)
        assert row["true_negative"] == row["weights"] - len(found | truth)
        chance = sum(
            a.mask.layer(name).sum() * b.mask.layer(name).sum() / math.prod(SPEC.shape(name))
            for name in names
        )
        assert row["expected_precision"].item() == pytest.approx(chance / len(found), rel=1e-14)
        assert row["expected_recall"].item() == pytest.approx(chance / len(truth), rel=1e-14)


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
    of_units = ["units_a", "units_b", "units_both", "unit_precision", "unit_recall"]
    one, other = overlap(a, b), overlap(*permuted)
    xr.testing.assert_identical(one.drop_vars(of_units), other.drop_vars(of_units))


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
    shares = ("jaccard", "precision", "recall", "f1", "sign_agreement", "unit_recall")
    for name in (*shares, "expected_jaccard", "expected_precision", "expected_recall"):
        assert np.isnan(ds[name]).all()
    assert (ds["collapsed_a"] == 1).all()
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


HIDDEN = Permutations((Group(6, (Member("w1", 0), Member("b1", 0), Member("w2", 1))),))


class Perceptron:
    """The wiring of a perceptron of one hidden layer with the tensors of `SPEC`."""

    def units(self):
        return HIDDEN

    def on_a_path(self, kept):
        tensors = SPEC.unflatten(kept)
        used = tensors["w1"].any(1) & tensors["w2"].any(0)
        parts = {name: np.zeros(SPEC.shape(name), bool) for name in SPEC.names}
        parts["w1"] = tensors["w1"] & used[:, None]
        parts["w2"] = tensors["w2"] & used
        return np.concatenate([parts[name].ravel() for name in SPEC.names])


PATHS = ("effective_a", "effective_density_b", "connected_a", "connected_b")
MATCHED = ("matched_kept_both", "matched_jaccard", "matched_expected_jaccard", "matched_p_value")


def test_what_is_not_asked_for_is_unknown_and_says_so():
    ds = overlap(*random_pair(0))
    for name in (*PATHS, *MATCHED):
        assert np.isnan(ds[name]).all()
    for name in ("effective_status", "matched_status"):
        meanings = ds[name].attrs["flag_meanings"].split()
        assert meanings[int(ds[name].item())] == "not_asked_for"


@pytest.mark.parametrize("asked", [{"effective": True}, {"planted": True}])
def test_paths_are_counted_by_layer(asked):
    a, b = random_pair(1, density=0.1)
    ds = overlap(a, b, OverlapSettings(**asked), Perceptron())
    assert ds["effective_status"].item() == 0
    for which, point in (("a", a), ("b", b)):
        on_path = Perceptron().on_a_path(point.mask.kept)
        counts = [int(on_path[SPEC.slices[name]].sum()) for name in PRUNABLE]
        assert ds[f"effective_{which}"].values[0].tolist() == [sum(counts), *counts]
        density = ds[f"effective_density_{which}"].values[0]
        np.testing.assert_array_equal(density, np.array([sum(counts), *counts]) / [84, 60, 24])
        assert (ds[f"effective_{which}"] <= ds[f"kept_{which}"]).all()
        assert ds[f"connected_{which}"].item() == 1
    assert ds["effective_a"].values[0, 0] < ds["kept_a"].values[0, 0]
    assert np.isnan(ds["matched_jaccard"]).all()


def test_an_empty_layer_collapses_and_cuts_every_path():
    kept = np.ones(SPEC.size, bool)
    kept[SPEC.slices["w2"]] = False
    settings = OverlapSettings(effective=True)
    ds = overlap(checkpoint(kept), random_pair(2)[1], settings, Perceptron()).isel(pair=0)
    assert ds["collapsed_a"].values.tolist() == [1, 0, 1]
    assert ds["collapsed_b"].values.tolist() == [0, 0, 0]
    assert (ds["connected_a"], ds["connected_b"]) == (0, 1)
    assert ds["effective_a"].values.tolist() == [0, 0, 0]


def test_matching_finds_the_same_mask_on_other_units():
    a, _ = random_pair(3)
    orders = [np.random.default_rng(0).permutation(6)]
    kept = permuted_vector(HIDDEN, SPEC, a.mask.kept, orders)
    b = checkpoint(kept, permuted_vector(HIDDEN, SPEC, a.theta, orders), address="b.pt")
    ds = overlap(a, b, OverlapSettings(align="masks", draws=19, seed=5), Perceptron()).isel(pair=0)
    assert (ds["jaccard"].values < 1).all()
    for name in ("matched_jaccard", "matched_precision", "matched_recall", "matched_f1"):
        assert (ds[name] == 1).all()
    assert ds["matched_p_value"].sel(layer="all").item() == 1 / 20
    assert ds["matched_status"].item() == 0
    assert np.isnan(ds["effective_a"]).all()


@pytest.mark.parametrize("seed", range(4))
def test_matched_numbers_are_those_of_the_counts(seed):
    a, b = random_pair(seed, density=0.3)
    ds = overlap(a, b, OverlapSettings(align="masks", draws=7, seed=2), Perceptron()).isel(pair=0)
    found, chance = matched_counts(HIDDEN, a.mask, b.mask, PRUNABLE, draws=7, seed=2)
    for i, layer in enumerate(("all", *PRUNABLE)):
        row = ds.sel(layer=layer)
        both, draws = (found.sum(), chance.sum(1)) if not i else (found[i - 1], chance[:, i - 1])
        ka, kb = row["kept_a"].item(), row["kept_b"].item()
        assert row["matched_kept_both"] == both
        assert row["matched_jaccard"].item() == both / (ka + kb - both)
        assert row["matched_precision"].item() == both / ka
        assert row["matched_recall"].item() == both / kb
        assert row["matched_f1"].item() == 2 * both / (ka + kb)
        jaccards = [x / (ka + kb - x) for x in draws]
        assert row["matched_expected_jaccard"].item() == pytest.approx(np.mean(jaccards), rel=1e-14)
        assert row["matched_p_value"].item() == (1 + sum(x >= both for x in draws)) / 8
    assert ds["matched_kept_both"].values[0] >= ds["kept_both"].values[0]


@pytest.mark.parametrize("asked", [{"effective": True}, {"planted": True}, {"align": "masks"}])
def test_a_network_is_needed_for_what_masks_do_not_know(asked):
    settings = OverlapSettings(**asked)
    assert ANALYSIS.needs_landscape(settings)
    with pytest.raises(UsageError, match=r"units and paths .* there is no landscape; leave out"):
        overlap(*random_pair(0), settings)
    with pytest.raises(UsageError, match=r"units and paths .* this landscape has none; leave out"):
        overlap(*random_pair(0), settings, object())
    assert not ANALYSIS.needs_landscape(OverlapSettings())


def test_the_planted_truth_is_the_companion_of_each_checkpoint():
    a, b = (replace(c, level=3, address="imp@3", home="s") for c in random_pair(0))
    planted = OverlapSettings(planted=True)
    assert companions([a], planted) == ("imp@3.planted",)
    assert companions([a, b], OverlapSettings()) == ()
    assert companions([random_pair(0)[0]], planted) == ()
    assert ANALYSIS.grouping(planted).split([a, b]) == [[a], [b]]
    assert ANALYSIS.grouping(OverlapSettings()).split([a, b]) == [[a, b]]
    ds = ANALYSIS.compute([a, b], planted, Perceptron(), AtOnce())
    xr.testing.assert_identical(ds, overlap(a, b, planted, Perceptron()))


def test_nothing_planted_is_said():
    planted = OverlapSettings(planted=True)
    a = random_pair(0)[0]
    mine = replace(a, level=3, address="imp@3", home="s")
    with pytest.raises(UsageError, match="--planted, but run imp has nothing planted in its netw"):
        ANALYSIS.compute([mine, None], planted, Perceptron(), AtOnce())
    with pytest.raises(UsageError, match=r"--planted, but a\.pt, which is of no run, has nothing"):
        ANALYSIS.compute([a], planted, Perceptron(), AtOnce())


def test_every_choice_prints_variables_that_exist():
    for asked in itertools.product((False, True), (False, True), ("none", "masks")):
        settings = OverlapSettings(*asked)
        assert set(ANALYSIS.printed(settings)) <= set(OVERLAP.variables)
    plain = ("jaccard", "expected_jaccard", "precision", "recall", "sign_agreement")
    assert ANALYSIS.printed(OverlapSettings()) == plain
