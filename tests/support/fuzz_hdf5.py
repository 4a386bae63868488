"""HDF5 images with anything that HDF5 can hold, in old and new layouts, under a right seal."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from functools import cache

import h5py
import numpy as np

from tests.support import fuzz_seals as seals

VERSIONS = ("earliest", "v110", "latest")


def _plain(file: h5py.File) -> None:
    """What landscape writes."""
    file.create_dataset("a", data=np.arange(100, dtype="f4"))
    packing = {"compression": "gzip", "shuffle": True, "fletcher32": True}
    file.create_dataset("b", data=np.arange(5000).reshape(10, -1), chunks=(1, 100), **packing)


def _growing(file: h5py.File) -> None:
    """Datasets that may grow, and fill values."""
    file.create_dataset("a", (50,), chunks=(10,), maxshape=(None,), dtype="f8", fillvalue=3.0)
    file.create_dataset("m", (5, 5), chunks=(2, 2), maxshape=(None, None), dtype="i2")
    file["a"][:20], file["m"][...] = 1, 1


def _texts(file: h5py.File) -> None:
    """Values in the global heap."""
    texts = np.array(["abc", "def" * 20], dtype=object)
    file.create_dataset("s", data=texts, dtype=h5py.string_dtype())
    file.create_dataset("f", (5,), dtype=h5py.string_dtype(), fillvalue=b"fill me")
    file.create_dataset("v", (3,), dtype=h5py.vlen_dtype(np.int32))[0] = np.arange(5)
    file.attrs["t"] = "text" * 10
    file["s"].attrs["v"] = texts


def _groups(file: h5py.File) -> None:
    """Many links of all kinds, cycles among them."""
    for i in range(30):
        file.create_dataset(f"n{i:03}", data=np.arange(i))
    group = file.create_group("g")
    group["x"], group["up"] = file["n001"], file
    file["soft"], file["dangling"] = h5py.SoftLink("/n002"), h5py.SoftLink("/nowhere")
    file["out"] = h5py.ExternalLink("/etc/passwd", "/x")


def _types(file: h5py.File) -> None:
    """References, named types, enumerations, compounds, opaque values."""
    _plain(file)
    reference = np.array([file["a"].ref, file["b"].ref], dtype=object)
    file.create_dataset("r", data=reference, dtype=h5py.ref_dtype)
    region = np.array([file["a"].regionref[:3]], dtype=object)
    file.create_dataset("rr", data=region, dtype=h5py.regionref_dtype)
    file["named"] = np.dtype("f4")
    file.create_dataset("e", (3,), dtype=h5py.enum_dtype({"A": 1, "B": 2}))
    file.create_dataset("c", (3,), dtype=np.dtype([("x", "f4"), ("y", "i4", (3,))]))
    file.create_dataset("o", (3,), dtype="V7")


def _filters(file: h5py.File) -> None:
    """Filters that landscape does not use, and nothing at all."""
    file.create_dataset("l", data=np.arange(500), chunks=(100,), compression="lzf")
    file.create_dataset("sc", data=np.arange(500), chunks=(100,), scaleoffset=4)
    file["empty"] = h5py.Empty("f4")


def _elsewhere(file: h5py.File) -> None:
    """Values in other files: raw, virtual, and through a link."""
    file.create_dataset("x", (10,), dtype="u1", external=[("../../outside/secret", 0, 10)])
    layout = h5py.VirtualLayout((10,), dtype="u1")
    layout[:] = h5py.VirtualSource("../../outside/secret", "d", shape=(10,))
    file.create_virtual_dataset("virtual", layout)


def _bombs(file: h5py.File) -> None:
    """Much out of little."""
    file.create_dataset("huge", (2**40,), dtype="f4", chunks=(2**20,), compression="gzip")
    file.create_dataset("zeros", data=np.zeros(2**20), compression="gzip", chunks=(2**20,))
    file.create_dataset("wide", (2**31 - 1,), dtype="u1", chunks=(2**31 - 1,))


_BUILDERS: tuple[Callable[[h5py.File], None], ...] = (
    _plain, _plain, _growing, _texts, _groups, _types, _filters, _elsewhere, _bombs,
)  # fmt: skip


@cache
def images() -> tuple[bytes, ...]:
    """One image of every kind in every version."""
    return tuple(_image(build, version) for build in _BUILDERS for version in VERSIONS)


def _image(build: Callable[[h5py.File], None], version: str) -> bytes:
    """A sealed image."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", libver=(version, "latest"), userblock_size=seals.BLOCK) as file:
        header = json.dumps({"format": "any", "version": [1, 0]}).encode()
        file.create_dataset("header", data=np.frombuffer(header, np.uint8))
        build(file)
    return seals.image(buffer.getvalue()[seals.BLOCK :])
