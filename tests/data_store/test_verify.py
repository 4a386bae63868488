"""Verify: whatever is done to a store's files is named, nothing else is, and nothing changes."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import landscape
import landscape.trainer
from landscape.data_store import layout
from landscape.data_store.catalog import Catalog
from landscape.data_store.errors import LandscapeError
from landscape.data_store.image import seal
from landscape.data_store.level_file import level_image
from landscape.data_store.lock import holding
from landscape.data_store.manifest import manifest_bytes
from landscape.data_store.mask import Mask
from landscape.data_store.records import Level, Point
from landscape.data_store.result_file import Result, read_result, result_image
from landscape.data_store.resume_file import save_resume
from landscape.data_store.store import Run, Store, open_store
from landscape.data_store.verify import Finding, check, files
from tests.support.children import Child, Tell
from tests.support.trained import SETTINGS

Change = Callable[[Path], Path]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store with a trained run, an imported one, results, and a catalogue."""
    store = open_store(tmp_path_factory.mktemp("verify") / "store")
    run = landscape.train(store=store, name="run", **SETTINGS)
    landscape.barrier("run", store=store, points=3)
    landscape.overlap("run", store=store)
    description = {k: run.description[k] for k in ("spec", "data", "provenance")}
    config = {"task": "digits", "model": "mlp:64-12-10", "levels": 2}
    imported = {"sources": [{"name": "a.pt", "sha256": "0" * 64}]}
    guest = store.create("guest", description | {"config": config, "imported": imported})
    for number in (0, 1):
        level = replace(run.level(2 - number), number=number, origins={}, metrics={}, run="")
        guest.save_level(number, level_image(level))
    store.runs()
    return store


@pytest.fixture
def store(made: Store, tmp_path: Path) -> Store:
    """A copy that a test may change."""
    return Store(Path(shutil.copytree(made.root, tmp_path / "copy")))


def wrong(store: Store, *, alone: bool = False) -> dict[str, Finding]:
    """Findings that are wrong by relative path."""
    found = check(store, files(store), alone=alone)
    return {f.path.relative_to(store.root).as_posix(): f for f in found if f.is_wrong}


def reworked(store: Store, at: int, **changes: object) -> Path:
    """A level replaced by one that is whole, but another."""
    level: Level = replace(Run(store.root, "run").level(at), **changes)  # type: ignore[arg-type]
    path = layout.level_file(store.root, "run", at)
    path.write_bytes(level_image(level))
    return path


def rewritten(store: Store, run: str = "run", **changes: object) -> Path:
    """A run.json replaced by one that is sealed, but says something else."""
    path = layout.run_manifest(store.root, run)
    record = {**Run(store.root, run).description, **changes}
    known = {k: v for k, v in record.items() if k not in ("format", "version", "sha256")}
    path.write_bytes(manifest_bytes(layout.RUN_FORMAT, layout.RUN_VERSION, known))
    return path


def results(store: Store, kind: str) -> list[Path]:
    """Files of all results of a kind."""
    return sorted((layout.results(store.root) / kind).rglob("*.nc"))


