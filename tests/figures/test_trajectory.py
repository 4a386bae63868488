"""The path joins the checkpoints at their coordinates, in order."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure

from landscape.data_store.errors import LandscapeError
from landscape.figures import trajectory
from tests.support.surfaces import example


def plot_trajectory(ds, **options):
    return trajectory.plot_trajectory(ds, ax=Figure().subplots(), **options)


def test_a_trajectory_joins_the_checkpoints_in_order():
    ax = plot_trajectory(example())
    path = next(line for line in ax.lines if len(line.get_xdata()) == 3)
    np.testing.assert_array_equal(path.get_xdata(), [0, 1, 2])
    np.testing.assert_array_equal(path.get_ydata(), [0, 0, 1.5])
    dots = [line for line in ax.lines if line.get_marker() == "o"]
    assert len({line.get_color() for line in dots}) == 3
    names = [t.get_text() for t in ax.texts if t.get_text().startswith("@")]
    assert names == ["@3", "@4.rewind"]


def test_one_checkpoint_is_no_trajectory():
    with pytest.raises(LandscapeError, match="a trajectory joins two or more checkpoints"):
        plot_trajectory(example().isel(point=[0]))
