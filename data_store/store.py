"""Store and Run: a folder of runs, and the points in it."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from landscape.data_store import layout
from landscape.data_store.address import Address, check_run_name, parse_address
from landscape.data_store.atomic import sweep, write_atomic
from landscape.data_store.errors import LandscapeError, UsageError, unknown

if TYPE_CHECKING:
    import pandas
    import xarray

    from landscape.data_store.records import Checkpoint, Level, Point, RunConfig


@dataclass(frozen=True)
class Store:
    """A folder that keeps runs and results.

    ``store["mnist-imp"]`` is a `Run` (any unique prefix will do),
    ``store["mnist-imp"][3]`` a `Checkpoint`.
    """

    root: Path

    def __getitem__(self, name: str) -> Run:
        """The run called `name`, or the only one whose name begins so."""
        check_run_name(name)
        names = list(self)
        matches = [run for run in names if run.startswith(name)]
        if name not in names and len(matches) != 1:
            if matches:
                raise UsageError(f"run {name!r} is ambiguous: {', '.join(matches)} begin so")
            raise unknown("run", name, names)
        return Run(self.root, name if name in names else matches[0])

    def __iter__(self) -> Iterator[str]:
        """Names of all runs, sorted."""
        folder = layout.runs(self.root)
        found = folder.iterdir() if folder.is_dir() else iter(())
        return iter(sorted(p.name for p in found if (p / "run.json").is_file()))

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
        if path.exists():
            raise LandscapeError(f"run {name!r} exists already in {self.root}")
        record = {"format": layout.RUN_FORMAT, "version": layout.RUN_VERSION, "name": name}
        write_atomic(path, json.dumps({**record, **description}, indent=1).encode())
        return Run(self.root, name)

    def runs(self) -> pandas.DataFrame:
        """One row per run: task, model, levels, density, test error."""
        from landscape.data_store.catalog import Catalog

        return Catalog(self.root).frame("runs")

    def catalog(self) -> pandas.DataFrame:
        """One row per stored result: kind, inputs, settings and where it lies."""
        from landscape.data_store.catalog import Catalog

        return Catalog(self.root).frame("results")

    def results(self, kind: str, **where: Any) -> xarray.Dataset:
        """All results of a kind that match, as one dataset along ``pair``.

        ``store.results("barrier", task="mnist", level=slice(0, 8))``; fields, conditions
        and errors are those of `landscape.data_store.results.query`.
        """
        from landscape.data_store.results import query

        return query(self.root, kind, where)


@dataclass(frozen=True)
class Run:
    """One run of a store; ``run[3]`` is level 3's final weights, ``run[3, "rewind"]`` a part."""

    root: Path
    name: str

    @property
    def exists(self) -> bool:
        """True once the run has its manifest."""
        return layout.run_manifest(self.root, self.name).is_file()

    @property
    def description(self) -> dict[str, Any]:
        """The manifest ``run.json``: configuration, tensors, data, versions."""
        return _read_manifest(layout.run_manifest(self.root, self.name), layout.RUN_FORMAT)

    @property
    def config(self) -> RunConfig:
        """What was asked for."""
        from landscape.data_store.records import RunConfig
        from landscape.data_store.settings import from_json

        return from_json(RunConfig, self.description["config"])

    @property
    def levels(self) -> list[int]:
        """Numbers of the finished levels, in order."""
        folder = layout.run_folder(self.root, self.name)
        numbers = (layout.level_number(path.name) for path in folder.glob("level_*.h5"))
        return sorted(number for number in numbers if number is not None)

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
        level = read_level(path)
        if level.number != number:
            raise LandscapeError(
                f"{path} holds level {level.number}, not {number}; it was copied or renamed: "
                "remove it and repeat the command that trained the run"
            )
        return level

    def point(self, digest: str) -> Point:
        """A content-addressed point of the store (an init or a rewind)."""
        from landscape.data_store.level_file import read_object

        return read_object(layout.object_file(self.root, digest))

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
        from landscape.data_store.results import training

        return training([self])

    def save_point(self, digest: str, image: bytes) -> None:
        """Keep a content-addressed point; nothing is done if the store has it."""
        path = layout.object_file(self.root, digest)
        if not path.exists():
            write_atomic(path, image)

    def save_level(self, number: int, image: bytes) -> None:
        """Keep a finished level; it is never replaced."""
        path = layout.level_file(self.root, self.name, number)
        if path.exists():
            if path.read_bytes() == image:
                return
            raise LandscapeError(
                f"{path} holds another level {number} already; finished levels are never replaced"
            )
        write_atomic(path, image)


def open_store(path: str | Path, *, create: bool = True) -> Store:
    """The store in the folder `path`, made if it is not there.

    Raises `LandscapeError` if `path` is a file, cannot be written, holds something else,
    or is of a newer format.
    """
    try:
        return _opened(Path(path).expanduser(), create)
    except (OSError, RuntimeError) as error:  # expanduser raises the latter
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise LandscapeError(f"cannot open the store {path}: {reason}") from error


def _opened(root: Path, create: bool) -> Store:
    """The store at `root`, made if it is not there and `create`."""
    if root.exists() and not root.is_dir():
        raise LandscapeError(f"the store path {root} is a file; give a folder")
    manifest = layout.manifest(root)
    if manifest.exists():
        _read_manifest(manifest, layout.STORE_FORMAT)
        sweep(root)
        return Store(root)
    if not create:
        raise LandscapeError(f"there is no store at {root}; train a run first, or give --store DIR")
    if root.is_dir() and any(p for p in root.iterdir() if not p.name.startswith(".")):
        raise LandscapeError(
            f"{root} is a folder with other files and no store.json; give an empty or new folder"
        )
    record = {
        "format": layout.STORE_FORMAT,
        "version": layout.STORE_VERSION,
        "id": secrets.token_hex(16),
    }
    write_atomic(manifest, json.dumps(record, indent=1).encode())
    return Store(root)


def _read_manifest(path: Path, format_name: str) -> dict[str, Any]:
    """A JSON manifest whose format and version this program reads."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        found, major = record["format"], int(record["version"][0])
    except OSError as error:
        raise LandscapeError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, LookupError, TypeError, OverflowError) as error:
        raise LandscapeError(f"{path} is damaged: it is no {format_name} manifest") from error
    if found != format_name:
        raise LandscapeError(f"{path} says {found!r}; expected {format_name!r}")
    if major > 1:
        raise LandscapeError(
            f"{path} is of format version {major}; this version reads up to 1: update landscape"
        )
    known: dict[str, Any] = record
    return known
