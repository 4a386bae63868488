"""The harness of the kill and concurrency suites: it must see every way a child can end."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from tests.support import children
from tests.support.children import Child, Tell, run, together

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no os.fork on this machine")


def test_a_child_returns_what_its_job_returned() -> None:
    ended = run(lambda tell: (tell("half"), 42)[1])
    assert ended.returned() == 42
    assert ended.told == ["half"]


def test_a_child_passes_its_error_on() -> None:
    def fail(tell: Tell) -> None:
        raise ValueError("no such thing")

    ended = run(fail)
    assert isinstance(ended.error, ValueError)
    assert "in fail" in ended.trace
    with pytest.raises(AssertionError, match="no such thing"):
        ended.returned()


def test_a_killed_child_has_told_what_it_told() -> None:
    def endless(tell: Tell) -> None:
        tell("began")
        time.sleep(60)

    child = Child(endless)
    child.hears("began")
    child.kill()
    ended = child.wait()
    assert ended.killed
    with pytest.raises(AssertionError, match="signal 9"):
        ended.returned()
    assert Child(endless).kill_after(0.01).killed


def test_a_signal_is_seen() -> None:
    ended = run(lambda tell: os.kill(os.getpid(), signal.SIGUSR1))
    assert ended.signal == signal.SIGUSR1
    assert not ended.killed


def test_a_child_that_hangs_fails_the_test(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "PATIENCE", 0.05)
    with pytest.raises(AssertionError, match="hung"):
        run(lambda tell: time.sleep(60))


def test_children_run_at_once(tmp_path: Path) -> None:
    def meet(mine: str, other: str) -> children.Job:
        def job(tell: Tell) -> None:
            (tmp_path / mine).touch()
            while not (tmp_path / other).exists():
                time.sleep(0.001)

        return job

    for ended in together(meet("a", "b"), meet("b", "a")):
        ended.returned()
