"""Barriers between all pairs of checkpoints, as a matrix ordered by the weights remaining."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import Normalize
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from numpy.typing import NDArray

from landscape.data_store.errors import unknown
from landscape.data_store.schemas.barrier import BARRIER
from landscape.figures.axes import DENSITY_LABEL, percent_text, short
from landscape.figures.barrier_levels import SPLITS, UNSTABLE_PERCENT
from landscape.figures.registry import FIGURES, Figure
from landscape.figures.style import (
    MEASURES,
    PAGE,
    abreast,
    axis_label,
    legend_above,
    paper_figure,
    say_if_empty,
    scale,
)

COLOURS = "cividis_r"
NUMBERED = 9  # checkpoints up to which the barriers are written into their cells
LABELLED = 20
PANEL = 2.35
BESIDE = 1.15  # inches that labels and the colour bar take of the width
_DOT: dict[str, Any] = {"marker": ".", "markersize": 2.5, "linestyle": "none"}
_UNKNOWN: dict[str, Any] = {"facecolor": "0.93", "edgecolor": "0.6", "hatch": "/////"}


@dataclass(frozen=True)
class _End:
    """A checkpoint: its address, and its density as a fraction, NaN if unknown."""

    name: str
    density: float

    @property
    def run(self) -> str:
        """The run in its address."""
        return self.name.partition("@")[0]


def plot_barrier_matrix(
    ds: xr.Dataset,
    *,
    ax: Axes | None = None,
    measure: str = "error",
    definition: str = "lmc",
    splits: tuple[str, str] | None = None,
    highest: float | None = None,
    legend: bool = True,
) -> Axes:
    """Barrier of each pair of checkpoints, one split above the diagonal and one below it.

    Checkpoints run from dense to sparse, by run where there are several. Cells of pairs that
    were not measured stay white; hatched ones were measured and have no known barrier. A dot
    marks an error barrier (``lmc``) above the 2 % over which Frankle et al. (2020) call networks
    unstable. Few checkpoints have their numbers written in the cells.

    Parameters
    ----------
    ds
        A barrier dataset, as ``landscape barrier RUN --pairs all`` makes it.
    ax
        Where to draw; a new figure of the paper's style if None.
    measure
        ``error`` (in percentage points) or ``loss``.
    definition
        Which definition of the barrier.
    splits
        The splits above and below the diagonal; the test and the train split unless given. One
        split alone is below it.
    highest
        The barrier at the end of the colours, in the unit of the axis; the highest of `ds` unless
        given.
    legend
        Whether to put the legend over the axes.

    Raises `LandscapeError` if `ds` is no barrier dataset, `UsageError` for an unknown measure,
    definition or split.
    """
    BARRIER.validate(ds)
    above, below = splits or _usual_splits(ds)
    for what, name, known in (
        ("measure", measure, MEASURES),
        ("definition", definition, ds["definition"].values.tolist()),
        *(("split", split, ds["split"].values.tolist()) for split in (above, below) if split),
    ):
        if name not in known:
            raise unknown(what, name, known)
    if ax is None:
        with paper_figure(height=PANEL) as canvas:
            return plot_barrier_matrix(
                ds,
                ax=canvas.add_subplot(),
                measure=measure,
                definition=definition,
                splits=(above, below),
                highest=highest,
                legend=legend,
            )
    ends = _ends(ds)
    values, measured = _matrix(ds, ends, measure, definition, (above, below))
    top = np.nanmax(values, initial=0.0) if highest is None else highest
    mesh = _plot_cells(ax, values, measured, float(top) or 1.0)
    _plot_marks(ax, values, float(top) or 1.0, unstable=_is_judged(measure, definition))
    if mesh is None:
        say_if_empty(ax)
    else:
        _add_bar(ax, mesh, measure, definition)
    _label(ax, ends)
    ax.set_title(f"{above} above, {below} below the diagonal" if above else below)
    if legend:
        legend_above(ax, _handles(ds, measure, definition, (above, below)))
    return ax


def _usual_splits(ds: xr.Dataset) -> tuple[str, str]:
    """Test above and train below; the only split below."""
    present = ds["split"].values.tolist()
    splits = sorted(present, key=lambda name: SPLITS.index(name) if name in SPLITS else 2)
    return (splits[1], splits[0]) if len(splits) > 1 else ("", splits[0])


def _is_judged(measure: str, definition: str) -> bool:
    """True for the barrier that the 2 % are a rule about."""
    return measure == "error" and definition == "lmc"


def _names(pair: str) -> tuple[str, str]:
    """The addresses of a pair; where paths have blanks, both have as many."""
    parts = pair.split(" ")
    half = max(1, len(parts) // 2)
    return " ".join(parts[:half]), " ".join(parts[half:])


def _ends(ds: xr.Dataset) -> list[_End]:
    """The checkpoints of all pairs, by run and from dense to sparse."""
    found: dict[str, _End] = {}
    for side in (0, 1):
        densities = ds["density_b" if side else "density_a"].values.tolist()
        for pair, density in zip(ds["pair"].values.tolist(), densities, strict=True):
            name = _names(pair)[side]
            found.setdefault(name, _End(name, density))
    runs = list(dict.fromkeys(end.run for end in found.values()))
    return sorted(found.values(), key=lambda end: (runs.index(end.run), -_or_zero(end.density)))


def _or_zero(density: float) -> float:
    """A density to sort by; unknown ones keep their order."""
    return density if np.isfinite(density) else 0.0


def _matrix(
    ds: xr.Dataset, ends: list[_End], measure: str, definition: str, splits: tuple[str, str]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The barriers as they are drawn, NaN where unknown, and which cells were measured."""
    name = f"{measure}_barrier"
    heights = scale(BARRIER.variables[name]) * ds[name].sel(definition=definition)
    places = {end.name: k for k, end in enumerate(ends)}
    shape = (len(ends), len(ends))
    values, measured = np.full(shape, np.nan), np.zeros(shape, dtype=bool)
    for p, pair in enumerate(ds["pair"].values.tolist()):
        first, last = sorted(places[name] for name in _names(pair))
        if first == last:
            continue
        for split, cell in zip(splits, ((first, last), (last, first)), strict=True):
            if split:
                values[cell] = heights.sel(split=split).values[p]
                measured[cell] = True
    return np.where(np.isfinite(values), values, np.nan), measured


