"""Experiment files: TOML read into an `Experiment`, every key checked, and written complete."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from landscape.analysis.registry import ANALYSES
from landscape.branch_settings import BranchSettings
from landscape.data_store.address import parse_address
from landscape.data_store.errors import LandscapeError, UsageError, unknown
from landscape.data_store.files import read_file
from landscape.data_store.records import RunConfig
from landscape.experiment import Ask, Experiment, Offshoot, Planned, Plant, Variant
from landscape.experiment_faults import faults
from landscape.experiment_tables import LISTS
from landscape.sweep_grid import PLANT, Rule

SIZE_LIMIT = 2**20


class FaultyFile(UsageError):
    """Several faults of one file, a sentence each."""

    def __init__(self, sentences: Iterable[str]) -> None:
        self.sentences = tuple(sentences)
        super().__init__("\n".join(self.sentences))


@dataclass(frozen=True)
class ExperimentFile:
    """What a file holds: the experiment, its quick size, and how many processes train it."""

    experiment: Experiment
    jobs: int | None


def read_experiment(path: Path, *, quick: bool = False) -> ExperimentFile:
    """The experiment that a TOML file states.

    Parameters
    ----------
    path
        A file of at most 1 MiB.
    quick
        Take the quick size: what the ``quick`` tables say over what the others say, without
        variants and branches of ``quick = false``, and ``-quick`` after the name.

    Raises `LandscapeError` if the file cannot be read, `UsageError`, one sentence that names the
    file, for what is no TOML, an unknown key (with the nearest one), a wrong type, and a quick
    size that is not there; for several keys that are unknown or of a wrong type `FaultyFile`, a
    line for each. Nothing in the file is executed; a task or model that is
    ``file.py:factory`` is when it is trained, as on the command line.
    """
    if not path.exists():
        raise UsageError(f"there is no experiment file {path}; give FILE.toml, or --name")
    try:
        record = tomllib.loads(read_file(path, limit=SIZE_LIMIT).decode())
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is no TOML file: it is not UTF-8 text") from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsageError(f"{path} is no TOML file: {error}") from error
    try:
        sentences = [f"{path}: {sentence}" for sentence in faults(record)]
    except LandscapeError as error:
        raise UsageError(f"{path}: {error}") from error
    if sentences:
        raise UsageError(sentences[0]) if len(sentences) == 1 else FaultyFile(sentences)
    with_quick = record.get("quick")
    if quick and with_quick is None:
        raise UsageError(f"{path}: there is no [quick] table; leave out --quick")
    try:
        return ExperimentFile(_experiment(record, quick), record.get("jobs"))
    except LandscapeError as error:
        raise UsageError(f"{path}: {error}") from error


def _experiment(record: Mapping[str, Any], quick: bool) -> Experiment:
    """The experiment of a checked record."""
    _require_runs(record)
    name = record.get("name")
    parts = {
        table: [p for p in record.get(table, ()) if not (quick and p.get("quick") is False)]
        for table in ("variant", "branch", "plant", "when", "analysis")
    }
    over = dict(record.get("quick") or {}) if quick else {}
    replicates = over.pop("replicates", record.get("replicates"))
    return Experiment(
        name=f"{name}-quick" if name and quick else name,
        settings={**record.get("train", {}), **over},
        variants=tuple(Variant(part["name"], _without(part, quick)) for part in parts["variant"]),
        branches=tuple(_offshoot(part, quick) for part in parts["branch"]),
        replicates=replicates,
        grid={
            key: tuple(values) for key, values in _without(record.get("grid", {}), quick).items()
        },
        rules=tuple(_rule(part, record, quick) for part in parts["when"]),
        plants=tuple(_plant(part, quick) for part in parts["plant"]),
        asks=_asks(parts["analysis"], quick),
    )


def _require_runs(record: Mapping[str, Any]) -> None:
    """Raise `UsageError` unless the tables of a file make runs together."""
    name, train, grid = record.get("name"), record.get("train"), record.get("grid")
    if grid is None:
        if (name is None) != (train is None):
            raise UsageError("'name' and the [train] table go together; give both or neither")
        if name is None and not record.get("branch"):
            raise UsageError("there is nothing to train; give 'name' and a [train] table")
        if name is None and (record.get("variant") or record.get("replicates")):
            raise UsageError("variants and replicates need a run; give 'name' and a [train] table")
        for table in ("plant", "when"):
            if record.get(table):
                raise UsageError(f"a [[{table}]] table is there for a [grid]; give one")
    elif name is None:
        raise UsageError("a [grid] needs a name for its runs; give 'name'")
    elif not set(grid) - {"quick"}:
        raise UsageError("the [grid] is empty; give it lists of settings, as lr = [0.1, 0.01]")


def _plant(part: Mapping[str, Any], quick: bool) -> Plant:
    """A planted network of a checked record."""
    settings = _without(part, quick)
    return Plant(part["name"], settings.pop("target"), settings)


def _rule(part: Mapping[str, Any], record: Mapping[str, Any], quick: bool) -> Rule:
    """What follows from the grid of a checked record.

    Raises `UsageError` for a rule about nothing, and about a value that nowhere is taken.
    """
    where = {}
    for key, value in part.items():
        if key in ("set", "quick"):
            continue
        several = isinstance(value, list)
        if several and key in LISTS:
            several = bool(value) and isinstance(value[0], list)
        where[key] = tuple(value) if several else (value,)
        _require_taken(key, where[key], record)
    if not where:
        raise UsageError("a [[when]] table asks for nothing; put what it sets into [train]")
    return Rule(where, {**part["set"], **((part.get("quick") or {}) if quick else {})})


def _require_taken(key: str, wanted: Sequence[Any], record: Mapping[str, Any]) -> None:
    """Raise `UsageError` for a value that neither the grid nor its quick size takes."""
    grid = record["grid"]
    taken = [*grid.get(key, ()), *(grid.get("quick") or {}).get(key, ())]
    if key == PLANT:
        taken = [plant["name"] for plant in record.get("plant", ())]
    for value in wanted:
        if taken and value not in taken:
            raise UsageError(
                f"a [[when]] table: {unknown(f'{key} of the grid', str(value), map(str, taken))}"
            )


def _asks(parts: Iterable[Mapping[str, Any]], quick: bool) -> tuple[Ask, ...]:
    """The analyses of a checked record; raises `UsageError` for one that cannot be asked."""
    asks: list[Ask] = []
    for part in parts:
        settings = _without(part, quick)
        kind, at = settings.pop("kind"), settings.pop("at", "each")
        levels = at if at == "each" else tuple(at) if isinstance(at, list) else (at,)
        ask = Ask(part.get("name", kind), kind, settings, levels)
        if ask.name in [other.name for other in asks]:
            raise UsageError(
                f"two analyses are called {ask.name!r}; give one of them another 'name'"
            )
        try:
            _require_askable(ask)
        except UsageError as error:
            raise UsageError(f"analysis {ask.name!r}: {error}") from error
        asks.append(ask)
    return tuple(asks)


def _require_askable(ask: Ask) -> None:
    """Raise `UsageError` for settings that an analysis refuses, and levels that are none."""
    for level in () if ask.at == "each" else ask.at:
        parse_address(f"run@{level}")
    if not ask.at:
        raise UsageError("'at' is an empty list; give levels, 'last' or 'each'")
    given = {k: tuple(v) if isinstance(v, list) else v for k, v in ask.settings.items()}
    ANALYSES.load(ask.kind).settings(**given)


def _offshoot(part: Mapping[str, Any], quick: bool) -> Offshoot:
    """A branch of a checked record."""
    settings = _without(part, quick)
    at = settings.pop("at")
    of = settings.pop("of", None)
    return Offshoot(part["name"], tuple(at) if isinstance(at, list) else at, of, settings)


def _without(part: Mapping[str, Any], quick: bool) -> dict[str, Any]:
    """The settings of a variant or branch, in its quick size if asked for."""
    whole = {key: value for key, value in part.items() if key not in ("name", "quick")}
    return {**whole, **(part.get("quick") or {})} if quick else whole


def complete(experiment: Experiment, planned: Iterable[Planned], jobs: int | None = None) -> str:
    """The TOML of an experiment with every setting of its runs; `read_experiment` reads it.

    The experiment has no grid: the settings of one are not those of a run.

    Parameters
    ----------
    planned
        Its runs, as `landscape.experiment.plan` gives them.
    """
    named = {run.name: run for run in planned}
    lines = [f"name = {_value(experiment.name)}"] if experiment.name else []
    for key, value in (("replicates", experiment.replicates), ("jobs", jobs)):
        lines += [] if value is None else [f"{key} = {value}"]
    if experiment.name is not None:
        first = next(iter(named.values()))
        lines += ["", "[train]", *_lines(_all(first.config))]
        for variant in experiment.variants:
            config = named[f"{first.name}-{variant.name}"].config
            settings = _all(config)
            if "seed" not in variant.settings:
                del settings["seed"]
            lines += ["", "[[variant]]", *_lines({"name": variant.name, **settings})]
    for branch in experiment.branches:
        lines += ["", "[[branch]]", *_lines(_branch(branch))]
    for ask in experiment.asks:
        lines += ["", "[[analysis]]", *_lines(_ask(ask))]
    return "\n".join(lines).lstrip("\n") + "\n"


def branch_file(name: str, parent: tuple[str, int], config: RunConfig, mask: BranchSettings) -> str:
    """The TOML of one branch of a run of the store, with every setting of both."""
    every = {setting.name: getattr(mask, setting.name) for setting in fields(mask)}
    head = {"name": name, "of": parent[0], "at": parent[1]}
    return "\n".join(["[[branch]]", *_lines({**head, **every, **_all(config)})]) + "\n"


def _branch(branch: Offshoot) -> dict[str, Any]:
    """A branch's table: it has its own settings, and the others of the run it begins at."""
    taken = {setting.name: setting.default for setting in fields(BranchSettings)}
    return {"name": branch.name, "at": branch.at, "of": branch.of, **taken, **branch.settings}


def _ask(ask: Ask) -> dict[str, Any]:
    """The table of an analysis."""
    return {"name": ask.name, "kind": ask.kind, "at": ask.at, **ask.settings}


def _all(config: RunConfig) -> dict[str, Any]:
    """All settings of a run."""
    return {setting.name: getattr(config, setting.name) for setting in fields(config)}


def _lines(table: Mapping[str, Any]) -> list[str]:
    """A table's keys, without those that have no value: TOML knows none."""
    return [f"{key} = {_value(value)}" for key, value in table.items() if value is not None]


def _value(value: Any) -> str:
    """A value as TOML writes it."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")
    return str(value).lower() if isinstance(value, bool) else repr(value)
