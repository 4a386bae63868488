"""Radii: how far rays run inside a minimum, as distributions by estimator."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from landscape.data_store.errors import unknown
from landscape.data_store.schemas.volume import RAY_STATUSES, STATUSES, VOLUME
from landscape.figures.axes import density_axis, known, log_height, pair_axis
from landscape.figures.panels import is_leftmost, panels
from landscape.figures.registry import FIGURES, Figure
from landscape.figures.style import (
    COLUMN,
    PAGE,
    axis_label,
    colours,
    legend_above,
    paper_figure,
    run_looks,
    say_if_empty,
)

DODGE = 0.6  # of the room between two densities, shared by the runs
_MEDIAN: dict[str, Any] = {
    "marker": "o",
    "markersize": 1.6,
    "markeredgewidth": 0.6,
    "markerfacecolor": "white",
}
_ARROW = r"$\uparrow$"
_CENSORED, _LOST = RAY_STATUSES.index("censored"), RAY_STATUSES.index("not_converged")
_ABSENT = RAY_STATUSES.index("absent")


def plot_radii(
    ds: xr.Dataset, *, ax: Axes | None = None, estimator: str | None = None, legend: bool = True
) -> Axes:
    """Distribution of the radii of each checkpoint's rays, of one estimator.

    The thin line runs from the shortest ray to the longest, the thick one over the middle half;
    the dot is the median. The longest rays decide a volume, so the ends are the data's own. An
    arrow stands at the largest radius where rays are censored: they do not leave the set within
    it, and are not part of the distribution. The legend says how many they are, how many radii
    are not known, and which checkpoints have no ray.

    Parameters
    ----------
    ds
        A volume dataset.
    ax
        Where to draw; a new figure of the paper's style if None.
    estimator
        Whose rays; the first that has any unless given.
    legend
        Whether to put the legend over the axes.

    Raises `LandscapeError` if `ds` is no volume dataset, `UsageError` for an unknown estimator.
    """
    VOLUME.validate(ds)
    estimator = estimator or _with_rays(ds)[0]
    if estimator not in ds["estimator"].values:
        raise unknown("estimator", estimator, ds["estimator"].values.tolist())
    if ax is None:
        with paper_figure() as canvas:
            own = canvas.add_subplot()
            return plot_radii(ds, ax=own, estimator=estimator, legend=legend)
    one = ds.sel(estimator=estimator)
    by_density = known(one["density"])
    x = _places(one) if by_density else np.arange(one.sizes["checkpoint"], dtype=float)
    for run, colour in _run_colours(ds).items():
        rows = np.flatnonzero(one["run"].values == run)
        _plot_rays(ax, x[rows], one.isel(checkpoint=rows), colour)
    say_if_empty(ax)
    if not ax.texts:
        log_height(ax)
    if by_density:
        density_axis(ax, 100 * one["density"].values)
    else:
        pair_axis(ax, ds["checkpoint"].values.tolist(), "checkpoint")
    ax.set_ylabel(axis_label(VOLUME.variables["radius"]).replace(" to", "\nto", 1))
    if legend:
        legend_above(ax, _handles(ds, [estimator]))
    return ax


def _with_rays(ds: xr.Dataset) -> list[str]:
    """The estimators that have rays; all of them if none has."""
    names = ds["estimator"].values.tolist()
    has = [(ds["ray_status"].sel(estimator=name) != _ABSENT).any() for name in names]
    return [name for name, any_ray in zip(names, has, strict=True) if any_ray] or names


def _places(one: xr.Dataset) -> NDArray[np.float64]:
    """Weights remaining in percent, those of several runs a little beside each other."""
    percent = 100 * one["density"].values
    runs = list(dict.fromkeys(one["run"].values.tolist()))
    gaps = np.diff(np.log(np.unique(percent[percent > 0])))
    room = DODGE * float(gaps.min()) if len(gaps) else 0.1
    number = np.array([runs.index(run) for run in one["run"].values.tolist()])
    return np.asarray(percent * np.exp(room * ((len(runs) - 1) / 2 - number) / len(runs)))


def _run_colours(ds: xr.Dataset) -> dict[str, str]:
    """Colour of each run."""
    runs = [run for run, _, _ in run_looks(ds)]
    return dict(zip(runs, colours(len(runs)), strict=True))


def _plot_rays(ax: Axes, x: NDArray[np.float64], one: xr.Dataset, colour: str) -> None:
    """The distributions of one run, and arrows over those with censored rays."""
    radii, status = one["radius"].values, one["ray_status"].values
    radii = np.where((status != _CENSORED) & np.isfinite(radii) & (radii > 0), radii, np.nan)
    some = np.isfinite(radii).any(axis=1)
    if some.any():
        low, first, median, third, high = np.nanquantile(
            radii[some], [0.0, 0.25, 0.5, 0.75, 1.0], axis=1
        )
        ax.vlines(x[some], low, high, color=colour, linewidth=0.6)
        ax.vlines(x[some], first, third, color=colour, linewidth=2.2)
        dots: dict[str, Any] = {
            "marker": "o",
            "linestyle": "none",
            "markersize": 1.6,
            "markeredgewidth": 0.6,
            "zorder": 3,
        }
        ax.plot(x[some], median, color=colour, markerfacecolor="white", **dots)
    censored = (status == _CENSORED).any(axis=1)
    limit = one["largest_radius"].values
    arrows: dict[str, Any] = {"marker": _ARROW, "linestyle": "none", "markersize": 6}
    ax.plot(x[censored], limit[censored], color=colour, **arrows)


def _handles(ds: xr.Dataset, estimators: list[str]) -> list[Line2D]:
    """Legend: the runs where there are several, the distribution, and what is not in it."""
    runs = _run_colours(ds)
    handles = []
    if len(runs) > 1:
        handles += [Line2D([], [], color=c, linewidth=2.2, label=run) for run, c in runs.items()]
    grey = "0.35" if len(runs) > 1 else next(iter(runs.values()), "0.35")
    words = "shortest to longest, middle half, median"
    handles.append(Line2D([], [], color=grey, linewidth=1.2, label=words, **_MEDIAN))
    here = ds.sel(estimator=estimators)
    counts = {
        "censored at the largest radius": (_ARROW, _counts(here, _CENSORED)),
        "radius not known": ("", _counts(here, _LOST)),
        "no rays": ("", _without(here)),
    }
    for label, (marker, counted) in counts.items():
        if counted:
            look: dict[str, Any] = {"marker": marker, "linestyle": "none", "color": grey}
            handles.append(Line2D([], [], label=f"{label}: {counted}", **look))
    return handles


def _counts(here: xr.Dataset, code: int) -> str:
    """How many rays of each estimator have a status, of how many; empty if none has."""
    status = here["ray_status"]
    found = []
    for name in here["estimator"].values.tolist():
        own = status.sel(estimator=name).values
        if count := int((own == code).sum()):
            found.append(f"{name} {count}/{int((own != _ABSENT).sum())} rays")
    return ", ".join(found)


def _without(here: xr.Dataset) -> str:
    """The reasons of the checkpoints that have no ray, and how many have each."""
    found: Counter[str] = Counter()
    for k in range(here.sizes["checkpoint"]):
        one = here.isel(checkpoint=k)
        if (one["ray_status"] == _ABSENT).all():
            found[STATUSES[int(one["status"].values[0])].replace("_", " ")] += 1
    of = here.sizes["checkpoint"]
    return ", ".join(f"{reason} ({n} of {of} checkpoints)" for reason, n in found.items())


def draw(ds: xr.Dataset, *, width: float | None = None) -> Canvas:
    """A panel for each estimator that has rays, all of one scale."""
    VOLUME.validate(ds)
    names = _with_rays(ds)
    with paper_figure(width or (PAGE if len(names) > 1 else COLUMN)) as canvas:
        axes = panels(canvas, len(names))
        for ax, name in zip(axes, names, strict=True):
            plot_radii(ds, ax=ax, estimator=name, legend=False)
            ax.set_title(name)
            if not is_leftmost(ax):
                ax.set_ylabel("")
        legend_above(canvas, _handles(ds, names))
    return canvas


FIGURE = Figure(
    "radii",
    FIGURES["radii"].summary,
    VOLUME,
    draw,
    caption="A radius is the distance along a random direction at which the loss first exceeds the "
    "cutoff; estimators draw their directions differently. Thin lines run from the shortest to the "
    "longest ray of a checkpoint, thick ones over the middle half, dots are medians. Arrows mark "
    "rays that do not leave the set within the largest radius; they are not in the distributions.",
    shows=("radius",),
)
