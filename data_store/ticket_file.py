"""The file of a ticket: one point of a run with its mask, small enough to mail."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from landscape.data_store import layout
from landscape.data_store.errors import LandscapeError
from landscape.data_store.files import SIZE_LIMIT
from landscape.data_store.image import read_image, seal
from landscape.data_store.level_file import pack_points, points_fit, unpack_points
from landscape.data_store.mask import Mask
from landscape.data_store.records import Checkpoint, Point

_MALFORMED = (LandscapeError, LookupError, TypeError, ValueError, AttributeError, OverflowError)


def ticket_image(checkpoint: Checkpoint, record: Mapping[str, Any]) -> bytes:
    """The bytes of a ticket's file: surviving weights, packed mask, the rest, the record.

    Parameters
    ----------
    checkpoint
        Any point: a ticket, or a dense one, which is kept whole.
    record
        Where it came from, as `whole_record` takes it.

    Equal input gives equal bytes. The training curve is left out.
    """
    point = Point(checkpoint.theta, checkpoint.buffers)
    packing, arrays = pack_points(checkpoint.mask, {checkpoint.part: point})
    header = {
        "format": layout.TICKET_FORMAT,
        "version": layout.TICKET_VERSION,
        "written_by": str(record.get("written_by", "")),
        "record": whole_record(checkpoint, record),
        **packing,
    }
    return seal(header, arrays, compress=True)


def read_ticket(
    path: Path, *, root: Path | None = None, limit: int = SIZE_LIMIT
) -> tuple[Checkpoint, dict[str, Any]]:
    """The checkpoint and the record in a ticket's file, bit for bit as they were exported.

    `root` and `limit` as in `landscape.data_store.files.read_file`. The checkpoint's address
    is `path`.

    Raises `LandscapeError`, naming the file, if it is not whole, is none of this format, or
    holds another checkpoint than its record says.
    """
    header, arrays = read_image(
        path,
        format_name=layout.TICKET_FORMAT,
        version=layout.TICKET_VERSION,
        root=root,
        limit=limit,
        fits=points_fit,
    )
    try:
        mask, points = unpack_points(header, arrays)
        (point,) = points.values()
        record = dict(header["record"])
    except _MALFORMED as error:
        raise LandscapeError(f"{path} is an incomplete ticket file: {error!r}") from error
    return recorded_checkpoint(path, mask, point, record), record


def whole_record(checkpoint: Checkpoint, record: Mapping[str, Any]) -> dict[str, Any]:
    """A record and what it must say of its checkpoint: level, part, status, metrics, digest.

    Parameters
    ----------
    record
        Run, task, settings, versions, as plain JSON.

    Raises `LandscapeError` for a record or names of tensors that no JSON file holds.
    """
    density = checkpoint.density
    of_checkpoint = {
        "level": checkpoint.level,
        "part": checkpoint.part,
        "status": checkpoint.status,
        "density": density if math.isfinite(density) else None,
        "metrics": {k: v if math.isfinite(v) else None for k, v in checkpoint.metrics.items()},
    }
    try:
        of_checkpoint["digest"] = checkpoint.digest
        text = json.dumps({**record, **of_checkpoint}, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise LandscapeError(
            f"{checkpoint.address} cannot be described in plain JSON: {error}"
        ) from error
    whole: dict[str, Any] = json.loads(text)
    return whole


def recorded_checkpoint(
    path: Path, mask: Mask, point: Point, record: Mapping[str, Any]
) -> Checkpoint:
    """The checkpoint that a file at `path` holds, as its record describes it.

    Raises `LandscapeError`, naming the file, if the record is incomplete or was written for
    other weights, or if the tensors are none.
    """
    try:
        checkpoint = Checkpoint(
            spec=mask.spec,
            theta=point.theta,
            mask=mask,
            buffers=point.buffers,
            metrics={k: math.nan if v is None else float(v) for k, v in record["metrics"].items()},
            address=str(path),
            level=None if record["level"] is None else int(record["level"]),
            part=str(record["part"]),
            status=str(record["status"]),
        )
        stated, found = str(record["digest"]), checkpoint.digest
    except _MALFORMED as error:
        raise LandscapeError(f"{path} has an incomplete record: {error!r}") from error
    if stated != found:
        raise LandscapeError(
            f"{path} holds other weights than its record was written for (digest {found[:12]}, "
            f"recorded {stated[:12]}); export them again"
        )
    return checkpoint
