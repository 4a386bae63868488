"""The ledger: who is at a step, what failed; two sweeps of one store do each step once."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import landscape
from landscape import ledger, outcome
from landscape.agenda import agenda
from landscape.cli import run
from landscape.data_store import layout, verify
from landscape.data_store.errors import LandscapeError
from landscape.data_store.lock import holding
from landscape.data_store.manifest import manifest_bytes
from landscape.data_store.store import Run, Store
from landscape.experiment import Question
from landscape.in_turn import in_turn
from landscape.ledger import (
    claim_file,
    claiming,
    failure,
    failure_file,
    forget_failure,
    is_claimed,
    is_running,
    keep_failure,
)
from landscape.planning import plan
from landscape.steps import Place, Reporter, Step
from landscape.sweeper import status, sweep
from tests.support.sweeps import GRID, TINY

FILE = """
name = "a"
[train]
task = "digits"
model = "mlp:64-20-10"
levels = 3
iterations = 60
eval_every = 20
[grid]
criterion = ["random", "magnitude"]
lr = [0.1, 0.2]
[[analysis]]
kind = "overlap"
"""

BAD = 'optimizer = "sgd"\n[grid]'


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A new store."""
    return landscape.open(tmp_path / "s")


@pytest.fixture
def question() -> Question:
    """What is asked about the first run."""
    return agenda(GRID).questions[0]


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look again soon."""
    for module in (ledger, outcome):
        monkeypatch.setattr(module, "POLL_SECONDS", 0.02)


def nothing(_words: object) -> None:
    """A listener that must not be told anything."""
    raise AssertionError(_words)


def test_a_failure_is_kept_until_it_is_forgotten(store: Store) -> None:
    first, second = plan(GRID)
    assert failure(first, store) is None
    keep_failure(first, store, "it — diverged")
    assert (failure(first, store), failure(second, store)) == ("it — diverged", None)
    keep_failure(first, store, "once more")
    assert failure(first, store) == "once more"
    forget_failure(first, store)
    forget_failure(first, store)
    assert failure(first, store) is None


def test_a_note_that_is_damaged_says_so(store: Store) -> None:
    first = plan(GRID)[0]
    keep_failure(first, store, "it diverged")
    path = failure_file(store.root, first)
    path.write_bytes(path.read_bytes().replace(b"diverged", b"DIVERGED"))
    assert "only known that" in str(failure(first, store))
    assert "its content does not match its SHA-256" in str(failure(first, store))


def test_a_question_is_held_by_one(store: Store, question: Question) -> None:
    other = replace(question, name="b", ask=replace(question.ask, name="another name"))
    assert claim_file(store.root, question) == claim_file(store.root, other)
    assert not is_running(question, store)
    order: list[str] = []

    def second() -> None:
        with claiming(other, store, order.append):
            order.append("second")

    thread = threading.Thread(target=second)
    with claiming(question, store, nothing):
        assert is_claimed(question, store)
        assert is_running(question, store)
        assert not is_claimed(agenda(GRID).questions[1], store)
        thread.start()
        time.sleep(0.2)
        order.append("first")
    thread.join(10)
    said, *rest = order
    assert said == "'b' is being answered by another process; waiting for it"
    assert rest == ["first", "second"]
    assert not is_claimed(question, store)
    assert list(layout.sweeps(store.root).iterdir()) == []


def test_what_a_killed_process_held_is_free(store: Store, question: Question) -> None:
    layout.sweeps(store.root).mkdir()
    claim_file(store.root, question).touch()
    assert not is_claimed(question, store)
    with claiming(question, store, nothing):
        assert is_claimed(question, store)


def test_without_locks_nobody_waits(
    store: Store, question: Question, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise NotImplementedError

    monkeypatch.setattr(ledger.FileLock, "acquire", refuse)
    entered = False
    with claiming(question, store, nothing):
        entered = True
    assert entered


@pytest.mark.slow
def test_two_sweeps_of_one_store_do_each_step_once(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text(FILE)
    command = [sys.executable, "-m", "landscape", "sweep", str(path), "--store"]
    both = [
        subprocess.Popen([*command, str(tmp_path / "s")], stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [process.communicate(timeout=60)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    store = landscape.open(tmp_path / "s")
    assert len(list(store)) == 4
    for name in store:
        lines = layout.run_log(store.root, name).read_text().splitlines()
        assert len(lines) == 3 * 4
    assert len(list(layout.results(store.root).rglob("*.nc"))) == 4 * 2
    assert list(layout.sweeps(store.root).iterdir()) == []


def test_a_sweep_notes_what_fails(store: Store) -> None:
    experiment = replace(GRID, grid={"lr": (1e30, 0.1)}, settings={**TINY, "optimizer": "sgd"})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        swept = sweep(experiment, Place(store, threads=1), in_turn)
    bad, good = plan(experiment)
    assert failure(bad, store) == swept.failed["a-lr1e30"]
    assert failure(good, store) is None
    waited = agenda(experiment).questions[0]
    assert waited.name in swept.failed
    assert failure(waited, store) is None
    keep_failure(good, store, "long ago")
    layout.level_file(store.root, good.name, 1).unlink()
    sweep(experiment, Place(store, threads=1), in_turn)
    assert failure(good, store) is None


def test_a_note_that_cannot_be_read(store: Store) -> None:
    first = plan(GRID)[0]
    path = failure_file(store.root, first)
    path.mkdir(parents=True)
    with pytest.raises(LandscapeError, match="cannot read"):
        failure(first, store)


def test_only_what_failed_is_tried_again(store: Store) -> None:
    experiment = replace(GRID, grid={"lr": (0.1, 0.2)})
    place, done = Place(store, threads=1), list[str]()
    _first, second = plan(experiment)

    def count(steps: Sequence[Step], place: Place, report: Reporter) -> dict[str, str]:
        done.extend(step.name for step in steps)
        return in_turn(steps, place, report)

    assert sweep(experiment, place, count, only_failed=True).missing != ()
    assert done == []
    keep_failure(second, store, "it was killed")
    swept = sweep(experiment, place, count, only_failed=True)
    assert done == ["a-lr0.2", "a-lr0.2 overlap"]
    assert swept.missing == ("a-lr0.1", "a-lr0.1 overlap")
    assert failure(second, store) is None


def test_how_far_a_sweep_is(store: Store) -> None:
    place, whole = Place(store, threads=1), agenda(GRID)
    first, second = whole.runs
    assert status(whole, place).waiting == tuple(step.name for step in whole.steps)
    in_turn([first], place, lambda _: None)
    keep_failure(whole.questions[0], store, "out of memory")
    with holding(Run(store.root, second.name)):
        found = status(whole, place)
    assert found.done == (first.name,)
    assert found.running == (second.name,)
    assert found.failed == {f"{first.name} overlap": "out of memory"}
    assert found.waiting == (f"{second.name} overlap",)
    with claiming(whole.questions[0], store, nothing):
        assert status(whole, place).running == (f"{first.name} overlap",)


def test_the_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.toml"
    path.write_text(FILE.replace("[0.1, 0.2]", "[1e30, 0.2]").replace("[grid]", BAD))
    words = ["sweep", str(path), "--store", str(tmp_path / "s"), "--jobs", "1"]
    assert run([*words, "--status"]) == 1
    assert "there is no store at" in capsys.readouterr().err
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        assert run(words) == 1
        capsys.readouterr()
        assert run([*words, "--status"]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[0] == "8 steps: 4 done, 0 running, 2 failed, 2 waiting"
        assert [line.split()[:2] for line in lines[2:]] == [
            ["a-random-lr1e30", "failed"],
            ["a-magnitude-lr1e30", "failed"],
        ]
        assert run([*words, "--status", "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert "diverged" in found["failed"]["a-random-lr1e30"]
        assert run([*words, "--retry-failed"]) == 1
    said = capsys.readouterr().err
    assert "a-random-lr1e30: failed: " in said
    assert "lr0.2" not in said


def test_what_failed_and_what_is_held_belong_to_a_store(store: Store) -> None:
    digest = "ab" * 20
    path = layout.failure_file(store.root, digest)
    path.parent.mkdir(exist_ok=True)
    record = {"step": "imp", "error": "it failed"}
    content = manifest_bytes(layout.FAILURE_FORMAT, layout.FAILURE_VERSION, record)
    path.write_bytes(content)
    (path.parent / f".{digest}.lock").touch()
    found = verify.check(store, verify.files(store))
    assert not [f for f in found if f.is_wrong and "sweeps" in str(f.path)]
    path.write_bytes(content[:-9])
    (wrong,) = [f for f in verify.check(store, verify.files(store)) if "sweeps" in str(f.path)]
    assert "the sweep tries the step again" in str(wrong)
