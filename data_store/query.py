"""Queries: all stored results of a kind that match, as one dataset."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from landscape.data_store.catalog import Catalog
from landscape.data_store.conditions import Condition, conditions
from landscape.data_store.errors import LandscapeError, unknown
from landscape.data_store.join import case, cases, join
from landscape.data_store.result_file import Result, Variable
from landscape.data_store.results import read_stored
from landscape.data_store.schemas.table import OF_RUNS, SCHEMAS

if TYPE_CHECKING:
    import xarray as xr

    from landscape.data_store.store import Store


def query(store: Store, kind: str, where: Mapping[str, Any]) -> xr.Dataset:
    """All results of `kind` in the store that match, in one dataset as `join` makes it.

    Parameters
    ----------
    where
        Conditions on the fields of the catalogue (``task``, ``model``, ``run``, ``level``,
        ``density`` of the first checkpoint, …) or on settings of the analysis: a value, a
        list, or a slice with both ends included.

    The coordinate ``result`` names the result of each. Results with other labels are joined as
    `join` says, with NaN. About 0.2 ms a result.

    Raises `UsageError` for an unknown kind or field, `LandscapeError` if nothing matches, a
    file is damaged, or the results are of different schema versions; warns of files that the
    catalogue could not read.
    """
    if kind not in SCHEMAS or kind in OF_RUNS:
        raise unknown("kind of result", kind, [k for k in SCHEMAS if k not in OF_RUNS])
    catalog = Catalog(store.root, store.size_limit)
    wanted = [Condition("kind", "=", kind), *conditions(where)]
    rows, faults = catalog.listing("results", wanted, f"results/{kind}/")
    for fault in faults:
        warnings.warn(f"left out: {fault}; see 'landscape verify'", stacklevel=3)
    if not rows:
        asked = ", ".join(f"{k}={v!r}" for k, v in where.items()) or "no condition"
        raise LandscapeError(f"no stored {kind} result matches {asked}; see 'landscape ls'")
    versions = sorted({row["version"] for row in rows}, key=lambda v: (len(v), v))
    if len(versions) > 1:
        raise LandscapeError(
            f"the {kind} results that match are of schema versions {', '.join(versions)}, which "
            f"are not joined; add version={versions[-1]!r}"
        )
    rows.sort(key=lambda r: (r["run"] or "", r["level"] or 0, r["inputs"], r["id"]))
    with _uncollected():
        return _joined(store, rows).dataset()


def _joined(store: Store, rows: list[dict[str, Any]]) -> Result:
    """The results of these rows in one, with the id of each as a coordinate."""
    parts = [
        read_stored(store.root / row["path"], root=store.root, limit=store.size_limit)
        for row in rows
    ]
    along = case(parts[0])
    counts = [cases(part, along) for part in parts]
    ids = np.repeat([row["id"] for row in rows], counts)
    attrs = {"long_name": "id of the result", "units": "1"}
    named = {"result": Variable((along,), ids, attrs, is_coordinate=True)}
    whole = join(parts)
    return Result(whole.record, {**whole.variables, **named})


@contextmanager
def _uncollected() -> Iterator[None]:
    """Without garbage collection for a moment: of ten thousands of values that all live on.

    Looking through them again and again, in vain, takes as long as reading them.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
