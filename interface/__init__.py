"""landscape: a workbench for the loss landscape of sparse networks.

>>> import landscape as ls                                          # doctest: +SKIP
>>> store = ls.open("landscape-store")                              # doctest: +SKIP
>>> run = ls.train(task="mnist", levels=12, store=store, name="mnist-imp")  # doctest: +SKIP
>>> ds = ls.barrier(run[3], run[4], points=25)                      # doctest: +SKIP
>>> ls.draw("barrier-levels", ds).savefig("barrier.pdf")                   # doctest: +SKIP

Every analysis of the table (``barrier``, ``volume``, …) is a function of this module: it takes
addresses, paths, checkpoints, state dicts or modules, its settings by name, and ``store``,
``task``, ``model``, ``data`` and ``device`` where the checkpoints do not know them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from landscape.api import (
        ask,
        branch,
        draw,
        export,
        import_run,
        insights,
        open,
        plant,
        report,
        sweep,
        train,
    )
    from landscape.data_store.errors import LandscapeError, UsageError
    from landscape.data_store.mask import Mask
    from landscape.data_store.params import ParamSpec
    from landscape.data_store.records import Checkpoint, RunConfig
    from landscape.data_store.results import record_of
    from landscape.data_store.store import Run, Store
    from landscape.tables import table
    from landscape.training.task import Task, make_task

_HOMES = {
    "ask": "landscape.api",
    "branch": "landscape.api",
    "draw": "landscape.api",
    "export": "landscape.api",
    "import_run": "landscape.api",
    "insights": "landscape.api",
    "open": "landscape.api",
    "plant": "landscape.api",
    "report": "landscape.api",
    "sweep": "landscape.api",
    "table": "landscape.tables",
    "train": "landscape.api",
    "LandscapeError": "landscape.data_store.errors",
    "UsageError": "landscape.data_store.errors",
    "Mask": "landscape.data_store.mask",
    "ParamSpec": "landscape.data_store.params",
    "Checkpoint": "landscape.data_store.records",
    "RunConfig": "landscape.data_store.records",
    "record_of": "landscape.data_store.results",
    "Run": "landscape.data_store.store",
    "Store": "landscape.data_store.store",
    "Task": "landscape.training.task",
    "make_task": "landscape.training.task",
}

__all__ = [
    "Checkpoint",
    "LandscapeError",
    "Mask",
    "ParamSpec",
    "Run",
    "RunConfig",
    "Store",
    "Task",
    "UsageError",
    "ask",
    "branch",
    "draw",
    "export",
    "import_run",
    "insights",
    "make_task",
    "open",
    "plant",
    "record_of",
    "report",
    "sweep",
    "table",
    "train",
]


def __getattr__(name: str) -> Any:
    """A public name, imported on first use so that ``import landscape`` costs nothing."""
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    if not name.startswith("_"):
        from landscape.analysis.registry import ANALYSES

        if name in ANALYSES:
            from landscape.api import question

            return question(name)
    raise AttributeError(f"module 'landscape' has no attribute {name!r}")


def __dir__() -> list[str]:
    """The public names and the analyses."""
    from landscape.analysis.registry import ANALYSES

    return sorted([*__all__, *ANALYSES])
