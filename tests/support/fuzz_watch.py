"""The watch over hostile inputs: forked workers that may only read, or refuse in a sentence."""

from __future__ import annotations

import mmap
import os
import resource
import shutil
import signal
import struct
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from random import Random
from typing import Any, NoReturn

from landscape.data_store.errors import LandscapeError

PATIENCE = 20.0  # seconds after which one input counts as hung; they take milliseconds
MEMORY = 3 * 2**30  # bytes a worker may have beyond those it was forked with
SIZE_LIMIT = 2**26  # what readers are told to allow
SECRET = b"a secret that lies beside the store"
MOST_FAULTS = 10

_BATCH, _WARM = 400, 12
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

# events of Python's audit hooks: those that change a file, and which argument is its path …
_CHANGES: Mapping[str, tuple[int, ...]] = {
    "os.rename": (0, 1), "os.link": (0, 1), "os.symlink": (1,), "os.remove": (0,),
    "os.mkdir": (0,), "os.rmdir": (0,), "os.truncate": (0,), "os.chmod": (0,), "os.chown": (0,),
    "os.utime": (0,), "os.setxattr": (0,), "os.mkfifo": (0,), "os.mknod": (0,),
}  # fmt: skip
# … and those that reading a file never needs
_NEVER = (
    "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.startfile", "os.system",
    "os.kill", "os.chdir", "os.chroot", "subprocess.Popen", "pty.spawn", "pickle.find_class",
    "socket.connect", "socket.bind", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname",
    "urllib.", "http.", "ftplib.", "smtplib.",
    "webbrowser.", "ctypes.dlopen", "ctypes.dlsym", "sqlite3.enable_load_extension",
    "sqlite3.load_extension", "shelve.", "syslog.", "os.putenv", "builtins.input",
)  # fmt: skip


@dataclass(frozen=True)
class Target:
    """Something that reads what strangers write.

    Parameters
    ----------
    name
        What is attacked.
    make
        A hostile input, drawn.
    use
        Reads it, in an empty folder that it may write to; returns or raises `LandscapeError`.
        Beside that folder there is one called ``kept`` for what is needed again.
    """

    name: str
    make: Callable[[Random], Any]
    use: Callable[[Any, Path], object]

    def input(self, seed: int) -> Any:
        """The input of a seed."""
        return self.make(Random(f"{self.name} {seed}"))


@dataclass(frozen=True)
class Fault:
    """An input that broke the law, and how."""

    target: str
    seed: int
    what: str

    def __str__(self) -> str:
        return (
            f"{self.target}, seed {self.seed}: {self.what}\n"
            f"  replay: python -m tests.support.fuzz_replay {self.target} {self.seed}"
        )


@dataclass
class Report:
    """What became of the inputs of a target."""

    read: int = 0
    refused: int = 0
    faults: list[Fault] = field(default_factory=list)

    @property
    def inputs(self) -> int:
        """How many there were."""
        return self.read + self.refused + len(self.faults)


class Guard:
    """Notes what a process does outside one folder, or should not do at all.

    An audit hook cannot be taken off again: a process has one instance, and ends.
    """

    def __init__(self, folder: Path) -> None:
        self.crimes: list[str] = []
        self.is_on = False
        self._folder = folder.resolve()
        sys.addaudithook(self._audited)

    def _audited(self, event: str, arguments: tuple[Any, ...]) -> None:
        """An event that Python announces."""
        if not self.is_on:
            return
        if event == "open":
            if isinstance(arguments[2], int) and arguments[2] & _WRITES:
                self._judge(event, arguments[0])
        elif event in _CHANGES:
            for place in _CHANGES[event]:
                self._judge(event, arguments[place])
        elif event == "sqlite3.connect":
            self._judge(event, arguments[0])
        elif event.startswith(_NEVER):
            self.crimes.append(f"{event} {arguments!r}"[:300])

    def _judge(self, event: str, path: Any) -> None:
        """Note a change outside the folder."""
        if not isinstance(path, str | bytes | os.PathLike):
            return
        name = os.fsdecode(path)
        if name in (":memory:", os.devnull):
            return
        place = Path(name)
        whole = place.parent.resolve() / place.name
        if not whole.is_relative_to(self._folder):
            self.crimes.append(f"{event} {name!r}")


@contextmanager
def outside(folder: Path) -> Iterator[Callable[[], list[tuple[Any, ...]]]]:
    """What lies beside the folder that may be written to: a function that looks at it."""
    beside = folder / "outside"
    (beside / "runs" / "imp").mkdir(parents=True, exist_ok=True)
    for name in ("secret", "x", "run.json", "runs/imp/run.json", "runs/imp/level_0001.h5"):
        (beside / name).write_bytes(SECRET)

    def look() -> list[tuple[Any, ...]]:
        found = []
        for place, folders, files in os.walk(beside):
            for name in folders + files:
                state = Path(place, name).lstat()
                found.append((place, name, state.st_mode, state.st_size, state.st_mtime_ns))
        return sorted(found)

    yield look


def attempt(target: Target, seed: int, scratch: Path, guard: Guard) -> bool:
    """Give a target one input in an empty folder; True if it was read, False if refused."""
    if any(scratch.parent.glob("scratch/*")) or not scratch.exists():
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(exist_ok=True)
    given = target.input(seed)
    guard.is_on = True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            target.use(given, scratch)
    except LandscapeError:
        return False
    finally:
        guard.is_on = False
    return True


