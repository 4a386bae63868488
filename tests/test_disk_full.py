"""A disk that is full, a size limit, a store that cannot be written: said, and nothing lost."""

from __future__ import annotations

import ctypes
import io
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import landscape
from landscape.cli import run as command_line
from landscape.data_store.errors import LandscapeError
from tests.support import children
from tests.support.children import Ended, Tell
from tests.support.kills import (
    NAMES,
    SETTINGS,
    Trial,
    blamed,
    one_of_each,
    operations,
    stop_the_clock,
    three_trials,
)
from tests.support.operations import disk_full
from tests.support.tally import Tally
from tests.support.witness import Witness, files, is_temporary

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no os.fork on this machine")

WRITING = ("training", "analysis")
INTACT = "what was stored before is intact"


@pytest.fixture(scope="module")
def trials(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Trial]:
    """Training, an analysis and the catalogue, each as it goes when nobody disturbs it."""
    return three_trials(tmp_path_factory.mktemp("undisturbed"))


def limit_file_size(size: int) -> None:
    """Let the kernel refuse larger files to this process, as some clusters do."""
    resource = pytest.importorskip("resource")
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


def refused(ended: Ended, root: Path, reason: str) -> bool:
    """True if a command ended with one sentence that names a path of the store and the reason."""
    if ended.error is None:
        ended.returned()
        return False
    assert isinstance(ended.error, LandscapeError), ended.trace
    sentence = str(ended.error)
    assert str(root) in sentence
    assert reason in sentence
    assert "\n" not in sentence
    return True


def is_as_it_was(witness: Witness, root: Path) -> None:
    """Nothing lost, nothing half visible, and no temporary file of the command that was refused."""
    faults = witness.look()
    assert not faults, faults
    assert not [name for name in files(root) if is_temporary(name.rpartition("/")[2])]


def goes_on(trial: Trial, root: Path, witness: Witness) -> None:
    """With room, the same command ends as an undisturbed one does."""
    assert children.run(trial.job(root)).returned() == trial.answer
    faults = witness.look_at_the_end()
    assert not faults, faults


def limited(trial: Trial, root: Path, size: int) -> Ended:
    """A command whose files may have this size."""

    def job(tell: Tell) -> Any:
        limit_file_size(size)
        return trial.job(root)(tell)

    return children.run(job)


