"""IDX: the file format of MNIST and of the sets that followed it."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from landscape.data_store.errors import LandscapeError
from landscape.training.datasets import DEFLATE_RATIO, Bytes, reading

_LIMIT = 2**30


def read_idx(path: Path, dimensions: int) -> Bytes:
    """Array of unsigned bytes from an IDX file, gzipped or plain.

    The size that the header declares is compared with the size of the file before memory is
    taken, and no more than that size plus one byte is ever unpacked.

    Parameters
    ----------
    path
        The file; whether it is gzipped is read from its content, not from its name.
    dimensions
        Number of dimensions that the file must have: 3 for images, 1 for labels.

    Returns
    -------
    array
        Read-only uint8 array of the shape in the header; the first side counts the examples.

    Raises
    ------
    LandscapeError
        The file is not IDX, is cut or damaged, or declares a size that it cannot hold.
    """
    magic = bytes((0, 0, 8, dimensions))
    with reading(path) as stream:
        header = stream.read(4 + 4 * dimensions)
        if header[:4] != magic:
            raise LandscapeError(
                f"{path} is not an IDX file of bytes in {dimensions} dimensions: it starts with "
                f"{header[:4].hex(' ') or 'nothing'}, expected {magic.hex(' ')}"
            )
        if len(header) < 4 + 4 * dimensions:
            raise LandscapeError(f"{path} is cut: it ends inside its header")
        shape = tuple(int(side) for side in np.frombuffer(header, ">u4", offset=4))
        size = _declared_size(path, shape)
        payload = stream.read(size + 1)
    if len(payload) != size:
        held = "more" if len(payload) > size else f"only {len(payload)}"
        raise LandscapeError(f"{path} declares {size} bytes of data and holds {held}")
    return np.frombuffer(payload, np.uint8).reshape(shape)


def _declared_size(path: Path, shape: tuple[int, ...]) -> int:
    """Bytes of an IDX array of `shape`; refuses none, and more than the file can hold."""
    size = math.prod(shape)
    limit = min(_LIMIT, DEFLATE_RATIO * path.stat().st_size)
    if not 0 < size <= limit:
        sides = " × ".join(str(side) for side in shape)
        raise LandscapeError(
            f"the header of {path} declares {sides} bytes; "
            f"expected 1 to {limit} in a file of this length"
        )
    return size
