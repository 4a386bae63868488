"""Rehearsal: what would make a run of an experiment fail is found before any is trained."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from landscape.data_store.params import ParamSpec
from landscape.data_store.records import Point, RunConfig
from landscape.experiment import Planned
from landscape.preparation import Plan, prepare, resolved, task_of
from landscape.training.branching import output_tensors, require_transferable
from landscape.training.models import prunable_kinds
from landscape.training.task import Task


@dataclass(frozen=True, eq=False)
class _Built:
    """A run's network, its tensors with values, and the names of its output layer's."""

    network: tuple[ParamSpec, Point]
    output: tuple[str, ...]


def rehearse(planned: Sequence[Planned], data: Path | None) -> None:
    """Load every task, build every network and fit every ticket, and train nothing.

    Raises what training would: a missing data set, a network that does not take the task's
    inputs, a rewind point past the end, a layer left empty that must not be, a ticket that does
    not fit the network of its target. Warnings are left to the training.

    Cost: reading each data set once, building each network once.
    """
    configs = {run.name: replace(run.config, seed=0) for run in planned}
    branches = [run for run in planned if run.parent is not None and run.parent[0] in configs]
    compared = {configs[run.name] for run in branches}
    compared |= {configs[run.parent[0]] for run in branches if run.parent is not None}
    tasks: dict[tuple[str, int | None, int | None], Task] = {}
    tried: set[RunConfig] = set()
    built: dict[RunConfig, _Built] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for config in configs.values():
            place = (config.task, config.validation_size, config.max_examples)
            if place not in tasks:
                tasks[place] = task_of(config, data)
            if config not in tried:
                tried.add(config)
                found = _built(config, tasks[place])
                if config in compared:  # the others need no room
                    built[config] = found
    for run in branches:
        assert run.parent is not None
        parent, own = configs[run.parent[0]], configs[run.name]
        redrawn = built[own].output if own.task != parent.task else ()
        ticket = f"{run.parent[0]}@{run.parent[1]}"
        require_transferable(built[parent].network, built[own].network, redrawn, ticket)


def _built(config: RunConfig, task: Task) -> _Built:
    """The network of a run, made as it will be when it is trained."""
    ready = prepare(resolved(Plan(config), task), task, torch.device("cpu"))
    network = ready.experiment.network
    output = output_tensors(network.spec, prunable_kinds(network.module))
    return _Built((network.spec, ready.init), output)
