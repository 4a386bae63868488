"""Looks of many levels: colours by level and lines by run, or names where these say more."""

from __future__ import annotations

import numpy as np
import pytest

from landscape.data_store.schemas.curvature import CURVATURE
from landscape.figures.levels import NAMED, explain_levels, level_looks
from landscape.figures.style import paper_figure


def example(count):
    """A dataset of so many checkpoints of one run."""
    ds = CURVATURE.example().isel(checkpoint=[0] * count)
    ds["level"] = ("checkpoint", np.arange(float(count)), ds["level"].attrs)
    ds["run"] = ("checkpoint", ["imp"] * count, ds["run"].attrs)
    names = np.array([f"imp@{k}" for k in range(count)])
    return ds.assign_coords(checkpoint=("checkpoint", names, ds["checkpoint"].attrs))


def test_few_are_told_apart_by_colour_and_line():
    looks = level_looks(example(NAMED), "checkpoint")
    assert len({str(look) for look in looks}) == NAMED
    assert len({str(look["linestyle"]) for look in looks}) == NAMED


def test_many_have_the_colour_of_their_level_and_the_line_of_their_run():
    ds = example(NAMED + 2)
    ds["run"] = ("checkpoint", ["a"] * 3 + ["b"] * 3, ds["run"].attrs)
    ds["level"] = ("checkpoint", [0.0, 1, 2, 0, 1, 2], ds["level"].attrs)
    looks = level_looks(ds, "checkpoint")
    assert [look["color"] for look in looks[:3]] == [look["color"] for look in looks[3:]]
    assert looks[0]["linestyle"] == looks[2]["linestyle"] != looks[3]["linestyle"]


@pytest.mark.parametrize("levels", [[np.nan] * 6, [1.0] * 6])
def test_levels_that_tell_nothing_are_replaced_by_names(levels):
    ds = example(6)
    ds["level"] = ("checkpoint", levels, ds["level"].attrs)
    with paper_figure() as canvas:
        ax = canvas.add_subplot()
        explain_levels(ds, "checkpoint", CURVATURE, [ax], ax)
    assert [t.get_text() for t in ax.get_legend().get_texts()] == [f"imp@{k}" for k in range(6)]
    assert len(canvas.axes) == 1


def test_a_scale_says_what_the_colours_mean():
    with paper_figure() as canvas:
        ax = canvas.add_subplot()
        explain_levels(example(6), "checkpoint", CURVATURE, [ax], ax)
    assert ax.get_legend() is None
    assert canvas.axes[1].get_ylabel() == CURVATURE.coordinates["level"].long_name
