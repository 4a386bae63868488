"""Options: sizes in words, lists, and what all commands share."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from landscape.cli import run
from landscape.data_store import layout
from landscape.data_store.errors import LandscapeError
from landscape.data_store.store import Store
from landscape.options import Bytes, CommaSeparated, common_options, existing_store, print_json


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1", 1), ("700", 700), ("1B", 1), ("2k", 2000), ("2K", 2000), ("2kB", 2000),
        ("3KiB", 3 * 1024), ("500MB", 500 * 10**6), ("8GiB", 8 * 2**30), ("8Gi", 8 * 2**30),
        ("8G", 8 * 10**9), (" 1 TB ", 10**12), ("4TiB", 2**42), ("0001", 1), (2**32, 2**32),
    ],
)  # fmt: skip
def test_a_size_in_words(text: str | int, size: int) -> None:
    assert Bytes().convert(text, None, None) == size


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "0GiB",
        "-1",
        "1.5GB",
        "GB",
        "1 PB",
        "1e9",
        "ten",
        "1GBB",
        "٣",
        "1" * 16,
        "inf",
        "nan",
    ],
)
def test_what_is_no_size_is_said(text: str) -> None:
    message = "is no size; write it in bytes or as 500MB or 8GiB"
    with pytest.raises(click.BadParameter, match=message):
        Bytes().convert(text, None, None)


def test_a_list() -> None:
    assert CommaSeparated(int).convert("1, 2,,3", None, None) == (1, 2, 3)
    assert CommaSeparated(str).convert(("a",), None, None) == ("a",)
    with pytest.raises(click.BadParameter, match="'1,x' is no list of ints; write it as 1,2,3"):
        CommaSeparated(int).convert("1,x", None, None)


def asked(*arguments: str, **environment: str) -> Result:
    """What a command with the common options receives."""

    @click.command()
    @common_options(compute=True)
    def command(**options: object) -> None:
        click.echo(options["max_size"])

    return CliRunner(env=environment).invoke(command, arguments)


def test_the_limit_is_an_option_a_variable_or_four_gib() -> None:
    assert asked().output == f"{2**32}\n"
    assert asked("--max-size", "1MiB").output == f"{2**20}\n"
    assert asked(LANDSCAPE_MAX_SIZE="2kB").output == "2000\n"
    assert asked("--max-size", "1kB", LANDSCAPE_MAX_SIZE="2kB").output == "1000\n"
    refused = asked(LANDSCAPE_MAX_SIZE="much")
    assert refused.exit_code == 2
    assert "'much' is no size" in refused.output
    assert "Largest file that is read, stored or unpacked, as 8GiB." in asked("--help").output


def test_the_limit_goes_with_the_store(small_store: Store) -> None:
    assert existing_store(small_store.root).size_limit == 2**32
    assert existing_store(small_store.root, 77) == Store(small_store.root, 77)
    with pytest.raises(LandscapeError, match="there is no store at"):
        existing_store(small_store.root / "none", 77)


def test_every_command_with_a_store_reads_under_the_limit(
    small_store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a limit below the size of the level that is asked for, each command says so."""
    level = layout.level_file(small_store.root, "imp", 1)
    limit = level.stat().st_size - 1
    place = ["--store", str(small_store.root), "--max-size", str(limit)]
    for command in (
        ["show", "imp@1"],
        ["barrier", "imp@1", "random@1", "--points", "3"],
        ["overlap", "imp@1", "random@1"],
        ["barrier", str(level), str(level), "--points", "3"],
        ["figure", "lth-accuracy", "--run", "imp", "--out", str(tmp_path)],
        ["export", "imp@1", str(tmp_path / "ticket.h5")],
    ):
        assert run([*command, *place]) == 1, command
        said = capsys.readouterr()
        assert f"more than {limit} is refused unless --max-size allows it" in said.err, command
        assert "Traceback" not in said.err


def test_json_has_no_numbers_that_are_none(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"a": [float("nan"), 1.5, (float("inf"),)], 2: {"b": -float("inf")}})
    assert capsys.readouterr().out == (
        '{\n "a": [\n  null,\n  1.5,\n  [\n   null\n  ]\n ],\n "2": {\n  "b": null\n }\n}\n'
    )
