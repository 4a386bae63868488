"""Settings: frozen dataclasses whose fields are defaults, options, cache key and record."""

from __future__ import annotations

import math
import typing
from collections.abc import Mapping
from dataclasses import asdict, field, fields
from functools import cache
from numbers import Number
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

from landscape.data_store.errors import UsageError, unknown

if TYPE_CHECKING:
    from dataclasses import Field

    class Settings(Protocol):
        """Any frozen dataclass whose fields are made by `option`."""

        __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    S = TypeVar("S", bound=Settings)
else:
    S = TypeVar("S")


def option(default: Any, text: str, **rules: Any) -> Any:
    """A field of a settings class that the command line shows as an option.

    Parameters
    ----------
    default
        Its value unless given.
    text
        One line of help.
    rules
        ``choices``, ``min``, ``max``, ``above`` (exclusive minimum): checked by `check`.
        ``each_once`` is an example of a list that has one entry or more and none twice.
        ``listed`` names the table whose names are the choices, ``words`` are given for numbers
        that are not known yet, and ``also`` are other names of the option. ``since`` and
        ``groups`` as `question` has them.
    """
    return field(default=default, metadata={"help": text, **rules})


def check(settings: Settings) -> None:
    """Raise `UsageError` for the first field of a wrong type or that breaks its rules.

    Whole numbers in float fields become floats and NumPy's numbers plain ones, so that equal
    settings are recorded equally.
    """
    hints = _hints(type(settings))
    for setting in fields(settings):
        name = setting.name
        value = _plain(getattr(settings, name), hints[name])
        object.__setattr__(settings, name, value)
        if not _fits(value, hints[name]):
            raise UsageError(f"{name} is {value!r}; it must be {_kind(hints[name])}")
        for one in value if isinstance(value, tuple) else (value,):
            if one is not None:
                _check(name, one, setting.metadata)
        example = setting.metadata.get("each_once")
        if example and (not value or len(set(value)) < len(value)):
            raise UsageError(f"{name} is {value}; name one or more, each once, as in {example}")


@cache
def _hints(kind: type) -> dict[str, Any]:
    """The types of a class's fields, which take 0.5 ms to find out."""
    return typing.get_type_hints(kind)


def _plain(value: Any, hint: Any) -> Any:
    """A number of NumPy as Python's, a whole number in the place of a float as a float."""
    kind = _arguments(hint)[0] if _arguments(hint) else hint
    if isinstance(value, tuple):
        return tuple(_plain(part, kind) for part in value)
    if isinstance(value, Number) and hasattr(value, "item"):
        value = value.item()
    return float(value) if type(value) is int and kind is float else value


def _arguments(hint: Any) -> list[Any]:
    """The types that an optional type or a tuple is made of."""
    return [part for part in typing.get_args(hint) if part not in (..., type(None))]


def _fits(value: Any, hint: Any) -> bool:
    """True if a value is of an annotated type: plain, optional, or a tuple of one type."""
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) is tuple:
        return isinstance(value, tuple) and all(_fits(part, arguments[0]) for part in value)
    if arguments:
        return any(_fits(value, option) for option in arguments)
    return type(value) is hint and not (hint is float and not math.isfinite(value))


def _kind(hint: Any) -> str:
    """A type in words."""
    words = {int: "a whole number", float: "a finite number", str: "text", bool: "true or false"}
    arguments = _arguments(hint)
    if typing.get_origin(hint) is tuple:
        return f"a list, each entry {_kind(arguments[0])}"
    return words[arguments[0] if arguments else hint]


def _check(name: str, value: Any, rule: Mapping[str, Any]) -> None:
    """Raise `UsageError` if one value breaks its rule."""
    if "choices" in rule and value not in rule["choices"]:
        raise unknown(name, value, rule["choices"])
    if "min" in rule and value < rule["min"]:
        raise UsageError(f"{name} is {value}; it must be at least {rule['min']}")
    if "max" in rule and value > rule["max"]:
        raise UsageError(f"{name} is {value}; it must be at most {rule['max']}")
    if "above" in rule and value <= rule["above"]:
        raise UsageError(f"{name} is {value}; it must be above {rule['above']}")


def to_json(settings: Settings) -> dict[str, Any]:
    """Plain JSON of all fields; `from_json` reads it back."""
    return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(settings).items()}


def question(settings: Settings) -> dict[str, Any]:
    """The fields that decide an answer, as plain JSON.

    Not those that only say how checkpoints make questions (``groups``), nor those at their
    default that came with a later minor version of the schema (``since``): what was asked before
    there were any is the same question.
    """
    whole = to_json(settings)
    for setting in fields(settings):
        value = getattr(settings, setting.name)
        is_late = "since" in setting.metadata and value == setting.default
        if is_late or setting.metadata.get("groups"):
            del whole[setting.name]
    return whole


def from_json(cls: type[S], record: Mapping[str, Any]) -> S:
    """The settings that `to_json` wrote; raises `UsageError` for one it does not know."""
    names = [setting.name for setting in fields(cls)]
    for name in record:
        if name not in names:
            raise unknown("setting", name, names)
    return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in record.items()})
