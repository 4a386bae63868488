"""The grid of a sweep: every combination of some settings, what follows, what it is called."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from landscape.data_store.errors import UsageError, unknown

PLANT = "plant"
_OTHER = re.compile(r"[^a-z0-9._]+")


@dataclass(frozen=True)
class Rule:
    """Settings that follow from what the grid takes.

    Parameters
    ----------
    where
        By setting of the grid (or ``plant``), the values with any of which the rule holds.
    settings
        Fields of `RunConfig`. They go before the grid's own values, which stay the run's name and
        its place in the results.
    """

    where: Mapping[str, tuple[Any, ...]]
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class Cell:
    """One combination.

    Parameters
    ----------
    name
        Its part of the runs' names.
    values
        What the grid takes, by setting, in the grid's order.
    settings
        These, and over them what follows by the rules, a later rule over an earlier one.
    """

    name: str
    values: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)


def cells(
    grid: Mapping[str, Sequence[Any]], rules: Sequence[Rule] = (), plant: str | None = None
) -> list[Cell]:
    """Every combination of a grid, the last setting changing fastest.

    Parameters
    ----------
    grid
        Values by setting.
    rules
        What follows from them.
    plant
        The planted network that the runs begin at, for rules that ask for it.

    Raises `UsageError` for a grid without settings or values, a value that is there twice, and a
    rule about what the grid does not vary.
    """
    _require_values(grid)
    varied = set(grid) | (set() if plant is None else {PLANT})
    for rule in rules:
        for name in rule.where:
            if name not in varied:
                raise UsageError(
                    f"a [[when]] table: {unknown('setting of the grid', name, varied)}"
                )
    made = []
    for combination in itertools.product(*grid.values()):
        values = dict(zip(grid, combination, strict=True))
        place = {**values, PLANT: plant}
        follows: dict[str, Any] = {}
        for rule in rules:
            if all(place[name] in wanted for name, wanted in rule.where.items()):
                follows |= rule.settings
        name = "-".join(filter(None, (_word(k, v) for k, v in values.items())))
        made.append(Cell(name, values, {**values, **follows}))
    return made


def _require_values(grid: Mapping[str, Sequence[Any]]) -> None:
    """Raise `UsageError` unless every setting has values, each once."""
    if not grid:
        raise UsageError("the grid is empty; give it lists of settings, as criterion = ['random']")
    for name, values in grid.items():
        if name == "seed":
            raise UsageError(
                "seed is in the grid; it is what replicates differ in: give replicates"
            )
        if not values:
            raise UsageError(f"{name} in the grid is an empty list; give at least one value")
        for place, value in enumerate(values):
            if value in values[:place]:
                raise UsageError(f"{name} in the grid has {value!r} twice; give it once")


def _word(name: str, value: Any) -> str:
    """A value's part of a run's name; empty for what is switched off.

    Text stands alone. A density has the prefix d, another number the setting's name.
    """
    words = name.replace("_", "-")
    if isinstance(value, bool):
        return _plain(words) if value else ""
    if name == "density":
        return f"d{_plain(_number(value))}"
    if isinstance(value, str):
        return _plain(value)
    if isinstance(value, list | tuple):
        return _plain(f"{words}-{'-'.join(map(_number, value)) or 'none'}")
    return f"{_plain(words)}{_number(value)}"


def _number(value: Any) -> str:
    """A value as short as it can be without being another."""
    if isinstance(value, float):
        return repr(value).removesuffix(".0").replace("+", "")
    return str(value)


def _plain(text: str) -> str:
    """Text of the characters that the name of a run may have."""
    return _OTHER.sub("-", text.lower()).strip("-")
