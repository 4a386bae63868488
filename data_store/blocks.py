"""Blocks: the finished pieces of a long computation, kept until its result is."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from landscape.data_store import layout
from landscape.data_store.errors import DamagedFile, LandscapeError
from landscape.data_store.files import SIZE_LIMIT, write_new
from landscape.data_store.image import read_image, seal
from landscape.data_store.params import Array


@dataclass(frozen=True)
class Blocks:
    """The pieces of one result that is being computed.

    Parameters
    ----------
    root
        The store.
    result
        Id of the result they will make.
    limit
        Largest file that is read, in bytes.
    """

    root: Path
    result: str
    limit: int = SIZE_LIMIT

    def read(self, name: str) -> dict[str, Array] | None:
        """The arrays of a block, None if it is not there or is not whole."""
        path = self._file(name)
        if not path.is_file():
            return None
        try:
            stated, arrays = read_block(path, self.result, root=self.root, limit=self.limit)
        except DamagedFile:
            path.unlink(missing_ok=True)  # to be computed again
            return None
        return arrays if stated == name else None

    def write(self, name: str, arrays: Mapping[str, Array]) -> None:
        """Keep a block; the first of a name wins.

        Raises `LandscapeError` as `write_new`, but not if the folder is removed at the same moment.
        """
        header = {
            "format": layout.BLOCK_FORMAT,
            "version": layout.BLOCK_VERSION,
            "result": self.result,
            "block": name,
        }
        try:
            write_new(self._file(name), seal(header, arrays, compress=False), root=self.root)
        except LandscapeError as error:
            # another process has the whole result and removed the folder meanwhile
            if not isinstance(error.__cause__, FileNotFoundError):
                raise

    def clear(self) -> None:
        """Remove them all, once the result is stored."""
        folder = layout.blocks(self.root, self.result)
        shutil.rmtree(folder, ignore_errors=True)

    def _file(self, name: str) -> Path:
        """Where a block lies."""
        digest = hashlib.sha256(name.encode()).hexdigest()[:40]
        return layout.block_file(self.root, self.result, digest)


def read_block(
    path: Path, result: str, *, root: Path | None = None, limit: int = SIZE_LIMIT
) -> tuple[str, dict[str, Array]]:
    """Name and arrays of a block of `result`.

    Raises `DamagedFile`, naming the file, if it is not whole or belongs to another result.
    """
    header, arrays = read_image(
        path,
        format_name=layout.BLOCK_FORMAT,
        version=layout.BLOCK_VERSION,
        root=root,
        limit=limit,
    )
    if header.get("result") != result:
        raise DamagedFile(f"{path} is a block of another result; it was copied there: remove it")
    return str(header.get("block")), arrays
