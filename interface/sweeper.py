"""sweep: plant, train and ask all that an experiment states, and join the answers by the grid."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

from landscape.analysis.registry import ANALYSES
from landscape.branch_settings import BranchSettings
from landscape.data_store.address import Address, parse_address
from landscape.data_store.errors import LandscapeError, UsageError
from landscape.data_store.records import RunConfig
from landscape.data_store.settings import to_json
from landscape.data_store.store import Run, Store
from landscape.experiment import Ask, Experiment, Planned, Planting, Question
from landscape.ledger import failure, forget_failure, is_running, keep_failure
from landscape.planning import plan, plantings
from landscape.plant_settings import PlantSettings
from landscape.rehearsal import rehearse
from landscape.sources import is_factory
from landscape.steps import Executor, Place, Report, Reporter, Step
from landscape.subject import Context
from landscape.sweep_results import joined, last_levels
from landscape.training.batches import Batches
from landscape.workbench import settings_of, stored_answer
from landscape.workers import in_turn, side_by_side

if TYPE_CHECKING:
    import xarray

_OF_MASK = tuple(setting.name for setting in fields(BranchSettings))
_OF_PLANT = tuple(setting.name for setting in fields(PlantSettings))


def executor(jobs: int) -> Executor:
    """What does the steps: this process, or as many as `jobs`."""
    if jobs == 1:
        return in_turn
    return lambda steps, place, report: side_by_side(steps, place, jobs, report)


@dataclass(frozen=True)
class Agenda:
    """All steps of a sweep.

    Parameters
    ----------
    plantings
        Planted networks: done first, since the settings of the runs follow from them.
    runs
        In an order in which each comes after the run it begins at.
    questions
        Every analysis about every run.
    """

    plantings: tuple[Planting, ...]
    runs: tuple[Planned, ...]
    questions: tuple[Question, ...]

    @property
    def steps(self) -> tuple[Step, ...]:
        """All of them, each after the one it needs."""
        return (*self.plantings, *self.runs, *self.questions)


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


def agenda(experiment: Experiment, store: Store | None = None) -> Agenda:
    """The steps of a sweep.

    Parameters
    ----------
    store
        Where its planted networks are, or will be; None plans without.

    Raises `UsageError` as `landscape.planning.plan` does, and for an analysis that cannot be asked
    about a run that will have too few levels.
    """
    runs = plan(experiment, store)
    questions = tuple(_question(run, ask) for run in runs for ask in experiment.asks)
    return Agenda(tuple(plantings(experiment)), tuple(runs), questions)


def _question(run: Planned, ask: Ask) -> Question:
    """One analysis about one run."""
    last = run.config.levels - 1
    for level in () if ask.at == "each" else ask.at:
        number = parse_address(f"{run.name}@{level}").level
        if isinstance(number, int) and number > last:
            raise UsageError(
                f"analysis {ask.name!r} is asked at level {number}, but {run.name} has levels 0 to "
                f"{last}"
            )
    _require_enough(run, ask)
    return Question(
        name=f"{run.name} {ask.name}",
        ask=ask,
        points=(run.name,) if ask.at == "each" else tuple(f"{run.name}@{k}" for k in ask.at),
        parent=(run.name, last),
        task=run.config.task if is_factory(run.config.task) else None,
        model=run.config.model if is_factory(run.config.model) else None,
    )


def _require_enough(run: Planned, ask: Ask) -> None:
    """Raise `UsageError` unless an analysis will have as many checkpoints as it needs."""
    analysis = ANALYSES.load(ask.kind)
    grouping = analysis.grouping(settings_of(analysis, ask.settings))
    count = run.config.levels if ask.at == "each" else len(ask.at)
    if count < grouping.least:
        raise UsageError(
            f"analysis {ask.name!r} needs at least {grouping.least} checkpoints of a run, but "
            f"there will be {count} of {run.name}; say with 'at' of which levels"
        )


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
    """

    done: tuple[str, ...]
    running: tuple[str, ...]
    failed: Mapping[str, str]
    waiting: tuple[str, ...]


