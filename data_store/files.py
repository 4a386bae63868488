"""Files: how everything in a store is read and written, whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import secrets
import socket
import stat
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from landscape.data_store.errors import LandscapeError

TEMPORARY = ".tmp"
DAMAGED = "damaged"
SIZE_LIMIT = 2**32

_TEMPORARY_NAME = re.compile(r"\..+\.[0-9a-f]{8}\.[0-9]{1,10}\.[0-9a-f]{8}\.tmp", re.DOTALL)
_DAY = 86_400.0
_NO_FOLDER_FLUSH = (errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES)


def read_file(path: Path, *, root: Path | None = None, limit: int = SIZE_LIMIT) -> bytes:
    """The content of a plain file.

    Parameters
    ----------
    root
        The store it belongs to: nothing between `root` and the file may be a symbolic link,
        so that a store from elsewhere reaches nothing outside itself. None for a file that
        its user named, where links are followed.
    limit
        Largest size in bytes.

    Raises `LandscapeError`, naming the path, if it is no plain file (a pipe or a device is
    never waited for), too large, or cannot be read.
    """
    refuse_links(path, root)
    try:
        with open(path, "rb", buffering=0, opener=_opener(root)) as file:
            state = os.fstat(file.fileno())
            if not stat.S_ISREG(state.st_mode):
                raise LandscapeError(f"{path} is no plain file")
            if state.st_size > limit:
                raise LandscapeError(
                    f"{path} has {state.st_size} bytes; more than {limit} is refused unless "
                    "--max-size allows it"
                )
            return file.readall()
    except (OSError, ValueError) as error:
        raise LandscapeError(f"cannot read {path}: {_reason(error)}") from error


def _opener(root: Path | None) -> Callable[[str, int], int]:
    """How a file is opened: never waiting for it, and below `root` without following a link."""
    more = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
    if root is not None:
        more |= getattr(os, "O_NOFOLLOW", 0)
    return lambda path, flags: os.open(path, flags | more, 0o666)


def _reason(error: OSError | ValueError) -> str:
    """Why a file could not be used, without its path; a ValueError is for a NUL in that."""
    return str((isinstance(error, OSError) and error.strerror) or error)


def refuse_links(path: Path, root: Path | None) -> None:
    """Raise `LandscapeError` if a symbolic link lies between `root` and `path`, or is `path`."""
    if root is None:
        return
    above = len(root.parts)
    if path.parts[:above] != root.parts:
        raise LandscapeError(f"{path} lies outside the store {root}")
    place = str(root)
    for part in path.parts[above:]:
        place = f"{place}{os.sep}{part}"  # asked of every file: a Path takes ten times as long
        if part == ".." or os.path.islink(place):  # noqa: PTH114
            raise LandscapeError(
                f"{Path(place)} is a symbolic link; a store keeps plain files and folders, so that "
                "it reaches nothing outside itself: copy what it leads to into its place"
            )


def write_over(
    path: Path, content: bytes, *, root: Path | None = None, durable: bool = True
) -> None:
    """Put `content` at `path` at once, durably, replacing what was there.

    The bytes go to an exclusive temporary name in the same folder, are flushed to disk,
    renamed over `path`, and the folder is flushed. A full disk, a size limit or a kill
    leaves `path` as it was; what a killed writer left in the folder is swept. Without
    `durable` nothing is flushed: a power cut may lose or tear the file, a kill may not.

    Raises `LandscapeError` if the file system refuses; nothing is left behind then.
    """
    _write(path, content, root, replace=True, durable=durable)


def write_new(path: Path, content: bytes, *, root: Path | None = None) -> bool:
    """Put `content` at `path` unless there is a file already: the first of several writers wins.

    True if this one did. Otherwise as `write_over`.
    """
    return _write(path, content, root, replace=False, durable=True)


def _write(path: Path, content: bytes, root: Path | None, *, replace: bool, durable: bool) -> bool:
    """Write a temporary file and give it its name."""
    refuse_links(path, root)
    owner = f"{_host()}.{os.getpid()}.{secrets.token_hex(4)}"
    temporary = path.with_name(f".{path.name}.{owner}{TEMPORARY}")
    try:
        _make_folder(path.parent)
        sweep(path.parent)
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        placed = _place(temporary, path, replace=replace)
        if durable:
            _flush_folder(path.parent)
        return placed
    except (OSError, ValueError) as error:
        _discard(temporary)
        raise LandscapeError(
            f"could not write {path}: {_reason(error)}; what was stored before is intact: make "
            "room or give write access, and repeat the command"
        ) from error
    except BaseException:
        _discard(temporary)
        raise


def _place(temporary: Path, path: Path, *, replace: bool) -> bool:
    """Give a temporary file its name; without `replace`, False if the name is taken."""
    if replace:
        temporary.replace(path)
        return True
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    except OSError:  # a file system without hard links
        if path.exists():
            return False
        temporary.replace(path)
        return True
    finally:
        _discard(temporary)
    return True


def _discard(path: Path) -> None:
    """Remove a temporary file, as far as the disk lets us."""
    with contextlib.suppress(OSError, ValueError):
        path.unlink(missing_ok=True)


def append_line(path: Path, record: Mapping[str, Any], *, root: Path | None = None) -> None:
    """Append one JSON line.

    A kill may tear the last line, which readers pass over; the next one begins on a new line.
    """
    refuse_links(path, root)
    try:
        with open(path, "ab+", opener=_opener(root)) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise OSError("it is no plain file")
            torn = file.tell() > 0 and (file.seek(-1, os.SEEK_END), file.read(1))[1] != b"\n"
            file.write(b"\n" * torn + json.dumps(record).encode() + b"\n")
    except (OSError, ValueError) as error:
        raise LandscapeError(f"could not append to {path}: {_reason(error)}") from error


def _make_folder(folder: Path) -> None:
    """Make a folder, and those it lies in, as durable as the files to come."""
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        _flush_folder(folder.parent)


def _flush_folder(folder: Path) -> None:
    """Make a rename durable, where folders can be flushed: not on Windows nor on some disks."""
    if os.name == "nt":
        return
    try:
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        if error.errno not in _NO_FOLDER_FLUSH:
            raise


def sweep(folder: Path) -> None:
    """Remove temporary files in `folder` whose writers are dead.

    Those of another machine that shares the folder go when they are a day old.
    """
    try:
        with os.scandir(folder) as entries:
            found = [e for e in entries if is_temporary(e.name)]
    except (OSError, ValueError):
        return
    for entry in found:
        if is_abandoned(Path(entry.path)):
            _discard(Path(entry.path))


def is_abandoned(temporary: Path) -> bool:
    """True for a temporary file whose writer is dead, or elsewhere and a day ago."""
    host, owner = temporary.name.split(".")[-4:-2]
    if host == _host():
        return not _alive(int(owner))
    try:
        return time.time() - temporary.lstat().st_mtime > _DAY
    except OSError:
        return False


def is_temporary(name: str) -> bool:
    """True for the name of a file that is being written, or whose writer was killed."""
    return _TEMPORARY_NAME.fullmatch(name) is not None


def _host() -> str:
    """This machine, as temporary names state it."""
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]


def _alive(pid: int) -> bool:
    """True if a process of this number may still be running."""
    if os.name == "nt":  # there, asking by a signal would interrupt it
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def move_aside(root: Path, path: Path) -> Path:
    """Move a file of a store into its folder ``damaged``, under the same relative name.

    Nothing is overwritten there. Returns where it is now; raises `LandscapeError` if the file
    system refuses.
    """
    relative = path.relative_to(root)
    place = root / DAMAGED / relative
    count = 1
    while os.path.lexists(place):
        count += 1
        place = root / DAMAGED / relative.with_name(f"{relative.name}.{count}")
    refuse_links(path.parent, root)
    refuse_links(place.parent, root)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        path.rename(place)
    except OSError as error:
        raise LandscapeError(
            f"could not move {path} to {place}: {_reason(error)}; give write access"
        ) from error
    return place
