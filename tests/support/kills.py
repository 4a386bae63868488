"""Commands that are killed, at random or at a chosen operation, and what must hold after."""

from __future__ import annotations

import datetime
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import landscape
import landscape.provenance
import landscape.trainer
import landscape.workbench
from landscape.data_store import layout, verify
from landscape.data_store.catalog import Catalog
from landscape.training.imp import Finished
from landscape.training.loop import Tick
from tests.support import children
from tests.support.children import Child, Ended, Tell
from tests.support.operations import NEVER, Operations, Strike, kill_here
from tests.support.tally import Tally
from tests.support.witness import Faults, Witness, files, kept

SETTINGS: dict[str, Any] = {
    "task": "digits",
    "model": "mlp:64-8-10",
    "levels": 3,
    "iterations": 20,
    "eval_every": 10,
    "batch_size": 50,
    "rewind_step": 4,
    "threads": 1,
}
KILLS_PER_STORE = 6
NAMES = ("training", "analysis", "catalogue")

Command = Callable[[Path, Tell], Any]


class _Clock(datetime.datetime):
    """Always the same moment, so that equal commands write equal bytes."""

    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> _Clock:
        return cls(2020, 2, 2, tzinfo=tz)


def stop_the_clock() -> None:
    """Take the time out of manifests and records; for forked children only."""
    landscape.provenance.datetime = _Clock  # type: ignore[attr-defined]
    landscape.workbench.datetime = _Clock  # type: ignore[attr-defined]
    landscape.workbench.time = SimpleNamespace(perf_counter=lambda: 0.0)  # type: ignore[attr-defined]


def train(root: Path, tell: Tell) -> None:
    """Train the run, telling the file of every level once it is said to be finished."""
    landscape.trainer.RESUME_SECONDS = -1.0

    def listen(event: Tick | Finished) -> None:
        if isinstance(event, Finished):
            path = layout.level_file(root, "run", event.level.number)
            tell(path.relative_to(root).as_posix())

    landscape.train(store=landscape.open(root), name="run", listener=listen, **SETTINGS)


def analyse(root: Path, tell: Tell) -> list[float]:
    """Ask two questions about the stored levels; the answers as numbers."""
    store = landscape.open(root)
    run = store["run"]
    answers = []
    for first, second in ((0, 1), (1, 2)):
        ds = landscape.barrier(run[first], run[second], store=store, points=3)
        answers.append(float(ds["loss_barrier"].sum()))
        tell(answers[-1])
    return answers


def catalogue(root: Path, tell: Tell) -> list[Any]:
    """Ask the catalogue for all runs, levels and results, and for the results themselves."""
    catalog = Catalog(root)
    rows = [catalog.rows("runs"), catalog.levels("run"), catalog.rows("results")]
    return [*rows, float(landscape.open(root).results("barrier")["loss_barrier"].sum())]


@dataclass(frozen=True)
class Trial:
    """A command, the store it begins with, and what it leaves when nobody disturbs it."""

    name: str
    command: Command
    begin: Path | None
    expected: dict[str, bytes]
    answer: Any
    seconds: float

    def prepare(self, root: Path) -> None:
        """Make the store that the command begins with."""
        if self.begin:
            shutil.copytree(self.begin, root)
            for cache in (layout.index(root), root / "arrays.sqlite"):
                cache.unlink(missing_ok=True)

    def job(self, root: Path) -> children.Job:
        """The command in this store, as a child does it."""

        def job(tell: Tell) -> Any:
            stop_the_clock()
            return self.command(root, tell)

        return job

    def struck_job(self, root: Path, at: int, strike: Strike) -> children.Job:
        """The command, struck from one of its file operations on; returns all their names."""

        def job(tell: Tell) -> list[str]:
            stop_the_clock()
            operations = Operations(root, at, strike)
            assert self.command(root, tell) == self.answer
            return operations.points

        return job


def warm_up(root: Path) -> None:
    """Do everything once in this process, so that children find it imported."""
    store = landscape.open(root)
    run = landscape.train(store=store, name="run", **SETTINGS)
    landscape.barrier(run[0], run[1], store=store, points=3)
    store.runs()
    store.results("barrier")


