"""What the figures of seeking share: how good the tickets of every pruner are, by density."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from landscape.data_store.errors import LandscapeError, unknown
from landscape.data_store.schemas.tickets import RESCALINGS, TICKET_KINDS, TICKETS
from landscape.figures.axes import density_axis
from landscape.figures.pruners import lines, looks, reduced, replicates, steps, tasks
from landscape.figures.registry import FIGURES, Figure
from landscape.figures.style import PAGE, abreast, legend_above, paper_figure, say_if_empty

Numbers = NDArray[np.float64]
Looks = Mapping[str, Mapping[str, Any]]

PANEL = 1.25
ONCE, IN_TURN = ("singleshot",), ("multishot", "exponential")
_TITLES = {"none": "", "planted": " (÷ planted scale)", "least-squares": " (least squares)"}
_GREY: dict[str, Any] = {"color": "0.35", "linewidth": 0.9}
_MARKS: dict[str, dict[str, Any]] = {
    "least to greatest": {
        "color": "0.35", "alpha": 0.3, "linewidth": 6.0, "solid_capstyle": "butt",
    },
    "± 1 standard deviation": {
        "color": "0.35", "alpha": 0.3, "linewidth": 6.0, "solid_capstyle": "butt",
    },
    "not rescaled": {
        "color": "0.35", "linestyle": "none", "marker": "o", "markerfacecolor": "white",
    },
    "planted ticket": {**_GREY, "linestyle": "--"},
    "its density": {"color": "0.8", "linewidth": 3.0},
    "floor": {**_GREY, "linestyle": ":"},
}  # fmt: skip
_RANGE, _STD, _OPEN, _TRUTH, _DENSITY, _FLOOR = _MARKS
_BANDS = {"range": _RANGE, "std": _STD}


def plot_planted(
    ds: xr.Dataset,
    ticket: str = "weak",
    *,
    ax: Axes | None = None,
    rescale: str | None = None,
    split: str | None = None,
    spread: str = "range",
    legend: bool = True,
) -> Axes:
    """How good the tickets of every criterion are, against the weights remaining.

    Accuracy in percent of classes; the mean squared error, on a logarithmic axis, of a
    regression. What has no place on logarithmic axes, as the density of a network without
    weights, is left out. Checkpoints of one criterion whose densities differ by 2 % at most are
    replicates: the line is their mean, the band is their spread. Where a rescaled value is not
    known the outputs are taken as they are, and the marker is open.

    Dashed is the planted ticket, its outputs divided by the planted scale (as they are where that
    is unknown), dotted the floor: one answer to everything. The vertical line is the density of
    the planted ticket. Each is a mean over the checkpoints.

    Parameters
    ----------
    ds
        A tickets dataset of one task. The coordinate ``criterion`` over ``checkpoint`` tells the
        lines apart, with further ones of a sweep (``scope``, ``score_annealed`` …) that vary
        within it; without it there is one for each run.
    ticket
        ``strong`` or ``weak``.
    ax
        Where to draw; a new figure of the paper's style if None.
    rescale
        One of ``none``, ``planted``, ``least-squares``. Unless given, as in the paper: regressions
        are rescaled by least squares, classes not at all. A strong ticket that holds the planted
        one is good only divided by the ``planted`` scale.
    split
        Which split; ``test`` unless given, or the last where there is none.
    spread
        ``range``, from the least to the greatest, or ``std``, one standard deviation.
    legend
        Whether to put a legend over the figure.

    Raises `LandscapeError` if `ds` is no tickets dataset, `UsageError` for another name.
    """
    TICKETS.validate(ds)
    if ax is None:
        with paper_figure() as canvas:
            own = canvas.add_subplot()
            options: dict[str, Any] = {"rescale": rescale, "split": split, "spread": spread}
            return plot_planted(ds, ticket, ax=own, legend=legend, **options)
    names = lines(ds, "checkpoint", TICKETS.coordinates)
    drawn = _plot_panel(ax, ds, names, looks(names), (ticket, rescale, split), spread)
    if legend:
        figure = ax.get_figure(root=True)
        assert figure is not None
        legend_above(figure, _handles(looks(names), drawn))
    return ax


def panels(ds: xr.Dataset, *, width: float | None = None, spread: str = "range") -> Canvas:
    """Strong tickets over weak ones, a column for each task, as wide as a page.

    The coordinate ``target`` over ``checkpoint``, or else ``plant``, names the tasks; without
    either there is one. Tasks for which `width` inches are too few stand below the others.
    """
    TICKETS.validate(ds)
    names, parts = lines(ds, "checkpoint", TICKETS.coordinates), tasks(ds, "checkpoint")
    shown, drawn = looks(names), set[str]()
    width = width or PAGE * min(1.0, (1 + len(parts)) / 4)
    beside, kinds = abreast(width, len(parts)), len(TICKET_KINDS)
    below = -(-len(parts) // beside)
    with paper_figure(width, PANEL) as canvas:
        canvas.set_figheight(kinds * below * (PANEL + 0.6))
        axes = canvas.subplots(kinds * below, beside, squeeze=False)
        columns = axes.reshape(below, kinds, beside).swapaxes(1, 2).reshape(-1, kinds)
        for spare in columns[len(parts) :].flat:
            spare.remove()
        for column, (task, rows) in zip(columns, parts.items(), strict=False):
            for ax, ticket in zip(column, TICKET_KINDS, strict=True):
                part = ds.isel(checkpoint=rows)
                drawn |= _plot_panel(ax, part, names[rows], shown, (ticket, None, None), spread)
                if task:
                    ax.set_title(f"{task}: {ax.get_title(loc='left')}", loc="left")
        legend_above(canvas, _handles(shown, drawn))
    return canvas


def of_schedule(ds: xr.Dataset, names: Sequence[str]) -> xr.Dataset:
    """The checkpoints pruned on one of these schedules; all where ``densities`` is not known.

    Of a sweep, which is told by ``target_density``, these are the last level of each run.

    Raises `LandscapeError` if there is none, or `ds` is no tickets dataset.
    """
    TICKETS.validate(ds)
    rows = np.arange(ds.sizes["checkpoint"])
    if "target_density" in ds.coords:
        last = ds["level"].groupby(ds["run"].drop_vars(ds["run"].coords)).max()
        rows = rows[ds["level"].values == last.sel(run=ds["run"].values).values]
    if "densities" in ds.coords:
        schedules = ds["densities"].values.astype(np.str_)
        rows = rows[np.isin(schedules[rows], names)]
        if not len(rows):
            raise LandscapeError(
                f"these tickets were not found {names[0]}, but {', '.join(sorted({*schedules}))}; "
                "give those of other runs, or draw the figure of these"
            )
    return ds.isel(checkpoint=rows)


def _plot_panel(
    ax: Axes,
    ds: xr.Dataset,
    names: NDArray[np.str_],
    shown: Looks,
    asked: tuple[str, str | None, str | None],
    spread: str,
) -> set[str]:
    """One panel; returns which of the marks are on it. Asked: ticket, rescaling, split."""
    ticket, rescale, split = asked
    split = split or _usual_split(ds)
    _require(ds, ticket, rescale, split)
    one = ds.sel(split=split)
    measure = "error" if _has_classes(ds) else "loss"
    rescale = rescale or _usual_rescaling(measure)
    values, exact = _values(one.sel(ticket=ticket), measure, rescale)
    density = 100 * one["density"].values.astype(float)
    drawn: set[str] = set()
    for name in dict.fromkeys(names.tolist()):
        rows = names == name
        drawn |= _plot_line(ax, density[rows], values[rows], exact[rows], shown[name], spread)
    drawn |= _plot_references(ax, one, measure)
    say_if_empty(ax)
    if measure == "loss" and any(np.any(np.asarray(x.get_ydata()) > 0) for x in ax.lines):
        ax.set_yscale("log", nonpositive="mask")
    truth = 100 * reduced(np.mean, one["truth_density"].values)
    density_axis(ax, np.append(density, truth))
    if np.isfinite(truth):
        ax.axvline(truth, zorder=0.5, **_MARKS[_DENSITY])
        drawn.add(_DENSITY)
    ax.set_ylabel(f"{split} accuracy (%)" if measure == "error" else f"{split} MSE")
    ax.set_title(f"{ticket}{_TITLES[rescale]}", loc="left")
    return drawn


def _require(ds: xr.Dataset, ticket: str, rescale: str | None, split: str) -> None:
    """Raise `UsageError` for what the dataset does not have."""
    for noun, name, known in (
        ("ticket", ticket, TICKET_KINDS),
        ("rescaling", rescale or RESCALINGS[0], RESCALINGS),
        ("split", split, ds["split"].values.tolist()),
    ):
        if name not in known:
            raise unknown(noun, name, known)


def _has_classes(ds: xr.Dataset) -> bool:
    """Whether an answer can be wrong: some error is known, or no loss is."""

    def known(measure: str) -> bool:
        names = (measure, f"truth_{measure}", f"floor_{measure}")
        return any(np.isfinite(ds[name].values).any() for name in names)

    return known("error") or not known("loss")


def _usual_split(ds: xr.Dataset) -> str:
    """The test split, or the last where there is none."""
    splits = ds["split"].values.tolist()
    return "test" if "test" in splits else str(splits[-1])


def _usual_rescaling(measure: str) -> str:
    """As the paper evaluates: regressions by least squares, classes as the network gives them."""
    return "least-squares" if measure == "loss" else "none"


def _handles(shown: Looks, drawn: set[str]) -> list[Line2D]:
    """Legend: the lines, and what is drawn beside them."""
    found = [Line2D([], [], label=name, **look) for name, look in shown.items()]
    return found + [Line2D([], [], label=n, **look) for n, look in _MARKS.items() if n in drawn]


def _values(one: xr.Dataset, measure: str, rescale: str) -> tuple[Numbers, NDArray[np.bool_]]:
    """What is drawn of each checkpoint, and whether it is rescaled as asked."""
    asked, plain = (one[measure].sel(rescale=name).values for name in (rescale, RESCALINGS[0]))
    exact = np.isfinite(asked)
    return _shown(np.where(exact, asked, plain), measure), exact


def _shown(values: Any, measure: str) -> Any:
    """Errors as accuracies in percent."""
    return 100 * (1 - values) if measure == "error" else values


def _plot_line(
    ax: Axes,
    density: Numbers,
    values: Numbers,
    exact: NDArray[np.bool_],
    look: Mapping[str, Any],
    spread: str,
) -> set[str]:
    """Means over replicates, a band over their spread, open markers where not rescaled."""
    x, mean, low, high = steps(density, values, spread)
    ax.plot(x, mean, color=look["color"], linestyle=look["linestyle"])
    filled = np.array([exact[rows].all() for rows in replicates(density)], dtype=bool)
    drawn = set()
    marker: dict[str, Any] = {"linestyle": "none", "marker": look["marker"], "color": look["color"]}
    ax.plot(x[filled], mean[filled], **marker)
    if np.isfinite(mean[~filled]).any():
        ax.plot(x[~filled], mean[~filled], markerfacecolor="white", **marker)
        drawn.add(_OPEN)
    if np.any(low < high):
        ax.fill_between(x, low, high, color=look["color"], alpha=0.15, linewidth=0)
        drawn.add(_BANDS[spread])
    return drawn


def _plot_references(ax: Axes, one: xr.Dataset, measure: str) -> set[str]:
    """The planted ticket dashed, the floor dotted."""
    planted, plain = (one[f"truth_{measure}"].sel(rescale=n).values for n in ("planted", "none"))
    truth = reduced(np.mean, np.where(np.isfinite(planted), planted, plain))
    floor = reduced(np.mean, one[f"floor_{measure}"].values)
    drawn = set()
    for value, name in ((truth, _TRUTH), (floor, _FLOOR)):
        if np.isfinite(value):
            ax.axhline(_shown(value, measure), zorder=1.5, **_MARKS[name])
            drawn.add(name)
    return drawn


def draw(
    ds: xr.Dataset,
    *,
    schedules: Sequence[str],
    width: float | None = None,
    spread: str = "range",
) -> Canvas:
    """Strong tickets over weak ones, a column per task, a line per criterion.

    Parameters
    ----------
    ds
        A tickets dataset. Where it has coordinates ``criterion``, ``target`` and ``densities``
        over ``checkpoint``, as a sweep gives it, they make the lines and the columns and choose the
        tickets.
    schedules
        The tickets found by these ``densities`` are drawn.
    width
        Inches; as many as its columns need, a page at most, unless given.
    spread
        ``range``, from the least to the greatest, or ``std``, one standard deviation.

    Raises `LandscapeError` if it has none of these.
    """
    return panels(of_schedule(ds, schedules), width=width, spread=spread)


def _figure(name: str, schedules: Sequence[str]) -> Figure:
    """The figure of the tickets of some schedules."""
    return Figure(
        name,
        FIGURES[name].summary,
        TICKETS,
        partial(draw, schedules=schedules),
        caption="Strong tickets are taken before any training, weak ones after it; their accuracy, "
        "or mean squared error, stands against the weights remaining. Lines are means over "
        "replicates. Dashed is the planted ticket, dotted the best constant answer, the wide "
        "vertical line the planted density; open markers are outputs that could not be rescaled.",
        shows=("loss", "error"),
        spread="range",
    )


SINGLESHOT = _figure("planted-singleshot", ONCE)
MULTISHOT = _figure("planted-multishot", IN_TURN)
