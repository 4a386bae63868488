"""sweep: plant, train and ask all that an experiment states, and join the answers by the grid."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from landscape.agenda import Agenda, agenda
from landscape.data_store.store import Store
from landscape.done import undone
from landscape.experiment import Experiment, Planned
from landscape.forecast import Forecast, forecast, known_paces, units_left
from landscape.ledger import failure, forget_failure, is_running, keep_failure
from landscape.rehearsal import rehearse
from landscape.steps import Executor, Place, Report, Reporter, Step
from landscape.sweep_results import joined, last_levels

if TYPE_CHECKING:
    import xarray


@dataclass(frozen=True, eq=False)
class Swept:
    """What came of a sweep; ``swept["overlap"]`` is the dataset of an analysis.

    Parameters
    ----------
    runs
        A dataset along ``run``: density, losses and errors of the last level of every run that is
        finished, with its place in the grid and its ``seed`` as coordinates.
    datasets
        By the name of an analysis, its answers about all finished runs as one dataset: joined as
        `landscape.data_store.join.join` does, with the same coordinates along what it is about.
        An analysis that nothing is known of is not there.
    failed
        By the name of a step, why it failed.
    missing
        Names of the steps that are not done.
    """

    runs: xarray.Dataset
    datasets: Mapping[str, xarray.Dataset]
    failed: Mapping[str, str]
    missing: tuple[str, ...]

    def __getitem__(self, name: str) -> xarray.Dataset:
        return self.datasets[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.datasets)

    def __len__(self) -> int:
        return len(self.datasets)


def sweep(
    experiment: Experiment,
    place: Place,
    execute: Executor,
    report: Reporter = lambda _report: None,
    *,
    only_failed: bool = False,
) -> Swept:
    """Carry out an experiment and all that is asked about its runs.

    What is done is passed over: repeated, it goes on where it was, and in the end only reads. A
    step that fails stops those that need it and no others; that it failed is noted in the store
    until it is done. A step that another sweep of the store is at is waited for, and not done
    again.

    Parameters
    ----------
    place
        The store, and how runs are trained.
    execute
        What does the steps.
    report
        Hears of them.
    only_failed
        Do only what failed the last time, and what could not begin for it.

    Raises what would make a run fail, as far as it is found before any is trained.
    """
    place = replace(place, waits=True)
    first = agenda(experiment, place.store)
    chosen = _failed_before if only_failed else _all
    left = chosen(undone(first.plantings, place), place.store)
    failed = _done_by(execute, left, place, report)
    whole = agenda(experiment, place.store)  # what follows from the planted networks is known now
    answers: dict[str, xarray.Dataset] = {}
    rest = chosen(undone((*whole.runs, *whole.questions), place, answers), place.store)
    runs = [step for step in rest if isinstance(step, Planned)]
    if runs:
        rehearse(runs, place.data)
    failed |= _done_by(execute, rest, place, report)
    return gather(whole, place, failed, answers)


def _all(steps: Sequence[Step], _store: Store) -> Sequence[Step]:
    """Steps as they are."""
    return steps


def _failed_before(steps: Sequence[Step], store: Store) -> Sequence[Step]:
    """Of steps that are not done, those that failed the last time, and those that need these."""
    names: set[str] = set()
    for step in steps:
        waits = step.parent is not None and step.parent[0] in names
        if waits or failure(step, store) is not None:
            names.add(step.name)
    return [step for step in steps if step.name in names]


@dataclass(frozen=True)
class Status:
    """How far a sweep is, by the names of its steps.

    Parameters
    ----------
    done, running, waiting
        What the store has, what a process is at, and what nobody is at.
    failed
        What failed the last time, and why; another try may be running.
    ahead
        How long what is not done will take, as far as the store knows the pace of like steps.
    """

    done: tuple[str, ...]
    running: tuple[str, ...]
    failed: Mapping[str, str]
    waiting: tuple[str, ...]
    ahead: Forecast


def status(whole: Agenda, place: Place) -> Status:
    """How far a sweep is, from its store alone, whoever carries it out.

    A run that is being trained further than this sweep asks for is done.

    Raises `LandscapeError` if what is noted of a failure cannot be read.
    """
    answers: dict[str, xarray.Dataset] = {}
    left = undone(whole.steps, place, answers)
    names = {step.name for step in left}
    running = {step.name for step in left if is_running(step, place.store)}
    reasons = {step.name: failure(step, place.store) for step in left}
    failed = {name: why for name, why in reasons.items() if why is not None}
    return Status(
        done=tuple(step.name for step in whole.steps if step.name not in names),
        running=tuple(step.name for step in left if step.name in running),
        failed=failed,
        waiting=tuple(s.name for s in left if s.name not in running and s.name not in failed),
        ahead=forecast(
            [(step, units_left(step, place.store)) for step in left],
            known_paces(whole.steps, place.store, answers),
        ),
    )


def _done_by(
    execute: Executor, steps: Sequence[Step], place: Place, report: Reporter
) -> dict[str, str]:
    """What failed of some steps, which is noted; nothing is started for none."""
    named = {step.name: step for step in steps}

    def note(told: Report) -> None:
        if told.what == "failed":
            keep_failure(named[told.run], place.store, told.text)
        elif told.what == "done":
            forget_failure(named[told.run], place.store)
        report(told)

    return execute(steps, place, note) if steps else {}


def gather(
    whole: Agenda,
    place: Place,
    failed: Mapping[str, str] | None = None,
    answers: Mapping[str, xarray.Dataset] | None = None,
) -> Swept:
    """What the store has of a sweep; nothing is computed.

    Parameters
    ----------
    failed
        What has just failed, and why.
    answers
        What was read of it before, by the names of the questions.
    """
    known = dict(answers or {})
    missing = undone((*whole.plantings, *whole.runs), place)
    absent = {step.name for step in missing}
    finished = {run.name: run for run in whole.runs if run.name not in absent}
    open_yet = [q for q in whole.questions if q.name not in known]
    missing += undone([q for q in open_yet if q.parent[0] in finished], place, known)
    missing += [q for q in open_yet if q.parent[0] not in finished]
    parts: dict[str, list[tuple[Planned, xarray.Dataset]]] = {}
    for question in whole.questions:
        if question.name in known and question.parent[0] in finished:
            found = finished[question.parent[0]], known[question.name]
            parts.setdefault(question.ask.name, []).append(found)
    return Swept(
        runs=last_levels(place.store, list(finished.values())),
        datasets={name: joined(answered) for name, answered in parts.items()},
        failed=failed or {},
        missing=tuple(step.name for step in missing),
    )
