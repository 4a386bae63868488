"""Preparation: a run's settings, and all that its training needs, made from them."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from landscape.data_store.errors import DamagedFile, LandscapeError, UsageError, unknown
from landscape.data_store.mask import Mask
from landscape.data_store.params import ParamSpec
from landscape.data_store.records import Point, RunConfig
from landscape.data_store.settings import to_json
from landscape.data_store.store import Run
from landscape.sources import model_named, task_named
from landscape.training.augment import require_pictures
from landscape.training.batches import Batches, batches
from landscape.training.criteria import Sight
from landscape.training.imp import Experiment, Origin
from landscape.training.loop import on_device
from landscape.training.models import (
    build,
    current_point,
    initialize,
    parameter_spec,
    prunable_kinds,
    set_dropout,
    without,
)
from landscape.training.network import Network
from landscape.training.registry import CRITERIA
from landscape.training.schedule import emptied
from landscape.training.seeds import stream
from landscape.training.subset import subset
from landscape.training.task import Task, require_fit

if TYPE_CHECKING:
    from landscape.brancher import Branch


MOST_THREADS = 1024
THREADS_PER_CORE = 8


@dataclass(frozen=True)
class Plan:
    """What is to be trained: settings and, for a branch, where it begins."""

    config: RunConfig
    branch: Branch | None = None


@dataclass(frozen=True, eq=False)
class Prepared:
    """A run ready to train: its network, its data, where it starts."""

    experiment: Experiment
    init: Point
    data_digest: str


def configure(settings: dict[str, Any]) -> RunConfig:
    """The run's settings: what is given, over the model's protocol, over the defaults.

    Raises `UsageError` for a setting that does not exist.
    """
    model = model_named(str(settings.get("model") or RunConfig.model))
    return RunConfig(**merged(model.protocol, given(settings)))


def merged(inherited: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """What is given over what is inherited from a model's protocol or from a branch's parent.

    Inherited milestones are left out under a cosine, which has none. Raises `UsageError` for
    milestones that are given with it.
    """
    settings = {**inherited, **changes}
    if settings.get("lr_schedule") == "cosine":
        if changes.get("lr_milestones"):
            raise UsageError(
                f"lr_milestones is {changes['lr_milestones']!r:.80}, but a cosine has no "
                "milestones; leave them out, or give --lr-schedule step"
            )
        settings["lr_milestones"] = ()
    return settings


def given(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings that are not None; raises `UsageError` for one that does not exist."""
    names = [setting.name for setting in fields(RunConfig)]
    for name in settings:
        if name not in names:
            raise unknown("setting", name, names)
    return {k: tuple(v) if isinstance(v, list) else v for k, v in settings.items() if v is not None}


def task_of(config: RunConfig, data: Path | None) -> Task:
    """The data of a run; errors as `landscape.sources.task_named`."""
    return subset(task_named(config.task, data, config.validation_size), config.max_examples)


def resolved(plan: Plan, task: Task) -> Plan:
    """The plan with its rewind point in steps, where it was given in epochs."""
    config = plan.config
    if config.rewind_epoch is None:
        return plan
    if config.rewind_step:
        raise UsageError(
            f"rewind_step is {config.rewind_step} and rewind_epoch {config.rewind_epoch}; give one"
        )
    step = config.rewind_epoch * Batches(len(task.splits["train"]), config.batch_size).per_epoch
    return replace(plan, config=replace(config, rewind_step=step, rewind_epoch=None))


def prepare(plan: Plan, task: Task, device: torch.device) -> Prepared:
    """Network, data and initial point of a run: a pure function of its plan and the data."""
    config = plan.config
    module = _network(config, task, config.seed)
    spec = parameter_spec(module)
    all_kinds = prunable_kinds(module, biases=config.prune_biases)
    _require_trainable(config.model, module, all_kinds)
    kinds = without(all_kinds, config.exclude)
    require_fit(module, task)
    batches(module, task, config.batch_size)  # refuses what cannot be trained on
    if config.augment:
        require_pictures(task.input_shape)
    init, origin = current_point(module, spec), None
    network = Network(module, spec, device)
    task_there = on_device(task, network)
    if plan.branch is not None:
        plan.branch.require_same_data(config, task.digest)
        # the source's own seed would draw its own output layer again
        fresh = _network(config, task, stream(config.seed, "transfer"))
        sight = Sight(network, task_there, config)
        init, origin = plan.branch.originate(sight, current_point(fresh, spec), all_kinds, kinds)
    _require_weights_left(config, kinds, spec, origin)

    def redraw(level: int) -> Point:
        """New initial weights for a level."""
        fresh = _network(config, task, stream(config.seed, "reinitialization", level))
        return current_point(fresh, spec)

    experiment = Experiment(
        network=network,
        task=task_there,
        config=config,
        criterion=CRITERIA.load(config.criterion),
        kinds=kinds,
        redraw=redraw,
        origin=origin,
    )
    return Prepared(experiment, init, task.digest)


def _require_trainable(model: str, module: nn.Module, kinds: dict[str, str]) -> None:
    """Raise `UsageError` if a network has nothing to prune, or parameters that are not trained."""
    if not kinds:
        raise UsageError(f"model {model} has no linear or convolution layer to prune")
    for parameter, values in module.named_parameters():
        if not values.requires_grad:
            raise UsageError(
                f"parameter {parameter!r} of model {model} is frozen; register it as a buffer, "
                "all parameters are trained"
            )