def _plot_cells(
    ax: Axes, values: NDArray[np.float64], measured: NDArray[np.bool_], top: float
) -> QuadMesh | None:
    """The cells, None if nothing is known; hatched where it is not, grey on the diagonal."""
    count = len(values)
    ax.grid(visible=False)
    ax.set_aspect("equal")
    ax.set_xlim(0, count or 1)
    ax.set_ylim(count or 1, 0)
    for row, column in np.argwhere(measured & ~np.isfinite(values)):
        ax.add_patch(Rectangle((column, row), 1, 1, linewidth=0, **_UNKNOWN))
    for k in range(count):
        ax.add_patch(Rectangle((k, k), 1, 1, facecolor="0.8", linewidth=0))
    if not np.isfinite(values).any():
        return None
    edges = np.arange(count + 1)
    look: dict[str, Any] = {"cmap": COLOURS, "edgecolors": "white", "linewidth": 0.3}
    return ax.pcolormesh(
        edges, edges, np.ma.masked_invalid(values), norm=Normalize(0.0, top), **look
    )


def _add_bar(ax: Axes, mesh: QuadMesh, measure: str, definition: str) -> None:
    """The colour bar, the threshold on it where there is one."""
    assert ax.figure is not None
    # An inset keeps the height of square cells, which a bar of its own axes would not.
    bar = ax.figure.colorbar(mesh, cax=ax.inset_axes((1.03, 0.0, 0.04, 1.0)))
    bar.outline.set_visible(False)
    label = axis_label(BARRIER.variables[f"{measure}_barrier"])
    bar.set_label(label if definition == "lmc" else f"{label}, {definition}")
    if bar.solids is not None:
        bar.solids.set_edgecolor("face")
    if _is_judged(measure, definition) and mesh.get_clim()[1] > UNSTABLE_PERCENT:
        bar.ax.axhline(UNSTABLE_PERCENT, color="black", linewidth=0.7)


def _plot_marks(ax: Axes, values: NDArray[np.float64], top: float, *, unstable: bool) -> None:
    """Numbers in the cells of few checkpoints, to two digits; a dot in unstable ones."""
    decimals = max(0, 1 - int(np.floor(np.log10(top))))
    numbered = len(values) <= NUMBERED
    for row, column in np.argwhere(np.isfinite(values)):
        value, x, y = values[row, column], column + 0.5, row + 0.5
        ink = "white" if value > 0.5 * top else "black"
        if numbered:
            text = f"{value:.{decimals}f}"
            ax.text(x, y, text, ha="center", va="center", color=ink, fontsize=5.5)
        if unstable and value > UNSTABLE_PERCENT:
            ax.plot(x, y + (0.32 if numbered else 0.0), color=ink, **_DOT)


