"""Workers: the runs of an experiment, one after another or in processes side by side."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

from landscape.data_store.errors import LandscapeError
from landscape.data_store.store import Run, Store
from landscape.experiment import Planned

if TYPE_CHECKING:
    from multiprocessing.context import SpawnProcess

    from landscape.trainer import Listener

PATIENCE = 10.0
"""Seconds a worker has to put its files down when it is stopped."""


@dataclass(frozen=True)
class Place:
    """Where and how runs are trained; parameters as `landscape.trainer.train`."""

    store: Store
    data: Path | None = None
    device: str = "auto"
    threads: int | None = None


@dataclass(frozen=True)
class Report:
    """What a run did: finished a level, warned, failed or ended.

    Parameters
    ----------
    run
        Its name.
    what
        ``level``, ``warning``, ``failed`` or ``done``.
    text
        The warning or the error.
    level, density, test_error, status
        Of a finished level.
    """

    run: str
    what: str
    text: str = ""
    level: int = 0
    density: float = float("nan")
    test_error: float = float("nan")
    status: str = ""


Reporter = Callable[[Report], None]


def train_planned(planned: Planned, place: Place, listener: Listener | None = None) -> Run:
    """Train one planned run, or go on with it; errors as `landscape.trainer.train`."""
    from landscape.brancher import branch
    from landscape.trainer import train

    given: dict[str, Any] = {
        "store": place.store,
        "name": planned.name,
        "data": place.data,
        "device": place.device,
        "threads": place.threads,
        "listener": listener,
        **planned.settings,
    }
    if planned.parent is None:
        return train(**given)
    run, level = planned.parent
    return branch(f"{run}@{level}", **given)


def one_by_one(
    planned: Sequence[Planned], place: Place, listener: Callable[[Planned], Listener]
) -> dict[str, str]:
    """Train runs in their order; one that fails does not stop those that do not begin at it.

    Returns the failed runs and why each failed.
    """
    failed: dict[str, str] = {}
    for run in planned:
        if not _has_parent(run, place.store):
            failed[run.name] = _orphaned(run)
            continue
        try:
            train_planned(run, place, listener(run))
        except LandscapeError as error:
            failed[run.name] = str(error)
    return failed


def side_by_side(
    planned: Sequence[Planned], place: Place, jobs: int, report: Reporter
) -> dict[str, str]:
    """Train runs in at most `jobs` processes of one thread each, unless `place` says how many.

    A branch begins as soon as its level is there; the numbers are those of `one_by_one` with as
    many threads. A run that fails does not stop the others. Interrupted, all processes put
    their files down and end before this returns; they end too if this process dies.

    Returns the failed runs and why each failed.
    """
    place = replace(place, threads=place.threads or 1)
    pending, workers, failed = list(planned), list[_Worker](), dict[str, str]()
    try:
        while True:
            for run in _orphans(pending, {w.run.name for w in workers if w.run}, place.store):
                pending.remove(run)
                failed[run.name] = _orphaned(run)
            for run in _ready(pending, place.store):
                worker = _idle(workers, jobs, place)
                if worker is None:
                    break
                pending.remove(run)
                worker.begin(run)
            busy = {worker.line: worker for worker in workers if worker.run}
            if not busy:
                return failed
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
    """A process that trains one run after another, and the line on which it hears and reports."""

    def __init__(self, place: Place) -> None:
        context = multiprocessing.get_context("spawn")
        self.run: Planned | None = None
        self.line, theirs = context.Pipe()
        self.process: SpawnProcess = context.Process(
            target=_work, args=(place, theirs), daemon=True
        )
        with _deaf_to_interrupts():
            self.process.start()
        theirs.close()

    def begin(self, run: Planned) -> None:
        """Have a run trained."""
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
    """What a process does: train what it is given, and report, until it is told to end."""
    signal.signal(signal.SIGTERM, _interrupt)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    try:
        import torch

        torch.set_num_threads(place.threads or 1)
        while True:
            run: Planned = line.recv()
            line.send(_outcome(run, place, line))
    except (KeyboardInterrupt, EOFError, BrokenPipeError):
        # the parent, or the system, wants this process gone: what is finished is stored
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _outcome(run: Planned, place: Place, line: Connection) -> Report:
    """Train the run; the last report about it."""
    from landscape.training.imp import Finished

    def listen(event: object) -> None:
        if isinstance(event, Finished):
            level = event.level
            error = float(level.metrics["test_error"])
            line.send(
                Report(run.name, "level", "", level.number, level.mask.density, error, level.status)
            )

    def warn(message: Warning | str, *_details: object, **_more: object) -> None:
        line.send(Report(run.name, "warning", str(message)))

    try:
        with warnings.catch_warnings():
            warnings.showwarning = warn
            train_planned(run, place, listen)
    except LandscapeError as error:
        return Report(run.name, "failed", str(error))
    except MemoryError:
        return Report(run.name, "failed", "out of memory; use fewer --jobs")
    return Report(run.name, "done")


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


def _ready(pending: Sequence[Planned], store: Store) -> list[Planned]:
    """Runs that can begin: they are dense, or their level is there and not about to be remade."""
    waiting = {run.name for run in pending}
    return [
        run
        for run in pending
        if run.parent is None or (run.parent[0] not in waiting and _has_parent(run, store))
    ]


def _orphans(pending: Sequence[Planned], at_work: set[str], store: Store) -> list[Planned]:
    """Runs that never can: the run they begin at has ended without their level."""
    coming = {run.name for run in pending} | at_work
    return [
        run
        for run in pending
        if run.parent is not None and run.parent[0] not in coming and not _has_parent(run, store)
    ]


def _has_parent(run: Planned, store: Store) -> bool:
    """True if the level that a run begins at is finished."""
    if run.parent is None:
        return True
    name, level = run.parent
    return level in Run(store.root, name, store.size_limit).levels


def _orphaned(run: Planned) -> str:
    """Why a run that could not begin did not."""
    assert run.parent is not None
    return f"level {run.parent[1]} of run {run.parent[0]!r}, where it begins, is not there"
