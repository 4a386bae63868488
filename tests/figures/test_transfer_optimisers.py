"""Accuracies by optimiser on the axes are those of the dataset."""

from __future__ import annotations

import numpy as np
import pytest

from landscape.data_store.errors import LandscapeError, UsageError
from landscape.figures.transfer_optimisers import draw, plot_transfer_optimisers
from tests.support.transfers import DENSITY, RUNS, example

ON_A = [RUNS[0], RUNS[2], RUNS[7], RUNS[9]]


def test_lines_are_the_accuracies_by_the_optimiser_that_found_the_tickets():
    ds = example(ON_A)
    ax = plot_transfer_optimisers(ds)
    accuracy = 100 * (1 - ds["final_test_error"].values)
    for line, values in zip(ax.lines, accuracy[[0, 2, 3]], strict=True):
        np.testing.assert_allclose(line.get_xdata(), 100 * DENSITY)
        np.testing.assert_allclose(line.get_ydata(), values)
    names = [text.get_text() for text in ax.get_legend().get_texts()]
    assert names == ["SGD", "Adam", "random tickets"]
    native, *others = [line.get_linewidth() for line in ax.lines]
    assert native > max(others)


def test_a_panel_for_each_optimiser_trained_with():
    back = ("to-adam", "a", "a", "sgd", "a", "adam", "preserved", "rewind")
    canvas = draw(example([*ON_A, back]))
    titles = [ax.get_title(loc="left") for ax in canvas.axes]
    assert titles == ["trained with SGD", "trained with Adam"]
    assert [len(ax.lines) for ax in canvas.axes] == [3, 2]


def test_one_level_is_drawn_too():
    ax = plot_transfer_optimisers(example(ON_A, DENSITY[:1]))
    assert [len(line.get_xdata()) for line in ax.lines] == [1, 1, 1]


def test_another_optimiser_is_refused():
    with pytest.raises(UsageError, match="unknown optimiser 'sgd'; available: SGD"):
        plot_transfer_optimisers(example(ON_A), optimizer="sgd")


def test_another_dataset_is_refused():
    with pytest.raises(LandscapeError, match="needs 'optimizer' of every run"):
        plot_transfer_optimisers(example(ON_A).drop_vars("optimizer"))
