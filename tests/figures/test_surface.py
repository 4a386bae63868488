"""What the figures of surfaces share: choosing, padding, refusing."""

from __future__ import annotations

import pytest
from matplotlib.figure import Figure

from landscape.data_store.errors import LandscapeError, UsageError
from landscape.figures import plane, slice, trajectory
from tests.support.surfaces import example, line_only, several


def plot_plane(ds, **options):
    return plane.plot_plane(ds, ax=Figure().subplots(), **options)


def plot_slice(ds, **options):
    return slice.plot_slice(ds, ax=Figure().subplots(), **options)


def plot_trajectory(ds, **options):
    return trajectory.plot_trajectory(ds, ax=Figure().subplots(), **options)


def test_a_line_has_one_panel_and_no_plane():
    ds = line_only()
    assert len(slice.draw(ds).axes) == 1
    for figure in (plane, trajectory):
        with pytest.raises(LandscapeError, match="this surface has one axis and a plane has two"):
            figure.draw(ds)


def test_several_surfaces_have_a_row_each_without_their_padding():
    canvas = plane.draw(several())
    assert [ax.get_title() for ax in canvas.axes][::2] == [
        "one\ntrain loss (nats per example)",
        "two\ntrain loss (nats per example)",
    ]
    assert canvas.axes[2].get_xlim() == (-2.0, 0.25)
    assert len([line for line in canvas.axes[2].lines if line.get_marker() in "^xo"]) == 2


def test_one_of_several_surfaces_is_named():
    assert plot_plane(several(), surface="two").get_xlim() == (-2.0, 0.25)
    with pytest.raises(UsageError, match="this dataset has 2 surfaces; name one of 'one', 'two'"):
        plot_plane(several())
    with pytest.raises(UsageError, match="unknown surface 'tow'; did you mean 'two'"):
        plot_slice(several(), surface="tow")


def test_unknown_names_are_refused():
    with pytest.raises(UsageError, match="unknown split 'tset'; did you mean 'test'"):
        plot_plane(example(), split="tset")
    with pytest.raises(UsageError, match="unknown measure 'lost'; did you mean 'loss'"):
        plot_trajectory(example(), measure="lost")
    with pytest.raises(UsageError, match="unknown axis 'z'"):
        plot_slice(example(), axis="z")
    for plot in (plot_plane, plot_slice, plot_trajectory):
        with pytest.raises(LandscapeError, match="'y' of a surface dataset has dims"):
            plot(example().transpose("row", ...))


def test_a_figure_is_made_where_no_axes_are_given():
    for plot in (plane.plot_plane, slice.plot_slice, trajectory.plot_trajectory):
        assert plot(example()).figure.get_figwidth() == 3.25
