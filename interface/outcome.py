"""What comes of a step: done once nobody else is at it, and told, whatever happens."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING

from landscape.data_store.errors import LandscapeError
from landscape.data_store.lock import RunIsHeld
from landscape.data_store.store import Run, Store
from landscape.experiment import Question
from landscape.ledger import POLL_SECONDS, claiming
from landscape.steps import Place, Report, Reporter, Step, carry_out

if TYPE_CHECKING:
    from landscape.trainer import Listener


class Unheard(Exception):
    """Nobody waits for a step any more."""


def outcome(
    step: Step, place: Place, report: Reporter, heed: Callable[[], None] = lambda: None
) -> Report:
    """Do a step; `report` hears of its beginning, levels and warnings, the last one is returned.

    Errors are reports too, but for `Unheard` and those that `report` raises.

    Parameters
    ----------
    heed
        Called at every evaluation of a run; raises `Unheard` to end the step.
    """
    from landscape.training.imp import Finished

    tell = _telling(report)

    def listen(event: object) -> None:
        heed()
        if isinstance(event, Finished):
            level = event.level
            error = float(level.metrics["test_error"])
            density = level.mask.density
            tell(Report(step.name, "level", "", level.number, density, error, level.status))

    def warn(message: Warning | str, *_details: object, **_more: object) -> None:
        tell(Report(step.name, "warning", str(message)))

    try:
        tell(Report(step.name, "started"))
        with warnings.catch_warnings():
            warnings.showwarning = warn
            if place.waits:
                _patiently(step, place, listen, warn)
            else:
                carry_out(step, place, listen)
    except LandscapeError as error:
        return Report(step.name, "failed", str(error))
    except MemoryError:
        return Report(step.name, "failed", "out of memory; use fewer --jobs")
    except Unheard as unheard:
        raise unheard.__cause__ or unheard from None
    except Exception as error:  # of this step alone: the others go on
        return Report(step.name, "failed", f"{type(error).__name__}: {error}")
    return Report(step.name, "done")


def _telling(report: Reporter) -> Reporter:
    """Reports with warnings as they are now; what goes wrong there is `Unheard`, not the step's."""
    shown = warnings.showwarning

    def tell(told: Report) -> None:
        with warnings.catch_warnings():
            warnings.showwarning = shown
            try:
                report(told)
            except Exception as error:
                raise Unheard(told.run) from error

    return tell


def _patiently(step: Step, place: Place, listener: Listener, warn: Callable[[str], None]) -> None:
    """Do a step once no other process is at it; `warn` is told that it waits."""
    if isinstance(step, Question):
        with claiming(step, place.store, warn):
            carry_out(step, place, listener)
        return
    said = False
    while True:
        try:
            carry_out(step, place, listener)
        except RunIsHeld as error:
            if not said:
                who = str(error).partition(";")[0]
                warn(f"{who}; waiting for it")
            said = True
            time.sleep(POLL_SECONDS)
        else:
            return


def has_parent(run: Step, store: Store) -> bool:
    """True if the level that a step needs is finished."""
    if run.parent is None:
        return True
    name, level = run.parent
    return level in Run(store.root, name, store.size_limit).levels


def orphaned(run: Step) -> str:
    """Why a step that could not begin did not."""
    assert run.parent is not None
    need = "which it asks about" if isinstance(run, Question) else "where it begins"
    return f"level {run.parent[1]} of run {run.parent[0]!r}, {need}, is not there"
