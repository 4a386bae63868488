"""``landscape report``."""

from __future__ import annotations

from pathlib import Path

import click

from landscape.options import common_options, existing_store, print_json


@click.command(name="report")
@click.option(
    "--run",
    "runs",
    multiple=True,
    help="A run, or several as 'imp-s*'; may be repeated. [default: all of the store]",
)
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("report.html"),
    help="The file to write. [default: report.html]",
)
@common_options()
def command(
    runs: tuple[str, ...],
    out: Path,
    store_path: Path,
    max_size: int,
    as_json: bool,
    quiet: bool,
) -> None:
    """Write what is stored as one interactive HTML page that needs no network.

    Runs and their settings, accuracy by density, barriers, sublevel sets, the seven claims,
    volumes, overlaps and tickets, each with its numbers and the command that made it. Nothing is
    computed: what is not stored is named with the command that would add it.

    Needs plotly: pip install 'landscape-workbench[report]'.
    """
    from landscape.commands.figure import matching
    from landscape.reporter import report

    store = existing_store(store_path, max_size)
    names = [name for run in runs for name in matching(store, run)] if runs else None
    done = report(store, out, names)
    if as_json:
        print_json(
            {
                "file": str(done.path), "bytes": done.size, "runs": done.runs,
                "results": done.results, "missing": list(done.missing),
            }
        )  # fmt: skip
        return
    counts = f"{_counted(done.runs, 'run')}, {_counted(done.results, 'result')}"
    click.echo(f"wrote {done.path}: {counts}, {done.size / 1e6:.1f} MB")
    if done.missing and not quiet:
        click.echo(f"not all is stored of: {', '.join(done.missing)}; the page has the commands")


def _counted(number: int, noun: str) -> str:
    """A number with its noun."""
    return f"{number} {noun}{'s' * (number != 1)}"
