"""The live view of a sweep, drawn as on a terminal."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import rich.console

import landscape
from landscape.agenda import agenda
from landscape.commands.sweep_view import watched
from landscape.experiment import Ask, Experiment
from landscape.steps import Place, Report, Reporter, Step

TINY: dict[str, Any] = {"task": "digits", "model": "mlp:64-20-10", "levels": 2}
STEPS = agenda(
    Experiment("a", TINY, grid={"lr": (0.1, 0.2)}, asks=(Ask("overlap", "overlap"),))
).steps


def pretending(steps: Sequence[Step], _place: Place, report: Reporter) -> dict[str, str]:
    """An executor that only reports: the first step fails, the last one warns."""
    for step in steps:
        report(Report(step.name, "started"))
    report(Report(steps[0].name, "failed", "it is [bold]broken[/]"))
    report(Report(steps[2].name, "skipped", "it is not there"))
    report(Report(steps[3].name, "warning", "mind this"))
    report(Report(steps[3].name, "done"))
    return {steps[0].name: "it is broken"}


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What is drawn on a terminal."""
    drawn = io.StringIO()
    console = partial(rich.console.Console, file=drawn, force_terminal=True, width=100)
    monkeypatch.setattr(rich.console, "Console", lambda **_: console())
    return drawn


def test_it_counts_what_is_done_running_and_failed(
    terminal: io.StringIO, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place, heard = Place(landscape.open(tmp_path / "s")), list[Report]()
    with watched(pretending, "study", quiet=False) as execute, pytest.warns(match="mind this"):
        assert execute(STEPS, place, heard.append) == {STEPS[0].name: "it is broken"}
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.getvalue()).splitlines()
    assert any(line.startswith("study ") and "3/4" in line for line in lines)
    assert any("1 running, 2 failed" in line for line in lines)
    assert len(heard) == 8
    assert capsys.readouterr().err == "a-lr0.1: failed: it is [bold]broken[/]\n"


def test_a_pipe_has_failures_and_warnings_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = Place(landscape.open(tmp_path / "s"))
    with watched(pretending, "study", quiet=False) as execute, pytest.warns(match="mind this"):
        execute(STEPS, place, lambda _: None)
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "a-lr0.1: failed: it is [bold]broken[/]\n")


def test_quiet_it_has_warnings_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = Place(landscape.open(tmp_path / "s"))
    with watched(pretending, "study", quiet=True) as execute, pytest.warns(match="mind this"):
        execute(STEPS, place, lambda _: None)
    assert capsys.readouterr() == ("", "")
