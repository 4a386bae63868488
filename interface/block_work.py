"""BlockWork: an analysis's blocks, kept in the store and counted for whoever waits."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from landscape.analysis.work import Block
    from landscape.data_store.blocks import Blocks
    from landscape.data_store.params import Array

_WORTH_KEEPING = 0.5  # seconds of computing; what took less is computed again as quickly


@dataclass
class Tally:
    """How far a command is: questions, and blocks of the one at hand.

    Parameters
    ----------
    listener
        Called after every change with the tally itself.
    """

    listener: Callable[[Tally], None] = lambda _tally: None
    questions: int = 0
    answered: int = 0
    blocks: int = 0
    finished: int = 0
    kept: int = 0
    computed: int = 0
    seconds: float = 0.0
    began: float = field(default_factory=time.perf_counter)
    expected: float | None = None

    def ask(self) -> None:
        """Begin a question."""
        self.blocks = self.finished = self.kept = self.computed = 0
        self.seconds = 0.0
        self.expected = None
        self.began = time.perf_counter()

    def answer(self) -> None:
        """End a question."""
        self.answered += 1
        self.blocks = self.finished = 0
        self.listener(self)

    @property
    def share(self) -> float:
        """The share of all questions that is done, in [0, 1]."""
        part = self.finished / self.blocks if self.blocks else 0.0
        return (self.answered + min(part, 1.0)) / max(self.questions, 1)

    @property
    def seconds_left(self) -> float | None:
        """Seconds that the question at hand will take yet, None as long as nobody can tell."""
        if self.computed and self.blocks:
            return self.seconds / self.computed * (self.blocks - self.finished)
        if self.expected is not None:
            return max(0.0, self.expected - (time.perf_counter() - self.began))
        return None


class BlockWork:
    """The `landscape.analysis.work.Work` of a question whose answer is kept.

    Parameters
    ----------
    blocks
        Where finished blocks are kept; None keeps none.
    tally
        What is told of them.
    """

    def __init__(self, blocks: Blocks | None, tally: Tally) -> None:
        self._blocks, self._tally = blocks, tally

    def expect(self, blocks: int) -> None:
        """Count `blocks` more."""
        self._tally.blocks += blocks
        self._tally.listener(self._tally)

    def block(self, name: str, compute: Block) -> dict[str, Array]:
        """A block kept before, or computed and kept."""
        stored = self._blocks.read(name) if self._blocks else None
        if stored is not None:
            self._tally.kept += 1
            self._count()
            return stored
        began = time.perf_counter()
        arrays = dict(compute())
        seconds = time.perf_counter() - began
        self._tally.seconds += seconds
        self._tally.computed += 1
        if self._blocks and seconds >= _WORTH_KEEPING:
            self._blocks.write(name, arrays)
        self._count()
        return arrays

    def _count(self) -> None:
        """Tell that one more is there."""
        self._tally.finished += 1
        self._tally.listener(self._tally)
