"""Verify: every file of a store read, and found to be what its name says or named."""

from __future__ import annotations

import json
import os
import stat
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from landscape.data_store import checks, layout
from landscape.data_store.blocks import read_block
from landscape.data_store.catalog import Catalog
from landscape.data_store.describe import Row, described, kept, level_row, result_row, run_row
from landscape.data_store.errors import DamagedFile, LandscapeError
from landscape.data_store.files import DAMAGED, is_abandoned, read_file
from landscape.data_store.level_file import read_level, read_object
from landscape.data_store.lock import is_held
from landscape.data_store.manifest import read_manifest
from landscape.data_store.mask import Mask
from landscape.data_store.resume_file import read_resume
from landscape.data_store.store import Run, Store

Listener = Callable[[Path], None]

_MALFORMED = (
    LookupError, TypeError, ValueError, AttributeError, OverflowError, RecursionError,
)  # fmt: skip


@dataclass(frozen=True)
class Finding:
    """What there is to say of one file.

    Parameters
    ----------
    path
        The file; it may be one that is missing.
    problem
        What is wrong with it.
    remedy
        What makes it right.
    is_wrong
        False for what harms nothing and goes by itself.
    aside
        What a repair moves out of the way, None if that would not help.
    """

    path: Path
    problem: str
    remedy: str
    is_wrong: bool = True
    aside: Path | None = None

    def __str__(self) -> str:
        return f"{self.path} {self.problem}; {self.remedy}"


def files(store: Store) -> list[Path]:
    """Everything in a store that is no folder, sorted; the folder ``damaged`` is passed over."""
    found, folders = [], [store.root]
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(folder) as entries:
                inside = [(folder / e.name, e.is_dir(follow_symlinks=False)) for e in entries]
        except FileNotFoundError:
            continue
        except OSError:
            found.append(folder)  # one that cannot be listed is named as it is
            continue
        for path, is_folder in inside:
            if not is_folder or path.name.startswith(".") or layout.place(store.root, path):
                found.append(path)
            elif path != store.root / DAMAGED:
                folders.append(path)
    return sorted(found)


def check(
    store: Store, paths: Iterable[Path], listener: Listener | None = None, *, alone: bool = False
) -> list[Finding]:
    """What there is to say of a store's files, by path; nothing is changed.

    Parameters
    ----------
    paths
        As `files` lists them.
    listener
        Called with every path when it was checked.
    alone
        True if the caller holds the locks of the runs, so that nobody else is writing them.

    Every file is read whole and compared with its SHA-256; of levels also tensors, masks and
    origins with those of their run, of results the question and the schema, of the catalogue
    its rows. Files that are gone on a second look, or that another process is writing, are not
    wrong. A log has no digest: of it only lines that are no JSON show.
    """
    verification = _Verification(store, listener or (lambda _: None), alone)
    verification.look(paths)
    return sorted(verification.findings, key=lambda finding: finding.path)


