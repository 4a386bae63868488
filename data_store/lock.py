"""The lock of a run: one process writes it, the second is told who does."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from landscape.data_store import layout
from landscape.data_store.errors import LandscapeError
from landscape.data_store.files import read_file, refuse_links

if TYPE_CHECKING:
    from landscape.data_store.store import Run

_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EIO)


class RunIsHeld(LandscapeError):
    """Another process is writing the run: whoever can wait finds it finished, or free."""


@contextmanager
def holding(run: Run) -> Iterator[None]:
    """Hold the run's lock; the operating system frees it when the process ends, however it does.

    Raises `RunIsHeld` naming the holder if it is taken, `LandscapeError` if the disk has no locks
    (some network disks).
    """
    path = layout.run_lock(run.root, run.name)
    holder = layout.run_holder(run.root, run.name)
    refuse_links(path, run.root)
    refuse_links(holder, run.root)
    lock = FileLock(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        raise RunIsHeld(
            f"run {run.name!r} is being written by {_holder(run)}; wait for it, or use another "
            "--name"
        ) from None
    except (OSError, NotImplementedError) as error:
        raise LandscapeError(_refusal(run, error)) from error
    try:
        with suppress(OSError):  # the name is a courtesy: a full disk speaks up where it matters
            holder.unlink(missing_ok=True)  # what lies there may be a pipe
            with holder.open("x", encoding="utf-8") as file:
                file.write(f"process {os.getpid()} on {socket.gethostname()}")
        yield
    finally:
        with suppress(OSError):
            holder.unlink(missing_ok=True)
        lock.release()


def is_held(run: Run) -> bool:
    """True if a process is writing this run; nothing in the store is changed by asking.

    A holder that a killed process named holds nothing: the lock itself is asked then, shared
    and for a moment.
    """
    if not layout.run_holder(run.root, run.name).exists():
        return False
    try:
        import fcntl

        with layout.run_lock(run.root, run.name).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except (ImportError, OSError):  # taken, or a system that cannot be asked
        return True
    return False


def _holder(run: Run) -> str:
    """Who holds the lock, as far as it said so."""
    place = layout.run_holder(run.root, run.name)
    try:
        return read_file(place, root=run.root, limit=200).decode() or "another process"
    except (LandscapeError, ValueError):
        return "another process"


def _refusal(run: Run, error: OSError | NotImplementedError) -> str:
    """Why a run could not be locked, and what to do about it."""
    path = layout.run_lock(run.root, run.name)
    if isinstance(error, NotImplementedError) or error.errno in _NO_LOCKS:
        return (
            f"the disk of {path} has no file locks, as some network disks: put the store on "
            "another disk, or have it mounted with locks"
        )
    return f"cannot lock {path}: {error.strerror}; give write access, or another --store"
