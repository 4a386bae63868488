"""The file of a result: a netCDF-4 image, and behind it a table of what lies where.

Every netCDF tool opens the file, since HDF5 knows where its image ends. This program reads it by
the table, as the values lie uncompressed: a result costs 0.1 ms instead of the 80 ms of a
netCDF library, and no byte of it is ever given to a parser of HDF5.
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from landscape.data_store import layout
from landscape.data_store.errors import DamagedFile, LandscapeError
from landscape.data_store.files import SIZE_LIMIT, read_file
from landscape.data_store.manifest import newer
from landscape.data_store.netcdf_image import Laid, netcdf_image, plain_attribute
from landscape.data_store.params import Array

if TYPE_CHECKING:
    import xarray

_TRAILER = re.compile(rb"landscape-result/([0-9]{3}) ([0-9]{16}) ([0-9]{16}) sha256 [0-9a-f]{64}")
_TRAILER_SIZE = len(b"landscape-result/001 ") + 2 * 17 + len(b"sha256 ") + 64
_VERSION = 1
_NUMBERS = {"<f8", "<f4", "<i8", "<i4", "|i1", "|u1"}
_TEXT = re.compile(r"S[1-9][0-9]{0,8}")


class Variable(NamedTuple):
    """One array of a result; a tuple, as a query makes ten thousands of them.

    Parameters
    ----------
    dims
        Names of its axes.
    values
        Numbers, or text as NumPy strings.
    attrs
        ``long_name``, ``units``, the flags of a status.
    is_coordinate
        Whether it labels others.
    """

    dims: tuple[str, ...]
    values: Array
    attrs: Mapping[str, Any]
    is_coordinate: bool


@dataclass(frozen=True, eq=False)
class Result:
    """A result without xarray: what its file holds.

    Parameters
    ----------
    record
        What made it, as JSON text.
    variables
        Arrays by name, in order.
    """

    record: str
    variables: Mapping[str, Variable]

    @classmethod
    def of(cls, ds: xarray.Dataset) -> Result:
        """The content of a dataset."""
        variables = {
            str(name): Variable(
                tuple(map(str, variable.dims)),
                _plain(np.asarray(variable.values)),
                dict(variable.attrs),
                name in ds.coords,
            )
            for name, variable in ds.variables.items()
        }
        return cls(str(ds.attrs.get(layout.RECORD_ATTRIBUTE, "")), variables)

    def dataset(self) -> xarray.Dataset:
        """The result as an xarray dataset with arrays of its own."""
        import xarray as xr

        parts: dict[bool, dict[str, Any]] = {True: {}, False: {}}
        for name, v in self.variables.items():
            parts[v.is_coordinate][name] = (v.dims, v.values.copy(), copy.deepcopy(dict(v.attrs)))
        attrs = {layout.RECORD_ATTRIBUTE: self.record} if self.record else {}
        return xr.Dataset(parts[False], parts[True], attrs)


@dataclass(frozen=True)
class _Place:
    """Where one variable lies in a file: a line of the table."""

    name: str
    is_coordinate: bool
    dims: tuple[str, ...]
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    offset: int
    attrs: Mapping[str, Any]

    @property
    def size(self) -> int:
        """Number of bytes."""
        return math.prod(self.shape) * self.dtype.itemsize


def result_image(result: Result) -> bytes:
    """The bytes of a result's file: netCDF-4, the record, the table, and the SHA-256 of all.

    Raises `LandscapeError`, naming it, for a variable that no file can hold.
    """
    for name, v in result.variables.items():
        _require_writable(name, v)
    netcdf, offsets = _netcdf(result)
    table = json.dumps(
        [
            [name, v.is_coordinate, v.dims, _type(v.values), v.values.shape, offsets[name],
             {k: np.asarray(a).tolist() for k, a in v.attrs.items()}]
            for name, v in result.variables.items()
        ]
    ).encode()  # fmt: skip
    record = result.record.encode()
    sizes = f"{len(record):016d} {len(table):016d}"
    body = netcdf + record + table + f"landscape-result/{_VERSION:03d} {sizes} sha256 ".encode()
    return body + hashlib.sha256(body).hexdigest().encode()


def _require_writable(name: str, v: Variable) -> None:
    """Raise unless every netCDF tool can read a variable of this name, type and attributes."""
    for word in (name, *v.dims):
        if not word.isidentifier():
            raise LandscapeError(f"{word!r} is no name for a variable or dimension of a result")
    if v.values.dtype.kind != "U" and v.values.dtype.str not in _NUMBERS:
        raise LandscapeError(
            f"{name!r} of a result is {v.values.dtype}; a file holds text, float64, float32, "
            "int64, int32, int8 and uint8"
        )
    for key, value in v.attrs.items():
        if not isinstance(value, str) and np.asarray(value).dtype.kind not in "if":
            raise LandscapeError(
                f"attribute {key!r} of {name!r} is {value!r}; a file holds text and numbers"
            )
    if v.values.dtype.kind == "U":
        try:
            _encoded(v.values)
        except UnicodeEncodeError as error:
            raise LandscapeError(f"{name!r} of a result holds no Unicode text: {error}") from error


def read_result(path: Path, *, root: Path | None = None, limit: int = SIZE_LIMIT) -> Result:
    """The result in a file; `root` and `limit` as in `read_file`. About 0.1 ms.

    Raises `DamagedFile`, naming the file, if it is cut, flipped or foreign, `LandscapeError` if
    it is of a newer format.
    """
    content = read_file(path, root=root, limit=limit)
    size, record, table = _parts(content, path)
    try:
        places, end = _places(table)
        if end > size:
            raise ValueError(f"its values end at {end} of {size}")
        return Result(record.decode(), {p.name: _variable(p, content) for p in places})
    except (LookupError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise DamagedFile(f"{path} is no readable result: {error!r}") from error


def read_record(path: Path, *, root: Path | None = None, limit: int = SIZE_LIMIT) -> dict[str, Any]:
    """The record of a result's file, without its arrays; raises as `read_result`."""
    _, text, _ = _parts(read_file(path, root=root, limit=limit), path)
    try:
        record: dict[str, Any] = json.loads(text)
        record["kind"], record["inputs"], record["settings"]
        return record
    except (LookupError, TypeError, ValueError, RecursionError) as error:
        raise DamagedFile(f"{path} is no readable result: {error!r}") from error


