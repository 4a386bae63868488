"""The report of a store: what is stored of some runs, on one page; nothing is computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from landscape.data_store.files import write_over
from landscape.data_store.version import own_version
from landscape.figures.report.parts import Report
from landscape.inventory import Inventory, taken
from landscape.result_sections import SUBJECTS, answers, others
from landscape.run_sections import runs, trained
from landscape.stored import alike

if TYPE_CHECKING:
    from landscape.data_store.store import Store


@dataclass(frozen=True)
class Reported:
    """A report that was written.

    Parameters
    ----------
    path, size
        The file, and its bytes.
    runs, results
        How many are in it.
    missing
        Kinds of result that it lacks of some run.
    """

    path: Path
    size: int
    runs: int
    results: int
    missing: Sequence[str]


def report(store: Store, path: Path, names: Sequence[str] | None = None) -> Reported:
    """Write what is stored as one self-contained HTML file.

    Parameters
    ----------
    store
        What is read; nothing is computed.
    path
        The file; one that is there is replaced.
    names
        Runs; all of the store unless given. Results are those that one of these has a
        checkpoint in.

    The same store gives the same bytes.

    Raises `LandscapeError` if plotly is not installed or the file cannot be written, `UsageError`
    for a run that does not exist.
    """
    from landscape.figures.report.page import page, plotly_script

    plotly = plotly_script()
    inventory = taken(store, names)
    whole = made(inventory)
    content = page(whole, plotly)
    write_over(path, content)
    lacking = [section.title for section in whole.sections if section.missing]
    return Reported(path, len(content), len(inventory.runs), len(inventory.rows), lacking)


def made(inventory: Inventory) -> Report:
    """The report of what there is, before it is a page."""
    names = list(inventory.runs)
    shown, left = ", ".join(names[:3]), len(names) - 3
    shown += f" and {left} more run{'s' * (left > 1)}" if left > 0 else ""
    tasks = dict.fromkeys(
        f"{config.get('task')} ({config.get('model')})"
        for config in (inventory.described[name]["config"] for name in names)
    )
    facts = [
        ("Runs", str(len(names))),
        ("Results", str(len(inventory.rows))),
        ("Tasks", ", ".join(list(tasks)[:6]) + (" …" if len(tasks) > 6 else "") or "none"),
        ("Commands", "run them in the store's folder, or with --store DIR"),
        ("Written by", f"landscape {own_version()}"),
    ]
    sections = [runs(inventory), trained(inventory)]
    groups = alike(inventory.rows)
    about_results = [answers(inventory, groups, subject) for subject in SUBJECTS]
    sections += [s for s in about_results if s.charts or s.missing or s.faults]
    rest = others(groups)
    return Report(
        f"Landscape report: {shown or 'an empty store'}",
        facts,
        [*sections, rest] if rest.charts else sections,
    )