def undisturbed(name: str, command: Command, begin: Path | None, root: Path) -> Trial:
    """A trial of a command, which is done once at `root` to know what it leaves and answers."""
    blank = Trial(name, command, begin, {}, None, 0.0)
    blank.prepare(root)
    began = time.perf_counter()
    answer = children.run(blank.job(root)).returned()
    seconds = time.perf_counter() - began
    return Trial(name, command, begin, kept(files(root)), answer, seconds)


def three_trials(folder: Path) -> dict[str, Trial]:
    """Training, an analysis, the catalogue: each begins with the store the one before left."""
    warm_up(folder / "warm")
    trials, begin = {}, None
    for name, command in zip(NAMES, (train, analyse, catalogue), strict=True):
        root = folder / name
        trials[name] = undisturbed(name, command, begin, root)
        begin = root
    return trials


@contextmanager
def blamed(what: str) -> Iterator[None]:
    """Say in a failure which seed, delay or operation it was."""
    try:
        yield
    except AssertionError as error:
        error.add_note(what)
        raise


def kill_at_random(trial: Trial, folder: Path, seed: int, kills: int, tally: Tally) -> None:
    """Kill a command this many times, each at a random moment, and check after each.

    The next command goes on where the killed one was, and is killed too; after some kills one
    is left alone, must end, and must leave just what an undisturbed one does.
    """
    draws, done, stores = Random(seed), 0, 0
    while done < kills:
        root = folder / f"{trial.name}-{stores}"
        trial.prepare(root)
        witness, stores = Witness(root, trial.expected), stores + 1
        for _ in range(min(KILLS_PER_STORE, kills - done)):
            delay = draws.uniform(0.0, trial.seconds)
            with blamed(f"{trial.name}: seed {seed}, kill {done}, after {delay:.6f} s"):
                ended = Child(trial.job(root)).kill_after(delay)
                if not ended.killed:
                    ended.returned()
                    break
                done += 1
                check(witness.look(_announced(trial, ended)), tally)
                assert not wrong(root), wrong(root)
        with blamed(f"{trial.name}: seed {seed}, the command after kill {done - 1}"):
            goes_on(trial, root, witness, tally)
        shutil.rmtree(root)


def kill_at(trial: Trial, folder: Path, at: int, point: str, tally: Tally) -> None:
    """Kill a command at one file operation; check what it left, and the next command."""
    root = folder / f"{trial.name}-at-{at}"
    trial.prepare(root)
    witness = Witness(root, trial.expected)
    with blamed(f"{trial.name}: killed at operation {at}, before {point}"):
        ended = Child(trial.struck_job(root, at, kill_here)).wait()
        assert ended.killed, f"ended by {ended}"
        check(witness.look(_announced(trial, ended)), tally)
        assert not wrong(root), wrong(root)
        goes_on(trial, root, witness, tally)
    shutil.rmtree(root)


def operations(trial: Trial, root: Path) -> list[str]:
    """Names of all file operations of a command, in order."""
    trial.prepare(root)
    points: list[str] = children.run(trial.struck_job(root, NEVER, kill_here)).returned()
    return points


def one_of_each(points: list[str]) -> list[int]:
    """Numbers of the last operation of each kind: open, write, write half, fsync, link, …"""
    return sorted({point.rpartition(" ")[0]: at for at, point in enumerate(points)}.values())


def goes_on(trial: Trial, root: Path, witness: Witness, tally: Tally) -> None:
    """Give the command again: it must end well and leave what an undisturbed one does."""
    assert children.run(trial.job(root)).returned() == trial.answer
    faults = witness.look_at_the_end()
    assert not faults.left, f"left behind: {faults.left}"
    check(faults, tally, kills=0)
    store = landscape.open(root)
    findings = verify.check(store, verify.files(store))
    assert not findings, findings


def wrong(root: Path) -> list[str]:
    """What ``landscape verify`` says is wrong with a store; it may not be there yet."""
    if not layout.manifest(root).exists():
        return []
    store = landscape.open(root)
    return [str(found) for found in verify.check(store, verify.files(store)) if found.is_wrong]


def check(faults: Faults, tally: Tally, kills: int = 1) -> None:
    """Count one look at a store after a kill, and fail if it found a fault."""
    lost, half = len(faults.lost), len(faults.half_visible)
    tally.add("kills", kills, files_lost=lost, half_visible=half)
    assert not faults, faults


def _announced(trial: Trial, ended: Ended) -> list[str]:
    """The files that a killed command had said were finished."""
    return ended.told if trial.command is train else []
