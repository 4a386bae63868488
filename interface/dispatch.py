"""Dispatch: the steps of an experiment on their way to the workers of a cluster, and back."""

from __future__ import annotations

import pickle
import time
from asyncio import CancelledError
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from contextlib import ExitStack, chdir, contextmanager, suppress
from dataclasses import asdict, replace
from importlib import import_module
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Lock
from typing import Any, TypeAlias

from landscape.data_store.version import own_version
from landscape.outcome import Unheard, has_parent, orphaned, outcome
from landscape.reach import identity, misfit, unreachable
from landscape.steps import Place, Report, Reporter, Step, digest

AHEAD = 2000
"""How many steps a scheduler is told of at a time: what it remembers does not grow with a sweep."""

TEND_SECONDS = 3.0
"""How often it is looked after workers."""

_ALONE = Lock()  # threads of torch, and warnings, belong to a whole process

Client: TypeAlias = Any  # of Dask, which has no types
Future: TypeAlias = Any


def elsewhere(place: Place) -> Place:
    """A place as a worker is told of it: absolute paths, and one thread unless it says."""
    root, data = place.store.root.absolute(), place.data and place.data.absolute()
    store = replace(place.store, root=root)
    return replace(place, store=store, data=data, threads=place.threads or 1)


class Dispatch:
    """Steps on their way to workers and back.

    Parameters
    ----------
    client
        Of a scheduler whose workers reach the store.
    place
        As `elsewhere` says.
    report
        Hears of the steps.
    tend
        Called every few seconds: sees to it that there are workers.

    Attributes
    ----------
    failed
        By the name of a step, why it failed, or could not begin.
    ended
        Names of the steps that nothing is left to do for.
    """

    def __init__(
        self,
        client: Client,
        place: Place,
        report: Reporter,
        tend: Callable[[], None] = lambda: None,
    ) -> None:
        self._client, self._place, self._report = client, place, report
        self._tend, self._tended = tend, time.monotonic()
        self._identity = identity(place.store.root)
        self._home = Path.cwd()
        self._news: SimpleQueue[Any] = SimpleQueue()
        self._steps: dict[str, Step] = {}
        self._ready: deque[tuple[Step, str]] = deque()
        self._futures: dict[str, Future] = {}
        self._names: dict[str, str] = {}
        self._last_words: dict[str, Report] = {}
        self._waiting: dict[str, list[Step]] = {}
        self._suspects: list[Step] = []
        self._known = 0
        self.failed: dict[str, str] = {}
        self.ended: set[str] = set()
        client.subscribe_topic(self._topic, self._hear)

    @property
    def _topic(self) -> str:
        """Where workers tell what they do in this store."""
        return f"landscape-{self._identity}"

    def carry_out(self, steps: Sequence[Step]) -> bool:
        """Have all steps done that can be; False if the scheduler ended meanwhile."""
        self._steps = {step.name: step for step in steps}
        for step in steps:
            if step.parent is not None and step.parent[0] in self._steps:
                self._waiting.setdefault(step.parent[0], []).append(step)
            else:
                self._consider(step)
        while self._futures or self._ready or self._suspects:
            if not self._futures and not self._ready:
                self._known = len(self._overfull())
                self._begin(self._suspects.pop(), "-alone")
            self._send()
            news = self._next()
            if isinstance(news, tuple):
                self._pass_on(*news)
            elif news.status in ("pending", "lost"):  # its result went with its worker: once more
                news.add_done_callback(self._news.put)
            elif news.status not in ("finished", "error") or not self._end(news):
                return False
        return True

    def _next(self) -> Any:
        """What a worker tells, or a future that ended."""
        while True:
            if time.monotonic() - self._tended > TEND_SECONDS:
                self._tend()
                self._tended = time.monotonic()
            with suppress(Empty):
                return self._news.get(timeout=TEND_SECONDS)

    def _consider(self, step: Step) -> None:
        """Begin a step whose parent is not about to change, or let it fail if it needs more."""
        if has_parent(step, self._place.store):
            self._begin(step)
            return
        why = orphaned(step)
        self.failed[step.name] = why
        self.ended.add(step.name)
        self._report(Report(step.name, "skipped", why))
        self._settle(step.name)

    def _settle(self, name: str) -> None:
        """A step has failed: those that need it may begin still, from a level that it finished."""
        for step in self._waiting.pop(name, []):
            self._consider(step)

    def _begin(self, step: Step, again: str = "") -> None:
        """Have a step sent to the cluster."""
        self._ready.append((step, again))

    def _send(self) -> None:
        """Send steps to the cluster, but not more than are soon begun."""
        while self._ready and len(self._futures) < AHEAD:
            step, again = self._ready.popleft()
            key = f"landscape-{digest(step)}-{self._identity}{again}"
            payload = pickle.dumps((step, self._place, self._home, self._identity, self._topic))
            future = self._client.submit(
                job, own_version(), step.name, payload, key=key, pure=False
            )
            self._futures[step.name], self._names[key] = future, step.name
            future.add_done_callback(self._news.put)

    def _hear(self, event: tuple[float, dict[str, Any]]) -> None:
        """A worker reports; this is another thread than the one that waits for it."""
        self._news.put((event[1]["key"], Report(**event[1]["report"])))

    def _pass_on(self, key: str, report: Report) -> None:
        """A worker has reported, perhaps to somebody else who sweeps this store."""
        if key not in self._names:
            return
        if report.what in ("done", "failed"):
            self._last_words[key] = report
            return
        self._report(report)
        if report.what == "level":
            waiting = self._waiting.get(report.run, [])
            for step in [s for s in waiting if s.parent and s.parent[1] == report.level]:
                waiting.remove(step)
                self._begin(step)

    def _end(self, future: Future) -> bool:
        """A step is done, or failed, or died with its worker; False if nobody can say which."""
        name = self._names[future.key]
        is_alone = future.key.endswith("-alone")
        try:
            last = self._last(name, future)
        except (CancelledError, futures.CancelledError):  # the scheduler ended just now
            return False
        del self._futures[name], self._names[future.key]  # what the scheduler knows goes with it
        if last is None and not is_alone:
            self._suspects.append(self._steps[name])
            return True
        last = last or Report(name, "failed", self._killed())
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
        heard = self._last_words.pop(future.key, None)
        if future.status == "finished":  # to fetch what it returned takes several messages
            return heard or Report(**future.result())
        error = future.exception()
        if isinstance(error, import_module("distributed").KilledWorker):
            return None
        return Report(name, "failed", f"{type(error).__name__}: {error}")

    def _killed(self) -> str:
        """Why a step failed whose workers died, it being the only one that was done."""
        if events := self._overfull()[self._known :]:
            taken = events[-1][1]["rss"] / 2**30
            return f"{_DEAD}: of the last is known that it took {taken:.1f} GiB, too much for it"
        return f"{_DEAD}, as from lack of memory; give workers more, or look into their logs"

    def _overfull(self) -> Sequence[tuple[float, dict[str, Any]]]:
        """The workers that were stopped since they took too much memory."""
        return self._client.get_events("worker-restart-memory") or ()


