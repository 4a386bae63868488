"""The bytes of a result: netCDF for every tool, a table for this one, both say the same."""

import hashlib
import json
import tracemalloc

import h5netcdf
import h5py
import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from landscape.data_store.errors import DamagedFile, LandscapeError
from landscape.data_store.result_file import (
    Result,
    Variable,
    read_record,
    read_result,
    result_image,
)
from tests.support.results import parts, record, sealed

KEPT = ("f8", "f4", "i8", "i4", "i1", "u1")
DIMS = {"pair": 2, "alpha": 3, "layer": 1, "none": 0}
DATASET = xr.Dataset(
    {
        "x": ("pair", [1.0, np.nan], {"units": "nats", "long_name": "a loss"}),
        "status": (
            "pair",
            np.array([0, 1], np.int8),
            {"flag_values": np.arange(2, dtype=np.int8), "flag_meanings": "ok absent"},
        ),
    },
    {"pair": ["a", "äö"], "run": ("pair", ["imp", ""])},
    {"record": json.dumps(record())},
)
CONTENT = result_image(Result.of(DATASET))
NETCDF, SAID, TABLE = parts(CONTENT)
DAMAGED = (
    r"^.*a\.nc is damaged or no result: its content does not match its SHA-256; remove it and "
    "repeat the command that made it$"
)
some = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def path(tmp_path):
    (tmp_path / "a.nc").write_bytes(CONTENT)
    return tmp_path / "a.nc"


@pytest.fixture
def no_hdf5(monkeypatch):
    """From here on nothing may be given to a parser of HDF5."""
    monkeypatch.setattr(h5py.File, "__init__", lambda *_, **__: pytest.fail("HDF5 read it"))


@st.composite
def datasets(draw):
    """Any dataset that a file can hold."""
    variables, coords = {}, {}
    for i in range(draw(st.integers(0, 4))):
        dims = draw(st.lists(st.sampled_from(sorted(DIMS)), max_size=3, unique=True))
        shape = tuple(DIMS[dim] for dim in dims)
        if draw(st.booleans()):
            text = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"))
            flat = draw(st.lists(text, min_size=int(np.prod(shape)), max_size=int(np.prod(shape))))
            values = np.array(flat, dtype=np.str_).reshape(shape)
        else:
            values = draw(arrays.arrays(np.dtype(draw(st.sampled_from(KEPT))), shape))
        attrs = {"long_name": draw(st.sampled_from(["", "a loss", "α"])), "units": "1"}
        (coords if draw(st.booleans()) else variables)[f"v{i}"] = (dims, values, attrs)
    for dim in draw(st.lists(st.sampled_from(sorted(DIMS)), unique=True)):
        coords[dim] = (dim, np.linspace(-1, 1, DIMS[dim]), {"units": "1"})
    attrs = {"record": json.dumps(record())} if draw(st.booleans()) else {}
    return xr.Dataset(variables, coords, attrs)


def bits(ds):
    """What makes two datasets the same to the last bit."""
    return {
        name: (v.dims, v.shape, v.values.tolist() if v.dtype.kind in "UO" else
               (v.dtype.str, v.values.tobytes()))
        for name, v in ds.variables.items()
    }  # fmt: skip


@given(datasets())
@some
def test_what_is_written_is_read_by_us_and_by_every_tool(tmp_path, ds):
    path = tmp_path / "a.nc"
    path.write_bytes(result_image(Result.of(ds)))
    own = read_result(path).dataset()
    xr.testing.assert_identical(own, ds)
    assert bits(own) == bits(ds)
    assert list(own.variables) == list(ds.variables)
    with xr.open_dataset(path, decode_times=False) as other:
        xr.testing.assert_identical(other.load(), ds)
        assert set(other.coords) == set(own.coords)
        assert bits(other) == bits(ds)


def test_every_value_that_is_none_survives(tmp_path):
    odd = np.array([np.nan, np.inf, -np.inf, -0.0, 5e-324, 0.0])
    odd[0:1].view(np.uint64)[0] |= 0xABC  # a NaN with a payload
    ds = xr.Dataset({"x": ("pair", odd)})
    (tmp_path / "a.nc").write_bytes(result_image(Result.of(ds)))
    assert read_result(tmp_path / "a.nc").variables["x"].values.tobytes() == odd.tobytes()
    with xr.open_dataset(tmp_path / "a.nc") as other:
        assert other.x.values.tobytes() == odd.tobytes()


