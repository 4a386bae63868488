"""Whole stores that somebody mailed: hostile files, names, links and pipes in every place."""

from __future__ import annotations

import atexit
import json
import os
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from landscape.data_store import layout
from landscape.data_store.level_file import object_image
from landscape.data_store.records import Point
from tests.support import fuzz_corpus as corpus
from tests.support import fuzz_files
from tests.support import fuzz_seals as seals
from tests.support.fuzz import NAMES, altered, damaged, strange, text
from tests.support.fuzz_commands import command, written_store
from tests.support.fuzz_watch import Target

# a store as it is mailed: content by path, b"->" a link to what follows, b"|" a pipe,
# b"/" a folder, b"#" a large hole
Mailed = dict[str, bytes]

_TARGETS = ("../../../outside/secret", "../../../outside", "/dev/zero", "/etc/passwd", ".", "..",
            "loop", "../../../outside/runs/imp/run.json", "/proc/self/mem", "nowhere")  # fmt: skip
_PLACES = ("", "runs/", "runs/imp/", "results/", "results/barrier/", "results/barrier/ab/",
           "objects/", "objects/ab/", "damaged/")  # fmt: skip
_ODD = (
    "runs/imp/level_0003.h5", "runs/imp/level_0007.h5", "runs/imp/level_12345.h5", "runs/imp/.lock",
    "runs/imp/.holder", "runs/imp/resume.h5", "runs/imp/log.jsonl", "index.sqlite", "arrays.sqlite",
    "store.json", "runs", "results", "objects", "damaged", "runs/imp", "runs/-x/run.json",
    "runs/IMP/run.json", "runs/.hidden/run.json", "runs/imp2/run.json", "results/barrier",
    ".index.sqlite.0a0a0a0a.99999999999999999999.x.tmp", "runs/imp/.a.b.c.d.e.tmp",
    "runs/imp/.level_0000.h5.0a0a0a0a.1.aa.tmp", "results/overlap/x.nc", "results/x.nc",
    "results/barrier/ab/" + "ab" * 20 + ".nc", "index.sqlite-journal", "index.sqlite-wal",
)  # fmt: skip


def mailed(draws: Random) -> Mailed:
    """The corpus' store with one to five things wrong in it."""
    files = dict(corpus.store_files())
    for _ in range(draws.choice((1, 1, 2, 3, 5))):
        draws.choice(_WRONGS)(draws, files)
    return files


def _spoil(draws: Random, files: Mailed) -> None:
    """Damage a file."""
    name = draws.choice(list(files))
    files[name] = damaged(draws, files[name])


def _reseal(draws: Random, files: Mailed) -> None:
    """Give a file hostile content under a right seal."""
    kind = draws.randrange(5)
    runs = [name for name in files if name.startswith("runs/")]
    if kind == 0 and runs:
        run = draws.choice([n for n in runs if n.endswith("run.json")] or runs)
        record = corpus.description(run.split("/")[1], imported=draws.random() < 0.3)
        files[run] = fuzz_files.manifest(draws, layout.RUN_FORMAT, layout.RUN_VERSION, record)
    elif kind == 1:
        record = {"id": "0" * 32, "written_by": "0.1.0"}
        content = fuzz_files.manifest(draws, layout.STORE_FORMAT, layout.STORE_VERSION, record)
        files["store.json"] = content
    elif kind == 2:
        place, content = fuzz_files.result(
            draws, draws.choice(("barrier", "overlap")), draws.randrange(2)
        )
        files[place] = content
    elif kind == 3 and runs:
        level = draws.choice([name for name in runs if name.endswith(".h5")] or runs)
        files[level] = _level(draws, int(level[-7:-3]) if level[-7:-3].isdigit() else 0)
    else:
        objects = [name for name in files if name.startswith("objects/")] or ["objects/aa/aa.h5"]
        files[draws.choice(objects)] = fuzz_files.image(draws, "object")


def _level(draws: Random, number: int) -> bytes:
    """A level of the run with altered header, which begins where it likes."""
    if draws.random() < 0.5:
        return fuzz_files.image(draws, "level")
    good = corpus.store_files()[f"runs/imp/level_{number % 3:04d}.h5"]
    header = seals.header_of(good)
    if draws.random() < 0.5:
        place = draws.choice((_other_point()[0], "../" * 20 + "outside/x", "A" * 64, "a" * 64))
        header["origins"] = {"init": place, "rewind": place}
    else:
        part = draws.choice(("metrics", "origins", "status", "level", "points", "trace_columns"))
        header[part] = altered(draws, header[part]) if draws.random() < 0.7 else strange(draws)
    return seals.with_header(good, json.dumps(header).encode())


