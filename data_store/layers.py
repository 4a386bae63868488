"""Layers: how many weights of each layer the masks of several runs keep."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from landscape.data_store.curves import Row, rows_of
from landscape.data_store.errors import LandscapeError
from landscape.data_store.schemas.layers import LAYERS

if TYPE_CHECKING:
    import xarray as xr

    from landscape.data_store.mask import Mask
    from landscape.data_store.store import Run


def layers(runs: Sequence[Run]) -> xr.Dataset:
    """The density of every layer at every level; schema ``layers``.

    The layers are the tensors that may be pruned, in order of first use; of one that a run does
    not have, or a level it has not finished, everything is NaN, the level's status ``absent``.
    Branches that differ only in the level they begin at are one row, as in
    `landscape.data_store.curves.training`.

    Raises `LandscapeError` if no level is finished.
    """
    rows = rows_of(runs)
    coords = mask_coordinates(rows, runs)
    numbers, names = coords["level"], coords["layer"]
    shape = (len(rows), len(numbers), len(names))
    arrays: dict[str, Any] = {
        "layer_density": np.full(shape, np.nan),
        "layer_size": np.full((shape[0], shape[2]), np.nan),
        "density": np.full(shape[:2], np.nan),
        "status": np.full(shape[:2], 2, dtype=np.int8),
    }
    for r, row in enumerate(rows):
        for number, level in row.levels.items():
            n = numbers.index(number)
            arrays["density"][r, n] = level.mask.density
            arrays["status"][r, n] = 1 if level.status == "diverged" else 0
            for name in level.mask.prunable:
                kept = level.mask.layer(name)
                arrays["layer_density"][r, n, names.index(name)] = _share(kept)
                arrays["layer_size"][r, names.index(name)] = kept.size
    return LAYERS.build(coords, arrays)


def mask_coordinates(rows: Sequence[Row], runs: Sequence[Run]) -> dict[str, Any]:
    """What the datasets of masks say of their rows: names, levels, layers, settings.

    Raises `LandscapeError`, naming the runs, if no level is finished.
    """
    numbers = sorted({number for row in rows for number in row.levels})
    if not numbers:
        names = ", ".join(run.name for run in runs)
        raise LandscapeError(f"no level of {names} is finished yet; train on first")
    return {
        "run": [row.name for row in rows],
        "level": numbers,
        "layer": _names([level.mask for row in rows for level in row.levels.values()]),
        "strategy": [row.strategy for row in rows],
        **{name: [row.config.get(name, "") for row in rows] for name in ("task", "model", "scope")},
        "seed": [row.config.get("seed", np.nan) for row in rows],
    }


def _names(masks: Sequence[Mask]) -> list[str]:
    """Prunable tensors of all masks, in the order of their networks; the longest list first."""
    lists = sorted((mask.prunable for mask in masks), key=len, reverse=True)
    return list(dict.fromkeys(name for names in lists for name in names))


def _share(kept: Any) -> float:
    """Fraction that is kept; NaN of a tensor without weights."""
    return np.count_nonzero(kept) / kept.size if kept.size else np.nan
