"""The figure of singleshot tickets draws those of its schedule, and refuses others."""

from __future__ import annotations

import pytest

from landscape.data_store.errors import LandscapeError
from landscape.figures.planted import ONCE, SINGLESHOT
from tests.support.planted import on_schedules, require_alone


@pytest.mark.parametrize("schedule", ONCE)
def test_tickets_of_the_schedule_alone_are_drawn(schedule):
    require_alone(SINGLESHOT, schedule, "multishot")


def test_tickets_of_other_schedules_are_refused():
    with pytest.raises(
        LandscapeError, match="these tickets were not found singleshot, but multishot;"
    ):
        SINGLESHOT.draw(on_schedules(["multishot"]))