def test_flags_keep_their_type(path):
    status = read_result(path).dataset().status
    assert status.dtype == status.attrs["flag_values"].dtype == np.int8
    with xr.open_dataset(path) as other:
        assert other.status.dtype == other.status.attrs["flag_values"].dtype == np.int8
        np.testing.assert_array_equal(other.status.attrs["flag_values"], [0, 1])


def test_the_parts_of_a_file(path):
    assert NETCDF[:4] == b"\x89HDF"
    assert json.loads(SAID) == read_record(path) == record()
    assert json.loads(read_result(path).record) == record()
    assert [entry[0] for entry in TABLE] == list(DATASET.variables)
    assert CONTENT[-64:].decode() == hashlib.sha256(CONTENT[:-64]).hexdigest()
    assert result_image(Result.of(DATASET)) == CONTENT  # equal input gives equal bytes


def test_other_tools_read_the_record_and_the_conventions(path):
    with h5py.File(path, "r") as file:
        assert json.loads(file.attrs["record"]) == record()
        np.testing.assert_array_equal(file["x"][()], [1.0, np.nan])
        assert all(file[name].chunks is None for name in ("x", "status"))
    with h5netcdf.File(path, "r") as file:
        assert file.attrs["coordinates"] == "run"
        assert set(file.dimensions) == {"pair", "string3", "string4"}
        assert file["x"].attrs["units"] == "nats"
        assert file["pair"].attrs["_Encoding"] == "utf-8"
        assert [row.tobytes().rstrip(b"\0").decode() for row in file["pair"][...]] == ["a", "äö"]


def test_each_value_is_named_by_the_table(path):
    for name, _, _, kind, shape, offset, _ in TABLE:
        values = np.frombuffer(CONTENT, kind, int(np.prod(shape)), offset).reshape(shape)
        want = DATASET[name].values
        if kind[0] == "S":
            values = np.char.decode(values, "utf-8")
        np.testing.assert_array_equal(values, want)


def test_reading_never_calls_hdf5(path, no_hdf5):
    xr.testing.assert_identical(read_result(path).dataset(), DATASET)
    assert read_record(path) == record()


def test_a_flip_anywhere_is_refused_before_anything_is_parsed(tmp_path, no_hdf5):
    path, draws = tmp_path / "a.nc", np.random.default_rng(0)
    for place in draws.integers(0, len(CONTENT), 2000):
        damaged = bytearray(CONTENT)
        damaged[place] ^= 1 << int(draws.integers(8))
        path.write_bytes(damaged)
        for read in (read_result, read_record):
            with pytest.raises(DamagedFile, match=DAMAGED):
                read(path)


def test_every_length_is_refused(path, no_hdf5):
    for length in (*range(0, len(CONTENT), 7), len(NETCDF), *range(len(CONTENT))[-300:]):
        path.write_bytes(CONTENT[:length])
        with pytest.raises(DamagedFile, match=DAMAGED):
            read_result(path)
    for more in (b"\n", b"\0", b"0" * 64):
        path.write_bytes(CONTENT + more)
        with pytest.raises(DamagedFile, match=DAMAGED):
            read_record(path)


@pytest.mark.parametrize("content", [NETCDF, b"", b"text", b"\0" * 1000])
def test_a_file_of_another_program_is_refused(path, no_hdf5, content):
    path.write_bytes(content)
    for read in (read_result, read_record):
        with pytest.raises(DamagedFile, match=DAMAGED):
            read(path)


@pytest.mark.parametrize(("name", "why"), [("none.nc", "No such file"), ("", "no plain file|Is a")])
def test_a_file_that_cannot_be_read_is_named(tmp_path, name, why):
    with pytest.raises(LandscapeError, match=f"{tmp_path / name}.*({why})"):
        read_result(tmp_path / name)


def test_a_newer_format_is_refused_with_its_version(path):
    path.write_bytes(sealed(NETCDF, SAID, json.dumps(TABLE).encode(), version=7))
    for read in (read_result, read_record):
        with pytest.raises(LandscapeError, match=r"is of format version 7 .* reads up to 1") as why:
            read(path)
        assert not isinstance(why.value, DamagedFile)


