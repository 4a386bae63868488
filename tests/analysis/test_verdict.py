"""Verdict: shares of comparisons, those too close to call, and what is missing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landscape.analysis.verdict import FAILS, HOLDS, OPEN, Finding, all_of, contrary, score, verdict

NAN = np.nan


@pytest.mark.parametrize(
    ("difference", "error", "want"),
    [
        (0.3, 0.1, 1), (-0.3, 0.1, -1), (0.19, 0.1, 0), (-0.19, 0.1, 0), (0.1, NAN, 1),
        (0.0, 0.0, -1), (NAN, 0.1, NAN), (1e-9, 0.0, 1),
    ],
)  # fmt: skip
def test_a_comparison_counts_beyond_two_standard_errors(difference, error, want):
    np.testing.assert_equal(score(np.array([difference]), np.array([error])), [want])


def test_the_contrary_of_above_is_at_most():
    np.testing.assert_equal(
        contrary(score(np.array([0.0, 1.0, NAN]), np.zeros(3))), [1.0, -1.0, NAN]
    )


def test_several_conditions_are_as_good_as_the_worst():
    first, second = np.array([1.0, 1.0, 1.0, 0.0, NAN]), np.array([1.0, 0.0, -1.0, -1.0, 1.0])
    np.testing.assert_equal(all_of(first, second), [1.0, 0.0, -1.0, -1.0, NAN])


@pytest.mark.parametrize(
    ("scores", "want"),
    [
        ([1, 1, 1, 1], HOLDS),
        ([1, 1, 1, -1], HOLDS),  # three of four are enough
        ([1, 1, 0, 0], OPEN),  # the close ones may tip it
        ([1, 1, 0, -1], OPEN),
        ([1, 1, -1, -1], FAILS),  # out of reach
        ([0, 0, -1, -1], FAILS),
        ([-1, -1, -1, -1], FAILS),
        ([0, 0, 0, 0], OPEN),
        ([1, NAN, NAN, NAN], HOLDS),  # what is not there does not count
        ([NAN, NAN], OPEN),
        ([], OPEN),
    ],
)
def test_the_rule(scores, want):
    assert verdict(np.array(scores, dtype=float), 0.75) == want


def test_nothing_is_decided_while_a_strategy_is_missing():
    assert verdict(np.ones(9), 0.75, ("random",)) == OPEN


@given(st.lists(st.sampled_from([1.0, 0.0, -1.0]), min_size=1), st.floats(0.01, 1))
def test_a_verdict_stands_however_the_close_ones_fall(scores, share):
    scores = np.array(scores)
    found = verdict(scores, share)
    falls = {verdict(np.where(scores == 0, fall, scores), share) for fall in (1.0, -1.0)}
    assert found == (falls.pop() if len(falls) == 1 else OPEN)


def test_outcomes_are_shares_over_the_other_strategies():
    scores = np.array([[[1.0, 1.0, NAN], [1.0, -1.0, NAN]]])  # one run, two others, three levels
    finding = Finding(1, "", OPEN, "", "", scores, (), np.zeros(1), "")
    np.testing.assert_equal(finding.outcome, [[1.0, 0.5, NAN]])
    assert (finding.comparisons, finding.in_favour, finding.against) == (4, 3, 1)
