"""Surfaces for other programs: every loss is where their own reading looks for it."""

import io
import json
import zipfile

import h5py
import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure

from landscape.data_store.errors import LandscapeError, UsageError
from landscape.data_store.schemas.barrier import BARRIER
from landscape.data_store.schemas.overlap import OVERLAP
from landscape.data_store.schemas.surface import SURFACE
from landscape.data_store.surface_file import landscaper_archive, plot_script_image, surface

RECORD = {"kind": "barrier", "task": "digits", "seconds": 1.5}


def barrier(pairs=1):
    """A made-up barrier, three pairs cut to some."""
    ds = BARRIER.example().isel(pair=slice(pairs))
    ds["loss"].values[0, 0, 2] = np.nan
    ds.attrs["record"] = json.dumps(RECORD)
    return ds


def height(x, y):
    """A surface that differs from its transpose."""
    return 10 * x + y


def plane(nx=3, ny=4, splits=("train", "test"), **changes):
    """`height` over a grid, the test loss one above; dims (pair, split, x, y)."""
    x, y = np.linspace(-1, 1, nx), np.linspace(0, 6, ny)
    loss = np.array([[[height(a, b) + s for b in y] for a in x] for s in range(len(splits))])
    dims = ("pair", "split", "x", "y")
    variables = {"loss": (dims, loss[None]), "error": (dims, np.full(loss[None].shape, 0.25))}
    coords = {"pair": ["a b"], "split": list(splits), "x": x, "y": y}
    return xr.Dataset(variables | changes, coords, attrs={"record": json.dumps(RECORD)})


def written(ds, **how):
    """The datasets and the record of the HDF5 file, as plain h5py reads it."""
    with h5py.File(io.BytesIO(plot_script_image(surface(ds, **how))), "r") as file:
        return {name: file[name][()] for name in file}, dict(file.attrs)


def test_a_barrier_is_a_curve_for_plot_1d():
    ds = barrier()
    found, attrs = written(ds)
    assert set(found) == {
        "xcoordinates", "train_loss", "train_acc", "test_loss", "test_acc", "dir_file",
    }  # fmt: skip
    np.testing.assert_array_equal(found["xcoordinates"], [0, 0.25, 0.5, 0.75, 1])
    for split in ("train", "test"):
        at = ds.sel(split=split).isel(pair=0)
        np.testing.assert_array_equal(found[f"{split}_loss"], at["loss"])
        np.testing.assert_allclose(found[f"{split}_acc"], 100 - 100 * at["error"], rtol=1e-15)
    assert np.isnan(found["train_loss"][2])
    assert found["dir_file"] == b"imp@0 imp@1"
    assert json.loads(attrs["record"]) == RECORD


def test_no_error_is_an_unknown_accuracy():
    ds = barrier().drop_vars("error")
    assert np.isnan(written(ds)[0]["train_acc"]).all()
    ds = barrier().assign(error=("pair", [0.5]))
    assert np.isnan(written(ds)[0]["train_acc"]).all()


def test_one_of_several_pairs_is_named():
    ds = barrier(3)
    found, _ = written(ds, pair="imp@1 imp@2")
    np.testing.assert_array_equal(found["train_loss"], ds["loss"].values[1, 0])
    assert found["dir_file"] == b"imp@1 imp@2"
    with pytest.raises(UsageError, match="this result has 3; give --pair, one of 'imp@0 imp@1', "):
        surface(ds)
    for wrong in (ds, barrier()):
        with pytest.raises(UsageError, match=r"unknown pair 'imp@1 imp@9'; did you mean 'imp@"):
            surface(wrong, pair="imp@1 imp@9")
    with pytest.raises(UsageError, match="unknown pair 'a'"):
        surface(plane().isel(pair=0, drop=True), pair="a")


def test_one_pair_may_be_named_too():
    np.testing.assert_array_equal(
        written(barrier(), pair="imp@0 imp@1")[0]["test_loss"], written(barrier())[0]["test_loss"]
    )


