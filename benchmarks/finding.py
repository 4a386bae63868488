"""Finding 750 of 10 000 stored barriers: the catalogue, ``landscape ls`` and one dataset.

Run with ``python -m benchmarks.finding``. Each number is measured in fresh processes after
their imports, and after the same questions to a store of a few results.
"""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import xarray as xr

from benchmarks.made_up_results import PAIRS, write_results
from benchmarks.measure import ROUNDS, machine
from landscape.cli import run
from landscape.data_store import layout
from landscape.data_store.catalog import Catalog
from landscape.data_store.schemas.barrier import BARRIER
from landscape.data_store.store import Store, open_store

RUNS, FEW, OPENED = 1000, 16, 100
WHERE = ("kind=barrier", "task=mnist", "density<0.2")


def rebuild(root: Path) -> int:
    """Make the catalogue from the files; how many results it has."""
    layout.index(root).unlink(missing_ok=True)
    return len(Catalog(root).rows("results"))


def listed(root: Path) -> int:
    """Lines that ``landscape ls results --where …`` prints."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        conditions = [word for condition in WHERE for word in ("--where", condition)]
        run(["ls", "results", "--store", str(root), *conditions])
    return len(printed.getvalue().splitlines())


def from_files(root: Path) -> int:
    """Pairs in the dataset of all that match, read from their files."""
    for cache in root.glob("*.sqlite"):
        if cache != layout.index(root):
            cache.unlink()
    return again(root)


def again(root: Path) -> int:
    """Pairs in the dataset of all that match."""
    found = Store(root).results("barrier", task="mnist", density=slice(0, 0.2))
    return int(found.sizes["pair"])


def by_xarray(root: Path) -> int:
    """Pairs in the dataset of some files, opened one by one and concatenated."""
    paths = sorted((layout.results(root) / BARRIER.kind).rglob("*.nc"))[:OPENED]
    parts = [xr.load_dataset(path, engine="h5netcdf") for path in paths]
    return int(xr.concat(parts, dim="pair", data_vars="minimal", join="outer").sizes["pair"])


def timed(question: Callable[[Path], int], few: Path, many: Path) -> tuple[int, float]:
    """Answer and seconds of a question to the large store, after the same to the small one."""
    question(few)
    began = time.perf_counter()
    answer = question(many)
    return answer, time.perf_counter() - began


def fresh(
    question: Callable[[Path], int], few: Path, many: Path, rounds: int = ROUNDS
) -> tuple[int, list[float]]:
    """Answer, and seconds in a process of its own for each round."""
    found = []
    for _ in range(rounds):
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=spawn) as process:
            found.append(process.submit(timed, question, few, many).result())
    return found[0][0], [took for _, took in found]


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder:
        stores = {}
        for name, runs in (("few", FEW), ("many", RUNS)):
            stores[name] = open_store(Path(folder) / name).root
            write_results(stores[name], runs)
        print_table(stores["few"], stores["many"])


def print_table(few: Path, many: Path) -> None:
    """Print how long each question takes, beside its bar."""
    questions = {
        "the catalogue, from the files": (rebuild, "10"),
        f"`ls results` with {len(WHERE)} conditions, lines": (listed, "0.05"),
        "`store.results`, the first time, pairs": (from_files, "1"),
        "`store.results`, again, pairs": (again, "0.15"),
    }
    print(f"\n{RUNS * PAIRS} stored barriers; {machine()}; medians of {ROUNDS} fresh processes\n")
    print("| | found | seconds | spread | bar |\n|---|---:|---:|---:|---:|")
    pairs = 0
    for name, (question, bar) in questions.items():
        pairs, took = fresh(question, few, many)
        middle = statistics.median(took)
        print(f"| {name} | {pairs} | {middle:.3g} | {min(took):.3g}–{max(took):.3g} | {bar} |")
    opened, took = fresh(by_xarray, few, many)
    scaled = statistics.median(took) * pairs / opened
    print(f"| `xarray.load_dataset` and `concat`, {opened} scaled to {pairs} | {pairs} "
          f"| {scaled:.3g} | | |")  # fmt: skip


if __name__ == "__main__":
    main()
