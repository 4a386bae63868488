"""A run small enough to be trained by the dozen, and what there is to compare of two."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from landscape.data_store import layout
from landscape.data_store.store import Run
from landscape.training.imp import Finished
from landscape.training.loop import Tick

SETTINGS: dict[str, Any] = {
    "task": "digits",
    "model": "mlp:64-12-10",
    "levels": 3,
    "iterations": 40,
    "eval_every": 10,
    "batch_size": 50,
    "rewind_step": 4,
}


def files(run: Run) -> dict[str, bytes]:
    """Content of a run's level files and of the store's objects."""
    folder = layout.run_folder(run.root, run.name)
    levels = {path.name: path.read_bytes() for path in folder.glob("level_*.h5")}
    return levels | {p.name: p.read_bytes() for p in layout.objects(run.root).rglob("*.h5")}


def leftovers(run: Run) -> set[str]:
    """Names of what a run keeps besides its levels."""
    folder = layout.run_folder(run.root, run.name)
    return {path.name for path in folder.iterdir() if not path.name.startswith("level_")}


class Stop(Exception):
    """Raised by a listener to end a run where the test wants it."""


def stop_at(level: int, step: int, how: type[BaseException] = Stop) -> Callable[..., None]:
    """A listener that raises at one evaluation."""

    def listen(event: Tick | Finished) -> None:
        if isinstance(event, Tick) and (event.level, event.step) == (level, step):
            raise how

    return listen
