"""Several processes in one store at once: the same bytes as one after the other."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import filelock
import pytest

import landscape
from landscape.data_store import layout
from landscape.data_store.errors import LandscapeError
from landscape.data_store.store import Run, Store
from landscape.training.imp import Finished
from landscape.training.loop import Tick
from tests.support import children
from tests.support.children import Child, Ended, Tell, together
from tests.support.kills import SETTINGS
from tests.support.meetings import no_temporaries, numbers, reader, training
from tests.support.tally import Tally
from tests.support.witness import files

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no os.fork on this machine")


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Store]:
    """Stores of one run each, ``run-SEED``, trained where nobody else was."""
    stores: dict[int, Store] = {}

    def store_of(seed: int) -> Store:
        if seed not in stores:
            stores[seed] = landscape.open(tmp_path_factory.mktemp("alone") / "store")
            landscape.train(store=stores[seed], name=f"run-{seed}", seed=seed, **SETTINGS)
        return stores[seed]

    return store_of


def rounds(few: int, many: int) -> pytest.MarkDecorator:
    """So many repetitions in the fast suite, and so many in the slow one."""
    return pytest.mark.parametrize("repeat", [few, pytest.param(many, marks=pytest.mark.slow)])


@rounds(1, 10)
def test_different_runs_train_into_one_store_at_once(
    alone: Callable[[int], Store], tmp_path: Path, repeat: int
) -> None:
    expected = {k: v for seed in range(3) for k, v in numbers(alone(seed)).items()}
    for number in range(repeat):
        root = tmp_path / f"{number}" / "store"  # not there yet: all three make it
        for ended in together(*(training(root, f"run-{seed}", seed) for seed in range(3))):
            assert ended.returned() == [0, 1, 2]
        assert numbers(Store(root)) == expected
        no_temporaries(root)


@rounds(5, 100)
def test_a_new_store_gets_one_identity_however_many_open_it(tmp_path: Path, repeat: int) -> None:
    for number in range(repeat):
        root = tmp_path / f"{number}" / "store"

        def first_use(tell: Tell, root: Path = root) -> bytes:
            return layout.manifest(landscape.open(root).root).read_bytes()

        seen = {ended.returned() for ended in together(*[first_use] * 4)}
        assert seen == {layout.manifest(root).read_bytes()}
        assert len(json.loads(seen.pop())["id"]) == 32
        assert list(files(root)) == ["store.json"]


@rounds(1, 10)
def test_the_same_question_asked_at_once_has_one_answer(
    alone: Callable[[int], Store], tmp_path: Path, repeat: int
) -> None:
    run = alone(0)["run-0"]
    for number in range(repeat):
        store = landscape.open(tmp_path / f"{number}")

        def ask(tell: Tell, store: Store = store) -> Any:
            return landscape.barrier(run[0], run[1], store=store, points=3)

        answers = [ended.returned() for ended in together(*[ask] * 4)]
        for answer in answers[1:]:
            assert answer.identical(answers[0])
        results = [name for name in files(store.root) if name.startswith("results/")]
        assert len(results) == 1
        assert store.results("barrier").drop_vars("result").equals(answers[0])


@rounds(2, 50)
def test_the_same_run_started_at_once_is_trained_once(
    alone: Callable[[int], Store], tmp_path: Path, repeat: int
) -> None:
    for number in range(repeat):
        root = tmp_path / f"{number}"
        landscape.open(root)
        ended = together(*[training(root, "run-0", 0)] * 2)
        refused = [e for e in ended if e.error is not None]
        assert len(refused) < 2, refused
        for each in refused:  # a slow starter comes when all is done, and has nothing to do
            assert isinstance(each.error, LandscapeError), each.trace
            assert "run 'run-0' is being written by" in str(each.error)
        assert numbers(Store(root)) == numbers(alone(0))
        no_temporaries(root)


def busy(root: Path, go_on: Path, name: str = "run-0") -> Child:
    """A child in the middle of its training, where it stays until there is a file `go_on`."""

    def job(tell: Tell) -> list[int]:
        def listen(event: Tick | Finished) -> None:
            if isinstance(event, Tick) and (event.level, event.step) == (1, 10):
                tell("training")
                while not go_on.exists():
                    time.sleep(0.001)

        store = landscape.open(root)
        return landscape.train(store=store, name=name, seed=0, listener=listen, **SETTINGS).levels

    child = Child(job)
    child.hears("training")
    return child


def test_the_second_of_the_same_run_is_told_who_holds_it(
    alone: Callable[[int], Store], tmp_path: Path
) -> None:
    root, go_on = tmp_path / "store", tmp_path / "go-on"
    first = busy(root, go_on)
    refusal = children.run(training(root, "run-0", 0))
    assert isinstance(refusal.error, LandscapeError), refusal.trace
    assert str(refusal.error) == (
        f"run 'run-0' is being written by process {first.pid} on {socket.gethostname()}; "
        "wait for it, or use another --name"
    )
    assert Store(root)["run-0"].levels == [0]  # a reader does not wait
    assert children.run(training(root, "run-1", 1)).returned() == [0, 1, 2]  # nor another run
    go_on.touch()
    assert first.wait().returned() == [0, 1, 2]
    before = files(root)
    assert children.run(training(root, "run-0", 0)).returned() == [0, 1, 2]
    assert files(root) == before
    assert numbers(Store(root)) == numbers(alone(0)) | numbers(alone(1))


def test_the_lock_of_a_killed_holder_is_free_at_once(
    alone: Callable[[int], Store], tmp_path: Path
) -> None:
    root = tmp_path / "store"
    holder = busy(root, tmp_path / "never")
    holder.kill()
    assert holder.wait().killed
    assert children.run(training(root, "run-0", 0)).returned() == [0, 1, 2]
    assert numbers(Store(root)) == numbers(alone(0))


@pytest.mark.parametrize("seconds", [1.5, pytest.param(20.0, marks=pytest.mark.slow)])
def test_readers_beside_a_writer_see_whole_files_only(
    alone: Callable[[int], Store], tmp_path: Path, tally: Tally, seconds: float
) -> None:
    root, until = tmp_path / "store", tmp_path / "until"
    landscape.open(root)
    looker = reader(root, alone(0))

    def writing(tell: Tell) -> int:
        store, end, count = landscape.open(root), time.monotonic() + seconds, 0
        while time.monotonic() < end:
            name = f"run-{count:04d}"
            landscape.train(store=store, name=name, seed=0, **SETTINGS)
            # another grid, another question: each is a result of its own
            landscape.barrier(f"{name}@0", f"{name}@1", store=store, points=3 + count)
            count += 1
        until.touch()
        return count

    writer = Child(writing)
    readers = [Child(looker.looks(until)) for _ in range(2)]
    written = writer.wait()
    until.touch()  # also if the writer failed
    looks = [each.wait().returned() for each in readers]
    assert written.returned() > 1
    assert min(looks) > 1
    assert len(landscape.open(root).catalog()) == written.value
    no_temporaries(root)
    tally.add("looks beside a writer", sum(looks), errors=0)


def refuse(number: int) -> Callable[..., None]:
    """A file lock as some network disks answer it."""

    def flock(*arguments: Any) -> None:
        raise OSError(number, os.strerror(number))

    return flock


def test_a_disk_without_locks_is_said_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = landscape.open(tmp_path / "store")
    sentence = r"^the disk of .*run-0/\.lock has no file locks.*: put the store on another disk"
    for number in (errno.ENOLCK, errno.ENOTSUP, errno.EIO):
        monkeypatch.setattr(fcntl, "flock", refuse(number))
        with pytest.raises(LandscapeError, match=sentence):
            landscape.train(store=store, name="run-0", **SETTINGS)
        assert not Run(store.root, "run-0").exists


def test_a_disk_whose_kernel_has_no_locks_is_said_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = landscape.open(tmp_path / "store")

    def acquire(*arguments: Any, **named: Any) -> None:
        raise NotImplementedError("FileSystem does not appear to support flock")

    monkeypatch.setattr(filelock.FileLock, "acquire", acquire)
    with pytest.raises(LandscapeError, match=r"the disk of .*\.lock has no file locks"):
        landscape.train(store=store, name="run-0", **SETTINGS)


@pytest.mark.filterwarnings("ignore:flock not supported")
def test_a_disk_without_flock_never_trains_a_run_twice_at_once(
    alone: Callable[[int], Store], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # newer versions of filelock turn to another kind of lock there, which must hold as well
    monkeypatch.setattr(fcntl, "flock", refuse(errno.ENOSYS))
    root, go_on = tmp_path / "store", tmp_path / "go-on"
    first = busy(root, go_on)
    ended: Ended = children.run(training(root, "run-0", 0))
    assert isinstance(ended.error, LandscapeError), ended.trace
    go_on.touch()
    assert first.wait().returned() == [0, 1, 2]
    assert children.run(training(root, "run-0", 0)).returned() == [0, 1, 2]
    killed = busy(root, tmp_path / "never", "run-1")
    killed.kill()
    assert killed.wait().killed
    assert children.run(training(root, "run-1", 0)).returned() == [0, 1, 2]
    expected = numbers(alone(0))
    assert numbers(Store(root)) == expected | {
        name.replace("run-0", "run-1"): content for name, content in expected.items()
    }
