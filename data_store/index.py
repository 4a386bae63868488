"""The index: tables of what lies in a store, made to agree with its files."""

from __future__ import annotations

import os
import re
import sqlite3
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from landscape.data_store import layout
from landscape.data_store.address import is_run_name
from landscape.data_store.describe import COLUMNS, Row, described
from landscape.data_store.errors import LandscapeError
from landscape.data_store.files import is_temporary, sweep
from landscape.data_store.snapshot import FAULTS

SCHEMA = "\n".join(
    [
        "CREATE TABLE folders (path TEXT PRIMARY KEY, stamp TEXT) WITHOUT ROWID;",
        "CREATE TABLE files (folder TEXT, path TEXT, stamp TEXT, fault TEXT, "
        "PRIMARY KEY (folder, path)) WITHOUT ROWID;",
        "CREATE INDEX faulty ON files (folder) WHERE fault != '';",
        *(
            f"CREATE TABLE {kind}s (path TEXT PRIMARY KEY, "
            f"{', '.join(map(' '.join, columns.items()))}) WITHOUT ROWID;"
            for kind, columns in COLUMNS.items()
        ),
    ]
)
_RACY = 2.0  # seconds within which a second change may leave a folder's time as it is
_RESULT = re.compile(r"([0-9a-f]{2})[0-9a-f]{38}\.nc")


def is_of(db: sqlite3.Connection, root: Path) -> bool:
    """True if the index was made in this folder: one that came with a copy is not believed."""
    try:
        made = db.execute("SELECT stamp FROM folders WHERE path = ''").fetchone()
    except FAULTS:
        return False
    return made is not None and made[0] == _identity(root)


def refresh(db: sqlite3.Connection, root: Path, limit: int, *, tidy: bool = True) -> bool:
    """Read the files that are new or changed, forget those that are gone; True if any.

    Folders whose times of change and number are as they were are passed over, unless they
    changed just now or hold a faulty file: what could not be read may be readable again.
    `tidy` sweeps what killed writers left.
    """
    known = dict(db.execute("SELECT path, stamp FROM folders").fetchall())
    found = dict(_folders(root))
    faulty = {row[0] for row in db.execute("SELECT DISTINCT folder FROM files WHERE fault != ''")}
    changed = known != found
    with db:
        for folder in known.keys() - found.keys():
            _forget(db, folder, _files(db, folder))
            db.execute("DELETE FROM folders WHERE path = ?", (folder,))
        for folder, stamp in found.items():
            if not stamp or stamp != known.get(folder) or folder in faulty:
                changed |= _read(db, root, folder, limit, tidy=tidy)
                db.execute("INSERT OR REPLACE INTO folders VALUES (?, ?)", (folder, stamp))
    return changed


def notice(db: sqlite3.Connection, root: Path, paths: Iterable[str]) -> bool:
    """Compare files with what they were when they were read; True if one was changed in place.

    Its folder is read by the next `refresh`. About 0.005 ms a file.
    """
    changed = False
    for path in paths:
        folder = path.rpartition("/")[0]
        key = (folder, path)
        read = db.execute("SELECT stamp FROM files WHERE folder = ? AND path = ?", key).fetchone()
        try:
            now = _stamp(os.lstat(f"{root}/{path}"))
        except OSError:
            now = ""
        if read is None or read[0] != now:
            db.execute("DELETE FROM folders WHERE path = ?", (folder,))
            changed = True
    return changed


def runs(db: sqlite3.Connection) -> list[str]:
    """Relative paths of all files of runs."""
    rows = db.execute("SELECT path FROM files WHERE folder BETWEEN 'runs/' AND 'runs0'")
    return [path for (path,) in rows]


def insert(db: sqlite3.Connection, kind: str, path: str, row: Row) -> None:
    """Add the row of a file."""
    marks = ", ".join("?" for _ in row)
    db.execute(f"INSERT INTO {kind}s VALUES (?, {marks})", (path, *row))


def contents(db: sqlite3.Connection) -> set[Row]:
    """All rows, each behind its path."""
    return {row for kind in COLUMNS for row in db.execute(f"SELECT * FROM {kind}s")}


