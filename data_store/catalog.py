"""The catalogue: an SQLite index of runs, levels and results, made from the files."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from landscape.data_store import index, layout, snapshot
from landscape.data_store.conditions import Condition, as_conditions, clause
from landscape.data_store.describe import COLUMNS, Row
from landscape.data_store.errors import DamagedFile
from landscape.data_store.files import SIZE_LIMIT

if TYPE_CHECKING:
    import pandas

Found = dict[str, Any]
Answer = TypeVar("Answer")

_RUNS = """
SELECT runs.run AS run, task, model, criterion, runs.seed AS seed,
       coalesce(finished, 0) AS levels, asked, density, created, parent,
       last.test_error AS test_error,
       CASE WHEN diverged > 0 THEN 'diverged'
            WHEN coalesce(finished, 0) >= asked THEN 'done' ELSE 'unfinished' END AS status
FROM runs
LEFT JOIN (SELECT run, count(level) AS finished, min(density) AS density,
                  sum(status = 'diverged') AS diverged FROM levels GROUP BY run) own
       ON own.run = runs.run
LEFT JOIN (SELECT run, max(level), test_error FROM levels GROUP BY run) last ON last.run = runs.run
"""  # levels are read twice, not once for each run; beside one max() a bare column is of its row
_RUN_FIELDS = {
    **dict.fromkeys(("run", "task", "model", "criterion", "created", "parent", "status"), "TEXT"),
    **dict.fromkeys(("seed", "levels", "asked", "density", "test_error"), "REAL"),
}


@dataclass(frozen=True)
class Catalog:
    """The index of one store; every question first compares it with the files.

    It is never the truth: a missing, stale or damaged index is made again from the files, and
    kept where the store can be written. A folder's times of change and its number say whether
    files came or went; the files of the rows that are returned are looked at one by one.
    """

    root: Path
    size_limit: int = SIZE_LIMIT

    def rows(
        self, what: str, where: Mapping[str, Any] | Sequence[Condition] | None = None
    ) -> list[dict[str, Any]]:
        """Rows of ``runs`` or ``results`` that match all conditions.

        Parameters
        ----------
        what
            ``runs`` or ``results``.
        where
            Conditions on the columns, or on settings of the results' analyses: parsed ones, or
            values, lists of values and slices (both ends included) by name.

        Raises `UsageError` naming the fields if a condition names another.
        """
        return self.listing(what, where)[0]

    def listing(
        self,
        what: str,
        where: Mapping[str, Any] | Sequence[Condition] | None = None,
        prefix: str = "",
    ) -> tuple[list[Found], list[str]]:
        """`rows` and `faults` at once."""
        wanted = as_conditions(where)

        def answer(db: sqlite3.Connection) -> tuple[list[Found], list[str]]:
            if what == "runs":
                self._look_at(db, index.runs(db))
                rows = _select(db, f"({_RUNS})", _RUN_FIELDS, "run", wanted, what)
                return rows, _faults(db, prefix)
            rows = _results(db, wanted)
            if self._look_at(db, (row["path"] for row in rows)):
                rows = _results(db, wanted)
            return rows, _faults(db, prefix)

        return self._ask(answer)

    def levels(self, run: str) -> list[Found]:
        """One row per finished level of a run."""

        def answer(db: sqlite3.Connection) -> list[Found]:
            self._look_at(db, index.runs(db))
            cursor = db.execute("SELECT * FROM levels WHERE run = ? ORDER BY level", (run,))
            return _dicts(cursor)

        return self._ask(answer)

    def faults(self, prefix: str = "") -> list[str]:
        """What is wrong with the files under a relative path that could not be read."""
        return self._ask(lambda db: _faults(db, prefix))

    def frame(self, what: str) -> pandas.DataFrame:
        """`rows` as a pandas table, with its columns also where there is no row."""
        import pandas

        columns = list(_RUN_FIELDS if what == "runs" else ("path", *COLUMNS["result"]))
        return pandas.DataFrame(self.rows(what), columns=columns)

    def rebuilt(self) -> Catalog:
        """This catalogue, after its index was made anew from all files."""
        self._anew().close()
        return self

    def wrong_rows(self, rows: Mapping[str, tuple[str, Row]]) -> list[str]:
        """Relative paths of which the kept index would say something else than `rows`.

        Parameters
        ----------
        rows
            Kind and row of every file, by relative path.

        The index is refreshed as for a question, in memory: nothing is written or swept. Without
        an index, or with one of another version or store, there is none: it is made again.

        Raises `DamagedFile` if the file is there and not whole.
        """
        path = layout.index(self.root)
        db = snapshot.stored(path, root=self.root)
        if db is None:
            if os.path.lexists(path):
                raise DamagedFile(f"{path} is damaged or no index: it does not match its SHA-256")
            return []
        with closing(db), closing(snapshot.new(index.SCHEMA)) as right:
            if not snapshot.has_schema(db, index.SCHEMA) or not index.is_of(db, self.root):
                return []
            for relative, (kind, row) in rows.items():
                index.insert(right, kind, relative, row)
            try:
                index.notice(db, self.root, rows)
                index.refresh(db, self.root, self.size_limit, tidy=False)
                wrong = index.contents(db) ^ index.contents(right)
                return sorted({str(row[0]) for row in wrong})
            except snapshot.FAULTS as error:
                raise DamagedFile(f"{path} is no index of landscape: {error}") from error

    def _ask(self, question: Callable[[sqlite3.Connection], Answer]) -> Answer:
        """What the index answers after it was made to agree with the files."""
        db = snapshot.stored(layout.index(self.root), root=self.root)
        if db is not None:
            with closing(db):
                try:
                    if snapshot.has_schema(db, index.SCHEMA) and index.is_of(db, self.root):
                        if index.refresh(db, self.root, self.size_limit):
                            self._keep(db)
                        return question(db)
                except snapshot.FAULTS:  # sealed, and yet no good: written by something else
                    pass
        with closing(self._anew()) as db:
            return question(db)

    def _anew(self) -> sqlite3.Connection:
        """An index of all files, which is kept."""
        db = snapshot.new(index.SCHEMA)
        index.refresh(db, self.root, self.size_limit)
        self._keep(db)
        return db

    def _look_at(self, db: sqlite3.Connection, paths: Iterable[str]) -> bool:
        """Look at files one by one; True if one was changed in place, after it was read."""
        changed = index.notice(db, self.root, paths)
        if changed:
            index.refresh(db, self.root, self.size_limit)
            self._keep(db)
        return changed

    def _keep(self, db: sqlite3.Connection) -> None:
        """Keep the index as far as the disk lets us."""
        snapshot.save(db, layout.index(self.root), root=self.root)


def _results(db: sqlite3.Connection, wanted: Sequence[Condition]) -> list[Found]:
    """Rows of results that match."""
    fields = {name: f"{name}:{kind}" for name, kind in COLUMNS["result"].items()}
    del fields["settings"]
    if any(condition.field not in fields for condition in wanted):
        fields |= _settings(db, fields)
    return _select(db, "results", fields, "created, id", wanted, "results")


def _select(
    db: sqlite3.Connection,
    source: str,
    fields: Mapping[str, str],
    order: str,
    wanted: Sequence[Condition],
    noun: str,
) -> list[Found]:
    """Matching rows of a table or query."""
    columns = {n: e if ":" in e else f"{n}:{e}" for n, e in fields.items()}
    condition, values = clause(wanted, columns, noun)
    return _dicts(db.execute(f"SELECT * FROM {source} WHERE {condition} ORDER BY {order}", values))


def _dicts(cursor: sqlite3.Cursor) -> list[Found]:
    """Rows by the names of their columns."""
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor]


def _faults(db: sqlite3.Connection, prefix: str) -> list[str]:
    """What is wrong with files under a relative path."""
    rows = db.execute("SELECT path, fault FROM files WHERE fault != '' ORDER BY path")
    return [fault for path, fault in rows if path.startswith(prefix)]


def _settings(db: sqlite3.Connection, fields: Mapping[str, str]) -> dict[str, str]:
    """The settings of the stored results as fields, behind the columns of their name."""
    query = "SELECT DISTINCT j.key FROM (SELECT DISTINCT settings FROM results) r, "
    names = [str(row[0]) for row in db.execute(query + "json_each(r.settings) j")]
    plain = [name for name in names if name.isidentifier() and name not in fields]
    return {name: f"json_extract(settings, '$.{name}'):" for name in sorted(plain)}
