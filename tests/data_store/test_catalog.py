"""The catalogue: it agrees with the files whatever happens to them or to the index."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from landscape.data_store import catalog, layout
from landscape.data_store.catalog import Catalog
from landscape.data_store.errors import UsageError
from landscape.data_store.level_file import level_image, read_level
from landscape.data_store.mask import Mask
from landscape.data_store.params import ParamSpec
from landscape.data_store.records import TRACE_COLUMNS, Level, Point, RunConfig, Trace
from landscape.data_store.result_file import result_image
from landscape.data_store.results import save_result
from landscape.data_store.schemas import BARRIER, OVERLAP
from landscape.data_store.settings import to_json
from landscape.data_store.store import Run, open_store

SPEC = ParamSpec(("w", "b"), ((2, 4), (2,)))
CONFIG = to_json(RunConfig())
ID = "ab" * 20


def save_level(run, number, kept=4, status="done", metrics=None):
    """A small level of a run."""
    mask = np.ones(SPEC.size, bool)
    mask[kept:8] = False
    level = Level(
        number=number,
        mask=Mask(SPEC, ("w",), mask),
        points={"final": Point(mask.astype(np.float32))},
        trace=Trace(np.zeros((0, len(TRACE_COLUMNS)))),
        metrics={"test_error": 0.5 / (number + 1)} if metrics is None else metrics,
        origins={},
        status=status,
    )
    run.save_level(number, level_image(level))


def add_run(store, name, levels=2, created="2026-01-01T00:00:00+00:00", **settings):
    config = RunConfig(**{"levels": 3, "model": "mlp:8-2", **settings})
    run = store.create(name, {"config": to_json(config), "provenance": {"created": created}})
    for number in range(levels):
        save_level(run, number, kept=8 - 2 * number)
    return run


def add_result(store, result=ID, run="imp", level=0, kind=BARRIER, created="2026-02-01", **changes):
    inputs = [
        {"address": f"{run}@{n}", "run": run, "level": n, "density": 0.5}
        for n in (level, level + 1)
    ]
    record = {
        "kind": kind.kind, "task": "digits", "model": "mlp:8-2", "inputs": inputs, "seconds": 1.5,
        "created": created, "settings": {}, **changes,
    }  # fmt: skip
    save_result(store.root, result, kind.example().isel(pair=[0]), record)
    return layout.result_file(store.root, kind.kind, result)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Two runs and two results."""
    store = open_store(tmp_path_factory.mktemp("catalog") / "store")
    add_run(store, "imp")
    add_run(store, "other", levels=0, criterion="random", seed=3)
    add_result(store)
    add_result(store, "cd" * 20, kind=OVERLAP, level=1, created="2026-01-31")
    return store


@pytest.fixture
def store(prepared, tmp_path):
    """A copy of it without an index."""
    shutil.copytree(prepared.root, tmp_path / "store", ignore=shutil.ignore_patterns("*.sqlite"))
    return open_store(tmp_path / "store")


def answers(store):
    """All that a catalogue says."""
    found = Catalog(store.root)
    return (
        found.rows("runs"),
        found.rows("results"),
        {run: found.levels(run) for run in (*store, "none")},
    )


def from_files(store):
    """What a catalogue without an index says."""
    elsewhere = store.root.parent / "fresh"
    shutil.copytree(
        store.root, elsewhere, ignore=shutil.ignore_patterns("*.sqlite*"), symlinks=True
    )
    said = answers(open_store(elsewhere))
    shutil.rmtree(elsewhere)
    return said


def test_rows_of_runs(store):
    rows = Catalog(store.root).rows("runs")
    assert rows == [
        {
            "run": "imp", "task": "digits", "model": "mlp:8-2", "criterion": "magnitude", "seed": 0,
            "levels": 2, "asked": 3, "density": 0.75, "created": "2026-01-01T00:00:00+00:00",
            "test_error": 0.25, "status": "unfinished",
        },
        {
            "run": "other", "task": "digits", "model": "mlp:8-2", "criterion": "random", "seed": 3,
            "levels": 0, "asked": 3, "density": None, "created": "2026-01-01T00:00:00+00:00",
            "test_error": None, "status": "unfinished",
        },
    ]  # fmt: skip


