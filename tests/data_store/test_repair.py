"""Repair: what is wrong is moved aside, nothing is lost, and a second look finds it right."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

import landscape
from landscape.data_store import layout
from landscape.data_store.catalog import Catalog
from landscape.data_store.lock import holding
from landscape.data_store.repair import repair
from landscape.data_store.resume_file import save_resume
from landscape.data_store.store import Run, Store, open_store
from landscape.data_store.verify import Finding, check, files
from tests.support.trained import SETTINGS


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store with two runs, results and a catalogue."""
    store = open_store(tmp_path_factory.mktemp("repair") / "store")
    landscape.train(store=store, name="run", **SETTINGS)
    landscape.train(store=store, name="other", **{**SETTINGS, "levels": 1, "seed": 1})
    landscape.overlap("run", store=store)
    store.runs()
    return store


@pytest.fixture
def store(made: Store, tmp_path: Path) -> Store:
    """A copy that a test may change."""
    return Store(Path(shutil.copytree(made.root, tmp_path / "copy")))


def look(store: Store) -> list[Finding]:
    """All findings."""
    return check(store, files(store))


def cut(path: Path) -> bytes:
    """Take the last byte off a file; what is left of it."""
    content = path.read_bytes()[:-1]
    path.write_bytes(content)
    return content


def aside(store: Store, path: Path) -> Path:
    """Where a file goes."""
    return store.root / "damaged" / path.relative_to(store.root)


def test_nothing_is_done_where_nothing_is_wrong(store: Store) -> None:
    before = {path: path.read_bytes() for path in files(store)}
    assert repair(store, look(store)) == {}
    after = {path: path.read_bytes() for path in files(store)}
    assert set(after) == set(before)
    assert all(after[p] == before[p] for p in before if p != layout.index(store.root))


def test_damaged_and_foreign_files_are_moved_aside_as_they_are(store: Store) -> None:
    root = store.root
    level = layout.level_file(root, "run", 2)
    digest = Run(root, "run").level(0).origins["rewind"]
    result = next(layout.results(root).rglob("*.nc"))
    damaged = [level, layout.object_file(root, digest), result]
    contents = {path: cut(path) for path in damaged}
    foreign = root / "runs" / "run" / "notes.txt"
    foreign.write_text("mine")
    contents[foreign] = b"mine"
    done = repair(store, look(store))
    assert done == {path: f"moved to {aside(store, path)}" for path in contents}
    for path, content in contents.items():
        assert not path.exists()
        assert aside(store, path).read_bytes() == content
    (finding,) = look(store)  # the level was the last, the result is a question not asked
    assert finding.path == layout.object_file(root, digest)
    assert finding.problem == "is missing"
    landscape.train(store=store, name="run", **SETTINGS)
    landscape.overlap("run", store=store)
    assert look(store) == []


def test_a_second_file_of_a_name_is_moved_beside_the_first(store: Store) -> None:
    path = next(layout.results(store.root).rglob("*.nc"))
    for content, place in ((b"one", aside(store, path)), (b"two", f"{aside(store, path)}.2")):
        path.write_bytes(content)
        assert repair(store, look(store)) == {path: f"moved to {place}"}
        assert Path(place).read_bytes() == content


def test_a_run_without_its_manifest_moves_as_a_whole(store: Store) -> None:
    root = store.root
    manifest = layout.run_manifest(root, "run")
    level = layout.level_file(root, "run", 1)
    whole = layout.level_file(root, "run", 2).read_bytes()
    cut(manifest)
    cut(level)
    done = repair(store, look(store))
    folder = root / "damaged" / "runs" / "run"
    assert done == {manifest: f"moved to {folder}", level: "moved with its run"}
    assert (folder / "level_0002.h5").read_bytes() == whole
    assert not (folder / ".holder").exists()
    assert list(store) == ["other"]
    assert look(store) == []
    assert [row["run"] for row in Catalog(root).rows("runs")] == ["other"]


