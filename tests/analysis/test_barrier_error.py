"""Barrier errors: paired standard errors, and intervals that hold although a maximum is chosen."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import t as student

from landscape.analysis.barrier_error import Sample, bounds, lead, objective
from landscape.analysis.barrier_error import _critical as critical
from landscape.analysis.heights import heights
from landscape.analysis.paths import grid
from landscape.data_store.schemas.barrier import DEFINITIONS
from tests.support.examples import made_up

ENDLESS = Sample(None, bounded=False)
KINDS = ("zero", "independent", "plateau", "peak", "step")


def table(seed, positions=6, examples=40):
    rng = np.random.default_rng(seed)
    return grid(positions), rng.normal(size=(positions, examples)) + rng.normal(size=examples)


def naive_se(alpha, values):
    """Example by example, with the position and the reference end that decide."""
    mean = [sum(row) / len(row) for row in values.tolist()]
    found = heights(alpha, np.array(mean))
    high, low = (0, -1) if mean[0] >= mean[-1] else (-1, 0)
    errors = []
    for name, (_, position) in zip(DEFINITIONS, found, strict=True):
        k = alpha.tolist().index(position)
        each = []
        for example in values.T.tolist():
            reference = {
                "lmc": (example[0] + example[-1]) / 2,
                "deviation": (1 - position) * example[0] + position * example[-1],
                "over_max": example[high],
                "increase": example[low],
            }[name]
            each.append(example[k] - reference)
        m = len(each)
        centre = sum(each) / m
        errors.append(math.sqrt(sum((d - centre) ** 2 for d in each) / (m - 1) / m))
    return errors


@settings(max_examples=30)
@given(st.integers(0, 10_000))
def test_standard_errors_are_those_of_the_examples_own_differences(seed):
    alpha, values = table(seed)
    np.testing.assert_allclose(
        bounds(alpha, values, ENDLESS).se, naive_se(alpha, values), rtol=1e-9, atol=1e-12
    )


def test_a_known_standard_error():
    """Two examples that rise by 1 and by 3: on average by 2 ± sqrt(2) / sqrt(2)."""
    values = np.array([[5.0, 0.0], [6.0, 3.0], [5.0, 0.0]])
    found = bounds(grid(3), values, ENDLESS)
    assert heights(grid(3), values.mean(axis=1))[:, 0].tolist() == [2.0] * 4
    np.testing.assert_allclose(found.se, 1.0)


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.booleans())
def test_an_interval_holds_its_estimate_and_no_negative_barrier(seed, bounded):
    alpha, values = table(seed)
    values = (values > 0).astype(float) if bounded else values
    found = bounds(alpha, values, Sample(None, bounded))
    height = heights(alpha, values.mean(axis=1))[:, 0]
    assert (found.low >= 0).all()
    assert (found.low <= height + 1e-12).all()
    assert (height <= found.high + 1e-12).all()


@pytest.mark.parametrize("bounded", [False, True])
def test_what_makes_an_example_hard_everywhere_cancels(bounded):
    alpha, values = table(1)
    hardness = np.random.default_rng(2).exponential(50.0, values.shape[1])
    one, other = (bounds(alpha, v, Sample(None, bounded)) for v in (values, values + hardness))
    for name in ("se", "low", "high"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), atol=1e-10)


def test_a_line_that_stays_leaves_no_doubt_unless_shares_of_unseen_examples_might_move():
    values = np.repeat(np.random.default_rng(0).normal(size=(1, 50)), 5, axis=0)
    found = bounds(grid(5), values, ENDLESS)
    assert not np.concatenate([found.se, found.low, found.high]).any()
    right = np.zeros((5, 50))
    unseen = bounds(grid(5), right, Sample(None, bounded=True))
    assert not np.concatenate([unseen.se, unseen.low]).any()
    assert (unseen.high > -math.log(0.05) / 50).all()  # of which 50 examples show none in 95 %


def test_all_of_a_finite_split_leave_no_doubt():
    alpha, values = table(3)
    height = heights(alpha, values.mean(axis=1))[:, 0]
    found = bounds(alpha, values, Sample(values.shape[1], bounded=False))
    np.testing.assert_allclose(found.low, height, atol=1e-12)
    np.testing.assert_allclose(found.high, height, atol=1e-12)


def test_half_of_a_split_leaves_the_square_root_of_half_the_width():
    alpha, values = table(4, examples=200)
    wide, narrow = (bounds(alpha, values, Sample(n, bounded=False)) for n in (None, 400))
    np.testing.assert_allclose(narrow.se, wide.se)
    peak = heights(alpha, values.mean(axis=1))[:, 0]
    ratio = (narrow.high - peak) / (wide.high - peak)
    np.testing.assert_allclose(ratio, math.sqrt(0.5), rtol=0.2)  # fewer positions may count


@pytest.mark.parametrize("values", [np.full((4, 30), np.nan), np.zeros((4, 1))])
def test_what_cannot_be_known(values):
    found = bounds(grid(4), values, ENDLESS)
    assert np.isnan([found.se, found.low, found.high]).all()


def test_critical_values_of_one_of_equal_and_of_independent_means():
    for examples in (8, 1000):
        alone = student.ppf(0.95, examples - 1)
        assert critical(np.eye(1), examples, 0.95, 0) == pytest.approx(alone, rel=0.05)
        assert critical(np.ones((9, 9)), examples, 0.95, 0) == pytest.approx(alone, rel=0.05)
        assert critical(np.zeros((2, 2)), examples, 0.95, 0) == pytest.approx(alone, rel=1e-12)
    apart = student.ppf(0.95 ** (1 / 9), 1e6)  # Šidák
    assert critical(np.diag(np.arange(1.0, 10.0)), 10**6, 0.95, 0) == pytest.approx(apart, rel=0.02)


def test_draws_depend_on_the_seed_alone():
    alpha, values = table(5)
    values[2:4] += 3.0
    first, again, other = (
        bounds(alpha, values, Sample(None, bounded=False, seed=s)).low for s in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    np.testing.assert_allclose(first, other, rtol=0.1)


def test_the_lead_of_a_position_is_an_upper_limit_of_a_paired_difference():
    alpha, values = table(6)
    level = 1 - 0.05 * len(alpha)  # 5 % each
    best, upper = lead(np.eye(6), values, Sample(None, bounded=False, level=level))
    assert best == values.mean(axis=1).argmax()
    assert upper[best] == 0.0
    for k in set(range(6)) - {best}:
        apart = values[k] - values[best]
        t_limit = apart.mean() + student.ppf(0.95, 39) * apart.std(ddof=1) / math.sqrt(40)
        assert t_limit <= upper[k] < t_limit + 0.5


def test_the_objective_of_a_deviation_is_above_the_chord():
    alpha, values = table(7)
    mean = values.mean(axis=1)
    chord = (1 - alpha) * mean[0] + alpha * mean[-1]
    np.testing.assert_allclose(objective("deviation", alpha) @ mean, mean - chord, atol=1e-14)
    for name in set(DEFINITIONS) - {"deviation"}:
        np.testing.assert_array_equal(objective(name, alpha), np.eye(6))


def covered(kind, examples, draws, measure):
    """Shares of samples whose interval, and whose estimate ± 1.96 se, hold the truth."""
    alpha = grid(9)
    whole = getattr(made_up(kind, alpha, 100_000), measure)
    truth = heights(alpha, whole.mean(axis=1))[:, 0]
    inside, plain = np.zeros(4), np.zeros(4)
    rng = np.random.default_rng(0)
    for _ in range(draws):
        values = whole[:, rng.integers(0, whole.shape[1], examples)]
        found = bounds(alpha, values, Sample(None, measure == "error"))
        height = heights(alpha, values.mean(axis=1))[:, 0]
        inside += (found.low <= truth) & (truth <= found.high)
        plain += np.abs(height - truth) <= 1.96 * found.se
    return inside / draws, plain / draws


@pytest.mark.parametrize("measure", ["loss", "error"])
@pytest.mark.parametrize("kind", ["independent", "peak"])
def test_intervals_hold_the_barrier_of_the_population(kind, measure):
    inside, _ = covered(kind, 100, 60, measure)
    assert (inside >= 0.9).all()  # 95 %, less two standard errors of 60 draws


def test_the_estimate_with_its_standard_error_alone_would_not():
    _, plain = covered("independent", 100, 60, "loss")
    assert (plain[[0, 1, 3]] < 0.9).all()


@pytest.mark.slow
@pytest.mark.parametrize("measure", ["loss", "error"])
@pytest.mark.parametrize("examples", [100, 1000])
@pytest.mark.parametrize("kind", KINDS)
def test_intervals_hold_at_their_stated_rate(kind, examples, measure):
    inside, _ = covered(kind, examples, 400, measure)
    assert (inside >= 0.95 - 2 * math.sqrt(0.95 * 0.05 / 400)).all()
