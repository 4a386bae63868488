"""Training that was killed, interrupted, refused the disk, or damaged: always the same bytes."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import torch

import landscape.trainer
from landscape.data_store import files as files_module
from landscape.data_store import layout
from landscape.data_store.errors import LandscapeError
from landscape.data_store.image import seal
from landscape.data_store.level_file import level_image
from landscape.data_store.store import Run, Store, open_store
from landscape.trainer import train
from landscape.training.imp import Finished
from landscape.training.loop import Tick
from tests.support import children
from tests.support.trained import SETTINGS, Stop, files, leftovers, stop_at

# with a state of its own in every part: BatchNorm, dropout, a loss that can end the process
FILE = """
    import os
    import signal
    from torch import nn
    from landscape.training import tasks
    from landscape.training.task import Task, cross_entropy

    calls = 0

    def loss(outputs, targets):
        global calls
        calls += outputs.requires_grad
        if calls == int(os.environ.get("KILL_AT", "-1")):
            os.kill(os.getpid(), signal.SIGKILL)
        return cross_entropy(outputs, targets)

    def task():
        made = tasks.digits()
        return Task("noisy", made.splits, loss)

    def model():
        hidden = [nn.Linear(64, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Dropout(0.2)]
        return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(12, 10))
"""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store."""
    return open_store(tmp_path / "store")


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write the resume file at every evaluation."""
    monkeypatch.setattr(landscape.trainer, "RESUME_SECONDS", -1.0)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that nothing interrupted."""
    elsewhere = open_store(tmp_path_factory.mktemp("whole") / "store")
    return train(store=elsewhere, name="whole", **SETTINGS)


def interrupted(store: Store, level: int, step: int, **settings: Any) -> Run:
    """A run that ended at one evaluation."""
    with pytest.raises(Stop):
        train(store=store, name="run", listener=stop_at(level, step), **SETTINGS | settings)
    return Run(store.root, "run")


