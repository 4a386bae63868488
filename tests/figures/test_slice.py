"""Curves, their part in the sublevel set, and checkpoints are those of the dataset."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure

from landscape.figures import slice
from tests.support.surfaces import example


def plot_slice(ds, **options):
    return slice.plot_slice(ds, ax=Figure().subplots(), **options)


def is_curve(line):
    """Neither a checkpoint, nor the thick part, nor the height of the set."""
    return len(line.get_xdata()) > 2 and line.get_linewidth() < 2


def test_a_slice_is_the_row_through_the_origin_with_its_bands():
    ds = example(nx=21, ny=16)  # y = 0 is a row
    ax = plot_slice(ds)
    train, test = [line for line in ax.lines if is_curve(line)]
    row = int(abs(ds.y.values[0]).argmin())
    assert abs(ds.y.values[0, row]) < 1e-12
    np.testing.assert_array_equal(train.get_xdata(), ds.x.values[0])
    np.testing.assert_array_equal(train.get_ydata(), ds.loss.values[0, 0, :, row])
    np.testing.assert_array_equal(test.get_ydata(), ds.loss.values[0, 1, :, row])
    along_y = plot_slice(ds, axis="y")
    line = next(line for line in along_y.lines if is_curve(line))
    column = int(abs(ds.x.values[0]).argmin())
    np.testing.assert_array_equal(line.get_ydata(), ds.loss.values[0, 0, column])


def test_the_part_of_a_slice_in_the_set_ends_at_its_declared_height():
    ds = example(nx=201, ny=16, threshold=3.0)  # 1.1 + x² on the row through the origin
    ax = plot_slice(ds)
    thick = [line for line in ax.lines if line.get_linewidth() > 3]
    for line, above in zip(thick, (0.0, 0.2), strict=True):
        inside = np.isfinite(line.get_ydata())
        x, y = line.get_xdata()[inside], line.get_ydata()[inside]
        assert y[[0, -1]] == pytest.approx([3.0, 3.0])
        assert x[[0, -1]] == pytest.approx(np.sqrt(1.9 - above) * np.array([-1, 1]), abs=1e-3)
        np.testing.assert_allclose(y, 1.1 + above + x**2, atol=1e-3)
    dashed = [line.get_ydata()[0] for line in ax.lines if line.get_linewidth() == 0.7]
    assert dashed == [3.0, 3.0]
    error = plot_slice(ds, measure="error")
    assert not [line for line in error.lines if line.get_linewidth() == 0.7]
    curves = [line for line in error.lines if is_curve(line)]
    assert len({line.get_color() for line in curves}) == len(curves) == 2
    assert curves[0].is_dashed() != curves[1].is_dashed()


def test_checkpoints_on_a_slice_are_at_their_own_loss():
    ax = plot_slice(example(nx=21, ny=16))
    ds = example(nx=21, ny=16)
    marks = [line for line in ax.lines if line.get_marker() in ("^", "x", "o")]
    found = [(line.get_marker(), float(np.ravel(line.get_ydata())[0])) for line in marks]
    assert found == [
        (marker, ds.point_loss.values[0, split, k])
        for split in range(2)
        for k, marker in enumerate("^x")
    ]


def test_a_slice_that_misses_the_origin_says_where_it_is():
    ds = example(nx=21, ny=16)
    ds["y"].values[0] += 0.05
    assert plot_slice(ds).get_xlabel().endswith(", at 0.05 along y")


def test_a_steep_slice_is_logarithmic():
    ds = example(nx=21, ny=16)
    assert plot_slice(ds).get_yscale() == "linear"
    ds["loss"].values[0, 0, 0] = 1e4
    assert plot_slice(ds).get_yscale() == "log"
