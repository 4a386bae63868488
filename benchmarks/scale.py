"""A store of many runs: files, the catalogue, finding, and planning a sweep over them.

Run with ``python -m benchmarks.scale [RUNS …]``, by default 1 000 and 10 000 runs of three levels
with ten results each. Every question is asked in a fresh process, after its imports and the same
question to a store of 16 runs; what remains is what grows.
"""

from __future__ import annotations

import multiprocessing
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import landscape
from benchmarks.finding import rebuild, timed
from benchmarks.made_up_results import write_results
from benchmarks.measure import machine
from landscape.agenda import agenda
from landscape.data_store import layout
from landscape.data_store.catalog import Catalog
from landscape.data_store.level_file import level_image
from landscape.data_store.store import Store
from landscape.done import undone
from landscape.experiment import Experiment
from landscape.steps import Place

TINY = {
    "task": "digits",
    "model": "mlp:64-10-10",
    "levels": 3,
    "iterations": 5,
    "max_examples": 50,
    "eval_every": 5,
}
FEW, SIZES = 16, (1_000, 10_000)


def made_up_store(root: Path, runs: int) -> Store:
    """A store with this many runs, copies of one under other seeds, and ten results each."""
    store = landscape.open(root)
    first = landscape.train(store=store, name="run-s0", seed=0, threads=1, **TINY)
    levels = [first.level(number) for number in first.levels]
    description = {k: v for k, v in first.description.items() if k not in ("name", "written_by")}
    for seed in range(1, runs):
        config = {**description["config"], "seed": seed}
        run = store.create(f"run-s{seed}", {**description, "config": config})
        for level in levels:
            image = level_image(replace(level, run=run.identity))
            layout.level_file(root, run.name, level.number).write_bytes(image)
    write_results(root, runs)
    return store


def listed(root: Path) -> int:
    """Rows of the catalogue of runs, compared with the files."""
    return len(Catalog(root).rows("runs"))


def found(root: Path) -> int:
    """One run by its name, and what it says of itself."""
    return len(Store(root)["run-s7"].levels)


def some(root: Path) -> int:
    """The results about one run as a dataset."""
    return int(Store(root).results("barrier", run="run-0007").sizes["pair"])


def planned(root: Path) -> int:
    """The runs of a sweep over as many seeds as there are runs, that are done."""
    runs = sum(1 for _ in layout.runs(root).iterdir())
    store = Store(root)
    whole = agenda(Experiment("run", TINY, replicates=runs), store)
    return len(whole.steps) - len(undone(whole.steps, Place(store)))


def size(root: Path) -> tuple[int, float, float]:
    """Files, MiB of their content, and MiB that they take on the disk."""
    stats = [path.stat() for path in root.rglob("*") if path.is_file()]
    return (
        len(stats),
        sum(s.st_size for s in stats) / 2**20,
        sum(s.st_blocks * 512 for s in stats) / 2**20,
    )


def main() -> None:
    """Print a table for each size."""
    questions = {
        "the catalogue, from the files": rebuild,
        "the catalogue, nothing changed": listed,
        "one run by its name": found,
        "the ten results about a run": some,
        "a sweep over all runs: planned, and found done": planned,
    }
    print(f"\n{(__doc__ or '').splitlines()[0]}\n{machine()}")
    with tempfile.TemporaryDirectory() as folder:
        few = made_up_store(Path(folder) / "few", FEW).root
        for runs in [int(word) for word in sys.argv[1:]] or SIZES:
            root = Path(folder) / str(runs)
            began = time.perf_counter()
            made_up_store(root, runs)
            made = time.perf_counter() - began
            files, content, disk = size(root)
            print(f"\n{runs} runs: {files} files, {content:.0f} MiB, {disk:.0f} MiB on the disk "
                  f"(made in {made:.0f} s)")  # fmt: skip
            print("| | found | seconds |\n|---|---:|---:|")
            for name, question in questions.items():
                spawn = multiprocessing.get_context("spawn")
                with ProcessPoolExecutor(1, mp_context=spawn) as process:
                    answer = process.submit(timed, question, few, root).result()
                print(f"| {name} | {answer[0]} | {answer[1]:.3g} |")
            index = layout.index(root).stat().st_size / 2**20
            print(f"The file of the catalogue: {index:.1f} MiB")


if __name__ == "__main__":
    main()
