"""Overlap of the masks of pairs of checkpoints, layer by layer, beside that of chance."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D

from landscape.data_store.schemas.overlap import OVERLAP
from landscape.figures.axes import known, level_axis, pair_axis
from landscape.figures.registry import FIGURES, Figure
from landscape.figures.style import (
    COLUMN,
    MARKERS,
    OKABE_ITO,
    axis_label,
    colours,
    legend_above,
    level_bar,
    level_scale,
    paper_figure,
    run_looks,
    say_if_empty,
    steps,
)

ALL = "all"
NAMED = 6


def plot_overlap(ds: xr.Dataset, *, ax: Axes | None = None) -> Axes:
    """Jaccard index of each pair of masks at the level of its second checkpoint.

    One colour per layer, all layers together thick and black, one marker per run. The thin
    dotted line of the same colour is the index expected of random masks of the same sizes.
    Pairs of unknown level (files of other programs) get one place each instead. More than
    six layers are coloured by their place in the network, with a colour bar.

    Parameters
    ----------
    ds
        An overlap dataset.
    ax
        Where to draw; a new figure of the paper's style if None.

    Raises `LandscapeError` if `ds` is no overlap dataset.
    """
    OVERLAP.validate(ds)
    if ax is None:
        with paper_figure() as canvas:
            return plot_overlap(ds, ax=canvas.add_subplot())
    looks = _looks(ds)
    by_level = known(ds["level_b"])
    x = ds["level_b"].values if by_level else np.arange(ds.sizes["pair"], dtype=float)
    for run, marker, _ in run_looks(ds):
        rows = np.flatnonzero(ds["run"].values == run)
        rows = rows[np.argsort(x[rows], kind="stable")]
        for layer, look in looks.items():
            line = {"marker": marker, "linestyle": "-" if by_level else "none"}
            _plot_layer(ax, x[rows], ds.isel(pair=rows).sel(layer=layer), {**line, **look})
    say_if_empty(ax)
    if by_level:
        level_axis(ax, axis_label(OVERLAP.coordinates["level_b"]))
    else:
        pair_axis(ax, ds["pair"].values.tolist())
    ax.set_ylabel(OVERLAP.variables["jaccard"].long_name)
    ax.set_ylim(-0.02, 1.02)
    _explain(ds, ax, looks)
    return ax


def _plot_layer(ax: Axes, x: Any, layer: xr.Dataset, look: dict[str, Any]) -> None:
    """The index of one layer and, dotted or as a dash without lines, that of chance."""
    ax.plot(x, layer["jaccard"].values, **look)
    lines = look["linestyle"] != "none"
    ax.plot(
        x,
        layer["expected_jaccard"].values,
        color=look["color"],
        linewidth=0.8,
        linestyle=":" if lines else "none",
        marker="none" if lines else "_",
        markersize=6,
    )


def _looks(ds: xr.Dataset) -> dict[str, dict[str, Any]]:
    """Colour and width of each layer; ``all`` is last, so that it lies on top."""
    layers = [name for name in ds["layer"].values.tolist() if name != ALL]
    table = steps(len(layers)) if len(layers) > NAMED else colours(len(layers))
    looks: dict[str, dict[str, Any]] = {
        name: {"color": colour, "linewidth": 0.9, "markersize": 2}
        for name, colour in zip(layers, table, strict=True)
    }
    if len(layers) <= NAMED and len(run_looks(ds)) == 1:  # markers tell runs apart otherwise
        for look, marker in zip(looks.values(), MARKERS[1:], strict=False):
            look["marker"] = marker
    if ALL in ds["layer"].values:
        looks[ALL] = {"color": OKABE_ITO[-1], "linewidth": 1.8}
    return looks


def _explain(ds: xr.Dataset, ax: Axes, looks: dict[str, dict[str, Any]]) -> None:
    """Legend of the layers, the runs where there are several, and chance."""
    layers = len([name for name in looks if name != ALL])
    named = {name: look for name, look in looks.items() if layers <= NAMED or name == ALL}
    handles = [
        Line2D([], [], label=name.removesuffix(".weight"), **look)
        for name, look in sorted(named.items(), key=lambda item: item[0] != ALL)
    ]
    runs = run_looks(ds)
    if len(runs) > 1:
        handles += [
            Line2D([], [], color="0.35", marker=marker, linestyle="none", label=run)
            for run, marker, _ in runs
        ]
    handles.append(
        Line2D([], [], color="0.35", linestyle=":", linewidth=0.8, label="expected by chance")
    )
    legend_above(ax, handles)
    if layers > NAMED:
        level_bar([ax], level_scale(1, layers), "layer, first to last")


def draw(ds: xr.Dataset, *, width: float = COLUMN) -> Canvas:
    """The figure of an overlap dataset, one column wide unless told otherwise."""
    with paper_figure(width) as canvas:
        plot_overlap(ds, ax=canvas.add_subplot())
    return canvas


FIGURE = Figure(
    "overlap",
    FIGURES["overlap"].summary,
    OVERLAP,
    draw,
    caption="The Jaccard index of two masks is the share of the weights that either keeps which "
    "both keep. Dotted is its expectation for random masks of the same layer sizes.",
    shows=("jaccard", "expected_jaccard"),
    plot=plot_overlap,
)
