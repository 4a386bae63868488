"""Cells: the coordinates along the axes of a line or plane at which a surface is evaluated."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from landscape.data_store.params import Array

_SAME_PLACE = 1e-9  # of a cell: rounding of a grid


def grids_between(marks: Array, sizes: Sequence[int], ends: Sequence[float]) -> list[Array]:
    """Evenly spaced coordinates, increasing, between given ends.

    A coordinate that is a checkpoint's up to rounding is exactly the checkpoint's.

    Parameters
    ----------
    marks
        Coordinates of the checkpoints (p, a).
    sizes
        Cells along each axis.
    ends
        Low and high for all axes, or for each; -1 and 1 if empty.

    Returns
    -------
    list of arrays
        One for each axis.
    """
    pairs = np.array(ends or (-1.0, 1.0), dtype=np.float64).reshape(-1, 2)
    grids = []
    for k, size in enumerate(sizes):
        low, high = pairs[min(k, len(pairs) - 1)].tolist()
        grids.append(_snapped(np.linspace(low, high, size), marks[:, k]))
    return grids


def grids_around(marks: Array, sizes: Sequence[int], margin: float | None) -> list[Array]:
    """The same around checkpoints, with 0 among them where the margin has room for it.

    Parameters
    ----------
    marks, sizes
        As `grids_between`.
    margin
        How far beyond the checkpoints they run, as a fraction of the largest extent; 0.5 on a
        line and 0.25 in a plane if None. All axes get the same, so that a plane that is long and
        thin keeps some width. To make 0 a cell they are moved by up to half a cell.
    """
    if margin is None:
        margin = 0.5 if len(sizes) == 1 else 0.25
    extents = np.ptp(marks, axis=0)
    beyond = margin * extents.max()
    grids = []
    for mark, extent, size in zip(marks.T, extents, sizes, strict=True):
        room = beyond + (0.0 if extent else extents.max() / 2)  # else a random second axis
        grid = np.linspace(mark.min() - room, mark.max() + room, size)
        if room >= (grid[1] - grid[0]) / 2:
            grid -= grid[abs(grid).argmin()]
        grids.append(_snapped(grid, mark))
    return grids


def _snapped(grid: Array, marks: Array) -> Array:
    """A grid on which what should be a checkpoint's coordinate is."""
    nearest = abs(grid[:, None] - marks).argmin(axis=0)
    close = abs(grid[nearest] - marks) < _SAME_PLACE * (grid[1] - grid[0])
    grid[nearest[close]] = marks[close]
    return grid