def test_rows_of_results(store):
    rows = Catalog(store.root).rows("results")
    assert [row["id"] for row in rows] == ["cd" * 20, ID]  # by time of creation
    assert rows[1] == {
        "id": ID, "kind": "barrier", "task": "digits", "model": "mlp:8-2", "run": "imp",
        "level": 0.0, "density": 0.5, "inputs": "imp@0 imp@1", "created": "2026-02-01",
        "seconds": 1.5, "path": f"results/barrier/ab/{ID}.nc",
    }  # fmt: skip
    assert (store.root / rows[1]["path"]).is_file()


def test_rows_of_levels(store):
    rows = Catalog(store.root).levels("imp")
    assert [row["level"] for row in rows] == [0, 1]
    for row in rows:
        level = read_level(store.root / row["path"])
        assert row["run"] == "imp"
        assert row["density"] == level.mask.density
        assert row["status"] == level.status
        assert row["test_error"] == level.metrics["test_error"]
        assert row["test_loss"] is row["early_stop_step"] is None
    assert Catalog(store.root).levels("none") == []


def test_rows_of_a_trained_store_are_what_its_files_say(small_store):
    for row in Catalog(small_store.root).rows("runs"):
        run = small_store[row["run"]]
        last = run["last"]
        assert (row["levels"], row["asked"], row["status"]) == (3, 3, "done")
        assert row["density"] == last.density
        assert row["test_error"] == last.metrics["test_error"]
        assert row["created"] == run.description["provenance"]["created"]


def test_the_status_of_a_run(store):
    save_level(store["imp"], 2)
    for number in range(2):
        save_level(store["other"], number, status="diverged" if number else "done")
    runs = {row["run"]: row["status"] for row in Catalog(store.root).rows("runs")}
    assert runs == {"imp": "done", "other": "diverged"}


def test_an_unknown_metric_is_unknown(store):
    save_level(store["other"], 0, metrics={"test_error": float("nan"), "test_loss": float("inf")})
    (row,) = Catalog(store.root).levels("other")
    assert row["test_error"] is row["test_loss"] is None


@pytest.mark.parametrize(
    ("what", "where", "found"),
    [
        ("runs", {"run": "imp"}, ["imp"]),
        ("runs", {"seed": 3}, ["other"]),
        ("runs", {"levels": slice(1, None)}, ["imp"]),
        ("runs", {"density": slice(None, 1)}, ["imp"]),  # unknown is in no range
        ("runs", {"density": None}, ["other"]),
        ("runs", {"criterion": ["random", "magnitude"]}, ["imp", "other"]),
        ("runs", {"criterion": []}, []),
        ("results", {"kind": "barrier"}, ["imp"]),
        ("results", {"level": 1, "kind": "overlap"}, ["imp"]),
        ("results", {"level": 1, "kind": "barrier"}, []),
    ],
)
def test_conditions(store, what, where, found):
    assert [row["run"] for row in Catalog(store.root).rows(what, where)] == found


@pytest.mark.parametrize("what", ["runs", "results"])
@pytest.mark.parametrize("empty", [True, False])
def test_an_unknown_field_is_said_with_and_without_rows(store, tmp_path, what, empty):
    root = open_store(tmp_path / "empty").root if empty else store.root
    with pytest.raises(
        UsageError,
        match=f"^unknown field of {what} 'modl'; did you mean 'model'. available: .*task",
    ):
        Catalog(root).rows(what, {"modl": "x"})


def test_frames(store):
    runs = Catalog(store.root).frame("runs")
    assert list(runs.run) == ["imp", "other"]
    assert list(Catalog(store.root).frame("results").kind) == ["overlap", "barrier"]


