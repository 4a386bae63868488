"""Conditions on what is stored: ``density<0.2`` in words, ``density=slice(0, 0.2)`` in Python."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from landscape.data_store.errors import UsageError, unknown

_TEXT = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_]*)\s*(<=|>=|!=|=|<|>)\s*(.*?)\s*", re.DOTALL)
_SQL = {"=": "IS", "!=": "IS NOT", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))  # as SQLite writes it
_MOST_VALUES = 10_000  # SQLite takes 32766 in one question


@dataclass(frozen=True)
class Condition:
    """One comparison of a field with a value, or with any of several (``in``)."""

    field: str
    operator: str
    value: Any


def parse_condition(text: str) -> Condition:
    """The condition in words like ``task=mnist`` or ``density<0.2``.

    Raises `UsageError` with the form that would be right.
    """
    found = _TEXT.fullmatch(text)
    if not found or not found[3]:
        raise UsageError(
            f"{text!r} is no condition; write FIELD=VALUE or, with quotes, 'FIELD<VALUE' "
            "(=, !=, <, <=, >, >=)"
        )
    return Condition(found[1], found[2], found[3])


def conditions(where: Mapping[str, Any]) -> list[Condition]:
    """Conditions from Python: a value, a list of values, or a slice with both ends included."""
    made = []
    for name, given in where.items():
        want = given.tolist() if hasattr(given, "tolist") else given  # of NumPy and pandas
        if isinstance(want, slice):
            if want.step is not None:
                raise UsageError(f"{name} is {want}; a slice of values has no step")
            ends = ((">=", want.start), ("<=", want.stop))
            made += [Condition(name, operator, end) for operator, end in ends if end is not None]
            if want.start is None and want.stop is None:
                made.append(Condition(name, "!=", None))
        elif isinstance(want, list | tuple | set | frozenset | range):
            made.append(Condition(name, "in", list(want)))
        else:
            made.append(Condition(name, "=", want))
    return made


def clause(
    wanted: Iterable[Condition], columns: Mapping[str, str], noun: str
) -> tuple[str, list[Any]]:
    """The SQL of conditions, and its values.

    Parameters
    ----------
    columns
        SQL expression and, behind a colon, type (``TEXT`` or ``REAL``) of each field;
        no type means either.
    noun
        What has the fields, for messages.

    Raises `UsageError` naming the fields for one that is not there, and for a value that
    cannot be compared with its field.
    """
    parts, values = [], []
    for condition in wanted:
        if condition.field not in columns:
            raise unknown(f"field of {noun}", condition.field, columns)
        expression, _, kind = columns[condition.field].partition(":")
        if condition.operator == "in":
            options = [_value(condition, kind, value) for value in condition.value]
            if len(options) > _MOST_VALUES:
                raise UsageError(
                    f"{condition.field} is one of {len(options)} values; at most {_MOST_VALUES} "
                    "can be asked for: give a range"
                )
            known = [option for option in options if option is not None]
            part = f"{expression} IN ({', '.join('?' * len(known))})"
            parts.append(
                part if len(known) == len(options) else f"({part} OR {expression} IS NULL)"
            )
            values += known
        else:
            parts.append(f"{expression} {_SQL[condition.operator]} ?")
            values.append(_value(condition, kind, condition.value))
    return " AND ".join(parts) or "1", values


def _value(condition: Condition, kind: str, value: Any) -> Any:
    """A value as SQLite compares it."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    number = None if kind == "TEXT" else _number(value)
    if value is None or number is not None:
        return number
    if kind == "REAL" or (kind == "TEXT" and not isinstance(value, str)):
        noun = {"TEXT": "text", "REAL": "a number"}[kind]
        raise UsageError(f"{condition.field} is {noun}; {value!r} cannot be compared with it")
    try:
        text = value if isinstance(value, str) else _JSON.encode(value)
        text.encode()
    except (TypeError, ValueError) as error:
        raise UsageError(f"{condition.field} cannot be compared with {value!r}") from error
    return text


def _number(value: Any) -> float | int | None:
    """The number in a value, None if it is none that SQLite holds."""
    if isinstance(value, str):
        lowered = value.lower()
        if lowered in ("true", "false"):
            return int(lowered == "true")
        try:
            value = int(value) if re.fullmatch("[+-]?[0-9]{1,18}", value) else float(value)
        except ValueError:
            return None
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return float(value) if abs(value) < 2**1000 else None
    return value if isinstance(value, int | float) and value == value else None


def as_conditions(where: Mapping[str, Any] | Sequence[Condition] | None) -> list[Condition]:
    """Conditions however they were given."""
    return conditions(where) if isinstance(where, Mapping) else list(where or ())
