"""Heights of contours: round, inside the values, of a readable number."""

from __future__ import annotations

import numpy as np
import pytest

from landscape.figures.contours import contour_levels


@pytest.mark.parametrize(
    ("low", "high"), [(0.09, 3.0), (0.5, 0.6), (1e-3, 500.0), (0.1, 0.9), (2.0, 2.02)]
)
def test_contour_levels_are_round_inside_and_of_a_readable_number(low, high):
    levels = contour_levels(np.linspace(low, high, 50))
    assert 5 <= len(levels) <= 12
    assert levels == sorted(set(levels))
    assert all(low < level < high for level in levels)
    assert all(len(f"{level:g}") <= 6 for level in levels)


@pytest.mark.parametrize("values", [[], [np.nan], [1.0, 1.0], [-1.0, 0.0], [np.inf, np.nan]])
def test_what_has_no_contours(values):
    assert contour_levels(np.array(values)) == []
