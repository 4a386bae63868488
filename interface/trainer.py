"""train: a run from its settings to its last level, resumed wherever it stopped."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from landscape.data_store import layout
from landscape.data_store.address import check_run_name
from landscape.data_store.errors import DamagedFile, LandscapeError, UsageError, unknown
from landscape.data_store.files import append_line, move_aside, sweep
from landscape.data_store.level_file import level_image
from landscape.data_store.lock import holding
from landscape.data_store.records import TRACE_COLUMNS, Point, RunConfig
from landscape.data_store.resume_file import load_resume, save_resume
from landscape.data_store.settings import to_json
from landscape.data_store.store import Run, Store
from landscape.provenance import provenance, using_threads
from landscape.sources import device_named, model_named, task_named
from landscape.training.imp import Experiment, Finished, Resume, imp
from landscape.training.loop import Tick, on_device
from landscape.training.models import (
    build,
    current_point,
    initialize,
    parameter_spec,
    prunable_kinds,
)
from landscape.training.network import Network
from landscape.training.registry import CRITERIA
from landscape.training.task import Task, require_fit

RESUME_SECONDS = 5.0
MOST_THREADS = 1024

Listener = Callable[[Tick | Finished], None]


@dataclass(frozen=True, eq=False)
class Prepared:
    """A run ready to train: its network, its data, where it starts."""

    experiment: Experiment
    init: Point
    data_digest: str


def train(
    *,
    store: Store,
    name: str,
    data: str | Path | None = None,
    device: str = "auto",
    threads: int | None = None,
    listener: Listener | None = None,
    **settings: Any,
) -> Run:
    """Train a run level after level, storing each as it is finished.

    A run of this name is gone on with: the settings must be those it was made with, but
    ``levels`` may grow. Interrupted at any moment, the same call continues from the last
    finished level, or inside a level from a few seconds ago, and ends with the same bits
    (CPU, same thread count, which is set, and same CPU capability, of which a difference is
    warned).

    Parameters
    ----------
    store
        Where to keep it.
    name
        Name of the run, 1 to 64 of ``a-z0-9._-``.
    data
        Folder of data sets.
    device
        ``auto``, ``cpu`` or ``cuda``.
    threads
        CPU threads of a new run, torch's default if None; a run is gone on with under its own.
    listener
        Called with every evaluation (`Tick`) and every finished level (`Finished`).
    settings
        Fields of `RunConfig`; what is not given is the model's protocol.

    Raises
    ------
    UsageError
        For an unknown setting, task, model or criterion, or settings that differ from the
        run's.
    LandscapeError
        If another process trains this run, a level diverged, a stored level is damaged,
        the data changed, or the disk is full. Finished levels are never touched.
    """
    config = configure(settings)
    CRITERIA[config.criterion]
    check_run_name(name)
    place = device_named(device)
    if threads is not None and threads < 1:
        raise UsageError(f"threads is {threads}; it must be at least 1")
    run = Run(store.root, name, store.size_limit)
    if run.exists:
        require_same(run, config)
    task = task_named(config.task, Path(data) if data else None, config.validation_size)
    with holding(run):
        recorded = _recorded(run) if run.exists else provenance(place)
        count = int(recorded["threads"]) if run.exists or threads is None else threads
        with using_threads(count):
            ready = prepare(config, task, place)
            if run.exists:
                require_same(run, config)
                _require_same_machine(run, ready, recorded)
                run.extend(config.levels)
            else:
                recorded = provenance(place)
                store.create(name, describe(config, ready, task, recorded))
            _train_missing(run, config, ready, listener)
    return run


def configure(settings: dict[str, Any]) -> RunConfig:
    """The run's settings: what is given, over the model's protocol, over the defaults.

    Raises `UsageError` for a setting that does not exist.
    """
    names = [setting.name for setting in fields(RunConfig)]
    for name in settings:
        if name not in names:
            raise unknown("setting", name, names)
    given = {k: v for k, v in settings.items() if v is not None}
    model = model_named(str(given.get("model", RunConfig.model)))
    given = {k: tuple(v) if isinstance(v, list) else v for k, v in given.items()}
    return RunConfig(**{**model.protocol, **given})


def prepare(config: RunConfig, task: Task, device: torch.device) -> Prepared:
    """Network, data and initial point of a run: a pure function of its settings."""
    model = model_named(config.model)
    module: nn.Module = build(model, task.input_shape, task.outputs, config.seed)
    initialize(module, config.initialization, config.seed)
    spec = parameter_spec(module)
    kinds = prunable_kinds(module)
    if not kinds:
        raise UsageError(f"model {config.model} has no linear or convolution layer to prune")
    for parameter, values in module.named_parameters():
        if not values.requires_grad:
            raise UsageError(
                f"parameter {parameter!r} of model {config.model} is frozen; register it as a "
                "buffer, all parameters are trained"
            )
    require_fit(module, task)
    init = current_point(module, spec)
    network = Network(module, spec, device)
    experiment = Experiment(
        network=network,
        task=on_device(task, network),
        config=config,
        criterion=CRITERIA.load(config.criterion),
        kinds=kinds,
    )
    return Prepared(experiment, init, task.digest)


def describe(
    config: RunConfig, ready: Prepared, task: Task, recorded: dict[str, Any]
) -> dict[str, Any]:
    """The manifest of a new run."""
    spec = ready.experiment.network.spec
    return {
        "config": to_json(config),
        "spec": spec.to_json(),
        "prunable": dict(ready.experiment.kinds),
        "init": ready.init.digest(spec),
        "data": {
            "digest": ready.data_digest,
            "examples": {name: len(split) for name, split in task.splits.items()},
        },
        "provenance": recorded,
    }


def require_same(run: Run, config: RunConfig) -> None:
    """Raise `UsageError` at the first setting that differs from the run's (levels may)."""
    old, new = to_json(replace(run.config, levels=config.levels)), to_json(config)
    for name, value in old.items():
        if new[name] != value:
            raise UsageError(
                f"run {run.name!r} exists with {name} = {value}, not {new[name]}; "
                "give the same settings to go on with it, or another --name"
            )


