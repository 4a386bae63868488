"""Store and Run: a folder of runs, and the points in it."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from landscape.data_store import layout
from landscape.data_store.address import Address, check_run_name, is_run_name, parse_address
from landscape.data_store.errors import DamagedFile, LandscapeError, UsageError, unknown
from landscape.data_store.files import (
    SIZE_LIMIT,
    read_file,
    refuse_links,
    sweep,
    write_new,
    write_over,
)
from landscape.data_store.manifest import manifest_bytes, read_manifest
from landscape.data_store.version import own_version

if TYPE_CHECKING:
    import pandas
    import xarray

    from landscape.data_store.params import ParamSpec
    from landscape.data_store.records import Checkpoint, Level, Point, RunConfig

_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Store:
    """A folder that keeps runs and results.

    ``store["mnist-imp"]`` is a `Run` (any unique prefix will do),
    ``store["mnist-imp"][3]`` a `Checkpoint`.

    Parameters
    ----------
    root
        The folder.
    size_limit
        Largest file, and largest sum of the arrays in one, that is read, in bytes.
    """

    root: Path
    size_limit: int = SIZE_LIMIT

    def __getitem__(self, name: str) -> Run:
        """The run called `name`, or the only one whose name begins so."""
        check_run_name(name)
        exact = Run(self.root, name, self.size_limit)
        if exact.exists:  # without a look at all others
            return exact
        names = list(self)
        matches = [run for run in names if run.startswith(name)]
        if len(matches) > 1:
            raise UsageError(f"run {name!r} is ambiguous: {', '.join(matches)} begin so")
        if not matches:
            raise unknown("run", name, names)
        return Run(self.root, matches[0], self.size_limit)

    def __repr__(self) -> str:
        from landscape.data_store.showing import of_store

        return of_store(self).text()

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        from landscape.data_store.showing import of_store

        return of_store(self).html()

    def __iter__(self) -> Iterator[str]:
        """Names of all runs, sorted."""
        folder = layout.runs(self.root)
        found = folder.iterdir() if folder.is_dir() else iter(())
        names = (p.name for p in found if (p / layout.RUN_MANIFEST).is_file())
        return iter(sorted(filter(is_run_name, names)))

    def checkpoint(self, address: str) -> Checkpoint:
        """The point at ``RUN@LEVEL.PART``."""
        place = parse_address(address)
        if place.level is None:
            raise UsageError(f"{address!r} names a whole run; add a level, as in {address}@3")
        return self[place.run].checkpoint(place)

    def create(self, name: str, description: Mapping[str, Any]) -> Run:
        """A new run with this manifest; raises `LandscapeError` if the name is taken."""
        check_run_name(name)
        path = layout.run_manifest(self.root, name)
        record = {"name": name, "written_by": own_version(), **description}
        content = manifest_bytes(layout.RUN_FORMAT, layout.RUN_VERSION, record)
        if not write_new(path, content, root=self.root):
            raise LandscapeError(f"run {name!r} exists already in {self.root}")
        return Run(self.root, name, self.size_limit)

    def runs(self) -> pandas.DataFrame:
        """One row per run: task, model, levels, density, test error."""
        from landscape.data_store.catalog import Catalog

        return Catalog(self.root, self.size_limit).frame("runs")

    def catalog(self) -> pandas.DataFrame:
        """One row per stored result: kind, inputs, settings and where it lies."""
        from landscape.data_store.catalog import Catalog

        return Catalog(self.root, self.size_limit).frame("results")

    def results(self, kind: str, **where: Any) -> xarray.Dataset:
        """All results of a kind that match, as one dataset along ``pair``.

        ``store.results("barrier", task="mnist", level=slice(0, 8))``; fields, conditions
        and errors are those of `landscape.data_store.query.query`.
        """
        from landscape.data_store.query import query

        return query(self, kind, where)


@dataclass(frozen=True)
class Run:
    """One run of a store; ``run[3]`` is level 3's final weights, ``run[3, "rewind"]`` a part."""

    root: Path
    name: str
    size_limit: int = SIZE_LIMIT

    def __repr__(self) -> str:
        from landscape.data_store.showing import of_run

        return of_run(self).text()

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        from landscape.data_store.showing import of_run

        return of_run(self).html()

    @property
    def exists(self) -> bool:
        """True once the run has its manifest."""
        return layout.run_manifest(self.root, self.name).is_file()

    @property
    def description(self) -> dict[str, Any]:
        """The manifest ``run.json``: configuration, tensors, data, versions."""
        path = layout.run_manifest(self.root, self.name)
        record = read_manifest(path, layout.RUN_FORMAT, layout.RUN_VERSION, root=self.root)
        for entry in ("config", "spec", "data", "provenance", "imported", "branch", "planted"):
            if not isinstance(record.get(entry, {}), dict):
                raise DamagedFile(
                    f"{path} says {record[entry]!r:.80} of its {entry}; it was not written by "
                    "landscape"
                )
        return record

    @property
    def identity(self) -> str:
        """Digest of what decides the run's numbers; every level of it states it.

        Settings but the number of levels, tensors, initial weights, data and, of a branch, where
        it began: not the name, nor when and where. Runs of one identity have the same levels, byte
        for byte.
        """
        record = self.description
        settings = {k: v for k, v in record.get("config", {}).items() if k != "levels"}
        if settings.get("max_examples") is None:  # runs made before there was this setting
            settings.pop("max_examples", None)
        for name, default in _late_settings().items():
            if settings.get(name) == default:
                settings.pop(name, None)
        data = record.get("data", {}).get("digest")
        parts = [settings, record.get("spec"), record.get("init"), data]
        parts.append(record.get("imported", {}).get("levels"))
        parts += [record[entry] for entry in ("branch", "planted") if entry in record]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    @property
    def data_digest(self) -> str:
        """SHA-256 of the data it was trained on, empty if its manifest does not say."""
        return str(self.description.get("data", {}).get("digest") or "")

    @property
    def is_imported(self) -> bool:
        """True for a run made of foreign checkpoints, not trained here."""
        return "imported" in self.description

    @property
    def config(self) -> RunConfig:
        """What was asked for; raises `LandscapeError` for an imported run."""
        from landscape.data_store.records import RunConfig
        from landscape.data_store.settings import from_json

        if self.is_imported:
            raise LandscapeError(
                f"run {self.name!r} was imported: how it was trained is unknown; train a run of "
                "its task and model under another --name"
            )
        return from_json(RunConfig, self.description["config"])

    @property
    def levels(self) -> list[int]:
        """Numbers of the finished levels, in order."""
        folder = layout.run_folder(self.root, self.name)
        numbers = (layout.level_number(path.name) for path in folder.glob("level_*.h5"))
        return sorted(number for number in numbers if number is not None)

    @property
    def unbroken_levels(self) -> list[int]:
        """`levels`, where those of a study follow each other.

        Raises `LandscapeError` if one is missing between the first and the last.
        """
        levels = self.levels
        missing = sorted(set(range(levels[-1] if levels else 0)) - set(levels))
        if missing:
            raise LandscapeError(
                f"run {self.name!r} lacks level {', '.join(map(str, missing))} of 0 to "
                f"{levels[-1]}: repeat the command that made it, or name the levels you mean"
            )
        return levels

    def level(self, number: int | str) -> Level:
        """A finished level; `number` may be ``"first"`` or ``"last"``."""
        levels = self.levels
        if number in ("first", "last") and levels:
            number = levels[0 if number == "first" else -1]
        if number not in levels:
            have = ", ".join(map(str, levels)) or "none"
            if len(levels) > 1 and levels == [*range(levels[0], levels[-1] + 1)]:
                have = f"{levels[0]} to {levels[-1]}"
            raise UsageError(f"run {self.name!r} has no level {number}; finished: {have}")
        from landscape.data_store.level_file import read_level

        path = layout.level_file(self.root, self.name, int(number))
        level = read_level(path, root=self.root, limit=self.size_limit)
        if level.number != number:
            raise DamagedFile(
                f"{path} holds level {level.number}, not {number}; it was copied or renamed: "
                "remove it and repeat the command that trained the run"
            )
        self._require_own(path, level)
        return level

    def _require_own(self, path: Path, level: Level) -> None:
        """Raise `DamagedFile` if a level contradicts the run's manifest."""
        stated, origins = self.description, level.origins
        found = {"spec": level.mask.spec.to_json(), "init": origins.get("init")}
        foreign = bool(level.run) and level.run != self.identity
        if foreign or any(stated.get(entry, value) != value for entry, value in found.items()):
            raise DamagedFile(
                f"{path} is of another run, with another network, other initial weights or other "
                "settings; it was copied here: remove it and repeat the command that made the run"
            )
        lacks = "init" in stated and "rewind" not in origins
        if lacks or not all(_DIGEST.fullmatch(digest) for digest in origins.values()):
            raise DamagedFile(
                f"{path} does not say by digests where its level began, but {dict(origins)!r:.200}"
                "; it was not written by landscape"
            )

    def point(self, digest: str) -> Point:
        """A content-addressed point of the store (an init or a rewind)."""
        from landscape.data_store.level_file import read_object

        if not _DIGEST.fullmatch(digest):
            raise DamagedFile(
                f"run {self.name!r} starts from {digest[:80]!r}, which is no digest of a point: "
                "it was not written by landscape"
            )
        path = layout.object_file(self.root, digest)
        return read_object(path, digest, root=self.root, limit=self.size_limit)

    def __getitem__(self, key: int | str | tuple[int | str, str]) -> Checkpoint:
        """The checkpoint of a level, or of a part of it."""
        level, part = key if isinstance(key, tuple) else (key, "final")
        return self.checkpoint(parse_address(f"{self.name}@{level}.{part}"))

    def checkpoint(self, place: Address) -> Checkpoint:
        """The point at `place`."""
        from landscape.data_store.points import checkpoint

        return checkpoint(self, place)

    def training(self) -> xarray.Dataset:
        """The training curves of all levels; schema ``training``."""
        from landscape.data_store.curves import training

        return training([self])

    def save_point(self, digest: str, spec: ParamSpec, point: Point) -> None:
        """Keep a point under its digest; nothing is done if the store has it."""
        from landscape.data_store.level_file import object_image

        path = layout.object_file(self.root, digest)
        if path.exists():
            sweep(path.parent)
        else:
            write_new(path, object_image(spec, point), root=self.root)

    def save_level(self, number: int, image: bytes) -> None:
        """Keep a finished level; it is never replaced."""
        path = layout.level_file(self.root, self.name, number)
        if path.exists() or not write_new(path, image, root=self.root):
            if read_file(path, root=self.root, limit=self.size_limit) == image:
                return
            raise LandscapeError(
                f"{path} holds another level {number} already; finished levels are never replaced"
            )

    def extend(self, levels: int) -> None:
        """State in the manifest that more levels are asked for."""
        record = self.description
        if levels > record["config"]["levels"]:
            known = {k: v for k, v in record.items() if k not in ("format", "version", "sha256")}
            known["config"] = {**record["config"], "levels": levels}
            content = manifest_bytes(layout.RUN_FORMAT, layout.RUN_VERSION, known)
            write_over(layout.run_manifest(self.root, self.name), content, root=self.root)


