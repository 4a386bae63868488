"""The rolling file that holds the level being trained."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from landscape.data_store import layout
from landscape.data_store.atomic import write_atomic
from landscape.data_store.errors import LandscapeError
from landscape.data_store.image import read_image, seal
from landscape.data_store.params import Array


def save_resume(path: Path, level: int, state: Mapping[str, Array]) -> None:
    """Replace the resume file by this state; uncompressed, so that it is quick."""
    names = list(state)
    header = {
        "format": layout.RESUME_FORMAT,
        "version": layout.RESUME_VERSION,
        "level": level,
        "names": names,
    }
    arrays = {f"array-{i:04d}": state[name] for i, name in enumerate(names)}
    write_atomic(path, seal(header, arrays, compress=False))


def load_resume(path: Path, level: int) -> dict[str, Any] | None:
    """The state of `level`, or None if the file is absent, damaged or of another level."""
    if not path.exists():
        return None
    try:
        header, arrays = read_image(
            path, format_name=layout.RESUME_FORMAT, version=layout.RESUME_VERSION
        )
    except LandscapeError:
        return None
    if header["level"] != level:
        return None
    return {name: arrays[f"array-{i:04d}"] for i, name in enumerate(header["names"])}
