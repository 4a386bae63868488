"""Experiment: a run, its variants and its branches as one file states them, and its plan."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from landscape.branch_settings import BranchSettings
from landscape.brancher import derived
from landscape.data_store.address import check_run_name
from landscape.data_store.errors import UsageError, unknown
from landscape.data_store.records import RunConfig
from landscape.data_store.store import Run, Store
from landscape.preparation import configure
from landscape.sources import is_factory
from landscape.training.registry import CRITERIA, TASKS

_OF_MASK = tuple(setting.name for setting in fields(BranchSettings))


@dataclass(frozen=True)
class Variant:
    """A run of its own, with some settings changed."""

    name: str
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class Offshoot:
    """Runs that begin at levels of another: a control or a transfer.

    Parameters
    ----------
    name
        Its part of the runs' names.
    at
        A level, ``"last"``, ``"each"`` or a list of levels.
    of
        The variant it begins at, None for the experiment's own run, ``"each"`` for that and every
        variant, whose name is then part of the runs' names. Without a run of its own, a run of the
        store.
    settings
        Fields of `BranchSettings` and `RunConfig`.
    """

    name: str
    at: int | str | tuple[int, ...]
    of: str | None
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class Experiment:
    """What an experiment file states, or the options of one command.

    Parameters
    ----------
    name
        Of the run, and the beginning of every other run's name; None if it has no run of its own
        but branches of runs that the store has.
    settings
        Fields of `RunConfig` that are not the model's protocol.
    variants, branches
        What belongs to it.
    replicates
        How many times all of it is trained, from seeds one apart; None for once, without a seed
        in the names.
    """

    name: str | None
    settings: Mapping[str, Any] = field(default_factory=dict)
    variants: tuple[Variant, ...] = ()
    branches: tuple[Offshoot, ...] = ()
    replicates: int | None = None


@dataclass(frozen=True)
class Planned:
    """One run of an experiment.

    Parameters
    ----------
    name
        Of the run.
    config
        Its settings, as far as they are known before data are read.
    settings
        What `landscape.train` or `landscape.branch` is given.
    parent
        Run and level it begins at, None for a run that begins dense.
    """

    name: str
    config: RunConfig
    settings: Mapping[str, Any]
    parent: tuple[str, int] | None = None


def plan(experiment: Experiment, store: Store | None = None) -> list[Planned]:
    """All runs of an experiment, each after the run it begins at.

    Parameters
    ----------
    store
        Where the parents are, for an experiment without a run of its own.

    Raises `UsageError` for settings that do not fit each other, a task, model or criterion that
    there is none of, a level the parent will not have, and two runs of one name.
    """
    planned: list[Planned] = []
    for prefix, seed in _copies(experiment):
        planned += _replicate(experiment, prefix, seed, store)
    names = [run.name for run in planned]
    for name in names:
        check_run_name(name)
        if names.count(name) > 1:
            raise UsageError(f"two runs would be called {name!r}; give each its own name")
    return planned


def _copies(experiment: Experiment) -> Iterator[tuple[str | None, int | None]]:
    """Name and seed of every replicate's own run."""
    if experiment.name is None or experiment.replicates is None:
        yield experiment.name, None
        return
    first = int(experiment.settings.get("seed") or 0)
    for seed in range(first, first + experiment.replicates):
        yield f"{experiment.name}-s{seed}", seed


def _replicate(
    experiment: Experiment, prefix: str | None, seed: int | None, store: Store | None
) -> list[Planned]:
    """The runs of one replicate."""
    seeded = {} if seed is None else {"seed": seed}
    roots: dict[str | None, Planned] = {}
    if prefix is not None:
        settings = {**experiment.settings, **seeded}
        roots[None] = Planned(prefix, _checked(configure(settings)), settings)
    for variant in experiment.variants:
        if variant.name == "each":
            raise UsageError("a variant is called 'each', which means all of them; rename it")
        settings = {**experiment.settings, **seeded, **variant.settings}
        with_name = f"variant {variant.name!r}"
        config = _in_words(with_name, lambda given: _checked(configure(given)), settings)
        roots[variant.name] = Planned(f"{prefix}-{variant.name}", config, settings)
    planned = list(roots.values())
    for branch in experiment.branches:
        stem = branch.name if prefix is None else f"{prefix}-{branch.name}"
        if branch.of == "each" and roots:
            for name, root in roots.items():
                planned += _branches(branch, root, stem if name is None else f"{stem}-{name}")
        else:
            planned += _branches(branch, _parent(branch, roots, store), stem)
    return planned


def _parent(branch: Offshoot, roots: Mapping[str | None, Planned], store: Store | None) -> Planned:
    """The run that a branch begins at."""
    if roots:
        if branch.of not in roots:
            raise _of(branch, unknown("variant", str(branch.of), [str(n) for n in roots if n]))
        return roots[branch.of]
    if branch.of is None or store is None:
        raise UsageError(
            f"branch {branch.name!r} begins at no run; give 'of', a run of the store, or a name "
            "and a [train] table"
        )
    run = store[branch.of]
    levels = replace(run.config, levels=len(run.unbroken_levels)) if run.levels else run.config
    return Planned(run.name, levels, {})


def _branches(branch: Offshoot, parent: Planned, stem: str) -> Iterator[Planned]:
    """The runs of a branch of one run, one for each level it begins at."""
    mask = {name: branch.settings[name] for name in _OF_MASK if name in branch.settings}

    def settled(settings: Mapping[str, Any]) -> RunConfig:
        BranchSettings(**mask)
        return _checked(derived(parent.config, settings))

    config = _in_words(f"branch {branch.name!r}", settled, branch.settings)
    last = parent.config.levels - 1
    single = isinstance(branch.at, int) or branch.at == "last"
    for level in _levels(branch, last):
        if not 0 <= level <= last:
            raise UsageError(
                f"branch {branch.name!r} begins at level {level}, but {parent.name} has levels 0 "
                f"to {last}"
            )
        name = stem if single else f"{stem}-{level}"
        yield Planned(name, config, branch.settings, (parent.name, level))


def _levels(branch: Offshoot, last: int) -> tuple[int, ...]:
    """The levels a branch begins at."""
    if isinstance(branch.at, tuple):
        return branch.at
    if isinstance(branch.at, int):
        return (branch.at,)
    if branch.at not in ("last", "each"):
        raise _of(branch, unknown("level 'at'", branch.at, ("last", "each", "a number")))
    return (last,) if branch.at == "last" else tuple(range(last + 1))


def _checked(config: RunConfig) -> RunConfig:
    """The settings, if the tables have their task and criterion."""
    CRITERIA[config.criterion]
    if not is_factory(config.task):
        TASKS[config.task]
    return config


def _in_words(what: str, make: Any, settings: Mapping[str, Any]) -> RunConfig:
    """The settings of a part of an experiment; its errors name the part."""
    try:
        made: RunConfig = make(settings)
    except UsageError as error:
        raise UsageError(f"{what}: {error}") from error
    return made


def _of(branch: Offshoot, error: UsageError) -> UsageError:
    """An error that names its branch."""
    return UsageError(f"branch {branch.name!r}: {error}")


def exists(store: Store, name: str) -> bool:
    """True if the store has a run of exactly this name."""
    return Run(store.root, name, store.size_limit).exists
