"""The catalogue: an SQLite index of runs and results, rebuilt from the files at will."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from landscape.data_store import layout
from landscape.data_store.errors import unknown

if TYPE_CHECKING:
    import pandas

_VERSION = 1
_TABLES = """
CREATE TABLE IF NOT EXISTS files (path TEXT PRIMARY KEY, stamp TEXT NOT NULL, kind TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS runs (
    path TEXT PRIMARY KEY, run TEXT, task TEXT, model TEXT, criterion TEXT, seed INTEGER,
    asked INTEGER, created TEXT, config TEXT);
CREATE TABLE IF NOT EXISTS levels (
    path TEXT PRIMARY KEY, run TEXT, level INTEGER, density REAL, status TEXT,
    test_error REAL, test_loss REAL, early_stop_step REAL);
CREATE TABLE IF NOT EXISTS results (
    path TEXT PRIMARY KEY, id TEXT, kind TEXT, task TEXT, model TEXT, run TEXT, level REAL,
    density REAL, inputs TEXT, created TEXT, seconds REAL, record TEXT);
CREATE INDEX IF NOT EXISTS by_kind ON results (kind, task, run, level);
"""
_UNFIT = (sqlite3.ProgrammingError, sqlite3.InterfaceError, OverflowError)  # no column holds it
RESULT_FIELDS = (
    "id", "kind", "task", "model", "run", "level", "density", "inputs", "created", "seconds",
)  # fmt: skip
_RUNS = """
SELECT runs.run, task, model, criterion, runs.seed, count(levels.level) AS levels, asked,
       min(density) AS density, created,
       (SELECT test_error FROM levels l WHERE l.run = runs.run ORDER BY level DESC LIMIT 1)
       AS test_error,
       CASE WHEN sum(levels.status = 'diverged') > 0 THEN 'diverged'
            WHEN count(levels.level) >= asked THEN 'done' ELSE 'unfinished' END AS status
FROM runs LEFT JOIN levels ON levels.run = runs.run GROUP BY runs.run ORDER BY runs.run
"""
_RESULTS = f"SELECT {', '.join(RESULT_FIELDS)}, path FROM results ORDER BY created, id"


@dataclass(frozen=True)
class Catalog:
    """The index of one store; every question first compares it with the files.

    It is never the truth: a missing, stale or damaged index is rebuilt from the files.
    """

    root: Path

    def rows(self, what: str, where: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """Rows of ``runs`` or ``results`` that match all conditions.

        Conditions are values, lists of values, or slices (both ends included).
        Raises `UsageError` naming the fields if a condition names another.
        """
        fields, rows = self._ask(_RUNS if what == "runs" else _RESULTS)
        for name in where or {}:
            if name not in fields:
                raise unknown(f"field of {what}", name, fields)
        return [row for row in rows if _matches(row, where or {})]

    def levels(self, run: str) -> list[dict[str, Any]]:
        """One row per finished level of a run."""
        return self._ask("SELECT * FROM levels WHERE run = ? ORDER BY level", run)[1]

    def frame(self, what: str) -> pandas.DataFrame:
        """`rows` as a pandas table."""
        import pandas

        return pandas.DataFrame(self.rows(what))

    def _ask(self, query: str, *values: Any) -> tuple[list[str], list[dict[str, Any]]]:
        """Columns and rows of a query; an index that fails gives way to a new one.

        Where none can be written, or another process holds it, it is made in memory.
        """
        path = layout.index(self.root)
        try:
            return self._answer(path, query, values)
        except sqlite3.DatabaseError as error:
            held = "locked" in str(error)
        with suppress(OSError, sqlite3.DatabaseError):
            if not held:
                path.unlink(missing_ok=True)
                return self._answer(path, query, values)
        return self._answer(":memory:", query, values)

    def _answer(
        self, index: Path | str, query: str, values: tuple[Any, ...]
    ) -> tuple[list[str], list[dict[str, Any]]]:
        """Columns and rows of a query to one index, after it was made to agree with the files."""
        with closing(_open(index)) as db:
            self._refresh(db)
            cursor = db.execute(query, values)
            return [column[0] for column in cursor.description], [dict(row) for row in cursor]

    def _refresh(self, db: sqlite3.Connection) -> None:
        """Read the files that are new or changed, forget those that are gone."""
        known = dict(db.execute("SELECT path, stamp FROM files").fetchall())
        found = {path: (stamp, kind) for path, stamp, kind in self._files()}
        gone = [path for path in known if path not in found]
        new = [path for path, (stamp, _) in found.items() if known.get(path) != stamp]
        if not gone and not new:
            return
        with db:
            db.execute("BEGIN IMMEDIATE")
            for path in (*gone, *new):
                for table in ("files", "runs", "levels", "results"):
                    db.execute(f"DELETE FROM {table} WHERE path = ?", (path,))
            for path in new:
                stamp, kind = found[path]
                db.execute("INSERT INTO files VALUES (?, ?, ?)", (path, stamp, kind))
                for row in self._describe(path, kind):
                    marks = ", ".join("?" for _ in row)
                    with suppress(*_UNFIT):
                        db.execute(f"INSERT INTO {kind}s VALUES ({marks})", row)

    def _files(self) -> Iterator[tuple[str, str, str]]:
        """Relative path, stamp and kind of every file the index describes."""
        for folder in _folders(layout.runs(self.root)):
            for entry in _scan(folder):
                name = entry.name
                if name == "run.json":
                    yield from self._file(entry, "run")
                elif layout.level_number(name) is not None:
                    yield from self._file(entry, "level")
        for kind in _folders(layout.results(self.root)):
            for folder in _folders(Path(kind)):
                for entry in _scan(folder):
                    if entry.name.endswith(layout.RESULT_SUFFIX) and entry.name[0] != ".":
                        yield from self._file(entry, "result")

    def _file(self, entry: os.DirEntry[str], kind: str) -> Iterator[tuple[str, str, str]]:
        """One file as the index names it, none if it is gone; its stamp changes when it does."""
        try:
            state = entry.stat()
        except FileNotFoundError:
            return
        path = Path(entry.path).relative_to(self.root).as_posix()
        yield path, f"{state.st_mtime_ns}/{state.st_size}/{state.st_ino}", kind

    def _describe(self, path: str, kind: str) -> Iterator[tuple[Any, ...]]:
        """The row of a file; one that cannot be read has none, and is left to its reader."""
        describe = {"run": _run_row, "level": _level_row, "result": _result_row}[kind]
        try:
            yield (path, *describe(self.root / path))
        except Exception:  # a damaged HDF5 file may raise anything
            return


def _open(path: Path | str) -> sqlite3.Connection:
    """A connection whose tables exist and are of this version."""
    db = sqlite3.connect(path, timeout=30)
    try:
        db.row_factory = sqlite3.Row
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            db.executescript(f"BEGIN IMMEDIATE; {_TABLES} PRAGMA user_version = {_VERSION}; COMMIT")
        elif version != _VERSION:
            raise sqlite3.DatabaseError(f"index version {version}")
    except BaseException:
        db.close()
        raise
    return db


def _run_row(path: Path) -> tuple[Any, ...]:
    """What the index keeps of a run.json."""
    record = json.loads(path.read_text(encoding="utf-8"))
    config = record["config"]
    return (
        path.parent.name, config["task"], config["model"], config["criterion"], config["seed"],
        config["levels"], record["provenance"]["created"], json.dumps(config),
    )  # fmt: skip


def _level_row(path: Path) -> tuple[Any, ...]:
    """What the index keeps of a level file."""
    from landscape.data_store.level_file import read_level

    level = read_level(path)
    metrics = level.metrics
    return (
        path.parent.name, level.number, level.mask.density, level.status,
        metrics.get("test_error"), metrics.get("test_loss"), metrics.get("early_stop_step"),
    )  # fmt: skip


def _result_row(path: Path) -> tuple[Any, ...]:
    """What the index keeps of a result."""
    from landscape.data_store.result_file import read_record

    record = read_record(path)
    first = record["inputs"][0]
    return (
        path.stem, record["kind"], record["task"], record["model"], first["run"],
        first["level"], first["density"], " ".join(i["address"] for i in record["inputs"]),
        record["created"], record["seconds"], json.dumps(record),
    )  # fmt: skip


def _matches(row: Mapping[str, Any], where: Mapping[str, Any]) -> bool:
    """True if a row meets every condition."""
    for name, want in where.items():
        value = row[name]
        if isinstance(want, slice):
            low = want.start is None or (value is not None and value >= want.start)
            high = want.stop is None or (value is not None and value <= want.stop)
            if value is None or not (low and high):
                return False
        elif isinstance(want, list | tuple | set | range):
            if value not in want:
                return False
        elif value != want:
            return False
    return True


def _folders(root: str | Path) -> list[str]:
    """Paths of the folders in a folder, sorted; none if it is not there."""
    return sorted(e.path for e in _scan(root) if e.is_dir())


def _scan(folder: str | Path) -> list[os.DirEntry[str]]:
    """The entries of a folder, none if it is not there."""
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except FileNotFoundError:
        return []
