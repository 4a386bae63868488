"""Paired: each row is asked for once, and differences are taken example by example."""

from __future__ import annotations

import math

import numpy as np
import pytest

from landscape.analysis.paired import Paired, standard_error
from landscape.analysis.transition import Rows
from landscape.data_store.schemas.sublevel import PATHS

KNOWN = ("previous", "baseline", "solution")
COEFFICIENTS = np.arange(21.0).reshape(7, 3)


def asked(places):
    """What is asked, and the answer: row k has the values of its first coefficient."""
    rows = []

    def ask(coefficients):
        rows.extend(coefficients[:, 0].tolist())
        return coefficients[:, :1] + np.array([[0.0, 1.0, 5.0]])

    return Paired.of(KNOWN, Rows(COEFFICIENTS, {}), places, ask), rows


def test_every_row_is_asked_for_once():
    _, rows = asked({"previous-solution": (0.5, 4), "baseline-solution": (0.25, 4)})
    assert rows == [0.0, 3.0, 6.0, 12.0]


def test_a_peak_at_an_end_asks_for_nothing_more():
    found, rows = asked({"previous-solution": (0.0, 0)})
    assert rows == [0.0, 3.0, 6.0]
    np.testing.assert_array_equal(found.peaks["previous-solution"][1], found.points["previous"])
    errors = dict(zip(PATHS, found.barrier_se("deviation"), strict=True))
    assert errors["previous-solution"] == 0
    assert math.isnan(errors["rewind-solution"])


@pytest.mark.parametrize("definition", ["lmc", "deviation", "over_max", "increase"])
def test_a_barrier_is_compared_example_by_example(definition):
    draws = np.random.default_rng(0)
    a, b, peak = 0.1 * draws.normal(size=(3, 9)) + np.array([[1.0], [2.0], [5.0]])
    found = Paired({"previous": a, "solution": b}, {"previous-solution": (0.3, peak)})
    level = {"lmc": (a + b) / 2, "deviation": 0.7 * a + 0.3 * b, "over_max": b, "increase": a}
    want = np.std(peak - level[definition], ddof=1) / 3
    assert found.barrier_se(definition)[0] == pytest.approx(want)
    turned = Paired({"previous": b, "solution": a}, {"previous-solution": (0.7, peak)})
    assert turned.barrier_se(definition)[0] == pytest.approx(want)


def test_the_error_of_one_example_is_unknown():
    assert math.isnan(standard_error(np.array([3.0])))
    assert standard_error(np.full(5, 3.0)) == 0