@cache
def _other_point() -> tuple[str, bytes]:
    """Digest and file of a point of another network."""
    import numpy as np

    point = Point(np.ones(corpus.OTHER.size, np.float32))
    return point.digest(corpus.OTHER), object_image(corpus.OTHER, point)


def _add_other(draws: Random, files: Mailed) -> None:
    """Let a level begin from another network's weights, which are there."""
    digest, image = _other_point()
    files[f"objects/{digest[:2]}/{digest}.h5"] = image
    number = draws.randrange(3)
    good = corpus.store_files()[f"runs/imp/level_{number:04d}.h5"]
    header = seals.header_of(good) | {"origins": {"init": digest, "rewind": digest}}
    files[f"runs/imp/level_{number:04d}.h5"] = seals.with_header(good, json.dumps(header).encode())


def _link(draws: Random, files: Mailed) -> None:
    """Put a link, a pipe, a folder or a hole in a place of a file or of a folder."""
    place = draws.choice((draws.choice(list(files)), draws.choice(_ODD)))
    for name in [name for name in files if name.startswith(place + "/")]:
        del files[name]
    link = b"->" + draws.choice(_TARGETS).encode()
    files[place] = draws.choice((link, link, b"|", b"/", b"#", b""))


def _name(draws: Random, files: Mailed) -> None:
    """Add something under a hostile name."""
    place = draws.choice(_PLACES) + _file_name(draws)
    content = files[draws.choice(list(files))]
    if draws.random() < 0.4:
        for name in [n for n in files if n.startswith("runs/imp/")]:
            files[f"runs/{_file_name(draws)}/{name.rpartition('/')[2]}"] = files[name]
    files[place + draws.choice(("", "", ".h5", ".nc", "/run.json", "/level_0000.h5"))] = content


def _file_name(draws: Random) -> str:
    """A name that a file may have."""
    name = draws.choice((text(draws), draws.choice(NAMES), "\udcff\udcfe"))
    return name.replace("/", "_").replace("\0", "_")[:60] or "x"


def _swap(draws: Random, files: Mailed) -> None:
    """Put a file in another's place, or remove it."""
    first, second = draws.choice(list(files)), draws.choice(list(files))
    files[first] = files[second]
    if draws.random() < 0.3:
        del files[second]


def _resume(draws: Random, files: Mailed) -> None:
    """Add a hostile resume file."""
    files["runs/imp/resume.h5"] = fuzz_files.image(draws, "resume")


_WRONGS: tuple[Callable[[Random, Mailed], None], ...] = (
    _spoil, _reseal, _reseal, _reseal, _link, _link, _name, _name, _swap, _resume, _add_other,
)  # fmt: skip


def put(root: Path, files: Mailed) -> None:
    """Write a mailed store, as far as the disk takes its names."""
    root.mkdir()
    for name, content in files.items():
        place = root / name
        if any(above.is_symlink() for above in (place, *place.parents)):
            continue
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            if content.startswith(b"->"):
                place.symlink_to(content[2:].decode())
            elif content == b"|":
                os.mkfifo(place)
            elif content == b"/":
                place.mkdir()
            elif content == b"#":
                place.touch()
                os.truncate(place, 2**29)
            else:
                place.write_bytes(content)
        except (OSError, ValueError):
            continue


@dataclass(frozen=True)
class Question:
    """A command about a mailed store; a word may begin with ``STORE/`` or ``OUT/``."""

    command: str
    words: tuple[str, ...] = ()
    options: tuple[str, ...] = ()

    def arguments(self, root: Path) -> list[str]:
        """The command line for a store."""
        places = {"STORE/": f"{root}/", "OUT/": f"{root.parent}/"}
        words = list(self.words)
        for sign, place in places.items():
            words = [word.replace(sign, place) for word in words]
        common = ["--store", str(root), "--max-size", "64MiB"]
        return [self.command, *self.options, *common, "--", *words]


def _question(draws: Random, files: Mailed) -> Question:
    """A command about what is in the store, or should be."""
    results = [name.rpartition("/")[2][:8] for name in files if name.startswith("results/")]
    runs = [
        name.split("/")[1] for name in files if name.startswith("runs/") and name.count("/") > 1
    ]
    result, run = draws.choice([*results, "abcd"]), draws.choice([*runs, "imp", "mailed"])
    level = draws.choice(("@0", "@1", "@2", "@last", "@1.ticket", "@1.init", "@2.baseline"))
    point = run + draws.choice(("", level))
    json_too = draws.choice(((), ("--json",)))
    return draws.choice(
        (
            Question("ls", (), json_too),
            Question("ls", ("results",), json_too),
            Question("ls", ("results",), ("--where", "density<0.9")),
            Question("show", (point,), json_too),
            Question("show", (point,), json_too),
            Question("show", (result,), json_too),
            Question("overlap", ("imp@0", "imp@1"), json_too),
            Question("overlap", (run,), json_too),
            Question("barrier", ("imp@0", "imp@1"), json_too),
            Question("export", (run + level, "OUT/export.h5")),
            Question("export", (run + level, "OUT/export.pt")),
            Question("export", (result, "OUT/export.h5")),
            Question("import", ("STORE/runs/imp/level_0001.h5",), ("--name", "new")),
            Question("verify", (), json_too),
            Question("verify", (), ("--repair",)),
            Question("verify", (), ("--repair", *json_too)),
        )
    )


