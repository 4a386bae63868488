"""Made-up studies: what was measured of a run of IMP and its controls, number by number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from landscape.data_store.schema import STATUS, TEXT
from landscape.data_store.schemas.insights import MEASURED
from landscape.data_store.schemas.sublevel import PATHS, POINTS

STRATEGIES = ("imp", "one-shot", "finetune", "random", "largest-first", "reinit")
LEVELS = (0.0, 1.0, 2.0, 3.0, 4.0)


def study(replicates: Sequence[str] = ("imp",), strategies: Sequence[str] = STRATEGIES) -> Any:
    """A study in which all is known and alike: errors of 2 %, no barriers, nothing apart.

    Standard errors are 0.1 %. There is no transition to level 0, of which only IMP's solution is
    known. No volume is known.
    """
    labels = {
        "study": [" ".join(replicates)], "replicate": list(replicates),
        "strategy": list(strategies), "level": list(LEVELS), "split": ["train", "test"],
        "point": list(POINTS), "path": list(PATHS),
    }  # fmt: skip
    usual = {
        "loss": 0.1, "loss_se": 0.005, "error": 0.02, "error_se": 0.001, "loss_barrier": 0.0,
        "error_barrier": 0.0, "barrier_se": 0.001, "distance": 5.0, "angle": 0.2,
    }  # fmt: skip
    ds = xr.Dataset(coords=labels)
    for name, variable in MEASURED.items():
        shape = tuple(len(labels[dim]) for dim in variable.dims)
        if variable.dtype == TEXT:
            values = np.full(shape, "x")
        elif variable.dtype == STATUS:
            values = np.zeros(shape, dtype=np.int8)
        else:
            values = np.full(shape, usual.get(name, np.nan))
        ds[name] = (variable.dims, values, variable.attributes())
    ds["density"] = ds["density"].fillna(1.0) * 0.8 ** ds["level"]
    ds["density"].attrs = MEASURED["density"].attributes()
    for name in usual:
        if name.endswith("barrier") or name in ("distance", "angle", "barrier_se"):
            put(ds, name, np.nan, level=0.0)
        else:
            put(ds, name, np.nan, level=0.0, point=["previous", "baseline", "rewind"])
            others = [s for s in strategies if s != "imp"]
            put(ds, name, np.nan, level=0.0, strategy=others)
    return ds


def put(ds: xr.Dataset, name: str, value: Any, **labels: Any) -> None:
    """Set a variable where its labels are these; a list of values goes by level."""
    where = {k: v for k, v in labels.items() if k in ds[name].dims}
    ds[name].loc[where] = value


def without(ds: xr.Dataset, *strategies: str) -> xr.Dataset:
    """The study without some strategies."""
    return ds.sel(strategy=[s for s in ds["strategy"].values if s not in strategies])
