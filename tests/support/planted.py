"""Made-up tickets of a sweep, with the coordinates that a sweep gives them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from landscape.data_store.schemas.tickets import TICKETS

LADDER, TRUTH = (1.0, 0.5, 0.1, 0.02), 0.02


def seeking(tasks: str | Sequence[str], criteria: Sequence[str], replicates: int = 3) -> xr.Dataset:
    """Tickets of every task, criterion and density of `LADDER`; only a circle has classes."""
    names = [tasks] if isinstance(tasks, str) else list(tasks)
    rows = [
        (task, criterion, density, seed)
        for task in names
        for criterion in criteria
        for density in LADDER
        for seed in range(replicates)
    ]
    draws = np.random.default_rng(0)
    example = TICKETS.example()
    sizes = {**example.sizes, "checkpoint": len(rows)}
    coords: dict[str, Any] = {
        "checkpoint": ["-".join(map(str, row)) + "@9" for row in rows],
        "run": ["-".join(map(str, row)) for row in rows],
        "level": np.full(len(rows), 9.0),
        "density": [row[2] for row in rows],
        **{name: example[name].values for name in ("ticket", "split", "rescale")},
    }
    classes = np.array([row[0] == "circle" for row in rows])
    variables: dict[str, Any] = {}
    for name, want in TICKETS.variables.items():
        values = draws.uniform(0.1, 0.9, tuple(sizes[dim] for dim in want.dims))
        variables[name] = np.zeros_like(values) if want.flags else values
        if "error" in name:
            variables[name][~classes] = np.nan
    variables["truth_density"] = np.full(len(rows), TRUTH)
    return labelled(
        TICKETS.build(coords, variables),
        target=np.array([row[0] for row in rows]),
        criterion=np.array([row[1] for row in rows]),
        densities=np.full(len(rows), "multishot"),
        seed=np.array([row[3] for row in rows]),
        target_density=np.array([row[2] for row in rows]),
    )


def labelled(ds: xr.Dataset, **labels: Any) -> xr.Dataset:
    """A dataset with further coordinates over its checkpoints."""
    return ds.assign_coords({name: ("checkpoint", values) for name, values in labels.items()})


PRUNERS = ["random", "synflow"]


def on_schedules(schedules):
    """Tickets of two tasks and two pruners, found on these schedules in turn."""
    ds = seeking(["circle", "helix"], PRUNERS)
    return labelled(ds, densities=np.resize(schedules, ds.sizes["checkpoint"]))


def require_alone(figure, schedule, other):
    """Of tickets of two schedules a figure draws those of one."""
    ds = on_schedules([schedule, schedule, other])
    own = ds.isel(checkpoint=ds["densities"].values == schedule)
    axes = figure.draw(ds).axes
    assert len(axes) == 4
    for name, line in zip(PRUNERS, axes[2].lines[::2], strict=False):
        rows = (own["criterion"].values == name) & (own["target"].values == "circle")
        error = own["error"].sel(ticket="weak", split="test", rescale="none").values[rows]
        want = [error[own["density"].values[rows] == d].mean() for d in LADDER]
        np.testing.assert_allclose(line.get_xdata(), 100 * np.array(LADDER))
        np.testing.assert_allclose(line.get_ydata(), 100 * (1 - np.array(want)))
