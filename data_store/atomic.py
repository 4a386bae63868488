"""Whole files or none: how every file of a store is written."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from landscape.data_store.errors import LandscapeError

TEMPORARY = ".tmp"


def write_atomic(path: Path, content: bytes) -> None:
    """Put `content` at `path` at once, durably, replacing what was there.

    The bytes go to an exclusive temporary name in the same folder, are flushed to disk,
    renamed over `path`, and the folder is flushed. A full disk, a size limit or a kill
    leaves `path` as it was.

    Raises `LandscapeError` if the file system refuses; nothing is left behind then.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}{TEMPORARY}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _flush_folder(path.parent)
    except OSError as error:
        _discard(temporary)
        raise LandscapeError(
            f"could not write {path}: {error.strerror or error}; what was stored before is "
            "intact: make room or give write access, and repeat the command"
        ) from error
    except BaseException:
        _discard(temporary)
        raise


def _discard(path: Path) -> None:
    """Remove a temporary file, as far as the disk lets us."""
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)


def append_line(path: Path, record: Mapping[str, Any]) -> None:
    """Append one JSON line; a kill may tear the last line, which readers pass over."""
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
    except OSError as error:
        raise LandscapeError(f"could not append to {path}: {error.strerror}") from error


def _flush_folder(folder: Path) -> None:
    """Make a rename durable; folders cannot be flushed on Windows."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sweep(folder: Path) -> None:
    """Remove temporary files in `folder` whose writers are dead."""
    for path in folder.glob(f".*{TEMPORARY}"):
        owner = path.name.split(".")[-3]
        if owner.isdecimal() and not _alive(int(owner)):
            _discard(path)


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
