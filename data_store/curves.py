"""Training curves: the traces of several runs as one dataset."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from landscape.data_store.errors import LandscapeError
from landscape.data_store.schemas.training import TRAINING

if TYPE_CHECKING:
    import xarray as xr

    from landscape.data_store.records import Level
    from landscape.data_store.store import Run


def training(runs: Sequence[Run]) -> xr.Dataset:
    """The training curves of several runs as one dataset; schema ``training``.

    Levels or steps that a run lacks are NaN, with status ``absent``.
    """
    levels = [[run.level(number) for number in run.unbroken_levels] for run in runs]
    numbers = sorted({level.number for of_run in levels for level in of_run})
    steps = sorted({s for of_run in levels for lv in of_run for s in lv.trace.column("step")})
    if not numbers:
        names = ", ".join(run.name for run in runs)
        raise LandscapeError(f"no level of {names} is finished yet; train on first")
    curves = [n for n, v in TRAINING.variables.items() if v.dims == ("run", "level", "step")]
    shape = (len(runs), len(numbers), len(steps))
    arrays: dict[str, Any] = {
        name: np.full(shape if name in curves else shape[:2], np.nan) for name in TRAINING.variables
    }
    arrays["status"] = np.full(shape[:2], 2, dtype=np.int8)
    for r, of_run in enumerate(levels):
        for level in of_run:
            where = (r, numbers.index(level.number))
            at = np.searchsorted(steps, level.trace.column("step"))
            for name in curves:
                arrays[name][where][at] = level.trace.column(name)
            for name, value in _level_numbers(level).items():
                arrays[name][where] = value
    configs = [run.description["config"] for run in runs]
    coords = {
        "run": [run.name for run in runs],
        "level": numbers,
        "step": steps,
        "criterion": [config.get("criterion", "") for config in configs],
        "seed": [config.get("seed", np.nan) for config in configs],
    }
    return TRAINING.build(coords, arrays)


def _level_numbers(level: Level) -> dict[str, float]:
    """The per-level variables of a training dataset."""
    row = level.trace.early_stop_row
    column = level.trace.column
    metrics = level.metrics
    return {
        "density": level.mask.density,
        "early_stop_step": np.nan if row is None else column("step")[row],
        "early_stop_test_error": np.nan if row is None else column("test_error")[row],
        "final_train_loss": metrics.get("train_loss", np.nan),
        "final_train_error": metrics.get("train_error", np.nan),
        "final_test_loss": metrics.get("test_loss", np.nan),
        "final_test_error": metrics.get("test_error", np.nan),
        "status": 1 if level.status == "diverged" else 0,
    }
