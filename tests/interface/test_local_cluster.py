"""Processes side by side: the same numbers, failures that stay alone, nobody else, a clean end."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import dask.system
import distributed
import pytest
import torch

import landscape
from landscape import local_cluster
from landscape.agenda import agenda
from landscape.data_store import layout
from landscape.data_store.errors import LandscapeError
from landscape.data_store.store import Store
from landscape.executors import executor
from landscape.experiment import Experiment, Offshoot, Planned, Variant
from landscape.in_turn import in_turn
from landscape.local_cluster import cores, side_by_side
from landscape.planning import plan
from landscape.steps import Place, Report
from landscape.sweeper import sweep
from tests.support.sweeps import BLOBS, DYING, GRID, OF_BLOBS, TINY, digests, silent, until

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:distributed")

posix = pytest.mark.skipif(os.name == "nt", reason="signals are another thing there")
INTERRUPTED = "Error: interrupted; what was finished is stored, the same command goes on"
HUNGRY = (
    BLOBS
    + """
import time
from multiprocessing import parent_process
def hungry():
    held = []
    while parent_process() is not None and len(held) < 80:  # at most 4 GB
        held.append(torch.ones(50_000_000, dtype=torch.uint8))
        time.sleep(0.05)
    return blobs()
"""
)


@dataclass(frozen=True)
class Study:
    """What came of runs side by side, of which some fail: processes are slow to begin."""

    planned: list[Planned]
    store: Store
    failed: dict[str, str]
    heard: list[Report]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Two processes, of which some die."""
    folder = tmp_path_factory.mktemp("study")
    (folder / "my_task.py").write_text(DYING)
    variants = (
        Variant("dead", {"task": f"{folder / 'my_task.py'}:dying"} | OF_BLOBS),
        Variant("bad", {"optimizer": "sgd", "lr": 1e30}),
        Variant("thin", {"pruning_fraction": 0.9999}),
    )
    branches = (
        Offshoot("reinit", "each", None, {"retrain": "reinit"}),
        Offshoot("of-bad", 1, "bad", {}),
        Offshoot("of-thin", 1, "thin", {}),
    )
    planned = plan(Experiment("a", TINY, variants, branches))
    store, heard = landscape.open(folder / "store"), list[Report]()
    with side_by_side(2) as execute:
        failed = execute(planned, Place(store), heard.append)
    return Study(planned, store, failed, heard)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The clusters that are started."""
    found: list[Any] = []
    start = distributed.LocalCluster

    def remember(*arguments: Any, **options: Any) -> Any:
        found.append(start(*arguments, **options))
        return found[-1]

    monkeypatch.setattr(distributed, "LocalCluster", remember)
    return found


def test_side_by_side_gives_the_numbers_of_in_turn(study: Study, tmp_path: Path) -> None:
    alive = [run for run in study.planned if "dead" not in run.name]
    store, heard = landscape.open(tmp_path / "turn"), list[Report]()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        failed = in_turn(alive, Place(store), heard.append)
    assert failed == {name: why for name, why in study.failed.items() if name != "a-dead"}
    assert digests(store) == digests(study.store)
    assert sum(name.split("@")[0] not in failed for name in digests(store)) == 7
    told = {repr(report) for report in study.heard if report.run != "a-dead"}
    assert told == {repr(report) for report in heard}  # so that unknown numbers are equal


def test_each_run_ends_once(study: Study) -> None:
    ends = [r.run for r in study.heard if r.what in ("done", "failed", "skipped")]
    assert sorted(ends) == sorted(run.name for run in study.planned)
    levels = [(r.run, r.level) for r in study.heard if r.what == "level"]
    assert len(set(levels)) == len(levels)


def test_a_run_that_fails_stops_only_what_begins_at_it(study: Study) -> None:
    assert set(study.failed) == {"a-dead", "a-bad", "a-of-bad"}
    assert "diverged" in study.failed["a-bad"]
    assert "level 1 of run 'a-bad', where it begins, is not there" in study.failed["a-of-bad"]


def test_a_process_that_dies_is_a_failure_of_its_run(study: Study) -> None:
    why = study.failed["a-dead"]
    assert why.startswith("every worker that did it died, even alone, as from lack of memory; ")
    assert study.store["a-reinit-1"].levels == [0]


def test_warnings_and_failures_reach_the_report(study: Study) -> None:
    told = {(report.run, report.text) for report in study.heard if report.what == "warning"}
    assert any(run == "a-thin" and "will prune all of" in text for run, text in told)
    for what, names in (("failed", {"a-dead", "a-bad"}), ("skipped", {"a-of-bad"})):
        texts = {report.run: report.text for report in study.heard if report.what == what}
        assert texts == {name: study.failed[name] for name in names}


@pytest.mark.filterwarnings("ignore::UserWarning:landscape")
def test_one_cluster_for_all_calls_and_nobody_else_gets_in(
    started: list[Any], tmp_path: Path
) -> None:
    place, heard = Place(landscape.open(tmp_path / "s")), list[Report]()
    with side_by_side(2) as execute:
        assert started == []
        for name in ("a", "b"):
            heard.clear()
            steps = plan(Experiment(name, TINY))
            assert execute(steps, place, heard.append) == {}
            assert [r.what for r in heard] == ["started", "level", "level", "done"]
        (cluster,) = started
        assert len(cluster.workers) == 1  # no more than there are steps
        addresses = [cluster.scheduler_address]
        for worker in cluster.workers.values():
            addresses += [worker.address, worker.worker_address]
        assert all(address.startswith("tls://127.0.0.1:") for address in addresses)
        for address in addresses:
            refuse_strangers(address)
        serve_nothing(cluster.scheduler.http_server.port)
        assert execute(plan(Experiment("c", TINY)), place, silent) == {}
    assert cluster.status.name == "closed"
    assert len(started) == 1


def refuse_strangers(address: str) -> None:
    """Fail if a plain client, or one with a certificate of its own, is let in."""
    host, port = address.removeprefix("tls://").split(":")
    with pytest.raises((OSError, TimeoutError)):
        distributed.Client(f"tcp://{host}:{port}", timeout=1, set_as_default=False)
    own = distributed.Security.temporary().get_connection_args("client")["ssl_context"]
    for context in (own, trusting()):
        with closing(socket.create_connection((host, int(port)), 5)) as line:
            line.settimeout(5)
            with pytest.raises((ssl.SSLError, ConnectionError)):
                talk(context, line)


def trusting() -> ssl.SSLContext:
    """One that takes any certificate, and has none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def talk(context: ssl.SSLContext, line: socket.socket) -> None:
    """Begin to encrypt, and read what comes: a certificate is refused only then."""
    with context.wrap_socket(line) as secret:
        assert secret.recv(1) == b""
        raise ConnectionError("it was closed")


