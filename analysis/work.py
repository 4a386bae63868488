"""Work: the blocks of a long computation, kept as they are finished, so that it can go on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from landscape.data_store.params import Array

Block = Callable[[], Mapping[str, Array]]


class Work(Protocol):
    """Where an analysis computes its blocks: one of its caller's, who may keep and count them."""

    def expect(self, blocks: int) -> None:
        """Say how many more blocks will be asked for, before the first of them."""
        ...

    def block(self, name: str, compute: Block) -> dict[str, Array]:
        """The arrays of one block: those kept under this name, or computed now and kept.

        A name is unique in one question. What `compute` returns must follow from the question
        and the name alone, so that a block kept by an interrupted run is as good as a new one.
        """
        ...


class AtOnce:
    """Blocks computed when asked for; nothing is kept."""

    def expect(self, blocks: int) -> None:
        """Nothing waits for them."""

    def block(self, name: str, compute: Block) -> dict[str, Array]:  # noqa: ARG002
        """The arrays of one block."""
        return dict(compute())