def snapshot(root: Path) -> dict[str, tuple[int, bytes]]:
    """Time of change and content of everything in a folder."""
    return {
        str(path): (path.lstat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for path in [root, *root.rglob("*")]
    }


def test_nothing_is_wrong_with_what_commands_wrote(store: Store) -> None:
    heard: list[Path] = []
    paths = files(store)
    assert check(store, paths, heard.append) == []
    assert sorted(heard) == paths == sorted(p for p in store.root.rglob("*") if p.is_file())


def test_nothing_changes_also_where_there_is_much_to_say(store: Store) -> None:
    layout.index(store.root).unlink()
    (store.root / "runs" / "run" / "notes.txt").write_text("mine")
    left = store.root / "runs" / "run" / ".run.json.00000000.1.0123abcd.tmp"
    left.write_text("half")
    os.utime(left, (0, 0))
    layout.level_file(store.root, "run", 1).write_bytes(b"")
    before = snapshot(store.root)
    assert len(check(store, files(store))) == 3
    assert snapshot(store.root) == before


@pytest.mark.parametrize("place", ["level", "object", "result", "run", "store", "index"])
@pytest.mark.parametrize("how", ["cut", "emptied", "text"])
def test_a_damaged_file_is_named_alone(store: Store, place: str, how: str) -> None:
    root = store.root
    path = {
        "level": layout.level_file(root, "run", 1),
        "object": next(layout.objects(root).rglob("*.h5")),
        "result": results(store, "overlap")[0],
        "run": layout.run_manifest(root, "run"),
        "store": layout.manifest(root),
        "index": layout.index(root),
    }[place]
    content = path.read_bytes()
    path.write_bytes({"cut": content[:-9], "emptied": b"", "text": b"something else"}[how])
    found = wrong(store)
    assert list(found) == [path.relative_to(root).as_posix()]
    (finding,) = found.values()
    assert finding.aside == (path.parent if place == "run" else path)
    assert str(finding) == f"{path} {finding.problem}; {finding.remedy}"
    remedies = {
        "level": "repeat 'landscape train --name run …'",
        "object": "repeat 'landscape train --name run …'",
        "result": "repeat the analysis 'landscape overlap …'",
        "run": "restore it from a copy: its levels mean nothing without it",
        "store": "'landscape verify --repair' makes it again",
        "index": "the next command makes it again",
    }
    assert finding.remedy == remedies[place]


def test_an_object_that_no_run_uses_is_right_but_says_so_when_it_is_damaged(store: Store) -> None:
    spare = Run(store.root, "run").level(2).points["final"]
    spec = Run(store.root, "run").level(2).mask.spec

    digest = spare.digest(spec)
    Run(store.root, "run").save_point(digest, spec, spare)
    assert wrong(store) == {}
    path = layout.object_file(store.root, digest)
    path.write_bytes(path.read_bytes()[:-1])
    assert [f.remedy for f in wrong(store).values()] == ["no run refers to it: remove it"]


def test_objects_and_results_under_other_names_are_named(store: Store) -> None:
    first, second = sorted(layout.objects(store.root).rglob("*.h5"))
    first.write_bytes(second.read_bytes())
    one, two = results(store, "overlap")
    one.write_bytes(two.read_bytes())
    other = layout.result_file(store.root, "barrier", two.stem)
    other.parent.mkdir(exist_ok=True)
    other.write_bytes(two.read_bytes())
    found = wrong(store)
    assert set(found) == {p.relative_to(store.root).as_posix() for p in (first, one, other)}
    assert (
        "not the one it is named after" in found[first.relative_to(store.root).as_posix()].problem
    )
    assert "answers the question overlap/" in found[one.relative_to(store.root).as_posix()].problem


def pruned_revived(level: Level) -> dict[str, Point]:
    """The points of a level with one pruned weight that is -0.0."""
    theta = level.points["final"].theta.copy()
    theta[np.flatnonzero(~level.mask.kept)[0]] = -0.0
    return {**level.points, "final": Point(theta)}


def test_a_whole_level_that_is_not_the_runs_is_named(store: Store) -> None:
    level = Run(store.root, "run").level(1)
    changes: dict[str, tuple[int, dict[str, object]]] = {
        "holds level 2": (1, {"number": 2}),
        "other tensors of it are prunable": (
            1, {"mask": Mask(level.mask.spec, level.mask.prunable[:1],
                             np.ones(level.mask.spec.size, bool))},
        ),
        "began from other weights": (1, {"origins": {**level.origins, "init": "0" * 64}}),
        "is no digest": (1, {"origins": {**level.origins, "init": "../../x"}}),
        "pruned weights of final are not zero": (1, {"points": pruned_revived(level)}),
        "keeps weights that the level before had pruned": (
            2, {"mask": Mask.dense(level.mask.spec, level.mask.prunable)},
        ),
    }  # fmt: skip
    for problem, (number, change) in changes.items():
        kept = layout.level_file(store.root, "run", number).read_bytes()
        path = reworked(store, number, **change)
        found = wrong(store)
        name = path.relative_to(store.root).as_posix()
        assert problem in found.pop(name).problem
        assert set(found) <= {layout.object_file(Path(), "0" * 64).as_posix()}
        path.write_bytes(kept)
    assert wrong(store) == {}


def test_a_level_of_another_network_is_named(store: Store, small_store: Store) -> None:
    path = layout.level_file(store.root, "run", 0)
    path.write_bytes(layout.level_file(small_store.root, "imp", 0).read_bytes())
    found = wrong(store)
    assert "other tensors than its run" in found["runs/run/level_0000.h5"].problem
    assert set(found) == {"runs/run/level_0000.h5"}


def test_masks_of_imported_runs_need_not_be_nested_but_hold_tensors_of_the_run(
    store: Store, small_store: Store
) -> None:
    guest = Run(store.root, "guest")
    assert not guest.level(1).mask.is_within(guest.level(0).mask)
    assert wrong(store) == {}
    path = layout.level_file(store.root, "guest", 0)
    path.write_bytes(layout.level_file(small_store.root, "imp", 0).read_bytes())
    (finding,) = wrong(store).values()
    assert finding.path == path
    assert finding.remedy == (
        "repeat 'landscape import … --name guest' after 'landscape verify --repair'"
    )


def test_what_is_missing_is_named_with_what_makes_it(store: Store) -> None:
    root = store.root
    origins = Run(root, "run").level(2).origins
    gone = [
        layout.level_file(root, "run", 1),
        layout.manifest(root),
        layout.run_manifest(root, "guest"),
        layout.object_file(root, origins["rewind"]),
    ]
    for path in gone:
        path.unlink()
    found = wrong(store)
    assert {f.path for f in found.values()} == set(gone)
    assert all(f.problem == "is missing" and f.aside is None for f in found.values())
    assert found["runs/run/level_0001.h5"].remedy == "repeat 'landscape train --name run …'"
    with pytest.raises(LandscapeError, match="lacks level 1 of 0 to 2"):
        _ = Run(root, "run").unbroken_levels


def test_an_unfinished_run_is_not_wrong(store: Store) -> None:
    layout.level_file(store.root, "run", 2).unlink()
    empty = layout.run_lock(store.root, "begun")
    empty.parent.mkdir()
    empty.touch()
    assert wrong(store) == {}


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"name": "other"}, "describes the run 'other'"),
        ({"config": {"lr": -1.0}}, "lr is -1.0"),
        ({"config": {"unheard_of": 1}}, "unknown setting 'unheard_of'"),
        ({"prunable": {"nothing": "linear"}}, "contradicts itself"),
        ({"init": "../../x"}, "contradicts itself"),
        ({"spec": {"names": ["w"]}}, "was not written by landscape: KeyError"),
        ({"spec": 3}, "was not written by landscape: TypeError"),
        ({"provenance": {}}, "was not written by landscape: KeyError"),
    ],
)
def test_a_sealed_manifest_that_is_none_is_named(
    store: Store, changes: dict[str, object], problem: str
) -> None:
    rewritten(store, **changes)
    found = wrong(store)
    assert problem in found["runs/run/run.json"].problem