def _parts(content: bytes, path: Path) -> tuple[int, bytes, bytes]:
    """Size of the netCDF image, record and table, after the digest was checked."""
    trailer = _TRAILER.fullmatch(content[-_TRAILER_SIZE:])
    digest = hashlib.sha256(memoryview(content)[:-64]).hexdigest().encode()
    if not trailer or digest != content[-64:]:
        raise DamagedFile(
            f"{path} is damaged or no result: its content does not match its SHA-256; remove it "
            "and repeat the command that made it"
        )
    if int(trailer[1]) > _VERSION:
        raise newer(path, int(trailer[1]), _VERSION, "")
    end = len(content) - _TRAILER_SIZE
    middle = end - int(trailer[3])
    begin = middle - int(trailer[2])
    if begin < 0:
        raise DamagedFile(f"{path} is no readable result: its parts are larger than it is")
    return begin, content[begin:middle], content[middle:end]


@lru_cache(maxsize=512)
def _places(table: bytes) -> tuple[tuple[_Place, ...], int]:
    """The table's lines, and where the last of their values ends.

    Results of one analysis have the same table, so that it is parsed once for all of them.
    ValueError if the lines contradict each other, or claim some bytes for two variables.
    """
    places = tuple(map(_place, json.loads(table)))
    if len({place.name for place in places}) != len(places):
        raise ValueError("two variables of one name")
    _require_one_size(places)
    end = 0
    for place in sorted((p for p in places if p.size), key=lambda place: place.offset):
        if place.offset < end:
            raise ValueError(f"{place.name!r} overlaps another variable")
        end = place.offset + place.size
    return places, end


