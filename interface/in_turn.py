"""In turn: the steps of an experiment one after another, in this process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from landscape.data_store.errors import LandscapeError
from landscape.experiment import Planned
from landscape.outcome import has_parent, orphaned, outcome
from landscape.steps import Place, Report, Reporter, Step, train_planned

if TYPE_CHECKING:
    from landscape.trainer import Listener


def one_by_one(
    planned: Sequence[Planned], place: Place, listener: Callable[[Planned], Listener]
) -> dict[str, str]:
    """Train runs in their order; one that fails does not stop those that do not begin at it.

    Returns the failed runs and why each failed.
    """
    failed: dict[str, str] = {}
    for run in planned:
        if not has_parent(run, place.store):
            failed[run.name] = orphaned(run)
            continue
        try:
            train_planned(run, place, listener(run))
        except LandscapeError as error:
            failed[run.name] = str(error)
    return failed


def in_turn(steps: Sequence[Step], place: Place, report: Reporter) -> dict[str, str]:
    """Do steps in their order, in this process; one thread each, unless `place` says.

    Returns the failed steps and why each failed.
    """
    from landscape.provenance import using_threads

    threads = place.threads or 1
    failed: dict[str, str] = {}
    for step in steps:
        if not has_parent(step, place.store):
            failed[step.name] = orphaned(step)
            report(Report(step.name, "skipped", failed[step.name]))
            continue
        with using_threads(threads):
            last = outcome(step, replace(place, threads=threads), report)
        if last.what == "failed":
            failed[step.name] = last.text
        report(last)
    return failed
