"""Heights: four formulas, their order, and what they do not depend on."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landscape.analysis.heights import chord, contrasts, heights
from landscape.analysis.paths import grid
from landscape.data_store.schemas.barrier import DEFINITIONS
from tests.support.heights import naive_heights

CURVES = st.lists(st.floats(-1e3, 1e3, allow_subnormal=False), min_size=2, max_size=40)


@given(CURVES)
def test_heights_are_the_four_formulas(values):
    alpha = grid(len(values))
    got = heights(alpha, np.array(values))
    want = np.array(naive_heights(alpha.tolist(), values))
    np.testing.assert_allclose(got[:, 0], want[:, 0], rtol=0, atol=1e-11)
    np.testing.assert_array_equal(got[[0, 2, 3], 1], alpha[np.argmax(values)])
    at_bump = alpha.tolist().index(got[1, 1])
    chord = (1 - alpha[at_bump]) * values[0] + alpha[at_bump] * values[-1]
    assert values[at_bump] - chord == pytest.approx(want[1, 0], abs=1e-11)


@given(CURVES)
def test_heights_are_ordered_and_never_negative(values):
    lmc, deviation, over_max, increase = heights(grid(len(values)), np.array(values))[:, 0]
    assert 0 <= over_max <= lmc <= increase
    assert deviation >= 0
    assert over_max - 1e-9 <= deviation <= increase + 1e-9
    if values[0] == values[-1]:
        assert over_max == lmc == increase == pytest.approx(deviation, abs=1e-9)


@given(CURVES)
def test_heights_do_not_depend_on_the_direction(values):
    alpha = grid(len(values))
    forth, back = (heights(alpha, np.array(v))[:, 0] for v in (values, values[::-1]))
    np.testing.assert_array_equal(forth[[0, 2, 3]], back[[0, 2, 3]])
    assert forth[1] == pytest.approx(back[1], abs=1e-11)


@given(CURVES, st.floats(-1e3, 1e3))
def test_heights_do_not_depend_on_the_level(values, level):
    alpha = grid(len(values))
    low, high = (heights(alpha, np.array(values) + by)[:, 0] for by in (0, level))
    np.testing.assert_allclose(low, high, atol=1e-9)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_one_unknown_value_makes_all_heights_unknown(bad):
    assert np.isnan(heights(grid(4), np.array([0.0, bad, 1.0, 2.0]))).all()


@given(CURVES)
def test_contrasts_are_the_definitions_as_weights(values):
    alpha, curve = grid(len(values)), np.array(values)
    weights = contrasts(alpha)
    assert tuple(weights) == DEFINITIONS
    for i, name in enumerate(DEFINITIONS):
        np.testing.assert_array_equal(weights[name].sum(axis=2), 0.0)
        found = weights[name] @ curve
        height = (found.min(axis=0) if name == "over_max" else found.max(axis=0)).max()
        assert height == pytest.approx(heights(alpha, curve)[i, 0], abs=1e-9)


@given(CURVES)
def test_a_chord_stays_between_its_ends(values):
    curve = np.array(values)
    straight = chord(grid(len(values)), curve)
    assert (straight[0], straight[-1]) == (curve[0], curve[-1])
    assert straight.min() >= min(curve[0], curve[-1])
    assert straight.max() <= max(curve[0], curve[-1])
