"""Strategies: the runs of a store that differ from a run of IMP in how they prune or retrain."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from landscape.data_store.errors import UsageError
from landscape.data_store.records import RunConfig
from landscape.data_store.store import Run, Store

IMP = "imp"
ORDER = (
    IMP, "one-shot", "finetune", "lr-rewind", "continue", "random", "largest-first", "reinit",
    "reinit-survivors", "random-ticket", "noise",
)  # fmt: skip

# What may differ between strategies; all other settings must agree.
_FREE = {
    "criterion", "retrain", "densities", "density", "levels", "nested", "keep_connected",
    "snapshots", "eval_every", "order_seed", "pruning_fraction", "pruning_fraction_conv",
    "pruning_fraction_output", "rewind_epoch",
}  # fmt: skip
_SOURCES = {"magnitude": "", "magnitude-largest": "largest-first"}
_CALLED = {"permuted-reinit": "random-ticket", "permuted-layers-reinit": "random-ticket-by-layer"}
_PERMUTED = ("permuted", "permuted-layers")


@dataclass(frozen=True)
class Solution:
    """A trained solution of a study, and the solution its mask was made of.

    Parameters
    ----------
    strategy
        One of `ORDER`, or words like it.
    level
        The level of the run that has this density.
    previous, address
        Addresses of the solution before, and of this one.
    density
        Fraction of the prunable weights kept.
    """

    strategy: str
    level: int
    previous: str
    address: str
    density: float


@dataclass
class Gathered:
    """What belongs to one run of IMP.

    Parameters
    ----------
    run
        Its name.
    densities
        By level.
    solutions
        Its own levels from 1, and those of the other strategies.
    left_out
        What was passed over, a sentence each.
    """

    run: str
    densities: dict[int, float]
    solutions: list[Solution] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def level_of(self, density: float, tolerance: float) -> int | None:
        """The level of nearly this density; None if none is within `tolerance` (relative)."""
        near = min(self.densities, key=lambda k: abs(math.log(self.densities[k] / density)))
        return near if abs(math.log(self.densities[near] / density)) <= tolerance else None

    def add(self, strategy: str, solutions: Sequence[Solution]) -> None:
        """Add the solutions of one run; where a level is taken they are a strategy of their own."""
        wanted = {solution.level for solution in solutions}
        name, copy = strategy, 2
        while any(s.strategy == name and s.level in wanted for s in self.solutions):
            name, copy = f"{strategy}-{copy}", copy + 1
        self.solutions += [replace(solution, strategy=name) for solution in solutions]


def gather(store: Store, name: str, tolerance: float) -> Gathered:
    """The solutions of a run of IMP and of all runs of its store to compare it with.

    These are the runs with its task, model, data and initial weights, and the branches that
    begin at its levels, if they agree in all settings but the strategy's. A solution is
    compared at the level whose density differs from its own by a factor of at most
    ``exp(tolerance)``.

    Raises `UsageError` if the run is no iterative magnitude pruning with rewinding, or has
    fewer than two levels.
    """
    run = store[name]
    _require_imp(run)
    levels = run.unbroken_levels
    if len(levels) < 2:
        raise UsageError(
            f"run {run.name!r} has {len(levels)} finished level{'s' * (len(levels) != 1)}; "
            "insights need at least 2"
        )
    found = Gathered(run.name, {k: run.level(k).mask.density for k in levels})
    own = [(k, f"{run.name}@{k - 1}", f"{run.name}@{k}", found.densities[k]) for k in levels[1:]]
    found.add(IMP, [Solution(IMP, *one) for one in own])
    for other in _others(store, run, found.left_out):
        branch = other.description.get("branch")
        if branch is None:
            _add_levels(found, other, tolerance)
        else:
            _add_branch(found, run, other, branch, tolerance)
    return found


def _require_imp(run: Run) -> None:
    """Raise `UsageError` unless a run begins dense and is iterative magnitude pruning."""
    description = run.description
    what = f"of strategy {_label(run.config)!r}" if not run.is_imported else "imported"
    if not run.is_imported and "branch" in description:
        what = f"a branch of {description['branch']['parent']}"
    elif not run.is_imported and _label(run.config) == IMP:
        return
    raise UsageError(
        f"run {run.name!r} is {what}; give the run of iterative magnitude pruning with rewinding "
        "that the others are compared with"
    )


def _others(store: Store, run: Run, left_out: list[str]) -> Iterator[Run]:
    """Runs of the same data and initial weights, then branches of the run, of equal settings."""
    own = run.description
    runs = [Run(store.root, name, store.size_limit) for name in store]
    for other in sorted(runs, key=lambda r: "branch" in r.description):
        name = other.name
        if name == run.name or other.is_imported:
            continue
        record = other.description
        parent, _, _ = str(record.get("branch", {}).get("parent", "")).partition("@")
        related = parent == run.name if parent else record.get("init") == own.get("init")
        mine, theirs = own.get("config", {}), record.get("config", {})
        same = all(theirs.get(k) == mine.get(k) for k in ("task", "model"))
        if not related or not same or other.data_digest != run.data_digest:
            continue
        difference = _difference(run.config, other.config, is_branch=bool(parent))
        if difference:
            left_out.append(f"{name}: {difference}")
        else:
            yield other


def _difference(own: RunConfig, other: RunConfig, *, is_branch: bool) -> str:
    """The first setting in which runs differ beyond the strategy, empty if there is none."""
    free = _FREE | ({"seed"} if is_branch else set())
    for name in (setting.name for setting in fields(RunConfig)):
        mine, theirs = getattr(own, name), getattr(other, name)
        if name not in free and mine != theirs:
            return f"its {name} is {theirs}, not {mine}"
    return ""


def _add_levels(found: Gathered, other: Run, tolerance: float) -> None:
    """Add the levels of another run, each of which prunes the one before."""
    config = other.config
    label = _label(config)
    if label == "reinit":
        label = "iterative-reinit"  # its masks are not the run's
    if config.densities == "one-shot":
        label = _once(label)
    solutions = []
    for k in other.levels:
        if k == 0 or k - 1 not in other.levels:
            continue
        density, address = other.level(k).mask.density, f"{other.name}@{k}"
        level = found.level_of(density, tolerance)
        if level:
            solutions.append(Solution(label, level, f"{other.name}@{k - 1}", address, density))
        else:
            found.left_out.append(_no_level(address, density))
    found.add(label, solutions)


def _add_branch(
    found: Gathered, run: Run, other: Run, branch: Mapping[str, Any], tolerance: float
) -> None:
    """Add the first level of a branch, and those after it if it begins dense."""
    place = str(branch["parent"])
    number = int(place.partition("@")[2])
    if number not in found.densities or run[number].digest != branch["digest"]:
        found.left_out.append(f"{other.name}: {place} is no longer what it began at")
        return
    if 0 not in other.levels:
        return
    density = other.level(0).mask.density
    if density < 1.0:
        reason = _unlike(run, other, branch)
        level = found.level_of(density, tolerance)
        begins = number if branch["mask"] == "pruned" else number - 1
        if not reason and (level is None or level <= begins):
            reason = _no_level(other.name, density)
        if reason or level is None:
            found.left_out.append(reason)
        else:
            label = _branch_label(other.config, branch, number, level)
            previous, address = f"{run.name}@{begins}", f"{other.name}@0"
            found.add(label, [Solution(label, level, previous, address, density)])
    if number == 0 and density == 1.0:
        _add_levels(found, other, tolerance)
    elif len(other.levels) > 1:
        found.left_out.append(f"{other.name}: of this branch only level 0 is compared")


def _unlike(run: Run, other: Run, branch: Mapping[str, Any]) -> str:
    """Why the first level of a branch is no strategy of its own, empty if it is one."""
    retrain = other.config.retrain
    if branch["mask"] != "preserved" or retrain.startswith("reinit"):
        return ""
    if retrain != "rewind":
        return f"{other.name}: goes on from {branch['parent']} under the same mask"
    if other.config.noise_seed == run.config.noise_seed:
        return f"{other.name}: is the same training as {branch['parent']}"
    return ""


def _branch_label(config: RunConfig, branch: Mapping[str, Any], number: int, level: int) -> str:
    """The strategy of the first level of a branch that begins at level `number`."""
    label = _label(config, branch["mask"])
    if branch["mask"] == "pruned":
        is_once = number == 0 or level > number + 1
        return _once(label) if is_once else "one-step" if label == IMP else label
    return "noise" if label == IMP else label


def _label(config: RunConfig, mask: str = "") -> str:
    """A strategy in words: where its masks come from and what it retrains from."""
    source = mask if mask in _PERMUTED else _SOURCES.get(config.criterion, config.criterion)
    if mask == "preserved":
        source = ""
    retrain = "" if config.retrain == "rewind" else config.retrain
    words = "-".join(filter(None, (source, retrain)))
    once = config.densities == "one-shot" and not mask
    words = _CALLED.get(words, words)
    if config.densities == "singleshot" and not mask:
        return f"singleshot-{words or IMP}"
    return _once(words or IMP) if once else words or IMP


def _once(label: str) -> str:
    """A strategy that prunes at once."""
    if label.startswith("one-shot"):
        return label
    return "one-shot" if label == IMP else f"one-shot-{label}"


def _no_level(address: str, density: float) -> str:
    """A sentence about a density that the run does not have."""
    return f"{address}: the run has no level of density {density:.4g}"


def rank(strategy: str) -> tuple[int, str]:
    """A key that sorts strategies: those of `ORDER` first, others by name."""
    return (ORDER.index(strategy) if strategy in ORDER else len(ORDER), strategy)


def missing_command(
    found: Gathered, strategy: str, config: RunConfig, taken: Collection[str]
) -> str:
    """The command that trains a missing strategy, at the last level if it is of one level.

    Parameters
    ----------
    found, config
        What belongs to the run, and its settings.
    strategy
        ``reinit``, ``one-shot``, ``finetune``, ``random`` or ``largest-first``.
    taken
        Names that runs of the store have.
    """
    last = max(found.densities)
    ladder: tuple[str, ...] = ("--levels", str(last + 1))
    if config.densities != "rate":
        ladder += ("--densities", config.densities, "--density", str(config.density))
    level, words = {
        "reinit": (last, ("--retrain", "reinit")),
        "one-shot": (0, ("--mask", "pruned", "--mask-density", f"{found.densities[last]:.4g}")),
        "finetune": (0, ("--retrain", "finetune", *ladder)),
        "random": (0, ("--criterion", "random", *ladder)),
        "largest-first": (0, ("--criterion", "magnitude-largest", *ladder)),
    }[strategy]
    ending = f"-{last}" if strategy in ("reinit", "one-shot") else ""
    name = wanted = f"{found.run}-{strategy}{ending}"
    copy = 2
    while name in taken:
        name, copy = f"{wanted}-{copy}", copy + 1
    return " ".join(("landscape", "branch", f"{found.run}@{level}", "--name", name, *words))
