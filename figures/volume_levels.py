"""Volumes of minima against the weights remaining, with what each estimate is worth."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from landscape.data_store.errors import unknown
from landscape.data_store.schemas.volume import STATUSES, VOLUME
from landscape.figures.axes import density_axis, known, pair_axis
from landscape.figures.panels import panels
from landscape.figures.registry import FIGURES, Figure
from landscape.figures.style import (
    COLUMN,
    OKABE_ITO,
    PAGE,
    axis_label,
    colours,
    legend_above,
    paper_figure,
    run_looks,
    say_if_empty,
)

QUANTITIES = ("volume", "accuracy")
TITLE = 42  # letters in a line of the title
WRAPPED = 54  # letters in a line of the legend
LOWEST = 0.04  # height in the axes of what has no number
_OK, _ABSENT = STATUSES.index("ok"), STATUSES.index("absent")
_OPEN = {
    "effective_sample_size_too_small": "o",
    "not_converged": "s",
    "not_quadratic": "D",
    "hessian_not_positive": "v",
}
_BOUND = "censored_rays"
_NUMBERLESS = {
    "cutoff_below_own_loss": "x",
    "not_finite": "+",
    "hessian_unusable": "1",
    "not_defined": "_",
    "nothing_moves": "|",
    "not_converged": "2",
    _BOUND: "3",
}
_OWN_COLOURS = dict(zip(("monte-carlo", "diagonal", "hessian", "laplace"), OKABE_ITO, strict=False))


def plot_volume_levels(
    ds: xr.Dataset, *, ax: Axes | None = None, quantity: str = "volume", legend: bool = True
) -> Axes:
    """Log volume per dimension of each checkpoint by estimator, or its test accuracy.

    One colour per estimator, one line style per run; bars are one standard error to each side,
    over rays and probes. A filled marker is an estimate its own diagnostics accept. An open one
    is rejected, its shape and the legend say why. An arrow upwards stands at the lower bound
    where rays are censored. What has no number is at the foot of the axes, at its density.

    Volumes in subspaces of different dimension have different units: a line along the levels is
    claim 1 of Saleem et al. (2024) as it is made, no comparison of sizes.

    Parameters
    ----------
    ds
        A volume dataset. For the accuracy it has a coordinate ``test_error`` (checkpoint,), or
        volumes on the test split.
    ax
        Where to draw; a new figure of the paper's style if None.
    quantity
        ``volume`` or ``accuracy``.
    legend
        Whether to put the legend over the axes.

    Raises `LandscapeError` if `ds` is no volume dataset, `UsageError` for an unknown quantity.
    """
    VOLUME.validate(ds)
    if quantity not in QUANTITIES:
        raise unknown("quantity", quantity, QUANTITIES)
    if ax is None:
        with paper_figure() as canvas:
            own = canvas.add_subplot()
            return plot_volume_levels(ds, ax=own, quantity=quantity, legend=legend)
    by_density = known(ds["density"])
    x = 100 * ds["density"].values if by_density else np.arange(ds.sizes["checkpoint"], dtype=float)
    for _, rows, line in _runs(ds, x, by_density):
        if quantity == "accuracy":
            accuracy = 100 * (1 - _test_error(ds)[rows])
            ax.plot(x[rows], accuracy, color="0.2", marker="o", linestyle=line)
            continue
        for estimator, colour in _estimator_colours(ds).items():
            one = ds.isel(checkpoint=rows).sel(estimator=estimator)
            _plot_estimator(ax, x[rows], one, colour, line)
    say_if_empty(ax)
    if quantity == "volume":
        _plot_without_number(ax, x, ds)
    if by_density:
        density_axis(ax, x)
    else:
        pair_axis(ax, ds["checkpoint"].values.tolist(), "checkpoint")
    label = axis_label(VOLUME.variables["log_volume_per_dimension"])
    ax.set_ylabel(label if quantity == "volume" else "test accuracy (%)")
    ax.set_title(_set_words(ds) if quantity == "volume" else "")
    if legend:
        legend_above(ax, _handles(ds, quantity))
    return ax


def _runs(
    ds: xr.Dataset, x: NDArray[np.float64], by_density: bool
) -> Iterator[tuple[str, NDArray[np.intp], Any]]:
    """Each run, its checkpoints from dense to sparse, and its line style, none between files."""
    for run, _, line in run_looks(ds):
        rows = np.flatnonzero(ds["run"].values == run)
        rows = rows[np.argsort(-x[rows], kind="stable")] if by_density else rows
        yield run, rows, line if by_density else "none"


def _plot_estimator(
    ax: Axes, x: NDArray[np.float64], one: xr.Dataset, colour: str, line: Any
) -> None:
    """The line of one estimator and run, its error bars, its markers by verdict, its bounds."""
    values, status = one["log_volume_per_dimension"].values, one["status"].values
    error = one["log_volume_per_dimension_se"].values
    ax.plot(x, values, color=colour, linestyle=line, linewidth=0.7)
    sure = np.isfinite(values) & np.isfinite(error)
    ax.vlines(x[sure], (values - error)[sure], (values + error)[sure], color=colour, linewidth=0.7)
    for code in np.unique(status[np.isfinite(values)]):
        marker = _OPEN.get(STATUSES[code], "o")
        face = colour if code == _OK else "white"
        here = np.isfinite(values) & (status == code)
        look: dict[str, Any] = {"color": colour, "linestyle": "none", "markerfacecolor": face}
        ax.plot(x[here], values[here], marker=marker, **look)
    bound = _bounds(one)
    only = np.isfinite(bound)
    arrow: dict[str, Any] = {"marker": r"$\uparrow$", "markersize": 5, "linestyle": "none"}
    ax.plot(x[only], bound[only], color=colour, **arrow)


def _bounds(ds: xr.Dataset) -> NDArray[np.float64]:
    """Lower bounds per dimension where rays are censored, NaN elsewhere."""
    bound = ds["log_volume_lower_bound"] / ds["n_parameters"]
    only = (ds["status"] == STATUSES.index(_BOUND)) & ds["log_volume_per_dimension"].isnull()
    return np.asarray(bound.where(only).values)


def _plot_without_number(ax: Axes, x: NDArray[np.float64], ds: xr.Dataset) -> None:
    """Marks at the foot of the axes where an estimator has a reason and no number."""
    transform = ax.get_xaxis_transform()
    for estimator, colour in _estimator_colours(ds).items():
        one = ds.sel(estimator=estimator)
        without = ~np.isfinite(one["log_volume_per_dimension"].values)
        without &= ~np.isfinite(_bounds(one))
        status = one["status"].values
        for code in np.unique(status[without & (status != _OK) & (status != _ABSENT)]):
            here = without & (status == code)
            ax.plot(
                x[here], np.full(here.sum(), LOWEST), transform=transform, color=colour,
                marker=_NUMBERLESS.get(STATUSES[code], "x"), markersize=4, linestyle="none",
            )  # fmt: skip


def _estimator_colours(ds: xr.Dataset) -> dict[str, str]:
    """Colour of each estimator, the same whichever are there."""
    names = ds["estimator"].values.tolist()
    spare = iter(colours(len(_OWN_COLOURS) + len(names))[len(_OWN_COLOURS) :])
    return {name: _OWN_COLOURS.get(name) or next(spare) for name in names}


def _set_words(ds: xr.Dataset) -> str:
    """What the volume is of and in which unit of length, where all checkpoints agree on it."""
    columns = [ds[name].values.tolist() for name in ("cutoff_mode", "split", "normalization")]
    if len(set(zip(*columns, strict=True))) != 1:
        return ""
    mode, split, normalization = (column[0] for column in columns)
    cutoffs = np.unique(ds["cutoff"].values)
    measure = "error" if mode == "accuracy" else "loss"
    height = f"≤ {cutoffs[0]:.3g}" if len(cutoffs) == 1 else f"up to a cutoff, {mode}"
    unit = "filter" if normalization == "filter" else "Euclidean"
    return textwrap.fill(f"{split} {measure} {height}, {unit} unit of length", TITLE)


def _test_error(ds: xr.Dataset) -> NDArray[np.float64]:
    """Test error of each checkpoint as a fraction, all NaN if the dataset does not say."""
    if "test_error" in ds.coords:
        return np.asarray(ds["test_error"].values, dtype=float)
    return np.asarray(ds["own_error"].where(ds["split"] == "test").values)


def _handles(ds: xr.Dataset, quantity: str = "volume") -> list[Line2D]:
    """Legend: estimators, runs where there are several, and each reason with its number."""
    found = []
    if quantity == "volume":
        found += [Line2D([], [], color=c, label=name) for name, c in _estimator_colours(ds).items()]
    runs = run_looks(ds)
    if len(runs) > 1:
        found += [Line2D([], [], color="0.35", linestyle=line, label=run) for run, _, line in runs]
    return found + (_reasons(ds) if quantity == "volume" else [])


def _reasons(ds: xr.Dataset) -> list[Line2D]:
    """One entry for each verdict: its marker, its words, and of how many estimates."""
    accepted = {
        name: int((ds["status"].sel(estimator=name) == _OK).sum())
        for name in ds["estimator"].values.tolist()
    }
    of = ds.sizes["checkpoint"]
    who = ", ".join(f"{name} {count}/{of}" for name, count in accepted.items() if count) or "none"
    filled = Line2D([], [], color="0.35", marker="o", linestyle="none", label=f"accepted ({who})")
    counts: dict[tuple[str, str], Counter[str]] = {}
    for estimator in ds["estimator"].values.tolist():
        one = ds.sel(estimator=estimator)
        has, bound = np.isfinite(one["log_volume_per_dimension"].values), np.isfinite(_bounds(one))
        for code, known_, bounded in zip(one["status"].values, has, bound, strict=True):
            if code not in (_OK, _ABSENT):
                kind = "open" if known_ else "bound" if bounded else "none"
                counts.setdefault((STATUSES[code], kind), Counter())[estimator] += 1
    return [filled] + [_reason(ds, name, kind, counted) for (name, kind), counted in counts.items()]


def _reason(ds: xr.Dataset, name: str, kind: str, counted: Counter[str]) -> Line2D:
    """The entry of one verdict."""
    marker = {
        "open": _OPEN.get(name, "o"),
        "bound": r"$\uparrow$",
        "none": _NUMBERLESS.get(name, "x"),
    }[kind]
    start = {"open": "rejected: ", "bound": "lower bound: ", "none": "no number: "}[kind]
    of = ds.sizes["checkpoint"]
    who = ", ".join(f"{estimator} {count}/{of}" for estimator, count in counted.items())
    look: dict[str, Any] = {"marker": marker, "linestyle": "none", "markerfacecolor": "white"}
    words = textwrap.fill(f"{start}{name.replace('_', ' ')} ({who})", WRAPPED)
    return Line2D([], [], color="0.35", label=words, **look)


def draw(ds: xr.Dataset, *, width: float | None = None) -> Canvas:
    """Volumes, and the test accuracy beside them where the dataset has it."""
    VOLUME.validate(ds)
    beside = np.isfinite(_test_error(ds)).any()
    quantities = QUANTITIES if beside else QUANTITIES[:1]
    with paper_figure(width or (PAGE if beside else COLUMN)) as canvas:
        axes = panels(canvas, len(quantities), sharey=False)
        for ax, quantity in zip(axes, quantities, strict=True):
            plot_volume_levels(ds, ax=ax, quantity=quantity, legend=False)
        legend_above(canvas, _handles(ds))
    return canvas


FIGURE = Figure(
    "volume-levels",
    FIGURES["volume-levels"].summary,
    VOLUME,
    draw,
    caption="The volume is that of the sublevel set around a solution, in the weights its mask "
    "keeps. Bars are one standard error over rays and probes. Filled markers are estimates that "
    "their own diagnostics accept, open ones are rejected for the reason the legend gives, arrows "
    "lower bounds; marks at the foot have no number. Spaces of different dimension have different "
    "units of volume.",
    shows=("log_volume_per_dimension",),
    beside=("test_error",),
)
