"""Steps done by a cluster: the numbers of one process, workers that are killed, bad clusters."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

import landscape
from landscape import cluster
from landscape.cli import run
from landscape.cluster import on_cluster, unreachable
from landscape.data_store.errors import LandscapeError, UsageError
from landscape.data_store.lock import is_held
from landscape.data_store.store import Store
from landscape.experiment import Ask, Experiment, Offshoot, Variant
from landscape.planning import plan
from landscape.steps import Place, Report, digest
from landscape.sweeper import agenda, sweep, undone
from landscape.workers import in_turn

distributed = pytest.importorskip("distributed")
pytestmark = [
    pytest.mark.skipif(os.name == "nt", reason="processes are killed by signals"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:distributed"),
]

TINY: dict[str, Any] = {
    "task": "digits",
    "model": "mlp:64-20-10",
    "levels": 2,
    "iterations": 20,
    "eval_every": 20,
}
GRID = Experiment(
    "a", TINY, grid={"criterion": ("random", "magnitude")}, asks=(Ask("overlap", "overlap"),)
)


@contextmanager
def process(*words: str, cwd: Path, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A part of a cluster, which ends with the test."""
    with (cwd / f"{words[0]}.log").open("ab") as log:
        started = subprocess.Popen(
            [sys.executable, "-m", "dask", *words],
            cwd=cwd,
            env=os.environ | {"DASK_DISTRIBUTED__ADMIN__TICK__LIMIT": "30s"} | environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            yield started
        finally:
            for signum in (signal.SIGTERM, signal.SIGKILL):
                try:
                    os.killpg(started.pid, signum)
                    started.wait(5)
                except (ProcessLookupError, subprocess.TimeoutExpired):
                    continue


def free_port() -> int:
    """A port that nobody listens on."""
    with closing(socket.socket()) as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def scheduler(cwd: Path, **environment: str) -> Iterator[str]:
    """The address of a scheduler whose jobs may take no worker with them."""
    port = free_port()
    words = ("scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard")
    environment["DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES"] = "1"
    with process(*words, cwd=cwd, **environment):
        yield f"tcp://127.0.0.1:{port}"


@contextmanager
def worker(address: str, cwd: Path, *more: str, **environment: str) -> Iterator[int]:
    """A worker of one thread, with a nanny that starts it again; the nanny's process."""
    words = ("worker", address, "--nthreads", "1", "--no-dashboard", "--local-directory", ".")
    with process(*words, *more, cwd=cwd, **environment) as started:
        yield started.pid


@contextmanager
def client_of(address: str, workers: int) -> Iterator[Any]:
    """A client of a cluster that has this many workers."""
    with distributed.Client(address, timeout=20, set_as_default=False) as client:
        client.wait_for_workers(workers, timeout=25)
        yield client


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A scheduler with two workers."""
    with ExitStack() as stack:
        folder = tmp_path_factory.mktemp("cluster")
        found = stack.enter_context(scheduler(folder))
        for _ in range(2):
            stack.enter_context(worker(found, folder))
        with client_of(found, 2):
            pass
        yield found


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A new store."""
    return Place(landscape.open(tmp_path / "s"), threads=1)


def digests(store: Store) -> dict[str, str]:
    """The digest of every level of every run."""
    return {f"{name}@{k}": store[name][k].digest for name in store for k in store[name].levels}


def pids(address: str) -> list[int]:
    """The processes of the workers."""
    with client_of(address, 1) as client:
        return list(client.run(os.getpid).values())


def test_a_cluster_comes_to_the_same_answers(address: str, place: Place, tmp_path: Path) -> None:
    heard: list[Report] = []
    swept = sweep(GRID, place, on_cluster(address), heard.append)
    assert (dict(swept.failed), swept.missing) == ({}, ())
    alone = Place(landscape.open(tmp_path / "alone"), threads=1)
    expected = sweep(GRID, alone, in_turn)
    assert digests(place.store) == digests(alone.store)
    assert swept["overlap"].equals(expected["overlap"])
    steps = [step.name for step in agenda(GRID).steps]
    assert sorted(r.run for r in heard if r.what == "done") == sorted(steps)
    told = [(r.run, r.level, r.density) for r in heard if r.what == "level"]
    assert sorted(told) == sorted(
        (run, level, place.store[run].level(level).mask.density)
        for run in place.store
        for level in (0, 1)
    )
    done = heard.index(next(r for r in heard if r.run == "a-random" and r.what == "done"))
    asked = heard.index(next(r for r in heard if r.run == "a-random overlap"))
    assert done < asked


def test_a_step_that_fails_fails_alone(address: str, place: Place) -> None:
    variants = (Variant("bad", {"optimizer": "sgd", "lr": 1e30}),)
    branches = (Offshoot("of-bad", 1, "bad", {}), Offshoot("b", "each", None, {}))
    steps = plan(Experiment("a", TINY, variants, branches))
    heard: list[Report] = []
    failed = on_cluster(address)(steps, place, heard.append)
    assert failed == in_turn(undone(steps, place), place, lambda _: None)
    assert set(failed) == {"a-bad", "a-of-bad"}
    assert "diverged" in failed["a-bad"]
    assert "where it begins, is not there" in failed["a-of-bad"]
    assert {r.run for r in heard if r.what == "done"} == {"a", "a-b-0", "a-b-1"}


@pytest.mark.slow
def test_the_job_of_a_killed_worker_is_done_again(address: str, place: Place) -> None:
    experiment = Experiment("a", {**TINY, "iterations": 3000, "eval_every": 100})
    killed = threading.Event()
    first = set(pids(address))

    def kill() -> None:
        """Kill all workers as soon as the run is being trained."""
        until(lambda: (place.store.root / "runs" / "a" / "log.jsonl").exists())
        for pid in first:
            os.kill(pid, signal.SIGKILL)
        killed.set()

    thread = threading.Thread(target=kill)
    thread.start()
    swept = sweep(experiment, place, on_cluster(address))
    thread.join()
    assert killed.is_set()
    assert (dict(swept.failed), swept.missing) == ({}, ())
    assert place.store["a"].levels == [0, 1]
    assert not first & set(pids(address))


@pytest.mark.slow
def test_a_step_that_kills_its_workers_fails_and_the_rest_completes(
    address: str, place: Place, tmp_path: Path
) -> None:
    (tmp_path / "my_task.py").write_text("import os\ndef task():\n    os._exit(9)\n")
    variants = (Variant("dead", {"task": f"{tmp_path / 'my_task.py'}:task"}), Variant("v", {}))
    steps = plan(Experiment("a", TINY, variants))
    failed = on_cluster(address)(steps, place, lambda _: None)
    assert list(failed) == ["a-dead"]
    assert "every worker that did it died, even alone" in failed["a-dead"]
    assert [place.store[name].levels for name in ("a", "a-v")] == [[0, 1], [0, 1]]


@pytest.mark.slow
def test_what_nobody_waits_for_ends_at_its_next_level(address: str, place: Place) -> None:
    steps = plan(Experiment("a", {**TINY, "levels": 40, "iterations": 100}))

    def leave(report: Report) -> None:
        if report.what == "level":  # before, workers may have to come back
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        on_cluster(address)(steps, place, leave)
    until(lambda: not is_held(place.store["a"]))
    assert 1 <= len(place.store["a"].levels) < 10


@pytest.mark.parametrize("word", ["here", "tcp://host", "http://host:80", "tcp://a b:1"])
def test_an_address_that_is_none(word: str) -> None:
    with pytest.raises(UsageError, match="is no address of a scheduler; write it as tcp://"):
        on_cluster(word)


@pytest.mark.parametrize("listens", [False, True])
def test_an_address_that_does_not_answer(
    listens: bool, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "PATIENCE", 1)
    with closing(socket.socket()) as silent:
        silent.bind(("127.0.0.1", 0))
        if listens:
            silent.listen()
        address = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        began = time.monotonic()
        with pytest.raises(LandscapeError, match=f"cluster at {address} does not answer within 1"):
            on_cluster(address)(agenda(GRID).steps, place, lambda _: None)
    assert time.monotonic() - began < 8


def test_without_dask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(LandscapeError, match=r"pip install 'landscape-workbench\[cluster\]'"):
        on_cluster("tcp://localhost:1")


@pytest.mark.slow
@pytest.mark.parametrize("who", ["the scheduler at", "worker"])
def test_another_version_is_refused(who: str, place: Place, tmp_path: Path) -> None:
    other = tmp_path / "other" / "landscape_workbench-99.1.dist-info"
    other.mkdir(parents=True)
    (other / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: landscape-workbench\nVersion: 99.1\n"
    )
    more = {"PYTHONPATH": str(other.parent)}
    with ExitStack() as stack:
        found = stack.enter_context(scheduler(tmp_path, **({} if who == "worker" else more)))
        stack.enter_context(worker(found, tmp_path, **more))
        with client_of(found, 1):
            pass
        with pytest.raises(
            LandscapeError, match=rf"{who} tcp://.* has landscape 99\.1, and this is landscape "
        ):
            on_cluster(found)(agenda(GRID).steps, place, lambda _: None)


def test_a_late_worker_says_itself_that_it_does_not_fit() -> None:
    assert cluster._misfit(version("landscape-workbench")) == ""
    assert "and the sweep 99.1; install the same there" in cluster._misfit("99.1")


def test_a_worker_that_cannot_reach_the_store_is_refused(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    here = Path("/proc/self/cwd/s")  # of every process its own
    place = Place(landscape.open(here), threads=1)
    with pytest.raises(
        LandscapeError, match=r"worker tcp://\S+ cannot reach the store /proc/self/cwd/s: .* share"
    ):
        on_cluster(address)(agenda(GRID).steps, place, lambda _: None)


def test_what_keeps_a_worker_from_a_store(place: Place, tmp_path: Path) -> None:
    identity = cluster._identity(place.store.root)
    assert unreachable(place.store.root, identity) == ""
    assert "has another store at" in unreachable(landscape.open(tmp_path / "t").root, identity)
    if os.geteuid():
        place.store.root.chmod(0o500)
        assert "must not write to the store" in unreachable(place.store.root, identity)
        place.store.root.chmod(0o700)


@pytest.mark.slow
def test_a_worker_of_many_threads_is_refused(place: Place, tmp_path: Path) -> None:
    with scheduler(tmp_path) as found, worker(found, tmp_path, "--nthreads", "3"):
        with client_of(found, 1):
            pass
        with pytest.raises(LandscapeError, match=r"does 3 jobs in one process.* --nthreads 1"):
            on_cluster(found)(agenda(GRID).steps, place, lambda _: None)


@pytest.mark.slow
@pytest.mark.parametrize("returns", [False, True])
def test_a_scheduler_that_is_killed(
    returns: bool, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "ABSENCE", 20 if returns else 1)
    steps = plan(Experiment("a", {**TINY, "iterations": 4000, "eval_every": 100}))
    port = free_port()
    words = ("scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard")
    found = f"tcp://127.0.0.1:{port}"
    heard: list[Report] = []
    with ExitStack() as stack:
        started = stack.enter_context(process(*words, cwd=tmp_path))
        stack.enter_context(worker(found, tmp_path))
        with client_of(found, 1):
            pass

        def kill() -> None:
            until(lambda: (place.store.root / "runs" / "a" / "log.jsonl").exists())
            started.kill()
            started.wait()
            if returns:
                stack.enter_context(process(*words, cwd=tmp_path))
                stack.enter_context(worker(found, tmp_path))

        thread = threading.Thread(target=kill)
        thread.start()
        try:
            if returns:
                assert on_cluster(found)(steps, place, heard.append) == {}
            else:
                with pytest.raises(LandscapeError, match=f"cluster at {found} is gone; what was"):
                    on_cluster(found)(steps, place, heard.append)
        finally:
            thread.join()
    assert any("waiting for its scheduler to come back" in report.text for report in heard)
    if returns:
        assert place.store["a"].levels == [0, 1]


def test_the_command(address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.toml"
    path.write_text(
        'name = "a"\n[train]\ntask = "digits"\nmodel = "mlp:64-20-10"\nlevels = 1\n'
        "iterations = 20\n[grid]\nlr = [0.1, 0.2]\n"
    )
    words = ["sweep", str(path), "--store", str(tmp_path / "s"), "--scheduler"]
    assert run([*words, address]) == 0
    said = capsys.readouterr().err
    assert {"a-lr0.1: done", "a-lr0.2: done"} <= set(said.splitlines())
    assert run([*words, address, "--jobs", "2"]) == 2
    assert "has workers of its own; give one of the two" in capsys.readouterr().err
    assert run([*words, "localhost"]) == 2
    assert "'localhost' is no address of a scheduler" in capsys.readouterr().err


def test_a_step_is_called_by_what_it_is() -> None:
    steps = agenda(GRID).steps
    assert [digest(step) for step in steps] == [digest(step) for step in agenda(GRID).steps]
    assert len({digest(step) for step in steps}) == 4
    first = plan(GRID)[0]
    assert digest(first) != digest(replace(first, settings={**first.settings, "lr": 0.3}))
    reordered = dict(reversed(first.settings.items()))
    assert digest(first) == digest(replace(first, settings=reordered))


def until(condition: Callable[[], bool], seconds: float = 25) -> None:
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)