def open_store(path: str | Path, *, create: bool = True, size_limit: int = SIZE_LIMIT) -> Store:
    """The store in the folder `path`, made if it is not there and `create`.

    Files of more than `size_limit` bytes, stored or unpacked, are refused when they are read.

    Raises `LandscapeError` if `path` is a file, cannot be written, holds something else,
    or is of a newer format.
    """
    try:
        root = Path(path).expanduser()
        _open(root, create)
        return Store(root, size_limit)
    except (OSError, RuntimeError) as error:  # expanduser raises the latter
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise LandscapeError(f"cannot open the store {path}: {reason}") from error


def _open(root: Path, create: bool) -> None:
    """Raise unless there is a store at `root`; make one if there is none and `create`."""
    if root.exists() and not root.is_dir():
        raise LandscapeError(f"the store path {root} is a file; give a folder")
    manifest = layout.manifest(root)
    for place in (layout.runs(root), layout.objects(root), layout.results(root)):
        refuse_links(place, root)
    others = [p for p in _entries(root) if not p.name.startswith(".") and p != manifest]
    if manifest.exists():  # looked for after the others: another process may be making it
        read_manifest(manifest, layout.STORE_FORMAT, layout.STORE_VERSION, root=root)
        sweep(root)
        return
    if not create:
        raise LandscapeError(f"there is no store at {root}; train a run first, or give --store DIR")
    if others:
        raise LandscapeError(
            f"{root} is a folder with other files and no store.json; give an empty or new folder"
        )
    make_manifest(root)


def make_manifest(root: Path) -> None:
    """Say that the folder `root` is a store, unless it says so already."""
    record = {"id": secrets.token_hex(16), "written_by": own_version()}
    content = manifest_bytes(layout.STORE_FORMAT, layout.STORE_VERSION, record)
    write_new(layout.manifest(root), content, root=root)


def _entries(root: Path) -> list[Path]:
    """What lies in a folder, nothing if it is not there."""
    return list(root.iterdir()) if root.is_dir() else []


def _late_settings() -> dict[str, Any]:
    """Settings that there have not always been, and what runs made before have of them."""
    from landscape.data_store.records import RunConfig

    return {f.name: f.default for f in fields(RunConfig) if "since" in f.metadata}