def _place(entry: list[Any]) -> _Place:
    """One line of the table."""
    name, is_coordinate, dims, kind, shape, offset, attrs = entry
    if kind not in _NUMBERS and not _TEXT.fullmatch(kind):
        raise ValueError(f"type {kind!r}")
    if not all(type(n) is int and n >= 0 for n in (*shape, offset)):
        raise ValueError(f"{shape} at {offset}")
    if [type(dims), type(attrs)] != [list, dict] or {type(t) for t in (name, *dims)} != {str}:
        raise TypeError(f"{name!r} over {dims} with {attrs!r}")
    dtype = np.dtype(kind)
    if "flag_values" in attrs:
        attrs["flag_values"] = np.asarray(attrs["flag_values"], dtype=dtype)
    return _Place(name, bool(is_coordinate), tuple(dims), dtype, tuple(shape), offset, attrs)


def _require_one_size(places: tuple[_Place, ...]) -> None:
    """Raise ValueError unless every dimension has one size and labels of its own."""
    sizes: dict[str, int] = {}
    for place in places:
        if len(set(place.dims)) != len(place.dims) or len(place.dims) != len(place.shape):
            raise ValueError(f"{place.name!r} has dims {place.dims} and shape {place.shape}")
        for dim, size in zip(place.dims, place.shape, strict=True):
            if sizes.setdefault(dim, size) != size:
                raise ValueError(f"{dim!r} has {sizes[dim]} entries and {size}")
    for place in places:
        if place.name in sizes and place.dims != (place.name,):
            raise ValueError(f"{place.name!r} is a dimension and has dims {place.dims}")


def _variable(place: _Place, content: bytes) -> Variable:
    """The variable that lies at a place."""
    values: Array = np.ndarray(place.shape, place.dtype, content, place.offset)
    if place.dtype.kind == "S":
        values = _decoded(values)
    return Variable(place.dims, values, place.attrs, place.is_coordinate)


def _decoded(values: Array) -> Array:
    """UTF-8 of fixed width as text."""
    try:
        return values.astype(np.str_)  # ASCII, four times as fast
    except UnicodeDecodeError:
        text = [value.decode() for value in values.reshape(-1).tolist()]
        return np.array(text, dtype=np.str_).reshape(values.shape)


def _plain(values: Array) -> Array:
    """Text as NumPy strings, numbers little-endian."""
    if values.dtype.kind in "OTU":
        return values.astype(np.str_)
    return np.asarray(values, values.dtype.newbyteorder("<"), order="C")


def _type(values: Array) -> str:
    """How the table names a type: text by its longest entry in bytes."""
    return f"S{_encoded(values).dtype.itemsize}" if values.dtype.kind == "U" else values.dtype.str


def _encoded(values: Array) -> Array:
    """Text as UTF-8 in fixed width."""
    encoded = np.char.encode(values, "utf-8") if values.size else values.astype("S1")
    return encoded.astype(f"S{max(1, encoded.dtype.itemsize)}")


def _netcdf(result: Result) -> tuple[bytes, dict[str, int]]:
    """A netCDF-4 file and where the values of each variable begin in it; text is characters."""
    laid, values = [], {}
    for name, v in result.variables.items():
        values[name], dims, attrs = v.values, v.dims, dict(v.attrs)
        if v.values.dtype.kind == "U":
            text = _encoded(v.values)
            width = text.dtype.itemsize
            values[name] = text.reshape(-1).view("S1").reshape(*v.values.shape, width)
            dims, attrs = (*dims, f"string{width}"), {**attrs, "_Encoding": "utf-8"}
        typed = {key: plain_attribute(value) for key, value in attrs.items()}
        shape, dtype = values[name].shape, values[name].dtype.str
        laid.append(Laid(name, dims, shape, dtype, typed, v.is_coordinate))
    return netcdf_image(laid, values, {layout.RECORD_ATTRIBUTE: result.record})
