"""Planning: the runs of an experiment, each with its settings and where it begins."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields, replace
from typing import Any

from landscape.branch_settings import BranchSettings
from landscape.brancher import PLANTED, derived, numbered, stood_in
from landscape.data_store.address import check_run_name
from landscape.data_store.errors import UsageError, unknown
from landscape.data_store.records import RunConfig
from landscape.data_store.store import Run, Store
from landscape.experiment import Experiment, Offshoot, Planned, Planting
from landscape.preparation import configure
from landscape.sources import is_factory
from landscape.sweep_grid import PLANT, cells
from landscape.training.registry import CRITERIA, TASKS

_OF_MASK = tuple(setting.name for setting in fields(BranchSettings))
_OF_PLANT = ("task", "model")  # runs that begin at a planted network have these of it
_LONGEST = 64


def plan(experiment: Experiment, store: Store | None = None) -> list[Planned]:
    """All runs of an experiment, each after the run it begins at.

    Parameters
    ----------
    store
        Where the parents are, for an experiment without a run of its own; and the planted
        networks, which then say more of the settings.

    Raises `UsageError` for settings that do not fit each other, a task, model or criterion that
    there is none of, a level the parent will not have, two runs of one name, and names that are
    too long.
    """
    if experiment.grid:
        _require_grid_alone(experiment)
    planned: list[Planned] = []
    for prefix, seed in _copies(experiment):
        if experiment.grid:
            planned += _combinations(experiment, prefix or "", seed, store)
        else:
            planned += _replicate(experiment, prefix, seed, store)
    names = [planting.name for planting in plantings(experiment)]
    _require_names([*names, *(run.name for run in planned)])
    return planned


def plantings(experiment: Experiment) -> list[Planting]:
    """The planted networks of an experiment, every replicate's."""
    return [
        planting
        for prefix, seed in _copies(experiment)
        for planting in _plantings(experiment, prefix or "", seed)
    ]


def _require_names(names: Iterable[str]) -> None:
    """Raise `UsageError` for a name that no run may have, or that two would have."""
    for name, count in Counter(names).items():
        if len(name) > _LONGEST:
            raise UsageError(
                f"{name!r} is no name for a run: it has {len(name)} characters, {_LONGEST} are "
                "possible; shorten 'name' or what is added to it"
            )
        check_run_name(name)
        if count > 1:
            raise UsageError(f"two runs would be called {name!r}; give each its own name")


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
        roots[None] = Planned(prefix, _dense(settings), settings)
    for variant in experiment.variants:
        if variant.name == "each":
            raise UsageError("a variant is called 'each', which means all of them; rename it")
        settings = {**experiment.settings, **seeded, **variant.settings}
        with_name = f"variant {variant.name!r}"
        config = _in_words(with_name, _dense, settings)
        place = {"variant": variant.name}
        roots[variant.name] = Planned(f"{prefix}-{variant.name}", config, settings, place=place)
    planned = list(roots.values())
    for branch in experiment.branches:
        stem = branch.name if prefix is None else f"{prefix}-{branch.name}"
        if branch.of == "each" and roots:
            for name, root in roots.items():
                own = stem if name is None else f"{stem}-{name}"
                planned += _branches(branch, root, own, store)
        else:
            planned += _branches(branch, _parent(branch, roots, store), stem, store)
    return planned


def _require_grid_alone(experiment: Experiment) -> None:
    """Raise `UsageError` for what does not go with a grid."""
    for noun, parts in (("variant", experiment.variants), ("branch", experiment.branches)):
        if parts:
            raise UsageError(
                f"there is a grid and a {noun}, {parts[0].name!r}; a grid is all the runs there "
                "are: vary its settings, or give the others a file of their own"
            )
    if experiment.name is None:
        raise UsageError("a grid needs a name for its runs; give 'name'")
    varied = {**experiment.settings, **experiment.grid}
    for name in _OF_PLANT if experiment.plants else ():
        if name in varied:
            raise UsageError(
                f"{name} is given, but runs that begin at a planted network have its {name}; "
                "leave it out, or give it to the [[plant]]"
            )


