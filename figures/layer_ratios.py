"""Weights kept of each layer by global over layer-wise pruning: Morcos et al. 2019, figure 1b."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from numpy.typing import NDArray

from landscape.data_store.errors import unknown
from landscape.data_store.schemas.layers import LAYERS
from landscape.figures.axes import level_axis, log_height, short
from landscape.figures.panels import is_leftmost, panel_title, panels, say_missing, titled_legend
from landscape.figures.registry import FIGURES, Figure
from landscape.figures.replicates import Replicates, replicates
from landscape.figures.shades import REMAINING, Shade, shade_handles, shades
from landscape.figures.style import COLUMN, PAGE, paper_figure, say_if_empty

NAMED = 5  # layers up to which an axis has their names
_SCOPES = {"global": "global", "layer": "by layer"}


@dataclass(frozen=True, eq=False)
class _Ratio:
    """What a panel shows.

    Parameters
    ----------
    title, label
        Of the panel and of its y-axis.
    density
        Fraction of all weights kept, (level,).
    layers
        Names, in order.
    values
        Ratio (level, layer); NaN where one of the two is unknown.
    """

    title: str
    label: str
    density: NDArray[np.float64]
    layers: list[str]
    values: NDArray[np.float64]


def plot_layer_ratios(ds: xr.Dataset, *, ax: Axes | None = None, group: str | None = None) -> Axes:
    """How much more of a layer is kept than elsewhere, layers in order, a line for each level.

    Of runs pruned globally and runs pruned by layer, else alike, the ratio of the fractions of each
    layer that they keep at equal density. Of others, the fraction of a layer kept over that of all
    layers: the same where layer-wise pruning takes one share of every layer. Fractions are means
    over the replicates. A layer of which nothing is kept is marked 0 at the foot.

    Parameters
    ----------
    ds
        A layers dataset.
    ax
        Where to draw; a new figure of the paper's style if None.
    group
        Title of the panel; the first unless given.

    Raises `LandscapeError` if `ds` is no layers dataset, `UsageError` for an unknown group.
    """
    LAYERS.validate(ds)
    found = {ratio.title: ratio for ratio in _ratios(ds)}
    title = next(iter(found)) if group is None else group
    if title not in found:
        raise unknown("group of runs", title, found)
    if ax is None:
        with paper_figure() as canvas:
            return plot_layer_ratios(ds, ax=canvas.add_subplot(), group=title)
    drawn = _pruned([found[title]])
    _plot(ax, found[title], drawn)
    titled_legend(ax, shade_handles(drawn, marker=True), REMAINING)
    return ax


def _ratios(ds: xr.Dataset) -> list[_Ratio]:
    """A ratio for every global group that has a layer-wise one like it, else for each group."""
    scopes = np.asarray(ds["scope"].values.tolist())
    found = []
    for kind, rows in _kinds(ds).items():
        groups = {
            scope: _groups(ds, rows[scopes[rows] == scope], f"{kind}, {_SCOPES.get(scope, scope)}")
            for scope in dict.fromkeys(scopes[rows].tolist())
        }
        if set(groups) == {"global", "layer"}:
            found += [_between(group, groups["layer"][0]) for group in groups["global"]]
        else:
            found += [_within(group) for same in groups.values() for group in same]
    return found


def _kinds(ds: xr.Dataset) -> dict[str, NDArray[np.intp]]:
    """The runs that differ by scope and seed only, by strategy and what else differs."""
    names = ["strategy", *(n for n in ("model", "task") if len(set(ds[n].values.tolist())) > 1)]
    columns = [ds[name].values.tolist() for name in names]
    words = [", ".join(row) for row in zip(*columns, strict=True)]
    return {word: np.flatnonzero(np.asarray(words) == word) for word in dict.fromkeys(words)}


def _groups(ds: xr.Dataset, rows: NDArray[np.intp], name: str) -> list[Replicates]:
    """These runs as replicates under a name."""
    part = ds.isel(run=rows)
    return replicates(part.assign_coords(strategy=("run", [name] * len(rows))))


def _kept(group: Replicates) -> NDArray[np.float64]:
    """Fraction kept of each layer (level, layer), the mean over the runs that are known."""
    return np.asarray(group.training["layer_density"].mean("run").values, dtype=float)


def _within(group: Replicates) -> _Ratio:
    """Of a layer over all layers."""
    whole = np.asarray(group.training["density"].mean("run").values, dtype=float)
    values = _over(_kept(group), whole[:, None])
    return _ratio(group.label, "fraction kept: layer ÷ all", group, values)


def _between(group: Replicates, other: Replicates) -> _Ratio:
    """Of a layer by global over layer-wise pruning, at densities that both have."""
    kept, values = _kept(other), np.full_like(_kept(group), np.nan)
    for n, density in enumerate(group.density):
        level = Shade(density, {}).level(other.density) if density > 0 else None
        if level is not None:
            values[n] = _over(_kept(group)[n], kept[level])
    title = f"{group.label} ÷ {other.label.rpartition(', ')[2]}"
    return _ratio(title, "fraction kept: global ÷ by layer", group, values)


def _ratio(title: str, label: str, group: Replicates, values: NDArray[np.float64]) -> _Ratio:
    """A panel of the layers that its runs have; of all if no size is known."""
    there = np.isfinite(group.training["layer_size"].values).any(axis=0)
    there = there if there.any() else ~there
    names = [str(name).removesuffix(".weight") for name in group.training["layer"].values[there]]
    return _Ratio(title, label, group.density, names, values[:, there])


def _over(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """The quotient; NaN over nothing."""
    return one / np.where(other > 0, other, np.nan)


def _pruned(ratios: Sequence[_Ratio]) -> list[Shade]:
    """Levels to draw; a dense one, whose ratios are all 1, only if there is no other."""
    ladders = [ratio.density for ratio in ratios]
    pruned = [np.where(ladder < 1, ladder, np.nan) for ladder in ladders]
    return shades(pruned) or shades(ladders)


def _plot(ax: Axes, ratio: _Ratio, drawn: Sequence[Shade]) -> None:
    """The lines of one panel."""
    places, missing = np.arange(len(ratio.layers)), []
    for shade in drawn:
        level = shade.level(ratio.density)
        if level is None or not np.isfinite(ratio.values[level]).any():
            missing.append(shade.label)
            continue
        values = ratio.values[level]
        ax.plot(places, np.where(values > 0, values, np.nan), **shade.line(marker=True))
        for place in places[values == 0]:
            ax.annotate(
                "0", (place, 0), xycoords=ax.get_xaxis_transform(), ha="center", va="bottom",
                color=shade.look["color"],
            )  # fmt: skip
    say_if_empty(ax)
    _axes(ax, ratio)
    if len(missing) < len(drawn):
        say_missing(ax, missing)


def _axes(ax: Axes, ratio: _Ratio) -> None:
    """Layers by name or number on x, the ratio on a logarithmic y, its one marked."""
    ax.axhline(1.0, color="0.6", linewidth=0.7, zorder=0.9)
    log_height(ax)
    ax.set_xlim(-0.5, len(ratio.layers) - 0.5)
    if len(ratio.layers) <= NAMED:
        ax.set_xticks(range(len(ratio.layers)), [short(name) for name in ratio.layers])
        ax.set_xlabel("layer")
    else:
        level_axis(ax, f"layer, of {len(ratio.layers)} from input to output")
        ax.xaxis.set_major_formatter(lambda place, _: f"{place + 1:.0f}")
    if is_leftmost(ax) or not ax.get_shared_y_axes().get_siblings(ax)[1:]:
        ax.set_ylabel(ratio.label)


def draw(ds: xr.Dataset, *, width: float | None = None) -> Canvas:
    """A panel for each way of pruning; a page wide if several."""
    LAYERS.validate(ds)
    ratios = _ratios(ds)
    drawn = _pruned(ratios)
    with paper_figure(width or (PAGE if len(ratios) > 1 else COLUMN)) as canvas:
        alike = len({ratio.label for ratio in ratios}) == 1
        for ax, ratio in zip(panels(canvas, len(ratios), sharey=alike), ratios, strict=True):
            _plot(ax, ratio, drawn)
            panel_title(ax, ratio.title)
        titled_legend(canvas, shade_handles(drawn, marker=True), REMAINING)
    return canvas


FIGURE = Figure(
    "layer-ratios",
    FIGURES["layer-ratios"].summary,
    LAYERS,
    draw,
    caption=(
        "How much of each layer is kept, a line for each level by the weights remaining of the "
        "whole. Where runs were pruned globally and by layer and are else alike, the fraction of a "
        "layer that the first keep over that of the second at equal density; elsewhere over the "
        "fraction of all layers. Fractions are means over the replicates. A 0 at the foot is a "
        "layer of which nothing is kept."
    ),
    shows=("layer_density",),
)
