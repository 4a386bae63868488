"""The live view of ``landscape sweep``: how far it is, on a terminal."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from landscape.clock import Clock
from landscape.printing import printable, progress

if TYPE_CHECKING:
    from landscape.steps import Executor, Place, Report, Reporter, Step


@contextmanager
def watched(execute: Executor, name: str, quiet: bool) -> Iterator[Executor]:
    """An executor whose steps are counted on a bar; where that is no terminal, only failures told.

    Parameters
    ----------
    name
        What is beside the bar.
    """
    said: set[str] = set()
    with progress(quiet, timed=False) as display:
        bar = display.add_task(name, total=None, said="")

        def begin(steps: Sequence[Step], place: Place, report: Reporter) -> dict[str, str]:
            clock = Clock(steps, place.store)
            display.reset(bar, total=clock.total, said=clock)

            def hear(told: Report) -> None:
                clock.hear(told)
                display.update(bar, completed=clock.done + clock.failed)
                _tell(told, said, quiet)
                report(told)

            return execute(steps, place, hear)

        yield begin


def _tell(told: Report, said: set[str], quiet: bool) -> None:
    """Warnings, each once, and failures, unless they follow from another."""
    if told.what == "warning" and told.text not in said:
        said.add(told.text)
        warnings.warn(told.text, UserWarning, stacklevel=2)
    elif told.what == "failed" and not quiet:
        click.echo(printable(f"{told.run}: failed: {told.text}"), err=True)
