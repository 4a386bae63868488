"""Steps on their way to workers and back: failures, killed workers, code that is near the sweep."""

from __future__ import annotations

import os
import pickle
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import landscape
from landscape import dispatch
from landscape.agenda import agenda
from landscape.cluster import on_cluster
from landscape.data_store.lock import is_held
from landscape.data_store.version import own_version
from landscape.dispatch import Dispatch, elsewhere, job
from landscape.done import undone
from landscape.experiment import Ask, Experiment, Offshoot, Variant
from landscape.in_turn import in_turn
from landscape.planning import plan
from landscape.reach import identity
from landscape.steps import Place, Report, digest
from landscape.sweeper import sweep
from tests.support import clusters
from tests.support.clusters import client_of, pids
from tests.support.sweeps import BLOBS, DYING, GRID, OF_BLOBS, TINY, digests, until

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


def test_a_scheduler_is_told_of_a_few_steps_at_a_time(
    address: str, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "AHEAD", 2)
    experiment = replace(GRID, grid={"lr": (0.1, 0.2, 0.3, 0.4)})
    heard: list[Report] = []
    with client_of(address, 2) as client:
        told_of: list[int] = []
        submit = client.submit

        def counted(*given: Any, **more: Any) -> Any:
            done = sum(report.what == "done" for report in heard)
            told_of.append(len(told_of) + 1 - done)
            return submit(*given, **more)

        client.submit = counted
        sent = Dispatch(client, elsewhere(place), heard.append)
        assert sent.carry_out(agenda(experiment).steps)
    assert sent.failed == {}
    assert len(told_of) == 8
    assert max(told_of) == 2
    assert sum(report.what == "done" for report in heard) == 8


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


