"""Initial weights that survive, by layer and level: Frankle & Carbin 2019, figures 15 and 16."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import MaxNLocator

from landscape.data_store.errors import unknown
from landscape.data_store.schemas.histograms import HISTOGRAMS
from landscape.figures.bands import mean_and_spread
from landscape.figures.panels import is_leftmost, panel_title, panels, say_missing, titled_legend
from landscape.figures.registry import FIGURES, Figure
from landscape.figures.replicates import Replicates, replicates
from landscape.figures.shades import REMAINING, Shade, shade_handles, shades
from landscape.figures.style import PAGE, paper_figure, say_if_empty

LEVELS = 4
LAYERS = 6
ROW = 1.2


def plot_init_histograms(
    ds: xr.Dataset, *, ax: Axes | None = None, layer: str | None = None, group: str | None = None
) -> Axes:
    """Distribution of the initial weights that survive in a layer, a line for each of four levels.

    Each is a histogram of area 1, the mean over the replicates. What the group has no level of,
    or keeps nothing of, is said under the axis.

    Parameters
    ----------
    ds
        A histograms dataset; its levels are chosen evenly by density, the same for all groups.
    ax
        Where to draw; a new figure of the paper's style if None.
    layer
        Name of a tensor; the first unless given.
    group
        Which replicates, as `landscape.figures.replicates.replicates` labels them; the first unless
        given.

    Raises `LandscapeError` if `ds` is no histograms dataset, `UsageError` for an unknown layer or
    group.
    """
    HISTOGRAMS.validate(ds)
    groups = {found.label: found for found in replicates(ds)}
    name = next(iter(groups)) if group is None else group
    if name not in groups:
        raise unknown("group of runs", name, groups)
    layers = ds["layer"].values.tolist()
    which = layers[0] if layer is None else layer
    if which not in layers:
        raise unknown("layer", which, layers)
    if ax is None:
        with paper_figure() as canvas:
            return plot_init_histograms(ds, ax=canvas.add_subplot(), layer=which, group=name)
    drawn = shades([found.density for found in groups.values()], LEVELS)
    _plot(ax, groups[name], which, drawn)
    titled_legend(ax, shade_handles(drawn), REMAINING)
    return ax


def _plot(ax: Axes, group: Replicates, layer: str, drawn: Sequence[Shade]) -> None:
    """The histograms of one group and layer."""
    part, missing = group.training.sel(layer=layer), []
    centre = np.asarray(part["centre"].values, dtype=float)
    for shade in drawn:
        level = shade.level(group.density)
        if level is None:
            missing.append(shade.label)
            continue
        values = np.asarray(part["probability_density"].values[:, level], dtype=float)
        mean, _, _ = mean_and_spread(values, "range")
        if not np.isfinite(mean).any():
            missing.append(shade.label)
        ax.plot(centre, mean, drawstyle="steps-mid", linewidth=0.9, **shade.line())
    say_if_empty(ax)
    ax.set_ylim(bottom=0)
    if ax.lines and not ax.texts:  # as many ticks at every height, so that one layout is enough
        ax.yaxis.set_major_locator(MaxNLocator(4))
        ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.set_xlabel("initial weight")
    if len(missing) < len(drawn):
        say_missing(ax, missing)
    if is_leftmost(ax):
        ax.set_ylabel("probability density")


def _spread_out(names: Sequence[str]) -> list[str]:
    """At most `LAYERS` of the layers of a group, the first and the last among them."""
    places = np.linspace(0, len(names) - 1, min(LAYERS, len(names)))
    return [names[round(place)] for place in places]


def _shown(group: Replicates) -> list[tuple[str, str]]:
    """The layers of a group that are drawn, and the title of each."""
    centre = group.training["centre"].values
    counts = group.training["count"].values
    has = np.isfinite(counts).any(axis=(0, 1, 3)) & np.isfinite(centre).any(axis=1)
    names = [name for name, own in zip(group.training["layer"].values, has, strict=True) if own]
    names = names or group.training["layer"].values.tolist()
    chosen = _spread_out(names)
    return [
        (name, _title(name, names.index(name) + 1, len(names) if len(chosen) < len(names) else 0))
        for name in chosen
    ]


def _title(name: str, number: int, of: int) -> str:
    """A layer by its name and, where not all are drawn, its place."""
    short = str(name).removesuffix(".weight")
    return f"layer {number} of {of}" if of else short


def draw(ds: xr.Dataset, *, width: float = PAGE) -> Canvas:
    """A panel for each layer of each group, six layers at most: the others lie between them."""
    HISTOGRAMS.validate(ds)
    groups = replicates(ds)
    drawn = shades([group.density for group in groups], LEVELS)
    shown = [(group, *layer) for group in groups for layer in _shown(group)]
    with paper_figure(width, ROW if len(shown) > 3 else 1.8) as canvas:
        axes = panels(canvas, len(shown), sharey=False)
        for ax, (group, layer, title) in zip(axes, shown, strict=True):
            _plot(ax, group, layer, drawn)
            panel_title(ax, f"{group.label}: {title}" if len(groups) > 1 else title)
        titled_legend(canvas, shade_handles(drawn), REMAINING)
    return canvas


FIGURE = Figure(
    "init-histograms",
    FIGURES["init-histograms"].summary,
    HISTOGRAMS,
    draw,
    caption=(
        "Initial weights that survive, a panel for each layer (six at most, spread over the "
        "network), a line for each level by the weights remaining. Every histogram has area 1; "
        "it is the mean over the replicates, each of which begins from weights of its own."
    ),
    shows=("probability_density",),
)
