"""BlockWork: kept blocks are not computed again, and the time left follows from the others."""

from __future__ import annotations

import numpy as np
import pytest

import landscape
from landscape import block_work
from landscape.block_work import BlockWork, Tally
from landscape.data_store.blocks import Blocks


@pytest.fixture
def everything_is_worth_keeping(monkeypatch):
    monkeypatch.setattr(block_work, "_WORTH_KEEPING", 0.0)


def test_a_quick_block_is_not_worth_keeping(tmp_path):
    blocks = Blocks(landscape.open(tmp_path / "store").root, "ab" * 20)
    BlockWork(blocks, Tally()).block("a", lambda: {"x": np.ones(1)})
    assert blocks.read("a") is None


@pytest.mark.usefixtures("everything_is_worth_keeping")
def test_blocks_kept_before_are_taken_and_counted(tmp_path):
    blocks = Blocks(landscape.open(tmp_path / "store").root, "ab" * 20)
    calls: list[str] = []

    def compute(name):
        calls.append(name)
        return {"x": np.array([len(calls)])}

    def walk(names):
        tally = Tally()
        work = BlockWork(blocks, tally)
        work.expect(3)
        return [int(work.block(n, lambda n=n: compute(n))["x"][0]) for n in names], tally

    assert walk("ab")[0] == [1, 2]
    values, tally = walk("abc")
    assert values == [1, 2, 3]
    assert calls == ["a", "b", "c"]
    assert (tally.kept, tally.computed, tally.finished, tally.blocks) == (2, 1, 3, 3)


def test_without_a_store_nothing_is_kept():
    work, calls = BlockWork(None, Tally()), []
    for _ in range(2):
        work.block("a", lambda: calls.append(1) or {})
    assert len(calls) == 2


def test_the_time_left_is_that_of_the_blocks_left():
    tally = Tally(questions=2)
    tally.ask()
    assert tally.seconds_left is None
    tally.expected = 1000.0
    assert tally.seconds_left == pytest.approx(1000.0, abs=1.0)
    tally.blocks, tally.finished, tally.computed, tally.kept, tally.seconds = 10, 4, 2, 2, 6.0
    assert tally.seconds_left == pytest.approx(18.0)
    assert tally.share == pytest.approx(0.2)
    tally.answer()
    tally.ask()
    assert tally.share == pytest.approx(0.5)
    assert tally.seconds_left is None


def test_whoever_waits_is_told_of_every_change():
    told: list[float] = []
    tally = Tally(listener=lambda t: told.append(t.share), questions=1)
    work = BlockWork(None, tally)
    tally.ask()
    work.expect(2)
    work.block("a", dict)
    work.block("b", dict)
    tally.answer()
    assert told == [0.0, 0.5, 1.0, 1.0]
