"""``landscape verify``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from landscape.data_store import layout
from landscape.data_store.store import Store
from landscape.options import common_options, existing_store, print_json
from landscape.printing import progress

if TYPE_CHECKING:
    from landscape.data_store.verify import Finding


@click.command(name="verify")
@click.option(
    "--repair",
    "is_repair",
    is_flag=True,
    help="Move damaged and foreign files to the folder 'damaged' of the store, remove what killed "
    "processes left, and make the catalogue anew.",
)
@common_options()
def command(is_repair: bool, store_path: Path, max_size: int, as_json: bool, quiet: bool) -> int:
    """Read every file of a store and say which are not what they should be.

    Cut, flipped, missing and foreign files are named, with what makes them right. Nothing is
    changed without --repair, which deletes nothing that a command wrote whole. Exits with 1 if
    anything is wrong, or was before the repair.
    """
    from landscape.data_store.repair import repair
    from landscape.data_store.verify import check, files

    store = _store(store_path, max_size)
    paths = files(store)
    with progress(quiet) as display:
        bar = display.add_task("verifying", total=len(paths))
        findings = check(store, paths, lambda _: display.advance(bar))
    done = repair(store, findings) if is_repair else {}
    wrong = sum(finding.is_wrong for finding in findings)
    if as_json:
        print_json({"files": len(paths), "wrong": wrong, "findings": _rows(findings, done)})
    else:
        for finding in findings:
            click.echo(_line(finding, done.get(finding.path, "")))
        click.echo(f"checked {len(paths)} files: {f'{wrong} wrong' if wrong else 'nothing wrong'}")
    return 1 if wrong else 0


def _store(path: Path, max_size: int) -> Store:
    """The store at `path`, also one whose manifest is damaged or missing."""
    root = path.expanduser()
    if os.path.lexists(layout.manifest(root)) or layout.runs(root).is_dir():
        return Store(root, max_size)
    return existing_store(path, max_size)


def _rows(findings: list[Finding], done: dict[Path, str]) -> list[dict[str, object]]:
    """Findings as plain JSON."""
    return [
        {
            "path": str(finding.path),
            "problem": finding.problem,
            "remedy": finding.remedy,
            "wrong": finding.is_wrong,
            "done": done.get(finding.path),
        }
        for finding in findings
    ]


def _line(finding: Finding, done: str) -> str:
    """One finding for a reader; a file's name may hold anything, and reaches no terminal so."""
    parts = [f"{finding.path} {finding.problem}", done, finding.remedy]
    text = "; ".join(part for part in parts if part)
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
