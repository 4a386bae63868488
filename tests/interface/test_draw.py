"""``landscape.draw`` into given axes: every figure of one panel, and a sentence for the others."""

from __future__ import annotations

import importlib
import inspect

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure as Canvas

import landscape
from landscape.data_store.errors import LandscapeError, UsageError
from landscape.figures.registry import FIGURES

NAMES = list(FIGURES)
SINGLE = [name for name in NAMES if FIGURES.load(name).plot is not None]


def own() -> tuple[Canvas, object]:
    """A figure of the user's with two axes, and the second of them."""
    canvas = Canvas(figsize=(7, 3))
    left, right = canvas.subplots(1, 2)
    left.plot([0, 1], [2, 3])
    return canvas, right


def drawn(ax) -> list[np.ndarray]:
    """The data of all lines of an axes, in order."""
    return [np.asarray(line.get_xydata(), dtype=float) for line in ax.lines]


def test_there_are_figures_of_one_panel():
    assert {"lth-accuracy", "lth-early-stop", "overlap", "spectrum"} <= set(SINGLE)


@pytest.mark.parametrize("name", SINGLE)
def test_one_panel_is_drawn_into_the_given_axes(name):
    ds = FIGURES.load(name).schema.example()
    before = mpl.rcParams.copy()
    canvas, ax = own()
    assert landscape.draw(name, ds, ax=ax) is canvas
    assert mpl.rcParams.copy() == before
    assert len(canvas.axes[0].lines) == 1
    alone = landscape.draw(name, ds)
    assert alone is not canvas
    for mine, theirs in zip(drawn(ax), drawn(alone.axes[0]), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert drawn(ax)
    assert ax.get_ylabel() == alone.axes[0].get_ylabel()


@pytest.mark.parametrize("name", SINGLE)
def test_a_subfigures_axes_give_the_whole_figure(name):
    canvas = Canvas(figsize=(7, 3))
    ax = canvas.subfigures(1, 2)[1].add_subplot()
    assert landscape.draw(name, FIGURES.load(name).schema.example(), ax=ax) is canvas


@pytest.mark.parametrize("name", [name for name in NAMES if name not in SINGLE])
def test_a_figure_of_several_panels_says_so_and_leaves_the_axes_alone(name):
    ds = FIGURES.load(name).schema.example()
    canvas, ax = own()
    with pytest.raises(UsageError, match=f"figure '{name}' makes its own panels") as caught:
        landscape.draw(name, ds, ax=ax)
    home = importlib.import_module(FIGURES[name].target.partition(":")[0])
    plot = f"plot_{name.replace('-', '_')}"
    assert (f"{home.__name__}.{plot}(ds, ax=ax, …)" in str(caught.value)) == hasattr(home, plot)
    assert len(canvas.axes) == 2
    assert not ax.lines


@pytest.mark.parametrize("name", [name for name in NAMES if name not in SINGLE])
def test_what_draws_everything_into_one_axes_says_so_in_its_entry(name):
    home = importlib.import_module(FIGURES[name].target.partition(":")[0])
    plot = getattr(home, f"plot_{name.replace('-', '_')}", None)
    if plot is not None:
        choices = set(inspect.signature(plot).parameters) - {"ds", "ax", "legend", "spread"}
        assert choices, f"{name} has nothing to choose a panel by; give its Figure plot="


@pytest.mark.parametrize("name", SINGLE)
def test_another_dataset_is_refused(name):
    figure = FIGURES.load(name)
    variable = next(iter(figure.schema.variables))
    with pytest.raises(LandscapeError, match=f"a {figure.schema.kind} dataset needs '{variable}'"):
        landscape.draw(name, figure.schema.example().drop_vars(variable), ax=own()[1])


def test_options_go_to_the_figure():
    ds = FIGURES.load("lth-accuracy").schema.example()
    assert landscape.draw("lth-accuracy", ds, width=6.75).get_figwidth() == 6.75
    assert landscape.draw("lth-accuracy", ds, spread="std").axes
    canvas, ax = own()
    assert landscape.draw("lth-accuracy", ds, ax=ax, spread="std") is canvas
