"""Snapshots: a database that is whole, or none."""

import hashlib
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from landscape.data_store import snapshot
from landscape.data_store.errors import LandscapeError

SCHEMA = "CREATE TABLE t (a INTEGER, b TEXT); CREATE INDEX by_a ON t (a);"
MAGIC = b"landscape-index/1 sha256 "


@pytest.fixture
def path(tmp_path):
    """A snapshot of a hundred rows."""
    with closing(snapshot.new(SCHEMA)) as db:
        with db:
            db.executemany(
                "INSERT INTO t VALUES (?, ?)", [(i, f"row {i}" * 20) for i in range(100)]
            )
        snapshot.save(db, tmp_path / "a.sqlite", root=tmp_path)
    return tmp_path / "a.sqlite"


def rows(path):
    """What a snapshot holds, None if it is none."""
    db = snapshot.stored(path, root=path.parent)
    if db is None:
        return None
    with closing(db):
        return db.execute("SELECT a, b FROM t ORDER BY a").fetchall()


def sealed(image):
    """Any bytes with the right digest."""
    return image + MAGIC + hashlib.sha256(image).hexdigest().encode()


def test_what_is_saved_is_read(path):
    assert rows(path) == [(i, f"row {i}" * 20) for i in range(100)]


def test_sqlite_tools_open_the_file(path):
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert db.execute("SELECT count(*) FROM t").fetchone() == (100,)


def test_a_schema_that_is_no_text_is_no_schema(path):
    """SQLite quotes it in its error, which Python cannot decode then."""
    with closing(snapshot.stored(path, root=path.parent)) as db:
        db.execute("PRAGMA writable_schema = ON")
        db.execute("UPDATE sqlite_master SET name = CAST(x'ff' AS TEXT), sql = 'no schema'")
        db.commit()
        image = db.serialize()
    path.write_bytes(sealed(image))
    found = snapshot.stored(path, root=path.parent)
    if found is not None:
        with closing(found):
            assert not snapshot.has_schema(found, SCHEMA)


def test_a_reader_has_a_copy_of_its_own(path):
    content = path.read_bytes()
    with closing(snapshot.stored(path, root=path.parent)) as db, db:
        db.execute("DELETE FROM t")
        db.execute("INSERT INTO t VALUES (1, ?)", ("x" * 100_000,))
    assert path.read_bytes() == content
    assert len(rows(path)) == 100


def test_no_flipped_bit_is_believed(path):
    content, draws = path.read_bytes(), np.random.default_rng(0)
    for place in draws.integers(0, len(content), 1000):
        damaged = bytearray(content)
        damaged[place] ^= 1 << int(draws.integers(8))
        path.write_bytes(damaged)
        assert rows(path) is None


def test_no_other_length_is_believed(path):
    content = path.read_bytes()
    for length in (*range(0, len(content), 97), len(content) - 1):
        path.write_bytes(content[:length])
        assert rows(path) is None
    path.write_bytes(content + b"\0")
    assert rows(path) is None


@pytest.mark.parametrize(
    "content",
    [b"", b"text", MAGIC + b"0" * 64, sealed(b""), sealed(b"text"), sealed(b"\0" * 4096),
     sealed(b"SQLite format 3\0"), sealed(b"SQLite format 3\0" + bytes(5000)),
     sealed(b"SQLite format 3\0" + b"\xff" * 5000)],
)  # fmt: skip
def test_what_is_no_database_is_none(path, content):
    path.write_bytes(content)
    assert snapshot.stored(path, root=path.parent) is None


def test_what_is_no_file_is_none(tmp_path):
    assert snapshot.stored(tmp_path / "none", root=tmp_path) is None
    assert snapshot.stored(tmp_path, root=tmp_path.parent) is None
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        assert snapshot.stored(tmp_path / "pipe", root=tmp_path) is None


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege there")
def test_a_link_is_none(path):
    moved = path.parent / "moved"
    path.rename(moved)
    path.symlink_to(moved)
    assert snapshot.stored(path, root=path.parent) is None


@pytest.mark.parametrize(
    "more",
    ["CREATE VIEW v AS SELECT a FROM t", "CREATE TABLE u (a)", "ALTER TABLE t ADD COLUMN c",
     "CREATE TRIGGER g AFTER INSERT ON t BEGIN DELETE FROM t; END", "DROP INDEX by_a",
     "CREATE INDEX by_b ON t (b)", "DROP TABLE t"],
)  # fmt: skip
def test_another_schema_is_told(path, more):
    with closing(snapshot.stored(path, root=path.parent)) as db:
        assert snapshot.has_schema(db, SCHEMA)
        db.execute(more)
        assert not snapshot.has_schema(db, SCHEMA)


def test_a_stored_schema_runs_no_function(path):
    with closing(snapshot.new(SCHEMA)) as db:
        db.create_function("f", 1, lambda a: a)
        db.execute("CREATE VIEW v AS SELECT f(a) FROM t")
        snapshot.save(db, path, root=path.parent)
    with closing(snapshot.stored(path, root=path.parent)) as db:
        assert db.execute("PRAGMA trusted_schema").fetchone() == (0,)


def test_a_disk_that_refuses_leaves_things_as_they_were(path, monkeypatch):
    content = path.read_bytes()

    def refuse(*_: object, **__: object) -> None:
        raise LandscapeError("no space")

    monkeypatch.setattr(snapshot, "write_over", refuse)
    with closing(snapshot.new(SCHEMA)) as db:
        snapshot.save(db, path, root=path.parent)
    assert path.read_bytes() == content
    assert list(Path(path.parent).iterdir()) == [path]