# Files that somebody made, with the right digest.


def entry(**changes):
    """The table with another line for x."""
    names = ("name", "is_coordinate", "dims", "kind", "shape", "offset", "attrs")
    line = dict(zip(names, TABLE[[e[0] for e in TABLE].index("x")], strict=True)) | changes
    return [e if e[0] != "x" else [line[name] for name in names] for e in TABLE]


HOSTILE = {
    "behind the end": entry(offset=len(NETCDF) - 8),
    "far behind the end": entry(offset=2**62),
    "beyond 64 bits": entry(offset=2**200),
    "before the beginning": entry(offset=-16),
    "a fraction": entry(offset=0.5),
    "true": entry(offset=True),
    "no offset": entry(offset=None),
    "text as offset": entry(offset="0"),
    "a huge shape": entry(shape=[2**60]),
    "a shape beyond 64 bits": entry(shape=[10**40]),
    "a product beyond 64 bits": entry(dims=["a", "b", "c"], shape=[2**32, 2**32, 2**32]),
    "nothing times everything": entry(dims=["a", "b"], shape=[0, 10**40]),
    "a negative shape": entry(shape=[-1]),
    "two negatives": entry(dims=["a", "b"], shape=[-1, -2]),
    "a shape of text": entry(shape=["2"]),
    "a shape that is true": entry(shape=[True]),
    "a fraction as shape": entry(shape=[2.0]),
    "no shape": entry(shape=None),
    "a shape for other dims": entry(dims=["pair", "b"]),
    "a thousand dims": entry(dims=[f"d{i}" for i in range(1000)], shape=[1] * 1000),
    "a dim twice": entry(dims=["pair", "pair"], shape=[2, 2]),
    "another size than its fellows": entry(shape=[1]),
    "its own dim among others": entry(name="alpha", dims=["alpha", "pair"], shape=[1, 2]),
    "a dim under another": [
        *entry(name="y", dims=["y2"], shape=[2]), ["y2", True, ["pair"], "<f8", [2], 0, {}]],
    "dims as text": entry(dims="p"),
    "dims as numbers": entry(dims=[3]),
    "no dims": entry(dims=None),
    "objects": entry(kind="|O"),
    "a record type": entry(kind="f8,f8"),
    "a type of lists": entry(kind=[["a", "<f8"]]),
    "dates": entry(kind="<M8[ns]"),
    "void": entry(kind="V8"),
    "other bytes first": entry(kind=">f8"),
    "no type": entry(kind=None),
    "text of no width": entry(kind="S0"),
    "text of all widths": entry(kind="S99999999999"),
    "wide text": entry(kind="S999999999"),
    "a name that is none": entry(name=None),
    "a name that is a list": entry(name=["x"]),
    "two of a name": [*TABLE, entry()[-1]],
    "another variable's bytes": [*TABLE, entry(name="y")[[e[0] for e in TABLE].index("x")]],
    "part of another's bytes": entry(
        offset=TABLE[[e[0] for e in TABLE].index("status")][5] - 1),
    "attributes that are none": entry(attrs=None),
    "attributes as a list": entry(attrs=["units"]),
    "flags that are none": entry(attrs={"flag_values": {"a": 1}}),
    "flags of text": entry(attrs={"flag_values": ["a"]}),
    "a short line": [["x"]],
    "a long line": [[*TABLE[0], 1]],
    "a line that is none": [3],
    "an object": {"x": 1},
    "a number": 3,
    "nothing": None,
    "text": "text",
}  # fmt: skip


@pytest.mark.parametrize("what", HOSTILE)
def test_a_table_that_lies_is_refused_without_effort(path, no_hdf5, what):
    path.write_bytes(sealed(NETCDF, SAID, json.dumps(HOSTILE[what]).encode()))
    tracemalloc.start()
    with pytest.raises(DamagedFile, match=rf"^{path} is no readable result: "):
        read_result(path)
    assert tracemalloc.get_traced_memory()[1] < 2**22
    tracemalloc.stop()


def test_the_table_as_it_was_is_read(path):
    path.write_bytes(sealed(NETCDF, SAID, json.dumps(entry()).encode()))
    xr.testing.assert_identical(read_result(path).dataset(), DATASET)


