"""A sweep of 2 000 tiny jobs and of 24 LeNet runs, side by side with the same jobs in turn.

Run with ``python -m benchmarks.sweeps``; the LeNet runs need MNIST, in the folder that
``LANDSCAPE_DATA`` names. The tiny jobs are 1 000 runs of two levels of two steps each, and a
question about every one: what they take in turn, in one process of one thread, is what they cost
themselves; what two processes take more than half of that is what the sweep costs. Both are counted
from the end of the 200th job to that of the last, when all processes have imported what they need;
how long that takes is printed too. The memory is that of the process with the scheduler.

The LeNet runs are done by two processes of one thread each and, as scripts do, one after another in
one process with two threads, and with one. Here everything counts, imports too.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import psutil

import landscape
from benchmarks.measure import machine
from landscape.experiment import Ask, Experiment
from landscape.in_turn import in_turn
from landscape.local_cluster import side_by_side
from landscape.steps import Executor, Place, Report
from landscape.sweeper import sweep

TINY = {
    "task": "digits",
    "model": "mlp:64-10-10",
    "levels": 2,
    "iterations": 2,
    "max_examples": 50,
    "eval_every": 2,
}
RUNS, PROCESSES, WARM = 1000, 2, 200
LENET = """
name = "lenet"
replicates = 24
[train]
task = "mnist"
model = "lenet-300-100"
levels = 2
iterations = 1500
"""


@dataclass(frozen=True)
class Course:
    """How a sweep went.

    Parameters
    ----------
    start
        Seconds to the end of the 200th job.
    seconds
        From there to the end of the last.
    jobs
        How many ended in that time.
    memory
        MiB of this process after each tenth of them.
    """

    start: float
    seconds: float
    jobs: int
    memory: tuple[float, ...]

    @property
    def each(self) -> float:
        """Milliseconds from one job's end to the next one's."""
        return 1e3 * self.seconds / self.jobs


def tiny_jobs(runs: int, executing: Callable[[], AbstractContextManager[Executor]]) -> Course:
    """Tiny jobs in a new store."""
    experiment = Experiment("t", TINY, replicates=runs, asks=(Ask("overlap", "overlap"),))
    ends: list[float] = []
    memory: list[float] = []
    process = psutil.Process()

    def hear(report: Report) -> None:
        if report.what == "done":
            ends.append(time.perf_counter())
            if len(ends) % (2 * runs // 10) == 0:
                memory.append(process.memory_info().rss / 2**20)

    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, executing() as execute:
        place = Place(landscape.open(Path(folder) / "store"), threads=1)
        swept = sweep(experiment, place, execute, hear)
        assert not swept.failed
        assert not swept.missing
    warm = min(WARM, len(ends) // 2)
    return Course(ends[warm] - began, ends[-1] - ends[warm], len(ends) - 1 - warm, tuple(memory))


def lenet_runs(data: Path, *options: str) -> float:
    """Seconds of a sweep of LeNet runs, by the command line."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "lenet.toml"
        file.write_text(LENET, encoding="utf-8")
        words = ("sweep", file, "--store", Path(folder) / "store", "--data", data, "--quiet")
        began = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "landscape", *words, *options],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        return time.perf_counter() - began


def main() -> None:
    """Tell what a job costs beside its work, and what two processes gain."""
    print(f"\n{(__doc__ or '').splitlines()[0]}\n{machine()}\n")
    tiny_jobs(5, lambda: nullcontext(in_turn))
    alone = tiny_jobs(RUNS, lambda: nullcontext(in_turn))
    together = tiny_jobs(RUNS, lambda: side_by_side(PROCESSES))
    wall = together.each - alone.each / PROCESSES
    print(
        f"{2 * RUNS} tiny jobs: {alone.each:.1f} ms each in turn, {together.each:.1f} ms in "
        f"{PROCESSES} processes: {wall:.1f} ms more than their work alone would take, "
        f"{PROCESSES * wall:.1f} ms of each process"
    )
    print(f"until 200 were done: {alone.start:.1f} s in turn, {together.start:.1f} s side by side")
    told = ", ".join(f"{size:.0f}" for size in together.memory)
    print(f"MiB of the process with the scheduler, after each tenth of them: {told}\n")
    folder = os.environ.get("LANDSCAPE_DATA")
    if not folder:
        print("24 LeNet runs need MNIST: LANDSCAPE_DATA names no folder")
        return
    ways = {
        "landscape sweep, two processes": ("--jobs", "2"),
        "in turn, two threads": ("--jobs", "1", "--threads", "2"),
        "in turn, one thread": ("--jobs", "1", "--threads", "1"),
    }
    seconds = {name: lenet_runs(Path(folder), *options) for name, options in ways.items()}
    print("| 24 LeNet runs | seconds | ratio to ours |\n|---|---:|---:|")
    for name, spent in seconds.items():
        print(f"| {name} | {spent:.0f} | {spent / next(iter(seconds.values())):.2f} |")


if __name__ == "__main__":
    main()
