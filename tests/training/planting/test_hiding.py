"""Hiding quality: a naive count, and mothers in which a ticket is plain or lost."""

from __future__ import annotations

import numpy as np
import pytest

from landscape.data_store.errors import UsageError
from landscape.data_store.params import Array, ParamSpec
from landscape.training.planting.chain import Link
from landscape.training.planting.hiding import Hiding, hiding

SPEC = ParamSpec(("a", "ab", "b", "c"), ((30, 4), (30,), (20, 30), (2, 20)))
LINKS = (Link("a", "ab", 30, 4, 1), Link("b", None, 20, 30, 1), Link("c", None, 2, 20, 1))


def normal(seed: int = 0) -> Array:
    """A mother of normal weights."""
    return np.random.default_rng(seed).standard_normal(SPEC.size).astype(np.float32)


def kept_at(share: float, seed: int = 1) -> Array:
    """Random entries."""
    return np.random.default_rng(seed).random(SPEC.size) < share


def naive(theta: Array, kept: Array) -> dict[str, list[float]]:
    """Per layer: percentiles by counting, and how many planted are among the k largest."""
    answers: dict[str, list[float]] = {"mean": [], "median": [], "lowest": [], "highest": []}
    answers["found"] = []
    for name in ("a", "b", "c"):
        values = [abs(float(v)) for v in theta[SPEC.slices[name]]]
        planted = [i for i, k in enumerate(kept[SPEC.slices[name]]) if k]
        places = []
        for i in planted:
            below = sum(v < values[i] for v in values)
            ties = sum(v == values[i] for v in values)
            places.append(100 * (below + ties / 2) / len(values))
        order = sorted(range(len(values)), key=lambda i: -values[i])[: len(planted)]
        answers["mean"].append(sum(places) / len(places))
        answers["median"].append(float(np.median(places)))
        answers["lowest"].append(min(places))
        answers["highest"].append(max(places))
        answers["found"].append(len(set(order) & set(planted)) / len(planted))
    return answers


@pytest.mark.parametrize("share", [0.05, 0.4, 1.0])
def test_against_a_naive_count(share: float) -> None:
    theta, kept = normal(), kept_at(share)
    answer, expected = hiding(SPEC, LINKS, theta, kept), naive(theta, kept)
    assert answer.layers == ("a", "b", "c")
    for field, values in expected.items():
        assert getattr(answer, field) == pytest.approx(values), field


def test_biases_do_not_count() -> None:
    theta, kept = normal(), kept_at(0.2)
    kept[SPEC.slices["ab"]] = True
    changed = theta.copy()
    changed[SPEC.slices["ab"]] = 1e6
    assert same(hiding(SPEC, LINKS, theta, kept), hiding(SPEC, LINKS, changed, kept))
    assert hiding(SPEC, LINKS, theta, kept).planted.sum() == sum(
        kept[SPEC.slices[name]].sum() for name in ("a", "b", "c")
    )


def same(one: Hiding, two: Hiding) -> bool:
    """True if two answers are equal."""
    return all(
        np.array_equal(getattr(one, field), getattr(two, field), equal_nan=field != "layers")
        for field in vars(one)
    )


def test_a_ticket_of_large_weights_is_found_and_of_small_ones_is_not() -> None:
    kept = kept_at(0.1)
    large = hiding(SPEC, LINKS, np.where(kept, 100, 1) * (1 + kept_at(0.5, 2)), kept)
    assert large.found.tolist() == [1, 1, 1]
    assert large.found_globally == 1
    assert (large.lowest > 80).all()
    small = hiding(SPEC, LINKS, np.where(kept, 0.01, 1.0), kept)
    assert small.found.tolist() == [0, 0, 0]
    assert small.found_globally == 0
    assert (small.highest < 10).all()


def test_random_entries_are_at_fifty_percent_and_found_by_chance() -> None:
    """The mean percentile of m random entries has standard error 28.9 / sqrt(m)."""
    answers = [hiding(SPEC, LINKS, normal(i), kept_at(0.1, i + 100)) for i in range(200)]
    means = np.nanmean([answer.mean for answer in answers], axis=0)
    entries = np.sum([answer.planted for answer in answers], axis=0)
    assert np.abs((means - 50) / (28.9 / np.sqrt(entries))).max() < 5
    found = np.mean([answer.found_globally for answer in answers])
    assert found == pytest.approx(0.1, abs=0.02)


def test_large_weights_of_one_layer_hide_another_globally() -> None:
    theta = np.full(SPEC.size, 0.5)
    theta[SPEC.slices["b"]] = 10.0
    kept = np.zeros(SPEC.size, dtype=bool)
    kept[0] = True
    theta[0] = 1.0
    answer = hiding(SPEC, LINKS, theta, kept)
    assert answer.found[0] == 1
    assert answer.found_globally == 0


def test_ties_at_the_threshold_count_by_chance() -> None:
    """Of 120 equal weights 30 are planted: 30 drawn of them have a quarter in common."""
    kept = np.zeros(SPEC.size, dtype=bool)
    kept[:30] = True
    answer = hiding(SPEC, LINKS, np.ones(SPEC.size), kept)
    assert answer.found[0] == pytest.approx(0.25)
    assert answer.mean[0] == pytest.approx(50)


def test_a_layer_without_planted_weights_has_no_percentile() -> None:
    kept = kept_at(0.3)
    kept[SPEC.slices["b"]] = False
    answer = hiding(SPEC, LINKS, normal(), kept)
    assert answer.planted[1] == 0
    for field in ("mean", "median", "lowest", "highest", "found"):
        assert np.isnan(getattr(answer, field)).tolist() == [False, True, False]
    nothing = hiding(SPEC, LINKS, normal(), np.zeros(SPEC.size, dtype=bool))
    assert np.isnan(nothing.found_globally)


@pytest.mark.parametrize(
    ("theta", "kept", "message"),
    [
        (np.ones(3), np.ones(SPEC.size, dtype=bool), r"weights \(3,\) and a mask"),
        (np.ones(SPEC.size), np.ones(SPEC.size), "a mask float64"),
        (np.full(SPEC.size, np.nan), np.ones(SPEC.size, dtype=bool), "not finite"),
    ],
)
def test_what_does_not_fit_is_refused(theta: Array, kept: Array, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        hiding(SPEC, LINKS, theta, kept)
