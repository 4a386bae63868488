"""A run of 21 levels on disk beside torch.save and safetensors; and finding among 10 000 results.

Run with ``python -m benchmarks.store``. The weights are Gaussian, which compress as trained
ones do to a few per cent. ``torch.save`` and safetensors write everything at every level as
scripts do: init, rewind, final, a boolean mask, buffers and momentum, straight to the final
name and not flushed to the disk. This package writes through its store: init and rewind once,
momentum in the resume file that each finished level removes, every level complete, digested and
flushed to the disk before it has its name. The tables of `benchmarks.finding` follow.
"""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from benchmarks import finding
from benchmarks.made_up import MadeUpRun, lenet_300_100, made_up_run, resnet_20
from benchmarks.measure import ROUNDS, machine
from landscape.data_store import layout
from landscape.data_store.level_file import level_image
from landscape.data_store.params import Array
from landscape.data_store.records import Level
from landscape.data_store.resume_file import save_resume
from landscape.data_store.store import Store, open_store

Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Way:
    """One way to keep a run.

    Parameters
    ----------
    write
        Writes every level into an empty folder.
    read
        Reads one level out of that folder.
    """

    write: Callable[[Path], None]
    read: Callable[[Path, int], object]


@dataclass
class Measured:
    """Bytes of one way, and its seconds round by round."""

    size: int = 0
    writing: list[float] = field(default_factory=list)
    reading: list[list[float]] = field(default_factory=list)

    @property
    def write(self) -> float:
        """Seconds to write the run, the middle round."""
        return statistics.median(self.writing)

    @property
    def read(self) -> float:
        """Milliseconds to read a level: mean over the levels, the middle round."""
        return 1e3 * statistics.median(map(statistics.mean, self.reading))

    @property
    def slowest(self) -> float:
        """Milliseconds to read the slowest level, the middle round."""
        return 1e3 * statistics.median(map(max, self.reading))


def main() -> None:
    """Print all tables."""
    print(f"{machine()}; medians of {ROUNDS} interleaved rounds")
    for name, shapes in (("LeNet-300-100", lenet_300_100()), ("ResNet-20", resnet_20())):
        run = made_up_run(*shapes)
        measured = side_by_side(ways(run), len(run.levels))
        print_table(name, run, measured)
    finding.main()


def ways(run: MadeUpRun) -> dict[str, Way]:
    """The contestants."""
    everything = [tensors_of(run, number) for number in range(len(run.levels))]

    def torch_save(folder: Path, *, flush: bool = False) -> None:
        for number, tensors in enumerate(everything):
            with (folder / f"{number}.pt").open("wb") as file:
                torch.save(tensors, file)
                if flush:
                    file.flush()
                    os.fsync(file.fileno())

    def torch_load(folder: Path, number: int) -> object:
        return torch.load(folder / f"{number}.pt", weights_only=True)

    def safetensors(folder: Path) -> None:
        for number, tensors in enumerate(everything):
            save_file(tensors, folder / f"{number}.safetensors")

    return {
        "`torch.save`": Way(torch_save, torch_load),
        "`torch.save`, flushed to the disk": Way(partial(torch_save, flush=True), torch_load),
        "safetensors": Way(safetensors, lambda f, n: load_file(f / f"{n}.safetensors")),
        "landscape": Way(partial(keep, run), lambda f, n: Store(f)["run"].level(n)),
        "landscape without the resume file; init and rewind read too": Way(
            partial(keep, run, resume=False), level_and_origins
        ),
    }


def level_and_origins(folder: Path, number: int) -> object:
    """A level of a stored run, and the points it began from."""
    stored = Store(folder)["run"]
    level = stored.level(number)
    return level, [stored.point(digest) for digest in level.origins.values()]


def tensors_of(run: MadeUpRun, number: int) -> Tensors:
    """All tensors of a level, each with memory of its own, as a network has them."""
    level = run.levels[number]
    vectors = {
        **{part: point.theta for part, point in run.origins.items()},
        "final": level.points["final"].theta,
        "momentum": run.momenta[number],
    }
    arrays: dict[str, Array] = {
        f"{part}/{name}": array
        for part, vector in vectors.items()
        for name, array in run.spec.unflatten(vector).items()
    }
    for name in level.mask.prunable:
        arrays[f"mask/{name}"] = level.mask.layer(name).reshape(run.spec.shape(name))
    arrays |= {f"buffers/{k}": v for k, v in level.points["final"].buffers.items()}
    return {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}


def keep(run: MadeUpRun, folder: Path, *, resume: bool = True) -> None:
    """Write a run as training does, with the resume file once in each level."""
    stored = open_store(folder).create("run", {"spec": run.spec.to_json()})
    place = layout.resume_file(folder, "run")
    for level, momentum in zip(run.levels, run.momenta, strict=True):
        if resume:
            state = captured(level, momentum)
            save_resume(place, level.number, state, root=folder)
        for part, digest in level.origins.items():
            stored.save_point(digest, run.spec, run.origins[part])
        stored.save_level(level.number, level_image(level))
        place.unlink(missing_ok=True)


def captured(level: Level, momentum: Array) -> dict[str, Array]:
    """What training captures near the end of a level, as the resume file names it."""
    final = level.points["final"]
    return {
        "step": np.array([1]),
        "trace": level.trace.values,
        "theta/": final.theta,
        **{f"buffer//{name}": value for name, value in final.buffers.items()},
        "optimizer/momentum_buffer": momentum,
    }


def side_by_side(
    contestants: Mapping[str, Way], levels: int, rounds: int = ROUNDS
) -> dict[str, Measured]:
    """Write and read with every way in turn, one round unmeasured, the disk idle before each."""
    measured = {name: Measured() for name in contestants}
    for number in range(rounds + 1):
        for name, way in contestants.items():
            folder = Path(tempfile.mkdtemp())
            try:
                os.sync()
                writing = seconds(way.write, folder)
                os.sync()
                way.read(folder, 0)
                reading = [seconds(way.read, folder, level) for level in range(levels)]
                size = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
            finally:
                shutil.rmtree(folder)
            if number:
                measured[name].size = size
                measured[name].writing.append(writing)
                measured[name].reading.append(reading)
    return measured


def seconds(act: Callable[..., object], *arguments: object) -> float:
    """How long one call takes."""
    began = time.perf_counter()
    act(*arguments)
    return time.perf_counter() - began


def print_table(name: str, run: MadeUpRun, measured: Mapping[str, Measured]) -> None:
    """Print bytes, seconds to write and milliseconds to read, each also relative to the first."""
    first = next(iter(measured.values()))
    print(
        f"\n{name}, {run.spec.size} parameters in {len(run.spec.names)} tensors, "
        f"{len(run.levels)} levels at density 0.8^k\n"
    )
    print("| | MB | ratio | write, s | ratio | read a level, ms | the slowest | ratio |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for way, found in measured.items():
        print(
            f"| {way} | {found.size / 1e6:.2f} | {found.size / first.size:.4f} "
            f"| {found.write:.3f} | {found.write / first.write:.2f} "
            f"| {found.read:.2f} | {found.slowest:.2f} | {found.read / first.read:.2f} |"
        )
    print("| bar for landscape | | 0.075 | | 2 | | 20 | |")


if __name__ == "__main__":
    main()
