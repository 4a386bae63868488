"""Made-up surfaces for the figures."""

from __future__ import annotations

import numpy as np

from landscape.data_store.schemas.surface import SURFACE


def height(x, y):
    """A bowl that differs from its transpose."""
    return 0.1 + x**2 + 4 * (y - 0.5) ** 2


def example(nx=21, ny=17, threshold=1.0, **changes):
    """`height` on a Euclidean plane with a solution, a baseline and a rewind point off it."""
    ds = SURFACE.example().isel(column=np.zeros(nx, int), row=np.zeros(ny, int)).copy(deep=True)
    ds = ds.assign_coords(column=("column", np.arange(nx * 1.0), ds["column"].attrs))
    ds = ds.assign_coords(row=("row", np.arange(ny * 1.0), ds["row"].attrs))
    ds["x"].values[0], ds["y"].values[0] = np.linspace(-2, 3, nx), np.linspace(-1, 2, ny)
    grid = height(ds.x.values[0][:, None], ds.y.values[0])
    ds["loss"].values[0] = np.stack([grid, grid + 0.2])
    ds["displacement"].values[0] = 1.0
    ds["threshold"].values[0] = threshold
    ds["unit"].values[:] = 1.0
    ds["point_x"].values[0], ds["point_y"].values[0] = [0.0, 1.0, 2.0], [0.0, 0.0, 1.5]
    ds["point_residual"].values[0] = [0.0, 0.0, 0.7]
    ds["point_name"] = ds["point_name"].copy(data=[["imp@3", "imp@4.baseline", "imp@4.rewind"]])
    ds["point_part"] = ds["point_part"].copy(data=[["final", "baseline", "rewind"]])
    ds["measure"] = ds["measure"].copy(data=["loss"])
    for name, value in changes.items():
        ds[name] = ds[name].copy(data=value)
    return ds.drop_vars(["eigenvalue", "explained_variance"])


def line_only():
    """A surface of one axis."""
    return example().isel(row=[0], axis=[0]).assign_coords(y=example()["y"].isel(row=[0]) * 0)


def several():
    """Two surfaces, the second smaller and padded as joining pads it."""
    ds = example().isel(surface=[0, 0]).copy(deep=True)
    ds = ds.assign_coords(surface=("surface", ["one", "two"], ds["surface"].attrs))
    ds["x"].values[1, 10:] = np.nan
    ds["loss"].values[1, :, 10:] = np.nan
    ds["status"].values[1, :, 10:] = 2
    ds["point_x"].values[1, 2] = ds["point_y"].values[1, 2] = np.nan
    ds["point_part"].values[1, 2] = ""
    return ds
