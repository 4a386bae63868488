"""A cluster of processes on this machine: the same answers, and clusters that are none."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

import pytest

import landscape
from landscape import cluster
from landscape.agenda import agenda
from landscape.cli import run
from landscape.cluster import on_cluster
from landscape.data_store.errors import LandscapeError, UsageError
from landscape.experiment import Experiment
from landscape.in_turn import in_turn
from landscape.planning import plan
from landscape.steps import Place, Report
from landscape.sweeper import sweep
from tests.support import clusters
from tests.support.clusters import client_of, free_port, process, scheduler, worker
from tests.support.sweeps import GRID, TINY, digests, until

pytestmark = [
    pytest.mark.skipif(os.name == "nt", reason="processes are killed by signals"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:distributed"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the workers were started."""
    return tmp_path_factory.mktemp("cluster")


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    """A scheduler with two workers."""
    with clusters.cluster(folder) as found:
        yield found


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A new store."""
    return Place(landscape.open(tmp_path / "s"), threads=1)


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
    order = [(r.run, r.what, r.level) for r in heard]
    for name in ("a-random", "a-magnitude"):  # asked when its last level is there
        assert order.index((name, "level", 1)) < order.index((f"{name} overlap", "started", 0))


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
        with pytest.raises(LandscapeError, match=f"cluster at {address} does not answer within 1"):
            on_cluster(address)(agenda(GRID).steps, place, lambda _: None)


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
    heard, patient = list[Report](), replace(place, waits=True)  # until the lost worker lets go
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
                assert on_cluster(found)(steps, patient, heard.append) == {}
            else:
                with pytest.raises(LandscapeError, match=f"cluster at {found} is gone; what was"):
                    on_cluster(found)(steps, patient, heard.append)
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
    assert run([*words, address, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["runs"], found["failed"]) == (["a-lr0.1", "a-lr0.2"], {})
    assert run([*words, address, "--jobs", "2"]) == 2
    assert "has workers of its own; give one of the two" in capsys.readouterr().err
    assert run([*words, "localhost"]) == 2
    assert "'localhost' is no address of a scheduler" in capsys.readouterr().err


def test_a_port_of_something_else_is_no_scheduler(place: Place) -> None:
    def answer_as_a_web_server(listening: socket.socket) -> None:
        line, _ = listening.accept()
        with closing(line):
            line.recv(1000)
            line.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
            line.recv(1000)

    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        server = threading.Thread(target=answer_as_a_web_server, args=(listening,))
        server.start()
        address = f"tcp://127.0.0.1:{listening.getsockname()[1]}"
        with pytest.raises(LandscapeError, match=f"what answers at {address} is no Dask scheduler"):
            on_cluster(address)(agenda(GRID).steps, place, lambda _: None)
        server.join()


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (["65536", "65536"], "2 of 2 workers have MALLOC_TRIM_THRESHOLD_=65536, which Dask sets"),
        ([None, "65536"], "1 of 2 workers have MALLOC_TRIM_THRESHOLD_=65536"),
        ([None, "134217728"], None),
        (["", "no number"], None),
        ([], None),
    ],
)
def test_workers_that_are_slow_without_need_are_told_of(
    values: list[str | None], told: str | None
) -> None:
    class Client:
        """Knows what workers answer."""

        def run(self, what: object, name: str) -> dict[str, str | None]:
            assert (what, name) == (os.getenv, "MALLOC_TRIM_THRESHOLD_")
            return {f"tcp://{i}": value for i, value in enumerate(values)}

    found = list(cluster._slowness(Client()))
    if told is None:
        assert found == []
    else:
        [sentence] = found
        assert sentence.startswith(told)
        assert "PRE_SPAWN_ENVIRON='{\"MALLOC_TRIM_THRESHOLD_\": None}'" in sentence