def test_plot_2d_finds_each_loss_at_its_place():
    found, _ = written(plane(nx=3, ny=5))
    x, y = found["xcoordinates"], found["ycoordinates"]
    assert (len(x), len(y)) == (3, 5)
    grid_x, grid_y = np.meshgrid(x, y)  # as plot_2D.py and h52vtp.py do
    np.testing.assert_allclose(found["train_loss"], height(grid_x, grid_y), atol=1e-12)
    np.testing.assert_allclose(found["test_loss"], height(grid_x, grid_y) + 1, atol=1e-12)
    np.testing.assert_array_equal(found["train_acc"], np.full((5, 3), 75.0))
    flat = list(zip(grid_x.ravel(), grid_y.ravel(), found["train_loss"].ravel(), strict=True))
    assert all(abs(z - height(a, b)) < 1e-12 for a, b, z in flat)


def test_a_contour_of_the_file_runs_where_the_loss_says():
    found, _ = written(plane(nx=3, ny=5))
    drawn = (
        Figure()
        .subplots()
        .contour(
            *np.meshgrid(found["xcoordinates"], found["ycoordinates"]),
            found["train_loss"],
            levels=[3],
        )
    )
    vertices = np.concatenate([path.vertices for path in drawn.get_paths()])
    np.testing.assert_allclose(height(*vertices.T), 3, atol=1e-9)


def test_a_missing_value_is_nan_and_never_a_sentinel():
    ds = plane()
    ds["loss"].values[0, 0, 1, 2] = np.nan
    values = written(ds)[0]["train_loss"]
    assert np.isnan(values[2, 1])
    assert np.isnan(values).sum() == 1


def numbered(nx=4, ny=3, surfaces=1):
    """`height` over numbered cells, as a surface result has it; one grid for each surface."""
    ds = SURFACE.example().isel(column=slice(nx), row=slice(ny), surface=[0] * surfaces)
    ds["surface"] = ("surface", [f"s{k}" for k in range(surfaces)], ds["surface"].attrs)
    for k in range(surfaces):
        ds["x"].values[k], ds["y"].values[k] = np.arange(nx) - k, 2.0 * np.arange(ny)
        heights = height(ds.x.values[k][:, None], ds.y.values[k])
        ds["loss"].values[k] = np.stack([heights, heights + 1])
    return ds


def test_cells_may_be_numbered():
    ds = numbered()
    found, _ = written(ds)
    x, y = found["xcoordinates"], found["ycoordinates"]
    np.testing.assert_array_equal(x, ds.x.values[0])
    np.testing.assert_array_equal(y, ds.y.values[0])
    np.testing.assert_allclose(found["train_loss"], height(*np.meshgrid(x, y)))
    np.testing.assert_allclose(found["test_loss"], height(*np.meshgrid(x, y)) + 1)
    assert found["dir_file"] == b"s0"


def test_a_line_of_numbered_cells_is_a_curve():
    found, _ = written(numbered(ny=1))
    assert "ycoordinates" not in found
    np.testing.assert_allclose(found["train_loss"], height(np.arange(4.0), 0))


def test_places_that_joining_added_are_left_out():
    ds = numbered(surfaces=2)
    ds["x"].values[0, 3] = ds["y"].values[0, 2] = np.nan
    ds["loss"].values[0, :, 3], ds["loss"].values[0, :, :, 2] = np.nan, np.nan
    assert written(ds, pair="s0")[0]["train_loss"].shape == (2, 3)
    assert np.isfinite(written(ds, pair="s0")[0]["train_loss"]).all()
    assert written(ds, pair="s1")[0]["train_loss"].shape == (3, 4)


def test_equal_results_have_equal_bytes():
    for write, ds in ((plot_script_image, barrier()), (landscaper_archive, plane(4, 4))):
        assert write(surface(ds)) == write(surface(ds.copy(deep=True)))


