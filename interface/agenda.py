"""The agenda of a sweep: what is planted, trained and asked, each step after the one it needs."""

from __future__ import annotations

from dataclasses import dataclass

from landscape.analysis.registry import ANALYSES
from landscape.data_store.address import parse_address
from landscape.data_store.errors import UsageError
from landscape.data_store.store import Store
from landscape.experiment import Ask, Experiment, Planned, Planting, Question
from landscape.planning import plan, plantings
from landscape.sources import is_factory
from landscape.steps import Step
from landscape.workbench import settings_of


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
        Every analysis about every run that will have as many checkpoints as it needs.
    """

    plantings: tuple[Planting, ...]
    runs: tuple[Planned, ...]
    questions: tuple[Question, ...]

    @property
    def steps(self) -> tuple[Step, ...]:
        """All of them, each after the one it needs."""
        return (*self.plantings, *self.runs, *self.questions)


def agenda(experiment: Experiment, store: Store | None = None) -> Agenda:
    """The steps of a sweep.

    Parameters
    ----------
    store
        Where its planted networks are, or will be; None plans without.

    Raises `UsageError` as `landscape.planning.plan` does, and for an analysis that is asked at
    levels that there will not be, or for which no run will have enough.
    """
    runs = plan(experiment, store)
    questions: list[Question] = []
    for ask in experiment.asks:
        least = _least(ask)
        enough = [run for run in runs if _points(run, ask) >= least]
        if runs and not enough:
            raise UsageError(
                f"analysis {ask.name!r} needs at least {least} checkpoints of a run, but no run "
                "will have so many; say with 'at' of which levels"
            )
        questions += [_question(run, ask) for run in enough]
    places = {run.name: place for place, run in enumerate(runs)}
    questions.sort(key=lambda question: places[question.parent[0]])
    return Agenda(tuple(plantings(experiment)), tuple(runs), tuple(questions))


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
    return Question(
        name=f"{run.name} {ask.name}",
        ask=ask,
        points=(run.name,) if ask.at == "each" else tuple(f"{run.name}@{k}" for k in ask.at),
        parent=(run.name, last),
        task=run.config.task if is_factory(run.config.task) else None,
        model=run.config.model if is_factory(run.config.model) else None,
    )


def _points(run: Planned, ask: Ask) -> int:
    """How many checkpoints of a run an analysis is asked about."""
    return run.config.levels if ask.at == "each" else len(ask.at)


def _least(ask: Ask) -> int:
    """How many checkpoints an analysis needs."""
    analysis = ANALYSES.load(ask.kind)
    return analysis.grouping(settings_of(analysis, ask.settings)).least
