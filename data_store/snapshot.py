"""A small SQLite database kept as one sealed file: read into memory, written whole."""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from landscape.data_store.errors import LandscapeError
from landscape.data_store.files import read_file, write_over

_MAGIC = b"landscape-index/1 sha256 "
_SEAL_SIZE = len(_MAGIC) + 64
_LIMIT = 2**31

# what asking a stranger's database raises; the last where SQLite quotes its bytes
FAULTS = (sqlite3.Error, OverflowError, UnicodeDecodeError)


def has_schema(db: sqlite3.Connection, schema: str) -> bool:
    """True if a database declares what `schema` does, and none of a stranger's triggers."""
    with closing(new(schema)) as empty:
        return _declared(db) == _declared(empty)


def new(schema: str) -> sqlite3.Connection:
    """An empty database in memory."""
    db = sqlite3.connect(":memory:")
    db.executescript(schema)
    return db


def save(db: sqlite3.Connection, path: Path, *, root: Path) -> None:
    """Write the database at once, as far as the disk lets us: the next reader makes it again."""
    image = db.serialize()
    with suppress(LandscapeError):
        digest = hashlib.sha256(image).hexdigest().encode()
        write_over(path, image + _MAGIC + digest, root=root)


def stored(path: Path, *, root: Path) -> sqlite3.Connection | None:
    """A copy in memory of the database in a file, whatever its schema.

    None for a file that is absent, cut, flipped or unreadable: what is kept here can be made
    again. SQLite tools open the file too.
    """
    try:
        content = read_file(path, root=root, limit=_LIMIT)
    except LandscapeError:
        return None
    image, seal = memoryview(content)[:-_SEAL_SIZE], content[-_SEAL_SIZE:]
    if not image or seal != _MAGIC + hashlib.sha256(image).hexdigest().encode():
        return None
    db = sqlite3.connect(":memory:")
    try:
        db.deserialize(image)
        db.execute("PRAGMA trusted_schema = OFF")
        db.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except FAULTS:
        db.close()
        return None
    return db


def _declared(db: sqlite3.Connection) -> set[tuple[str, str]]:
    """What the tables of a database are declared as."""
    try:
        rows = db.execute("SELECT name, coalesce(sql, '') FROM sqlite_master").fetchall()
    except FAULTS:
        return set()
    return {(str(name), str(sql)) for name, sql in rows}