def _made(draws: Random) -> tuple[Mailed, list[Question]]:
    """A mailed store, and what is asked of it."""
    files = mailed(draws)
    return files, [_question(draws, files) for _ in range(draws.choice((1, 1, 2)))]


def _use(given: tuple[Mailed, list[Question]], scratch: Path) -> None:
    """Ask the command line about a mailed store."""
    files, questions = given
    put(scratch / "store", files)
    for question in questions:
        command(*question.arguments(scratch / "store"))


def _index(draws: Random) -> list[tuple[str, list[Any]]] | bytes:
    """Hostile statements for the catalogue of a store, or damage to its file."""
    if draws.random() < 0.3:
        return damaged(draws, _good_index())
    if draws.random() < 0.3:
        return seals.index(damaged(draws, _good_index()[: -len(seals.INDEX_MAGIC) - 64]))
    statements: list[tuple[str, list[Any]]] = []
    for _ in range(draws.choice((1, 2, 4))):
        table, columns = draws.choice(list(_columns().items()))
        column = draws.choice(columns)
        value = strange(draws)
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            value = float(value) if abs(value) < 2**1000 else None
        if isinstance(value, list | dict):
            value = draws.choice((json.dumps(value), b"\xff\xfe", b""))
        if isinstance(value, str):
            value = value.encode("utf-8", "replace").decode()
        statements.append(
            draws.choice((
                (f"UPDATE OR IGNORE {table} SET {column} = ?", [value]),
                (f"UPDATE OR IGNORE {table} SET {column} = CAST(? AS BLOB)", [value]),
                (f"DELETE FROM {table}", []),
                (f"DROP TABLE {table}", []),
                (f"CREATE TRIGGER t{len(statements)} BEFORE INSERT ON {table} "
                 "BEGIN SELECT load_extension('x'); END", []),
                (f"CREATE VIEW v{len(statements)} AS SELECT * FROM {table}", []),
                ("PRAGMA writable_schema = ON", []),
                ("UPDATE sqlite_master SET sql = replace(sql, 'TEXT', ?)", [str(value)]),
                ("UPDATE sqlite_master SET rootpage = 2", []),
            ))
        )  # fmt: skip
    return statements


@cache
def _good_index() -> bytes:
    """The catalogue of the corpus, made in a folder that stays: its number is taken."""
    from landscape.data_store.catalog import Catalog

    place = tempfile.TemporaryDirectory()
    atexit.register(place.cleanup)
    root = written_store(Path(place.name))
    for folder, _, _ in os.walk(root):
        os.utime(folder, (1, 1))
    Catalog(root).rows("runs")
    return layout.index(root).read_bytes()


@cache
def _columns() -> dict[str, list[str]]:
    """Columns of every table of the catalogue."""
    db = sqlite3.connect(":memory:")
    db.deserialize(_good_index()[: -len(seals.INDEX_MAGIC) - 64])
    tables = [row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    found = {
        table: [row[1] for row in db.execute(f"PRAGMA table_info({table})")] for table in tables
    }
    db.close()
    return found


def _use_index(given: list[tuple[str, list[Any]]] | bytes, scratch: Path) -> None:
    """Ask a store that came with a catalogue made elsewhere, which lies."""
    root = written_store(scratch)
    content = given
    if not isinstance(content, bytes):
        db = sqlite3.connect(":memory:")
        db.deserialize(_good_index()[: -len(seals.INDEX_MAGIC) - 64])
        for statement, values in given:
            with suppress(sqlite3.Error):
                db.execute(statement, values)
                db.commit()
        content = seals.index(db.serialize())
        db.close()
    layout.index(root).write_bytes(content)
    assert len(json.loads(command("ls", "--store", str(root), "--json"))) == 2
    found = json.loads(command("ls", "results", "--store", str(root), "--json"))
    assert [row["kind"] for row in found].count("barrier") == 2
    command("verify", "--store", str(root))


TARGETS = (Target("store", _made, _use), Target("index", _index, _use_index))
