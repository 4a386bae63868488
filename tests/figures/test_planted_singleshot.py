"""The figure of singleshot tickets draws those of its schedule, and refuses others."""

from __future__ import annotations

import numpy as np
import pytest

from landscape.data_store.errors import LandscapeError
from landscape.figures.planted_singleshot import FIGURE, SCHEDULES
from tests.support.planted import LADDER, labelled, seeking

CRITERIA = ["random", "synflow"]


def of(schedules):
    ds = seeking(["circle", "helix"], CRITERIA)
    return labelled(ds, densities=np.resize(schedules, ds.sizes["checkpoint"]))


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_tickets_of_the_schedule_alone_are_drawn(schedule):
    ds = of([schedule, schedule, "multishot"])
    own = ds.isel(checkpoint=ds["densities"].values == schedule)
    axes = FIGURE.draw(ds).axes
    assert len(axes) == 4
    for name, line in zip(CRITERIA, axes[2].lines[::2], strict=False):
        rows = (own["criterion"].values == name) & (own["target"].values == "circle")
        error = own["error"].sel(ticket="weak", split="test", rescale="none").values[rows]
        want = [error[own["density"].values[rows] == d].mean() for d in LADDER]
        np.testing.assert_allclose(line.get_xdata(), 100 * np.array(LADDER))
        np.testing.assert_allclose(line.get_ydata(), 100 * (1 - np.array(want)))


def test_tickets_of_other_schedules_are_refused():
    with pytest.raises(
        LandscapeError, match="these tickets were not found singleshot, but multishot;"
    ):
        FIGURE.draw(of(["multishot"]))