@pytest.mark.parametrize(
    "table",
    [b"", b"[", b"\xff", b"[" * 200_000, b'{"a":' * 200_000, b"NaN", b"[[[1e999]]]", b"9" * 5000],
)
def test_a_table_that_is_no_json_is_refused(path, no_hdf5, table):
    path.write_bytes(sealed(NETCDF, SAID, table))
    with pytest.raises(DamagedFile, match=rf"^{path} is no readable result: "):
        read_result(path)


@pytest.mark.parametrize(
    "said", [b"", b"3", b"[]", b"{}", b"\xff", b"[" * 200_000, b'{"kind": "barrier"}', b"null"]
)
def test_a_record_that_is_none_is_refused(path, no_hdf5, said):
    path.write_bytes(sealed(NETCDF, said, json.dumps(TABLE).encode()))
    with pytest.raises(DamagedFile, match=rf"^{path} is no readable result: "):
        read_record(path)


@pytest.mark.parametrize(("first", "second"), [(10**15, 0), (0, 10**15), (9 * 10**15, 9 * 10**15)])
def test_parts_larger_than_the_file_are_refused(path, first, second):
    body = NETCDF + f"landscape-result/001 {first:016d} {second:016d} sha256 ".encode()
    path.write_bytes(body + hashlib.sha256(body).hexdigest().encode())
    for read in (read_result, read_record):
        with pytest.raises(DamagedFile, match="its parts are larger than it is"):
            read(path)


def test_text_that_is_none_is_refused(path, no_hdf5):
    place = next(e for e in TABLE if e[0] == "pair")
    content = bytearray(NETCDF)
    content[place[5]] = 0xFF
    path.write_bytes(sealed(bytes(content), SAID, json.dumps(TABLE).encode()))
    with pytest.raises(DamagedFile, match=rf"^{path} is no readable result: UnicodeDecodeError"):
        read_result(path)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=12,
)


@given(st.data())
@settings(some, max_examples=300)
def test_no_table_makes_a_traceback(tmp_path, data):
    table = json.loads(json.dumps(TABLE))
    for _ in range(data.draw(st.integers(1, 3))):
        line = data.draw(st.integers(0, len(table) - 1))
        column = data.draw(st.integers(0, 6))
        table[line][column] = data.draw(
            json_values
            | st.sampled_from([e[column] for e in TABLE])
            | st.lists(st.integers(-2, 3) | st.sampled_from(["pair", "alpha"]), max_size=3)
        )
    path = tmp_path / "a.nc"
    path.write_bytes(sealed(NETCDF, SAID, json.dumps(table).encode()))
    try:
        read_result(path).dataset()
    except DamagedFile as error:
        assert str(error).startswith(f"{path} is no readable result: ")  # noqa: PT017


# What cannot be written.


@pytest.mark.parametrize(
    ("variable", "match"),
    [
        (("pair", np.zeros(2, complex)), r"^'v' of a result is complex128; a file holds text, fl"),
        (("pair", np.zeros(2, bool)), r"^'v' of a result is bool; a file holds text, float64"),
        (("pair", np.zeros(2, np.int16)), r"^'v' of a result is int16; a file holds text"),
        (("pair", np.zeros(2, "M8[ns]")), r"^'v' of a result is datetime64.*; a file holds text"),
        (("pair", ["a", "\udcff"]), r"^'v' of a result holds no Unicode text: 'utf-8' codec"),
        (("a/b", [1.0]), r"^'a/b' is no name for a variable or dimension of a result$"),
        (("", [1.0]), r"^'' is no name for a variable or dimension"),
        (("pair", [1.0], {"a": None}), r"^attribute 'a' of 'v' is None; a file holds text and num"),
        (("pair", [1.0], {"a": True}), r"^attribute 'a' of 'v' is True; a file holds text"),
        (("pair", [1.0], {"a": {}}), r"^attribute 'a' of 'v' is {}; a file holds text"),
    ],
)
def test_what_other_tools_could_not_read_is_not_written(variable, match):
    with pytest.raises(LandscapeError, match=match):
        result_image(Result.of(xr.Dataset({"v": variable})))


def test_a_name_that_other_tools_take_for_a_folder_is_not_written():
    with pytest.raises(LandscapeError, match=r"^'a/b' is no name for a variable"):
        result_image(Result("", {"a/b": Variable(("x",), np.zeros(1), {}, False)}))