def serve_nothing(port: int) -> None:
    """Fail if a page says anything of the sweep: pages are not encrypted."""
    for path in ("info/main/workers.html", "json/identity.json", "metrics", "health"):
        with pytest.raises(HTTPError, match="404"), urlopen(f"http://127.0.0.1:{port}/{path}"):
            pass


def test_nothing_is_started_for_no_steps(started: list[Any], tmp_path: Path) -> None:
    place = Place(landscape.open(tmp_path / "s"), threads=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        first = sweep(GRID, place, in_turn)
    with executor(2) as execute:
        again = sweep(GRID, place, execute)
    assert (again.missing, dict(again.failed)) == ((), {})
    assert again["overlap"].equals(first["overlap"])
    assert started == []


def test_a_port_that_is_taken_is_no_warning(tmp_path: Path) -> None:
    with closing(socket.socket()) as taken:
        with suppress(OSError):  # somebody else has it already
            taken.bind(("127.0.0.1", 8787))
            taken.listen()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with local_cluster._cluster(1):
                pass


def test_a_process_that_does_not_begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_cluster, "PATIENCE", 0.01)
    with (
        pytest.raises(LandscapeError, match=r"has begun within 0\.01 seconds; a script that"),
        side_by_side(1) as execute,
    ):
        execute(agenda(GRID).steps, Place(landscape.open(tmp_path / "s")), silent)


def test_a_scheduler_that_ends_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_cluster.Dispatch, "carry_out", lambda *_: False)
    with (
        pytest.raises(LandscapeError, match="the same command goes on"),
        side_by_side(1) as execute,
    ):
        execute(agenda(GRID).steps, Place(landscape.open(tmp_path / "s")), silent)


def test_as_many_steps_as_there_are_cores_or_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask.system, "CPU_COUNT", 6)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert cores() == 6
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert cores() == 3


