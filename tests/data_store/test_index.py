"""The index's tables and how folders and files are told to have changed; see test_catalog."""

import os
import shutil
import time
from contextlib import closing

import pytest

from landscape.data_store import index, snapshot
from landscape.data_store.errors import LandscapeError
from landscape.data_store.files import SIZE_LIMIT
from landscape.data_store.store import open_store
from tests.support.results import pair, record, saved


@pytest.fixture
def root(tmp_path):
    """A store with two results."""
    root = open_store(tmp_path / "store").root
    for level in range(2):
        saved(root, pair(), record(level=level))
    return root


@pytest.fixture
def db(root):
    """An index that agrees with it."""
    with closing(snapshot.new(index.SCHEMA)) as made:
        assert index.refresh(made, root, SIZE_LIMIT)
        yield made


@pytest.fixture
def settled(monkeypatch):
    """From here on no folder counts as just changed."""
    monkeypatch.setattr(index, "_RACY", -1.0)


def paths(db):
    """Relative paths of all rows."""
    return sorted(row[0] for row in index.contents(db))


def test_a_second_look_changes_nothing(root, db, settled):
    assert len(paths(db)) == 2
    assert index.refresh(db, root, SIZE_LIMIT)  # the times of folders are known now
    assert not index.refresh(db, root, SIZE_LIMIT)


def test_a_second_look_at_what_changed_just_now_changes_nothing(root, db):
    assert not index.refresh(db, root, SIZE_LIMIT)


def test_an_index_belongs_to_its_folder(root, db):
    assert index.is_of(db, root)
    shutil.copytree(root, root.parent / "copy")
    assert not index.is_of(db, root.parent / "copy")
    root.rename(root.parent / "moved")
    assert index.is_of(db, root.parent / "moved")
    with closing(snapshot.new(index.SCHEMA)) as empty:
        assert not index.is_of(empty, root.parent / "moved")
    with closing(snapshot.new("CREATE TABLE a (b);")) as other:
        assert not index.is_of(other, root.parent / "moved")


def test_a_file_changed_in_place_is_noticed_when_it_is_looked_at(root, db, settled):
    index.refresh(db, root, SIZE_LIMIT)
    first, second = paths(db)
    assert not index.notice(db, root, [first, second])
    time.sleep(0.03)
    with (root / first).open("r+b") as file:
        file.write(b"x")
    os.utime(root / first, ns=(0, (root / second).stat().st_mtime_ns))
    assert not index.refresh(db, root, SIZE_LIMIT)  # the folder does not tell
    assert not index.notice(db, root, [second])
    assert index.notice(db, root, [first, second])
    assert index.refresh(db, root, SIZE_LIMIT)
    assert paths(db) == [second]


@pytest.mark.parametrize("path", ["results/barrier/00/none.nc", "/etc/passwd", "../store", ""])
def test_a_path_that_is_no_file_of_the_index_is_noticed(root, db, path):
    assert index.notice(db, root, [path])


def test_what_killed_writers_left_is_swept_by_those_who_may(root, db):
    rest = (root / paths(db)[0]).parent / ".a.nc.00000000.99999999.00112233.tmp"
    rest.write_bytes(b"rest")
    os.utime(rest, (0, 0))
    index.refresh(db, root, SIZE_LIMIT, tidy=False)
    assert rest.exists()
    index.refresh(db, root, SIZE_LIMIT)
    assert not rest.exists()


def test_files_of_runs(root, db, small_store):
    assert index.runs(db) == []
    with closing(snapshot.new(index.SCHEMA)) as other:
        index.refresh(other, small_store.root, SIZE_LIMIT)
        found = index.runs(other)
        assert len(found) == len(set(found)) == 8
        assert all((small_store.root / path).is_file() for path in found)
        assert all(path.startswith("runs/") for path in found)


def test_a_folder_that_cannot_be_listed_is_a_fault_until_it_can(root, db, monkeypatch):
    folder = paths(db)[0].rpartition("/")[0]
    scan = index._scan

    def closed(place):
        if place == root / folder:
            raise LandscapeError(f"cannot list the folder {place}: Permission denied")
        return scan(place)

    monkeypatch.setattr(index, "_scan", closed)
    assert index.refresh(db, root, SIZE_LIMIT)
    assert not index.refresh(db, root, SIZE_LIMIT)
    assert len(paths(db)) == 1
    rows = db.execute("SELECT path, fault FROM files WHERE fault != ''").fetchall()
    assert rows == [(folder, f"cannot list the folder {root / folder}: Permission denied")]
    monkeypatch.undo()
    assert index.refresh(db, root, SIZE_LIMIT)
    assert len(paths(db)) == 2


def test_a_place_that_cannot_be_listed_is_an_error(root, db, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(index.os, "scandir", refuse)
    with pytest.raises(
        LandscapeError, match=rf"^cannot list the folder {root}/\w+: Permission denied; give read"
    ):
        index.refresh(db, root, SIZE_LIMIT)