@pytest.mark.parametrize("moment", [(0, 0), (0, 10), (0, 40), (1, 4), (1, 20), (2, 40)])
@pytest.mark.parametrize("resumable", [True, False])
def test_interrupted_it_ends_with_the_same_bytes(
    store: Store,
    whole: Run,
    moment: tuple[int, int],
    resumable: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(landscape.trainer, "RESUME_SECONDS", -1.0 if resumable else 1e9)
    before = torch.get_num_threads()
    with pytest.raises(KeyboardInterrupt):
        train(store=store, name="run", listener=stop_at(*moment, KeyboardInterrupt), **SETTINGS)
    run = Run(store.root, "run")
    assert run.levels == list(range(moment[0]))
    assert torch.get_num_threads() == before
    assert layout.resume_file(store.root, "run").exists() == resumable
    heard: list[tuple[int, int]] = []

    def listen(event: Tick | Finished) -> None:
        if isinstance(event, Tick):
            heard.append((event.level, event.step))

    train(store=store, name="run", listener=listen, **SETTINGS)
    assert files(run) == files(whole)
    assert leftovers(run) - {".lock"} == {"run.json", "log.jsonl"}
    # resumed inside the level, the evaluations that were captured are not made again
    assert (moment in heard) == (not resumable)


def killed(store: Store, settings: dict[str, Any], kill_at: int) -> None:
    """Train in another process that kills itself at one call of the training loss."""

    def job(_tell: Any) -> None:
        os.environ["KILL_AT"] = str(kill_at)
        landscape.trainer.RESUME_SECONDS = -1.0
        train(store=store, name="run", **settings)

    ended = children.run(job)
    assert ended.killed, ended.trace


def test_killed_twice_it_ends_with_the_same_bytes(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "noisy.py"
    path.write_text(dedent(FILE), encoding="utf-8")
    settings = SETTINGS | {"task": f"{path}:task", "model": f"{path}:model"}
    settings |= {"optimizer": "sgd", "lr": 0.05, "lr_milestones": [25]}
    monkeypatch.delenv("KILL_AT", raising=False)
    expected = files(train(store=store, name="uninterrupted", **settings))
    for path in layout.objects(store.root).rglob("*.h5"):
        path.unlink()

    run = Run(store.root, "run")
    killed(store, settings, kill_at=27)  # level 0 after step 26: the file is from step 20
    assert run.levels == []
    assert {"resume.h5", ".holder"} <= leftovers(run)
    killed(store, settings, kill_at=20 + 36 + 13)  # from there to step 16 of level 2
    assert run.levels == [0, 1]
    train(store=store, name="run", **settings)
    assert files(run) == expected
    assert leftovers(run) - {".lock"} == {"run.json", "log.jsonl"}


def test_diverged_and_interrupted_it_has_the_same_bytes(store: Store, often: None) -> None:
    wild = SETTINGS | {"optimizer": "sgd", "lr": 1e30, "levels": 1}
    with pytest.raises(LandscapeError, match="diverged"):
        train(store=store, name="whole", **wild)
    with pytest.raises(Stop):
        train(store=store, name="run", listener=stop_at(0, 10), **wild)
    with pytest.raises(LandscapeError, match="diverged"):
        train(store=store, name="run", **wild)
    assert files(Run(store.root, "run")) == files(Run(store.root, "whole"))


@pytest.fixture
def limit_file_size() -> Iterator[Callable[..., None]]:
    """Let the kernel refuse larger files to this process; without a size, as before."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limit(size: int = soft) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))

    yield limit
    limit()


@pytest.mark.parametrize("resumable", [True, False])
def test_a_full_disk_keeps_what_is_stored_and_says_how_to_go_on(
    store: Store,
    whole: Run,
    resumable: bool,
    limit_file_size: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(landscape.trainer, "RESUME_SECONDS", -1.0 if resumable else 1e9)
    run = Run(store.root, "run")

    def fill(event: Tick | Finished) -> None:
        if isinstance(event, Tick) and (event.level, event.step) == (1, 10):
            limit_file_size(4096)

    named = "resume.h5" if resumable else "level_0001.h5"
    with pytest.raises(
        LandscapeError,
        match=rf"could not write .*{named}: File too large; what was stored before is "
        "intact: make room or give write access, and repeat the command",
    ):
        train(store=store, name="run", listener=fill, **SETTINGS)
    limit_file_size()
    assert run.levels == [0]
    assert files(run)["level_0000.h5"] == files(whole)["level_0000.h5"]
    assert not [name for name in leftovers(run) if name.endswith(".tmp")]
    train(store=store, name="run", **SETTINGS)
    assert files(run) == files(whole)


def test_a_disk_full_at_any_write_leaves_a_run_that_goes_on(
    store: Store, whole: Run, often: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = [0]

    def failing(plain: Callable[..., Any]) -> Callable[..., Any]:
        def use(*arguments: Any, **options: Any) -> Any:
            left[0] -= 1
            if left[0] == 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            return plain(*arguments, **options)

        return use

    monkeypatch.setattr(os, "fsync", failing(os.fsync))
    monkeypatch.setattr(files_module, "_place", failing(files_module._place))
    train(store=store, name="first", **SETTINGS)  # the folders are there from now on
    for path in layout.objects(store.root).rglob("*.h5"):
        path.unlink()
    left[0] = 0
    train(store=store, name="counted", **SETTINGS)
    writes = -left[0]
    # content, name and folder of manifest and levels, the name of every resume file
    assert writes >= 3 * (1 + 3) + 15
    for number in range(1, writes + 1, 7):
        left[0], name = number, f"run-{number}"
        for path in layout.objects(store.root).rglob("*.h5"):
            path.unlink()
        with pytest.raises(LandscapeError, match="No space left on device; what was stored before"):
            train(store=store, name=name, **SETTINGS)
        left[0] = 0
        assert files(train(store=store, name=name, **SETTINGS)) == files(whole)


@pytest.mark.parametrize("number", [0, 1])
def test_a_missing_level_is_trained_again_to_the_same_bytes(
    store: Store, whole: Run, number: int
) -> None:
    run = train(store=store, name="run", **SETTINGS)
    missing = layout.level_file(store.root, "run", number)
    missing.unlink()
    heard: list[int] = []

    def listen(event: Tick | Finished) -> None:
        if isinstance(event, Finished):
            heard.append(event.level.number)

    train(store=store, name="run", listener=listen, **SETTINGS)
    assert heard == [number]
    assert files(run) == files(whole)


def test_two_missing_levels_are_trained_again(store: Store) -> None:
    settings = SETTINGS | {"levels": 4}
    run = train(store=store, name="run", **settings)
    before = files(run)
    for number in (0, 2):
        layout.level_file(store.root, "run", number).unlink()
    train(store=store, name="run", **settings)
    assert files(run) == before


def flip(path: Path, place: int) -> bytes:
    """Flip one bit of a file; its content then."""
    content = bytearray(path.read_bytes())
    content[place % len(content)] ^= 1 << place % 8
    path.write_bytes(content)
    return bytes(content)


def heard_levels(store: Store, **settings: Any) -> list[int]:
    """The levels that training the run once more trains."""
    heard: list[int] = []

    def listen(event: Tick | Finished) -> None:
        if isinstance(event, Finished):
            heard.append(event.level.number)

    train(store=store, name="run", listener=listen, **SETTINGS | settings)
    return heard


@pytest.mark.parametrize("number", [0, 1, 2])
@pytest.mark.parametrize("place", [3, 40, 600, 3001, -1])
def test_just_a_damaged_level_is_trained_again_and_the_damaged_file_is_kept(
    store: Store, whole: Run, number: int, place: int
) -> None:
    run = train(store=store, name="run", **SETTINGS)
    path = layout.level_file(store.root, "run", number)
    damaged = flip(path, place)
    kept = store.root / "damaged" / "runs" / "run" / path.name
    message = rf"level_000{number}\.h5 is (not|damaged).*; it is now {kept}, and made again"
    with pytest.warns(UserWarning, match=message) as warned:
        assert heard_levels(store) == [number]
    assert len(warned) == 1
    assert files(run) == files(whole)
    assert kept.read_bytes() == damaged
    assert heard_levels(store) == []


def test_two_damaged_levels_are_trained_again(store: Store, whole: Run) -> None:
    run = train(store=store, name="run", **SETTINGS)
    for number in (0, 2):
        flip(layout.level_file(store.root, "run", number), 2000)
    with pytest.warns(UserWarning, match="and made again") as warned:
        assert heard_levels(store) == [0, 2]
    assert len(warned) == 2
    assert files(run) == files(whole)


def test_a_damaged_level_before_missing_ones_is_trained_again(store: Store, whole: Run) -> None:
    run = train(store=store, name="run", **SETTINGS | {"levels": 2})
    flip(layout.level_file(store.root, "run", 1), 3000)
    with pytest.warns(UserWarning, match=r"level_0001\.h5 is damaged: .*and made again"):
        assert heard_levels(store) == [1, 2]
    assert files(run) == files(whole)


def test_a_damaged_level_that_nobody_asks_for_stays_where_it_is(store: Store) -> None:
    run = train(store=store, name="run", **SETTINGS)
    path = layout.level_file(store.root, "run", 2)
    damaged = flip(path, 3000)
    assert heard_levels(store, levels=2) == []
    assert path.read_bytes() == damaged
    with pytest.warns(UserWarning, match="and made again"):
        assert heard_levels(store) == [2]
    assert run.level(2).number == 2


@pytest.mark.parametrize("how", ["cut", "empty", "other level", "other run", "renamed"])
def test_a_level_that_is_none_is_trained_again(store: Store, whole: Run, how: str) -> None:
    run = train(store=store, name="run", **SETTINGS)
    other = train(store=store, name="other", **SETTINGS | {"seed": 1, "levels": 2})
    path = layout.level_file(store.root, "run", 1)
    path.write_bytes(
        {
            "cut": path.read_bytes()[:-1],
            "empty": b"",
            "other level": files(run)["level_0000.h5"],
            "other run": layout.level_file(store.root, other.name, 1).read_bytes(),
            "renamed": next(layout.objects(store.root).rglob("*.h5")).read_bytes(),
        }[how]
    )
    with pytest.warns(UserWarning, match=r"level_0001\.h5 .*and made again"):
        assert heard_levels(store) == [1]
    assert {n: c for n, c in files(run).items() if n in files(whole)} == files(whole)


@pytest.mark.parametrize(("part", "again"), [("init", []), ("rewind", [0])])
@pytest.mark.parametrize("how", ["flipped", "missing", "another"])
def test_a_damaged_point_is_made_again(
    store: Store, whole: Run, part: str, again: list[int], how: str
) -> None:
    """The initial weights are drawn again, the rewind point takes a training of level 0."""
    run = train(store=store, name="run", **SETTINGS)
    origins = run.level(0).origins
    path = layout.object_file(store.root, origins[part])
    if how == "flipped":
        flip(path, 900)
    elif how == "missing":
        path.unlink()
    else:
        [other] = {*origins.values()} - {origins[part]}
        path.write_bytes(layout.object_file(store.root, other).read_bytes())
    if how == "missing":
        assert heard_levels(store) == again
    else:
        with pytest.warns(UserWarning, match=rf"{path.name} .*; it is now .*, and made again"):
            assert heard_levels(store) == again
        assert (store.root / "damaged" / path.relative_to(store.root)).is_file()
    assert files(run) == files(whole)


def test_a_damaged_point_that_another_run_shares_is_made_again_by_a_new_one(
    store: Store, whole: Run
) -> None:
    run = train(store=store, name="run", **SETTINGS | {"levels": 1})
    flip(layout.object_file(store.root, run.level(0).origins["init"]), 900)
    with pytest.warns(UserWarning, match="and made again"):
        second = train(store=store, name="second", **SETTINGS | {"levels": 2})
    assert second[1, "init"].level == run[0, "init"].level + 1
    assert {n: c for n, c in files(whole).items() if n != "level_0002.h5"} == files(second)


def test_a_level_of_a_newer_version_is_not_trained_again(store: Store) -> None:
    """Nobody may move aside what a later landscape wrote."""
    run = train(store=store, name="run", **SETTINGS | {"levels": 1})
    path = layout.level_file(store.root, "run", 0)
    header = {"format": layout.LEVEL_FORMAT, "version": [2, 0], "written_by": "5.0"}
    path.write_bytes(seal(header, {}, compress=True))
    before = files(run)
    with pytest.raises(
        LandscapeError, match=r"level_0000\.h5 is of format version 2 .* landscape 5"
    ):
        train(store=store, name="run", **SETTINGS)
    assert files(run) == before


@pytest.mark.parametrize("origin", ["../../../outside", "no digest"])
def test_a_level_that_points_elsewhere_reaches_nothing(
    store: Store, whole: Run, tmp_path: Path, origin: str
) -> None:
    outside = tmp_path / "outside.h5"
    outside.write_bytes(b"precious")
    run = train(store=store, name="run", **SETTINGS)
    level = run.level(1)
    forged = replace(level, origins={**level.origins, "rewind": origin})
    layout.level_file(store.root, "run", 1).write_bytes(level_image(forged))
    with pytest.warns(UserWarning, match="does not say by digests where its level began"):
        assert heard_levels(store) == [1]
    assert outside.read_bytes() == b"precious"
    assert files(run) == files(whole)


def test_a_damaged_manifest_is_named_and_nothing_is_trained(store: Store) -> None:
    run = train(store=store, name="run", **SETTINGS | {"levels": 1})
    before = files(run)
    flip(layout.run_manifest(store.root, "run"), 100)
    with pytest.raises(LandscapeError, match=r"runs/run/run\.json is damaged: "):
        train(store=store, name="run", **SETTINGS)
    assert files(run) == before


def test_a_log_in_whose_place_is_none_is_named(store: Store) -> None:
    run = train(store=store, name="run", **SETTINGS | {"levels": 1})
    layout.run_log(store.root, "run").unlink()
    layout.run_log(store.root, "run").mkdir()
    with pytest.raises(LandscapeError, match=r"^could not append to .*log\.jsonl: Is a directory$"):
        train(store=store, name="run", **SETTINGS)
    assert run.levels == [0]


def test_a_torn_log_is_gone_on_with(store: Store, whole: Run) -> None:
    run = interrupted(store, 1, 20)
    with layout.run_log(store.root, "run").open("ab") as log:
        log.write(b'{"time": 1.5, "lev')
    train(store=store, name="run", **SETTINGS)
    lines = layout.run_log(store.root, "run").read_text().splitlines()
    torn = [line for line in lines if not line.endswith("}")]
    assert torn == ['{"time": 1.5, "lev']
    steps = [json.loads(line)["step"] for line in lines if line not in torn]
    assert steps.count(40.0) == 3
    assert files(run) == files(whole)


@pytest.mark.parametrize("damage", ["flipped", "cut", "empty", "foreign"])
def test_a_damaged_resume_file_is_ignored(
    store: Store, whole: Run, often: None, damage: str
) -> None:
    run = interrupted(store, 1, 20)
    path = layout.resume_file(store.root, "run")
    content = path.read_bytes()
    middle = len(content) // 2
    path.write_bytes(
        {
            "flipped": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
            "cut": content[:middle],
            "empty": b"",
            "foreign": b"not ours",
        }[damage]
    )
    train(store=store, name="run", **SETTINGS)
    assert not (store.root / "damaged").exists()
    assert files(run) == files(whole)


def test_a_resume_file_of_another_level_is_ignored(store: Store, whole: Run, often: None) -> None:
    run = interrupted(store, 2, 20)
    layout.level_file(store.root, "run", 1).unlink()
    train(store=store, name="run", **SETTINGS)
    assert files(run) == files(whole)


def test_a_resume_file_of_another_run_is_ignored(store: Store, whole: Run, often: None) -> None:
    """Same level, same network, same step: the weights of another seed would be trained on."""
    run = interrupted(store, 1, 20)
    with pytest.raises(Stop):
        train(store=store, name="other", listener=stop_at(1, 20), **SETTINGS | {"seed": 1})
    theirs = layout.resume_file(store.root, "other").read_bytes()
    layout.resume_file(store.root, "run").write_bytes(theirs)
    train(store=store, name="run", **SETTINGS)
    found = files(run)
    assert {name: found[name] for name in files(whole)} == files(whole)


def test_temporary_files_of_the_dead_are_swept(store: Store, whole: Run) -> None:
    run = interrupted(store, 1, 20)
    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        pass
    host = hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]
    folder = layout.run_folder(store.root, "run")
    torn = folder / f".level_0001.h5.{host}.{dead.pid}.0a0b0c0d.tmp"
    living = folder / f".level_0001.h5.{host}.{os.getppid()}.0a0b0c0d.tmp"
    elsewhere = folder / f".level_0001.h5.0123abcd.{dead.pid}.0a0b0c0d.tmp"
    for path in (torn, living, elsewhere):
        path.write_bytes(b"half a level")
    train(store=store, name="run", **SETTINGS)
    assert not torn.exists()
    assert living.exists()
    assert elsewhere.exists()
    assert files(run) == files(whole)
