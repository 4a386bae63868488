"""Fifty times something of a sweep is killed with -9: in the end all is there, as if never."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil
import pytest

import landscape
from landscape.cli import run
from landscape.data_store import layout
from landscape.data_store.files import is_temporary
from landscape.data_store.store import Store
from tests.support.clusters import client_of, free_port, process, worker

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name == "nt", reason="processes are killed by signals"),
]

EXPERIMENT = """
name = "k"
replicates = 4
[train]
task = "digits"
model = "mlp:64-20-10"
levels = 3
iterations = 900
eval_every = 30
[[branch]]
name = "finetune"
at = 1
retrain = "finetune"
levels = 3
[[analysis]]
kind = "overlap"
[[analysis]]
kind = "barrier"
points = 5
"""
ATTEMPTS = 40


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep of eight runs, four of which begin at levels of the others, and sixteen questions."""
    path = tmp_path_factory.mktemp("file") / "killed.toml"
    path.write_text(EXPERIMENT)
    return path


@pytest.fixture(scope="module")
def undisturbed(file: Path) -> Store:
    """What comes of it when nothing is killed."""
    store = landscape.open(file.parent / "undisturbed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        swept = landscape.sweep(file, store=store, threads=1)
    assert (dict(swept.failed), swept.missing) == ({}, ())
    return store


@contextmanager
def sweeping(file: Path, store: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """The command, in a process of its own; killed if it is still there in the end."""
    words = ("sweep", str(file), "--store", str(store), *(options or ("--jobs", "2")))
    started = subprocess.Popen(
        [sys.executable, "-m", "landscape", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield started
    finally:
        started.kill()
        started.communicate()


def kill_worker(sweep: psutil.Process, draws: random.Random) -> bool:
    """Kill one of the processes that a sweep has begun; False if there is none."""
    with suppress(psutil.NoSuchProcess):
        children = [p for p in sweep.children() if "spawn_main" in " ".join(p.cmdline())]
        if children:
            draws.choice(children).kill()
            return True
    return False


def kill_sweep(sweep: psutil.Process, _draws: random.Random) -> bool:
    """Kill the process that has the scheduler."""
    with suppress(psutil.NoSuchProcess):
        sweep.kill()
        return True
    return False


@pytest.mark.parametrize(("kill", "kills"), [(kill_worker, 30), (kill_sweep, 12)])
def test_killed_again_and_again(
    kill: Callable[[psutil.Process, random.Random], bool],
    kills: int,
    file: Path,
    undisturbed: Store,
    tmp_path: Path,
) -> None:
    draws, made, whole = random.Random(kills), 0, 0
    while made < kills:  # a sweep that is done before is begun in a new store
        store, output = tmp_path / f"store-{whole}", ""
        for _ in range(ATTEMPTS):
            with sweeping(file, store) as started:
                ends = threading.Event()
                made += killed_while_it_runs(started, kill, kills - made, draws, ends)
                output, _ = started.communicate(timeout=300)
            if started.returncode == 0:
                break
            if started.returncode != -signal.SIGKILL:  # else what it was just starting complains
                assert "Traceback" not in output, output
        assert started.returncode == 0, output
        require_same(store, file, undisturbed)
        whole += 1
    assert made == kills


def killed_while_it_runs(
    started: subprocess.Popen[str],
    kill: Callable[[psutil.Process, random.Random], bool],
    most: int,
    draws: random.Random,
    ends: threading.Event,
) -> int:
    """How often `kill` found something to kill until the command ended, at most so often."""
    made, process_ = 0, psutil.Process(started.pid)
    until_trained = time.monotonic() + 60
    while started.poll() is None and made < most:
        ends.wait(draws.uniform(0.5, 3.0) + (3.0 if made == 0 else 0.0))
        if started.poll() is None:
            made += kill(process_, draws)
        assert made or time.monotonic() < until_trained
    return made


@pytest.mark.filterwarnings("ignore::DeprecationWarning:distributed")
def test_a_scheduler_killed_again_and_again(file: Path, undisturbed: Store, tmp_path: Path) -> None:
    kills, port, store = 8, free_port(), tmp_path / "store"
    words = ("scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard")
    address, draws = f"tcp://127.0.0.1:{port}", random.Random(8)
    output = ""
    with ExitStack() as all_:
        parts = all_.enter_context(ExitStack())
        for made in range(kills + 1):
            scheduler = parts.enter_context(process(*words, cwd=tmp_path))
            for _ in range(2):
                parts.enter_context(worker(address, tmp_path))
            with client_of(address, 2):
                pass
            if made == 0:
                sweep = all_.enter_context(sweeping(file, store, "--scheduler", address))
            if made < kills:
                time.sleep(draws.uniform(1.0, 4.0))
                assert sweep.poll() is None
                os.kill(scheduler.pid, signal.SIGKILL)
                parts.close()
        output, _ = sweep.communicate(timeout=300)
    assert sweep.returncode == 0, output
    assert "is gone; waiting for its scheduler to come back" in output
    assert "Traceback" not in output
    require_same(store, file, undisturbed)


def require_same(root: Path, file: Path, undisturbed: Store) -> None:
    """A store has all that an undisturbed one has, and nothing half."""
    store = landscape.open(root)
    assert list(store) == list(undisturbed)
    for name in store:
        assert store[name].levels == [0, 1, 2]
        for level in store[name].levels:
            path = layout.level_file(root, name, level)
            assert (
                path.read_bytes() == layout.level_file(undisturbed.root, name, level).read_bytes()
            )
    found = landscape.sweep(file, store=store, only_stored=True)
    expected = landscape.sweep(file, store=undisturbed, only_stored=True)
    assert found.missing == ()
    for kind in ("overlap", "barrier"):
        assert found[kind].drop_attrs().identical(expected[kind].drop_attrs())
    assert run(["verify", "--store", str(root)]) == 0
    assert run(["sweep", str(file), "--store", str(root), "--status"]) == 0
    assert [p for p in root.rglob("*") if is_temporary(p.name)] == []
