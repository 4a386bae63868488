"""The tables of an experiment file: the keys each may have, and their types."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model

from landscape.branch_settings import BranchSettings
from landscape.data_store.records import RunConfig
from landscape.plant_settings import PlantSettings

_STRICT = ConfigDict(extra="forbid", strict=True)
_LEAVE_OUT = Literal[False]


def _types(*classes: type[Any]) -> dict[str, Any]:
    """The types of settings as TOML has them: tuples are lists, a density may be a word."""
    made: dict[str, Any] = {}
    for cls in classes:
        hints = typing.get_type_hints(cls)
        for setting in fields(cls):
            hint = hints[setting.name]
            if typing.get_origin(hint) is tuple:
                hint = list[typing.get_args(hint)[0]]  # type: ignore[misc]
            made[setting.name] = hint
    if RunConfig in classes:
        made["density"] = float | Literal["planted"] | None
    return made


def _optional(types: Mapping[str, Any]) -> dict[str, Any]:
    """Optional fields of a pydantic model."""
    return {name: (kind | None, None) for name, kind in types.items()}


def _table(called: str, /, **keys: Any) -> type[BaseModel]:
    """A table with these keys and no others."""
    made: type[BaseModel] = create_model(called, __config__=_STRICT, **keys)
    return made


_RUN = _types(RunConfig)
_LEVELS = int | str | list[int]
_OF_PLANT = _optional(_types(PlantSettings, RunConfig))
_OF_BRANCH = _optional(_types(BranchSettings, RunConfig))
_VALUES: dict[str, Any] = {name: list[kind] for name, kind in _RUN.items()}  # type: ignore[valid-type]
_WANTED: dict[str, Any] = {"plant": str | list[str]}
_WANTED |= {name: kind | _VALUES[name] for name, kind in _RUN.items()}

TRAIN = _table("_Train", **_optional(_RUN))
_QUICK = _table("_Quick", replicates=(int | None, None), **_optional(_RUN))
_VARIANT = _table(
    "_Variant", name=(str, ...), quick=(TRAIN | _LEAVE_OUT | None, None), **_optional(_RUN)
)
_BRANCH_QUICK = _table("_BranchQuick", at=(_LEVELS | None, None), **_OF_BRANCH)
_BRANCH = _table(
    "_Branch",
    name=(str, ...),
    at=(_LEVELS, ...),
    of=(str | None, None),
    quick=(_BRANCH_QUICK | _LEAVE_OUT | None, None),
    **_OF_BRANCH,
)
_PLANT_QUICK = _table("_PlantQuick", target=(str | None, None), **_OF_PLANT)
_PLANT = _table(
    "_Plant",
    name=(str, ...),
    target=(str, ...),
    quick=(_PLANT_QUICK | _LEAVE_OUT | None, None),
    **_OF_PLANT,
)
_GRID_QUICK = _table("_GridQuick", **_optional(_VALUES))
_GRID = _table("_Grid", quick=(_GRID_QUICK | None, None), **_optional(_VALUES))
_WHEN = _table(
    "_When",
    set=(TRAIN, ...),
    quick=(TRAIN | _LEAVE_OUT | None, None),
    **_optional(_WANTED),
)
_ANALYSIS = create_model("_Analysis", __config__=ConfigDict(strict=True), kind=(str, ...))
FILE = _table(
    "_File",
    name=(str | None, None),
    replicates=(int | None, Field(None, ge=1)),
    jobs=(int | None, Field(None, ge=1)),
    train=(TRAIN | None, None),
    quick=(_QUICK | None, None),
    variant=(list[_VARIANT], []),  # type: ignore[valid-type]
    branch=(list[_BRANCH], []),  # type: ignore[valid-type]
    plant=(list[_PLANT], []),  # type: ignore[valid-type]
    grid=(_GRID | None, None),
    when=(list[_WHEN], []),  # type: ignore[valid-type]
    analysis=(list[_ANALYSIS], []),  # type: ignore[valid-type]
)
TABLES: dict[str, tuple[str, type[BaseModel], type[BaseModel]]] = {
    "train": ("[train]", TRAIN, TRAIN),
    "quick": ("[quick]", _QUICK, _QUICK),
    "variant": ("[[variant]]", _VARIANT, TRAIN),
    "branch": ("[[branch]]", _BRANCH, _BRANCH_QUICK),
    "plant": ("[[plant]]", _PLANT, _PLANT_QUICK),
    "grid": ("[grid]", _GRID, _GRID_QUICK),
    "when": ("[[when]]", _WHEN, TRAIN),
}
"""How a table is called in words, its keys, and those of the tables inside it."""

LISTS = tuple(name for name, kind in _RUN.items() if typing.get_origin(kind) is list)
"""Settings whose values are lists themselves."""

_TRIED = {"int", "str", "float", "bool", "_AnalysisQuick"}
_TRIED |= {inside.__name__ for _, _, inside in TABLES.values()}


@cache
def analysis_table(kind: str) -> tuple[type[BaseModel], type[BaseModel]]:
    """The keys of the ``[[analysis]]`` of a kind, and of its quick size.

    Raises `UsageError` with the nearest name for a kind that there is none of.
    """
    from landscape.analysis.registry import ANALYSES

    own = _optional(_types(ANALYSES.load(kind).settings))
    at = int | str | list[int | str] | None
    quick = _table("_AnalysisQuick", **own, at=(at, None))
    whole = _table(
        "_Analysis",
        **own,
        kind=(str, ...),
        name=(str | None, None),
        at=(at, None),
        quick=(quick | _LEAVE_OUT | None, None),
    )
    return whole, quick


def is_alternative(part: int | str) -> bool:
    """True for what pydantic adds to a place to say which type of several it tried."""
    return isinstance(part, str) and (part in _TRIED or part.startswith(("list[", "literal[")))