def campaign(target: Target, seeds: range, *, workers: int = 2) -> Report:
    """Give a target the inputs of all seeds, in batches, each in a watched child.

    What is left of a batch whose worker crashed or hung goes to another one.
    """
    for seed in seeds[:_WARM]:  # so that children find corpora made
        target.input(seed)
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # nothing flushed to a disk
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir=memory) as place:
        return _watched(target, seeds, Path(place), workers)


def _watched(target: Target, seeds: range, folder: Path, workers: int) -> Report:
    """The report of a campaign in a folder."""
    report = Report()
    waiting = [seeds[i : i + _BATCH] for i in range(0, len(seeds), _BATCH)][::-1]
    alive: list[_Worker] = []
    count = 0
    while (waiting or alive) and len(report.faults) < MOST_FAULTS:
        while waiting and len(alive) < workers:
            count += 1
            alive.append(_Worker(target, waiting.pop(), folder / f"{target.name}-{count}"))
        wait([worker.receiver for worker in alive], timeout=0.2)
        for worker in list(alive):
            if not worker.look(report):
                alive.remove(worker)
                if len(worker.rest):
                    waiting.append(worker.rest)
    for worker in alive:
        worker.end()
    return report


class _Worker:
    """A child that tries a batch, and what its parent knows of it."""

    def __init__(self, target: Target, batch: range, folder: Path) -> None:
        self.rest = range(0)
        self._target, self._batch, self._folder = target, batch, folder
        self._ledger = _Ledger()
        self._seen, self._moved = -1, time.monotonic()
        self.receiver, sender = Pipe(duplex=False)
        with warnings.catch_warnings():
            # Python 3.12 warns of threads; with OMP_NUM_THREADS=1 none holds a lock
            warnings.simplefilter("ignore", DeprecationWarning)
            self._pid = os.fork()
        if self._pid == 0:
            self.receiver.close()
            _live(target, batch, folder, self._ledger, sender)
        sender.close()

    def look(self, report: Report) -> bool:
        """Take what the child told; False when it has ended or was ended."""
        while self.receiver.poll():
            try:
                report.faults.append(Fault(self._target.name, *self.receiver.recv()))
            except (EOFError, OSError):
                self._ended(report)
                return False
        begun = self._ledger[_BEGUN]
        if begun != self._seen:
            self._seen, self._moved = begun, time.monotonic()
        if time.monotonic() - self._moved <= PATIENCE:
            return True
        os.kill(self._pid, signal.SIGKILL)
        self._ended(report, f"it hung for {PATIENCE:.0f} s")
        return False

    def _ended(self, report: Report, how: str = "") -> None:
        """Note what the child did, and how it ended; the rest of its batch is still to do."""
        status = self.close()
        report.read += self._ledger[_READ]
        report.refused += self._ledger[_REFUSED]
        begun = self._ledger[_BEGUN]
        if begun <= len(self._batch):
            seed = self._batch[max(0, begun - 1)]
            what = how or f"the interpreter ended with status {status} before its batch"
            report.faults.append(Fault(self._target.name, seed, what))
            self.rest = self._batch[max(1, begun) :]

    def close(self) -> int:
        """Reap the child; minus the signal that ended it, or its exit code."""
        self.receiver.close()
        _, status = os.waitpid(self._pid, 0)
        shutil.rmtree(self._folder, ignore_errors=True)
        return os.waitstatus_to_exitcode(status)

    def end(self) -> None:
        """Kill the child."""
        os.kill(self._pid, signal.SIGKILL)
        self.close()


_BEGUN, _READ, _REFUSED = range(3)


class _Ledger:
    """Counts that a child writes and its parent reads, whatever becomes of the child.

    How many inputs of the batch were begun (one more when all are done), read, and refused.
    """

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 24)

    def __getitem__(self, place: int) -> int:
        return int(struct.unpack_from("q", self._memory, 8 * place)[0])

    def add(self, place: int) -> None:
        """Count one more."""
        struct.pack_into("q", self._memory, 8 * place, self[place] + 1)


def _live(
    target: Target, batch: range, folder: Path, ledger: _Ledger, sender: Connection
) -> NoReturn:
    """The whole life of a worker."""
    code = 1
    try:
        confine()
        for seed, what in _tried(target, batch, folder, ledger):
            if what:
                sender.send((seed, what))
        code = 0
    finally:
        os._exit(code)


def _tried(
    target: Target, batch: range, folder: Path, ledger: _Ledger
) -> Iterator[tuple[int, str]]:
    """Every seed of a batch, and its fault or nothing."""
    scratch = folder / "inside" / "scratch"
    (folder / "inside" / "kept").mkdir(parents=True)
    guard = Guard(folder / "inside")
    with outside(folder) as look:
        before = look()
        for seed in batch:
            ledger.add(_BEGUN)
            what, read = "", False
            try:
                read = attempt(target, seed, scratch, guard)
            except BaseException:
                what = traceback.format_exc()
            if guard.crimes:
                what += f"it did: {'; '.join(guard.crimes[:5])}\n"
                guard.crimes.clear()
            if look() != before:
                what += "it changed files outside\n"
                before = look()
            if not what:
                ledger.add(_READ if read else _REFUSED)
            yield seed, what
    ledger.add(_BEGUN)


def confine() -> None:
    """Limit what this process may take: memory, a core file, the size of files."""
    state = Path("/proc/self/statm")
    if state.exists():  # Linux, where the limit is kept, too
        most = int(state.read_text().split()[0]) * resource.getpagesize() + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**30, 2**30))
    sys.dont_write_bytecode = True
    sys.stdin = open(os.devnull)  # noqa: PTH123, SIM115