@pytest.mark.parametrize("name", WRITING)
def test_a_file_size_limit_is_said_and_nothing_is_lost(
    trials: dict[str, Trial], tmp_path: Path, tally: Tally, name: str
) -> None:
    trial, outcomes = trials[name], []
    largest = max(map(len, trial.expected.values()))
    for size in (0, 1000, largest // 2, largest - 1, 4 * largest):
        root = tmp_path / str(size)
        trial.prepare(root)
        witness = Witness(root, trial.expected)
        with blamed(f"{name}: no file larger than {size} bytes"):
            outcomes.append(refused(limited(trial, root, size), root, "File too large"))
            is_as_it_was(witness, root)
            goes_on(trial, root, witness)
    assert outcomes == [True] * 4 + [False]
    tally.add("full disks", len(outcomes))


@pytest.mark.parametrize("size", [0, 1000])
def test_the_catalogue_answers_where_it_cannot_be_kept(
    trials: dict[str, Trial], tmp_path: Path, tally: Tally, size: int
) -> None:
    trial, root = trials["catalogue"], tmp_path / "store"
    trial.prepare(root)
    witness = Witness(root, trial.expected)
    assert limited(trial, root, size).returned() == trial.answer
    is_as_it_was(witness, root)
    goes_on(trial, root, witness)
    tally.add("full disks")


def full_at(trial: Trial, folder: Path, at: int, point: str, tally: Tally) -> None:
    """Give a command whose disk is full from one file operation on; then make room."""
    root = folder / f"{trial.name}-full-{at}"
    trial.prepare(root)
    witness = Witness(root, trial.expected)
    with blamed(f"{trial.name}: no space left from operation {at} on, {point}"):
        ended = children.run(trial.struck_job(root, at, disk_full))
        refused(ended, root, "No space left on device")
        is_as_it_was(witness, root)
        goes_on(trial, root, witness)
    tally.add("full disks")
    shutil.rmtree(root)


@pytest.mark.parametrize("name", NAMES)
def test_a_disk_full_at_each_kind_of_operation_is_said_and_nothing_is_lost(
    trials: dict[str, Trial], tmp_path: Path, tally: Tally, name: str
) -> None:
    points = operations(trials[name], tmp_path / "counted")
    for at in one_of_each(points):
        full_at(trials[name], tmp_path, at, points[at], tally)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_disk_full_at_any_operation_is_said_and_nothing_is_lost(
    trials: dict[str, Trial], tmp_path: Path, tally: Tally, name: str
) -> None:
    points = operations(trials[name], tmp_path / "counted")
    for at, point in enumerate(points):
        full_at(trials[name], tmp_path, at, point, tally)


def mount(source: str, target: Path, kind: str, flags: int, options: str) -> None:
    """Mount in this process alone; raises OSError where that is not permitted."""
    libc = ctypes.CDLL(None, use_errno=True)
    arguments = (source.encode(), str(target).encode(), kind.encode(), flags, options.encode())
    if libc.mount(*arguments):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def alone() -> None:
    """Give this process mounts of its own, as root in a user namespace where it is not root."""
    new_mounts, new_user, recursive_private = 0x20000, 0x10000000, 0x4000 | 0x40000
    user, group = os.getuid(), os.getgid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(new_mounts | (new_user if user else 0)):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    if user:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    mount("none", Path("/"), "", recursive_private, "")


def on_small_disk(job: Callable[[Tell], Any], place: Path) -> Any:
    """Do a job in a child that has a disk of 1 MB at `place`; skips where none can be mounted."""
    if not sys.platform.startswith("linux"):
        pytest.skip("a small disk is mounted on Linux only")

    def mounted(tell: Tell) -> Any:
        try:
            alone()
            mount("tmpfs", place, "tmpfs", 0, "size=1m")
        except OSError as error:
            return f"cannot mount a small disk here: {error.strerror}"
        return job(tell)

    place.mkdir()
    outcome = children.run(mounted).returned()
    if isinstance(outcome, str):
        pytest.skip(outcome)
    return outcome


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("pages", [0, 1, 9])
def test_a_real_full_disk_is_said_and_nothing_is_lost(
    trials: dict[str, Trial], tmp_path: Path, tally: Tally, name: str, pages: int
) -> None:
    trial, root = trials[name], tmp_path / "disk" / "store"

    def job(tell: Tell) -> tuple[bool, list[str]]:
        stop_the_clock()
        trial.prepare(root)
        root.mkdir(exist_ok=True)
        witness, filler = Witness(root, trial.expected), tmp_path / "disk" / "filler"
        with filler.open("wb") as file:
            state = os.statvfs(root)
            os.posix_fallocate(file.fileno(), 0, (state.f_bavail - pages) * state.f_frsize)
        ended = Ended()
        try:
            ended.value = trial.command(root, tell)
        except Exception as error:
            ended.error = error
        was_refused = refused(ended, root, "No space left on device")
        is_as_it_was(witness, root)
        filler.unlink()
        assert trial.command(root, tell) == trial.answer
        faults = witness.look_at_the_end()
        assert not faults, faults
        return was_refused, list(files(root))

    was_refused, left = on_small_disk(job, tmp_path / "disk")
    assert was_refused == (name in WRITING)
    assert set(left) >= set(trial.expected)
    tally.add("full disks")


def test_the_command_line_says_it_in_one_sentence(tmp_path: Path) -> None:
    root = tmp_path / "store"
    landscape.open(root)
    options = [f"--{name.replace('_', '-')}={value}" for name, value in SETTINGS.items()]

    def job(tell: Tell) -> tuple[int, str]:
        limit_file_size(100)
        sys.stderr = io.StringIO()
        code = command_line(["train", "--store", str(root), "--name", "run", *options])
        return code, sys.stderr.getvalue()

    code, said = children.run(job).returned()
    assert code == 1
    sentence = next(line for line in said.splitlines() if line.startswith("Error: "))
    assert sentence.startswith(f"Error: could not write {root}")
    assert INTACT in sentence
    assert "Traceback" not in said


def test_a_store_that_cannot_be_written_is_read_and_refuses_the_rest(
    trials: dict[str, Trial], tmp_path: Path
) -> None:
    trial, root = trials["catalogue"], tmp_path / "disk" / "store"

    def job(tell: Tell) -> list[str]:
        stop_the_clock()
        trial.prepare(root)
        before = files(root)
        mount("none", root.parent, "", 0x20 | 0x1, "")  # once more, read-only
        store = landscape.open(root)
        run = store["run"]
        assert trial.command(root, tell) == trial.answer
        assert trials["analysis"].command(root, tell) == trials["analysis"].answer
        sentences = []
        for ask in (
            lambda: landscape.barrier(run[0], run[2], store=store, points=3),
            lambda: landscape.train(store=store, name="run", **SETTINGS | {"levels": 4}),
            lambda: landscape.train(store=store, name="other", **SETTINGS),
            lambda: landscape.open(root.parent / "new"),
        ):
            with pytest.raises(LandscapeError) as refusal:
                ask()
            sentences.append(str(refusal.value))
        assert files(root) == before
        return sentences

    for sentence in on_small_disk(job, tmp_path / "disk"):
        assert str(root.parent) in sentence
        assert "Read-only file system" in sentence
        assert "\n" not in sentence


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write all")
def test_a_folder_without_write_permission_is_read_and_refuses_the_rest(
    trials: dict[str, Trial], tmp_path: Path
) -> None:
    trial, root = trials["catalogue"], tmp_path / "store"
    trial.prepare(root)
    folders = [root, *(path for path in root.rglob("*") if path.is_dir())]
    try:
        for folder in folders:
            folder.chmod(0o555)
        assert children.run(trial.job(root)).returned() == trial.answer
        store = landscape.open(root)
        with pytest.raises(LandscapeError, match=r"could not write .*Permission denied"):
            landscape.barrier(store["run"][0], store["run"][2], store=store, points=3)
    finally:
        for folder in folders:
            folder.chmod(0o755)
