"""Forecast: how long the steps of a sweep will take, from what like ones took."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from landscape.data_store import layout
from landscape.data_store.errors import LandscapeError
from landscape.data_store.files import read_file
from landscape.data_store.records import RunConfig
from landscape.data_store.results import records_of
from landscape.data_store.store import Run, Store
from landscape.experiment import Planned, Question
from landscape.steps import Place, Step
from landscape.waiting import duration

if TYPE_CHECKING:
    import xarray

_LEARNS_SCORES = "edge-popup"  # trains before it prunes: as long as nobody can tell beforehand
_WORTH_MEASURING = 0.3  # seconds of steps
_EVERY, _EVALUATED = 5, 200  # steps between two evaluations, of so many examples

Paces = Mapping[Hashable, float]
"""Seconds of one thread by `likeness`: of an iteration with its share of evaluations, or a step."""


@dataclass(frozen=True)
class Forecast:
    """How long steps will take.

    Parameters
    ----------
    work
        Seconds, one step after another, of those that something is known of.
    longest
        Seconds of the longest of them: no number of processes is quicker.
    unknown
        How many steps nothing is known of.
    """

    work: float
    longest: float
    unknown: int

    def seconds(self, jobs: int) -> float:
        """What is known of, `jobs` at a time."""
        return max(self.longest, self.work / jobs)

    def words(self, jobs: int) -> str:
        """As a sentence goes on; empty if nothing is known that takes a second.

        >>> Forecast(600.0, 60.0, 0).words(2), Forecast(600.0, 60.0, 3).words(1)
        ('about 5 min', 'more than 10 min')
        """
        if self.seconds(jobs) < 1:
            return ""
        return f"{'more than' if self.unknown else 'about'} {duration(self.seconds(jobs))}"


def forecast(left: Iterable[tuple[Step, float]], paces: Paces) -> Forecast:
    """How long steps will take, from the paces of like ones.

    Parameters
    ----------
    left
        Steps that are not done, with how many of their `units` are left.
    """
    seconds = [paces.get(likeness(step), math.nan) * count for step, count in left]
    known = [value for value in seconds if not math.isnan(value)]
    return Forecast(sum(known), max(known, default=0.0), len(seconds) - len(known))


def likeness(step: Step) -> Hashable:
    """What two steps that go at one pace have in common."""
    if isinstance(step, Planned):
        config = step.config
        scores = _LEARNS_SCORES if config.criterion == _LEARNS_SCORES else ""
        return (
            config.task, config.model, config.batch_size, config.optimizer, config.dropout > 0,
            config.augment, config.validation_size, config.max_examples, config.eval_every, scores,
        )  # fmt: skip
    if isinstance(step, Question):
        return step.ask.kind, json.dumps(dict(step.ask.settings), sort_keys=True, default=str)
    return type(step)


def units(step: Step) -> float:
    """How long a step is, beside one of the same `likeness`: iterations, or 1."""
    return float(step.config.all_iterations) if isinstance(step, Planned) else 1.0


def units_left(step: Step, store: Store) -> float:
    """How many of its `units` the store does not have yet."""
    if not isinstance(step, Planned):
        return units(step)
    there = len(Run(store.root, step.name, store.size_limit).levels)
    return units(step) * max(0, step.config.levels - there) / step.config.levels


def known_paces(
    steps: Sequence[Step], store: Store, answers: Mapping[str, xarray.Dataset] = {}
) -> dict[Hashable, float]:
    """The paces of steps like those of some that a store has, at least in part.

    Parameters
    ----------
    answers
        What is stored, by the names of the questions.
    """
    paces: dict[Hashable, float] = {}
    seconds: dict[Hashable, list[float]] = {}
    for step in steps:
        key = likeness(step)
        if isinstance(step, Planned) and key not in paces:
            pace = logged_pace(layout.run_log(store.root, step.name), store.root)
            paces |= {} if math.isnan(pace) else {key: pace}
        elif step.name in answers:
            taken = [record.get("seconds") for record in records_of(answers[step.name])]
            known = [float(value) for value in taken if isinstance(value, int | float)]
            if known:
                seconds.setdefault(key, []).append(sum(known))
    return paces | {key: median(values) for key, values in seconds.items()}


def logged_pace(path: Path, root: Path) -> float:
    """Seconds of an iteration, as the times of a run's evaluations say; NaN if they do not."""
    try:
        lines = read_file(path, root=root).splitlines()
        rows = [json.loads(line) for line in lines if line.endswith(b"}")]
        times = [(int(row["level"]), float(row["step"]), float(row["time"])) for row in rows]
    except (LandscapeError, ValueError, LookupError, TypeError, RecursionError):
        return math.nan
    paces = [
        (then - before) / (step - last)
        for (level, last, before), (same, step, then) in pairwise(times)
        if level == same and step > last and then > before
    ]
    return median(paces) if paces else math.nan


def measured_paces(runs: Sequence[Planned], place: Place) -> dict[Hashable, float]:
    """The paces of runs, each likeness tried for some steps and an evaluation; nothing is stored.

    Cost: reading each data set and building each network once, and at least ten steps of each.
    Raises what preparing a run does. A criterion that trains before it prunes is not tried.
    """
    alike = {likeness(run): run for run in reversed(runs)}
    tried = {key: run for key, run in alike.items() if run.config.criterion != _LEARNS_SCORES}
    return {key: measured_pace(run.config, place) for key, run in tried.items()}


def measured_pace(config: RunConfig, place: Place) -> float:
    """Seconds of an iteration of a run with its share of evaluations, tried in `place`."""
    from landscape.data_store.mask import Mask
    from landscape.preparation import Plan, prepare, resolved, task_of
    from landscape.provenance import using_threads
    from landscape.sources import device_named
    from landscape.training.loop import LevelTraining
    from landscape.training.retrain import Start
    from landscape.training.subset import subset

    task = task_of(config, place.data)
    reduced = subset(task, _EVALUATED).splits
    tried = replace(task, splits={**reduced, "train": task.splits["train"]})
    shares = [len(split) for name, split in task.splits.items() if name != "train"]
    share = sum(shares) / sum(len(split) for name, split in tried.splits.items() if name != "train")
    endless = replace(
        config, iterations=2**40, last_iterations=None, eval_every=_EVERY, snapshots=()
    )
    ready = prepare(resolved(Plan(endless), tried), tried, device_named(place.device))
    own = ready.experiment
    mask = Mask.dense(own.network.spec, tuple(own.kinds))
    training = LevelTraining(own.network, own.task, own.config, mask, Start(ready.init), 0)
    with using_threads(place.threads or 1):
        ticks = training.run()
        next(ticks), next(ticks)  # what is slow once
        began = time.perf_counter()
        between: list[float] = []
        while sum(between) < _WORTH_MEASURING:
            next(ticks)
            between.append(time.perf_counter() - began - sum(between))
        began = time.perf_counter()
        for name in own.task.splits.keys() - {"train"}:
            own.network.evaluate(own.task.splits[name], own.task)
        evaluation = time.perf_counter() - began
    step = max(0.0, median(between) - evaluation) / _EVERY
    return step + evaluation * share / config.eval_every
