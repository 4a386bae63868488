"""A store with a result of every kind that a report draws, made up but stored as real ones are."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from landscape.command_lines import settings_class
from landscape.data_store.schemas.table import SCHEMAS
from landscape.data_store.settings import question
from tests.support.results import saved

ALONG = {
    "barrier": "pair", "overlap": "pair", "sublevel": "transition", "volume": "checkpoint",
    "tickets": "checkpoint", "curvature": "checkpoint", "insights": "study",
}  # fmt: skip
DENSITY = {0: 1.0, 1: 0.8, 2: 0.64, 3: 0.5}


def said(
    kind: str,
    addresses: list[str],
    task: str = "digits",
    model: str = "mlp:64-20-10",
    **settings: Any,
) -> dict[str, Any]:
    """The record of a result about some addresses, asked with the defaults but for `settings`."""
    inputs = []
    for address in addresses:
        run, _, level = address.rpartition("@")
        digest = hashlib.sha256(address.encode()).hexdigest()
        inputs.append(
            {
                "address": address, "digest": digest, "run": run or None,
                "level": int(level) if run else None, "part": "final",
                "density": DENSITY.get(int(level), 0.1) if run else None,
            }
        )  # fmt: skip
    cls = settings_class(kind)
    asked = {} if cls is None else question(cls(**settings))
    return {
        "kind": kind, "schema_version": list(SCHEMAS[kind].version), "inputs": inputs,
        "task": task, "model": model, "settings": asked,
        "data": {"digest": "d" * 64, "network": "e" * 64}, "seconds": 0.5, "landscape": "0.1.0",
        "created": "2026-01-01T00:00:00+00:00",
    }  # fmt: skip


def answer(kind: str, addresses: list[str]) -> xr.Dataset:
    """A made-up result about some addresses: the schema's example, with numbers of its own."""
    along = ALONG[kind]
    ds = SCHEMAS[kind].example().isel({along: [0]})
    label = addresses[0].partition("@")[0] if kind == "insights" else " ".join(addresses)
    changes: dict[str, Any] = {along: [label]}
    if "run" in ds.coords:
        changes["run"] = (along, [addresses[0].rpartition("@")[0]])
    levels = [int(address.rpartition("@")[2]) for address in addresses if "@" in address]
    ends = {"": levels[0], "_a": levels[0], "_b": levels[-1]} if levels else {}
    for end, level in ends.items():
        for name, value in (("level", float(level)), ("density", DENSITY.get(level, 0.1))):
            if f"{name}{end}" in ds.coords and kind != "insights":
                changes[f"{name}{end}"] = (along, [value])
    attrs = {name: ds[name].attrs for name in changes}
    ds = ds.assign_coords(changes)
    for name, kept in attrs.items():
        ds[name].attrs = kept
    return ds


def keep(
    root: Path,
    kind: str,
    addresses: list[str],
    task: str = "digits",
    model: str = "mlp:64-20-10",
    ds: xr.Dataset | None = None,
    **settings: Any,
) -> Path:
    """Store a made-up result."""
    record = said(kind, addresses, task, model, **settings)
    return saved(root, answer(kind, addresses) if ds is None else ds, record)


def fill(root: Path) -> None:
    """Results of every kind about the run ``imp`` of levels 0 to 2; one value is not known."""
    pairs = [["imp@0", "imp@1"], ["imp@1", "imp@2"]]
    for pair in pairs:
        keep(root, "barrier", pair, points=5)
        keep(root, "overlap", pair)
        measured = answer("sublevel", pair)
        keep(root, "sublevel", pair, ds=measured.assign(
            {name: (measured[name].dims, np.full(measured[name].shape, value), measured[name].attrs)
             for name, value in (("measure", "error"), ("epsilon", 0.02))}
        ))  # fmt: skip
    for level in range(3):
        volume = answer("volume", [f"imp@{level}"])
        if level == 2:
            volume["log_volume_per_dimension"].values[0, 0] = np.nan
            volume["status"].values[0, 0] = 8
        keep(root, "volume", [f"imp@{level}"], ds=volume)
        keep(root, "tickets", [f"imp@{level}"])
        keep(root, "overlap", [f"imp@{level}"], planted=True)
        keep(root, "curvature", [f"imp@{level}"])
    keep(root, "insights", ["imp@0", "imp@1", "imp@2"])
