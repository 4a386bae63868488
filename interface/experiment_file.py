"""Experiment files: TOML read into an `Experiment`, every key checked, and written complete."""

from __future__ import annotations

import difflib
import json
import tomllib
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic_core import ErrorDetails

from landscape.branch_settings import BranchSettings
from landscape.data_store.errors import LandscapeError, UsageError
from landscape.data_store.files import read_file
from landscape.data_store.records import RunConfig
from landscape.experiment import Experiment, Offshoot, Planned, Variant

SIZE_LIMIT = 2**20
_STRICT = ConfigDict(extra="forbid", strict=True)


def _settings(*classes: type[Any]) -> dict[str, Any]:
    """Optional fields of a pydantic model: those of settings classes, tuples as lists."""
    made: dict[str, Any] = {}
    for cls in classes:
        hints = typing.get_type_hints(cls)
        for setting in fields(cls):
            hint = hints[setting.name]
            if typing.get_origin(hint) is tuple:
                hint = list[typing.get_args(hint)[0]]  # type: ignore[misc]
            made[setting.name] = (hint | None, None)
    return made


_Train = create_model("_Train", __config__=_STRICT, **_settings(RunConfig))
_Quick = create_model(
    "_Quick", __config__=_STRICT, replicates=(int | None, None), **_settings(RunConfig)
)
_Variant = create_model(
    "_Variant",
    __config__=_STRICT,
    name=(str, ...),
    quick=(_Train | Literal[False] | None, None),
    **_settings(RunConfig),
)
_At = int | str | list[int]
_BranchQuick = create_model(
    "_BranchQuick",
    __config__=_STRICT,
    at=(_At | None, None),
    **_settings(BranchSettings, RunConfig),
)
_Branch = create_model(
    "_Branch",
    __config__=_STRICT,
    name=(str, ...),
    at=(_At, ...),
    of=(str | None, None),
    quick=(_BranchQuick | Literal[False] | None, None),
    **_settings(BranchSettings, RunConfig),
)
_File = create_model(
    "_File",
    __config__=_STRICT,
    name=(str | None, None),
    replicates=(int | None, Field(None, ge=1)),
    jobs=(int | None, Field(None, ge=1)),
    train=(_Train | None, None),
    quick=(_Quick | None, None),
    variant=(list[_Variant], []),  # type: ignore[valid-type]
    branch=(list[_Branch], []),  # type: ignore[valid-type]
)
_MODELS: dict[str, tuple[str, type[BaseModel]]] = {
    "train": ("[train]", _Train),
    "quick": ("[quick]", _Quick),
    "variant": ("[[variant]]", _Variant),
    "branch": ("[[branch]]", _Branch),
}
_ALTERNATIVES = ("int", "str", "list[int]", "_Train", "_BranchQuick", "literal[False]")
_KINDS = {
    "int_type": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "string_type": "text",
    "bool_type": "true or false",
    "list_type": "a list",
    "model_type": "a table",
    "model_attributes_type": "a table",
    "greater_than_equal": "at least 1",
}


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
        _File.model_validate(record)
    except ValidationError as error:
        sentences = [f"{path}: {sentence}" for sentence in _sentences(error, record)]
        kind = UsageError(sentences[0]) if len(sentences) == 1 else FaultyFile(sentences)
        raise kind from error
    with_quick = record.get("quick")
    if quick and with_quick is None:
        raise UsageError(f"{path}: there is no [quick] table; leave out --quick")
    try:
        return ExperimentFile(_experiment(record, quick), record.get("jobs"))
    except LandscapeError as error:
        raise UsageError(f"{path}: {error}") from error


def _experiment(record: Mapping[str, Any], quick: bool) -> Experiment:
    """The experiment of a checked record."""
    name, train = record.get("name"), record.get("train")
    if (name is None) != (train is None):
        raise UsageError("'name' and the [train] table go together; give both or neither")
    if name is None and not record.get("branch"):
        raise UsageError("there is nothing to train; give 'name' and a [train] table")
    if name is None and (record.get("variant") or record.get("replicates")):
        raise UsageError("variants and replicates need a run; give 'name' and a [train] table")
    parts = {
        table: [p for p in record.get(table, ()) if not (quick and p.get("quick") is False)]
        for table in ("variant", "branch")
    }
    over = dict(record.get("quick") or {}) if quick else {}
    replicates = over.pop("replicates", record.get("replicates"))
    return Experiment(
        name=f"{name}-quick" if name and quick else name,
        settings={**(train or {}), **over},
        variants=tuple(Variant(part["name"], _without(part, quick)) for part in parts["variant"]),
        branches=tuple(_offshoot(part, quick) for part in parts["branch"]),
        replicates=replicates,
    )


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


def _sentences(error: ValidationError, record: Mapping[str, Any]) -> list[str]:
    """Pydantic's errors in words, unknown keys first, one for each place.

    Of a key with several types it tells what is wrong by each: what lies deepest says most.
    """
    told: dict[tuple[int | str, ...], str] = {}
    for one in sorted(error.errors(), key=lambda e: e["type"] != "extra_forbidden"):
        place = tuple(part for part in one["loc"] if not _is_alternative(part))
        told.setdefault(place, _sentence(one, list(place), record))
    above = {place[:depth] for place in told for depth in range(len(place))}
    return [sentence for place, sentence in told.items() if place not in above]


def _sentence(error: ErrorDetails, place: list[int | str], record: Mapping[str, Any]) -> str:
    """One of pydantic's errors in words; `place` is where it is in the file."""
    table, model = _table(place, record)
    key = next((part for part in reversed(place) if isinstance(part, str)), "")
    if error["type"] == "extra_forbidden":
        near = difflib.get_close_matches(key, model.model_fields, n=1, cutoff=0.5)
        right = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(model.model_fields)}"
        return f"unknown key {key!r} in {table}; {right}"
    if error["type"] == "missing":
        return f"{table} has no {key!r}; give it"
    wanted = "a level, a list of levels, 'last' or 'each'" if key == "at" else None
    wanted = wanted or _KINDS.get(error["type"], error["msg"])
    return f"{key!r} in {table} is {error['input']!r:.80}; it must be {wanted}"


def _is_alternative(part: int | str) -> bool:
    """True for what pydantic adds to a place to say which type of several it tried."""
    return isinstance(part, str) and part in _ALTERNATIVES


def _table(place: list[int | str], record: Mapping[str, Any]) -> tuple[str, type[BaseModel]]:
    """The table of a file in which an error is, in words, and the keys it may have."""
    if len(place) < 2 or place[0] not in _MODELS:
        return "the file", _File
    words, model = _MODELS[str(place[0])]
    if len(place) > 2 and isinstance(place[1], int):
        part = record[str(place[0])][place[1]]
        named = part.get("name") if isinstance(part, Mapping) else None
        words = f"{place[0]} {named!r}" if isinstance(named, str) else f"{words} {place[1] + 1}"
        if place[2] == "quick" and len(place) > 3:
            quick = _BranchQuick if model is _Branch else _Train
            return f"quick of {words}", quick
    return words, model


def complete(experiment: Experiment, planned: Iterable[Planned], jobs: int | None = None) -> str:
    """The TOML of an experiment with every setting of its runs; `read_experiment` reads it.

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