def test_a_newer_file_is_named_and_not_taken_for_damaged(store: Store) -> None:
    path = layout.run_manifest(store.root, "guest")
    record = {**Run(store.root, "guest").description, "written_by": "9.1"}
    known = {k: v for k, v in record.items() if k not in ("format", "version", "sha256")}
    path.write_bytes(manifest_bytes(layout.RUN_FORMAT, (9, 0), known))
    finding = wrong(store)["runs/guest/run.json"]
    assert finding.aside is None
    assert "it needs landscape 9.1" in finding.problem
    assert finding.remedy == "update landscape"


def test_a_file_larger_than_the_limit_is_named_and_not_taken_for_damaged(store: Store) -> None:
    size = layout.level_file(store.root, "run", 0).stat().st_size
    found = wrong(Store(store.root, size - 1))
    assert found["runs/run/level_0000.h5"].problem == f"has {size} bytes"
    assert "--max-size" in found["runs/run/level_0000.h5"].remedy
    assert all(finding.aside is None for finding in found.values())


@pytest.mark.skipif(os.getuid() == 0, reason="root reads everything")
def test_what_may_not_be_read_is_named(store: Store) -> None:
    path = layout.level_file(store.root, "run", 0)
    path.chmod(0)
    layout.objects(store.root).chmod(0)
    try:
        found = wrong(store)
        assert found["runs/run/level_0000.h5"].remedy == "make it readable"
        assert found["objects"].problem == "is a folder that cannot be listed"
    finally:
        path.chmod(0o600)
        layout.objects(store.root).chmod(0o700)


