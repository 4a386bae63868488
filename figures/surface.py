"""What the figures of surfaces share: which surface, its checkpoints, its axes, its panels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from landscape.data_store.errors import LandscapeError, UsageError, unknown
from landscape.data_store.schemas.surface import SURFACE
from landscape.figures.panels import is_leftmost
from landscape.figures.style import (
    COLUMN,
    HEIGHT,
    MEASURES,
    OKABE_ITO,
    PAGE,
    abreast,
    legend_above,
    paper_figure,
    scale,
)

Numbers = NDArray[np.float64]

NAME_SIZE = 6.0
SIDES = ((1.0, 1.0), (-1.0, 1.0), (1.0, -2.5), (-1.0, -2.5))  # where a name may stand
OFF = 1e-6  # of the extent: a checkpoint this far from the surface is off it

_LOOKS = {
    "final": ("solution", "^", "black"),
    "baseline": ("baseline", "x", "black"),
    "rewind": ("rewind point", "o", OKABE_ITO[0]),
    "ticket": ("rewind point", "o", OKABE_ITO[0]),
    "init": ("initial weights", "s", OKABE_ITO[2]),
}
_SNAPSHOT = ("snapshot", ".", "0.3")


def chosen(
    ds: xr.Dataset, surface: str | None, split: str | None, measure: str, *, axes: int
) -> xr.Dataset:
    """The one surface that is asked for, without what joining with others has added."""
    SURFACE.validate(ds)
    if measure not in MEASURES:
        raise unknown("measure", measure, MEASURES)
    if split is not None and split not in ds["split"].values:
        raise unknown("split", split, ds["split"].values.tolist())
    labels = ds["surface"].values.tolist()
    if surface is not None and surface not in labels:
        raise unknown("surface", surface, labels)
    if surface is None and len(labels) != 1:
        raise UsageError(
            f"this dataset has {len(labels)} surfaces; name one of {', '.join(map(repr, labels))}"
        )
    here = without_padding(ds.isel(surface=[labels.index(surface) if surface else 0]))
    if here.sizes["axis"] < axes:
        raise LandscapeError(
            "this surface has one axis and a plane has two; draw 'slice', or ask for --axes 2"
        )
    return here


def without_padding(here: xr.Dataset) -> xr.Dataset:
    """One surface without the cells, checkpoints and axes that only others have."""
    row = here.isel(surface=0)
    return here.isel(
        column=np.flatnonzero(np.isfinite(row["x"].values)),
        row=np.flatnonzero(np.isfinite(row["y"].values)),
        point=np.flatnonzero(row["point_part"].values != ""),
        axis=np.flatnonzero(row["direction"].values != ""),
    )


def look_of(part: str) -> tuple[str, str, str]:
    """What a checkpoint is called, its marker and its colour."""
    return _LOOKS.get(part, _SNAPSHOT)


def off_surface(one: xr.Dataset) -> NDArray[np.bool_]:
    """Which checkpoints lie off the plane: bool (point,)."""
    extent = np.nanmax(one["displacement"].values, initial=0.0)
    return np.asarray(one["point_residual"].values > OFF * extent)


def name_mark(ax: Axes, one: xr.Dataset, k: int, side: tuple[float, float]) -> None:
    """The name of one checkpoint, to one side of it."""
    place = one["point_x"].values[k], one["point_y"].values[k]
    if np.isfinite(place).all():
        ax.annotate(
            _short(one["point_name"].values.tolist())[k],
            place,
            xytext=(5 * side[0], 4 * side[1]),
            textcoords="offset points",
            ha="left" if side[0] > 0 else "right",
            fontsize=NAME_SIZE,
            zorder=5,
            path_effects=[withStroke(linewidth=1.5, foreground="white")],
            bbox={"facecolor": "white", "alpha": 0.6, "linewidth": 0, "pad": 0.3},
        )


def name_marks(ax: Axes, one: xr.Dataset, which: Sequence[int]) -> None:
    """Names beside several checkpoints, each on the first side where it covers nothing named.

    Where a name fits is judged by the size the axes have now and an average letter: nearly right.
    """
    names = _short(one["point_name"].values.tolist())
    window = ax.get_window_extent().transformed(ax.figure.dpi_scale_trans.inverted())
    low = np.array([one["x"].values.min(), one["y"].values.min()])
    room = np.array([window.width, window.height]) * 72
    per_unit = room / np.array([np.ptp(one["x"].values), np.ptp(one["y"].values)])
    if is_isometric(one):
        room, per_unit = room * per_unit.min() / per_unit, np.full(2, per_unit.min())
    places = np.stack([one["point_x"].values, one["point_y"].values], axis=1)
    points = (places - low) * per_unit
    taken = [np.array([point - 3.0, point + 3.0]) for point in points[list(which)]]
    for k in which:
        width = 0.6 * NAME_SIZE * len(names[k])
        boxes = {side: _name_box(points[k], side, width) for side in SIDES}
        free = [side for side, box in boxes.items() if _fits(box, room, taken)]
        side = free[0] if free else SIDES[0]
        taken.append(boxes[side])
        name_mark(ax, one, k, side)


def _name_box(point: Numbers, side: tuple[float, float], width: float) -> Numbers:
    """Lower left and upper right corner of a name beside a point, in points."""
    x = point[0] + 5 * side[0] - (width if side[0] < 0 else 0.0)
    y = point[1] + 4 * side[1]
    return np.array([[x, y], [x + width, y + NAME_SIZE]])


def _fits(box: Numbers, room: Numbers, taken: Sequence[Numbers]) -> bool:
    """True if a box is inside the axes and meets none of those that are taken."""
    inside = bool((box[0] >= 0).all() and (box[1] <= room).all())
    return inside and not any((box[0] < t[1]).all() and (t[0] < box[1]).all() for t in taken)


def _short(names: Sequence[str]) -> list[str]:
    """Addresses without the run where all have one, paths without their folders."""
    if len({name.partition("@")[0] for name in names}) == 1 and all("@" in n for n in names):
        return [f"@{name.partition('@')[2]}" for name in names]
    return [name.replace("\\", "/").rpartition("/")[2] for name in names]


def is_isometric(one: xr.Dataset) -> bool:
    """True if one unit of either axis is as long."""
    lengths = one["unit"].values
    return bool(np.isclose(lengths[0], lengths[-1], rtol=1e-3))


def direction_label(one: xr.Dataset, axis: str) -> str:
    """Where an axis points, what is known of it, and what its unit is, a line each."""
    here = one.sel(axis=axis)
    lines = [str(here["direction"].item())]
    if "explained_variance" in here and np.isfinite(here["explained_variance"].item()):
        lines.append(f"{100 * here['explained_variance'].item():.3g} % of the variance")
    if "eigenvalue" in here and np.isfinite(here["eigenvalue"].item()):
        lines.append(f"eigenvalue {here['eigenvalue'].item():.3g}")
    length = here["unit"].item()
    unit = "" if np.isclose(length, 1.0) else f"1 is {length:.3g} in "
    return "\n".join([*lines, f"({unit}Euclidean distance)"])


def set_words(ds: xr.Dataset) -> str:
    """The sublevel set in words: for one surface at most what, in which split."""
    measure = str(ds["measure"].values[0])
    if ds.sizes["surface"] > 1 or measure not in MEASURES:
        return "sublevel set"
    factor, unit = scale(SURFACE.variables[measure]), " %" if measure == "error" else ""
    heights = zip(ds["split"].values.tolist(), ds["threshold"].values[0].tolist(), strict=True)
    told = ", ".join(
        f"{factor * t:.3g}{unit} ({s}{_extent(ds, s)})" for s, t in heights if np.isfinite(t)
    )
    return f"{measure} ≤ {told}"


def _extent(ds: xr.Dataset, split: str) -> str:
    """Words for a set that holds all of what is drawn, or nothing: it has no edge there."""
    share = ds["member_share"].sel(split=split).values[0]
    return ": everywhere" if share == 1 else ": nowhere" if share == 0 else ""


def usual_width(columns: int) -> float:
    """A page where panels stand beside each other, else a column, in inches."""
    return PAGE if columns > 1 else COLUMN


def height_of(ds: xr.Dataset, columns: int, width: float | None = None) -> float:
    """Height in inches that the tallest isometric plane needs beside others in a row."""
    whole = width or usual_width(columns)
    beside = abreast(whole, columns)
    width = whole - 0.75 if beside == 1 else (whole - 0.7) / beside - 0.25
    heights = []
    for k in range(ds.sizes["surface"]):
        one = without_padding(ds.isel(surface=[k])).isel(surface=0)
        flatness = np.ptp(one["y"].values) / np.ptp(one["x"].values)
        heights.append(np.clip(width * flatness, 1.3, 3.5) if is_isometric(one) else HEIGHT)
    return float(max(heights))


def panels(
    ds: xr.Dataset,
    plot: Callable[..., Axes],
    columns: Sequence[tuple[str, dict[str, Any]]],
    handles: Sequence[Any] = (),
    *,
    height: float,
    width: float | None = None,
) -> Canvas:
    """A row of panels for each surface, and a column for each title and its options.

    Where `width` inches are too few, the panels of a surface stand one below the other.
    """
    surfaces = [ds.isel(surface=[k]) for k in range(ds.sizes["surface"])]
    width = width or usual_width(len(columns))
    beside = abreast(width, len(columns))
    below = -(-len(columns) // beside)
    with paper_figure(width, height) as canvas:
        canvas.set_figheight(below * len(surfaces) * (height + 0.7))
        grid = canvas.subplots(below * len(surfaces), beside, squeeze=False)
        for spare in grid.reshape(len(surfaces), -1)[:, len(columns) :].flat:
            spare.remove()
        rows = grid.reshape(len(surfaces), -1)[:, : len(columns)]
        for one, row in zip(surfaces, rows, strict=True):
            for ax, (title, options) in zip(row, columns, strict=True):
                plot(one, ax=ax, **options)
                label = one["surface"].item() if len(surfaces) > 1 else ""
                ax.set_title("\n".join(filter(None, (label, title))))
            for ax in row:
                if not is_leftmost(ax):
                    ax.set_ylabel("")
        if handles:
            legend_above(canvas, handles)
    return canvas