class _Verification:
    """One look at a store: what was found, and what later checks compare with."""

    def __init__(self, store: Store, listener: Listener, alone: bool) -> None:
        self.findings: list[Finding] = []
        self._root, self._limit = store.root, store.size_limit
        self._listener, self._alone = listener, alone
        self._rows: dict[str, tuple[str, Row]] = {}
        self._manifests: dict[str, dict[str, Any]] = {}
        self._masks: dict[tuple[str, int], Mask] = {}
        self._users: dict[str, set[str]] = defaultdict(set)  # runs by what they start from

    def look(self, paths: Iterable[Path]) -> None:
        """Check all files: runs first, since others are compared with them, the index last."""
        looks = {
            "store": self._store,
            "run": self._run,
            "level": self._level,
            "object": self._object,
            "result": self._result,
            "resume": self._resume,
            "block": self._block,
            "failure": self._failure,
            "log": self._log,
            "lock": self._lock,
            "temporary": self._temporary,
            "": self._foreign,
            "index": self._index,
        }
        found: dict[str, list[Path]] = {kind: [] for kind in looks}
        for path in paths:
            found[layout.place(self._root, path)].append(path)
        for kind, look in looks.items():
            for path in found[kind]:
                if oddity := _oddity(path, kind):
                    self.findings.append(oddity)
                else:
                    self._look_at(path, kind, look)
                self._listener(path)
            if kind == "level":
                self._find_missing(found["level"])

    def _look_at(self, path: Path, kind: str, look: Callable[[Path], None]) -> None:
        """Check one file, twice if something seems wrong, and note what it is."""
        error = self._error(path, look)
        if error is not None:
            error = self._error(path, look)
        if error is not None and not (kind == "resume" and self._is_held(path.parent.name)):
            self.findings.append(self._finding(path, kind, error))

    def _error(self, path: Path, look: Callable[[Path], None]) -> LandscapeError | None:
        """What is wrong with one file, None if nothing is or it is gone."""
        try:
            look(path)
        except LandscapeError as error:
            return error if os.path.lexists(path) else None
        except _MALFORMED as error:
            return DamagedFile(f"{path} was not written by landscape: {error!r}")
        return None

    def _finding(self, path: Path, kind: str, error: LandscapeError) -> Finding:
        """A fault of a file, with what makes it right."""
        problem, _, advice = str(error).removeprefix(f"{path} ").partition("; ")
        if not isinstance(error, DamagedFile):  # a newer file, a larger one, no access
            return Finding(path, problem, advice or "make it readable")
        run = path.parent.name
        users = sorted(self._users.get(path.stem, ()))
        remedy = {
            "store": "'landscape verify --repair' makes it again",
            "run": "restore it from a copy: its levels mean nothing without it",
            "level": self._made_by(run),
            "object": self._made_by(*users) if users else "no run refers to it: remove it",
            "result": f"repeat the analysis 'landscape {path.parent.parent.name} …'",
            "resume": "it harms nothing: training begins the level again",
            "block": "it harms nothing: the analysis computes it again",
            "failure": "it harms nothing: remove it, and the sweep tries the step again",
            "log": "nothing reads it but people: remove them",
            "index": "the next command makes it again",
        }.get(kind, advice)
        return Finding(path, problem, remedy, aside=path.parent if kind == "run" else path)

    def _made_by(self, *runs: str) -> str:
        """The commands that make what these runs consist of."""
        return f"repeat {' or '.join(map(self._maker, runs))}"

    def _maker(self, run: str) -> str:
        """The command that makes what a run consists of."""
        record = self._manifests.get(run, {})
        if not checks.is_trained(record):
            return f"'landscape import … --name {run}' after 'landscape verify --repair'"
        if "branch" in record:
            return f"'landscape branch {record['branch']['parent']} --name {run} …'"
        return f"'landscape train --name {run} …'"

    def _is_held(self, run: str) -> bool:
        """True if another process is writing a run."""
        return not self._alone and is_held(Run(self._root, run))

    def _relative(self, path: Path) -> str:
        """How the catalogue names a file."""
        return path.relative_to(self._root).as_posix()

    def _store(self, path: Path) -> None:
        """The store's manifest."""
        read_manifest(path, layout.STORE_FORMAT, layout.STORE_VERSION, root=self._root)

    def _run(self, path: Path) -> None:
        """A run's manifest."""
        record = read_manifest(path, layout.RUN_FORMAT, layout.RUN_VERSION, root=self._root)
        checks.require_manifest(path, record)
        self._rows[self._relative(path)] = ("run", kept(run_row(path, record)))
        self._manifests[path.parent.name] = record

    def _level(self, path: Path) -> None:
        """A level, after those before it."""
        run = path.parent.name
        level = read_level(path, root=self._root, limit=self._limit)
        previous = self._masks.get((run, level.number - 1))
        checks.require_level(path, level, self._manifests.get(run), previous)
        self._masks = {(run, level.number): level.mask}
        self._rows[self._relative(path)] = ("level", kept(level_row(path, level)))
        for digest in level.origins.values():
            self._users[digest].add(run)

    def _object(self, path: Path) -> None:
        """A point that runs start from."""
        read_object(path, path.stem, root=self._root, limit=self._limit)

    def _result(self, path: Path) -> None:
        """A result."""
        from landscape.data_store.results import read_stored

        result = read_stored(path, root=self._root, limit=self._limit)
        record = json.loads(result.record)
        checks.require_result(path, result, record)
        self._rows[self._relative(path)] = ("result", kept(result_row(path, record)))

    def _resume(self, path: Path) -> None:
        """The level being trained."""
        read_resume(path, root=self._root, limit=self._limit)

    def _failure(self, path: Path) -> None:
        """Why a step of a sweep failed."""
        read_manifest(path, layout.FAILURE_FORMAT, layout.FAILURE_VERSION, root=self._root)

    def _block(self, path: Path) -> None:
        """A finished block of an analysis that was interrupted, or is at work."""
        result = path.parent.name
        read_block(path, result, root=self._root, limit=self._limit)
        remedy = "the same command goes on from it; or remove the folder"
        if not self._alone:
            problem = "is left of an analysis that is not finished"
            self.findings.append(Finding(path, problem, remedy, is_wrong=False))

    def _log(self, path: Path) -> None:
        """A run's log."""
        checks.require_log(path, read_file(path, root=self._root, limit=self._limit))

    def _lock(self, path: Path) -> None:
        """A lock is right if it is a plain file."""

    def _temporary(self, path: Path) -> None:
        """A file that is being written, or was when its writer was killed."""
        if is_abandoned(path):
            remedy = "the next command that writes there removes it"
            problem = "is what a killed process left unfinished"
            self.findings.append(Finding(path, problem, remedy, is_wrong=False))

    def _foreign(self, path: Path) -> None:
        """Something that a store has no place for; hidden files are left to their owners."""
        if not path.name.startswith("."):
            raise DamagedFile(f"{path} is no file of a store; move it out of the store")

    def _index(self, path: Path) -> None:
        """The catalogue, against the rows of all files that are right."""
        catalog = Catalog(self._root, self._limit)
        wrong = self._disputed(catalog)
        for relative in wrong:  # it was written, or removed, since it was checked
            kind = layout.place(self._root, self._root / relative)
            row, _ = described(self._root, relative, kind, self._limit)
            self._rows.pop(relative, None)
            if row is not None:
                self._rows[relative] = (kind, row)
        if wrong and (wrong := self._disputed(catalog)):
            raise DamagedFile(f"{path} is wrong about {wrong[0]} and {len(wrong) - 1} other files")

    def _disputed(self, catalog: Catalog) -> list[str]:
        """Files without a fault of which the catalogue says something else."""
        faulty = {self._relative(finding.path) for finding in self.findings if finding.is_wrong}
        return [path for path in catalog.wrong_rows(self._rows) if path not in faulty]

    def _find_missing(self, levels: Iterable[Path]) -> None:
        """Note what must be there and is not, unless a process is making it just now."""
        missing = [layout.manifest(self._root)]
        last: dict[str, int] = {}
        for path in filter(os.path.lexists, levels):
            last[path.parent.name] = layout.level_number(path.name) or 0
        for run, number in last.items():
            wanted = [layout.level_file(self._root, run, n) for n in range(number)]
            missing += [layout.run_manifest(self._root, run), *wanted]
        missing += [layout.object_file(self._root, digest) for digest in self._users]
        for path in missing:
            writers = self._users.get(path.stem, {path.parent.name} & set(last))
            if not os.path.lexists(path) and not any(map(self._is_held, writers)):
                error = DamagedFile(f"{path} is missing")
                fault = self._finding(path, layout.place(self._root, path), error)
                self.findings.append(replace(fault, aside=None))


def _oddity(path: Path, kind: str) -> Finding | None:
    """What is wrong with something that is no plain file, None for one that is, or is gone."""
    try:
        mode = path.lstat().st_mode
    except OSError:
        return None
    if stat.S_ISREG(mode) or (not kind and path.name.startswith(".")):
        return None
    if stat.S_ISLNK(mode):
        remedy = "a store reaches nothing outside itself: copy what it leads to into its place"
        return Finding(path, "is a symbolic link", remedy, aside=path)
    if stat.S_ISDIR(mode) and not kind:
        return Finding(path, "is a folder that cannot be listed", "make it readable")
    return Finding(path, "is no plain file", "move it out of the store", aside=path)
