"""Polynomials of high degree against closed forms and numpy's fit."""

from __future__ import annotations

import numpy as np
import pytest

from landscape.analysis.volume.polynomial import Polynomial


def test_a_fit_is_numpys_least_squares():
    rng = np.random.default_rng(0)
    x, w, y = rng.uniform(-1, 2, 50), rng.random(50), rng.standard_normal(50)
    want = np.polynomial.Polynomial.fit(x, y, 5, w=np.sqrt(w))
    np.testing.assert_allclose(Polynomial.fit(x, w, y, 6)(x), want(x), rtol=1e-9)


def test_a_polynomial_is_fitted_exactly_and_between_its_nodes():
    x = np.linspace(0, 3, 30)
    fitted = Polynomial.fit(x, np.ones(30), 2 * x**3 - x + 4, 6)
    between = np.linspace(0, 3, 77).reshape(7, 11)
    np.testing.assert_allclose(fitted(between), 2 * between**3 - between + 4, rtol=1e-11)


def test_no_more_terms_than_different_nodes():
    x = np.repeat([1.0, 2.0, 4.0], 5)
    fitted = Polynomial.fit(x, np.ones(15), x**2, 12)
    assert len(fitted.coefficients) == 3
    np.testing.assert_allclose(fitted(np.array([3.0])), [9.0])


@pytest.mark.parametrize("terms", [20, 40, 80])
def test_an_inverse_root_converges_as_fast_as_theory_says(terms):
    """On [1, 100] the best error falls by ``(sqrt(100) - 1) / (sqrt(100) + 1)`` a degree."""
    x = np.geomspace(1, 100, 3000)
    goal = x**-0.5
    fitted = Polynomial.fit(x, 1 / goal**2, goal, terms)
    assert np.abs(fitted(x) / goal - 1).max() < 2 * (9 / 11) ** terms