def test_a_store_without_anything(tmp_path):
    empty = Catalog(open_store(tmp_path / "store").root)
    assert empty.rows("runs") == empty.rows("results") == empty.levels("imp") == []
    assert len(empty.frame("runs")) == 0


# What happens to the files behind its back.


def add_a_run(store):
    add_run(store, "added")


def add_a_level(store):
    save_level(store["imp"], 2, kept=1)


def add_a_result(store):
    add_result(store, "ef" * 20, level=3)


def remove_a_run(store):
    shutil.rmtree(layout.run_folder(store.root, "imp"))


def remove_a_level(store):
    layout.level_file(store.root, "imp", 1).unlink()


def remove_a_result(store):
    layout.result_file(store.root, "barrier", ID).unlink()


def remove_all_results(store):
    shutil.rmtree(layout.results(store.root))


def remove_all_runs(store):
    shutil.rmtree(layout.runs(store.root))


def copy_a_run(store):
    shutil.copytree(layout.run_folder(store.root, "imp"), layout.run_folder(store.root, "copied"))


def rename_a_run(store):
    layout.run_folder(store.root, "imp").rename(layout.run_folder(store.root, "renamed"))


def link_a_run(store):
    outside = store.root.parent / "outside"
    layout.run_folder(store.root, "imp").rename(outside)
    layout.run_folder(store.root, "linked").symlink_to(outside)


def change_a_manifest(store):
    path = layout.run_manifest(store.root, "imp")
    text = path.read_text().replace('"seed": 0', '"seed": 7')
    path.write_text(text)


def replace_a_level(store):
    path = layout.level_file(store.root, "imp", 1)
    path.unlink()
    save_level(store["imp"], 1, kept=3)


def move_a_result(store):
    path = layout.result_file(store.root, "barrier", ID)
    (path.parent / f"{'ba' * 20}.nc").write_bytes(path.read_bytes())
    path.unlink()


CHANGES = [
    add_a_run, add_a_level, add_a_result, remove_a_run, remove_a_level, remove_a_result,
    remove_all_results, remove_all_runs, copy_a_run, rename_a_run, link_a_run, change_a_manifest,
    replace_a_level, move_a_result,
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_the_files_is_noticed(store, change):
    before = answers(store)
    change(store)
    after = answers(store)
    assert after != before
    assert after == from_files(store)
    assert [row["run"] for row in after[0]] == list(store)
    for row in after[0]:
        assert row["levels"] == len(Run(store.root, row["run"]).levels)
        assert row["seed"] == store[row["run"]].config.seed


# What happens to the index.


def of_other_version(path):
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()


def of_right_version_without_tables(path):
    path.unlink()
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 1")
    db.commit()
    db.close()


def with_other_columns(path):
    db = sqlite3.connect(path)
    db.execute("ALTER TABLE runs DROP COLUMN model")
    db.commit()
    db.close()


def truncated(share):
    return lambda path: path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])


def garbled(path):
    content = bytearray(path.read_bytes())
    content[4096:] = np.random.default_rng(0).bytes(len(content) - 4096)
    path.write_bytes(content)


def a_folder(path):
    path.unlink()
    path.mkdir()


