"""A clock: how far the steps of a sweep are, and how long the rest will take, as reports come."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Sequence

from landscape.data_store.store import Store
from landscape.experiment import Planned
from landscape.forecast import Forecast, forecast, known_paces, likeness, units, units_left
from landscape.steps import Report, Step


class Clock:
    """Counts steps, and learns from those that end how long like ones will take.

    Parameters
    ----------
    steps
        What is to be done.
    store
        Whose runs, begun before, say how long an iteration takes.
    now
        Seconds since some time.

    Attributes
    ----------
    running
        Names of the steps that somebody is at.
    done, failed
        How many ended well and not; a step that could not begin has failed too.
    """

    def __init__(
        self, steps: Sequence[Step], store: Store, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._now = now
        self._steps = {step.name: step for step in steps}
        self._left = {step.name: (step, units_left(step, store)) for step in steps}
        self._paces = known_paces(steps, store)
        self._spent: dict[Hashable, tuple[float, float]] = {}
        self._since: dict[str, float] = {}
        self.running: set[str] = set()
        self.done = self.failed = 0

    @property
    def total(self) -> int:
        """How many steps there are."""
        return len(self._steps)

    def hear(self, report: Report) -> None:
        """A step began, finished a level, or ended; warnings, and other steps, are passed over."""
        step = self._steps.get(report.run)
        if step is None or report.what == "warning":
            return
        if report.what in ("level", "done"):
            self._learn(step, report)
        self._since[step.name] = self._now()
        if report.what == "started":
            self.running.add(step.name)
        elif report.what != "level":
            self.running.discard(step.name)
            self._left.pop(step.name, None)
            self.done += report.what == "done"
            self.failed += report.what != "done"

    def _learn(self, step: Step, report: Report) -> None:
        """What took how long: a level, or all of a step without levels."""
        levels = step.config.levels if isinstance(step, Planned) else 1
        if isinstance(step, Planned) and report.what == "done":
            return  # the last level said so
        began = self._since.get(step.name)
        if began is not None:
            spent, counted = self._spent.get(likeness(step), (0.0, 0.0))
            spent, counted = spent + self._now() - began, counted + units(step) / levels
            self._spent[likeness(step)] = spent, counted
            self._paces[likeness(step)] = spent / counted
        if step.name in self._left and levels > 1:
            left = units(step) * (levels - 1 - report.level) / levels
            self._left[step.name] = step, max(0.0, left)

    def left(self) -> Forecast:
        """How long what is not done will take."""
        left = dict(self._left)  # a display asks from a thread of its own
        return forecast([self._ahead(*entry) for entry in left.values()], self._paces)

    def _ahead(self, step: Step, left: float) -> tuple[Step, float]:
        """A step with its units that are left, less what it had time for since its last news."""
        pace = self._paces.get(likeness(step))
        if step.name in self.running and pace:
            left = max(0.0, left - (self._now() - self._since[step.name]) / pace)
        return step, left

    def __str__(self) -> str:
        """Who is at work, what failed, and how long it will take, in a line."""
        parts = [f"{len(self.running)} running"] * bool(self.running)
        parts += [f"{self.failed} failed"] * bool(self.failed)
        ahead = self.left().words(max(1, len(self.running)))
        return ", ".join(parts) + (f"; {ahead} left" if ahead else "")
