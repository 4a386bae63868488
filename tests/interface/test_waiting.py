"""Waiting: what is said of the time an analysis takes."""

from __future__ import annotations

import pytest

from landscape.block_work import Tally
from landscape.waiting import duration, time_left, waiting


def tally_of(**state: object) -> Tally:
    tally = Tally(questions=3)
    tally.ask()
    for name, value in state.items():
        setattr(tally, name, value)
    return tally


def test_nobody_can_tell_at_first():
    assert time_left(tally_of()) is None


def test_a_guess_counts_the_questions_to_come():
    assert time_left(tally_of(expected=100.0)) == pytest.approx(300.0, abs=1.0)
    assert time_left(tally_of(expected=100.0, answered=2)) == pytest.approx(100.0, abs=1.0)


def test_finished_blocks_measure_it():
    state = {"blocks": 10, "finished": 5, "computed": 4, "kept": 1, "seconds": 8.0}
    assert time_left(tally_of(**state)) == pytest.approx(5 * 2.0 + 2 * 10 * 2.0)


def test_a_long_one_is_announced_once_by_guess_and_once_by_measure(capsys):
    with waiting("volume", quiet=False) as tally:
        tally.questions = 1
        tally.ask()
        tally.expected = 120.0
        tally.listener(tally)
        tally.listener(tally)
        tally.blocks, tally.finished, tally.computed, tally.kept, tally.seconds = 100, 8, 3, 5, 30.0
        tally.listener(tally)
        tally.listener(tally)
    err = capsys.readouterr().err
    assert err.count("volume will take about") == 2
    assert "about 2 min" in err
    assert "about 15 min; 5 of 100 blocks were kept from before; Ctrl-C" in " ".join(err.split())


def test_a_short_one_and_a_quiet_one_say_nothing(capsys):
    for quiet, seconds in ((False, 3.0), (True, 1000.0)):
        with waiting("volume", quiet=quiet) as tally:
            tally.questions = 1
            tally.ask()
            tally.expected = seconds
            tally.listener(tally)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("seconds", "words"), [(3.2, "3 s"), (42.0, "40 s"), (600.0, "10 min"), (9000.0, "2.5 h")]
)
def test_a_length_of_time_in_words(seconds, words):
    assert duration(seconds) == words
