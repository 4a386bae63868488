"""Whole files or none: a failing disk, a size limit, a kill, and what they leave behind."""

import errno
import json
import os
import signal
import stat
import subprocess
import sys
import tracemalloc
from pathlib import Path
from types import SimpleNamespace

import pytest

from landscape.data_store import files
from landscape.data_store.errors import LandscapeError
from landscape.data_store.files import (
    append_line,
    is_abandoned,
    is_temporary,
    move_aside,
    read_file,
    sweep,
    write_new,
    write_over,
)
from tests.support.children import together

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
NEW_STAGES = {**STAGES, "rename": lambda patch: without_links(patch, Path, "replace")}


def without_links(patch, owner=None, name=""):
    """A file system without hard links, where one more call may fail."""
    patch.setattr(os, "link", fail(OSError(errno.EPERM, "Operation not permitted")))
    if owner:
        patch.setattr(owner, name, fail())


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_content_is_written_and_nothing_else(tmp_path):
    write_over(tmp_path / "a" / "b" / "file", NEW)
    assert (tmp_path / "a" / "b" / "file").read_bytes() == NEW
    assert names(tmp_path / "a" / "b") == ["file"]


@pytest.mark.parametrize("content", [b"", b"\0\n\r\n" * 7, bytes(range(256))])
def test_what_was_there_is_replaced(tmp_path, content):
    path = tmp_path / "file"
    path.write_bytes(OLD)
    write_over(path, content)
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
            write_over(path, NEW)
    assert path.read_bytes() == OLD
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("write", [write_over, write_new])
def test_a_full_disk_leaves_no_new_file(tmp_path, monkeypatch, stage, write):
    with monkeypatch.context() as patch:
        NEW_STAGES[stage](patch)
        with pytest.raises(LandscapeError, match="could not write"):
            write(tmp_path / "file", NEW)
    assert names(tmp_path) == []