@pytest.mark.parametrize(
    "changes",
    [{"schema": "units"}, {"schema": "names"}, {"kind": "resistance"}],
)
def test_a_sealed_result_that_is_none_is_named(store: Store, changes: dict[str, str]) -> None:
    from landscape.data_store.results import result_id

    path = results(store, "overlap")[0]
    stored = read_result(path)
    record = json.loads(stored.record)
    variables = dict(stored.variables)
    jaccard = variables["jaccard"]
    if changes.get("schema") == "units":
        variables["jaccard"] = jaccard._replace(attrs={**jaccard.attrs, "units": "percent"})
    elif changes.get("schema") == "names":
        del variables["jaccard"]
    else:
        record["kind"] = changes["kind"]
    path.unlink()
    path = layout.result_file(store.root, record["kind"], result_id(record))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(result_image(Result(json.dumps(record), variables)))
    (finding,) = wrong(store).values()
    assert finding.path == path
    if "kind" in changes:
        assert finding.problem == "is of kind 'resistance', which this version does not know"
        assert (finding.remedy, finding.aside) == ("update landscape", None)
    else:
        assert "does not follow its schema" in finding.problem
        assert finding.aside == path


def test_a_log_with_lines_that_are_none_is_named(store: Store) -> None:
    path = layout.run_log(store.root, "run")
    path.write_bytes(path.read_bytes() + b"hello\n" + path.read_bytes()[:-7])
    (finding,) = wrong(store).values()
    assert finding.path == path
    assert finding.remedy == "nothing reads it but people: remove them"


