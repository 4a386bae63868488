"""The sections of a report about runs: what they are, and how good their levels are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from landscape.command_lines import run_command
from landscape.data_store.curves import training
from landscape.data_store.errors import LandscapeError
from landscape.figures.report.parts import Chart, Column, Command, Numbers, Section, Value
from landscape.inventory import MOST_COMMANDS, Inventory, more, text, told_apart

if TYPE_CHECKING:
    import xarray as xr

    from landscape.data_store.store import Run

MOST_TASKS = 12
MOST_DRAWN = 100  # runs that a command names


def runs(inventory: Inventory) -> Section:
    """The runs, their settings, and how each is made."""
    if not inventory.runs:
        train = Command("landscape train --task digits --levels 3 --name NAME")
        return Section("runs", "Runs", "No run is stored.", missing=[train],
                       faults=inventory.faults)  # fmt: skip
    chart = Chart(
        "Runs", "", (), _run_table(inventory), [Command(line) for line in _run_commands(inventory)]
    )
    return Section(
        "runs",
        "Runs and settings",
        "Every run of this report. Accuracies are of the last finished level on the test split.",
        [chart, *_settings(inventory)],
        faults=inventory.faults,
    )


def _run_table(inventory: Inventory) -> Numbers:
    """A row per run."""
    columns = [
        *(Column(n, n) for n in ("run", "strategy", "task", "model", "seed", "levels", "asked")),
        Column("density", "least kept", True),
        Column("test_accuracy", "its test accuracy", True),
        *(Column(n, h) for n, h in (("status", "status"), ("parent", "begins at"))),
        Column("created", "created"),
    ]
    rows: list[list[Value]] = []
    for name in inventory.runs:
        row = inventory.listed.get(name, {})
        error = row.get("test_error")
        rows.append(
            [
                name, inventory.strategy(name), row.get("task"), row.get("model"),
                _number(row.get("seed")), _number(row.get("levels")), _number(row.get("asked")),
                _number(row.get("density")), None if error is None else 1 - error,
                row.get("status"), row.get("parent") or "dense",
                str(row.get("created") or "")[:10],
            ]
        )  # fmt: skip
    return Numbers(columns, rows)


def _number(value: Any) -> float | None:
    """A number of the catalogue, None where it has none."""
    return float(value) if isinstance(value, int | float) else None


def _run_commands(inventory: Inventory) -> list[str]:
    """The command of each run, the first of many."""
    lines = []
    for name in list(inventory.runs)[:MOST_COMMANDS]:
        found = inventory.described[name]
        parent = str(found.get("branch", {}).get("parent", "")).rpartition("@")[0]
        settings = inventory.described.get(parent, {}).get("config")
        lines.append(run_command(name, found, settings))
    return lines + more(len(inventory.runs) - MOST_COMMANDS)


def _settings(inventory: Inventory) -> list[Chart]:
    """Settings that all runs share, and those that differ, as tables."""
    configs = {name: inventory.described[name]["config"] for name in inventory.runs}
    names = list(dict.fromkeys(key for config in configs.values() for key in config))
    values = {key: [text(config.get(key)) for config in configs.values()] for key in names}
    shared = [key for key in names if len(set(values[key])) == 1]
    varied = [key for key in names if key not in shared]
    charts = [
        Chart(
            "Settings that all share" if len(configs) > 1 else "Settings",
            "A dash is a setting that is not used.",
            (),
            Numbers(
                [Column("setting", "setting"), Column("value", "value")],
                [[key, values[key][0]] for key in shared],
            ),
            is_folded=True,
        )
    ]
    if varied:
        charts.append(
            Chart(
                "Settings that differ",
                "",
                (),
                Numbers(
                    [Column("run", "run"), *(Column(key, key) for key in varied)],
                    [[run, *(values[key][i] for key in varied)] for i, run in enumerate(configs)],
                ),
                is_folded=True,
            )
        )
    return charts


def trained(inventory: Inventory) -> Section:
    """How good the levels are: a chart for each task and network."""
    from landscape.figures.report.training import accuracy

    groups: dict[tuple[str, str], list[Run]] = {}
    for name, run in inventory.runs.items():
        config = inventory.described[name]["config"]
        if "planted" not in inventory.described[name]:
            place = (str(config.get("task")), str(config.get("model")))
            groups.setdefault(place, []).append(run)
    charts, faults = [], []
    for (task, model), runs in list(groups.items())[:MOST_TASKS]:
        ds, wrong = _curves(runs)
        faults += wrong
        if ds is not None:
            named = ds.assign_coords(strategy=("run", _strategies(inventory, ds)))
            named["strategy"].attrs = ds["strategy"].attrs
            chart = accuracy(named, f"{task}, {model}")
            charts.append(replace(chart, commands=_figure_commands(runs)))
    says = "How good the network of every level is, against the weights that it keeps."
    if len(groups) > MOST_TASKS:
        says += f" The first {MOST_TASKS} of {len(groups)} tasks and networks are drawn."
    if not charts:
        says = "No level is finished yet."
    return Section("accuracy", "Accuracy by density", says, charts, faults=faults)


def _curves(runs: Sequence[Run]) -> tuple[xr.Dataset | None, list[str]]:
    """The training curves of the runs that can be read, and what is wrong with the others."""
    try:
        return training(runs), []
    except LandscapeError:
        pass
    good, faults = [], []
    for run in runs:
        try:
            if run.levels:
                training([run])
                good.append(run)
        except LandscapeError as error:
            faults.append(str(error))
    return (training(good) if good else None), faults


def _strategies(inventory: Inventory, ds: xr.Dataset) -> list[str]:
    """The strategy of each row, with its schedule where the runs differ in it."""
    rows = zip(ds["run"].values.tolist(), ds["strategy"].values.tolist(), strict=True)
    return told_apart([inventory.words(run, words) for run, words in rows])


def _figure_commands(runs: Sequence[Run]) -> list[Command]:
    """The command that draws the same for a paper."""
    names = [word for run in runs for word in ("--run", run.name)]
    line = Command(" ".join(["landscape figure lth-accuracy", *names]))
    return [line] if len(runs) <= MOST_DRAWN else [Command("", "How each was trained: see Runs.")]