def test_a_surface_of_one_split_and_no_pair():
    found, _ = written(plane(splits=("validation",)).isel(pair=0, drop=True))
    assert {"validation_loss", "validation_acc"} <= set(found)
    assert found["dir_file"] == b""


def test_plot_1d_needs_the_train_split():
    with pytest.raises(LandscapeError, match=r"draws the split 'train', and this result has test;"):
        plot_script_image(surface(barrier().sel(split=["test"])))


def test_a_long_record_and_an_odd_label_are_written():
    ds = barrier().assign_coords(pair=["é\0b"])
    ds.attrs["record"] = json.dumps({"inputs": "é" * 10**5})
    found, attrs = written(ds)
    assert found["dir_file"].decode() == "éb"
    assert json.loads(attrs["record"]) == {"inputs": "é" * 10**5}
    del ds.attrs["record"]
    assert written(ds)[1]["record"] == "{}"


@pytest.mark.parametrize(
    ("ds", "match"),
    [
        (OVERLAP.example(), "this result has no loss: export a barrier"),
        (barrier().isel(alpha=0), r"loss over \('pair', 'split'\)"),
        (barrier().isel(split=0), r"loss over \('pair', 'alpha'\)"),
        (plane().expand_dims(z=2, axis=-1).assign_coords(z=[0, 1]), "'x', 'y', 'z'"),
        (plane().drop_vars("x"), "with their coordinates"),
        (barrier().isel(alpha=slice(0)), "holds no loss at all"),
        (barrier().isel(split=slice(0)), "holds no loss at all"),
        (barrier(3).isel(pair=slice(0)), "holds no loss at all"),
        (xr.concat([barrier(2)] * 2, "seed").transpose("seed", ...), "several over seed and pair"),
        (plane().assign_coords(x=["a", "b", "c"]), "'x' of this result is <U1, not numbers"),
        (plane().astype(str), "'loss' of this result is <U32, not numbers"),
        (plane(splits=("../train", "test")), r"split '\.\./train' is no name for an array"),
    ],
)
def test_what_is_no_surface_is_refused(ds, match):
    with pytest.raises(LandscapeError, match=match):
        surface(ds)


def landscaper_grid(path):
    """What Landscaper makes of a file: positions and losses, one row each."""
    with np.load(path) as archive:
        loss, ranges = archive["loss"], archive["coordinates"]
    assert ranges.shape[0] == 2
    positions = np.array(list(zip(*(axis.flat for axis in np.meshgrid(*ranges)), strict=True)))
    assert len(positions) == loss.size
    return positions, loss.flatten()


def test_landscaper_finds_each_loss_at_its_place():
    content = landscaper_archive(surface(plane(4, 4)))
    positions, losses = landscaper_grid(io.BytesIO(content))
    np.testing.assert_allclose(losses, height(*positions.T), atol=1e-12)


def test_landscaper_files_hold_every_split_and_no_pickle():
    content = landscaper_archive(surface(plane(4, 4)))
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        found = {name: archive[name] for name in archive}
    assert set(found) == {
        "loss", "coordinates", "train_loss", "train_acc", "test_loss", "test_acc", "record",
    }  # fmt: skip
    np.testing.assert_array_equal(found["loss"], found["train_loss"])
    np.testing.assert_allclose(found["test_loss"], found["train_loss"] + 1)
    assert json.loads(str(found["record"])) == RECORD
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert all("/" not in name for name in archive.namelist())


def test_landscaper_gets_the_first_split_without_train():
    with np.load(io.BytesIO(landscaper_archive(surface(plane(4, 4, ("validation", "test")))))) as a:
        np.testing.assert_array_equal(a["loss"], a["validation_loss"])


def test_what_landscaper_cannot_read_is_refused():
    with pytest.raises(LandscapeError, match=r"square grids, and this one has 3 × 4 points"):
        landscaper_archive(surface(plane()))
    with pytest.raises(LandscapeError, match=r"over two axes and this one has one; export an \.h5"):
        landscaper_archive(surface(barrier()))