def test_code_near_the_sweep_is_found_by_workers_that_began_elsewhere(
    address: str, place: Place, tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_task.py").write_text(BLOBS)
    (tmp_path / "my_model.py").write_text(
        "import torch\n"
        "def thin():\n"
        "    from torch.nn import Linear, ReLU, Sequential\n"
        "    return Sequential(Linear(3, 5), ReLU(), Linear(5, 2))\n"
    )
    monkeypatch.chdir(tmp_path)
    code = {"task": "my_task.py:blobs", "model": "my_model.py:thin", "batch_size": 4}
    experiment = Experiment(
        "a",
        {**TINY, **code},
        grid={"lr": (0.1, 0.2)},
        asks=(Ask("line", "barrier", {"points": 3}),),
    )
    swept = sweep(experiment, place, on_cluster(address))
    assert (dict(swept.failed), swept.missing) == ({}, ())
    alone = Place(landscape.open(tmp_path / "alone"), threads=1)
    expected = sweep(experiment, alone, in_turn)
    assert digests(place.store) == digests(alone.store)
    assert swept["line"].equals(expected["line"])
    with client_of(address, 2) as client:
        assert set(client.run(os.getcwd).values()) == {str(folder)}


def test_a_folder_that_a_worker_does_not_have_is_done_without(tmp_path: Path) -> None:
    before = Path.cwd()
    with dispatch._inside(tmp_path / "none"):
        assert Path.cwd() == before
    with dispatch._inside(tmp_path):
        assert Path.cwd() == tmp_path
    assert Path.cwd() == before


def test_two_sweeps_of_a_store_share_a_cluster_and_do_a_step_once(
    address: str, place: Place
) -> None:
    shared, other = plan(Experiment("a", {**TINY, "iterations": 200})), plan(GRID)
    heard: tuple[list[Report], list[Report]] = ([], [])
    with ThreadPoolExecutor(2) as both:
        ends = [
            both.submit(on_cluster(address), steps, place, told.append)
            for steps, told in zip((shared, [*shared, *other]), heard, strict=True)
        ]
        assert [end.result(60) for end in ends] == [{}, {}]
    first, second = ({(r.run, r.what) for r in told} for told in heard)
    assert {name for name, _ in first} == {"a"}
    assert {name for name, what in second if what == "done"} == {"a", "a-random", "a-magnitude"}
    for told in heard:
        assert sum((r.run, r.what) == ("a", "done") for r in told) == 1
    lines = (place.store.root / "runs" / "a" / "log.jsonl").read_text().splitlines()
    assert len(lines) == 2 * (1 + 200 // 20)


@pytest.mark.parametrize("wrong", ["version", "store"])
def test_a_worker_that_does_not_fit_says_so_itself(
    wrong: str, address: str, place: Place, tmp_path: Path
) -> None:
    step = plan(GRID)[0]
    other = landscape.open(tmp_path / "other").root
    whose = identity(other if wrong == "store" else place.store.root)
    theirs = "99.1" if wrong == "version" else own_version()
    payload = pickle.dumps((step, elsewhere(place), tmp_path, whose, "a-topic"))
    with client_of(address, 2) as client:
        last = Report(**client.submit(job, theirs, step.name, payload, pure=False).result())
    assert (last.run, last.what) == (step.name, "failed")
    sentence = {"version": "and the sweep 99.1; install", "store": "has another store at"}[wrong]
    assert last.text.startswith("worker tcp://127.0.0.1:")
    assert sentence in last.text
    assert list(place.store) == []


def test_an_error_of_the_way_itself_is_a_failure_of_the_step(
    address: str, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch.pickle, "dumps", lambda _: b"no pickle")
    heard: list[Report] = []
    with client_of(address, 2) as client:
        sent = Dispatch(client, elsewhere(place), heard.append)
        assert sent.carry_out(plan(GRID))
    assert set(sent.failed) == sent.ended == {"a-random", "a-magnitude"}
    assert all(why.startswith("UnpicklingError: ") for why in sent.failed.values())
    assert [report.what for report in heard] == ["failed", "failed"]


class Lost:
    """A future whose result went with its worker, and then comes again."""

    def __init__(self, name: str) -> None:
        self.key, self.status, self.asked = "", "lost", 0
        self._name = name

    def add_done_callback(self, hear: Any) -> None:
        self.asked += 1
        self.status = "lost" if self.asked == 1 else "finished"
        hear(self)

    def result(self) -> dict[str, Any]:
        assert self.asked == 2
        return vars(Report(self._name, "done"))


def test_a_result_that_went_with_its_worker_is_waited_for_again(place: Place) -> None:
    step, heard = plan(GRID)[0], list[Report]()
    future = Lost(step.name)

    class Client:
        """Knows of one future."""

        def subscribe_topic(self, *_: Any) -> None:
            """Nobody reports."""

        def submit(self, *_: Any, key: str, **__: Any) -> Lost:
            future.key = key
            return future

    sent = Dispatch(Client(), elsewhere(place), heard.append)
    assert sent.carry_out([step])
    assert (sent.failed, sent.ended) == ({}, {step.name})
    assert heard == [Report(step.name, "done")]


def test_a_place_is_told_with_absolute_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    there = elsewhere(Place(landscape.open("s"), Path("data"), "cpu", waits=True))
    assert (there.store.root, there.data) == (tmp_path / "s", tmp_path / "data")
    assert (there.device, there.threads, there.waits) == ("cpu", 1, True)
    there = elsewhere(Place(landscape.open("s"), threads=3))
    assert (there.data, there.threads) == (None, 3)


@pytest.mark.parametrize(
    ("gpus", "wanted", "name", "found"),
    [
        (2, "auto", 0, "cuda:0"),
        (2, "auto", 3, "cuda:1"),
        (4, "cuda", 3, "cuda:3"),
        (2, "cpu", 1, "cpu"),
        (2, "cuda:0", 1, "cuda:0"),
        (2, "auto", "tcp://host:1", "auto"),
        (1, "auto", 1, "auto"),
        (0, "auto", 1, "auto"),
    ],
)
def test_each_worker_has_a_gpu_of_its_own(
    gpus: int, wanted: str, name: object, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    assert dispatch._device(wanted, name) == found


def test_a_step_is_called_by_what_it_is() -> None:
    steps = agenda(GRID).steps
    assert [digest(step) for step in steps] == [digest(step) for step in agenda(GRID).steps]
    assert len({digest(step) for step in steps}) == 4
    first = plan(GRID)[0]
    assert digest(first) != digest(replace(first, settings={**first.settings, "lr": 0.3}))
    reordered = dict(reversed(first.settings.items()))
    assert digest(first) == digest(replace(first, settings=reordered))


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
    (tmp_path / "my_task.py").write_text(DYING)
    dead = {"task": f"{tmp_path / 'my_task.py'}:dying"} | OF_BLOBS
    variants = (Variant("dead", dead), Variant("v", {}))
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
