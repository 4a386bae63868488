"""Cases against density: which points are drawn, joined, open, or left out in words."""

from __future__ import annotations

import numpy as np
import pytest

from landscape.data_store.schemas.barrier import BARRIER
from landscape.figures.report.cases import MOST_NAMES, NAMED, Cases, percent, plain


def some(count: int = 4, **changes: object) -> Cases:
    fields = {
        "labels": [f"imp@{i}" for i in range(count)],
        "names": ["imp"] * count,
        "groups": ["imp"] * count,
        "density": np.array([0.8**i for i in range(count)]),
        **changes,
    }
    return Cases(**fields)  # type: ignore[arg-type]


def test_points_are_the_values_from_dense_to_sparse() -> None:
    cases = some(density=np.array([0.5, 1.0, 0.25, 0.8]))
    (line,) = cases.lines(np.array([1.0, 2.0, 3.0, 4.0]), plain)
    assert line.x == [100.0, 80.0, 50.0, 25.0]
    assert line.y == [2.0, 4.0, 1.0, 3.0]
    assert line.joined
    assert "imp@1" in line.hover[0]


def test_two_of_one_density_are_not_joined() -> None:
    (line,) = some(density=np.array([0.5, 0.5, 0.25, 0.8])).lines(np.arange(4.0), plain)
    assert not line.joined
    assert len(line.y) == 4


def test_names_make_lines_and_groups_break_them() -> None:
    cases = some(names=["a", "a", "b", "a"], groups=["x", "x", "x", "y"])
    lines = cases.lines(np.arange(4.0), plain)
    found = [(line.name, line.y) for line in lines]
    assert found == [("a", [0.0, 1.0]), ("b", [2.0]), ("a", [3.0])]


def test_unknown_values_are_gaps_and_said() -> None:
    values, status = np.array([1.0, np.nan, 3.0, 4.0]), np.array(["", "not finite", "close", ""])
    cases = some()
    (line,) = cases.lines(values, plain, status=status)
    assert np.isnan(line.y[1])
    assert line.doubtful == [False, True, True, False]
    note = cases.note(values, status)
    assert "1 of 4: imp@1 (not finite)" in note
    assert "Drawn open, with a warning in the numbers: 1." in note


def test_what_has_no_density_is_not_drawn_but_said() -> None:
    cases = some(density=np.array([1.0, np.nan, 0.0, 0.5]))
    (line,) = cases.lines(np.arange(4.0), plain)
    assert line.y == [0.0, 3.0]
    assert "2 of 4: imp@1 (no density above 0); imp@2" in cases.note(np.arange(4.0))


def test_many_unknown_ones_are_counted() -> None:
    cases = some(20)
    note = cases.note(np.full(20, np.nan))
    assert f"imp@{NAMED - 1} and {20 - NAMED} more" in note


def test_too_many_names_are_cut_and_said() -> None:
    count = MOST_NAMES + 3
    names = [f"run-{i}" for i in range(count)]
    cases = some(count, names=names, groups=names)
    assert len(cases.lines(np.arange(float(count)), plain)) == MOST_NAMES
    assert f"The first {MOST_NAMES} of {count} lines" in cases.note(np.arange(float(count)))


def test_bars_run_between_their_ends() -> None:
    values = np.arange(4.0)
    (line,) = some().lines(values, percent, low=values - 1, high=values + 2)
    assert (line.low, line.high) == ([-1.0, 0.0, 1.0, 2.0], [2.0, 3.0, 4.0, 5.0])
    assert "0 % (-1 % to 2 %)" in line.hover[0]


@pytest.mark.parametrize("named", [True, False])
def test_a_coordinate_names_the_lines(named: bool) -> None:
    ds = BARRIER.example()
    if named:
        ds = ds.assign_coords(line=("pair", ["x", "y", "x"]))
    cases = Cases.of(ds, "pair", "density_b")
    assert list(cases.names) == (["x", "y", "x"] if named else ds["run"].values.tolist())
    assert list(cases.labels) == ds["pair"].values.tolist()
