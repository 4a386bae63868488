"""The lock of a run: one writer, named to the second, free again however the first one ends."""

import errno
import os
import signal
import socket
import time
from pathlib import Path

import pytest

from landscape.data_store import layout, lock
from landscape.data_store.errors import LandscapeError
from landscape.data_store.lock import holding, is_held
from landscape.data_store.store import Run, open_store
from tests.support.children import Child, run, together


@pytest.fixture
def mine(tmp_path):
    """A run of an empty store, not yet made."""
    return Run(open_store(tmp_path / "store").root, "imp")


def hold_and_wait(run_):
    """A job that holds the lock until it is killed."""

    def job(tell):
        with holding(run_):
            tell("held")
            time.sleep(100)

    return job


def refused(run_, who=".*"):
    message = f"^run 'imp' is being written by {who}; wait for it, or use another --name$"
    with pytest.raises(LandscapeError, match=message), holding(run_):
        pytest.fail("it was held twice")


def test_the_second_is_told_who_holds_it(mine):
    child = Child(hold_and_wait(mine))
    child.hears("held")
    try:
        who = f"process {child.pid} on {socket.gethostname()}"
        refused(mine, who)
        assert is_held(mine)
        with holding(Run(mine.root, "other")):
            pass
    finally:
        child.kill()
        child.wait()


def test_a_killed_holder_holds_nothing(mine):
    child = Child(hold_and_wait(mine))
    child.hears("held")
    child.kill()
    assert child.wait().signal == signal.SIGKILL
    assert layout.run_holder(mine.root, "imp").exists()  # what it left
    assert not is_held(mine)
    with holding(mine):
        assert str(os.getpid()) in layout.run_holder(mine.root, "imp").read_text()
    assert not layout.run_holder(mine.root, "imp").exists()


def test_in_one_process_it_is_held_once_too(mine):
    with holding(mine):
        refused(mine, f"process {os.getpid()} on {socket.gethostname()}")
    with holding(mine):
        pass


def test_of_many_that_begin_at_once_one_holds_it(mine):
    def job(tell):
        try:
            with holding(mine):
                time.sleep(0.3)
                return "held"
        except LandscapeError as error:
            return str(error)

    said = [ended.returned() for ended in together(*[job] * 5)]
    assert said.count("held") == 1
    assert sum("is being written by" in sentence for sentence in said) == 4


def test_readers_are_not_kept_waiting(mine):
    with holding(mine):
        assert mine.levels == []
        assert not mine.exists
        assert list(open_store(mine.root)) == []


def test_nothing_is_held_where_nobody_was(mine):
    assert not is_held(mine)
    assert not layout.run_folder(mine.root, "imp").exists()


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOTSUP, errno.EIO])
def test_a_disk_without_locks_is_said(mine, monkeypatch, code):
    import fcntl

    def refuse(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", refuse)
    message = (
        r"^the disk of .*imp/\.lock has no file locks, as some network disks: put the store on "
        "another disk, or have it mounted with locks$"
    )
    with pytest.raises(LandscapeError, match=message), holding(mine):
        pytest.fail("it was held")


def test_a_lock_of_no_kind_is_said(mine, monkeypatch):
    def refuse(*_, **__):
        raise NotImplementedError("FileSystem does not appear to support flock")

    monkeypatch.setattr(lock.FileLock, "acquire", refuse)
    with pytest.raises(LandscapeError, match="has no file locks, as some network disks"):
        holding(mine).__enter__()


def test_a_folder_that_cannot_be_written_is_said(mine, monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "mkdir", refuse)
    message = r"^cannot lock .*imp/\.lock: Read-only file system; give write access, or another"
    with pytest.raises(LandscapeError, match=message):
        holding(mine).__enter__()


@pytest.mark.parametrize("name", [".lock", ".holder", ""])
def test_a_link_is_not_followed(mine, tmp_path, name):
    folder = layout.run_folder(mine.root, "imp")
    outside = tmp_path / "outside"
    if name:
        folder.mkdir(parents=True)
        outside.write_text("precious")
        (folder / name).symlink_to(outside)
    else:
        folder.parent.mkdir()
        outside.mkdir()
        folder.symlink_to(outside)
    with pytest.raises(LandscapeError, match="is a symbolic link"):
        holding(mine).__enter__()
    assert list(outside.iterdir()) == [] if not name else outside.read_text() == "precious"


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir, lambda p: p.write_bytes(b"\xff" * 5000)])
@pytest.mark.parametrize("name", [".lock", ".holder"])
def test_an_odd_file_in_the_place_of_the_lock_is_no_hang(mine, make, name):
    """In a child, so that a hang would fail; a folder cannot be locked, all else can."""
    folder = layout.run_folder(mine.root, "imp")
    folder.mkdir(parents=True)
    make(folder / name)

    def job(tell):
        try:
            with holding(mine):
                refused(mine)
                return "held"
        except LandscapeError as error:
            return str(error)

    said = run(job).returned()
    if name == ".lock" and make is Path.mkdir:
        assert "cannot lock" in said
        assert "Is a directory" in said
    else:
        assert said == "held"


def test_a_holder_that_cannot_be_named_holds_the_lock_all_the_same(mine, monkeypatch):
    plain = Path.open

    def full(path, *arguments, **options):
        if path.name == ".holder":
            raise OSError(errno.ENOSPC, "No space left on device")
        return plain(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", full)
    with holding(mine):
        refused(mine, "another process")
