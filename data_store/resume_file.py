"""The rolling file that holds the level being trained."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from landscape.data_store import layout
from landscape.data_store.errors import DamagedFile, LandscapeError
from landscape.data_store.files import SIZE_LIMIT, write_over
from landscape.data_store.image import read_image, seal
from landscape.data_store.params import Array

_KINDS = {"bool", *(f"float{bits}" for bits in (16, 32, 64))}
_KINDS |= {f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)}


def save_resume(
    path: Path, level: int, state: Mapping[str, Array], *, run: str = "", root: Path | None = None
) -> None:
    """Replace the resume file by this state of a level, its exact zeros left out.

    `run` is the identity of the run that it belongs to. The file need not survive a power cut,
    only a kill: a torn one is refused, and its level begun anew.
    """
    plan: list[list[Any]] = []
    pieces: dict[str, list[Array]] = {}
    for name, array in state.items():
        values = np.ascontiguousarray(array).reshape(-1)
        filled = values.view(f"u{values.itemsize}") != 0
        sparse = bool(np.count_nonzero(filled) < 0.9 * len(filled))
        plan.append([name, array.dtype.name, array.shape, sparse])
        if sparse:
            pieces.setdefault("filled", []).append(np.packbits(filled))
            values = values[np.flatnonzero(filled)]
        pieces.setdefault(array.dtype.name, []).append(values)
    header = {
        "format": layout.RESUME_FORMAT,
        "version": layout.RESUME_VERSION,
        "run": run,
        "level": level,
        "arrays": plan,
    }
    arrays = {kind: np.concatenate(values) for kind, values in pieces.items()}
    write_over(path, seal(header, arrays, compress=False), root=root, durable=False)


def load_resume(
    path: Path, level: int, *, run: str = "", root: Path | None = None, limit: int = SIZE_LIMIT
) -> dict[str, Any] | None:
    """The state of `level`, or None if the file is absent, damaged, or of another level or run."""
    if not path.exists():
        return None
    try:
        found, state = _read(path, root, limit)
    except LandscapeError:
        return None
    return state if found == (run, level) else None


def read_resume(
    path: Path, *, root: Path | None = None, limit: int = SIZE_LIMIT
) -> tuple[int, dict[str, Any]]:
    """Level and state in a resume file; raises `LandscapeError` if it is not whole."""
    (_, level), state = _read(path, root, limit)
    return level, state


def _read(path: Path, root: Path | None, limit: int) -> tuple[tuple[str, int], dict[str, Any]]:
    """Run and level, and the state, in a resume file."""
    header, arrays = read_image(
        path,
        format_name=layout.RESUME_FORMAT,
        version=layout.RESUME_VERSION,
        root=root,
        limit=limit,
        fits=_state_fits,
    )
    try:
        left = dict(arrays)
        state = {}
        for name, kind, shape, sparse in header["arrays"]:
            count = math.prod(shape)
            filled = np.ones(count, np.bool_)
            if sparse:
                packed, left["filled"] = np.split(left["filled"], [(count + 7) // 8])
                if len(packed) < (count + 7) // 8:
                    raise ValueError(f"{len(packed)} bytes of places of {name!r:.80}")
                filled = np.unpackbits(packed, count=count).astype(np.bool_)
            wanted = np.count_nonzero(filled)
            found, left[kind] = np.split(left[kind], [wanted])
            if len(found) != wanted:
                raise ValueError(f"{len(found)} of {wanted} numbers of {name!r:.80}")
            state[name] = np.zeros(count, kind)
            state[name][filled] = found
            state[name] = state[name].reshape(shape)
        return (str(header["run"]), int(header["level"])), state
    except (LookupError, TypeError, ValueError, OverflowError) as error:
        raise DamagedFile(f"{path} is an incomplete resume file: {error!r}") from error


def _state_fits(header: dict[str, Any], _: dict[str, tuple[int, ...]]) -> int:
    """Bytes of a state while it is unpacked; ValueError for arrays that are none."""
    size = 0
    for name, kind, shape, _sparse in header["arrays"]:
        if kind not in _KINDS or not all(type(side) is int and side >= 0 for side in shape):
            raise ValueError(f"{name!r:.80} is of {kind!r:.80} and shape {shape!r:.80}")
        size += math.prod(shape) * (np.dtype(kind).itemsize + 1)
    return size
