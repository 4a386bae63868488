"""A cluster: the steps of an experiment, done by the workers of a Dask scheduler."""

from __future__ import annotations

import asyncio
import os
import pickle
import re
import time
from asyncio import CancelledError
from collections.abc import Iterator, Sequence
from concurrent import futures
from contextlib import contextmanager
from dataclasses import asdict, replace
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from queue import SimpleQueue
from threading import Lock
from typing import Any, TypeAlias

from landscape.data_store import layout
from landscape.data_store.errors import LandscapeError, UsageError
from landscape.data_store.manifest import read_manifest
from landscape.steps import Executor, Place, Report, Reporter, Step, digest
from landscape.workers import has_parent, orphaned, outcome

PATIENCE = 10
"""Seconds that a scheduler has to answer."""

ABSENCE = 60
"""Seconds that a scheduler which was there has to come back."""

_PACKAGE = "landscape-workbench"
_ADDRESS = re.compile(r"(tcp|tls|ucx|ws|wss)://[^/\s]+:[0-9]+")
_ALONE = Lock()  # threads of torch, and warnings, belong to a whole process

Client: TypeAlias = Any  # of Dask, which has no types and may not be installed
Future: TypeAlias = Any


def on_cluster(address: str) -> Executor:
    """What has the steps done by a cluster, each by a worker, in one thread.

    A step begins as soon as the level that it needs is finished. What it makes is written to the
    store by the worker, which must reach the store under the same path; only reports travel. A
    step that fails does not stop the others. One whose worker dies is done again by another; if it
    takes too many with it (Dask's ``allowed-failures``), it is tried once more, alone, when the
    others are done, and fails if that ends so as well.

    Parameters
    ----------
    address
        Of the scheduler, as ``tcp://HOST:PORT``.

    Raises `UsageError` if `address` is none, `LandscapeError` without Dask; the steps, begun,
    `LandscapeError` if the scheduler does not answer within `PATIENCE`, ends and is not back within
    `ABSENCE`, and if the scheduler or a worker has another version of landscape, or a worker cannot
    reach the store.
    """
    _dask()
    if not _ADDRESS.fullmatch(address):
        raise UsageError(f"{address!r} is no address of a scheduler; write it as tcp://HOST:PORT")

    def execute(steps: Sequence[Step], place: Place, report: Reporter) -> dict[str, str]:
        root, data = place.store.root.absolute(), place.data and place.data.absolute()
        there = replace(place, store=replace(place.store, root=root), data=data)
        there = replace(there, threads=place.threads or 1)
        left, failed = list(steps), dict[str, str]()
        while True:
            with _connected(address) as client:
                _require_alike(client, address)
                _require_reach(client, there)
                dispatch = _Dispatch(client, there, address, report)
                is_whole = dispatch.carry_out(left)
            failed |= dispatch.failed
            if is_whole:
                return failed
            left = [step for step in left if step.name not in dispatch.ended]
            warning = f"the cluster at {address} is gone; waiting for its scheduler to come back"
            report(Report(left[0].name, "warning", warning))
            _await_return(address)

    return execute


def _dask(module: str = "distributed") -> Any:
    """A module of Dask; raises `LandscapeError` if it is not installed."""
    try:
        return import_module(module)
    except ImportError as error:
        raise LandscapeError(
            "a cluster needs Dask, which is not installed; pip install "
            "'landscape-workbench[cluster]'"
        ) from error