def _combinations(
    experiment: Experiment, prefix: str, seed: int | None, store: Store | None
) -> Iterator[Planned]:
    """The runs of one replicate of a grid."""
    settings = experiment.settings if seed is None else {**experiment.settings, "seed": seed}
    if not experiment.plants:
        for cell in cells(experiment.grid, experiment.rules):
            whole = {**settings, **cell.settings}
            name = _joined(prefix, cell.name)
            config = _in_words(f"run {name!r}", _dense, whole)
            yield Planned(name, config, whole, place=cell.values)
    for planting in _plantings(experiment, prefix, seed):
        mother = _mother(planting, store)
        for cell in cells(experiment.grid, experiment.rules, planting.plant):
            whole = {"mask": "dense", **settings, **cell.settings}
            name = _joined(planting.name, cell.name)
            config = _in_words(f"run {name!r}", _begun_at(mother, store), whole)
            place = {PLANT: planting.plant, **cell.values}
            yield Planned(name, config, whole, (planting.name, 0), place)


def _plantings(experiment: Experiment, prefix: str, seed: int | None) -> Iterator[Planting]:
    """The planted networks of one replicate."""
    seeded = {} if seed is None else {"seed": seed}
    for plant in experiment.plants:
        settings = {**plant.settings, **seeded}
        yield Planting(_joined(prefix, plant.name), plant.name, plant.target, settings)


def _mother(planting: Planting, store: Store | None) -> Planned:
    """A planted network as the run it is in the store, or as it will be."""
    if store is not None and exists(store, planting.name):
        config = Run(store.root, planting.name, store.size_limit).config
    else:
        from landscape.planter import mother_config

        with_name = f"plant {planting.plant!r}"
        config = _in_words(
            with_name,
            lambda given: mother_config(planting.target, store=store, **given),
            planting.settings,
        )
    return Planned(planting.name, config, planting.settings)


def _joined(*parts: str) -> str:
    """Parts of a name in one."""
    return "-".join(filter(None, parts))


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


def _branches(
    branch: Offshoot, parent: Planned, stem: str, store: Store | None
) -> Iterator[Planned]:
    """The runs of a branch of one run, one for each level it begins at."""
    if branch.settings.get("density") == PLANTED and parent.settings:
        raise _of(branch, _nowhere_planted())
    config = _in_words(f"branch {branch.name!r}", _begun_at(parent, store), branch.settings)
    last = parent.config.levels - 1
    single = isinstance(branch.at, int) or branch.at == "last"
    for level in _levels(branch, last):
        if not 0 <= level <= last:
            raise UsageError(
                f"branch {branch.name!r} begins at level {level}, but {parent.name} has levels 0 "
                f"to {last}"
            )
        name = stem if single else f"{stem}-{level}"
        place = {**parent.place, "branch": branch.name, "begins_at": level}
        yield Planned(name, config, branch.settings, (parent.name, level), place)


def _begun_at(parent: Planned, store: Store | None) -> Callable[[Mapping[str, Any]], RunConfig]:
    """From what a run that begins at another is given to its settings.

    A density `PLANTED` is that of the truth, as far as it is planted.
    """

    def settled(settings: Mapping[str, Any]) -> RunConfig:
        BranchSettings(**{name: settings[name] for name in _OF_MASK if name in settings})
        if store is not None and exists(store, parent.name):
            run = Run(store.root, parent.name, store.size_limit)
            return _checked(derived(parent.config, numbered(run, settings)))
        return _checked(derived(parent.config, stood_in(settings)))

    return settled


def _nowhere_planted() -> UsageError:
    """The error of a density that there is no truth for."""
    return UsageError(
        f"density is {PLANTED!r}, but the run begins at no planted network; give a number, or a "
        "[[plant]] and a [grid]"
    )


def _dense(settings: Mapping[str, Any]) -> RunConfig:
    """The settings of a run that begins dense."""
    if settings.get("density") == PLANTED:
        raise _nowhere_planted()
    return _checked(configure(dict(settings)))


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
        TASKS[config.task.partition(":")[0]]  # a planted target may have options
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