def _network(config: RunConfig, task: Task, seed: int) -> nn.Module:
    """The network with initial weights drawn from a seed."""
    model = model_named(config.model)
    module: nn.Module = build(model, task.input_shape, task.outputs, seed)
    initialize(module, config.initialization, seed, norm_scale=config.norm_scale)
    set_dropout(module, config.dropout)
    return module


def _require_weights_left(
    config: RunConfig, kinds: dict[str, str], spec: ParamSpec, origin: Origin | None
) -> None:
    """Warn of a layer that the settings will empty, or refuse it, before anything is trained."""
    mask = Mask.dense(spec, tuple(kinds)) if origin is None else origin.mask
    found = emptied(config, kinds, mask)
    if found is None:
        return
    level, name = found
    layer = "at least one layer" if name is None else repr(name)
    if config.keep_connected:
        raise UsageError(
            f"level {level} would prune all of {layer}, and --keep-connected forbids it; ask for "
            "fewer levels or a higher density"
        )
    warnings.warn(
        f"level {level} will prune all of {layer}; --keep-connected refuses that",
        UserWarning,
        stacklevel=4,
    )


def describe(plan: Plan, ready: Prepared, task: Task, recorded: dict[str, Any]) -> dict[str, Any]:
    """The manifest of a new run."""
    spec = ready.experiment.network.spec
    record = {
        "config": to_json(plan.config),
        "spec": spec.to_json(),
        "prunable": dict(ready.experiment.kinds),
        "init": ready.init.digest(spec),
        "data": {
            "digest": ready.data_digest,
            "examples": {name: len(split) for name, split in task.splits.items()},
        },
        "provenance": recorded,
    }
    return record if plan.branch is None else {**record, "branch": plan.branch.record}


def require_same(run: Run, plan: Plan) -> None:
    """Raise `UsageError` at the first setting that differs from the run's (levels may)."""
    config, description = plan.config, run.description
    old, new = to_json(replace(run.config, levels=config.levels)), to_json(config)
    counted = (config.density, config.last_iterations) != (None, None)
    if config.retrain == "continue" or counted:
        old = to_json(run.config)  # what the levels are depends on how many there are
    if config.lr_schedule == "cosine":
        old["lr_milestones"] = []  # of a protocol; they were stated once, and never used
    for name, value in old.items():
        if new[name] != value:
            raise UsageError(
                f"run {run.name!r} exists with {name} = {value}, not {new[name]}; "
                "give the same settings to go on with it, or another --name"
            )
    branch = None if plan.branch is None else plan.branch.record
    if description.get("branch") != branch:
        raise UsageError(
            f"run {run.name!r} exists and began at {_beginning(description.get('branch'))}, not at "
            f"{_beginning(branch)}; repeat the command that made it, or give another --name"
        )


def _beginning(branch: dict[str, Any] | None) -> str:
    """Where a run begins, in words."""
    if branch is None:
        return "a dense network"
    density = "" if branch["mask_density"] is None else f" to density {branch['mask_density']}"
    return f"{branch['parent']} ({branch['digest'][:12]}) with the mask {branch['mask']}{density}"


def require_threads(count: int | None) -> None:
    """Raise `UsageError` for a number of threads that a new run cannot have.

    The threading library ends a process that asks for more than the system gives it.
    """
    most = min(MOST_THREADS, THREADS_PER_CORE * (os.cpu_count() or 1))
    if count is not None and not 1 <= count <= most:
        right = "at least 1" if count < 1 else f"at most {most} on this machine"
        raise UsageError(f"threads is {count}; it must be {right}")


def recorded_machine(run: Run) -> dict[str, Any]:
    """What a run's manifest says of the machine it was begun on.

    Raises `DamagedFile` if it does not, or names more threads than there can be: the threading
    library ends a process that asks for them.
    """
    description = run.description
    recorded: dict[str, Any] = description.get("provenance", {})
    texts = [recorded.get("torch"), recorded.get("cpu_capability"), description.get("init")]
    texts.append(description.get("data", {}).get("digest"))
    threads = recorded.get("threads")
    possible = type(threads) is int and 1 <= threads <= MOST_THREADS
    if not possible or not all(isinstance(text, str) for text in texts):
        raise DamagedFile(
            f"the manifest of run {run.name!r} is incomplete, or says that it was trained on "
            f"{threads!r:.80} threads (expected 1 to {MOST_THREADS}): it was not written by "
            "landscape"
        )
    return recorded


def require_same_machine(run: Run, ready: Prepared, recorded: dict[str, Any]) -> None:
    """Refuse other data or weights than the run began with; warn of another processor."""
    description = run.description
    if description["data"]["digest"] != ready.data_digest:
        raise LandscapeError(
            f"run {run.name!r} was begun on other data than its task now gives "
            f"(digest {description['data']['digest'][:12]}, now {ready.data_digest[:12]}); "
            "give the --data folder it was begun with"
        )
    capability = torch.backends.cpu.get_cpu_capability()
    if description["init"] != ready.init.digest(ready.experiment.network.spec):
        raise LandscapeError(
            f"run {run.name!r} began from other weights than torch {torch.__version__} draws "
            f"for its seed; it was begun with torch {recorded['torch']}: use that version"
        )
    if recorded["cpu_capability"] != capability or recorded["torch"] != torch.__version__:
        warnings.warn(
            f"run {run.name!r} was begun with torch {recorded['torch']} and "
            f"{recorded['cpu_capability']}; going on with {torch.__version__} and {capability} "
            "gives results that differ in the last bits",
            UserWarning,
            stacklevel=3,
        )
