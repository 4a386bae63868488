"""Options: those common to all commands, and those a settings class describes."""

from __future__ import annotations

import json
import re
import types
import typing
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from landscape.data_store.files import SIZE_LIMIT
from landscape.data_store.store import Store, open_store

F = Callable[..., Any]


class CommaSeparated(click.ParamType[tuple[Any, ...]]):
    """A tuple written as ``a,b,c``."""

    def __init__(self, kind: type) -> None:
        self.kind = kind
        self.name = f"{kind.__name__},…"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[Any, ...]:
        """The parts of `value` in their type."""
        if isinstance(value, tuple):
            return value
        try:
            return tuple(self.kind(part.strip()) for part in str(value).split(",") if part.strip())
        except ValueError:
            self.fail(
                f"{value!r} is no list of {self.kind.__name__}s; write it as 1,2,3", param, ctx
            )


class NumberOrWord(click.ParamType[float | str]):
    """A number, or one of a few words that stand for one."""

    def __init__(self, words: tuple[str, ...]) -> None:
        self.words = words
        self.name = "|".join(("float", *words))

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float | str:
        """The number or the word."""
        if value in self.words:
            return str(value)
        try:
            return float(value)
        except ValueError:
            self.fail(f"{value!r} is no number and not {' or '.join(self.words)}", param, ctx)


class Bytes(click.ParamType[int]):
    """A number of bytes, as ``500MB`` or ``8GiB``."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number of bytes."""
        found = re.fullmatch(r"\s*([0-9]{1,15})\s*([kKMGT]?)(i?)B?\s*", str(value))
        if not found or int(found[1]) == 0:
            self.fail(f"{value!r} is no size; write it in bytes or as 500MB or 8GiB", param, ctx)
        power = " KMGT".index(found[2].upper() or " ")
        base = 1024 if found[3] else 1000
        return int(int(found[1]) * base**power)


def settings_options(cls: type[Any], *, defaults: str = "") -> Callable[[F], F]:
    """One option per field of a settings class; an option not given arrives as None.

    `defaults` says in the help where other defaults come from, if they do.
    """

    def decorate(function: F) -> F:
        hints = typing.get_type_hints(cls)
        for setting in reversed(fields(cls)):
            function = _option(setting, hints[setting.name], defaults)(function)
        return function

    return decorate


def _option(setting: Any, hint: Any, defaults: str) -> Callable[[F], F]:
    """The click option of one field."""
    name = "--" + setting.name.replace("_", "-")
    names = [name, *(f"--{other}" for other in setting.metadata.get("also", ())), setting.name]
    text = _help(setting, defaults)
    if hint is bool:
        return click.option(f"{name}/--no-{name[2:]}", default=None, help=text)
    if typing.get_origin(hint) is tuple:
        kind: Any = CommaSeparated(typing.get_args(hint)[0])
        return click.option(name, setting.name, type=kind, default=None, help=text)
    if typing.get_origin(hint) is types.UnionType:
        hint = next(arg for arg in typing.get_args(hint) if arg is not type(None))
    if "words" in setting.metadata:
        hint = NumberOrWord(setting.metadata["words"])
    choices = setting.metadata.get("choices")
    metavar = "|".join(choices) if choices else None
    return click.option(*names, type=hint, default=None, help=text, metavar=metavar)


def _help(setting: Any, defaults: str) -> str:
    """Help text of one field: what it is, what may be given, what it is otherwise."""
    text = str(setting.metadata["help"])
    text = text[0].upper() + text[1:]
    if listed := setting.metadata.get("listed"):
        from landscape.training import registry

        names = ", ".join(getattr(registry, listed.upper()))
        more = {"tasks": " or FILE.py:NAME", "models": ", mlp:784-300-10 or FILE.py:NAME"}
        text += f": {names}{more.get(listed, '')}"
    value = setting.default
    if value is None or value == ():
        return f"{text}."
    shown = ",".join(map(str, value)) if isinstance(value, tuple) else value
    shown = {True: "yes", False: "no"}.get(shown, shown) if isinstance(shown, bool) else shown
    return f"{text}. [default: {shown}{defaults}]"


def common_options(*, store: bool = True, compute: bool = False) -> Callable[[F], F]:
    """Options of all commands; `store` and `compute` for those that read one, or compute."""
    chosen = []
    if store:
        chosen.append(
            click.option(
                "--store",
                "store_path",
                type=click.Path(path_type=Path),
                envvar="LANDSCAPE_STORE",
                default=Path("landscape-store"),
                help="Folder of the store. [default: $LANDSCAPE_STORE or landscape-store]",
            )
        )
        chosen.append(
            click.option(
                "--max-size",
                type=Bytes(),
                envvar="LANDSCAPE_MAX_SIZE",
                default=SIZE_LIMIT,
                help="Largest file that is read, stored or unpacked, as 8GiB. [default: 4GiB]",
            )
        )
    if compute:
        chosen += [
            click.option(
                "--data",
                type=click.Path(path_type=Path),
                envvar="LANDSCAPE_DATA",
                help="Folder of data sets. [default: $LANDSCAPE_DATA or the user cache]",
            ),
            click.option("--device", default="auto", help="auto, cpu or cuda. [default: auto]"),
        ]
    chosen += [
        click.option("--json", "as_json", is_flag=True, help="Print JSON and nothing else."),
        click.option("--quiet", is_flag=True, help="Show no progress."),
    ]

    def decorate(function: F) -> F:
        for add in reversed(chosen):
            function = add(function)
        return function

    return decorate


def existing_store(path: Path, max_size: int = SIZE_LIMIT) -> Store:
    """The store at `path`; an error in words if there is none."""
    return open_store(path, create=False, size_limit=max_size)


def print_json(value: Any) -> None:
    """Plain JSON on standard output, NaN as null."""
    click.echo(json.dumps(_without_nan(value), indent=1, default=str))


def _without_nan(value: Any) -> Any:
    """`value` with every non-finite number replaced by None."""
    if isinstance(value, dict):
        return {str(k): _without_nan(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(v) for v in value]
    if hasattr(value, "tolist"):
        return _without_nan(value.tolist())
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value
