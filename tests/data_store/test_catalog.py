"""The catalogue: it agrees with the files whatever happens to them or to the index."""

import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from landscape.data_store import index, layout, snapshot
from landscape.data_store.catalog import _RUNS, Catalog
from landscape.data_store.conditions import Condition
from landscape.data_store.describe import COLUMNS, described
from landscape.data_store.errors import LandscapeError, UsageError
from landscape.data_store.level_file import level_image, read_level
from landscape.data_store.manifest import manifest_bytes
from landscape.data_store.mask import Mask
from landscape.data_store.params import ParamSpec
from landscape.data_store.records import TRACE_COLUMNS, Level, Point, RunConfig, Trace
from landscape.data_store.results import result_id
from landscape.data_store.schemas.barrier import BARRIER
from landscape.data_store.schemas.overlap import OVERLAP
from landscape.data_store.settings import to_json
from landscape.data_store.store import Run, Store, open_store
from tests.support.results import pair, parts, place, record, saved, sealed, written

SPEC = ParamSpec(("w", "b"), ((2, 4), (2,)))
CONFIG = to_json(RunConfig())
FIRST, SECOND = record(), record("overlap", level=1)


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


def add_result(store, run="imp", level=0, kind=BARRIER, created="2026-02-01", **changes):
    """A small result; its path."""
    said = record(kind.kind, run, level, created=created, model="mlp:8-2", **changes)
    return saved(store.root, kind.example().isel(pair=[0]), said)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Two runs and two results."""
    store = open_store(tmp_path_factory.mktemp("catalog") / "store")
    add_run(store, "imp")
    add_run(store, "other", levels=0, criterion="random", seed=3)
    add_result(store)
    add_result(store, kind=OVERLAP, level=1, created="2026-01-31")
    return store


@pytest.fixture
def store(prepared, tmp_path):
    """A copy of it without an index."""
    shutil.copytree(prepared.root, tmp_path / "store", ignore=shutil.ignore_patterns("*.sqlite"))
    return open_store(tmp_path / "store")


def answers(store):
    """All that a catalogue says."""
    return answers_of(Catalog(store.root), store)


def answers_of(found, store):
    """All that this catalogue says."""
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
    said = answers(Store(elsewhere))
    shutil.rmtree(elsewhere)
    return said


def test_rows_of_runs(store):
    rows = Catalog(store.root).rows("runs")
    assert rows == [
        {
            "run": "imp", "task": "digits", "model": "mlp:8-2", "criterion": "magnitude", "seed": 0,
            "levels": 2, "asked": 3, "density": 0.75, "created": "2026-01-01T00:00:00+00:00",
            "parent": "", "test_error": 0.25, "status": "unfinished",
        },
        {
            "run": "other", "task": "digits", "model": "mlp:8-2", "criterion": "random", "seed": 3,
            "levels": 0, "asked": 3, "density": None, "created": "2026-01-01T00:00:00+00:00",
            "parent": "", "test_error": None, "status": "unfinished",
        },
    ]  # fmt: skip


def test_rows_of_results(store):
    rows = Catalog(store.root).rows("results")
    assert [row["id"] for row in rows] == [result_id(SECOND), result_id(FIRST)]  # by their age
    assert rows[1] == {
        "id": result_id(FIRST), "kind": "barrier", "version": "1.0", "task": "digits",
        "model": "mlp:8-2", "run": "imp", "level": 0.0, "part": "final", "density": 1.0,
        "run_b": "imp", "level_b": 1.0, "density_b": 0.8, "inputs": "imp@0 imp@1",
        "settings": '{"points": 5}', "created": "2026-02-01", "seconds": 0.5,
        "path": place(store.root, FIRST).relative_to(store.root).as_posix(),
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
        ("results", {"points": 5, "kind": "overlap"}, ["imp"]),
        ("results", {"points": slice(6, None)}, []),
        ("runs", [Condition("seed", ">", "2"), Condition("run", "!=", "imp")], ["other"]),
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
    add_result(store, level=3)


def remove_a_run(store):
    shutil.rmtree(layout.run_folder(store.root, "imp"))


def remove_a_level(store):
    layout.level_file(store.root, "imp", 1).unlink()


def remove_a_result(store):
    place(store.root, FIRST).unlink()


def remove_all_results(store):
    shutil.rmtree(layout.results(store.root))


def remove_all_runs(store):
    shutil.rmtree(layout.runs(store.root))


def copy_a_run(store):
    shutil.copytree(layout.run_folder(store.root, "imp"), layout.run_folder(store.root, "copied"))


def copy_a_result(store):
    other = open_store(store.root.parent / "other")
    add_result(other, level=5)
    shutil.copytree(other.root / "results", store.root / "results", dirs_exist_ok=True)


def rename_a_run(store):
    layout.run_folder(store.root, "imp").rename(layout.run_folder(store.root, "renamed"))


def link_a_run(store):
    outside = store.root.parent / "outside"
    layout.run_folder(store.root, "imp").rename(outside)
    layout.run_folder(store.root, "linked").symlink_to(outside)


def link_all_results(store):
    layout.results(store.root).rename(store.root.parent / "outside")
    layout.results(store.root).symlink_to(store.root.parent / "outside")


def link_a_kind(store):
    (layout.results(store.root) / "barrier").rename(store.root.parent / "outside")
    (layout.results(store.root) / "barrier").symlink_to(store.root.parent / "outside")


def change_a_manifest(store):
    store["imp"].extend(9)


def overwrite_a_manifest(store):
    """In place, as cp does: the folder does not tell."""
    other = open_store(store.root.parent / "other")
    add_run(other, "imp", seed=7)
    content = layout.run_manifest(other.root, "imp").read_bytes()
    layout.run_manifest(store.root, "imp").write_bytes(content)


def overwrite_a_level(store):
    save_level(store["other"], 1, kept=3)
    content = layout.level_file(store.root, "other", 1).read_bytes()
    layout.level_file(store.root, "imp", 1).write_bytes(content)


def overwrite_a_result(store):
    """The same question, asked at another time."""
    other = open_store(store.root.parent / "other")
    path = add_result(other, created="2027-01-01")
    place(store.root, FIRST).write_bytes(path.read_bytes())


def damage_a_manifest(store):
    flip(layout.run_manifest(store.root, "imp"))


def damage_a_level(store):
    flip(layout.level_file(store.root, "imp", 1))


def damage_a_result(store):
    flip(place(store.root, FIRST))


def replace_a_level(store):
    path = layout.level_file(store.root, "imp", 1)
    path.unlink()
    save_level(store["imp"], 1, kept=3)


def replace_a_folder(store):
    """Another folder under the name, with the times of the old one."""
    folder = place(store.root, FIRST).parent
    folder.rename(store.root.parent / "aside")
    folder.mkdir()
    shutil.copystat(store.root.parent / "aside", folder)


def replace_a_result_and_its_times(store):
    """What gives a file and its folder the times that they had."""
    path = place(store.root, FIRST)
    file, folder = path.stat(), path.parent.stat()
    other = open_store(store.root.parent / "other")
    add_result(other, created="2026-02-02")
    path.write_bytes(place(other.root, FIRST).read_bytes())
    os.utime(path, ns=(file.st_atime_ns, file.st_mtime_ns))
    os.utime(path.parent, ns=(folder.st_atime_ns, folder.st_mtime_ns))
    assert path.stat().st_size == file.st_size


def move_a_result(store):
    path = place(store.root, FIRST)
    path.rename(path.with_name(f"{path.stem[:2]}{'ba' * 19}.nc"))


def move_a_result_elsewhere(store):
    path = place(store.root, FIRST)
    (store.root / "results" / "barrier" / "zz").mkdir()
    path.rename(store.root / "results" / "barrier" / "zz" / path.name)


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


CHANGES = [
    add_a_run, add_a_level, add_a_result, remove_a_run, remove_a_level, remove_a_result,
    remove_all_results, remove_all_runs, copy_a_run, copy_a_result, rename_a_run, link_a_run,
    link_all_results, link_a_kind, change_a_manifest, overwrite_a_manifest, overwrite_a_level,
    overwrite_a_result, damage_a_manifest, damage_a_level, damage_a_result, replace_a_level,
    replace_a_folder, replace_a_result_and_its_times, move_a_result, move_a_result_elsewhere,
]  # fmt: skip


@pytest.fixture(params=["just now", "long ago"])
def when(request, monkeypatch):
    """Whether folders count as just changed when the index looks; the time between two looks."""
    if request.param == "just now":
        return lambda: None
    monkeypatch.setattr(index, "_RACY", -1.0)
    return lambda: time.sleep(0.03)  # more than a tick of the clock that stamps files


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_the_files_is_noticed(store, change, when):
    before = answers(store)
    when()
    change(store)
    after = answers(store)
    assert after != before
    assert after == from_files(store)
    if change not in (damage_a_manifest, link_a_run):
        assert [row["run"] for row in after[0]] == list(store)
    for row in after[0]:
        damaged = change is damage_a_level and row["run"] == "imp"
        assert row["levels"] == len(Run(store.root, row["run"]).levels) - damaged
        assert row["seed"] == store[row["run"]].config.seed
    assert answers(store) == after


def test_changes_within_one_tick_are_all_noticed(store, monkeypatch):
    stamp = index._stamp

    def coarse(state):
        """As of a clock that counts minutes."""
        times = [str(time // (60 * 10**9)) for time in (state.st_mtime_ns, state.st_ctime_ns)]
        return "/".join([*times, *stamp(state).split("/")[2:]])

    monkeypatch.setattr(index, "_stamp", coarse)
    for level in range(3, 9):
        path = add_result(store, level=level)
        assert place(store.root, record(level=level)) == path
        assert level in [row["level"] for row in Catalog(store.root).rows("results")]
        path.unlink()
        assert level not in [row["level"] for row in Catalog(store.root).rows("results")]


def test_changes_at_random_are_all_noticed(store, when):
    draws = np.random.default_rng(0)
    known = []
    for step in range(20):
        if known and draws.random() < 0.4:
            known.pop(int(draws.integers(len(known)))).unlink()
        else:
            known.append(add_result(store, run=f"run-{step}", level=int(draws.integers(9))))
        if draws.random() < 0.5 or step == 19:
            when()
            found = {row["id"] for row in Catalog(store.root).rows("results")}
            assert found == {p.stem for p in known} | {result_id(FIRST), result_id(SECOND)}


# What happens to the index.


def truncated(share):
    return lambda path: path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])


def garbled(path):
    content = bytearray(path.read_bytes())
    content[4096:] = np.random.default_rng(0).bytes(len(content) - 4096)
    path.write_bytes(content)


def a_folder(path):
    path.unlink()
    path.mkdir()


def a_link(path):
    path.rename(path.parent.parent / "index")
    path.symlink_to(path.parent.parent / "index")


def changed_by(*commands):
    """Sealed as ours is, after commands of somebody who knows how."""

    def change(path):
        db = snapshot.stored(path, root=path.parent)
        db.executescript(";".join(commands))
        snapshot.save(db, path, root=path.parent)
        db.close()

    return change


def with_a_bad_page(path):
    """Sealed as ours is, and malformed where only a question about results looks."""
    db = snapshot.stored(path, root=path.parent)
    (page,) = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'results'").fetchone()
    image = bytearray(db.serialize())
    size = int.from_bytes(image[16:18], "big")
    db.close()
    image[(page - 1) * size : page * size] = b"\xff" * size
    seal = snapshot._MAGIC + hashlib.sha256(image).hexdigest().encode()
    path.write_bytes(image + seal)


LIES = "UPDATE results SET run = 'lie', density = 'text'"
DAMAGE = {
    "deleted": lambda path: path.unlink(),
    "empty": lambda path: path.write_bytes(b""),
    "garbage": lambda path: path.write_bytes(b"not a database" * 1000),
    "cut at 1 %": truncated(0.01),
    "cut at 30 %": truncated(0.3),
    "cut at 60 %": truncated(0.6),
    "cut at 95 %": truncated(0.95),
    "garbled": garbled,
    "a folder": a_folder,
    "a link": a_link,
    "changed by an SQLite tool": lambda path: sqlite3.connect(path).executescript(LIES).close(),
    "without tables": changed_by(*(f"DROP TABLE {t}" for t in ("runs", "levels", "results"))),
    "without a column": changed_by("ALTER TABLE runs DROP COLUMN model"),
    "with a column": changed_by("ALTER TABLE runs ADD COLUMN more", LIES),
    "with a table": changed_by("CREATE TABLE more (a)", LIES),
    "with a view": changed_by("CREATE VIEW more AS SELECT * FROM runs", LIES),
    "with a view for a table": changed_by(
        "ALTER TABLE results RENAME TO more", "CREATE VIEW results AS SELECT * FROM more"),
    "with a trigger": changed_by(
        "CREATE TRIGGER more AFTER INSERT ON runs BEGIN DELETE FROM runs; END", LIES),
    "with rows of no file": changed_by(
        "INSERT INTO results SELECT '/etc/passwd', id, kind, version, task, model, run, level, "
        "part, density, run_b, level_b, density_b, inputs, settings, created, seconds FROM results "
        "LIMIT 1", "DELETE FROM folders WHERE path = ''"),
    "made in another folder": changed_by("UPDATE folders SET stamp = '1' WHERE path = ''", LIES),
    "with a bad page": with_a_bad_page,
    "with no text": changed_by("UPDATE results SET run = CAST(x'ff' AS TEXT)"),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_index_gives_way_to_the_files(store, damage):
    right = answers(store)
    DAMAGE[damage](layout.index(store.root))
    assert answers(store) == right
    assert answers(store) == right
    add_a_level(store)
    assert answers(store) == from_files(store)


def test_an_index_that_came_with_a_copy_is_not_believed(store):
    right = answers(store)
    changed_by(LIES)(layout.index(store.root))
    shutil.copytree(store.root, store.root.parent / "copy")
    assert answers(open_store(store.root.parent / "copy")) == right


def test_no_flipped_bit_of_the_index_is_believed(store):
    right = answers(store)
    path = layout.index(store.root)
    content, draws = path.read_bytes(), np.random.default_rng(0)
    for spot in [*draws.integers(0, len(content), 60), *range(len(content) - 90, len(content), 9)]:
        damaged = bytearray(content)
        damaged[spot] ^= 1 << int(draws.integers(8))
        path.write_bytes(damaged)
        assert answers(store) == right


def test_rebuilding_forgets_what_was_kept(store):
    right = answers(store)
    changed_by(LIES)(layout.index(store.root))
    assert answers(store) != right  # sealed here, it cannot be told from ours
    assert answers_of(Catalog(store.root).rebuilt(), store) == right
    assert answers(store) == right


def count_reads(monkeypatch):
    reads = []

    def counted(root, path, kind, limit):
        reads.append(path)
        return described(root, path, kind, limit)

    monkeypatch.setattr(index, "described", counted)
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


def test_a_settled_index_is_not_written_again(store, monkeypatch):
    monkeypatch.setattr(index, "_RACY", -1.0)
    answers(store)
    inode = layout.index(store.root).stat().st_ino
    answers(store)
    assert layout.index(store.root).stat().st_ino == inode
    monkeypatch.undo()
    answers(store)  # folders count as just changed now: looked at again each time, kept once
    inode = layout.index(store.root).stat().st_ino
    answers(store)
    assert layout.index(store.root).stat().st_ino == inode


def test_tests_of_a_settled_index_say_something(store, monkeypatch):
    monkeypatch.setattr(index, "_RACY", -1.0)
    monkeypatch.setattr(index, "notice", lambda *_: False)
    before = answers(store)
    overwrite_a_result(store)
    assert answers(store) == before


@pytest.fixture
def read_only(monkeypatch):
    """A system that lets nobody write, whoever runs the tests."""

    def refuse(*_: object, **__: object) -> None:
        raise LandscapeError("could not write: Permission denied")

    return lambda: monkeypatch.setattr(snapshot, "write_over", refuse)


@pytest.mark.parametrize("kept", ["none", "fresh", "stale", "garbage", "folder"])
def test_a_store_that_cannot_be_written_still_answers(store, read_only, kept):
    if kept != "none":
        answers(store)
    if kept == "stale":
        add_a_run(store)
    if kept == "garbage":
        layout.index(store.root).write_bytes(b"x" * 5000)
    if kept == "folder":
        a_folder(layout.index(store.root))
    right = from_files(store)
    before = sorted(store.root.rglob("*"))
    read_only()
    assert answers(store) == right
    assert answers_of(Catalog(store.root).rebuilt(), store) == right
    assert sorted(store.root.rglob("*")) == before


@pytest.mark.skipif(
    getattr(os, "geteuid", int)() != 0 or os.name == "nt",
    reason="only root can become another user",
)
def test_a_store_of_another_user_still_answers(store):
    answers(store)
    add_a_run(store)
    closed = layout.run_folder(store.root, "other")
    right = from_files(store)
    for path in (store.root, *store.root.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    closed.chmod(0o700)
    script = (
        "import json, os, sys; from landscape.data_store.catalog import Catalog; import h5py; "
        "from landscape.data_store import level_file, manifest, result_file, results; "
        "from pathlib import Path; os.chdir(sys.argv[1]); os.setuid(65534); c = Catalog(Path('.'));"
        " print(json.dumps([c.rows('runs'), c.rows('results'), c.faults()]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(store.root)], capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    runs, results, faults = json.loads(done.stdout)
    assert runs == [row for row in right[0] if row["run"] != "other"]
    assert results == right[1]
    assert faults == ["cannot list the folder runs/other: Permission denied; give read access"]


# Files that cannot be described.


def test_damaged_files_are_left_out_and_named(store):
    add_run(store, "whole")
    level = layout.level_file(store.root, "imp", 1)
    level.write_bytes(level.read_bytes()[:-1])
    manifest = layout.run_manifest(store.root, "other")
    manifest.write_text("{")
    result = place(store.root, FIRST)
    result.write_bytes(result.read_bytes()[:1000])
    for _ in range(2):
        runs, results, levels = answers(store)
        assert [(row["run"], row["levels"]) for row in runs] == [("imp", 1), ("whole", 2)]
        assert [row["kind"] for row in results] == ["overlap"]
        assert [row["level"] for row in levels["imp"]] == [0]
        faults = Catalog(store.root).faults()
        assert len(faults) == 3
        for path, fault in zip((result, level, manifest), faults, strict=True):
            assert fault.startswith(f"{path} is damaged")
        assert Catalog(store.root).faults("results/barrier/") == faults[:1]
        assert Catalog(store.root).faults("results/overlap/") == []
        assert Catalog(store.root).listing("runs") == (runs, faults)


def test_a_repaired_file_comes_back(store, when):
    right = answers(store)
    level = layout.level_file(store.root, "imp", 1)
    content = level.read_bytes()
    when()
    level.write_bytes(content[:-1])
    assert answers(store) != right
    assert len(Catalog(store.root).faults()) == 1
    when()
    level.write_bytes(content)
    assert answers(store) == right
    assert Catalog(store.root).faults() == []


def test_what_could_not_be_read_for_a_while_comes_back(store, monkeypatch):
    """A fault is no property of the file: a limit, a lock, too many open files."""
    monkeypatch.setattr(index, "_RACY", -1.0)
    right = answers(store)
    layout.index(store.root).unlink()
    small = Catalog(store.root, size_limit=100)
    assert small.rows("results") == small.levels("imp") == []
    assert all("more than 100 is refused unless --max-size" in f for f in small.faults("results/"))
    assert answers(store) == right


def sealed_manifest(record):
    return manifest_bytes(layout.RUN_FORMAT, layout.RUN_VERSION, record)


CREATED = {"created": "2026-01-01"}


@pytest.mark.parametrize(
    "content",
    [
        b"", b"[]", b"null", b"{}", b"\xff\xfe", b"[" * 100_000,
        sealed_manifest({}),
        sealed_manifest({"config": None, "provenance": None}),
        sealed_manifest({"config": CONFIG, "provenance": {}}),
        sealed_manifest({"config": CONFIG, "provenance": {"created": {}}}),
        sealed_manifest({"config": CONFIG, "provenance": {"created": None}}),
        sealed_manifest({"config": CONFIG | {"task": ["a"]}, "provenance": CREATED}),
        sealed_manifest({"config": CONFIG | {"task": 3}, "provenance": CREATED}),
        sealed_manifest({"config": CONFIG | {"task": "\ud800"}, "provenance": CREATED}),
        sealed_manifest({"config": CONFIG | {"levels": None}, "provenance": CREATED}),
        sealed_manifest({"config": CONFIG | {"levels": "3"}, "provenance": CREATED}),
        sealed_manifest({"config": CONFIG | {"levels": 10**400}, "provenance": CREATED}),
        sealed_manifest({"config": CONFIG | {"criterion": 1.5}, "provenance": CREATED}),
    ],
)  # fmt: skip
def test_an_odd_manifest_is_left_out_and_named(store, content):
    path = layout.run_manifest(store.root, "other")
    path.write_bytes(content)
    for _ in range(2):
        rows, (fault,) = Catalog(store.root).listing("runs")
        assert [row["run"] for row in rows] == ["imp"]
        assert fault.startswith(str(path))


def test_a_seed_beyond_64_bits_is_no_trouble(store):
    store.create("large", {"config": CONFIG | {"seed": 2**70}, "provenance": CREATED})
    (row,) = Catalog(store.root).rows("runs", {"run": "large"})
    assert row["seed"] == float(2**70)


ODD = [
    {"inputs": []}, {"inputs": [3]}, {"inputs": [{}]}, {"inputs": None}, {"kind": ["barrier"]},
    {"kind": "../barrier"}, {"schema_version": 1}, {"schema_version": []}, {"created": None},
    {"created": 3}, {"seconds": "long"}, {"seconds": None}, {"task": ["a"]}, {"task": "\ud800"},
    {"inputs": [{**FIRST["inputs"][0], "run": []}]},
    {"inputs": [{**FIRST["inputs"][0], "density": "thin"}]},
    {"inputs": [{**FIRST["inputs"][0], "level": True, "address": 3}]},
    {"inputs": [{k: v for k, v in FIRST["inputs"][0].items() if k != "part"}]},
]  # fmt: skip


@pytest.mark.parametrize("change", ODD)
def test_an_odd_result_is_left_out_and_named(store, change):
    netcdf, _, table = parts(place(store.root, FIRST).read_bytes())
    said = {**FIRST, "task": "other", **change}
    try:
        path = layout.result_file(store.root, "barrier", result_id(said))
    except (LookupError, TypeError):
        path = layout.result_file(store.root, "barrier", "ef" * 20)
    if path == place(store.root, FIRST):
        path.unlink()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(sealed(netcdf, json.dumps(said).encode(), json.dumps(table).encode()))
    ids = {result_id(FIRST), result_id(SECOND)} - {path.stem}
    for _ in range(2):
        rows, (fault,) = Catalog(store.root).listing("results")
        assert {row["id"] for row in rows} == ids
        assert fault.startswith(str(path))


def test_results_about_files_have_no_run_or_level(store):
    inputs = [
        {**i, "address": f"{n}.pt", "run": None, "level": None, "density": None}
        for n, i in enumerate(FIRST["inputs"])
    ]
    written(store.root, pair(), record(inputs=inputs, task=None, model=None))
    (row,) = Catalog(store.root).rows("results", {"run": None})
    assert row["inputs"] == "0.pt 1.pt"
    assert row["level"] is row["density"] is row["run_b"] is row["task"] is None


def test_links_foreign_files_and_rests_of_writers_are_passed_over(store):
    right = answers(store)
    folder = layout.run_folder(store.root, "imp")
    layout.run_folder(store.root, "gone").symlink_to(folder / "gone")
    (folder / ".level_0008.h5.00000000.77.001122ff.tmp").write_bytes(b"rest")
    (layout.runs(store.root) / "note.txt").touch()
    (layout.runs(store.root) / "Not A Run").mkdir()
    (layout.runs(store.root) / os.fsdecode(b"\xff")).mkdir()
    shelf = place(store.root, FIRST).parent
    (shelf / f".{result_id(FIRST)}.nc.00000000.77.001122ff.tmp").write_bytes(b"rest")
    for name in ("text.nc", os.fsdecode(b"\xff.nc"), f"{'ab' * 20}.txt", "AB.nc"):
        (shelf / name).write_text("text")
    (layout.results(store.root) / "barrier" / os.fsdecode(b"\xff")).mkdir()
    (layout.results(store.root) / "barrier" / "file").write_text("text")
    assert answers(store) == right
    assert Catalog(store.root).faults() == []


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes there")
def test_what_is_no_plain_file_is_named_and_never_waited_for(store):
    right = answers(store)
    folder, shelf = layout.run_folder(store.root, "imp"), place(store.root, FIRST).parent
    (folder / "level_0007.h5").symlink_to(folder / "level_0000.h5")
    os.mkfifo(folder / "level_0008.h5")
    (folder / "level_0009.h5").mkdir()
    (shelf / f"{shelf.name}{'f' * 38}.nc").symlink_to("/etc/passwd")
    assert answers(store) == right
    faults = Catalog(store.root).faults()
    assert [Path(fault.split(" is ")[0].removeprefix("cannot read ").split(":")[0]).name
            for fault in faults] == [f"{shelf.name}{'f' * 38}.nc", "level_0007.h5",
                                     "level_0008.h5", "level_0009.h5"]  # fmt: skip
    assert all("symbolic link" in faults[i] for i in (0, 1))


def test_a_folder_that_vanishes_meanwhile_is_passed_over(store, monkeypatch):
    right = answers(store)
    folder = layout.run_folder(store.root, "gone")
    folder.mkdir()
    subfolders = index._subfolders

    def vanishing(root):
        found = subfolders(root)
        if folder.exists():
            folder.rmdir()
        return found

    monkeypatch.setattr(index, "_subfolders", vanishing)
    assert answers(store) == right


def test_a_file_that_vanishes_meanwhile_is_passed_over(store, monkeypatch):
    right = answers(store)
    extra = layout.level_file(store.root, "imp", 5)
    extra.write_bytes(b"x")
    kind = index._kind

    def vanishing(folder, name):
        extra.unlink(missing_ok=True)
        return kind(folder, name)

    monkeypatch.setattr(index, "_kind", vanishing)
    assert answers(store) == right


def test_listing_a_store_imports_nothing_heavy(store):
    heavy = ("torch", "xarray", "pandas", "matplotlib", "scipy", "rich", "h5netcdf")
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


def test_to_list_runs_is_as_much_work_as_there_are_runs():
    def steps(runs: int) -> int:
        """How many instructions of SQLite's machine list so many runs of three levels."""
        counted = 0

        def count() -> int:
            nonlocal counted
            counted += 1
            return 0

        with closing(snapshot.new(index.SCHEMA)) as db:
            for kind, number in (("run", 1), ("level", 3)):
                width = len(COLUMNS[kind])
                names = list(COLUMNS[kind])
                for i in range(runs * number):
                    row = [None] * width
                    row[names.index("run")] = f"run-{i // number}"
                    index.insert(db, kind, f"{kind}-{i}", tuple(row))
            db.set_progress_handler(count, 10)
            assert len(db.execute(_RUNS).fetchall()) == runs
        return counted

    assert steps(400) / steps(50) < 16  # 8 times as many; each beside all others would be 64
