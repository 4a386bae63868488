"""Levels of a figure: ends kept, even on a logarithmic axis, shared ones first."""

from __future__ import annotations

import numpy as np
import pytest

from landscape.figures.shades import shade_handles, shades

NAN = np.nan
LADDER = 0.8 ** np.arange(17)


def densities(*ladders, **options):
    return [shade.density for shade in shades(list(ladders), **options)]


def test_few_levels_are_all_there():
    assert densities(np.array([1.0, 0.5, 0.25])) == [1.0, 0.5, 0.25]


def test_of_many_the_ends_and_evenly_spaced_ones_between():
    got = np.log(densities(LADDER, most=5)) / np.log(0.8)
    np.testing.assert_allclose(got, [0, 4, 8, 12, 16])


@pytest.mark.parametrize("most", [2, 3, 6, 16, 17, 40])
def test_never_more_than_asked_for_and_all_different(most):
    got = densities(LADDER, most=most)
    assert len(got) == len(set(got)) <= most
    assert (got[0], got[-1]) == (1.0, LADDER[-1])
    assert got == sorted(got, reverse=True)


def test_of_neighbours_the_one_that_more_groups_have():
    assert densities(LADDER, most=3)[1] == pytest.approx(0.8**8)
    assert densities(LADDER, LADDER[[9]], most=3)[1] == pytest.approx(0.8**9)


def test_roundings_of_one_density_are_one_level():
    assert densities(np.array([1.0, 0.512]), np.array([0.5128])) == [1.0, 0.5128]


def test_unknown_and_empty_levels_are_none():
    assert densities(np.array([1.0, NAN, 0.0])) == [1.0]
    assert densities(np.array([NAN])) == densities() == []


def test_a_level_is_found_where_the_density_is_the_same():
    (dense, half) = shades([np.array([1.0, 0.5])])
    assert half.level(np.array([NAN, 0.0, 1.0, 0.505])) == 3
    assert half.level(np.array([1.0, 0.52])) is None
    assert dense.level(np.array([NAN])) is None
    assert dense.level(np.empty(0)) is None


def test_levels_differ_in_colour_and_line_and_say_their_percent():
    found = shades([np.array([1.0, 0.5128, 0.0287])])
    assert [shade.label for shade in found] == ["100 %", "51.3 %", "2.9 %"]
    assert len({shade.look["color"] for shade in found}) == 3
    assert len({str(shade.look["linestyle"]) for shade in found}) == 3
    assert found[0].line()["marker"] == "none" != found[0].line(marker=True)["marker"]


def test_a_legend_has_the_lines_as_they_are_drawn():
    found = shades([np.array([1.0, 0.5])])
    for marker in (True, False):
        lines = shade_handles(found, marker=marker)
        assert [line.get_label() for line in lines] == ["100 %", "50 %"]
        looks = [shade.line(marker=marker)["marker"] for shade in found]
        assert [line.get_marker() for line in lines] == looks
    assert shade_handles([]) == []
