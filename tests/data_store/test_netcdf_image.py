"""The netCDF-4 image: what a netCDF library writes, whether its skeleton was made before or not."""

from __future__ import annotations

import io

import h5netcdf
import numpy as np
import pytest

from landscape.data_store import netcdf_image as image_module
from landscape.data_store.netcdf_image import Laid, netcdf_image, plain_attribute

VALUES = {
    "x": np.array([1.5, np.nan, -0.0]),
    "flag": np.array([[1, 0, 2], [0, 1, 1]], dtype=np.int8),
    "word": np.frombuffer(b"abcdef", dtype="S1").reshape(3, 2),
    "nothing": np.zeros((0, 3)),
    "one": np.array(7, dtype=np.int64),
}
ATTRS = {
    "x": {"units": "nats per example", "long_name": "lengths, größer"},
    "flag": {"flag_values": np.array([0, 1, 2], dtype=np.int8), "flag_meanings": "a b c"},
    "word": {"_Encoding": "utf-8"},
    "nothing": {},
    "one": {"valid_max": 3.5},
}
DIMS = {"x": ("x",), "flag": ("y", "x"), "word": ("x", "string2"), "nothing": ("z", "x"), "one": ()}


def laid() -> list[Laid]:
    """The variables without their values."""
    return [
        Laid(
            name,
            DIMS[name],
            values.shape,
            values.dtype.str,
            {key: plain_attribute(value) for key, value in ATTRS[name].items()},
            name in ("x", "word"),
        )
        for name, values in VALUES.items()
    ]


def written_by_a_library() -> bytes:
    """The same file, each variable given to h5netcdf with its values."""
    buffer = io.BytesIO()
    with h5netcdf.File(buffer, "w", libver=("v110", "v110")) as file:
        for name, values in VALUES.items():
            for dim, size in zip(DIMS[name], values.shape, strict=True):
                if dim not in file.dimensions:
                    file.dimensions[dim] = size
            made = file.create_variable(name, list(DIMS[name]), values.dtype, data=values)
            made.attrs.update(ATTRS[name])
        file.attrs["coordinates"] = "word"
        file.attrs["record"] = "a record"
    return buffer.getvalue()


def content(image: bytes) -> dict[str, object]:
    """All that a netCDF library finds in a file."""
    with h5netcdf.File(io.BytesIO(image), "r") as file:
        variables = {
            name: (v.dimensions, v.dtype.str, v[...].tobytes(), dict(v.attrs))
            for name, v in file.variables.items()
        }
        sizes = {name: dim.size for name, dim in file.dimensions.items()}
        return {"variables": variables, "sizes": sizes, "attrs": dict(file.attrs)}


def test_it_holds_what_a_netcdf_library_writes():
    image, offsets = netcdf_image(laid(), VALUES, {"record": "a record", "empty": ""})
    np.testing.assert_equal(content(image), content(written_by_a_library()))
    for name, values in VALUES.items():
        begin = offsets[name]
        assert image[begin : begin + values.nbytes] == values.tobytes() if values.size else True


def test_the_bytes_do_not_depend_on_what_was_made_before(monkeypatch):
    image_module._kept.cache_clear()
    first = netcdf_image(laid(), VALUES, {"record": "r" * 100_000})
    other = {name: values.copy() for name, values in VALUES.items()}
    other["x"][:] = 3
    netcdf_image(laid(), other, {"record": "another"})
    assert netcdf_image(laid(), VALUES, {"record": "r" * 100_000}) == first
    monkeypatch.setattr(image_module, "_WORTH_KEEPING", 0)
    assert netcdf_image(laid(), VALUES, {"record": "r" * 100_000}) == first
    assert content(first[0])["attrs"]["record"] == "r" * 100_000


def test_a_skeleton_is_made_once_for_files_that_differ_in_values(monkeypatch):
    image_module._kept.cache_clear()
    netcdf_image(laid(), VALUES, {})
    monkeypatch.setattr(h5netcdf, "File", None)
    image, _ = netcdf_image(laid(), {**VALUES, "one": np.array(8, dtype=np.int64)}, {})
    monkeypatch.undo()
    with h5netcdf.File(io.BytesIO(image), "r") as file:
        assert file["one"][...] == 8


@pytest.mark.parametrize("change", ["name", "attr", "attr type", "dims", "coordinate"])
def test_what_differs_in_anything_else_has_a_skeleton_of_its_own(change):
    changed = laid()
    x = {
        "name": Laid("t", ("x",), (3,), "<f8", changed[0].attrs, True),
        "attr": Laid("x", ("x",), (3,), "<f8", {"units": ("", "s")}, True),
        "attr type": Laid("x", ("x",), (3,), "<f8", {"n": ("<i4", 3)}, True),
        "dims": Laid("t", ("w",), (3,), "<f8", changed[0].attrs, True),
        "coordinate": Laid("word", DIMS["word"], (3, 2), "|S1", changed[2].attrs, False),
    }[change]
    place = 2 if change == "coordinate" else 0
    changed[place] = x
    values = {**VALUES, x.name: VALUES["word" if place else "x"]}
    values = {v.name: values[v.name] for v in changed}
    netcdf_image(laid(), VALUES, {})
    found = netcdf_image(changed, values, {})[0]
    assert found != netcdf_image(laid(), VALUES, {})[0]
    if change == "attr type":
        with h5netcdf.File(io.BytesIO(found), "r") as file:
            assert np.asarray(file["x"].attrs["n"]).dtype == np.int32
