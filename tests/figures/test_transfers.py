"""Which lines stand in which panel of a figure of transfers."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure as Canvas

from landscape.data_store.errors import LandscapeError
from landscape.figures.transfers import (
    RANDOM,
    line_looks,
    plot_panel,
    transfer_panels,
)
from tests.support.transfers import DENSITY, RUNS, example


def content(panels):
    """Names of the runs by panel and line."""
    return {
        panel.title: {name: group.training["run"].values.tolist() for name, group in panel.lines}
        for panel in panels
    }


def test_sources_with_one_optimiser_by_target():
    assert content(transfer_panels(example(), "source")) == {
        "a": {"a": ["a"], RANDOM: ["random-a"]},
        "b": {
            "a": ["a-to-b", "a-to-b-2"],
            "b": ["b-again"],
            "b, new weights": ["kept"],
            "b, masks permuted by layer, new weights": ["by-layer"],
            RANDOM: ["random-b"],
        },
    }


def test_optimisers_on_one_task():
    assert content(transfer_panels(example(), "source_optimizer")) == {
        "SGD, a": {"SGD": ["a"], "Adam": ["a-adam-to-sgd"], RANDOM: ["random-a"]},
        "SGD, b": {
            "SGD": ["b-again"],
            "SGD, new weights": ["kept"],
            "SGD, masks permuted by layer, new weights": ["by-layer"],
            RANDOM: ["random-b"],
        },
    }


def test_natives_are_those_of_the_target():
    assert [panel.native for panel in transfer_panels(example(), "source")] == ["a", "b"]
    optimisers = transfer_panels(example(), "source_optimizer")
    assert [panel.native for panel in optimisers] == ["SGD", "SGD"]


def test_where_nothing_was_transferred_every_run_has_its_panel():
    assert content(transfer_panels(example(RUNS[:2]), "source")) == {
        "a": {"a": ["a"]},
        "b": {"b": ["b"]},
    }


def test_other_densities_make_two_lines_of_one_name():
    ds = example(RUNS[1:2] + RUNS[3:5])
    ds["density"][2] = [1.0, 0.5, 0.25]
    (panel,) = transfer_panels(ds, "source")
    assert [name for name, _ in panel.lines] == ["b", "a", "a"]


def test_an_unknown_source_has_a_line():
    foreign = ("x", "gone", "", "", "b", "sgd", "preserved", "rewind")
    (panel,) = transfer_panels(example([RUNS[1], foreign]), "source")
    assert [name for name, _ in panel.lines] == ["b", "unknown"]


def test_looks_are_the_same_in_all_panels_and_random_is_grey():
    looks = line_looks(transfer_panels(example(), "source"))
    assert list(looks)[-1] == RANDOM
    assert looks[RANDOM]["color"] == "0.5"
    for channel in ("color", "marker"):
        assert len({look[channel] for look in looks.values()}) == len(looks)


def test_of_one_thing_only_the_other_figure_is_named():
    ds = example(RUNS[6:7])
    with pytest.raises(LandscapeError, match=r"was found with the optimiser .* transfer-optimis"):
        transfer_panels(ds, "source")
    with pytest.raises(LandscapeError, match=r"was found on the task .* draw transfer-targets"):
        transfer_panels(ds, "source_optimizer")


def test_a_dataset_without_sources_is_refused():
    with pytest.raises(LandscapeError, match="needs 'source' of every run"):
        transfer_panels(example().drop_vars("source"), "source")


def drawn(ds):
    """The first panel, drawn."""
    (panel, *_) = transfer_panels(ds, "source")
    ax = Canvas(figsize=(3, 3)).add_subplot()
    plot_panel(ax, panel, line_looks([panel]), "std")
    return ax


FALL = [[0.05, 0.06, 0.07], [0.06, 0.07, 0.08], [0.07, 0.08, 0.9]]
LINES = [RUNS[1], RUNS[3], RUNS[8]]


def test_an_inset_has_what_the_axis_cuts_off():
    ax = drawn(example(LINES, error=FALL))
    (inset,) = ax.child_axes
    assert ax.get_ylim()[0] > 10 > inset.get_ylim()[0]
    assert ax.get_xlim() == inset.get_xlim()
    for line, small in zip(ax.lines, inset.lines, strict=True):
        np.testing.assert_array_equal(line.get_ydata(), small.get_ydata())


def test_there_is_no_inset_where_the_axis_has_all():
    ax = drawn(example(LINES, error=[[0.05, 0.06, 0.07]] * 3))
    assert not ax.child_axes
    low, high = ax.get_ylim()
    assert low < 93 < 95 < high


def test_an_inset_hides_no_line_and_no_tick_is_above_the_data():
    error = [[0.05, 0.06, 0.07], [0.2, 0.18, 0.22], [0.12, 0.3, 0.95]]
    ax = drawn(example(LINES, error=error))
    (inset,) = ax.child_axes
    ax.figure.draw_without_rendering()
    box = inset.get_window_extent()
    for line in ax.lines:
        ends = ax.transData.transform(np.array(line.get_data()).T)
        place = np.linspace(0, 2, 500)
        x, y = (np.interp(place, range(3), values) for values in ends.T)
        assert not np.any((box.x0 < x) & (x < box.x1) & (box.y0 < y) & (y < box.y1))
    assert max(ax.get_yticks()) <= 100


def test_one_level_and_unknown_values_are_drawn_too():
    ax = drawn(example(LINES, DENSITY[:1], [[0.1], [0.2], [np.nan]]))
    assert [line.get_ydata().tolist() for line in ax.lines[:2]] == [[90.0], [80.0]]
    assert np.isnan(ax.lines[2].get_ydata()).all()
    nothing = drawn(example(LINES, DENSITY[:1], [[np.nan]] * 3))
    assert [text.get_text() for text in nothing.texts] == ["no value is known (all NaN)"]
