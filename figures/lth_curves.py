"""Test accuracy as training proceeds, by weights remaining: Frankle & Carbin 2019, figure 3."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from landscape.data_store.errors import unknown
from landscape.data_store.schemas.training import TRAINING
from landscape.figures.bands import band, mean_and_spread
from landscape.figures.panels import is_leftmost, panel_title, panels, say_missing, titled_legend
from landscape.figures.registry import FIGURES, Figure
from landscape.figures.replicates import Replicates, replicates
from landscape.figures.shades import REMAINING, Shade, shade_handles, shades
from landscape.figures.style import COLUMN, PAGE, paper_figure, say_if_empty

START = 0.1  # share of the training that may lie below the axis


def plot_lth_curves(
    ds: xr.Dataset, *, ax: Axes | None = None, group: str | None = None, spread: str = "range"
) -> Axes:
    """Test accuracy in percent against the training iteration, a line for each of six levels.

    The runs of a group are replicates: the line is their mean, the area their spread. The y-axis
    covers what comes after the first tenth of the training. What the group has no level of
    is said in the panel.

    Parameters
    ----------
    ds
        A training dataset; its levels are chosen evenly by density, the same for all its groups.
    ax
        Where to draw; a new figure of the paper's style if None.
    group
        Which replicates, as `landscape.figures.replicates.replicates` labels them; the first unless
        given.
    spread
        ``range`` or ``std``, as in `landscape.figures.bands.mean_and_spread`.

    Raises `LandscapeError` if `ds` is no training dataset, `UsageError` for an unknown group or
    spread.
    """
    TRAINING.validate(ds)
    groups = {found.label: found for found in replicates(ds)}
    name = next(iter(groups)) if group is None else group
    if name not in groups:
        raise unknown("group of runs", name, groups)
    if ax is None:
        with paper_figure() as canvas:
            return plot_lth_curves(ds, ax=canvas.add_subplot(), group=name, spread=spread)
    drawn = shades([found.density for found in groups.values()])
    _cover(ax, _plot(ax, groups[name], drawn, spread))
    titled_legend(ax, shade_handles(drawn), REMAINING)
    return ax


def _plot(ax: Axes, group: Replicates, drawn: Sequence[Shade], spread: str) -> list[float]:
    """The curves of one group; returns the heights that the y-axis is to cover."""
    missing, heights = [], []
    for shade in drawn:
        level = shade.level(group.density)
        if level is None:
            missing.append(shade.label)
            continue
        part = group.training.isel(level=level)
        evaluated = np.isfinite(part["learning_rate"].values).any(axis=0)
        steps = part["step"].values[evaluated]
        accuracy = 100 * (1 - part["test_error"].values[:, evaluated])
        band(ax, steps, accuracy, spread=spread, linewidth=0.9, **shade.line())
        after = steps >= START * steps.max(initial=0.0)
        ends = np.stack(mean_and_spread(accuracy[:, after], spread))
        heights += ends[np.isfinite(ends)].tolist()
    say_if_empty(ax)
    ax.set_xlabel("training iteration")
    if heights:
        say_missing(ax, missing)
    if is_leftmost(ax):
        ax.set_ylabel("test accuracy (%)")
    return heights


def _cover(ax: Axes, heights: Sequence[float]) -> None:
    """Let the y-axis run from the least to the greatest of `heights`, with some room."""
    if heights:
        low, high = min(heights), max(heights)
        room = 0.05 * (high - low) or 1.0
        ax.set_ylim(low - room, high + room)


def draw(ds: xr.Dataset, *, width: float | None = None, spread: str = "range") -> Canvas:
    """A panel for each group of replicates, all with one y-axis; a page wide if several."""
    TRAINING.validate(ds)
    groups = replicates(ds)
    drawn = shades([group.density for group in groups])
    with paper_figure(width or (PAGE if len(groups) > 1 else COLUMN)) as canvas:
        axes, heights = panels(canvas, len(groups)), []
        for ax, group in zip(axes, groups, strict=True):
            heights += _plot(ax, group, drawn, spread)
            panel_title(ax, group.label)
        _cover(axes[0], heights)
        titled_legend(canvas, shade_handles(drawn), REMAINING)
    return canvas


FIGURE = Figure(
    "lth-curves",
    FIGURES["lth-curves"].summary,
    TRAINING,
    draw,
    caption=(
        "Test accuracy against the training iteration, a panel for each way of pruning and "
        "training again. Lines are means over the replicates at the weights remaining that the "
        "legend states, areas their spread. The axis covers what comes after the first tenth of "
        "the training."
    ),
    shows=("test_error",),
    spread="range",
)
