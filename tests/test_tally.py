"""The figures of the suites: what is counted is what is printed."""

from __future__ import annotations

import doctest

import pytest

import tests.support.tally
from tests.support.tally import Tally


def test_the_example_in_its_docstring_runs() -> None:
    outcome = doctest.testmod(tests.support.tally)
    assert outcome.attempted == 4
    assert outcome.failed == 0


def test_counts_and_details_add_up_in_the_order_of_the_first() -> None:
    tally = Tally()
    tally.add("kills", 7, levels_lost=0, half_visible=1)
    tally.add("flips")
    tally.add("kills", 13, half_visible=2)
    assert tally.line() == "kills: 20 (0 levels lost, 3 half visible) · flips: 1"


def test_nothing_counted_is_no_line() -> None:
    assert Tally().line() == ""


def test_the_session_prints_what_its_tests_counted(
    pytestconfig: pytest.Config, tally: Tally, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    monkeypatch.setattr(tally, "counts", {"kills": 20})
    monkeypatch.setattr(tally, "details", {"kills": {"levels_lost": 0}})

    class Terminal:
        def write_sep(self, _mark: str, title: str) -> None:
            written.append(title)

        def write_line(self, line: str) -> None:
            written.append(line)

    hooks = pytestconfig.pluginmanager.get_plugins()
    here = [h for h in hooks if str(getattr(h, "__file__", "")).endswith("tests/conftest.py")]
    here[0].pytest_terminal_summary(Terminal(), pytestconfig)  # type: ignore[attr-defined]
    assert written == ["figures", "kills: 20 (0 levels lost)"]
