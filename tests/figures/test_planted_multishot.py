"""The figure of multishot tickets draws those of its schedule, and refuses others."""

from __future__ import annotations

import pytest

from landscape.data_store.errors import LandscapeError
from landscape.figures.planted import IN_TURN, MULTISHOT
from tests.support.planted import on_schedules, require_alone


@pytest.mark.parametrize("schedule", IN_TURN)
def test_tickets_of_the_schedule_alone_are_drawn(schedule):
    require_alone(MULTISHOT, schedule, "singleshot")


def test_tickets_of_other_schedules_are_refused():
    with pytest.raises(
        LandscapeError, match="these tickets were not found multishot, but singleshot;"
    ):
        MULTISHOT.draw(on_schedules(["singleshot"]))
