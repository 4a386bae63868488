"""Processes that share a store: what they do, what they must find, where they meet."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import landscape
from landscape.data_store.catalog import Catalog
from landscape.data_store.store import Store
from tests.support import children
from tests.support.children import Ended, Job, Tell
from tests.support.kills import SETTINGS, blamed, stop_the_clock
from tests.support.operations import NEVER, Operations
from tests.support.witness import files, is_temporary, kept


def training(root: Path, name: str, seed: int) -> Job:
    """A process that opens the store and trains one run."""

    def job(tell: Tell) -> list[int]:
        run = landscape.train(store=landscape.open(root), name=name, seed=seed, **SETTINGS)
        return run.levels

    return job


def numbers(store: Store) -> dict[str, bytes]:
    """Level files and points of a store: what does not depend on names and clocks."""
    found = kept(files(store.root))
    return {
        name.rpartition("/")[2] if name.startswith("objects/") else name: content
        for name, content in found.items()
        if name.endswith(".h5")
    }


def no_temporaries(root: Path) -> None:
    """Nothing half-written is left in a store."""
    assert not [name for name in files(root) if is_temporary(name.rpartition("/")[2])]


@dataclass(frozen=True)
class Reader:
    """Looks at all there is in a store where runs of seed 0 are trained: digests and errors."""

    root: Path
    digests: list[str]
    errors: list[float]

    def look(self, tell: Tell) -> None:
        """Read everything once; nothing but right values may be there."""
        store = landscape.open(self.root)
        for name in store:
            run = store[name]
            for number in run.levels:
                assert run[number].digest == self.digests[number]
                assert run[number, "rewind"].digest
        for row in Catalog(self.root).rows("runs"):
            finished = int(row["levels"])
            assert row["test_error"] == (self.errors[finished - 1] if finished else None), row
        for row in Catalog(self.root).rows("results"):
            assert store.results("barrier", id=row["id"]).sizes["pair"] == 1

    def looks(self, until: Path) -> Job:
        """A process that looks again and again until there is a file, and counts how often."""

        def job(tell: Tell) -> int:
            looks = 0
            while not until.exists():
                self.look(tell)
                looks += 1
            return looks

        return job


def reader(root: Path, known: Store) -> Reader:
    """A reader that knows what a run of seed 0 is like."""
    run = known["run-0"]
    levels = [run.level(number) for number in run.levels]
    digests = [run[number].digest for number in run.levels]
    return Reader(root, digests, [level.metrics["test_error"] for level in levels])


@dataclass(frozen=True)
class Met:
    """Two processes of which the second did all its work within one moment of the first."""

    first: Any
    second: list[Ended]
    points: list[str]


def meeting(root: Path, first: Job, second: Job, at: int) -> Met:
    """Do two jobs, the second just before one file operation of the first."""

    def job(tell: Tell) -> tuple[Any, list[str]]:
        stop_the_clock()
        met = []

        def meet(point: str) -> None:
            if not met:
                met.append(point)
                tell(children.run(second))

        operations = Operations(root, at, meet, reads=True)
        return first(lambda message: None), operations.points

    ended = children.run(job)
    value, points = ended.returned()
    return Met(value, ended.told, points)


def meetings(
    folder: Path, first: Callable[[Path], Job], second: Callable[[Path], Job], few: int | None
) -> Iterator[tuple[Path, Met]]:
    """Every such meeting, or a few, each in a store of its own; says at which one it failed."""
    points = meeting(folder / "alone", first(folder / "alone"), second(folder), NEVER).points
    step = 1 if few is None else max(1, len(points) // few)
    for at in range(0, len(points), step):
        root = folder / f"{at}"
        with blamed(f"the second came at operation {at} of the first, before {points[at]}"):
            yield root, meeting(root, first(root), second(root), at)
