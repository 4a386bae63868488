"""Panels fill the width of a figure, and none is empty."""

from __future__ import annotations

import pytest
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D

from landscape.figures.panels import is_leftmost, panel_title, panels, say_missing, titled_legend
from landscape.figures.style import COLUMN, PAGE, paper_figure


@pytest.mark.parametrize(
    ("width", "count", "columns", "rows"),
    [(PAGE, 1, 1, 1), (PAGE, 3, 3, 1), (PAGE, 4, 3, 2), (COLUMN, 3, 1, 3)],
)
def test_panels_are_as_many_as_asked_for_in_the_columns_that_fit(width, count, columns, rows):
    canvas = Canvas(figsize=(width, 3))
    axes = panels(canvas, count)
    assert axes == canvas.axes
    assert len(axes) == count
    assert canvas.get_size_inches().tolist() == [width, 3 * rows]
    assert axes[0].get_subplotspec().get_gridspec().get_geometry() == (rows, columns)
    assert [is_leftmost(ax) for ax in axes] == [n % columns == 0 for n in range(count)]


def test_an_axes_of_no_grid_is_leftmost():
    assert is_leftmost(Canvas().add_axes((0, 0, 1, 1)))


def test_the_y_axis_is_shared_unless_it_is_not():
    one, other = panels(Canvas(figsize=(PAGE, 3)), 2)
    one.set_ylim(3, 4)
    assert other.get_ylim() == (3, 4)
    one, other = panels(Canvas(figsize=(PAGE, 3)), 2, sharey=False)
    one.set_ylim(3, 4)
    assert other.get_ylim() != (3, 4)


def test_what_is_missing_is_said_under_the_axis_and_nothing_otherwise():
    ax = Canvas().add_subplot()
    ax.set_xlabel("layer")
    say_missing(ax, [])
    assert ax.get_xlabel() == "layer"
    say_missing(ax, ["100 %", "51.3 %"])
    assert ax.get_xlabel() == "layer\nnot there: 100 %, 51.3 %"


def test_a_legend_says_what_its_names_are():
    canvas = Canvas()
    ax = canvas.add_subplot()
    for target in (ax, canvas):
        titled_legend(target, [Line2D([], [], label="mnist")], "tickets of")
    for legend in (ax.get_legend(), *canvas.legends):
        assert legend.get_title().get_text() == "tickets of"
        assert [text.get_text() for text in legend.get_texts()] == ["mnist"]


def test_there_is_no_legend_of_nothing():
    canvas = Canvas()
    titled_legend(canvas, [], "tickets of")
    assert not canvas.legends


def test_a_long_title_has_several_lines_and_stays_over_its_panel():
    for width in (COLUMN, PAGE):
        with paper_figure(width) as canvas:
            axes = panels(canvas, 3)
            for ax in axes:
                panel_title(ax, "magnitude, random ticket, reinit, on fashion-mnist, with adam")
        for ax in axes:
            assert "\n" in ax.get_title(loc="left")
            room = canvas.get_figwidth() / axes[0].get_subplotspec().get_gridspec().ncols
            assert ax._left_title.get_window_extent().width / canvas.dpi < room
    ax = Canvas(figsize=(PAGE, 2)).add_axes((0, 0, 1, 1))
    panel_title(ax, "magnitude")
    assert ax.get_title(loc="left") == "magnitude"
