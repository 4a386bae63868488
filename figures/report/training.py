"""Accuracy by density: how good the levels of runs are."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from landscape.data_store.schemas.training import TRAINING
from landscape.figures.replicates import Replicates, replicates
from landscape.figures.report.cases import MOST_NAMES, percent, plain
from landscape.figures.report.parts import Chart, Line, Panel, drawn
from landscape.figures.report.tabulated import tabulated

if TYPE_CHECKING:
    import xarray as xr

_ACCURACY, _WEIGHTS = "test accuracy (%)", "weights remaining (%)"


def _accurate(error: Any) -> Any:
    """An error as an accuracy in percent."""
    return 100 * (1 - error)


def _same(value: Any) -> Any:
    """A value as it is."""
    return value


_VIEWS: tuple[tuple[str, str, str, Callable[[Any], Any], Callable[[float], str]], ...] = (
    ("final_test_error", "accuracy at the end", _ACCURACY, _accurate, percent),
    ("early_stop_test_error", "accuracy at early stop", _ACCURACY, _accurate, percent),
    ("final_test_loss", "loss at the end", "test loss", _same, plain),
    ("early_stop_step", "early-stop iteration", "iteration", _same, plain),
)  # fmt: skip
_COLUMNS = (
    "strategy", "seed", "density", "final_test_error", "early_stop_test_error", "final_test_loss",
    "final_train_error", "final_train_loss", "early_stop_step", "status",
)  # fmt: skip


def accuracy(ds: xr.Dataset, title: str) -> Chart:
    """How good the levels are, against the weights remaining.

    Runs of one strategy and schedule are replicates: a point is their mean, its bar runs from the
    least to the greatest. The numbers are those of every run.

    Parameters
    ----------
    ds
        A training dataset of one task and network.
    title
        Heading of the chart.

    Raises `LandscapeError` if `ds` is no training dataset.
    """
    TRAINING.validate(ds)
    groups = replicates(ds)
    shown, none = drawn([_panel(ds, groups, *view) for view in _VIEWS])
    stacked = tabulated(ds, ("run", "level"), _COLUMNS)
    place = [column.name for column in stacked.columns].index("status")
    rows = [row for row in stacked.rows if row[place] != "absent"]
    return Chart(
        title,
        "A line is the mean over the runs of a strategy that differ by seed; bars run from the "
        "least to the greatest. Every run's own numbers are in the table." + none,
        shown,
        type(stacked)(stacked.columns, rows),
    )


def _panel(
    ds: xr.Dataset,
    groups: list[Replicates],
    variable: str,
    label: str,
    title: str,
    drawn: Callable[[Any], Any],
    said: Callable[[float], str],
) -> Panel:
    """One measure of all groups."""
    names = list(dict.fromkeys(_strategy(group) for group in groups))
    lines = [
        _line(group, variable, drawn, said)
        for group in groups
        if _strategy(group) in names[:MOST_NAMES]
    ]
    note = _note(ds, variable)
    if len(names) > MOST_NAMES:
        note = f"The first {MOST_NAMES} of {len(names)} strategies are drawn. {note}"
    return Panel(label, _WEIGHTS, title, lines, density=True, note=note)


def _strategy(group: Replicates) -> str:
    """What the line of a group is called."""
    return str(group.training["strategy"].values[0])


def _line(
    group: Replicates, variable: str, drawn: Callable[[Any], Any], said: Callable[[float], str]
) -> Line:
    """Means with their extremes, from dense to sparse."""
    density = group.density
    values = np.asarray(drawn(group.training[variable].values), dtype=float)
    rows = [int(i) for i in np.argsort(-density, kind="stable") if density[i] > 0]
    known = [values[np.isfinite(values[:, row]), row] for row in rows]
    mean = [float(v.mean()) if len(v) else float("nan") for v in known]
    low = [float(v.min()) if len(v) > 1 else float("nan") for v in known]
    high = [float(v.max()) if len(v) > 1 else float("nan") for v in known]
    runs = ", ".join(group.training["run"].values.tolist()[:4])
    runs += " …" if group.training.sizes["run"] > 4 else ""
    hover = []
    for i, row in enumerate(rows):
        spread = f" ({said(low[i])} to {said(high[i])}, {len(known[i])} runs)"
        lines = [_strategy(group), runs, f"level {float(group.training['level'][row]):g}, "]
        lines[2] += f"{100 * density[row]:.4g} % of weights: {said(mean[i])}"
        hover.append("\n".join(lines) + (spread if low[i] == low[i] else ""))
    return Line(
        _strategy(group), [100 * float(density[row]) for row in rows], mean, hover, low, high
    )


def _note(ds: xr.Dataset, variable: str) -> str:
    """What is missing of a measure, in a sentence."""
    there = ds["status"].values != 2
    unknown = there & ~np.isfinite(ds[variable].values)
    diverged = int((ds["status"].values == 1).sum())
    sentences = []
    if unknown.any():
        places = [
            f"{ds['run'].values[r]}@{ds['level'].values[level]:g}"
            for r, level in np.argwhere(unknown)[:5]
        ]
        more = f" and {unknown.sum() - 5} more" if unknown.sum() > 5 else ""
        sentences.append(f"Not known, so not drawn: {', '.join(places)}{more}.")
    if diverged:
        sentences.append(f"Levels whose training diverged: {diverged}.")
    return " ".join(sentences)