@contextmanager
def _connected(address: str) -> Iterator[Client]:
    """A connection to a scheduler; what is not done when it closes is called off."""
    try:
        _require_answer(address)
        client = _dask().Client(address, timeout=PATIENCE, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        raise LandscapeError(
            f"the cluster at {address} does not answer within {PATIENCE} seconds; give the address "
            "that its scheduler printed when it was started"
        ) from error
    try:
        yield client
    finally:
        client.close()


def _require_answer(address: str) -> None:
    """Raise `OSError` or `TimeoutError` unless a scheduler answers."""
    with futures.ThreadPoolExecutor(1) as beside:  # a notebook has a loop of its own
        beside.submit(asyncio.run, asyncio.wait_for(_identified(address), PATIENCE)).result()


def _await_return(address: str) -> None:
    """Wait until a scheduler answers again; raise `LandscapeError` if it does not."""
    end = time.monotonic() + ABSENCE
    while True:
        try:
            return _require_answer(address)
        except (OSError, TimeoutError) as error:
            if time.monotonic() > end:
                raise LandscapeError(
                    f"the cluster at {address} is gone; what was finished is stored, the same "
                    "command goes on"
                ) from error
            time.sleep(1)


async def _identified(address: str) -> None:
    """Ask a scheduler who it is: `Client` waits for ever for one that listens and says nothing."""
    core = _dask("distributed.core")
    line = await core.connect(address, timeout=PATIENCE)
    try:
        await core.send_recv(line, op="identity")
    finally:
        line.abort()


def _require_alike(client: Client, address: str) -> None:
    """Raise `LandscapeError` unless scheduler and workers have this version of landscape."""

    def theirs() -> str:  # sent as it is: a function of a module needs our module over there
        from importlib.metadata import PackageNotFoundError, version

        try:
            return f"landscape {version('landscape-workbench')}"
        except PackageNotFoundError:
            return "no landscape"

    ours = f"landscape {version(_PACKAGE)}"
    found = {f"the scheduler at {address}": client.run_on_scheduler(theirs)}
    found |= {f"worker {name}": has for name, has in client.run(theirs).items()}
    for who, has in found.items():
        if has != ours:
            raise LandscapeError(f"{who} has {has}, and this is {ours}; install the same there")


def _require_reach(client: Client, place: Place) -> None:
    """Raise `LandscapeError` unless every worker reaches the store, with a process for each job."""
    root = place.store.root
    for name, fault in client.run(unreachable, root, _identity(root)).items():
        if fault:
            raise LandscapeError(f"worker {name} {fault}")
    for name, threads in client.nthreads().items():
        if threads != 1:
            raise LandscapeError(
                f"worker {name} does {threads} jobs in one process, where torch and its "
                "threads are shared; start workers with --nthreads 1, and as many as there are "
                "cores"
            )


def _identity(root: Path) -> str:
    """The id of a store; raises `LandscapeError` if there is none."""
    path = layout.manifest(root)
    return str(read_manifest(path, layout.STORE_FORMAT, layout.STORE_VERSION, root=root)["id"])


def unreachable(root: Path, identity: str) -> str:
    """Why the process that calls this cannot work in a store; empty if it can."""
    try:
        found = _identity(root)
    except LandscapeError as error:
        return f"cannot reach the store {root}: {error}; share the folder under the same path"
    if found != identity:
        return f"has another store at {root} than this one; share the folder under the same path"
    if not os.access(root, os.W_OK):
        return f"must not write to the store {root}; give write access"
    return ""


class _Dispatch:
    """Steps on their way to workers and back."""

    def __init__(self, client: Client, place: Place, address: str, report: Reporter) -> None:
        self._client, self._place, self._address = client, place, address
        self._report = report
        self._identity = _identity(place.store.root)
        self._news: SimpleQueue[Any] = SimpleQueue()
        self._steps: dict[str, Step] = {}
        self._futures: dict[str, Future] = {}
        self._waiting: dict[str, list[Step]] = {}
        self._suspects: list[Step] = []
        self.failed: dict[str, str] = {}
        self.ended: set[str] = set()
        client.subscribe_topic(self._topic, self._hear)

    @property
    def _topic(self) -> str:
        """Where workers tell what they do in this store."""
        return f"landscape-{self._identity}"

    def carry_out(self, steps: Sequence[Step]) -> bool:
        """Have all steps done that can be; False if the scheduler ended meanwhile."""
        if not self._client.nthreads():
            warning = f"the cluster at {self._address} has no workers yet; waiting for them"
            self._report(Report(steps[0].name, "warning", warning))
        self._steps = {step.name: step for step in steps}
        for step in steps:
            if step.parent is not None and step.parent[0] in self._steps:
                self._waiting.setdefault(step.parent[0], []).append(step)
            else:
                self._consider(step)
        while self._futures or self._suspects:
            if not self._futures:
                self._begin(self._suspects.pop(), "-alone")
            news = self._news.get()
            if isinstance(news, Report):
                self._pass_on(news)
            elif news.status not in ("finished", "error") or not self._end(news):
                return False
        return True

    def _consider(self, step: Step) -> None:
        """Begin a step whose parent is not about to change, or let it fail if it needs more."""
        if has_parent(step, self._place.store):
            self._begin(step)
            return
        self.failed[step.name] = orphaned(step)
        self.ended.add(step.name)
        self._settle(step.name)

    def _settle(self, name: str) -> None:
        """A step has failed: those that need it may begin still, from a level that it finished."""
        for step in self._waiting.pop(name, []):
            self._consider(step)

    def _begin(self, step: Step, again: str = "") -> None:
        """Send a step to the cluster."""
        key = f"landscape-{digest(step)}-{self._identity}{again}"
        payload = pickle.dumps((step, self._place, self._identity, self._topic))
        future = self._client.submit(job, version(_PACKAGE), payload, key=key, pure=False)
        self._futures[step.name] = future
        future.add_done_callback(self._news.put)

    def _hear(self, event: tuple[float, dict[str, Any]]) -> None:
        """A worker reports; this is another thread than the one that waits for it."""
        self._news.put(Report(**event[1]["report"]))

    def _pass_on(self, report: Report) -> None:
        """A worker has reported, perhaps on behalf of somebody else's sweep of this store."""
        if report.run not in self._futures:
            return
        self._report(report)
        if report.what == "level":
            waiting = self._waiting.get(report.run, [])
            for step in [s for s in waiting if s.parent and s.parent[1] == report.level]:
                waiting.remove(step)
                self._begin(step)

    def _end(self, future: Future) -> bool:
        """A step is done, or failed, or died with its worker; False if nobody can say which."""
        name = next(name for name, own in self._futures.items() if own is future)
        is_alone = future.key.endswith("-alone")
        try:
            last = self._last(name, future)
        except (CancelledError, futures.CancelledError):  # the scheduler ended just now
            return False
        del self._futures[name]  # what the scheduler knows of it goes with it
        if last is None and not is_alone:
            self._suspects.append(self._steps[name])
            return True
        last = last or Report(name, "failed", _KILLED)
        self.ended.add(name)
        if last.what == "failed":
            self.failed[name] = last.text
            self._settle(name)
        else:
            for step in self._waiting.pop(name, []):
                self._begin(step)
        self._report(last)
        return True

    def _last(self, name: str, future: Future) -> Report | None:
        """The last report about a step; None if its workers died."""
        if future.status == "finished":
            return Report(**future.result())
        error = future.exception()
        if isinstance(error, _dask().KilledWorker):
            return None
        return Report(name, "failed", f"{type(error).__name__}: {error}")


_KILLED = (
    "every worker that did it died, even alone, as from lack of memory; give workers more, or look "
    "into their logs"
)


def job(theirs: str, payload: bytes) -> dict[str, Any]:
    """Do one step in a worker; the last report about it."""
    from landscape.provenance import using_threads

    step, place, identity, topic = pickle.loads(payload)
    worker = _dask().get_worker()
    key = worker.get_current_task()

    def tell(report: Report) -> None:
        found = worker.state.tasks.get(key)
        if found is None or found.state == "cancelled":
            raise BrokenPipeError(f"nobody waits for {step.name} any more")
        worker.log_event(topic, {"report": _plain(report)})

    fault = _misfit(theirs) or unreachable(place.store.root, identity)
    if fault:
        return _plain(Report(step.name, "failed", f"worker {worker.address} {fault}"))
    with _ALONE, using_threads(place.threads):
        return _plain(outcome(step, place, tell))


def _misfit(theirs: str) -> str:
    """What is wrong with this process's version of landscape; a worker may come late."""
    try:
        ours = version(_PACKAGE)
    except PackageNotFoundError:
        ours = "of unknown version"
    if ours == theirs:
        return ""
    return f"has landscape {ours}, and the sweep {theirs}; install the same there"


def _plain(report: Report) -> dict[str, Any]:
    """A report as Dask sends it: plain numbers."""
    return asdict(
        replace(
            report,
            level=int(report.level),
            density=float(report.density),
            test_error=float(report.test_error),
        )
    )
