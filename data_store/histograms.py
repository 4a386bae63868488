"""Histograms: the initial weights that survive, by layer and level."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from landscape.data_store.curves import Row, rows_of
from landscape.data_store.errors import UsageError
from landscape.data_store.layers import mask_coordinates
from landscape.data_store.schemas.histograms import HISTOGRAMS

if TYPE_CHECKING:
    import xarray as xr

    from landscape.data_store.params import Array
    from landscape.data_store.records import Level
    from landscape.data_store.store import Run

_DIVERGED, _ABSENT, _NO_INIT = 1, 2, 3


def histograms(runs: Sequence[Run], *, bins: int = 50) -> xr.Dataset:
    """How the initial weights that each level keeps are distributed; schema ``histograms``.

    Of layer *l* the bins are `bins` equal parts of [-m, m], m being the largest magnitude of its
    initial weights in any of the runs; the last bin has both ends. ``probability_density`` is the
    count over its sum and the width of a bin, so its area is 1; it is NaN where nothing is kept.

    Parameters
    ----------
    runs
        Branches that differ only in the level they begin at are one row, as in
        `landscape.data_store.curves.training`.
    bins
        Even, so that zero is an edge.

    The initial weights are the network's before any training, whatever step it is rewound to;
    weights that are drawn anew later are not looked at. Levels that a row lacks are NaN with
    status ``absent``; of an imported level that does not know where it began, status
    ``no_initial_weights``. Weights that are not finite are in no bin.

    Raises `UsageError` for a number of bins that is odd or below 2, `LandscapeError` if no level is
    finished. Source: Frankle & Carbin (2019), figures 15 and 16.
    """
    if bins < 2 or bins % 2:
        raise UsageError(f"bins is {bins}; give an even number from 2")
    rows = rows_of(runs)
    coords = mask_coordinates(rows, runs)
    most = _magnitudes(rows)
    centre = [_centre(most.get(name, np.nan), bins) for name in coords["layer"]]
    shape = (len(rows), len(coords["level"]), len(coords["layer"]), bins)
    arrays: dict[str, Any] = {
        "count": np.full(shape, np.nan),
        "density": np.full(shape[:2], np.nan),
        "status": np.full(shape[:2], _ABSENT, dtype=np.int8),
    }
    for r, row in enumerate(rows):
        for number, level in row.levels.items():
            n = coords["level"].index(number)
            arrays["density"][r, n] = level.mask.density
            arrays["status"][r, n] = _status(level)
            for name, weights in _survivors(row.run, level).items():
                counts, _ = np.histogram(weights, bins, range=_ends(most[name]))
                arrays["count"][r, n, coords["layer"].index(name)] = counts
    widths = np.array([2 * _ends(most.get(name, np.nan))[1] / bins for name in coords["layer"]])
    total = arrays["count"].sum(-1, keepdims=True)
    share = arrays["count"] / np.where(total > 0, total, np.nan)
    variables = {"centre": centre, "probability_density": share / widths[:, None], **arrays}
    return HISTOGRAMS.build({**coords, "bin": np.arange(bins)}, variables)


def _status(level: Level) -> int:
    """What the dataset says of a level that there is."""
    if "init" not in level.origins:
        return _NO_INIT
    return _DIVERGED if level.status == "diverged" else 0


def _survivors(run: Run, level: Level) -> dict[str, Array]:
    """Finite initial weights by layer where the level's mask keeps them; none if unknown."""
    if "init" not in level.origins:
        return {}
    theta, mask = run.point(level.origins["init"]).theta, level.mask
    found = {name: theta[mask.spec.slices[name]][mask.layer(name)] for name in mask.prunable}
    return {name: weights[np.isfinite(weights)] for name, weights in found.items()}


def _magnitudes(rows: Sequence[Row]) -> dict[str, float]:
    """The largest magnitude of each layer's initial weights, pruned or not."""
    most: dict[str, float] = {}
    seen = set()
    for row in rows:
        for level in row.levels.values():
            digest = level.origins.get("init")
            if digest is None or digest in seen:
                continue
            seen.add(digest)
            theta, mask = row.run.point(digest).theta, level.mask
            for name in mask.prunable:
                weights = theta[mask.spec.slices[name]]
                finite = np.abs(weights[np.isfinite(weights)]).max(initial=0.0)
                most[name] = max(most.get(name, 0.0), float(finite))
    return most


def _ends(most: float) -> tuple[float, float]:
    """First and last edge; of a layer of zeros, as numpy has it, half a unit each way."""
    return (-0.5, 0.5) if most == 0 else (-most, most)


def _centre(most: float, bins: int) -> Array:
    """Middles of the bins (bins,), symmetric about zero."""
    _, end = _ends(most)
    middles: Array = end * (2 * np.arange(bins) + 1 - bins) / bins
    return middles
