"""Hostile words: addresses, names of runs, conditions, sizes."""

from __future__ import annotations

from pathlib import Path
from random import Random

from landscape.data_store.address import check_run_name, is_file_address, parse_address
from landscape.data_store.conditions import parse_condition
from landscape.data_store.store import open_store
from tests.support.fuzz import NAMES, text
from tests.support.fuzz_commands import command, kept_store
from tests.support.fuzz_watch import Target

_FIELDS = (
    "task", "model", "run", "level", "density", "kind", "created", "seed", "levels", "status",
    "points", "splits", "settings", "path", "id", "inputs", "rowid", "sqlite_version()", "",
)  # fmt: skip
_PARTS = (
    "imp", "i", "mailed", "@", "@", "0", "1", "2", "last", "first", ".", "final", "init", "rewind",
    "ticket", "baseline", "mask", "step-2", "step-", "9" * 12, "9999", "-1",
)  # fmt: skip


def address(draws: Random) -> str:
    """Something like an address."""
    how = draws.randrange(4)
    if how == 0:
        return text(draws)
    made = "".join(draws.choice(_PARTS) for _ in range(draws.randrange(1, 7)))
    if how == 1:
        at = draws.randrange(len(made) + 1)
        return made[:at] + draws.choice(NAMES) + made[at:]
    return made


def condition(draws: Random) -> str:
    """Something like a condition."""
    operator = draws.choice(("=", "!=", "<", "<=", ">", ">=", "==", "<>", " in ", " LIKE ", ""))
    value = draws.choice((text(draws), text(draws), "0.5", "digits", "1e400", "9" * 400, "True"))
    field = draws.choice((draws.choice(_FIELDS), draws.choice(_FIELDS), text(draws)))
    return field + operator + value


def size(draws: Random) -> str:
    """Something like a number of bytes."""
    number = draws.choice(
        ("1", "8", "999999999999999", "9" * 16, "0", "-1", "1.5", "१२", "1e3", "")
    )
    return (
        draws.choice(("", " ", "+"))
        + number
        + draws.choice(("", "B", "kB", "GiB", "TiB", "X", "\0"))
    )


def _read_address(given: str, scratch: Path) -> None:
    """Look an address up in a store, in every way."""
    place = parse_address(given)
    assert str(parse_address(str(place))) == str(place)
    assert check_run_name(place.run) == place.run
    assert not is_file_address(place.run)
    root = kept_store(scratch)
    store = open_store(root, create=False)
    run = store[place.run]
    assert run.name in ("imp", "mailed")
    if place.level is None:
        store[given].levels  # noqa: B018
    else:
        store.checkpoint(given)


def _show_address(given: str, scratch: Path) -> None:
    """Show what an address names; a path that is no file of the store says so."""
    command("show", "--store", str(kept_store(scratch)), "--", given)


def _ask_for(given: str, scratch: Path) -> None:
    """List what meets a condition."""
    what = "runs" if len(given) % 2 else "results"
    parse_condition(given)
    command("ls", what, "--store", str(kept_store(scratch)), "--where", given)


def _limit_to(given: str, scratch: Path) -> None:
    """List with a limit of size."""
    command("ls", "--store", str(kept_store(scratch)), "--max-size", given)


TARGETS = (
    Target("address", address, _read_address),
    Target("name", address, _show_address),
    Target("condition", condition, _ask_for),
    Target("size", size, _limit_to),
)