def _recorded(run: Run) -> dict[str, Any]:
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


def _require_same_machine(run: Run, ready: Prepared, recorded: dict[str, Any]) -> None:
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


def _train_missing(run: Run, config: RunConfig, ready: Prepared, listener: Listener | None) -> None:
    """Train every level that the run does not have, lowest first."""
    keeper = _Keeper(run)
    sweep(layout.run_folder(run.root, run.name))
    missing = _damaged(run, ready) | (set(range(config.levels)) - set(run.levels))
    while missing:
        for event in imp(ready.experiment, ready.init, _resume(run, min(missing))):
            keeper.keep(event)
            if listener:
                listener(event)
            if isinstance(event, Finished):
                missing.discard(event.level.number)
                if event.level.number + 1 not in missing:
                    break
        else:
            break
    _forget_resume(run)  # a kill may have left it
    _refuse_diverged(run, max(_asked_for(run, config)))


def _damaged(run: Run, ready: Prepared) -> set[int]:
    """Levels to train again because a file is damaged, which is moved aside with a warning.

    A lost initial point is drawn again; a lost rewind point is made again by level 0, which
    must come out as it was.
    """
    lost, origins = set(), set()
    for number in _asked_for(run, ready.experiment.config):
        try:
            origins.add(run.level(number).origins["rewind"])
        except DamagedFile as error:
            _set_aside(run, layout.level_file(run.root, run.name, number), error)
            lost.add(number)
    spec = ready.experiment.network.spec
    init = ready.init.digest(spec)
    for digest in origins | {init}:
        place = layout.object_file(run.root, digest)
        try:
            if place.exists():
                run.point(digest)
        except DamagedFile as error:
            _set_aside(run, place, error)
        if place.exists() or not run.levels:
            continue
        if digest == init:
            run.save_point(init, spec, ready.init)
        else:
            lost.add(0)
    return lost


def _asked_for(run: Run, config: RunConfig) -> list[int]:
    """The finished levels, without those of a longer run that nobody asks for now."""
    return [number for number in run.levels if number < config.levels]


def _set_aside(run: Run, place: Path, error: DamagedFile) -> None:
    """Move a damaged file aside and say so."""
    kept = move_aside(run.root, place)
    warnings.warn(f"{error}; it is now {kept}, and made again", UserWarning, stacklevel=2)


def _resume(run: Run, number: int) -> Resume:
    """Where to go on so that `number` is the next finished level."""
    previous = rewind = None
    if number > 0:
        _refuse_diverged(run, number - 1)
        previous = run.level(number - 1)
        rewind = run.point(previous.origins["rewind"])
    place = layout.resume_file(run.root, run.name)
    state = load_resume(place, number, run=run.identity, root=run.root, limit=run.size_limit)
    return Resume(previous, rewind, state)


def _refuse_diverged(run: Run, number: int) -> None:
    """Raise if a level diverged: nothing can be trained from it."""
    level = run.level(number)
    if level.status == "diverged":
        step = level.trace.column("step")[-1]
        raise LandscapeError(
            f"level {number} of run {run.name!r} diverged: its loss was not finite at step "
            f"{step:.0f}; its curve is kept; try a smaller --lr under another --name"
        )


def _forget_resume(run: Run) -> None:
    """Remove the resume file, as far as the disk lets us: one of another level is passed over."""
    with suppress(OSError):
        layout.resume_file(run.root, run.name).unlink(missing_ok=True)


class _Keeper:
    """Stores what training yields: levels, and the resume file every few seconds."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._identity = run.identity
        self._saved = time.monotonic()

    def keep(self, event: Tick | Finished) -> None:
        """Store one event; raises `LandscapeError` if the disk refuses."""
        root, name = self._run.root, self._run.name
        if isinstance(event, Finished):
            spec = event.level.mask.spec
            for part, digest in event.level.origins.items():
                self._run.save_point(digest, spec, event.origins[part])
            level = replace(event.level, run=self._identity)
            self._run.save_level(level.number, level_image(level))
            _forget_resume(self._run)
            return
        row = dict(zip(TRACE_COLUMNS, event.row, strict=True))
        append_line(
            layout.run_log(root, name),
            {"time": time.time(), "level": event.level} | {k: _plain(v) for k, v in row.items()},
            root=root,
        )
        if time.monotonic() - self._saved > RESUME_SECONDS:
            place = layout.resume_file(root, name)
            save_resume(place, event.level, event.capture(), run=self._identity, root=root)
            self._saved = time.monotonic()


def _plain(value: float) -> float | None:
    """JSON has no NaN and no infinity."""
    return value if math.isfinite(value) else None
