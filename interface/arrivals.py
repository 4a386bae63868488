"""Arrivals: what foreign files and folders bring, as levels-to-be."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from landscape.data_store import layout
from landscape.data_store.errors import LandscapeError, OtherFormat, UsageError
from landscape.data_store.level_file import read_level
from landscape.data_store.manifest import read_manifest
from landscape.data_store.params import Array
from landscape.data_store.records import TRACE_COLUMNS, Checkpoint, Level, Point, Trace
from landscape.data_store.ticket_file import read_ticket
from landscape.subject import Subject

ORIGINS = ("init", "rewind", "ticket")

_NO_CURVE = Trace(np.zeros((0, len(TRACE_COLUMNS))))


@dataclass(frozen=True, eq=False)
class Arrival:
    """One level-to-be.

    Parameters
    ----------
    level
        The level; its number and its origins are not decided yet.
    origins
        Points that it began from: ``init``, ``rewind`` or ``ticket``, as far as they are known.
    files
        Name and SHA-256 of each file it came from, the weights last.
    record
        What the file states of its run, as far as it is of the right type: ``task``, ``model``,
        ``validation_size``, ``max_examples``, ``data``.
    """

    level: Level
    origins: Mapping[str, Point]
    files: tuple[tuple[str, str], ...]
    record: Mapping[str, Any] = field(default_factory=dict)

    @property
    def source(self) -> str:
        """Name of the file its weights came from."""
        return self.files[-1][0]


class Reader:
    """Reads one path after another as levels-to-be.

    Parameters
    ----------
    subject
        Network and data that state dicts must fit.
    by_order
        Match tensors of other names by position.
    size_limit
        Largest file in bytes.
    """

    def __init__(self, subject: Subject, *, by_order: bool, size_limit: int) -> None:
        self._subject, self._by_order, self._limit = subject, by_order, size_limit
        self._tried = False

    def arrivals(self, path: Path) -> Iterator[Arrival]:
        """The levels in a file or a folder.

        Raises `UsageError` or `LandscapeError` if it cannot be read or does not fit.
        """
        if path.is_dir():
            yield from self._folder(path)
        elif path.suffix.lower() == ".h5":
            yield self._image(path)
        else:
            yield self._state(path)

    def _folder(self, path: Path) -> Iterator[Arrival]:
        """The levels of a folder of open_lth."""
        from landscape.data_store.open_lth import read_levels

        above = path.resolve().parent
        for found in read_levels(path, self._fit, size_limit=self._limit):
            names = [file.resolve().relative_to(above).as_posix() for file in found.files]
            files = tuple(zip(names, map(_file_digest, found.files), strict=True))
            yield Arrival(_level(found.final), found.origins, files)

    def _image(self, path: Path) -> Arrival:
        """A level file, or a ticket, of ours."""
        try:
            level = read_level(path, limit=self._limit)
        except OtherFormat as error:
            if error.found != layout.TICKET_FORMAT:
                raise
            ticket = read_ticket(path, limit=self._limit)
            return self._ticket(*ticket, ((path.name, _file_digest(path)),))
        self._require_fit(_checkpoint(level, str(path)))
        for name, point in level.points.items():
            if np.ascontiguousarray(point.theta[~level.mask.kept]).view(np.uint8).any():
                raise LandscapeError(f"{path} keeps weights of {name!r} that its mask prunes")
        return Arrival(level, {}, ((path.name, _file_digest(path)),), _beside(path))

    def _ticket(
        self, checkpoint: Checkpoint, record: Mapping[str, Any], files: tuple[tuple[str, str], ...]
    ) -> Arrival:
        """A point that was exported; its part says what it is an origin of.

        The level's weights are the point's on its mask.
        """
        self._require_fit(checkpoint)
        point = Point(checkpoint.theta, checkpoint.buffers)
        origins = {checkpoint.part: point} if checkpoint.part in ORIGINS else {}
        if checkpoint.part == "ticket" and checkpoint.mask.kept.all():
            origins = {"rewind": point}
        return Arrival(_level(checkpoint), origins, files, _stated(record))

    def _state(self, path: Path) -> Arrival:
        """A state dict; one that was exported here brings its mask and record."""
        from landscape.data_store.foreign import read_state
        from landscape.data_store.foreign_out import read_embedded, restored

        state = read_state(path, size_limit=self._limit)
        files = ((path.name, _file_digest(path)),)
        embedded = read_embedded(path)
        if embedded is not None:
            return self._ticket(restored(path, state, embedded), embedded["record"], files)
        if self._by_order and path.suffix.lower() == ".safetensors":
            raise UsageError(
                f"{path} keeps its tensors in no order of its own, so --by-order cannot match them"
            )
        return Arrival(_level(self._fit(state, str(path), None)), {}, files)

    def _fit(
        self, state: Mapping[str, Array], address: str, masks: Mapping[str, Array] | None
    ) -> Checkpoint:
        """A state dict on the network, which is tried on the task before the first."""
        from landscape.training.task import require_fit

        checkpoint = self._subject.fitted(state, address, masks, by_order=self._by_order)
        if not self._tried:
            require_fit(self._subject.module, self._subject.task)
            self._tried = True
        return checkpoint

    def _require_fit(self, checkpoint: Checkpoint) -> None:
        """Raise unless a checkpoint has plain names and is of the network that was given."""
        for name in checkpoint.spec.names:
            if not _is_name(name):
                raise LandscapeError(
                    f"{checkpoint.address} calls a tensor {name[:80]!r}; expected up to 1000 "
                    "printable characters"
                )
        if self._subject.model_name:
            self._subject.require_fit(checkpoint)


def _level(checkpoint: Checkpoint) -> Level:
    """A level whose final weights are a checkpoint's on its mask."""
    theta = checkpoint.mask.apply(checkpoint.theta)
    return Level(
        number=0,
        mask=checkpoint.mask,
        points={"final": Point(theta, checkpoint.buffers)},
        trace=_NO_CURVE,
        metrics=checkpoint.metrics,
        origins={},
        status=checkpoint.status,
    )


