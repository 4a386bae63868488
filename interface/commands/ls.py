"""``landscape ls``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from landscape.data_store.catalog import Catalog
from landscape.data_store.conditions import parse_condition
from landscape.data_store.errors import unknown
from landscape.options import common_options, existing_store, print_json
from landscape.printing import percent, print_table


@click.command(name="ls")
@click.argument("what", default="runs", metavar="[runs|results]")
@click.option(
    "--where",
    multiple=True,
    metavar="CONDITION",
    help="Only what meets it, as task=mnist or 'density<0.2'; may be repeated. A field that is "
    "not there lists those that are.",
)
@common_options()
def command(
    what: str, where: tuple[str, ...], store_path: Path, max_size: int, as_json: bool, quiet: bool
) -> None:
    """List the runs of a store, or its results."""
    if what not in ("runs", "results"):
        raise unknown("list", what, ["runs", "results"])
    catalog = Catalog(existing_store(store_path, max_size).root, max_size)
    rows, faults = catalog.listing(what, [parse_condition(text) for text in where])
    if not quiet:
        for fault in faults:
            click.echo(f"Warning: left out: {fault}; see 'landscape verify'", err=True)
    if as_json:
        print_json([{**row, **_settings(row)} for row in rows])
    elif not rows:
        click.echo(f"no {what} in {store_path} " + ("meet that" if where else "yet"))
    elif what == "runs":
        _print_runs(rows)
    else:
        _print_results(rows)


def _settings(row: dict[str, Any]) -> dict[str, Any]:
    """The settings of a result, which the catalogue keeps as text, as values."""
    return {"settings": json.loads(row["settings"])} if "settings" in row else {}


def _print_runs(rows: list[dict[str, Any]]) -> None:
    """A row per run."""
    columns = (
        "run", "task", "model", "criterion", "seed", "levels", "least kept", "its test acc.",
        "status", "begins at", "created",
    )  # fmt: skip
    print_table(
        columns,
        [
            (
                r["run"], r["task"], r["model"], r["criterion"], r["seed"],
                f"{r['levels']} of {max(r['asked'], r['levels'])}", percent(r["density"]),
                None if r["test_error"] is None else percent(1 - r["test_error"]),
                r["status"], r["parent"] or "dense", _day(r["created"]),
            )
            for r in rows
        ],
    )  # fmt: skip


def _print_results(rows: list[dict[str, Any]]) -> None:
    """A row per result."""
    columns = ("id", "kind", "checkpoints", "task", "model", "seconds", "created")
    print_table(
        columns,
        [
            (
                r["id"][:10], r["kind"], r["inputs"], r["task"], r["model"], r["seconds"],
                _day(r["created"]),
            )
            for r in rows
        ],
    )  # fmt: skip


def _day(moment: str) -> str:
    """A time to the minute."""
    return moment[:16].replace("T", " ")
