"""train: a run from its settings to its last level, resumed wherever it stopped."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from landscape.data_store import layout
from landscape.data_store.address import check_run_name
from landscape.data_store.errors import DamagedFile, LandscapeError, UsageError
from landscape.data_store.files import append_line, move_aside, sweep
from landscape.data_store.level_file import level_image
from landscape.data_store.lock import holding
from landscape.data_store.records import TRACE_COLUMNS, RunConfig
from landscape.data_store.resume_file import load_resume, save_resume
from landscape.data_store.store import Run, Store
from landscape.preparation import (
    Plan,
    Prepared,
    configure,
    describe,
    prepare,
    recorded_machine,
    require_same,
    require_same_machine,
    require_threads,
    resolved,
    task_of,
)
from landscape.provenance import provenance, using_threads
from landscape.sources import device_named
from landscape.training.imp import Finished, Resume, imp
from landscape.training.loop import Tick
from landscape.training.registry import CRITERIA

RESUME_SECONDS = 5.0

Listener = Callable[[Tick | Finished], None]


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
    return carry_out(
        Plan(configure(settings)),
        store=store,
        name=name,
        data=data,
        device=device,
        threads=threads,
        listener=listener,
    )


def carry_out(
    plan: Plan,
    *,
    store: Store,
    name: str,
    data: str | Path | None,
    device: str,
    threads: int | None,
    listener: Listener | None,
) -> Run:
    """Train what is planned, or go on with it; parameters and errors as `train`."""
    CRITERIA[plan.config.criterion]
    check_run_name(name)
    place = device_named(device)
    require_threads(threads)
    run = Run(store.root, name, store.size_limit)
    config = plan.config
    if run.exists and "planted" in run.description:
        raise UsageError(
            f"run {name!r} is a planted network; give another --name, and --from {name} to begin "
            "at it"
        )
    if run.exists and config.rewind_epoch is None:
        require_same(run, plan)
    task = task_of(config, Path(data) if data else None)
    plan = resolved(plan, task)
    with holding(run):
        recorded = recorded_machine(run) if run.exists else provenance(place)
        count = int(recorded["threads"]) if run.exists or threads is None else threads
        with using_threads(count):
            ready = prepare(plan, task, place)
            if run.exists:
                require_same(run, plan)
                require_same_machine(run, ready, recorded)
                run.extend(plan.config.levels)
            else:
                recorded = provenance(place)
                store.create(name, describe(plan, ready, task, recorded))
            _train_missing(run, plan.config, ready, listener)
    return run


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
