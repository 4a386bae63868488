"""Address: RUN@LEVEL.PART, or the path of a checkpoint file."""

from __future__ import annotations

import re
from dataclasses import dataclass

from landscape.data_store.errors import UsageError

SUFFIXES = (".h5", ".pt", ".pth", ".safetensors")
PARTS = ("final", "init", "rewind", "baseline", "ticket", "mask", "planted", "target")
_RUN = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?")  # of Windows, with any suffix
_PART = re.compile(r"(" + "|".join(PARTS) + r"|step-[0-9]{1,12})")


@dataclass(frozen=True)
class Address:
    """A point of a run.

    Parameters
    ----------
    run
        Name of the run, or a unique prefix of it.
    level
        Level number, ``"first"`` or ``"last"``; None means the run as a whole.
    part
        ``final``, ``init``, ``rewind``, ``baseline``, ``ticket``, ``mask``, ``planted``,
        ``target`` or ``step-K``.
    """

    run: str
    level: int | str | None = None
    part: str = "final"

    def __str__(self) -> str:
        if self.level is None:
            return self.run
        return f"{self.run}@{self.level}" + ("" if self.part == "final" else f".{self.part}")


def check_run_name(name: str) -> str:
    """`name`, or a `UsageError` if no run may be called so."""
    if not is_run_name(name):
        raise UsageError(
            f"{name!r} is no name for a run; use 1 to 64 of a-z, 0-9, '.', '_' and '-', "
            f"beginning with a letter or digit, not ending in '.' or {', '.join(SUFFIXES)}, and no "
            "device as con or nul"
        )
    return name


def is_run_name(text: str) -> bool:
    """True if a run may be called so."""
    plain = _RUN.fullmatch(text) and not text.endswith((*SUFFIXES, "."))
    return bool(plain) and not _DEVICE.fullmatch(text)


def is_file_address(text: str) -> bool:
    """True if `text` names a checkpoint file rather than a point of a run."""
    return text.lower().endswith(SUFFIXES)


def parse_address(text: str) -> Address:
    """The address in `text`; raises `UsageError` with the form that would be right.

    >>> parse_address("mnist-imp@3.rewind")
    Address(run='mnist-imp', level=3, part='rewind')
    >>> str(parse_address("mnist-imp@last"))
    'mnist-imp@last'
    """
    run, at, rest = text.partition("@")
    check_run_name(run)
    if not at:
        return Address(run)
    level_text, dot, part = rest.partition(".")
    if not (level_text in ("first", "last") or re.fullmatch(r"[0-9]{1,4}", level_text)):
        raise UsageError(
            f"{level_text!r} in {text!r} is no level; use a number, 'first' or 'last', "
            f"as in {run}@3"
        )
    if dot and not _PART.fullmatch(part):
        raise UsageError(
            f"{part!r} in {text!r} is no part of a level; use {', '.join(PARTS)} or step-K"
        )
    level = int(level_text) if level_text.isdigit() else level_text
    return Address(run, level, part if dot else "final")
