"""Surfaces for other people's plots: tomgoldstein/loss-landscape's scripts, and Landscaper."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from landscape.data_store import layout
from landscape.data_store.errors import LandscapeError, UsageError, unknown
from landscape.data_store.params import Array

if TYPE_CHECKING:
    import xarray

_POSITIONS = {"column": "x", "row": "y"}  # coordinates of cells that are numbered
_SPLIT = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, eq=False)
class Surface:
    """Loss and accuracy along one or two axes.

    Parameters
    ----------
    axes
        Positions (nx,) on the first axis and (ny,) on the second, if there is one.
    values
        ``train_loss`` in nats per example, ``train_acc`` in percent, and so for every split:
        (nx,) or (ny, nx), that is ``values[j, i]`` at ``(x[i], y[j])``, as
        ``numpy.meshgrid(x, y)`` lies. NaN where the result has none.
    label
        What was measured, in a line.
    record
        The result's record as JSON.
    """

    axes: tuple[Array, ...]
    values: Mapping[str, Array]
    label: str
    record: str


def surface(ds: xarray.Dataset, *, pair: str | None = None) -> Surface:
    """The surface in a result whose ``loss`` is over (…, split, x) or (…, split, x, y).

    Cells may be numbered instead, as ``column`` and ``row``, with ``x`` and ``y`` beside them.

    Parameters
    ----------
    pair
        Which entry of the dimension before ``split``; needed where there are several.

    Raises `UsageError` if several entries are there and `pair` names none of them,
    `LandscapeError` if the dataset holds no such loss.
    """
    dims = tuple(map(str, ds["loss"].dims)) if "loss" in ds else ()
    at = dims.index("split") if "split" in dims else len(dims)
    names = {dim: _POSITIONS.get(dim, dim) for dim in dims[at + 1 :]}
    if len(names) not in (1, 2) or any(n not in ds.coords for n in ("split", *names.values())):
        raise LandscapeError(
            "a surface needs a loss over (…, split, x) or (…, split, x, y) with their coordinates;"
            f" this result has {f'loss over {dims}' if dims else 'no loss'}: export a barrier or a "
            "surface"
        )
    if not ds["loss"].size:
        raise LandscapeError("this result holds no loss at all; repeat the command that made it")
    place = _place(ds, dims[:at], pair)
    axes, here = _axes(ds.isel(place), names)
    return Surface(
        axes=axes,
        values=_values(here),
        label=", ".join(str(ds[name].values[i]) for name, i in place.items() if name in ds.coords),
        record=json.dumps(json.loads(ds.attrs.get(layout.RECORD_ATTRIBUTE, "{}")), sort_keys=True),
    )


def _axes(ds: xarray.Dataset, names: Mapping[str, str]) -> tuple[tuple[Array, ...], xarray.Dataset]:
    """Positions on the axes and the dataset over them alone.

    A second axis of one place is left out, and so are the places that joining with a larger
    surface has added.
    """
    axes = {dim: _numbers(ds[name]) for dim, name in names.items()}
    last = list(names)[-1]
    if len(names) == 2 and len(axes[last]) == 1:
        ds = ds.isel({last: 0})
        del axes[last]
    known = {dim: np.flatnonzero(~np.isnan(axis)) for dim, axis in axes.items()}
    return tuple(axes[dim][known[dim]] for dim in axes), ds.isel(known)


def _numbers(variable: xarray.DataArray) -> Array:
    """The values as float64; `LandscapeError` if they are no numbers."""
    if variable.dtype.kind not in "fiu":
        raise LandscapeError(f"{variable.name!r} of this result is {variable.dtype}, not numbers")
    return np.asarray(variable.values, dtype=np.float64)


def _place(ds: xarray.Dataset, dims: tuple[str, ...], pair: str | None) -> dict[str, int]:
    """One entry of each dimension before ``split``; only one of them may have several."""
    several = [name for name in dims if ds.sizes[name] > 1]
    if len(several) > 1:
        raise LandscapeError(
            f"a file holds one surface, and this result has several over {' and '.join(several)}; "
            "select one of each first"
        )
    if pair is None and several:
        names = ", ".join(repr(str(v)) for v in ds[several[0]].values[:12])
        raise UsageError(
            f"a file holds one surface and this result has {ds.sizes[several[0]]}; give --pair, "
            f"one of {names}"
        )
    place = dict.fromkeys(dims, 0)
    if pair is not None:
        chosen = (several or list(dims) or [""])[0]
        labels = [str(value) for value in ds[chosen].values] if chosen in ds.coords else []
        if pair not in labels:
            raise unknown("pair", pair, labels)
        place[chosen] = labels.index(pair)
    return place


def _values(ds: xarray.Dataset) -> dict[str, Array]:
    """Loss and accuracy of every split; two axes as (second, first)."""
    loss = _numbers(ds["loss"])
    has_error = "error" in ds and ds["error"].dims == ds["loss"].dims
    error = _numbers(ds["error"]) if has_error else np.full(loss.shape, np.nan)
    values = {}
    for i, split in enumerate(map(str, ds["split"].values)):
        if not _SPLIT.fullmatch(split):
            raise LandscapeError(
                f"split {split!r} is no name for an array in a file; use letters, digits, '_', '-'"
            )
        values[f"{split}_loss"] = np.ascontiguousarray(loss[i].T)
        values[f"{split}_acc"] = np.ascontiguousarray(100 * (1 - error[i].T))
    return values


def plot_script_image(made: Surface) -> bytes:
    """The bytes of an HDF5 file that ``plot_1D.py``, ``plot_2D.py`` and ``h52vtp.py`` read.

    The datasets are ``xcoordinates``, ``ycoordinates`` for two axes, ``train_loss``,
    ``train_acc`` and so for every split, ``dir_file``, here the label; the record is the
    attribute ``record``. Losses lie as the plot scripts draw them, (ny, nx), which is the
    transpose of what that repository's own ``plot_surface.py`` writes. A missing value is NaN,
    never its sentinel −1. ``h52vtp.py`` takes any grid for a square one.

    Raises `LandscapeError` for one axis without the split ``train``, which ``plot_1D.py`` needs.

    Source: github.com/tomgoldstein/loss-landscape; Li et al. (2018).
    """
    if len(made.axes) == 1 and "train_loss" not in made.values:
        splits = ", ".join(sorted({name.rpartition("_")[0] for name in made.values}))
        raise LandscapeError(
            f"plot_1D.py draws the split 'train', and this result has {splits}; repeat the "
            "analysis with --splits train and those"
        )
    names = ("xcoordinates", "ycoordinates")
    arrays = {**dict(zip(names, made.axes, strict=False)), **made.values}
    buffer = io.BytesIO()
    # the oldest format that holds a long attribute
    with h5py.File(buffer, "w", libver=("v108", "v108")) as file:
        for name, array in arrays.items():
            file.create_dataset(name, data=array, track_times=False)
        label = "".join(c for c in made.label if c.isprintable())
        file.create_dataset("dir_file", data=label, track_times=False)
        file.attrs[layout.RECORD_ATTRIBUTE] = made.record
    return buffer.getvalue()


def landscaper_archive(made: Surface) -> bytes:
    """The bytes of an ``.npz`` file that Landscaper's ``LossLandscape.load_from_npz`` reads.

    ``loss`` is (n, n), of the split ``train`` or else the first; ``coordinates`` is (2, n).
    Loss and accuracy of every split are beside them by name, and the record as text.

    Raises `LandscapeError` for one axis, and for a grid that is not square: Landscaper keeps
    its axes in one array.

    Source: Landscaper 1.3.1, ``utils.load_landscape`` and ``LossLandscape.save``.
    """
    if len(made.axes) != 2:
        raise LandscapeError(
            "Landscaper reads surfaces over two axes and this one has one; export an .h5 file"
        )
    width, height = map(len, made.axes)
    if width != height:
        raise LandscapeError(
            f"Landscaper keeps both axes in one array, so it reads square grids, and this one has "
            f"{width} × {height} points; export an .h5 file, or compute as many on both axes"
        )
    losses = [name for name in made.values if name.endswith("_loss")]
    chosen = "train_loss" if "train_loss" in losses else losses[0]
    arrays: dict[str, Any] = {
        "loss": made.values[chosen],
        "coordinates": np.stack(made.axes),
        **made.values,
        layout.RECORD_ATTRIBUTE: np.array(made.record),
    }
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()