_DEAD = "every worker that did it died, even alone"


def job(theirs: str, name: str, payload: bytes) -> dict[str, Any]:
    """Do one step in a worker; the last report about it."""
    from landscape.provenance import using_threads

    worker = import_module("distributed").get_worker()
    if fault := misfit(theirs):  # then the payload may be no use
        return _plain(Report(name, "failed", f"worker {worker.address} {fault}"))
    step, place, home, whose, topic = pickle.loads(payload)
    key = worker.get_current_task()

    def heed() -> None:
        found = worker.state.tasks.get(key)
        if found is None or found.state == "cancelled":
            raise Unheard(step.name)

    def tell(report: Report) -> None:
        heed()
        worker.log_event(topic, {"key": key, "report": _plain(report)})

    if fault := unreachable(place.store.root, whose):
        return _plain(Report(step.name, "failed", f"worker {worker.address} {fault}"))
    place = replace(place, device=_device(place.device, worker.name))
    with _ALONE, _inside(home), using_threads(place.threads):
        last = outcome(step, place, tell, heed)
    tell(last)
    return _plain(last)


@contextmanager
def _inside(home: Path) -> Iterator[None]:
    """In the folder of the sweep, where it is shared: ``FILE.py:NAME`` is relative to it."""
    with ExitStack() as stack:
        with suppress(OSError):
            stack.enter_context(chdir(home))
        yield


def _device(wanted: str, name: object) -> str:
    """Where a worker computes: of several GPUs each worker of one machine has its own."""
    import torch

    count = torch.cuda.device_count()
    if wanted in ("auto", "cuda") and count > 1 and isinstance(name, int):
        return f"cuda:{name % count}"
    return wanted


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
