"""Steps: what an experiment is made of, and how one is done: planting, training, asking."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, is_dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from landscape.data_store.store import Run, Store
from landscape.experiment import Planned, Planting, Question

if TYPE_CHECKING:
    from landscape.trainer import Listener


@dataclass(frozen=True)
class Place:
    """Where and how runs are trained; parameters as `landscape.trainer.train`.

    Parameters
    ----------
    waits
        True if a step that another process is at is waited for, rather than failing: whoever
        comes second finds it done.
    """

    store: Store
    data: Path | None = None
    device: str = "auto"
    threads: int | None = None
    waits: bool = False


class Step(Protocol):
    """What a process does in one piece: a `Planned`, a `Planting` or a `Question`."""

    @property
    def name(self) -> str:
        """What it is called; no two of an experiment are called the same."""
        ...

    @property
    def parent(self) -> tuple[str, int] | None:
        """Run and level that must be finished before it begins."""
        ...


@dataclass(frozen=True)
class Report:
    """What a step did: finished a level, warned, failed or ended.

    Parameters
    ----------
    run
        Name of the step, that is of its run.
    what
        ``started``, ``level``, ``warning``, ``skipped`` (what it needs is not there), ``failed`` or
        ``done``.
    text
        The warning, or why it failed or was skipped.
    level, density, test_error, status
        Of a finished level.
    """

    run: str
    what: str
    text: str = ""
    level: int = 0
    density: float = float("nan")
    test_error: float = float("nan")
    status: str = ""


Reporter = Callable[[Report], None]

Executor = Callable[[Sequence[Step], Place, Reporter], dict[str, str]]
"""Does steps, each after the one it needs, and returns the failed ones and why they failed.

`landscape.executors.executor` has them.
"""


def digest(step: Step) -> str:
    """What a step is called by what it is: 40 hexadecimal digits of all it states.

    Two steps that differ in anything but the order of their settings have two digests.
    """
    stated = json.dumps([type(step).__name__, step], sort_keys=True, default=_stated)
    return sha256(stated.encode()).hexdigest()[:40]


def _stated(value: Any) -> Any:
    """What JSON has no word for: the fields of a dataclass, or its text."""
    return vars(value) if is_dataclass(value) else str(value)


def carry_out(step: Step, place: Place, listener: Listener | None = None) -> None:
    """Do one step, or go on with it; what it makes is in the store.

    Raises as `landscape.trainer.train`, `landscape.planter.plant` and
    `landscape.workbench.analyse` do.
    """
    if isinstance(step, Planned):
        train_planned(step, place, listener)
    elif isinstance(step, Planting):
        plant_planned(step, place)
    else:
        assert isinstance(step, Question)
        answer(step, place)


def plant_planned(planting: Planting, place: Place) -> Run:
    """Plant a network, unless it is there; errors as `landscape.planter.plant`."""
    from landscape.planter import plant

    return plant(
        planting.target,
        store=place.store,
        name=planting.name,
        data=place.data,
        device=place.device,
        **planting.settings,
    )


def answer(question: Question, place: Place) -> None:
    """Ask what is not answered in the store; errors as `landscape.workbench.analyse`."""
    from landscape.subject import Context
    from landscape.workbench import analyse

    context = Context(place.store, question.task, question.model, place.data, place.device)
    analyse(question.ask.kind, question.points, question.ask.settings, context)


def train_planned(planned: Planned, place: Place, listener: Listener | None = None) -> Run:
    """Train one planned run, or go on with it; errors as `landscape.trainer.train`."""
    from landscape.brancher import branch
    from landscape.trainer import train

    given: dict[str, Any] = {
        "store": place.store,
        "name": planned.name,
        "data": place.data,
        "device": place.device,
        "threads": place.threads,
        "listener": listener,
    }
    if planned.parent is None:
        return train(**given, **planned.settings)
    name, level = planned.parent
    return branch(f"{name}@{level}", **given, **planned.settings)
