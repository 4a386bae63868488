"""Waiting: how far an analysis is and how long it will take, on standard error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from landscape.block_work import Tally
from landscape.printing import progress

_WORTH_SAYING = 20.0  # seconds


@contextmanager
def waiting(name: str, quiet: bool) -> Iterator[Tally]:
    """A tally shown as a bar; once it is known that it will take long, a line says how long."""
    with progress(quiet) as display:
        bar = display.add_task(name, total=1.0)
        told: set[str] = set()

        def show(tally: Tally) -> None:
            display.update(bar, completed=tally.share)
            left = time_left(tally)
            if quiet or left is None or left < _WORTH_SAYING:
                return
            kind = "measured" if tally.computed else "guessed"
            if kind not in told and "measured" not in told:
                told.add(kind)
                display.console.print(_sentence(name, left, tally), highlight=False, soft_wrap=True)

        yield Tally(show)


def time_left(tally: Tally) -> float | None:
    """Seconds until all questions are answered, if they are like the one at hand."""
    left = tally.seconds_left
    if left is None:
        return None
    whole = tally.expected
    if tally.computed and tally.blocks:
        whole = tally.seconds / tally.computed * tally.blocks
    return left + (whole or 0.0) * (tally.questions - tally.answered - 1)


def _sentence(name: str, seconds: float, tally: Tally) -> str:
    """What is said of it."""
    found = f"; {tally.kept} of {tally.blocks} blocks were kept from before" if tally.kept else ""
    goes_on = "Ctrl-C keeps what is finished, the same command goes on"
    return f"{name} will take about {duration(seconds)}{found}; {goes_on}"


def duration(seconds: float) -> str:
    """A length of time in words.

    >>> duration(42.0), duration(600.0), duration(9000.0)
    ('40 s', '10 min', '2.5 h')
    """
    if seconds < 90:
        return f"{round(seconds, -1 if seconds >= 10 else 0):.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