def _identity(root: Path) -> str:
    """What tells the store's folder from a copy of it."""
    return str(root.stat().st_ino)


def _folders(root: Path) -> Iterator[tuple[str, str]]:
    """Relative path and stamp of the store and of every folder that holds runs or results.

    The stamp of one that changed just now is empty.
    """
    yield "", _identity(root)
    kinds = [f"results/{entry.name}" for entry in _subfolders(layout.results(root))]
    for place in ("runs", *kinds):
        for entry in _subfolders(root / place):
            try:
                state = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            settled = time.time() - max(state.st_mtime, state.st_ctime) > _RACY
            yield f"{place}/{entry.name}", _stamp(state) if settled else ""


def _stamp(state: os.stat_result) -> str:
    """What changes when a file or a folder does; its second time cannot be set by anybody."""
    return f"{state.st_mtime_ns}/{state.st_ctime_ns}/{state.st_size}/{state.st_ino}"


def _files(db: sqlite3.Connection, folder: str) -> dict[str, tuple[str, str]]:
    """Stamps and faults of the files of a folder, by path."""
    rows = db.execute("SELECT path, stamp, fault FROM files WHERE folder = ?", (folder,))
    return {path: (stamp, fault) for path, stamp, fault in rows}


def _read(db: sqlite3.Connection, root: Path, folder: str, limit: int, *, tidy: bool) -> bool:
    """Make the rows of one folder agree with its files; True if any did not."""
    known, found = _files(db, folder), {}
    rows: list[tuple[str, str, Row | None, str, str]] = []
    try:
        entries = _scan(root / folder)
    except LandscapeError as error:
        entries, found[folder] = [], ("", "")
        if known.get(folder) != ("", str(error)):
            rows.append(("", folder, None, "", str(error)))
    for entry in entries:
        if is_temporary(entry.name):
            if tidy:
                sweep(root / folder)
        elif kind := _kind(folder, entry.name):
            try:
                found[f"{folder}/{entry.name}"] = (_stamp(entry.stat(follow_symlinks=False)), kind)
            except FileNotFoundError:
                continue
    for path, (stamp, kind) in found.items():
        if kind and known.get(path) != (stamp, ""):
            row, fault = described(root, path, kind, limit)
            if known.get(path) != (stamp, fault):
                rows.append((kind, path, row, stamp, fault))
    old = known.keys() - found.keys() | {path for _, path, *_ in rows if path in known}
    _forget(db, folder, old)
    for kind, path, row, stamp, fault in rows:
        if row is not None:
            insert(db, kind, path, row)
        db.execute("INSERT INTO files VALUES (?, ?, ?, ?)", (folder, path, stamp, fault))
    return bool(old or rows)


def _forget(db: sqlite3.Connection, folder: str, paths: Iterable[str]) -> None:
    """Delete the rows of some files of a folder."""
    keys = [(folder, path) for path in paths]
    db.executemany("DELETE FROM files WHERE folder = ? AND path = ?", keys)
    for kind in COLUMNS:
        db.executemany(f"DELETE FROM {kind}s WHERE path = ?", [(path,) for _, path in keys])


def _kind(folder: str, name: str) -> str:
    """What a file is by its name, empty if the index has nothing to say of it."""
    place, _, last = folder.rpartition("/")
    if place == "runs":
        if layout.level_number(name) is not None:
            return "level"
        return "run" if name == layout.RUN_MANIFEST else ""
    found = _RESULT.fullmatch(name)
    return "result" if found and found[1] == last else ""


def _subfolders(root: Path) -> list[os.DirEntry[str]]:
    """The folders in a folder that a store may have, links left out, sorted."""
    if root.is_symlink():
        return []
    folders = [
        entry
        for entry in _scan(root)
        if is_run_name(entry.name) and entry.is_dir(follow_symlinks=False)
    ]
    return sorted(folders, key=lambda entry: entry.name)


def _scan(folder: Path) -> list[os.DirEntry[str]]:
    """The entries of a folder, none if it is not there."""
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise LandscapeError(
            f"cannot list the folder {folder}: {error.strerror}; give read access"
        ) from error
