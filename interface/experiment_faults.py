"""The faults of an experiment file, in words: unknown keys, wrong types, each where it is."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from landscape.experiment_tables import FILE, TABLES, analysis_table, is_alternative

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
_WORDS = {
    "at": "a level, a list of levels, 'last' or 'each'",
    "density": "a number, or 'planted'",
}


def faults(record: Mapping[str, Any]) -> list[str]:
    """What is wrong with the keys and types of a file: a sentence for each, unknown keys first.

    Raises `UsageError` for an analysis that there is none of.
    """
    return _sentences(_found(record), record)


def _found(record: Mapping[str, Any]) -> list[ErrorDetails]:
    """What pydantic finds wrong, the settings of every analysis included.

    Raises `UsageError` for an analysis that there is none of.
    """
    found = _faults_of(FILE, record)
    asks = record.get("analysis")
    for number, part in enumerate(asks if isinstance(asks, list) else ()):
        if isinstance(part, Mapping) and isinstance(part.get("kind"), str):
            table, _ = analysis_table(part["kind"])
            for fault in _faults_of(table, part):
                found.append({**fault, "loc": ("analysis", number, *fault["loc"])})
    return found


def _faults_of(table: type[BaseModel], record: Any) -> list[ErrorDetails]:
    """What pydantic finds wrong with one table."""
    try:
        table.model_validate(record)
    except ValidationError as error:
        return error.errors()
    return []


def _sentences(faults: Iterable[ErrorDetails], record: Mapping[str, Any]) -> list[str]:
    """Pydantic's errors in words, unknown keys first, one for each place.

    Of a key with several types it tells what is wrong by each: what lies deepest says most.
    """
    told: dict[tuple[int | str, ...], str] = {}
    for one in sorted(faults, key=lambda fault: fault["type"] != "extra_forbidden"):
        *above, last = one["loc"]
        is_key = one["type"] == "extra_forbidden"
        parts = [part for part in above if not is_alternative(part)]
        place = (*parts, *([last] if is_key or not is_alternative(last) else []))
        told.setdefault(place, _sentence(one, place, record))
    outer = {place[:depth] for place in told for depth in range(len(place))}
    return [sentence for place, sentence in told.items() if place not in outer]


def _sentence(error: ErrorDetails, place: Sequence[int | str], record: Mapping[str, Any]) -> str:
    """One of pydantic's errors in words; `place` is where it is in the file."""
    table, model = _table(place, record)
    key = next((part for part in reversed(place) if isinstance(part, str)), "")
    if error["type"] == "extra_forbidden":
        near = difflib.get_close_matches(key, model.model_fields, n=1, cutoff=0.5)
        right = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(model.model_fields)}"
        return f"unknown key {key!r} in {table}; {right}"
    if error["type"] == "missing":
        return f"{table} has no {key!r}; give it"
    wanted = _WORDS.get(key) if error["type"] != "list_type" or key == "at" else None
    wanted = wanted or _KINDS.get(error["type"], error["msg"])
    return f"{key!r} in {table} is {error['input']!r:.80}; it must be {wanted}"


def _table(place: Sequence[int | str], record: Mapping[str, Any]) -> tuple[str, type[BaseModel]]:
    """The table of a file in which an error is, in words, and the keys it may have."""
    head, *rest = place or ("",)
    if not rest or head not in (*TABLES, "analysis"):
        return "the file", FILE
    name = str(head)
    words, whole, inside = TABLES.get(name, ("[[analysis]]", FILE, FILE))
    part = record[name]
    if len(rest) > 1 and isinstance(rest[0], int):
        part = part[rest[0]]
        words = _called(name, words, rest[0], part)
        if name == "analysis" and isinstance(part, Mapping) and isinstance(part.get("kind"), str):
            whole, inside = analysis_table(part["kind"])
        rest = rest[1:]
    if len(rest) > 1 and rest[0] in ("quick", "set"):
        return f"{rest[0]} of {words}", inside
    return words, whole


def _called(name: str, words: str, number: int, part: Any) -> str:
    """One of several tables in words: by its name, or else by its number."""
    named = None
    if isinstance(part, Mapping):
        named = part.get("name", part.get("kind") if name == "analysis" else None)
    return f"{name} {named!r}" if isinstance(named, str) else f"{words} {number + 1}"
