"""Grouping: which checkpoints are asked about together."""

from __future__ import annotations

from landscape.analysis.grouping import ALL_PAIRS, EACH, SUCCESSIVE, together
from tests.support.landscapes import at

A, B, C = (at(float(i), address=name) for i, name in enumerate("abc"))


def named(groups):
    return ["".join(point.address for point in group) for group in groups]


def test_every_way_on_three_checkpoints():
    assert named(EACH.split([A, B, C])) == ["a", "b", "c"]
    assert named(SUCCESSIVE.split([A, B, C])) == ["ab", "bc"]
    assert named(ALL_PAIRS.split([A, B, C])) == ["ab", "ac", "bc"]
    assert named(together(1, 3).split([A, B, C])) == ["abc"]


def test_how_many_they_take():
    assert [g.least for g in (EACH, SUCCESSIVE, ALL_PAIRS, together(2, 3))] == [1, 2, 2, 2]
    assert [g.most for g in (EACH, SUCCESSIVE, ALL_PAIRS, together(2, 3))] == [None, None, None, 3]
