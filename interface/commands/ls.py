"""``landscape ls``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from landscape.data_store.catalog import Catalog
from landscape.data_store.errors import unknown
from landscape.options import common_options, existing_store, print_json
from landscape.printing import percent, print_table


@click.command(name="ls")
@click.argument("what", default="runs", metavar="[runs|results]")
@common_options()
def command(what: str, store_path: Path, as_json: bool, quiet: bool) -> None:  # noqa: ARG001
    """List the runs of a store, or its results."""
    if what not in ("runs", "results"):
        raise unknown("list", what, ["runs", "results"])
    rows = Catalog(existing_store(store_path).root).rows(what)
    if as_json:
        print_json(rows)
    elif not rows:
        click.echo(f"no {what} in {store_path} yet")
    elif what == "runs":
        _print_runs(rows)
    else:
        _print_results(rows)


def _print_runs(rows: list[dict[str, Any]]) -> None:
    """A row per run."""
    columns = (
        "run", "task", "model", "criterion", "seed", "levels", "least kept", "its test acc.",
        "status", "created",
    )  # fmt: skip
    print_table(
        columns,
        [
            (
                r["run"], r["task"], r["model"], r["criterion"], r["seed"],
                f"{r['levels']} of {max(r['asked'], r['levels'])}", percent(r["density"]),
                None if r["test_error"] is None else percent(1 - r["test_error"]),
                r["status"], _day(r["created"]),
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
