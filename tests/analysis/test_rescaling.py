"""Rescaling: least squares against a search, and what a scale must be."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from landscape.analysis.rescaling import least_squares, planted_scale, require_scale_fits
from landscape.data_store.errors import LandscapeError

DRAWS = np.random.default_rng(0)
F, Y = DRAWS.standard_normal((40, 3)), DRAWS.standard_normal((40, 3))


def test_least_squares_is_the_minimum_that_a_search_finds():
    got = least_squares(F, Y)
    for k, factor in enumerate(got):

        def apart(a, k=k):
            return ((Y[:, k] - a * F[:, k]) ** 2).sum()

        assert factor == pytest.approx(minimize_scalar(apart).x, rel=1e-6)
        assert apart(factor) <= min(apart(factor + 1e-3), apart(factor - 1e-3))


def test_least_squares_undoes_any_scale():
    scale = np.array([0.25, -3.0, 1e-30])
    np.testing.assert_allclose(least_squares(F * scale, F), 1 / scale, rtol=1e-12)


@pytest.mark.parametrize("tiny", [1e-200, 1e-310])
def test_squares_that_would_vanish_are_no_zero(tiny):
    with np.errstate(under="ignore"):
        got = least_squares(np.full((5, 1), tiny), np.full((5, 1), tiny))
    assert got == pytest.approx([1.0])


def test_an_output_that_does_not_help_has_factor_zero():
    assert least_squares(np.array([[1.0], [1.0]]), np.array([[1.0], [-1.0]])) == [0.0]


@pytest.mark.parametrize("spoiled", [0.0, np.inf, np.nan])
def test_without_a_finite_output_other_than_zero_there_is_no_factor(spoiled):
    f = F.copy()
    f[:, 1] = spoiled
    assert np.isnan(least_squares(f, Y)).tolist() == [False, True, False]


def test_the_scale_is_read_in_the_order_of_the_outputs():
    metrics = {"scale-1": 2.0, "test_loss": 9.0, "scale-0": 0.5, "scale-10": 3.0}
    assert planted_scale(metrics).tolist() == [0.5, 2.0]
    assert planted_scale({"test_loss": 1.0}) is None


@pytest.mark.parametrize("value", [0.0, float("nan"), float("inf")])
def test_nothing_can_be_divided_by_such_a_scale(value):
    with pytest.raises(LandscapeError, match=r"the planted scale of output 1 is .*; a finite numb"):
        planted_scale({"scale-0": 1.0, "scale-1": value})


def test_there_is_a_scale_for_each_output():
    require_scale_fits([1.0, 2.0], 2)
    with pytest.raises(LandscapeError, match="a scale for 2 outputs and the network has 3; plant"):
        require_scale_fits([1.0, 2.0], 3)