def test_foreign_files_are_named_and_hidden_ones_left_to_their_owners(store: Store) -> None:
    root = store.root
    digest = "0" * 64
    foreign = [
        "notes.txt",
        "arrays.db",
        "runs/readme",
        "runs/run/level_1.h5",
        "runs/run/level_0001.h5.bak",
        "runs/run/deeper/run.json",
        "runs/No Name/run.json",
        f"objects/11/{digest}.h5",
        f"objects/{digest}.h5",
        f"results/overlap/{'1' * 40}.nc",
        f"results/overlap/00/{'1' * 40}.nc",
        "results/overlap/11/short.nc",
        "strange/folder/file",
    ]
    for name in (*foreign, ".git/config", ".DS_Store", "runs/.DS_Store", "damaged/runs/x/y"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("something")
    found = wrong(store)
    assert set(found) == set(foreign)
    assert {f.problem for f in found.values()} == {"is no file of a store"}
    assert all(f.aside == f.path for f in found.values())


def test_links_pipes_and_folders_in_the_place_of_files_are_named(
    store: Store, tmp_path: Path
) -> None:
    root = store.root
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    level = layout.level_file(root, "run", 2)
    level.rename(elsewhere / "level")
    level.symlink_to(elsewhere / "level")
    (root / "runs" / "linked").symlink_to(root / "runs" / "guest")
    (root / "damaged").symlink_to(elsewhere)
    os.mkfifo(layout.resume_file(root, "run"))
    layout.level_file(root, "guest", 5).mkdir()
    found = wrong(store)
    links = {"runs/run/level_0002.h5", "runs/linked", "damaged"}
    assert {name for name, f in found.items() if f.problem == "is a symbolic link"} == links
    plain = {name for name, f in found.items() if f.problem == "is no plain file"}
    assert plain == {"runs/run/resume.h5", "runs/guest/level_0005.h5"}
    missing = {name for name, f in found.items() if f.problem == "is missing"}
    assert missing == {f"runs/guest/level_000{n}.h5" for n in (2, 3, 4)}


def test_temporary_files_are_said_and_not_wrong(store: Store) -> None:
    from landscape.data_store.files import _host

    folder = layout.run_folder(store.root, "run")
    mine = folder / f".run.json.{_host()}.{os.getpid()}.0123abcd.tmp"
    new = folder / ".run.json.00000000.1.0123abcd.tmp"
    old = folder / ".run.json.00000000.2.0123abcd.tmp"
    for path in (mine, new, old):
        path.touch()
    os.utime(old, (0, 0))
    (finding,) = check(store, files(store))
    assert (finding.path, finding.is_wrong) == (old, False)
    assert finding.problem == "is what a killed process left unfinished"


def test_a_damaged_resume_file_is_named_unless_somebody_writes_the_run(store: Store) -> None:
    run = Run(store.root, "run")
    path = layout.resume_file(store.root, "run")
    save_resume(path, 1, {"theta": np.arange(3.0)})
    assert wrong(store) == {}
    path.write_bytes(path.read_bytes()[:-1])
    (finding,) = wrong(store).values()
    assert finding.remedy == "it harms nothing: training begins the level again"
    layout.level_file(store.root, "run", 1).unlink()
    with holding(run):
        assert wrong(store) == {}
        assert set(wrong(store, alone=True)) == {"runs/run/resume.h5", "runs/run/level_0001.h5"}
    assert set(wrong(store)) == {"runs/run/resume.h5", "runs/run/level_0001.h5"}


def test_a_holder_that_was_killed_holds_nothing(store: Store) -> None:
    path = layout.resume_file(store.root, "run")
    path.write_bytes(b"half")
    layout.run_holder(store.root, "run").write_text("process 1 on elsewhere")
    assert set(wrong(store)) == {"runs/run/resume.h5"}
    layout.run_lock(store.root, "run").unlink()
    assert set(wrong(store)) == {"runs/run/resume.h5"}


def test_what_is_gone_between_listing_and_reading_is_not_wrong(store: Store) -> None:
    paths = files(store)
    for path in (layout.index(store.root), layout.level_file(store.root, "run", 2)):
        path.unlink()
    shutil.rmtree(layout.run_folder(store.root, "guest"))
    results(store, "overlap")[0].unlink()
    assert check(store, paths) == []


def test_what_came_since_the_listing_is_not_wrong_in_the_catalogue(store: Store) -> None:
    paths = files(store)
    landscape.overlap("run@0", "run@2", store=store)
    Catalog(store.root).rows("results")
    assert check(store, paths) == []


def test_a_catalogue_that_lies_is_named(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    from landscape.data_store import index
    from landscape.data_store import snapshot as snapshots

    monkeypatch.setattr(index, "_RACY", -1.0)  # no folder counts as just changed
    path = layout.index(store.root)
    Catalog(store.root).rows("runs")
    db = snapshots.stored(path, root=store.root)
    assert db is not None
    with db:
        db.execute("UPDATE levels SET density = 0.5 WHERE level = 0 AND run = 'run'")
        db.execute("INSERT INTO files SELECT folder, 'runs/run/level_0009.h5', stamp, '' "
                   "FROM files WHERE path = 'runs/run/level_0002.h5'")  # fmt: skip
        db.execute("INSERT INTO levels SELECT 'runs/run/level_0009.h5', run, 9, density, status, "
                   "test_error, test_loss, early_stop_step FROM levels "
                   "WHERE path = 'runs/run/level_0002.h5'")  # fmt: skip
    snapshots.save(db, path, root=store.root)
    db.close()
    (finding,) = wrong(store).values()
    assert finding.path == path
    assert finding.problem == "is wrong about runs/run/level_0000.h5 and 1 other files"


def test_a_sealed_database_that_is_no_catalogue_is_named_or_made_again(store: Store) -> None:
    from landscape.data_store import index
    from landscape.data_store import snapshot as snapshots

    path = layout.index(store.root)
    db = snapshots.new("CREATE TABLE other (a TEXT);")  # an older version's
    snapshots.save(db, path, root=store.root)
    db.close()
    assert wrong(store) == {}
    db = snapshots.new(index.SCHEMA)
    with db:
        db.execute("INSERT INTO folders VALUES ('', ?)", (str(store.root.stat().st_ino),))
        db.execute("INSERT INTO folders VALUES ('runs/run', 'x')")
        db.execute("INSERT INTO runs (path, run) VALUES ('runs/run/run.json', 'run')")
    snapshots.save(db, path, root=store.root)
    db.close()
    (finding,) = wrong(store).values()
    assert finding.path == path
    assert "is no index of landscape" in finding.problem


def test_a_sealed_image_that_is_none_is_named(store: Store) -> None:
    path = layout.level_file(store.root, "run", 1)
    header = {"format": layout.LEVEL_FORMAT, "version": layout.LEVEL_VERSION, "spec": 3}
    path.write_bytes(seal(header, {"mask": np.zeros(1, np.uint8)}, compress=True))
    assert set(wrong(store)) == {"runs/run/level_0001.h5"}


def test_a_run_that_is_being_trained_is_never_wrong(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store")
    landscape.train(store=store, name="warm", **SETTINGS)

    def job(tell: Tell) -> None:
        landscape.trainer.RESUME_SECONDS = -1.0
        landscape.train(store=store, name="run", **SETTINGS)

    child = Child(job)
    looks = 0
    deadline = time.monotonic() + 60
    while not layout.level_file(store.root, "run", 2).exists() and time.monotonic() < deadline:
        assert wrong(store) == {}
        looks += 1
    child.wait().returned()
    assert looks > 1
    assert wrong(store) == {}


def test_a_branch_is_made_again_by_its_own_command(store: Store) -> None:
    landscape.branch("run@1", store=store, name="control", mask="permuted", levels=2)
    assert wrong(store) == {}
    path = layout.level_file(store.root, "control", 0)
    path.write_bytes(path.read_bytes()[:-1])
    [(name, found)] = wrong(store).items()
    assert name == "runs/control/level_0000.h5"
    assert found.remedy == "repeat 'landscape branch run@1 --name control …'"


def test_levels_of_which_weights_come_back_are_right(store: Store) -> None:
    free = SETTINGS | {"densities": "linear", "density": 0.3, "nested": False}
    run = landscape.train(store=store, name="free", criterion="random", **free)
    masks = [run.level(number).mask for number in run.levels]
    assert not masks[2].is_within(masks[1])
    assert wrong(store) == {}


@pytest.mark.parametrize("branch", ["run@1", {"mask": "dense"}, ["run@1"], None])
def test_a_manifest_whose_branch_is_none_is_named(store: Store, branch: object) -> None:
    rewritten(store, branch=branch)
    assert "runs/run/run.json" in wrong(store)
