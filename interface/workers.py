"""Workers: the steps of an experiment, one after another or in processes side by side."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING

from landscape.data_store.errors import LandscapeError
from landscape.data_store.lock import RunIsHeld
from landscape.data_store.store import Run, Store
from landscape.experiment import Planned, Question
from landscape.ledger import POLL_SECONDS, claiming
from landscape.steps import Place, Report, Reporter, Step, carry_out, train_planned

if TYPE_CHECKING:
    from multiprocessing.context import SpawnProcess

    from landscape.trainer import Listener

PATIENCE = 10.0
"""Seconds a worker has to put its files down when it is stopped."""


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
    """Do steps in their order, in this process; what `side_by_side` does with one thread each.

    Returns the failed steps and why each failed.
    """
    from landscape.provenance import using_threads

    threads = place.threads or 1
    failed: dict[str, str] = {}
    for step in steps:
        if not has_parent(step, place.store):
            failed[step.name] = orphaned(step)
            continue
        with using_threads(threads):
            last = outcome(step, replace(place, threads=threads), report)
        if last.what == "failed":
            failed[step.name] = last.text
        report(last)
    return failed


def side_by_side(
    planned: Sequence[Step], place: Place, jobs: int, report: Reporter
) -> dict[str, str]:
    """Do steps in at most `jobs` processes of one thread each, unless `place` says how many.

    A branch begins as soon as its level is there; the numbers are those of `one_by_one` with as
    many threads. A step that fails does not stop the others. Interrupted, all processes put
    their files down and end before this returns; they end too if this process dies.

    Returns the failed steps and why each failed.
    """
    place = replace(place, threads=place.threads or 1)
    pending, workers, failed = list(planned), list[_Worker](), dict[str, str]()
    try:
        while True:
            for run in _ready(pending, place.store):
                worker = _idle(workers, jobs, place)
                if worker is None:
                    break
                pending.remove(run)
                worker.begin(run)
            busy = {worker.line: worker for worker in workers if worker.run}
            if not busy:  # what is left needs what has failed
                return failed | {run.name: orphaned(run) for run in pending}
            for line in wait(list(busy)):
                worker = busy[line]  # type: ignore[index]
                answer = worker.answer()
                if answer.what == "failed":
                    failed[answer.run] = answer.text
                if not worker.process.is_alive():
                    workers.remove(worker)
                    worker.end()
                report(answer)
    finally:
        _stop(workers)


class _Worker:
    """A process that does one step after another, and the line on which it hears and reports."""

    def __init__(self, place: Place) -> None:
        context = multiprocessing.get_context("spawn")
        self.run: Step | None = None
        self.line, theirs = context.Pipe()
        self.process: SpawnProcess = context.Process(
            target=_work, args=(place, theirs), daemon=True
        )
        with _deaf_to_interrupts():
            self.process.start()
        theirs.close()

    def begin(self, run: Step) -> None:
        """Have a step done."""
        self.run = run
        with suppress(OSError):  # it is gone: `answer` finds out
            self.line.send(run)

    def answer(self) -> Report:
        """The next report; that its run failed, if the process is gone."""
        assert self.run is not None
        name = self.run.name
        try:
            found: Report = self.line.recv()
        except (EOFError, OSError):
            self.process.join(PATIENCE)
            why = f"its process ended with exit code {self.process.exitcode}"
            found = Report(name, "failed", f"{why}; repeat the command to go on with it")
        if found.what in ("failed", "done"):
            self.run = None
        return found

    def end(self) -> None:
        """Wait until the process is gone."""
        self.process.join(PATIENCE)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.process.close()
        self.line.close()


def _idle(workers: list[_Worker], jobs: int, place: Place) -> _Worker | None:
    """A worker with nothing to do, a new one if there may be more."""
    for worker in workers:
        if worker.run is None:
            return worker
    if len(workers) == jobs:
        return None
    workers.append(_Worker(place))
    return workers[-1]


def _stop(workers: Sequence[_Worker]) -> None:
    """End all processes, in peace if they can."""
    for worker in workers:
        worker.process.terminate()
    for worker in workers:
        worker.end()


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Processes started meanwhile never see Ctrl-C: it is this one that stops them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _work(place: Place, line: Connection) -> None:
    """What a process does: the steps it is given, with reports, until it is told to end."""
    signal.signal(signal.SIGTERM, _interrupt)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    try:
        import torch

        torch.set_num_threads(place.threads or 1)
        while True:
            step: Step = line.recv()
            line.send(outcome(step, place, line.send))
    except (KeyboardInterrupt, EOFError, BrokenPipeError):
        # the parent, or the system, wants this process gone: what is finished is stored
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


def outcome(step: Step, place: Place, report: Reporter) -> Report:
    """Do a step; `report` hears of its levels and warnings, the last report is returned.

    Errors are reports too, but for `EOFError` and `BrokenPipeError` of a `report` that nobody
    hears any more.
    """
    from landscape.training.imp import Finished

    def listen(event: object) -> None:
        if isinstance(event, Finished):
            level = event.level
            error = float(level.metrics["test_error"])
            density = level.mask.density
            report(Report(step.name, "level", "", level.number, density, error, level.status))

    def warn(message: Warning | str, *_details: object, **_more: object) -> None:
        report(Report(step.name, "warning", str(message)))

    try:
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
    except (EOFError, BrokenPipeError):  # nobody listens
        raise
    except Exception as error:  # of this step alone: the others go on
        return Report(step.name, "failed", f"{type(error).__name__}: {error}")
    return Report(step.name, "done")


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


def _interrupt(*_: object) -> None:
    """A request to end, as Ctrl-C would be: locks and unfinished files are put down, once."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


def _die_with_parent() -> None:
    """End this process when the one that started it is gone."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)


def _ready(pending: Sequence[Step], store: Store) -> Iterator[Step]:
    """Steps that can begin: they need no run, or its level is there, not about to be remade.

    Looked for one by one: to find a level is to look into a folder.
    """
    waiting = {run.name for run in pending}
    for run in tuple(pending):
        if run.parent is None or (run.parent[0] not in waiting and has_parent(run, store)):
            yield run


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
