"""Iterative magnitude pruning, and any other criterion: a generator of finished levels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from landscape.data_store.mask import Mask
from landscape.data_store.records import Level, Point, RunConfig
from landscape.training.connection import connected, require_connected
from landscape.training.criteria import Candidate, Criterion, Sight
from landscape.training.loop import LevelTraining, State, Tick
from landscape.training.network import Network
from landscape.training.prune import chosen
from landscape.training.retrain import Known, Start, start
from landscape.training.schedule import kept_counts, level_config
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
class Origin:
    """Where a branch begins instead of at a dense network: a point of another run.

    Parameters
    ----------
    mask
        Mask of the branch's level 0.
    rewind
        Weights and buffers that its levels are rewound to, at ``config.rewind_step``.
    trained
        Weights to go on from where the mode of retraining keeps them, None for the rewind point.
    """

    mask: Mask
    rewind: Point
    trained: Point | None = None


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
    redraw
        New initial weights for a level, drawn as the first were.
    origin
        Where a branch begins, None for a run that begins dense.
    """

    network: Network
    task: Task
    config: RunConfig
    criterion: Criterion
    kinds: Mapping[str, str]
    redraw: Callable[[int], Point]
    origin: Origin | None = None

    @property
    def sight(self) -> Sight:
        """What a criterion may see beyond weights."""
        return Sight(self.network, self.task, self.config)

    def first_mask(self, init: Point) -> Mask:
        """The mask of level 0: dense or a branch's, and in singleshot pruning pruned from there.

        It is then pruned by the scores of the weights that a level is rewound to: the initial ones,
        unless a branch begins later. Warnings and errors as `next_mask`.
        """
        origin = self.origin
        mask = Mask.dense(self.network.spec, tuple(self.kinds)) if origin is None else origin.mask
        if self.config.densities != "singleshot":
            return mask
        return self._pruned(mask, init if origin is None else origin.rewind, init, 0)

    def next_mask(self, level: Level, init: Point) -> Mask:
        """The mask of the level after `level`: a pure function of it.

        Warns of layers that lose their last weight, or of a network that loses its last path from
        input to output, or raises `LandscapeError` if ``keep_connected`` forbids it.
        """
        final = level.points["final"]
        if not self.config.nested:  # what may come back is judged by what it began with
            theta = np.where(level.mask.kept, final.theta, init.theta)
            final = Point(theta, final.buffers)
        return self._pruned(level.mask, final, init, level.number + 1)

    def _pruned(self, mask: Mask, point: Point, init: Point, level: int) -> Mask:
        """The mask of a level, pruned from the one before by the scores of a point."""
        config = self.config
        candidate = Candidate(
            theta=point.theta,
            init=init.theta,
            mask=mask,
            seed=config.seed,
            level=level,
            buffers=point.buffers,
            sight=self.sight,
        )
        after = chosen(
            self.criterion,
            candidate,
            kept_counts(config, self.kinds, mask, level),
            nested=config.nested,
            rounds=config.score_rounds,
        )
        require_connected(self.sight, level, mask, after)
        return after


def imp(
    experiment: Experiment, init: Point, resume: Resume | None = None
) -> Iterator[Tick | Finished]:
    """Train level after level, each under its own mask from where its mode of retraining says.

    Level 0 is dense and starts from `init`, or is a branch's, or in singleshot pruning is pruned
    before it is trained. Level i+1 prunes the final weights
    of level i and starts, with a fresh optimiser, as `landscape.training.retrain.start` says:
    by default from the rewind point, with the learning-rate schedule and the data order from the
    rewind step. BatchNorm buffers rewind too. Strategy 1 of Frankle & Carbin (2019), appendix B;
    rewinding as in Frankle et al. (2020). A level that starts elsewhere than at the rewind point
    keeps what it starts from as its point ``ticket``.

    Yields a `Tick` per evaluation and a `Finished` per level, and stops after a level that
    diverged. Writes no file. Resumed at any captured state it gives the same bits.
    """
    resume = resume or Resume()
    config = experiment.config
    previous, rewind, state = resume.previous, resume.rewind, resume.state
    if rewind is None and experiment.origin is not None:
        rewind = experiment.origin.rewind
    first = 0 if previous is None else previous.number + 1
    for number in range(first, config.levels):
        if previous is None:
            mask = experiment.first_mask(init)
        else:
            mask = experiment.next_mask(previous, init)
        begin = _start(experiment, number, mask, previous, init, rewind)
        own = level_config(config, number)
        training = LevelTraining(experiment.network, experiment.task, own, mask, begin, number)
        if state is not None and training.fits(state):
            training.restore(state)
        state = None
        yield from training.run()
        if rewind is None:
            rewind = training.kept_points.get(f"step-{config.rewind_step}", init)
        known = begin.point is init or begin.point is rewind
        ticket = None if known else begin.point
        previous = _finish(experiment, training, {"init": init, "rewind": rewind}, ticket)
        yield Finished(previous, {"init": init, "rewind": rewind})
        if training.diverged:
            return


def _start(
    experiment: Experiment,
    number: int,
    mask: Mask,
    previous: Level | None,
    init: Point,
    rewind: Point | None,
) -> Start:
    """Where the training of a level begins."""
    origin = experiment.origin
    if previous is None and origin is None:
        return Start(init)
    assert rewind is not None
    trained = origin.trained if previous is None and origin else None
    if previous is not None:
        trained = previous.points["final"]
    known = Known(init, rewind, trained, experiment.redraw)
    return start(experiment.config, number, mask, known)


def _finish(
    experiment: Experiment,
    training: LevelTraining,
    origins: Mapping[str, Point],
    ticket: Point | None,
) -> Level:
    """The level that a training came to; `ticket` is what it began from, if no rewind point."""
    config, spec = experiment.config, experiment.network.spec
    points = {"final": experiment.network.point()}
    if ticket is not None:
        points["ticket"] = Point(training.mask.apply(ticket.theta), ticket.buffers)
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
    metrics["connected"] = connected(experiment.sight, training.mask)
    return Level(
        number=training.level,
        mask=training.mask,
        points=points,
        trace=training.trace,
        metrics=metrics,
        origins={name: point.digest(spec) for name, point in origins.items()},
        status="diverged" if training.diverged else "done",
    )