def _checkpoint(level: Level, address: str) -> Checkpoint:
    """The final weights of a level."""
    final = level.points["final"]
    return Checkpoint(level.mask.spec, final.theta, level.mask, final.buffers, address=address)


def _beside(path: Path) -> Mapping[str, Any]:
    """What the manifest beside a level file states; nothing if it lies alone."""
    manifest = path.with_name(layout.RUN_MANIFEST)
    if not manifest.is_file():
        return {}
    return _stated(read_manifest(manifest, layout.RUN_FORMAT, layout.RUN_VERSION))


def _stated(record: Mapping[str, Any]) -> dict[str, Any]:
    """What a stranger's record says of its run, as far as it is of the right type."""
    config, data = record.get("config"), record.get("data")
    stated: dict[str, Any] = {}
    if isinstance(config, dict):
        stated = {what: config[what] for what in ("task", "model") if _is_name(config.get(what))}
        if type(config.get("validation_size")) is int:
            stated["validation_size"] = config["validation_size"]
        if type(config.get("max_examples")) is int:
            stated["max_examples"] = config["max_examples"]
    if isinstance(data, dict) and _is_name(data.get("digest")):
        known = data["examples"] if isinstance(data.get("examples"), dict) else {}
        examples = {name: n for name, n in known.items() if _is_name(name) and type(n) is int}
        stated["data"] = {"digest": data["digest"], "examples": examples}
    return stated


def _is_name(value: object) -> bool:
    """True for a short text without control characters, which a terminal would obey."""
    return isinstance(value, str) and 0 < len(value) <= 1000 and value.isprintable()


def _file_digest(path: Path) -> str:
    """SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