def test_what_is_missing_stays_missing_but_the_stores_own_manifest(store: Store) -> None:
    level = layout.level_file(store.root, "run", 1)
    level.unlink()
    layout.manifest(store.root).write_text("{}")
    done = repair(store, look(store))
    assert done == {layout.manifest(store.root): f"moved to {store.root}/damaged/store.json"}
    assert list(open_store(store.root, create=False)) == ["other", "run"]
    assert [finding.path for finding in look(store)] == [level]
    layout.manifest(store.root).unlink()
    assert repair(store, look(store)) == {layout.manifest(store.root): "made again"}


def test_the_catalogue_is_made_again(store: Store) -> None:
    right = Catalog(store.root).rows("runs")
    path = layout.index(store.root)
    path.write_text("no database")
    assert repair(store, look(store)) == {path: f"moved to {aside(store, path)}"}
    assert path.read_bytes().startswith(b"SQLite format 3")
    assert look(store) == []
    assert Catalog(store.root).rows("runs") == right


def test_temporary_files_of_dead_writers_are_removed(store: Store) -> None:
    left = layout.run_folder(store.root, "run") / ".run.json.00000000.1.0123abcd.tmp"
    left.touch()
    os.utime(left, (0, 0))
    assert repair(store, look(store)) == {left: "removed"}
    assert not left.exists()


def test_links_are_moved_not_what_they_lead_to(store: Store, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for name in ("level_0000.h5", ".holder"):
        (elsewhere / name).write_text("precious")
    linked = store.root / "runs" / "linked"
    linked.symlink_to(elsewhere)
    lock = layout.run_lock(store.root, "run")
    lock.unlink()
    lock.symlink_to(elsewhere / "level_0000.h5")
    done = repair(store, look(store))
    assert done == {path: f"moved to {aside(store, path)}" for path in (linked, lock)}
    assert aside(store, linked).is_symlink()
    for name in ("level_0000.h5", ".holder"):
        assert (elsewhere / name).read_text() == "precious"
    assert look(store) == []


def test_nothing_is_moved_through_a_link(store: Store, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (store.root / "damaged").symlink_to(tmp_path / "elsewhere")
    path = layout.level_file(store.root, "run", 2)
    cut(path)
    done = repair(store, look(store))
    assert "is a symbolic link" in done[path]
    assert done[path].startswith("left as it is: ")
    assert path.exists()
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_run_that_is_being_written_is_left_alone(store: Store) -> None:
    mine, other = (layout.level_file(store.root, run, 0) for run in ("run", "other"))
    cut(mine)
    cut(other)
    findings = look(store)
    with holding(Run(store.root, "run")):
        done = repair(store, findings)
    assert done[mine].startswith(
        f"left as it is: run 'run' is being written by process {os.getpid()}"
    )
    assert done[other] == f"moved to {aside(store, other)}"
    assert mine.exists()


def test_what_was_made_right_since_is_left_alone(store: Store) -> None:
    path = layout.level_file(store.root, "run", 1)
    gone = layout.run_folder(store.root, "run") / "notes.txt"
    whole = path.read_bytes()
    cut(path)
    gone.touch()
    findings = look(store)
    path.write_bytes(whole)
    gone.unlink()
    assert repair(store, findings) == {path: "right by itself since", gone: "gone by itself"}
    assert path.read_bytes() == whole


def test_a_damaged_resume_file_is_moved_also_under_our_own_lock(store: Store) -> None:
    path = layout.resume_file(store.root, "run")
    save_resume(path, 2, {"theta": np.arange(3.0)})
    cut(path)
    assert repair(store, look(store)) == {path: f"moved to {aside(store, path)}"}
    assert look(store) == []


def test_newer_files_are_left_alone(store: Store) -> None:
    path = layout.manifest(store.root)
    path.write_text('{"format": "landscape-store", "version": [9, 0], "written_by": "9.0"}')
    assert [finding.remedy for finding in look(store)] == ["update landscape"]
    assert repair(store, look(store)) == {}
    assert '"9.0"' in path.read_text()