DAMAGE = {
    "deleted": lambda path: path.unlink(),
    "empty": lambda path: path.write_bytes(b""),
    "garbage": lambda path: path.write_bytes(b"not a database" * 1000),
    "cut at 1 %": truncated(0.01),
    "cut at 30 %": truncated(0.3),
    "cut at 60 %": truncated(0.6),
    "cut at 95 %": truncated(0.95),
    "garbled": garbled,
    "of another version": of_other_version,
    "without tables": of_right_version_without_tables,
    "with other columns": with_other_columns,
    "a folder": a_folder,
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_index_gives_way_to_the_files(store, damage):
    right = answers(store)
    DAMAGE[damage](layout.index(store.root))
    assert answers(store) == right
    assert answers(store) == right
    add_a_level(store)
    assert answers(store) == from_files(store)


def test_every_garbled_page_of_the_index_gives_way(store):
    right = answers(store)
    path = layout.index(store.root)
    content = path.read_bytes()
    for start in range(0, len(content), 4096):
        path.write_bytes(content[:start] + b"\xff" * 4096 + content[start + 4096 :])
        assert answers(store) == right


def count_reads(monkeypatch):
    reads = []
    describe = Catalog._describe
    monkeypatch.setattr(
        Catalog,
        "_describe",
        lambda self, path, kind: reads.append(path) or describe(self, path, kind),
    )
    return reads


def test_only_new_files_are_read(store, monkeypatch):
    reads = count_reads(monkeypatch)
    answers(store)
    assert sorted(reads) == sorted(
        path.relative_to(store.root).as_posix()
        for pattern in ("run.json", "level_*.h5", "*.nc")
        for path in store.root.rglob(pattern)
    )
    reads.clear()
    answers(store)
    assert reads == []
    add_a_level(store)
    answers(store)
    assert reads == ["runs/imp/level_0002.h5"]


@pytest.fixture
def read_only(monkeypatch):
    """A system that lets nobody write an index, whoever runs the tests."""
    connect = sqlite3.connect

    def reading(path, **options):
        if str(path) == ":memory:":
            return connect(path, **options)
        return connect(f"file:{path}?mode=ro", uri=True, **options)

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    def begin():
        monkeypatch.setattr(catalog.sqlite3, "connect", reading)
        monkeypatch.setattr(Path, "unlink", refuse)

    return begin


@pytest.mark.parametrize("index", ["none", "fresh", "stale", "garbage", "folder"])
def test_a_store_that_cannot_be_written_still_answers(store, read_only, index):
    if index != "none":
        answers(store)
    if index == "stale":
        add_a_run(store)
    if index == "garbage":
        layout.index(store.root).write_bytes(b"x" * 5000)
    if index == "folder":
        a_folder(layout.index(store.root))
    right = from_files(store)
    before = sorted(store.root.rglob("*"))
    read_only()
    assert answers(store) == right
    assert sorted(store.root.rglob("*")) == before


@pytest.mark.skipif(
    getattr(os, "geteuid", int)() != 0 or os.name == "nt",
    reason="only root can become another user",
)
def test_a_store_of_another_user_still_answers(store):
    add_a_level(store)
    right = answers(store)
    add_a_run(store)
    right = from_files(store)
    for path in (store.root, *store.root.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    script = (
        "import json, os, sys; from landscape.data_store.catalog import Catalog; import h5py; "
        "from landscape.data_store import level_file, result_file; from pathlib import Path; "
        "os.chdir(sys.argv[1]); os.setuid(65534); c = Catalog(Path('.')); "
        "print(json.dumps([c.rows('runs'), c.rows('results')]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(store.root)], capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    assert json.loads(done.stdout) == [*right[:2]]


def test_an_index_that_another_process_holds_is_left_to_it(store, monkeypatch):
    answers(store)
    add_a_run(store)
    right = from_files(store)
    connect = sqlite3.connect
    holder = connect(layout.index(store.root), isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    inode = layout.index(store.root).stat().st_ino
    monkeypatch.setattr(
        catalog.sqlite3, "connect", lambda path, **options: connect(path, timeout=0.05)
    )
    assert answers(store) == right
    assert layout.index(store.root).stat().st_ino == inode
    holder.execute("ROLLBACK")
    holder.close()
    assert answers(store) == right


# Files that cannot be described.


def test_damaged_files_are_left_out(store):
    add_run(store, "whole")
    level = layout.level_file(store.root, "imp", 1)
    level.write_bytes(level.read_bytes()[:-1])
    layout.run_manifest(store.root, "other").write_text("{")
    result = layout.result_file(store.root, "barrier", ID)
    result.write_bytes(result.read_bytes()[:1000])
    runs, results, levels = answers(store)
    assert [(row["run"], row["levels"]) for row in runs] == [("imp", 1), ("whole", 2)]
    assert [row["kind"] for row in results] == ["overlap"]
    assert [row["level"] for row in levels["imp"]] == [0]


def test_a_repaired_file_comes_back(store):
    right = answers(store)
    level = layout.level_file(store.root, "imp", 1)
    content = level.read_bytes()
    level.write_bytes(content[:-1])
    assert answers(store) != right
    level.write_bytes(content)
    assert answers(store) == right


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "null", "{}", '{"config": {}}', '{"config": null, "provenance": null}',
        "\udcff\udcfe",
        json.dumps({"config": CONFIG | {"task": ["a"]}, "provenance": {"created": ""}}),
        json.dumps({"config": CONFIG | {"seed": 2**70}, "provenance": {"created": ""}}),
        json.dumps({"config": CONFIG, "provenance": {"created": {}}}),
    ],
)  # fmt: skip
def test_an_odd_manifest_is_left_out(store, text):
    path = layout.run_manifest(store.root, "other")
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    for _ in range(2):
        assert [row["run"] for row in Catalog(store.root).rows("runs")] == ["imp"]


@pytest.mark.parametrize(
    "record",
    [
        None, [], {}, {"inputs": []}, {"inputs": [3]}, {"inputs": [{}]}, {"kind": ["barrier"]},
        {"inputs": None}, {"inputs": [{"address": "a", "run": [], "level": 0, "density": 1}]},
    ],
)  # fmt: skip
def test_an_odd_result_is_left_out(store, record):
    sealed = BARRIER.example()
    base = {
        "kind": "barrier", "task": "t", "model": "m", "created": "2026", "seconds": 1.0,
        "inputs": [{"address": "a@0", "run": "a", "level": 0, "density": 1.0}],
    }  # fmt: skip
    record = {**base, **record} if isinstance(record, dict) and record else record
    sealed.attrs = {} if record is None else {"record": json.dumps(record)}
    path = layout.result_file(store.root, "barrier", "ef" * 20)
    path.parent.mkdir(parents=True)
    path.write_bytes(result_image(bytes(sealed.to_netcdf(engine="h5netcdf"))))
    (path.parent / "text.nc").write_text("text")
    (path.parent / "folder.nc").mkdir()
    for _ in range(2):
        assert [row["id"] for row in Catalog(store.root).rows("results")] == ["cd" * 20, ID]


def test_links_to_nothing_and_rests_of_writers_are_passed_over(store):
    right = answers(store)
    folder = layout.run_folder(store.root, "imp")
    (folder / "level_0007.h5").symlink_to(folder / "gone.h5")
    layout.run_folder(store.root, "gone").symlink_to(folder / "gone")
    (folder / ".level_0008.h5.77.00ff.tmp").write_bytes(b"rest")
    (layout.runs(store.root) / "note.txt").touch()
    results = layout.result_file(store.root, "barrier", ID).parent
    (results / f".{ID}.nc.77.00ff.tmp").write_bytes(b"rest")
    (results / f"{'ac' * 20}.nc").symlink_to(results / "gone.nc")
    assert answers(store) == right


def test_listing_a_store_imports_nothing_heavy(store):
    heavy = ("torch", "xarray", "pandas", "matplotlib", "scipy")
    script = (
        "import sys; from pathlib import Path; from landscape.data_store.catalog import Catalog; "
        "c = Catalog(Path(sys.argv[1])); r = c.rows('runs'), c.rows('results'), c.levels('imp'); "
        f"print(*map(len, r), *[m for m in {heavy} if m in sys.modules])"
    )
    for _ in ("new", "known"):
        done = subprocess.run(
            [sys.executable, "-c", script, str(store.root)],
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.split() == ["2", "2", "2"]
        assert done.stderr == ""