def status(whole: Agenda, place: Place) -> Status:
    """How far a sweep is, from its store alone, whoever carries it out.

    A run that is being trained further than this sweep asks for is done.

    Raises `LandscapeError` if what is noted of a failure cannot be read.
    """
    left = undone(whole.steps, place)
    names = {step.name for step in left}
    running = {step.name for step in left if is_running(step, place.store)}
    reasons = {step.name: failure(step, place.store) for step in left}
    failed = {name: why for name, why in reasons.items() if why is not None}
    return Status(
        done=tuple(step.name for step in whole.steps if step.name not in names),
        running=tuple(step.name for step in left if step.name in running),
        failed=failed,
        waiting=tuple(s.name for s in left if s.name not in running and s.name not in failed),
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


def undone(
    steps: Iterable[Step], place: Place, answers: dict[str, xarray.Dataset] | None = None
) -> list[Step]:
    """The steps whose results the store does not have, in their order.

    That is also a step that needs another one of them. Answers that are found are put into
    `answers`, by the names of their questions.
    """
    left: list[Step] = []
    names: set[str] = set()
    for step in steps:
        waits = step.parent is not None and step.parent[0] in names
        if waits or not is_done(step, place, answers):
            left.append(step)
            names.add(step.name)
    return left


def is_done(step: Step, place: Place, answers: dict[str, xarray.Dataset] | None = None) -> bool:
    """True if the store has what a step makes, by these settings; False where that is unsure."""
    try:
        if isinstance(step, Planned):
            return _is_trained(step, place.store)
        if isinstance(step, Planting):
            return _is_planted(step, place.store)
        assert isinstance(step, Question)
        found = _stored(step, place)
    except LandscapeError:  # what does it again will say why
        return False
    if found is not None and answers is not None:
        answers[step.name] = found
    return found is not None


def _stored(question: Question, place: Place) -> xarray.Dataset | None:
    """The stored answer to a question."""
    name, level = question.parent
    if level not in Run(place.store.root, name, place.store.size_limit).levels:
        return None
    context = Context(place.store, question.task, question.model, place.data, place.device)
    return stored_answer(question.ask.kind, question.points, question.ask.settings, context)


def _is_trained(planned: Planned, store: Store) -> bool:
    """True if a run has all its levels, by these settings, and did not diverge."""
    run = Run(store.root, planned.name, store.size_limit)
    last = planned.config.levels - 1
    if not run.exists or run.is_imported or not set(range(last + 1)) <= set(run.levels):
        return False
    own = replace(run.config, levels=planned.config.levels)
    if to_json(own) != to_json(_in_steps(planned.config, run)):
        return False
    return _begins_there(planned, run, store) and run.level(last).status == "done"


def _in_steps(config: RunConfig, run: Run) -> RunConfig:
    """The settings with the rewind point in steps, as a run states it."""
    if config.rewind_epoch is None:
        return config
    examples = int(run.description["data"]["examples"]["train"])
    step = config.rewind_epoch * Batches(examples, config.batch_size).per_epoch
    return replace(config, rewind_step=step, rewind_epoch=None)


def _begins_there(planned: Planned, run: Run, store: Store) -> bool:
    """True if a stored run begins at the level that it is planned to begin at, as it is now."""
    branch = run.description.get("branch")
    if branch is None or planned.parent is None:
        return branch is None and planned.parent is None
    name, level = planned.parent
    given = {k: planned.settings[k] for k in _OF_MASK if planned.settings.get(k) is not None}
    stated = {k: branch.get(k) for k in _OF_MASK}
    return (
        branch.get("parent") == f"{name}@{level}"
        and stated == to_json(BranchSettings(**given))
        and branch.get("digest")
        == Run(store.root, name, store.size_limit).checkpoint(Address(name, level)).digest
    )


def _is_planted(planting: Planting, store: Store) -> bool:
    """True if a run holds this planted network."""
    from landscape.planter import mother_config

    run = Run(store.root, planting.name, store.size_limit)
    if not run.exists or run.levels != [0]:
        return False
    record = run.description.get("planted", {})
    given = {k: v for k, v in planting.settings.items() if k in _OF_PLANT and v is not None}
    wanted = to_json(PlantSettings(**given))
    if "@" not in planting.target:  # an address may be written in several ways
        wanted["target"] = planting.target
    config = mother_config(planting.target, store=store, **planting.settings)
    same = all(record.get(name) == value for name, value in wanted.items())
    return same and to_json(run.config) == to_json(config)
