"""Iterative magnitude pruning, and any other criterion: a generator of finished levels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from landscape.data_store.mask import Mask
from landscape.data_store.records import Level, Point, RunConfig
from landscape.training.criteria import Candidate, Criterion
from landscape.training.loop import LevelTraining, State, Tick
from landscape.training.network import Network
from landscape.training.prune import prune
from landscape.training.schedule import pruning_fractions
from landscape.training.task import Task


@dataclass(frozen=True, eq=False)
class Finished:
    """A trained level, and the points it refers to by digest."""

    level: Level
    origins: Mapping[str, Point]


@dataclass(frozen=True, eq=False)
class Resume:
    """Where an interrupted run goes on.

    Parameters
    ----------
    previous
        The last finished level, None if there is none.
    rewind
        The rewind point, None while level 0 has not passed it.
    state
        A captured state of the level being trained, None to begin it anew, as one that does not
        fit does.
    """

    previous: Level | None = None
    rewind: Point | None = None
    state: State | None = None


@dataclass(frozen=True, eq=False)
class Experiment:
    """What is trained and how it is pruned.

    Parameters
    ----------
    network, task
        On one device.
    config
        The run's settings.
    criterion
        Scores that decide what is pruned.
    kinds
        Prunable tensors and what they are, as `prunable_kinds` says.
    """

    network: Network
    task: Task
    config: RunConfig
    criterion: Criterion
    kinds: Mapping[str, str]

    def next_mask(self, level: Level, init: Point) -> Mask:
        """The mask of the level after `level`: a pure function of it."""
        candidate = Candidate(
            theta=level.points["final"].theta,
            init=init.theta,
            mask=level.mask,
            seed=self.config.seed,
            level=level.number + 1,
        )
        fractions = pruning_fractions(self.config, self.kinds)
        return prune(self.criterion(candidate), level.mask, fractions, scope=self.config.scope)


def imp(
    experiment: Experiment, init: Point, resume: Resume | None = None
) -> Iterator[Tick | Finished]:
    """Train level after level, each from the rewind point under its own mask.

    Level 0 is dense and starts from `init`; level i+1 prunes the final weights of level i
    and starts from the rewind point with a fresh optimiser, the learning-rate schedule and
    the data order from the rewind step. BatchNorm buffers rewind too. Strategy 1 of
    Frankle & Carbin (2019), appendix B; rewinding as in Frankle et al. (2020).

    Yields a `Tick` per evaluation and a `Finished` per level, and stops after a level that
    diverged. Writes no file. Resumed at any captured state it gives the same bits.
    """
    resume = resume or Resume()
    config = experiment.config
    previous, rewind, state = resume.previous, resume.rewind, resume.state
    first = 0 if previous is None else previous.number + 1
    for number in range(first, config.levels):
        if previous is None:
            mask, start = Mask.dense(experiment.network.spec, tuple(experiment.kinds)), init
        else:
            assert rewind is not None
            mask, start = experiment.next_mask(previous, init), rewind
        training = LevelTraining(experiment.network, experiment.task, config, mask, start, number)
        if state is not None and training.fits(state):
            training.restore(state)
        state = None
        yield from training.run()
        if rewind is None:
            rewind = training.kept_points.get(f"step-{config.rewind_step}", init)
        previous = _finish(experiment, training, {"init": init, "rewind": rewind})
        yield Finished(previous, {"init": init, "rewind": rewind})
        if training.diverged:
            return


def _finish(experiment: Experiment, training: LevelTraining, origins: Mapping[str, Point]) -> Level:
    """The level that a training came to."""
    config, spec = experiment.config, experiment.network.spec
    points = {"final": experiment.network.point()}
    points |= {f"step-{s}": training.kept_points[f"step-{s}"] for s in config.snapshots
               if f"step-{s}" in training.kept_points}  # fmt: skip
    metrics: dict[str, float] = {}
    for name, split in experiment.task.splits.items():
        loss, error = experiment.network.evaluate(split, experiment.task)
        metrics |= {f"{name}_loss": loss, f"{name}_error": error}
    row = training.trace.early_stop_row
    metrics["early_stop_step"] = (
        float(training.trace.column("step")[row]) if row is not None else np.nan
    )
    return Level(
        number=training.level,
        mask=training.mask,
        points=points,
        trace=training.trace,
        metrics=metrics,
        origins={name: point.digest(spec) for name, point in origins.items()},
        status="diverged" if training.diverged else "done",
    )
