"""Digits by the Particle Data Group's rule, exponents, percentages, what is unknown."""

from __future__ import annotations

import doctest
import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

import landscape.significant as significant
from landscape.sheet import Quantity
from landscape.significant import decimals, exact, plain, tex

FINITE = st.floats(-1e12, 1e12, allow_subnormal=False).filter(lambda x: x == 0 or abs(x) > 1e-12)


def test_examples_in_docstrings_run():
    outcome = doctest.testmod(significant)
    assert outcome.attempted > 0
    assert outcome.failed == 0


# the review's own examples: "0.827 ± 0.119 would appear as 0.83 ± 0.12, while 0.827 ± 0.367 would
# turn into 0.8 ± 0.4"
@pytest.mark.parametrize(
    ("value", "error", "shown"),
    [
        (0.827, 0.119, "0.83 ± 0.12"),
        (0.827, 0.367, "0.8 ± 0.4"),
        (0.827, 0.967, "0.8 ± 1.0"),
        (0.827, 0.354, "0.83 ± 0.35"),
        (0.827, 0.949, "0.8 ± 0.9"),
        (5312.0, 412.0, "5300 ± 400"),
        (5312.0, 120.0, "5310 ± 120"),
        (-2.5, 0.1, "-2.50 ± 0.10"),
        (0.001, 0.2, "0.00 ± 0.20"),
        (-0.001, 0.2, "0.00 ± 0.20"),
        (2.5, 0.0, "2.5 ± 0"),
    ],
)
def test_an_error_decides_the_digits(value, error, shown):
    assert plain(Quantity(value, error), "1") == shown


@pytest.mark.parametrize(
    ("quantity", "units", "shown"),
    [
        (Quantity(0.9798), "fraction", "97.98"),
        (Quantity(1.0), "fraction", "100.00"),
        (Quantity(0.0), "fraction", "0.00"),
        (Quantity(0.00002), "fraction", "0.0020"),
        (Quantity(266200.0), "count", "266200"),
        (Quantity(12345678901.0), "count", "12345678901"),
        (Quantity(3.0), "1", "3"),
        (Quantity(0.123456), "1", "0.1235"),
        (Quantity(12345.6), "1", "12346"),
        (Quantity(1234567.0), "1", "1.235e+06"),
        (Quantity(0.0), "1", "0"),
        (Quantity(-0.0), "1", "0"),
        (Quantity(0.00012345), "1", "1.234e-04"),
        (Quantity(1.2e-5, 1.1e-6), "1", "(1.20 ± 0.11)e-05"),
        (Quantity(3e-5, 2e-2), "1", "0.000 ± 0.020"),
        (Quantity(0.981, low=0.9792, high=0.9831), "fraction", "98.10 (97.92–98.31)"),
        (Quantity(0.98, low=0.98, high=0.98), "fraction", "98.00 (98.00–98.00)"),
        (Quantity(math.nan), "1", "–"),
        (Quantity(math.nan, 0.1), "fraction", "–"),
        (Quantity(math.inf), "1", "∞"),
        (Quantity(-math.inf, 1.0), "1", "-∞"),
        (Quantity(1.0, math.inf), "1", "1"),
    ],
)
def test_without_an_error_the_units_decide(quantity, units, shown):
    assert plain(quantity, units) == shown


def test_latex_has_mathematics():
    assert tex(Quantity(0.827, 0.119), "1") == r"$0.83 \pm 0.12$"
    assert tex(Quantity(-0.5), "1") == "$-0.5$"
    assert tex(Quantity(math.nan), "1") == "--"
    assert tex(Quantity(-math.inf), "1") == r"$-\infty$"
    ends = tex(Quantity(0.981, low=0.9792, high=0.9831), "fraction")
    assert ends == "$98.10$ ($97.92$ to $98.31$)"


@given(FINITE)
def test_all_digits_come_back(value):
    assert float(exact(value)) == value


@given(FINITE, st.floats(1e-9, 1e9))
def test_what_is_written_is_within_half_a_unit_of_the_last_place(value, error):
    text = plain(Quantity(value, error), "1")
    mantissa, _, power = text.removeprefix("(").partition(")e")
    shown, _, shown_error = mantissa.partition(" ± ")
    scale = Decimal(10) ** int(power or 0)
    unit = Decimal(10) ** -decimals(float(Decimal(error) / scale)) * scale
    close = Decimal("1e-9") * max(abs(Decimal(value)), unit)
    assert abs(Decimal(shown) * scale - Decimal(value)) <= unit / 2 + close
    assert abs(Decimal(shown_error) * scale - Decimal(error)) <= unit / 2 + close
    assert Decimal(shown_error) > 0
