"""Whole files or none: a failing disk, a size limit, a kill, and what they leave behind."""

import errno
import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from landscape.data_store import atomic
from landscape.data_store.atomic import append_line, sweep, write_atomic
from landscape.data_store.errors import LandscapeError

OLD, NEW = b"old content", b"n" * 5000
FULL = OSError(errno.ENOSPC, "No space left on device")


def fail(error=FULL):
    def refuse(*args, **kwargs):
        raise error

    return refuse


class TornFile:
    """A file whose disk fills up in the middle of a write."""

    def __init__(self, file):
        self._file = file

    def __enter__(self):
        return self

    def __exit__(self, *exit_):
        self._file.close()

    def write(self, content):
        self._file.write(content[: len(content) // 2])
        self._file.flush()
        raise FULL


def torn_open(monkeypatch):
    plain = Path.open
    monkeypatch.setattr(Path, "open", lambda self, *args: TornFile(plain(self, *args)))


STAGES = {
    "open": lambda patch: patch.setattr(Path, "open", fail()),
    "write": torn_open,
    "flush": lambda patch: patch.setattr(os, "fsync", fail()),
    "rename": lambda patch: patch.setattr(Path, "replace", fail()),
}


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_content_is_written_and_nothing_else(tmp_path):
    write_atomic(tmp_path / "a" / "b" / "file", NEW)
    assert (tmp_path / "a" / "b" / "file").read_bytes() == NEW
    assert names(tmp_path / "a" / "b") == ["file"]


@pytest.mark.parametrize("content", [b"", b"\0\n\r\n" * 7, bytes(range(256))])
def test_what_was_there_is_replaced(tmp_path, content):
    path = tmp_path / "file"
    path.write_bytes(OLD)
    write_atomic(path, content)
    assert path.read_bytes() == content
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("stage", STAGES)
def test_a_full_disk_leaves_the_old_content_and_no_rest(tmp_path, monkeypatch, stage):
    path = tmp_path / "file"
    path.write_bytes(OLD)
    with monkeypatch.context() as patch:
        STAGES[stage](patch)
        message = (
            r"^could not write .*file: No space left on device; what was stored before is intact: "
            r"make room or give write access, and repeat the command$"
        )
        with pytest.raises(LandscapeError, match=message):
            write_atomic(path, NEW)
    assert path.read_bytes() == OLD
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("stage", STAGES)
def test_a_full_disk_leaves_no_new_file(tmp_path, monkeypatch, stage):
    with monkeypatch.context() as patch:
        STAGES[stage](patch)
        with pytest.raises(LandscapeError, match="could not write"):
            write_atomic(tmp_path / "file", NEW)
    assert names(tmp_path) == []


def test_a_folder_that_cannot_be_flushed_holds_a_whole_file(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_bytes(OLD)
    monkeypatch.setattr(atomic, "_flush_folder", fail())
    with pytest.raises(LandscapeError, match="could not write"):
        write_atomic(path, NEW)
    assert path.read_bytes() == NEW
    assert names(tmp_path) == ["file"]


def test_the_file_is_flushed_before_it_gets_its_name_and_the_folder_after(tmp_path, monkeypatch):
    path = tmp_path / "file"
    seen = []
    flush = os.fsync

    def watched(handle):
        seen.append((stat.S_ISDIR(os.fstat(handle).st_mode), path.exists()))
        flush(handle)

    monkeypatch.setattr(os, "fsync", watched)
    write_atomic(path, NEW)
    assert seen == [(False, False), (True, True)]


def test_a_disk_that_also_refuses_to_clean_up_is_one_error(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "replace", fail())
    monkeypatch.setattr(Path, "unlink", fail(OSError(errno.EROFS, "Read-only file system")))
    with pytest.raises(LandscapeError, match="No space left on device"):
        write_atomic(tmp_path / "file", NEW)


def test_ctrl_c_leaves_no_rest(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", fail(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        write_atomic(tmp_path / "file", NEW)
    assert names(tmp_path) == []


def test_a_file_in_the_place_of_a_folder(tmp_path):
    (tmp_path / "taken").write_bytes(OLD)
    for path in (tmp_path / "taken" / "file", tmp_path / "taken" / "sub" / "file"):
        with pytest.raises(
            LandscapeError, match=r"could not write .*: (Not a directory|File exists)"
        ):
            write_atomic(path, NEW)
    assert names(tmp_path) == ["taken"]
    assert (tmp_path / "taken").read_bytes() == OLD


def test_a_folder_in_the_place_of_the_file(tmp_path):
    (tmp_path / "file").mkdir()
    with pytest.raises(LandscapeError, match="Is a directory"):
        write_atomic(tmp_path / "file", NEW)
    assert names(tmp_path) == ["file"]


def test_a_name_that_is_too_long(tmp_path):
    with pytest.raises(LandscapeError, match="File name too long"):
        write_atomic(tmp_path / ("x" * 250), NEW)
    assert names(tmp_path) == []


def run(script, *arguments):
    return subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


LIMITED = """
import resource, sys
from pathlib import Path
from landscape.data_store.atomic import write_atomic
from landscape.data_store.errors import LandscapeError
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    write_atomic(Path(sys.argv[1]), b"n" * 5000)
except LandscapeError as error:
    print(error)
"""


def test_a_size_limit_of_the_system_leaves_everything_as_it_was(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(OLD)
    done = run(LIMITED, path)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"could not write {path}: File too large; what was stored before" in done.stdout
    assert path.read_bytes() == OLD
    assert names(tmp_path) == ["file"]


KILLED = """
import os, signal, sys
from pathlib import Path
from landscape.data_store import atomic
def die(*args):
    os.kill(os.getpid(), signal.SIGKILL)
owner, name = {"flush": (os, "fsync"), "rename": (Path, "replace"),
               "after": (atomic, "_flush_folder")}[sys.argv[2]]
setattr(owner, name, die)
atomic.write_atomic(Path(sys.argv[1]), b"n" * 5000)
"""


@pytest.mark.parametrize(
    ("moment", "content", "rests"), [("flush", OLD, 1), ("rename", OLD, 1), ("after", NEW, 0)]
)
def test_a_kill_leaves_a_whole_file_and_a_rest_that_is_swept(tmp_path, moment, content, rests):
    path = tmp_path / "file"
    path.write_bytes(OLD)
    assert run(KILLED, path, moment).returncode == -signal.SIGKILL
    assert path.read_bytes() == content
    assert len(names(tmp_path)) == 1 + rests
    sweep(tmp_path)
    assert names(tmp_path) == ["file"]


@pytest.fixture(scope="module")
def dead():
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_only_the_temporaries_of_dead_processes_are_swept(tmp_path, dead):
    kept = [
        f".file.{os.getpid()}.00ff.tmp",
        f".file.{os.getppid()}.00ff.tmp",
        ".file.1.00ff.tmp",  # a live process of somebody else
        f"file.{dead}.00ff.tmp",
        f".file.{dead}.00ff.tmp.h5",
        ".file.x.00ff.tmp",
        ".file.tmp",
        ".tmp",
        "..tmp",
        ".file.².00ff.tmp",
        f".file.{10**30}.00ff.tmp",
    ]
    for name in (*kept, f".file.{dead}.00ff.tmp", f".level_0001.h5.{dead}.abcd.tmp"):
        (tmp_path / name).touch()
    sweep(tmp_path)
    assert names(tmp_path) == sorted(kept)


def test_no_process_is_signalled_where_signals_interrupt(tmp_path, monkeypatch, dead):
    rest = tmp_path / f".file.{dead}.00ff.tmp"
    rest.touch()
    monkeypatch.setattr(atomic, "os", SimpleNamespace(name="nt", kill=fail(AssertionError())))
    sweep(tmp_path)
    assert rest.exists()


def test_sweeping_a_folder_that_is_not_there_does_nothing(tmp_path):
    sweep(tmp_path / "absent")
    assert names(tmp_path) == []


def test_a_read_only_folder_can_be_opened_with_a_rest_in_it(tmp_path, monkeypatch, dead):
    rest = tmp_path / f".file.{dead}.00ff.tmp"
    rest.touch()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", fail(OSError(errno.EROFS, "Read-only file system")))
        sweep(tmp_path)
    assert rest.exists()


def test_lines_are_appended(tmp_path):
    path = tmp_path / "log.jsonl"
    rows = [{"step": 1, "loss": 0.5}, {"step": 2, "loss": None}, {"word": "ü\n"}]
    for row in rows:
        append_line(path, row)
    assert [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] == rows


@pytest.mark.parametrize(
    ("place", "why"), [("folder", "Is a directory"), ("absent/log", "No such file or directory")]
)
def test_a_log_that_cannot_be_written_is_named(tmp_path, place, why):
    (tmp_path / "folder").mkdir()
    with pytest.raises(LandscapeError, match=rf"^could not append to .*{place}: {why}$"):
        append_line(tmp_path / place, {"step": 1})
