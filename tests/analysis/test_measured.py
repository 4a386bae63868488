"""Measured: references, margins and membership as arrays over runs and levels."""

from __future__ import annotations

import numpy as np
import pytest

from landscape.analysis.measured import Measured, Rule, inside
from tests.support.studies import LEVELS, put, study, without

NAN = np.nan


def measured(ds, **rule):
    return Measured(ds.isel(study=0), Rule(**rule))


def test_a_strategy_that_is_not_there_has_no_values():
    m = measured(without(study(), "random"))
    assert m.lacks("random", "one-shot") == ("random",)
    assert np.isnan(m.height("random", "baseline")[0]).all()
    assert m.height("imp", "baseline")[0].shape == (1, len(LEVELS))


def test_a_strategy_without_solutions_is_lacking():
    ds = study()
    put(ds, "distance", NAN, strategy="one-shot")
    assert measured(ds).lacks("one-shot") == ("one-shot",)


@pytest.mark.parametrize(
    ("reference", "want"), [("previous", [NAN, 0.1, 0.2, 0.3, 0.4]), ("dense", [NAN] + [0.01] * 4)]
)
def test_the_reference_is_the_level_before_or_level_0(reference, want):
    ds = study()
    put(ds, "error", [0.9, 0.1, 0.2, 0.3, 0.4], strategy="imp", split="test", point="previous")
    put(ds, "error", 0.01, strategy="imp", split="test", point="solution", level=0.0)
    values, _ = measured(ds).reference(reference)
    np.testing.assert_array_equal(values[:, 1:], [want[1:]])
    if reference == "dense":
        assert np.isnan(values[0, 0])


def test_margins_are_over_the_runs_own_level_whatever_the_strategy():
    ds = study()
    put(ds, "error", 0.05, strategy="imp", split="test", point="previous")
    put(ds, "error", 0.99, strategy="random", split="test", point="previous")
    put(ds, "error", 0.06, strategy="random", split="test", point="solution")
    margin, error = measured(ds).above("random", "previous")
    np.testing.assert_allclose(margin[0, 1:], 0.06 - 0.05 - 0.02)
    np.testing.assert_allclose(error[0, 1:], np.hypot(0.001, 0.001))


def test_membership_is_by_split_and_unknown_where_nothing_is():
    ds = study()
    put(ds, "error", 0.5, strategy="random", split="test", point="solution", level=[2.0, 3.0])
    found = inside(ds.isel(study=0), Rule(), "previous")
    assert found.shape == (1, 6, len(LEVELS), 2)
    random = found[0, list(ds.strategy.values).index("random")]
    np.testing.assert_array_equal(random[:, 0], [NAN, 1, 1, 1, 1])
    np.testing.assert_array_equal(random[:, 1], [NAN, 1, 0, 0, 1])


def test_quality_is_the_test_error_whatever_is_judged():
    ds = study()
    put(ds, "error", 0.3, strategy="imp", split="test", point="solution")
    values, _ = measured(ds, measure="loss", split="train").quality("imp")
    assert (values == 0.3).all()


def test_quality_is_the_loss_where_there_is_no_error():
    ds = study()
    ds["error"][:] = NAN
    assert measured(ds).quality("imp")[0][0, 1] == 0.1


def test_numbers_are_shown_in_their_unit():
    assert Rule().number(0.0213) == "2.13 %"
    assert Rule(measure="loss").number(0.0213) == "0.0213"
    assert Rule(measure="loss", split="train").words == "train loss"