@pytest.mark.slow
@posix
def test_a_run_that_takes_too_much_memory_fails_alone(tmp_path: Path) -> None:
    import resource

    (tmp_path / "hungry.py").write_text(HUNGRY)
    path = tmp_path / "x.toml"
    path.write_text(
        'name = "a"\n[train]\ntask = "digits"\nmodel = "mlp:64-20-10"\nlevels = 2\n'
        "iterations = 20\neval_every = 20\n"
        '[[variant]]\nname = "fat"\ntask = "hungry.py:hungry"\nmodel = "mlp:3-4-2"\n'
        'batch_size = 4\n[[variant]]\nname = "v"\nseed = 1\n'
        '[[branch]]\nname = "b"\nat = "each"\n'
    )
    size = 2_400_000_000  # which Dask heeds, and the kernel does not

    def missing_after(*more: str) -> list[str]:
        words = ("sweep", str(path), "--store", "s", "--jobs", "2", "--json", *more)
        done = subprocess.run(
            [sys.executable, "-m", "landscape", *words],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_RSS, (size, size)),
        )
        assert done.returncode == 1, done.stderr
        assert "Traceback" not in done.stderr
        assert "a-fat: failed: every worker" in done.stderr
        found = json.loads(done.stdout)
        assert list(found["failed"]) == ["a-fat"]
        assert found["failed"]["a-fat"].startswith("every worker that did it died, even alone: of")
        assert "GiB, too much for it" in found["failed"]["a-fat"]
        missing: list[str] = found["missing"]
        return missing

    assert missing_after() == ["a-fat"]
    store = landscape.open(tmp_path / "s")
    levels = {name: store[name].levels for name in store}
    assert levels == {"a": [0, 1], "a-v": [0, 1], "a-b-0": [0], "a-b-1": [0]}
    layout.level_file(store.root, "a-v", 1).unlink()
    assert missing_after("--retry-failed") == ["a-fat", "a-v"]
    assert store["a-v"].levels == [0]


def command(tmp_path: Path, *more: str) -> subprocess.Popen[str]:
    """A command of many runs, as a terminal starts it: a group of processes of its own."""
    words = ["train", *more, "--store", str(tmp_path / "s"), "--quiet", "--jobs", "2"]
    return subprocess.Popen(
        [sys.executable, "-m", "landscape", *words],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's & ignores it
    )


def ended(process: subprocess.Popen[str]) -> str:
    """What a command said in the end; fails if it leaves a process behind."""
    _, err = process.communicate(timeout=60)  # the pipes close when all are gone
    until(lambda: not is_alive(process.pid), 30)
    return err


def is_alive(group: int) -> bool:
    """True if a process of a group is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def in_training(store: Path, *names: str) -> Callable[[], bool]:
    """Whether runs are being trained."""
    return lambda: all((store / "runs" / name / "run.json").exists() for name in names)


@pytest.mark.slow
@posix
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_the_processes_end_with_the_command(how: signal.Signals, tmp_path: Path) -> None:
    options = [f"--{key.replace('_', '-')}={value}" for key, value in TINY.items()]
    more = ("--name", "r", "--replicates", "2", "--iterations", "1000000")
    with command(tmp_path, *options, *more) as process:
        until(in_training(tmp_path / "s", "r-s0", "r-s1"))
        if how is signal.SIGINT:  # a terminal sends it to all
            os.killpg(process.pid, how)
        else:
            process.send_signal(how)
        err = ended(process)
    assert "Traceback" not in err
    if how is signal.SIGINT:
        assert process.returncode == 1
        assert err.strip() == INTERRUPTED


@pytest.mark.slow
@posix
@pytest.mark.parametrize("later", [0.0, 0.3, 0.8, 1.5, 2.5])
def test_ctrl_c_while_processes_begin(later: float, tmp_path: Path) -> None:
    """Each of many runs ends its process, and another begins, which no interrupt must reach."""
    died = tmp_path / "died"
    left = f"open({str(died)!r}, 'w').close()"
    (tmp_path / "my_task.py").write_text(DYING.replace("os._exit", f"{left}, os._exit"))
    path = tmp_path / "x.toml"
    path.write_text(
        f'name = "r"\nreplicates = 6\n[train]\ntask = "{tmp_path / "my_task.py"}:dying"\n'
    )
    with command(tmp_path, str(path), "--model", "mlp:3-4-2", "--batch-size", "4") as process:
        until(died.exists)
        time.sleep(later)
        os.killpg(process.pid, signal.SIGINT)
        assert ended(process).strip() == INTERRUPTED
        assert process.returncode == 1
