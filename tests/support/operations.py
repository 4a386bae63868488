"""Every file operation of a process, one by one: counted, killed at, or refused by the disk."""

from __future__ import annotations

import builtins
import errno
import io
import os
import signal
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

Strike = Callable[[str], None]
NEVER = 2**62

# events of Python's audit hooks that change a folder, and which argument is the path
_CHANGES = {
    "os.rename": 1,
    "os.link": 1,
    "os.symlink": 1,
    "os.remove": 0,
    "os.mkdir": 0,
    "os.rmdir": 0,
    "os.truncate": 0,
}
_READS = {"os.listdir": 0, "os.scandir": 0}
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class Operations:
    """Watches what this process does to the files under `root`; for forked children only.

    Its points, in order, are the moments just before each operation: opening a file to write,
    naming, linking, removing, making a folder, writing, flushing to disk, a statement of SQL;
    and inside each write, when half of its bytes are out. The moment after an operation is, on
    the disk, the one before the next. With `reads`, opening to read and listing a folder are
    points too: another process may come between. From point number `at` (from 0) on, `strike`
    is called at each.

    An audit hook cannot be taken off again: a process has one instance, and ends.
    """

    def __init__(self, root: Path, at: int, strike: Strike, *, reads: bool = False) -> None:
        self.points: list[str] = []
        self._root, self._at, self._strike = str(root), at, strike
        self._paths = _CHANGES | _READS if reads else _CHANGES
        self._all_opens = reads
        self._fsync, self._open, self._connect = os.fsync, io.open, sqlite3.connect
        sys.addaudithook(self._audited)
        os.fsync = self._flushed  # type: ignore[assignment]
        io.open = builtins.open = self._opened  # type: ignore[assignment]
        sqlite3.connect = self._connected  # type: ignore[assignment]

    def passes(self, what: str, path: Any) -> None:
        """Note one point, and strike if it is the one."""
        name = os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else ""
        if not name.startswith(self._root):
            return
        point = f"{what} {name[len(self._root) + 1 :] or '.'}"
        self.points.append(point)
        if len(self.points) > self._at:
            self._strike(point)

    def _audited(self, event: str, arguments: tuple[Any, ...]) -> None:
        """An event that Python announces."""
        if event == "open" and (self._all_opens or arguments[2] & _WRITES):
            self.passes("open", arguments[0])
        elif event in self._paths:
            self.passes(event.removeprefix("os."), arguments[self._paths[event]])

    def _flushed(self, handle: int) -> None:
        """os.fsync, which Python does not announce."""
        self.passes("fsync", Path(f"/proc/self/fd/{handle}").readlink())
        self._fsync(handle)

    def _connected(self, path: Any, *arguments: Any, **named: Any) -> sqlite3.Connection:
        """Open a database whose statements are points."""
        self.passes("connect", path)
        db = self._connect(path, *arguments, **named)
        # SQLite swallows what is raised in here: a strike that raises is none
        db.set_trace_callback(lambda statement: self.passes(f"sql {statement[:30]!r}", path))
        return db

    def _opened(self, path: Any, mode: str = "r", *arguments: Any, **named: Any) -> Any:
        """Open a file; one below the root whose writes are points, if it is to be written."""
        plain = not set(mode) & set("wxa+") or isinstance(path, int)
        if plain or not os.fsdecode(path).startswith(self._root):
            return self._open(path, mode, *arguments, **named)
        raw = _Metered(path, mode.replace("b", "").replace("t", ""), self)
        file = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
        return file if "b" in mode else io.TextIOWrapper(file, encoding=named.get("encoding"))


class _Metered(io.FileIO):
    """A file whose writes are points: before, and when half of the bytes are written."""

    def __init__(self, path: Any, mode: str, operations: Operations) -> None:
        super().__init__(path, mode)
        self._operations = operations

    def write(self, content: Any) -> int:
        """Write the bytes in two halves."""
        view = memoryview(content).cast("B")
        self._operations.passes("write", self.name)
        done = super().write(view[: len(view) // 2])
        self._operations.passes("write half", self.name)
        return done + super().write(view[len(view) // 2 :])


def kill_here(point: str) -> None:
    """End this process as ``kill -9`` does."""
    os.kill(os.getpid(), signal.SIGKILL)


def disk_full(point: str) -> None:
    """Refuse this operation as a full disk does; what needs no room is let through.

    SQLite writes from within itself: a real full disk tells how it fares.
    """
    if not point.startswith(("remove", "rmdir", "connect", "sql")):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
