"""The bytes of a result: any netCDF tool opens them, and no damage gets as far as HDF5."""

import hashlib

import h5py
import numpy as np
import pytest
import xarray as xr

from landscape.data_store.errors import LandscapeError
from landscape.data_store.result_file import read_netcdf, read_record, result_image

DATASET = xr.Dataset({"x": ("pair", [1.0, np.nan])}, {"pair": ["a", "b"]}, {"record": '{"a": [1]}'})
NETCDF = bytes(DATASET.to_netcdf(engine="h5netcdf"))
CONTENT = result_image(NETCDF)
DAMAGED = (
    r"^.*a\.nc is damaged or no result: its content does not match its SHA-256; remove it and "
    "repeat the command that made it$"
)


@pytest.fixture
def path(tmp_path):
    (tmp_path / "a.nc").write_bytes(CONTENT)
    return tmp_path / "a.nc"


@pytest.fixture
def no_hdf5(monkeypatch):
    monkeypatch.setattr(h5py.File, "__init__", lambda *_, **__: pytest.fail("HDF5 read it"))


def test_the_digest_lies_behind_the_netcdf(path):
    assert CONTENT[: len(NETCDF)] == NETCDF
    digest = hashlib.sha256(NETCDF).hexdigest()
    assert CONTENT[len(NETCDF) :] == f"landscape-result/1 sha256 {digest}".encode()
    assert read_netcdf(path) == NETCDF
    assert read_record(path) == {"a": [1]}


def test_other_tools_read_the_file(path):
    with h5py.File(path, "r") as file:
        np.testing.assert_array_equal(file["x"][()], [1.0, np.nan])
    with xr.open_dataset(path) as ds:
        xr.testing.assert_identical(ds.load().drop_encoding(), DATASET)


def test_every_flipped_byte_is_refused_before_hdf5_sees_it(path, no_hdf5):
    flips = np.random.default_rng(0).integers(1, 256, len(CONTENT))
    for place in range(0, len(CONTENT), 7):
        damaged = bytearray(CONTENT)
        damaged[place] ^= int(flips[place])
        path.write_bytes(damaged)
        with pytest.raises(LandscapeError, match=DAMAGED):
            read_record(path)


def test_every_length_is_refused_before_hdf5_sees_it(path, no_hdf5):
    for length in [*range(0, len(CONTENT), 37), len(NETCDF), len(CONTENT) - 1]:
        path.write_bytes(CONTENT[:length])
        with pytest.raises(LandscapeError, match=DAMAGED):
            read_record(path)
    path.write_bytes(CONTENT + b"\n")
    with pytest.raises(LandscapeError, match=DAMAGED):
        read_record(path)


def test_a_file_of_another_program_is_refused(path, no_hdf5):
    path.write_bytes(NETCDF)
    with pytest.raises(LandscapeError, match=DAMAGED):
        read_record(path)


@pytest.mark.parametrize(("name", "why"), [("none.nc", "No such file"), ("", "Is a directory")])
def test_a_file_that_cannot_be_read_is_named(tmp_path, name, why):
    with pytest.raises(LandscapeError, match=f"^cannot read {tmp_path / name}: {why}"):
        read_netcdf(tmp_path / name)