def test_a_folder_that_cannot_be_flushed_holds_a_whole_file(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_bytes(OLD)
    monkeypatch.setattr(files, "_flush_folder", fail())
    with pytest.raises(LandscapeError, match="could not write"):
        write_over(path, NEW)
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
    write_over(path, NEW)
    assert seen == [(False, False), (True, True)]


def test_a_disk_that_also_refuses_to_clean_up_is_one_error(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "replace", fail())
    monkeypatch.setattr(Path, "unlink", fail(OSError(errno.EROFS, "Read-only file system")))
    with pytest.raises(LandscapeError, match="No space left on device"):
        write_over(tmp_path / "file", NEW)


def test_ctrl_c_leaves_no_rest(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", fail(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        write_over(tmp_path / "file", NEW)
    assert names(tmp_path) == []


def test_a_file_in_the_place_of_a_folder(tmp_path):
    (tmp_path / "taken").write_bytes(OLD)
    for path in (tmp_path / "taken" / "file", tmp_path / "taken" / "sub" / "file"):
        with pytest.raises(
            LandscapeError, match=r"could not write .*: (Not a directory|File exists)"
        ):
            write_over(path, NEW)
    assert names(tmp_path) == ["taken"]
    assert (tmp_path / "taken").read_bytes() == OLD


def test_a_folder_in_the_place_of_the_file(tmp_path):
    (tmp_path / "file").mkdir()
    with pytest.raises(LandscapeError, match="Is a directory"):
        write_over(tmp_path / "file", NEW)
    assert names(tmp_path) == ["file"]


def test_a_name_that_is_too_long(tmp_path):
    with pytest.raises(LandscapeError, match="File name too long"):
        write_over(tmp_path / ("x" * 250), NEW)
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
from landscape.data_store.files import write_over
from landscape.data_store.errors import LandscapeError
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    write_over(Path(sys.argv[1]), b"n" * 5000)
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
from landscape.data_store import files
def die(*args):
    os.kill(os.getpid(), signal.SIGKILL)
owner, name = {"flush": (os, "fsync"), "rename": (Path, "replace"),
               "after": (files, "_flush_folder")}[sys.argv[2]]
setattr(owner, name, die)
files.write_over(Path(sys.argv[1]), b"n" * 5000)
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


HERE, THERE = files._host(), "0123abcd"
assert HERE != THERE


def named(pid, host=HERE, name="file"):
    """A temporary name as a writer gives it."""
    return f".{name}.{host}.{pid}.00ff00ff.tmp"


def test_only_the_temporaries_of_dead_processes_are_swept(tmp_path, dead):
    kept = [
        named(os.getpid()),
        named(os.getppid()),
        named(1),  # a live process of somebody else
        named(dead)[1:],
        f"{named(dead)}.h5",
        named("x"),
        named("²"),
        named("٣"),
        named(10**30),
        named(dead, host="host"),
        named(dead).replace("00ff00ff", "00ff"),
        ".file.tmp",
        ".tmp",
        "..tmp",
        ".a.b.c.d.tmp",
    ]
    gone = [named(dead), named(dead, name="level_0001.h5"), named(dead, name="a\nb")]
    for name in (*kept, *gone):
        (tmp_path / name).touch()
    sweep(tmp_path)
    assert names(tmp_path) == sorted(kept)


def test_the_temporaries_of_another_machine_are_swept_when_they_are_a_day_old(tmp_path, dead):
    fresh, old = (tmp_path / named(n, host=THERE) for n in (dead, os.getpid()))
    for path, age in ((fresh, 3600), (old, 90_000)):
        path.touch()
        then = path.stat().st_mtime - age
        os.utime(path, (then, then))
    assert not is_abandoned(fresh)
    assert is_abandoned(old)
    sweep(tmp_path)
    assert names(tmp_path) == [fresh.name]
    assert not is_abandoned(old)  # it is gone


def test_every_writer_uses_a_name_that_is_swept(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(os, "fsync", lambda handle: seen.extend(names(tmp_path)))
    for write in (write_over, write_new):
        write(tmp_path / write.__name__, NEW)
    temporary = [name for name in seen if name.endswith(".tmp")]
    assert len(temporary) == 2
    assert all(is_temporary(name) for name in temporary)


def test_a_link_with_a_temporary_name_is_swept_and_what_it_leads_to_is_not(tmp_path, dead):
    (tmp_path / "kept").write_bytes(OLD)
    (tmp_path / named(dead)).symlink_to(tmp_path / "kept")
    (tmp_path / named(dead, name="folder")).mkdir()
    sweep(tmp_path)
    assert names(tmp_path) == sorted(["kept", named(dead, name="folder")])
    assert (tmp_path / "kept").read_bytes() == OLD


def test_a_write_sweeps_its_folder_first(tmp_path, dead):
    for write in (write_over, write_new):
        (tmp_path / named(dead)).touch()
        write(tmp_path / write.__name__, NEW)
        assert not (tmp_path / named(dead)).exists()


def test_no_process_is_signalled_where_signals_interrupt(tmp_path, monkeypatch, dead):
    rest = tmp_path / named(dead)
    rest.touch()
    fake = SimpleNamespace(name="nt", kill=fail(AssertionError()), scandir=os.scandir)
    monkeypatch.setattr(files, "os", fake)
    sweep(tmp_path)
    assert rest.exists()


def test_sweeping_a_folder_that_is_not_there_does_nothing(tmp_path):
    sweep(tmp_path / "absent")
    assert names(tmp_path) == []


def test_a_read_only_folder_can_be_opened_with_a_rest_in_it(tmp_path, monkeypatch, dead):
    rest = tmp_path / named(dead)
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


@pytest.mark.parametrize("torn", [b'{"step": 1', b"{", b'{"step": 1}'])
def test_a_line_after_a_torn_one_stands_alone(tmp_path, torn):
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"step": 0}\n' + torn)
    append_line(path, {"step": 2})
    append_line(path, {"step": 3})
    assert path.read_bytes() == b'{"step": 0}\n' + torn + b'\n{"step": 2}\n{"step": 3}\n'


def test_an_empty_log_begins_with_a_line(tmp_path):
    (tmp_path / "log").touch()
    append_line(tmp_path / "log", {"step": 1})
    assert (tmp_path / "log").read_bytes() == b'{"step": 1}\n'


# Files that are none


def pipe(path):
    os.mkfifo(path)


def socket_file(path):
    import socket

    with socket.socket(socket.AF_UNIX) as end:
        end.bind(str(path))


def folder(path):
    path.mkdir()


def null(path):
    try:
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("only root makes devices")


def zeros(path):
    try:
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("only root makes devices")


ODD = {
    "pipe": (pipe, "is no plain file"),
    "socket": (socket_file, "No such device"),
    "folder": (folder, "Is a directory"),
    "null": (null, "is no plain file"),
    "zeros": (zeros, "is no plain file"),
}


@pytest.fixture
def short(tmp_path, monkeypatch):
    """A folder under a short name: that of a socket has few bytes."""
    monkeypatch.chdir(tmp_path)
    return Path()


def open_files():
    """How many this process has, where the system tells."""
    place = Path("/proc/self/fd")
    return len(list(place.iterdir())) if place.is_dir() else 0


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("kind", ODD)
def test_what_is_no_plain_file_is_neither_read_nor_waited_for(short, kind, inside):
    make, why = ODD[kind]
    make(short / "odd")
    before = open_files()
    with pytest.raises(LandscapeError, match=rf"odd.*{why}"):
        read_file(short / "odd", root=short if inside else None)
    assert open_files() == before  # none is left open


@pytest.mark.parametrize("kind", ODD)
def test_what_is_no_plain_file_is_no_log(short, kind):
    ODD[kind][0](short / "odd")
    with pytest.raises(LandscapeError, match=r"^could not append to odd: \w"):
        append_line(short / "odd", {"step": 1}, root=short)


@pytest.mark.parametrize("kind", ["pipe", "socket", "null"])
def test_what_is_no_plain_file_is_replaced_by_one(short, kind):
    ODD[kind][0](short / "odd")
    assert not write_new(short / "odd", NEW, root=short)
    write_over(short / "odd", NEW, root=short)
    assert read_file(short / "odd", root=short) == NEW


def test_devices_of_the_system_are_not_read():
    for device in ("/dev/zero", "/dev/null", "/dev/tty"):
        with pytest.raises(LandscapeError, match=f"{device}.*(is no plain file|No such)"):
            read_file(Path(device))


@pytest.mark.parametrize("root", [True, False])
def test_a_nul_in_a_path_is_a_sentence(tmp_path, root):
    path = tmp_path / "a\0b"
    inside = tmp_path if root else None
    with pytest.raises(LandscapeError, match=r"^cannot read .*: embedded null"):
        read_file(path, root=inside)
    for write in (write_over, write_new):
        for place in (path, path / "file"):
            with pytest.raises(LandscapeError, match=r"^could not write .*: embedded null"):
                write(place, NEW, root=inside)
    with pytest.raises(LandscapeError, match=r"^could not append to .*: embedded null"):
        append_line(path, {"step": 1}, root=inside)
    sweep(path)
    assert names(tmp_path) == []


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(LandscapeError, match=rf"^cannot read {tmp_path}/absent: No such file"):
        read_file(tmp_path / "absent")


def test_a_path_that_nobody_may_look_at_is_a_sentence(tmp_path, monkeypatch):
    """As root, permissions do not matter: the answers of the system are made up."""
    refusal = fail(PermissionError(errno.EACCES, "Permission denied"))
    for name in ("lstat", "stat", "open", "mkdir"):
        monkeypatch.setattr(os, name, refusal)
    path = tmp_path / "runs" / "file"
    with pytest.raises(LandscapeError, match=r"cannot read .*: Permission denied"):
        read_file(path, root=tmp_path)
    with pytest.raises(LandscapeError, match=r"could not write .*: Permission denied"):
        write_new(path, NEW, root=tmp_path)


# Sizes


def test_a_file_over_the_limit_is_refused_and_one_at_it_is_read(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(NEW)
    assert read_file(path, limit=5000) == NEW
    message = r"^.*file has 5000 bytes; more than 4999 is refused unless --max-size allows it$"
    with pytest.raises(LandscapeError, match=message):
        read_file(path, limit=4999)


def test_a_terabyte_is_refused_before_there_is_room_for_it(tmp_path):
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate(2**40)
    tracemalloc.start()
    try:
        with pytest.raises(LandscapeError, match=f"has {2**40} bytes; more than {2**32} is"):
            read_file(path)
        assert tracemalloc.get_traced_memory()[1] < 1e6
    finally:
        tracemalloc.stop()


def test_reading_takes_no_more_room_than_the_file(tmp_path):
    (tmp_path / "file").write_bytes(NEW)
    tracemalloc.start()
    try:
        read_file(tmp_path / "file")
        assert tracemalloc.get_traced_memory()[1] < 1e6
    finally:
        tracemalloc.stop()


# Symbolic links


@pytest.fixture
def outside(tmp_path):
    """A folder beside the store that nothing may reach."""
    place = tmp_path / "outside"
    (place / "sub").mkdir(parents=True)
    for path in (place / "file", place / "sub" / "file"):
        path.write_bytes(b"secret")
    return place


PARTS = ("runs", "imp", "file")


@pytest.fixture(params=range(3), ids=PARTS)
def linked(request, tmp_path, outside):
    """A store in which one component of runs/imp/file leads elsewhere: root, file."""
    root = tmp_path / "store"
    place = root.joinpath(*PARTS[: request.param + 1])
    place.parent.mkdir(parents=True)
    targets = [outside.parent / "other", outside, outside / "file"]
    (outside.parent / "other").mkdir()
    (outside.parent / "other" / "imp").symlink_to(outside)
    place.symlink_to(targets[request.param])
    return root, root.joinpath(*PARTS)


def content(folder):
    return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


USES = {
    "read": lambda path, root: read_file(path, root=root),
    "write_over": lambda path, root: write_over(path, NEW, root=root),
    "write_new": lambda path, root: write_new(path, NEW, root=root),
    "append": lambda path, root: append_line(path, {"step": 1}, root=root),
    "new": lambda path, root: write_new(path.with_name("new"), NEW, root=root),
}


@pytest.mark.parametrize("use", [use for use in USES if use != "new"])
def test_a_link_at_any_component_is_refused(linked, outside, use):
    root, path = linked
    before = content(outside)
    with pytest.raises(LandscapeError, match=r"is a symbolic link; a store keeps plain files and"):
        USES[use](path, root)
    assert content(outside) == before
    assert path.read_bytes() == b"secret"  # the link is what it was


@pytest.mark.parametrize("part", [0, 1])
def test_nothing_new_is_made_behind_a_linked_folder(tmp_path, outside, part):
    root = tmp_path / "store"
    place = root.joinpath(*PARTS[: part + 1])
    place.parent.mkdir(parents=True)
    place.symlink_to(outside)
    before = sorted(outside.rglob("*"))
    with pytest.raises(LandscapeError, match="is a symbolic link"):
        USES["new"](root.joinpath(*PARTS), root)
    assert sorted(outside.rglob("*")) == before


@pytest.mark.parametrize("use", USES)
def test_a_dangling_link_is_refused_and_makes_nothing(tmp_path, outside, use):
    root = tmp_path / "store"
    root.mkdir()
    for name in ("file", "new"):
        (root / name).symlink_to(outside / "made")
    with pytest.raises(LandscapeError, match="is a symbolic link"):
        USES[use](root / "file", root)
    assert not (outside / "made").exists()


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("way", ["..", "runs/../..", "absolute"])
def test_a_way_out_is_refused(tmp_path, outside, use, way):
    root = tmp_path / "store"
    (root / "runs").mkdir(parents=True)
    path = outside / "file" if way == "absolute" else root / way / "outside" / "file"
    before = content(outside)
    with pytest.raises(LandscapeError, match=r"is a symbolic link|lies outside the store"):
        USES[use](path, root)
    assert content(outside) == before


def test_a_store_may_be_reached_through_links(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    root = tmp_path / "link" / "store"
    write_over(root / "file", NEW, root=root)
    assert read_file(root / "file", root=root) == NEW


def test_a_file_that_its_user_names_may_be_a_link(linked):
    root, path = linked
    assert read_file(path) == b"secret"
    with pytest.raises(LandscapeError, match="is a symbolic link"):
        read_file(path, root=root)


def test_a_link_put_there_between_the_look_and_the_opening_is_not_followed(
    tmp_path, outside, monkeypatch
):
    (tmp_path / "file").symlink_to(outside / "file")
    monkeypatch.setattr(files, "refuse_links", lambda *_: None)
    with pytest.raises(LandscapeError, match=r"^cannot read .*file: (Too many levels|Not a dir)"):
        read_file(tmp_path / "file", root=tmp_path)


# The first writer wins


def test_the_first_file_wins(tmp_path):
    assert write_new(tmp_path / "file", NEW)
    assert not write_new(tmp_path / "file", OLD)
    assert (tmp_path / "file").read_bytes() == NEW
    assert names(tmp_path) == ["file"]


def test_without_hard_links_the_first_file_wins_too(tmp_path, monkeypatch):
    without_links(monkeypatch)
    assert write_new(tmp_path / "file", NEW)
    assert not write_new(tmp_path / "file", OLD)
    assert (tmp_path / "file").read_bytes() == NEW
    assert names(tmp_path) == ["file"]


def test_a_full_disk_where_a_file_gets_its_name_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "link", fail())
    monkeypatch.setattr(Path, "replace", fail())
    with pytest.raises(LandscapeError, match=r"could not write .*: No space left on device"):
        write_new(tmp_path / "file", NEW)
    assert names(tmp_path) == []


@pytest.mark.parametrize("links", [True, False])
def test_of_writers_that_race_one_wins_and_all_are_well(tmp_path, links, monkeypatch):
    if not links:
        without_links(monkeypatch)

    def write(letter):
        def job(tell):
            return [write_new(tmp_path / f"file-{i}", letter * 3000) for i in range(40)]

        return job

    letters = (b"a", b"b", b"c")
    won = [ended.returned() for ended in together(*map(write, letters))]
    assert names(tmp_path) == sorted(f"file-{i}" for i in range(40))
    for i in range(40):
        found = (tmp_path / f"file-{i}").read_bytes()
        winners = [letter for letter, wins in zip(letters, won, strict=True) if wins[i]]
        assert len(winners) >= 1
        assert found in [letter * 3000 for letter in winners]
        if links:
            assert len(winners) == 1


# Damaged files are kept


def test_a_file_is_moved_aside_under_its_own_name_and_nothing_is_overwritten(tmp_path):
    path = tmp_path / "runs" / "imp" / "level_0001.h5"
    path.parent.mkdir(parents=True)
    found = []
    for content in (b"one", b"two", b"three"):
        path.write_bytes(content)
        found.append(move_aside(tmp_path, path))
        assert not path.exists()
    folder = tmp_path / "damaged" / "runs" / "imp"
    assert found == [folder / f"level_0001.h5{end}" for end in ("", ".2", ".3")]
    assert [place.read_bytes() for place in found] == [b"one", b"two", b"three"]


def test_nothing_is_moved_out_of_the_store_or_into_it(tmp_path, outside):
    root = tmp_path / "store"
    root.mkdir()
    (root / "damaged").symlink_to(outside)
    (root / "file").write_bytes(OLD)
    with pytest.raises(LandscapeError, match=r"store/damaged is a symbolic link"):
        move_aside(root, root / "file")
    (root / "damaged").unlink()
    (root / "runs").symlink_to(outside)
    for path in (root / "runs" / "file", root / ".." / "outside" / "file"):
        with pytest.raises(LandscapeError, match=r"is a symbolic link"):
            move_aside(root, path)
    assert sorted(content(outside).values()) == [b"secret", b"secret"]


def test_a_move_that_the_disk_refuses_is_said(tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(OLD)
    monkeypatch.setattr(Path, "rename", fail(OSError(errno.EROFS, "Read-only file system")))
    message = "^could not move .*file to .*damaged/file: Read-only file system; give write access$"
    with pytest.raises(LandscapeError, match=message):
        move_aside(tmp_path, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == OLD