def _label(ax: Axes, ends: list[_End]) -> None:
    """Densities at the cells, or addresses where one is unknown; runs where there are several."""
    runs = dict.fromkeys(end.run for end in ends)
    by_density = all(np.isfinite(end.density) for end in ends)
    names = [percent_text(100 * end.density) if by_density else short(end.name) for end in ends]
    if by_density and len(runs) > 1:
        names = [f"{short(end.run)} {name}" for end, name in zip(ends, names, strict=True)]
    stride = max(1, -(-len(ends) // LABELLED))
    places = np.arange(0, len(ends), stride)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_ticks(places + 0.5, names[::stride])
        axis.set_tick_params(length=0)
    if len(ends) > 5 or not by_density or len(runs) > 1:
        ax.tick_params(axis="x", rotation=90)
    ax.set_xlabel(DENSITY_LABEL if by_density else "checkpoint")
    ax.set_ylabel(DENSITY_LABEL if by_density else "checkpoint")
    ax.spines[:].set_visible(False)


def _handles(ds: xr.Dataset, measure: str, definition: str, splits: tuple[str, str]) -> list[Any]:
    """Legend: what a dot, a hatched cell and a white one are, and how many there are."""
    shown = ds[f"{measure}_barrier"].sel(definition=definition, split=[s for s in splits if s])
    values = scale(BARRIER.variables[f"{measure}_barrier"]) * shown.values
    handles: list[Any] = []
    if _is_judged(measure, definition):
        count = f"{(values > UNSTABLE_PERCENT).sum()} of {np.isfinite(values).sum()}"
        label = f"unstable, above {UNSTABLE_PERCENT:g} %: {count} barriers"
        handles.append(Line2D([], [], color="black", label=label, **_DOT))
    if lost := int((~np.isfinite(values)).sum()):
        label = f"measured, not known (NaN): {lost} barriers"
        handles.append(Patch(linewidth=0, label=label, **_UNKNOWN))
    if missing := sum(_missing(part) for part in _groups(ds)):
        label = f"not measured: {missing} pair{'s' if missing > 1 else ''}"
        handles.append(Patch(facecolor="white", edgecolor="0.6", linewidth=0.5, label=label))
    return handles


def _missing(ds: xr.Dataset) -> int:
    """How many pairs of these checkpoints were not measured."""
    ends = _ends(ds)
    pairs = {frozenset(_names(pair)) for pair in ds["pair"].values.tolist()}
    return len(ends) * (len(ends) - 1) // 2 - len([pair for pair in pairs if len(pair) == 2])


def _groups(ds: xr.Dataset) -> Iterator[xr.Dataset]:
    """The pairs that share checkpoints with each other, directly or through others."""
    pairs = [set(_names(pair)) for pair in ds["pair"].values.tolist()]
    left = list(range(len(pairs)))
    while left:
        names, rows, size = set(pairs[left[0]]), [left[0]], 0
        while size < len(names):
            size = len(names)
            rows = [k for k in left if pairs[k] & names]
            names = names.union(*(pairs[k] for k in rows))
        yield ds.isel(pair=rows)
        left = [k for k in left if k not in rows]


def _highest(ds: xr.Dataset, measure: str) -> float:
    """The highest barrier drawn of all runs, as it is drawn; 0 if none is known."""
    name = f"{measure}_barrier"
    splits = [split for split in _usual_splits(ds) if split]
    values = scale(BARRIER.variables[name]) * ds[name].sel(definition="lmc", split=splits).values
    return float(np.nanmax(np.where(np.isfinite(values), values, np.nan), initial=0.0))


def draw(ds: xr.Dataset, *, width: float = PAGE) -> Canvas:
    """Error and loss beside each other, as wide as a page unless told otherwise; a row per run."""
    BARRIER.validate(ds)
    groups = list(_groups(ds)) or [ds]
    beside = abreast(width, len(MEASURES))
    parts = [(part, measure) for part in groups for measure in MEASURES]
    tops = {measure: _highest(ds, measure) for measure in MEASURES}
    side = min(PANEL, width / beside - BESIDE)
    with paper_figure(width, side) as canvas:
        rows = len(parts) // beside
        canvas.set_figheight(rows * (side + 0.8))
        for ax, (part, measure) in zip(canvas.subplots(rows, beside).flat, parts, strict=True):
            plot_barrier_matrix(part, ax=ax, measure=measure, highest=tops[measure], legend=False)
            if len(groups) > 1:
                runs = ", ".join(dict.fromkeys(end.run for end in _ends(part)))
                ax.set_title(f"{runs}\n{ax.get_title()}")
        legend_above(canvas, _handles(ds, "error", "lmc", _usual_splits(ds)))
    return canvas


FIGURE = Figure(
    "barrier-matrix",
    FIGURES["barrier-matrix"].summary,
    BARRIER,
    draw,
    {"pairs": "all"},
    caption="Each cell is the barrier on the straight line between two checkpoints, the greatest "
    "height over the mean of the ends (lmc), by their densities. Grey cells are on the diagonal; "
    "white ones were not measured, hatched ones are not known. Dots mark error barriers above the "
    "2 % of Frankle et al.",
    shows=("error_barrier", "loss_barrier"),
)
