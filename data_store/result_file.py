"""The file of a result: a netCDF-4 image, and behind it the digest of its bytes."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import Any

from landscape.data_store import layout
from landscape.data_store.errors import LandscapeError

_MAGIC = b"landscape-result/1 sha256 "


def result_image(netcdf: bytes) -> bytes:
    """The bytes of a result file: `netcdf` and its SHA-256.

    The digest lies behind the end that HDF5 knows of, so every netCDF tool opens the file.
    """
    return netcdf + _MAGIC + hashlib.sha256(netcdf).hexdigest().encode()


def read_netcdf(path: Path) -> bytes:
    """The netCDF-4 image in a result file; raises `LandscapeError` if it is not whole.

    The digest is checked before HDF5 sees a byte: one flipped bit can make HDF5 loop for ever.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise LandscapeError(f"cannot read {path}: {error.strerror}") from error
    netcdf = content[: -len(_MAGIC) - 64]
    if result_image(netcdf) != content:
        raise LandscapeError(
            f"{path} is damaged or no result: its content does not match its SHA-256; remove it "
            "and repeat the command that made it"
        )
    return netcdf


def read_record(path: Path) -> dict[str, Any]:
    """The record of a result file, without its arrays and without xarray."""
    import h5py

    with h5py.File(io.BytesIO(read_netcdf(path)), "r") as file:
        record: dict[str, Any] = json.loads(file.attrs[layout.RECORD_ATTRIBUTE])
    return record
