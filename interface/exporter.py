"""Exporter: a point of a run, or the surface of a result, as one file for somebody else."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path
from typing import Any

from landscape.data_store.address import parse_address
from landscape.data_store.catalog import Catalog
from landscape.data_store.errors import UsageError
from landscape.data_store.files import write_new, write_over
from landscape.data_store.records import Checkpoint
from landscape.data_store.store import Run, Store
from landscape.data_store.version import own_version

POINT_SUFFIXES = (".h5", ".safetensors", ".pt", ".pth")
SURFACE_SUFFIXES = (".h5", ".npz")

Facts = dict[str, Any]


def export(
    store: Store, what: str, path: Path, *, force: bool = False, pair: str | None = None
) -> Facts:
    """Write `what` to `path`, whole or not at all; what was written, as plain JSON.

    Parameters
    ----------
    what
        ``RUN@LEVEL`` for the level's ticket, ``RUN@LEVEL.PART`` for another point, or the
        beginning of a result's id.
    path
        Its suffix decides the format: for a point ``.h5``, ``.safetensors``, ``.pt`` or
        ``.pth``; for a result ``.h5`` (tomgoldstein/loss-landscape) or ``.npz`` (Landscaper).
    force
        Replace a file that is there.
    pair
        Which surface of a result that has several.

    Raises `UsageError` for a file that is there, lies in the store or has another suffix, and
    for an address or id that does not exist; `LandscapeError` for what a format cannot hold,
    or a file that cannot be written. Nothing is changed then.
    """
    if "@" not in what and (row := _result_row(store, what)) is not None:
        _require_place(store, path, force, SURFACE_SUFFIXES, "a result")
        content, facts = _surface(store, row, path, pair)
    else:
        if pair is not None:
            raise UsageError(f"--pair chooses a surface of a result, and {what!r} is none")
        checkpoint, run = _point(store, what)
        _require_place(store, path, force, POINT_SUFFIXES, "a checkpoint")
        content, facts = _image(checkpoint, point_record(run, checkpoint), path)
    if force:
        write_over(path, content)
    elif not write_new(path, content):
        raise _taken(path)
    return {"file": str(path), "bytes": len(content), **facts}


def point_record(run: Run, checkpoint: Checkpoint) -> dict[str, Any]:
    """Where a point of a run came from: run, task, model, settings, data, versions."""
    description = run.description
    config = description.get("config")
    config = config if isinstance(config, dict) else {}
    return {
        "address": checkpoint.address,
        "run": run.name,
        "task": config.get("task"),
        "model": config.get("model"),
        "config": config,
        "rewind_step": config.get("rewind_step"),
        "data": description.get("data"),
        "imported": description.get("imported"),
        "provenance": description.get("provenance"),
        "written_by": own_version(),
    }


def _result_row(store: Store, what: str) -> dict[str, Any] | None:
    """The stored result whose id begins with `what`; None if this may be a run's name.

    Raises `UsageError` if several results begin so, or none and no run is called so.
    """
    if not re.fullmatch(r"[0-9a-f]{4,40}", what) or what in store:
        return None
    rows = [r for r in Catalog(store.root, store.size_limit).rows("results") if _begins(r, what)]
    if len(rows) > 1:
        raise UsageError(f"{what!r} begins {len(rows)} results; give more of the id")
    if not rows and not any(name.startswith(what) for name in store):
        raise UsageError(
            f"no result's id begins with {what!r}, and no run is called so; 'landscape ls results' "
            "lists the results"
        )
    return rows[0] if rows else None


def _begins(row: dict[str, Any], what: str) -> bool:
    """True if the id of a result begins so."""
    return str(row["id"]).startswith(what)


def _point(store: Store, what: str) -> tuple[Checkpoint, Run]:
    """The point at an address, a level's ticket if it names no part, and its run."""
    place = parse_address(what)
    run = store[place.run]
    if place.level is None:
        raise UsageError(f"{what!r} names a whole run; add a level, as in {what}@last")
    named = "." in what.partition("@")[2]
    return run.checkpoint(parse_address(what if named else f"{what}.ticket")), run


def _require_place(
    store: Store, path: Path, force: bool, suffixes: tuple[str, ...], noun: str
) -> None:
    """Raise `UsageError` unless a file of this kind may be written at `path`."""
    if path.suffix.lower() not in suffixes:
        raise UsageError(
            f"cannot export {noun} as {str(path)!r}; its suffix must be one of "
            f"{', '.join(suffixes)}"
        )
    try:
        inside = path.parent.resolve().is_relative_to(store.root.resolve())
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links, a NUL
        raise UsageError(f"{str(path)!r} is no place for a file: {error}") from error
    if inside:
        raise UsageError(f"{path} lies in the store {store.root}; export to another folder")
    if path.is_dir():
        raise UsageError(f"{path} is a folder; give the name of a file")
    if os.path.lexists(path) and not force:
        raise _taken(path)


def _taken(path: Path) -> UsageError:
    """Error for a file that is there."""
    return UsageError(f"{path} exists; give --force to replace it, or another name")


def _image(checkpoint: Checkpoint, record: dict[str, Any], path: Path) -> tuple[bytes, Facts]:
    """The bytes of a point's file, and what there is to say of it."""
    suffix = path.suffix.lower()
    if suffix == ".h5":
        from landscape.data_store.ticket_file import ticket_image as image
    elif suffix == ".safetensors":
        from landscape.data_store.foreign_out import safetensors_image as image
    else:
        from landscape.data_store.foreign_out import torch_image as image
    facts = {
        "address": checkpoint.address,
        "digest": checkpoint.digest,
        "density": checkpoint.density,
        "read_with": f"landscape import {shlex.quote(str(path))} --name NAME",
    }
    return image(checkpoint, record), facts


def _surface(
    store: Store, row: dict[str, Any], path: Path, pair: str | None
) -> tuple[bytes, Facts]:
    """The bytes of a surface's file, and what there is to say of it."""
    from landscape.data_store import surface_file
    from landscape.data_store.results import load_result

    ds = load_result(store.root / row["path"], root=store.root, limit=store.size_limit)
    made = surface_file.surface(ds, pair=pair)
    points = [len(axis) for axis in made.axes]
    facts = {"result": row["id"], "kind": row["kind"], "label": made.label, "points": points}
    if path.suffix.lower() == ".npz":
        call = f"landscaper.LossLandscape.load_from_npz({str(path)!r})"
        return surface_file.landscaper_archive(made), {**facts, "read_with": call}
    script = "plot_1D.py" if len(points) == 1 else "plot_2D.py"
    call = f"python {script} --surf_file {shlex.quote(str(path))}"
    if len(points) == 2:
        losses = [name for name in made.values if name.endswith("_loss")]
        call += f" --surf_name {'train_loss' if 'train_loss' in losses else losses[0]}"
    return surface_file.plot_script_image(made), {**facts, "read_with": call}
