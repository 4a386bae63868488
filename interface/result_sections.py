"""The sections of a report about results: one for each subject, and what is missing of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from landscape.command_lines import analysis_command, changed
from landscape.data_store.errors import LandscapeError
from landscape.data_store.truth import begins_planted
from landscape.figures.report.parts import Chart, Column, Command, Numbers, Section, Value
from landscape.inventory import MOST_COMMANDS, Inventory, more, text, told_apart
from landscape.stored import Alike, missing

if TYPE_CHECKING:
    import xarray as xr

MOST_ALIKE = 12
_MOST_ADVICE = 8
_MOST_LINES = 7  # runs that have a line of their own; more are told apart by strategy


@dataclass(frozen=True)
class Subject:
    """A section about results.

    Parameters
    ----------
    name, title, says
        As `Section` has them.
    kind
        The kind of result.
    charts
        Module and function that make charts of a dataset.
    settings
        Settings that the results must have, and the command that adds them.
    needs
        How many finished levels a run has to have for it to be missed.
    planted
        True if it is missed only of runs that began at a planted ticket.
    """

    name: str
    title: str
    says: str
    kind: str
    charts: str
    settings: tuple[tuple[str, Any], ...] = ()
    needs: int = 2
    planted: bool = False


SUBJECTS = (
    Subject(
        "barriers", "Barriers",
        "Whether checkpoints are joined by a straight line of low loss.", "barrier", "barriers",
    ),
    Subject(
        "sublevel", "Sublevel sets",
        "Whether successive solutions lie in one sublevel set, and a path inside it.", "sublevel",
        "sublevels",
    ),
    Subject(
        "claims", "Seven claims",
        "Why iterative magnitude pruning works: seven claims as stated rules on measured numbers.",
        "insights", "claims",
    ),
    Subject(
        "volume", "Volumes", "How large minima are, and what the estimators say of themselves.",
        "volume", "volumes",
    ),
    Subject(
        "overlap", "Overlap of masks", "Which weights two masks share, beside chance.", "overlap",
        "overlaps", (("planted", False),),
    ),
    Subject(
        "truth", "Overlap with the planted ticket",
        "How much of the ticket that was hidden in the network a mask holds.", "overlap", "truths",
        (("planted", True),), 1, True,
    ),
    Subject(
        "tickets", "Tickets", "How good levels are before their training, and after it.", "tickets",
        "tickets", (), 1, True,
    ),
)  # fmt: skip


def answers(inventory: Inventory, groups: Sequence[Alike], subject: Subject) -> Section:
    """One kind of result: a chart for each way it was asked, and what is missing."""
    own = [
        group for group in groups
        if group.kind == subject.kind and _has(group.settings, subject.settings)
    ]  # fmt: skip
    places = {(group.task, group.model) for group in own}
    charts: list[Chart] = []
    faults: list[str] = []
    advice: list[Command] = []
    for group in own[:MOST_ALIKE]:
        ds, wrong = group.dataset(inventory.store, _names(inventory, group))
        faults += wrong
        if ds is None:
            continue
        try:
            drawn = _drawn(subject, group, ds)
        except (LandscapeError, LookupError, ValueError, TypeError) as error:
            faults.append(f"{subject.kind} results of an unknown shape: {error}")
            continue
        charts += _told(inventory, group, ds, drawn, several=len(places) > 1)
        if subject.kind == "insights":
            from landscape.figures.report.claims import wanted

            advice += [Command(line) for line in wanted(ds)]
    says = subject.says
    if len(own) > MOST_ALIKE:
        says += f" The first {MOST_ALIKE} of {len(own)} ways it was asked are drawn."
    if not charts:
        says += " Nothing is stored of these runs."
    missed = [*advice[:_MOST_ADVICE], *_advice(inventory, own, subject)]
    return Section(subject.name, subject.title, says, charts, missed, list(dict.fromkeys(faults)))


def _has(settings: Mapping[str, Any], wanted: Collection[tuple[str, Any]]) -> bool:
    """True if recorded settings are these; one that was not recorded is off."""
    return all(settings.get(name, False) == value for name, value in wanted)


def _names(inventory: Inventory, group: Alike) -> Callable[[str], str]:
    """What the line of a run is called: its name or, where there are many runs, its strategy."""
    runs = list(dict.fromkeys(row["run_b"] for row in group.rows if row["run_b"]))
    if len(runs) <= _MOST_LINES:
        return lambda run: run
    names = told_apart([inventory.words(run, inventory.strategy(run)) or run for run in runs])
    table = dict(zip(runs, names, strict=True))
    return lambda run: table.get(run, run)


def _drawn(subject: Subject, group: Alike, ds: xr.Dataset) -> list[Chart]:
    """The charts of a dataset."""
    from landscape.figures.report import barriers, claims, overlaps, sublevels, tickets, volumes

    if subject.charts == "tickets":
        return tickets.tickets(ds, group.task)
    functions: dict[str, Callable[[xr.Dataset], list[Chart]]] = {
        "barriers": barriers.barriers,
        "sublevels": sublevels.sublevels,
        "claims": claims.claims,
        "volumes": volumes.volumes,
        "overlaps": overlaps.overlaps,
        "truths": overlaps.truths,
    }
    return functions[subject.charts](ds)


def _told(
    inventory: Inventory, group: Alike, ds: xr.Dataset, charts: Sequence[Chart], several: bool
) -> list[Chart]:
    """Charts with the commands and settings of their results, and the task if there are several."""
    if group.kind == "insights":
        studies = [study.split(" ") for study in ds["study"].values.tolist()]
        lines = [analysis_command(group.kind, runs, group.settings) for runs in studies]
    else:
        lines = group.commands(inventory.levels)
    lines = [*lines[:MOST_COMMANDS], *more(len(lines) - MOST_COMMANDS)]
    options = changed(group.kind, group.settings)
    asked = ", ".join(f"{name} {text(value)}" for name, value in options.items())
    where = f": {group.task}, {group.model}" if several and group.kind != "tickets" else ""
    return [
        replace(
            chart,
            title=chart.title + where,
            commands=[Command(line) for line in lines],
            asked=asked,
        )
        for chart in charts
    ]


def _advice(inventory: Inventory, own: Sequence[Alike], subject: Subject) -> list[Command]:
    """Commands that would add what is not stored."""
    if subject.kind == "insights":
        return [] if own else _insights_advice(inventory)
    levels = {
        name: numbers
        for name, numbers in _own_levels(inventory).items()
        if len(numbers) >= subject.needs
        and "planted" not in inventory.described[name]
        and (not subject.planted or begins_planted(inventory.runs[name]))
    }
    settings = {name: value for name, value in subject.settings if value}
    found = missing(subject.kind, own, levels, **settings)
    commands = [
        Command(
            analysis_command(subject.kind, [run], settings),
            f"{there} of {whole} stored" if there else "",
        )
        for run, there, whole in found[:_MOST_ADVICE]
    ]
    if len(found) > _MOST_ADVICE:
        left = len(found) - _MOST_ADVICE
        commands.append(Command("", f"And {left} more run{'s' * (left > 1)} in the same way."))
    return commands


def _own_levels(inventory: Inventory) -> dict[str, Sequence[int]]:
    """Finished levels of the runs of the report."""
    return {name: inventory.levels[name] for name in inventory.runs}


def _insights_advice(inventory: Inventory) -> list[Command]:
    """The command that judges the claims, for runs of iterative magnitude pruning."""
    studies: dict[str, list[str]] = {}
    for name, numbers in _own_levels(inventory).items():
        found = inventory.described[name]
        if inventory.strategy(name) == "magnitude" and "branch" not in found and len(numbers) > 1:
            rest = {k: v for k, v in found["config"].items() if k not in ("seed", "levels")}
            studies.setdefault(repr(sorted(rest.items())), []).append(name)
    lines = [analysis_command("insights", runs, {}) for runs in studies.values()]
    return [Command(line) for line in lines[:_MOST_ADVICE]]


def others(groups: Sequence[Alike]) -> Section:
    """Results that this report does not draw."""
    drawn = {subject.kind for subject in SUBJECTS}
    rows: list[list[Value]] = []
    commands = []
    for kind in sorted({group.kind for group in groups} - drawn):
        own = [group for group in groups if group.kind == kind]
        rows.append([kind, float(len(own)), float(sum(len(group.rows) for group in own))])
        commands.append(Command(f"landscape ls results --where kind={kind}"))
    columns = [Column("kind", "kind"), Column("ways", "ways it was asked"),
               Column("results", "results")]  # fmt: skip
    charts = [Chart("Other results", "", (), Numbers(columns, rows), commands)] if rows else []
    return Section("others", "Also stored", "Results that this report does not draw.", charts)
