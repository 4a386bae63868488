"""Store and Run: opening, naming, looking up, and never losing what is finished."""

import errno
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

from landscape.data_store import files as files_
from landscape.data_store import layout
from landscape.data_store.errors import DamagedFile, LandscapeError, UsageError
from landscape.data_store.level_file import level_image, object_image
from landscape.data_store.manifest import manifest_bytes
from landscape.data_store.mask import Mask
from landscape.data_store.params import ParamSpec
from landscape.data_store.records import TRACE_COLUMNS, Level, Point, RunConfig, Trace
from landscape.data_store.settings import to_json
from landscape.data_store.store import Run, Store, open_store
from tests.support import children
from tests.support.runs import SMALL

SPEC = ParamSpec(("w",), ((2, 3),))
MANIFEST = {"config": to_json(RunConfig(levels=2)), "provenance": {"created": "2026-01-01"}}


def image(number, theta=1.0):
    """The file of a small level."""
    points = {"final": Point(np.full(6, theta, np.float32))}
    trace = Trace(np.zeros((0, len(TRACE_COLUMNS))))
    return level_image(Level(number, Mask.dense(SPEC, ("w",)), points, trace, {}, {}))


@pytest.fixture
def store(tmp_path):
    """An empty store."""
    return open_store(tmp_path / "store")


@pytest.fixture
def copy(small_store, tmp_path):
    """A copy of the trained store, to be damaged."""
    shutil.copytree(small_store.root, tmp_path / "copy")
    return open_store(tmp_path / "copy")


def content(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_new_store_is_a_folder_with_a_manifest(tmp_path):
    store = open_store(tmp_path / "a" / "store")
    assert store == Store(tmp_path / "a" / "store")
    record = json.loads((tmp_path / "a" / "store" / "store.json").read_text())
    assert record.pop("id")
    assert len(bytes.fromhex(record.pop("sha256"))) == 32
    written_by = version("landscape-workbench")
    assert record == {"format": "landscape-store", "version": [1, 0], "written_by": written_by}
    assert list(store) == []
    assert [path.name for path in store.root.iterdir()] == ["store.json"]


def test_opening_again_changes_nothing(store):
    before = content(store.root)
    for create in (True, False):
        assert open_store(str(store.root), create=create) == store
    assert content(store.root) == before


def test_stores_differ_in_their_ids(tmp_path):
    ids = {
        json.loads((open_store(tmp_path / n).root / "store.json").read_text())["id"] for n in "ab"
    }
    assert len(ids) == 2


def test_the_home_folder_is_written_short(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert open_store("~/store").root == tmp_path / "store"


def test_opening_removes_what_a_killed_writer_left(store):
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    rest = store.root / f".store.json.{files_._host()}.{process.pid}.00ff00ff{files_.TEMPORARY}"
    for create in (True, False):
        rest.touch()
        open_store(store.root, create=create)
        assert not rest.exists()


@pytest.mark.parametrize("name", ["file", "file/store"])
def test_a_path_that_is_no_folder(tmp_path, name):
    (tmp_path / "file").write_text("text")
    match = r"^the store path .*file is a file; give a folder$"
    if "/" in name:
        match = r"^could not write .*store\.json: (Not a directory|File exists)"
    with pytest.raises(LandscapeError, match=match):
        open_store(tmp_path / name)
    assert (tmp_path / "file").read_text() == "text"


@pytest.mark.parametrize("create", [True, False])
@pytest.mark.parametrize("path", ["x" * 300, "~no-such-user-here/store"])
def test_a_path_that_cannot_be_looked_at(path, create):
    with pytest.raises(LandscapeError, match=f"^cannot open the store {path}: ") as caught:
        open_store(path, create=create)
    assert "None" not in str(caught.value)


def test_a_folder_of_other_things_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(
        LandscapeError,
        match=r"is a folder with other files and no store\.json; give an empty or new folder$",
    ):
        open_store(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_hidden_files_do_not_matter(tmp_path):
    (tmp_path / ".DS_Store").touch()
    assert list(open_store(tmp_path)) == []


def test_a_missing_store_is_not_made_unless_asked(tmp_path):
    match = r"^there is no store at .*none; train a run first, or give --store DIR$"
    with pytest.raises(LandscapeError, match=match):
        open_store(tmp_path / "none", create=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ('{"format": "landscape-store", "version": [2, 0]}',
         "is of format version 2 and this version reads up to 1: it needs a newer landscape; upd"),
        ('{"format": "landscape-run", "version": [1, 0]}', "says 'landscape-run'; expected 'land"),
        ('{"format": "landscape-store", "version": [1, 0], "id": "00"}',
         "store.json is damaged: its content does not match its SHA-256; restore it from a copy$"),
        ("", "store.json is damaged: it is no landscape-store manifest$"),
        ("{", "is damaged: it is no landscape-store manifest"),
        ("[]", "is damaged: it is no landscape-store manifest"),
        ("null", "is damaged: it is no landscape-store manifest"),
        ("{}", "is damaged: it is no landscape-store manifest"),
        ('{"format": "landscape-store"}', "is damaged: it is no landscape-store manifest"),
        ('{"format": "landscape-store", "version": []}', "is damaged: it is no landscape-store"),
        ('{"format": "landscape-store", "version": 1}', "is damaged: it is no landscape-store"),
        ('{"format": "landscape-store", "version": ["x"]}', "is damaged: it is no landscape-store"),
        ('{"format": "landscape-store", "version": [1e999]}', "is damaged: it is no landscape-sto"),
        ('{"format": "landscape-store", "vers', "is damaged: it is no landscape-store manifest"),
        ("\udcff", "is damaged: it is no landscape-store manifest"),
    ],
)  # fmt: skip
def test_a_manifest_that_is_not_ours(store, text, match):
    layout.manifest(store.root).write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(LandscapeError, match=match) as caught:
        open_store(store.root)
    assert str(store.root) in str(caught.value)


def test_a_newer_minor_version_is_read(store):
    newer = manifest_bytes(layout.STORE_FORMAT, (1, 7), {"id": "00", "more": [1]})
    layout.manifest(store.root).write_bytes(newer)
    assert open_store(store.root) == store


def test_a_newer_store_names_the_version_that_it_needs(store):
    newer = manifest_bytes(layout.STORE_FORMAT, (2, 0), {"id": "00", "written_by": "2.3"})
    layout.manifest(store.root).write_bytes(newer)
    message = r"store\.json is of format version 2 and .* up to 1: it needs landscape 2\.3; update"
    for create in (True, False):
        with pytest.raises(LandscapeError, match=message):
            open_store(store.root, create=create)


def test_a_newer_run_names_the_version_that_it_needs(store):
    run = store.create("imp", MANIFEST)
    newer = manifest_bytes(layout.RUN_FORMAT, (2, 0), {"name": "imp", "written_by": "2.3"})
    layout.run_manifest(store.root, "imp").write_bytes(newer)
    with pytest.raises(LandscapeError, match=r"imp/run\.json is of format .* landscape 2\.3; up"):
        run.config  # noqa: B018


def test_a_manifest_that_cannot_be_read(store):
    layout.manifest(store.root).unlink()
    layout.manifest(store.root).mkdir()
    with pytest.raises(LandscapeError, match=r"^cannot read .*store\.json: Is a directory$"):
        open_store(store.root)


def test_runs_are_listed_by_name(small_store):
    assert list(small_store) == ["imp", "random"]
    assert "imp" in small_store
    assert "im" not in small_store


def test_a_folder_without_a_manifest_is_no_run(store):
    layout.run_folder(store.root, "begun").mkdir(parents=True)
    (layout.runs(store.root) / "note.txt").touch()
    assert list(store) == []
    assert not Run(store.root, "begun").exists
    assert store.create("begun", MANIFEST).exists
    assert list(store) == ["begun"]


@pytest.mark.parametrize("prefix", ["imp", "im", "i"])
def test_a_run_by_its_beginning(small_store, prefix):
    assert small_store[prefix] == Run(small_store.root, "imp")
    assert small_store.checkpoint(f"{prefix}@1").address == "imp@1"


def test_a_whole_name_is_no_beginning(store):
    for name in ("imp", "imp-2", "imp.b"):
        store.create(name, MANIFEST)
    assert store["imp"].name == "imp"
    assert store["imp-"].name == "imp-2"
    assert store["imp"] == Run(store.root, "imp")
    with pytest.raises(UsageError, match=r"^run 'im' is ambiguous: imp, imp-2, imp\.b begin so$"):
        store["im"]


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda s: s["imq"], "^unknown run 'imq'; did you mean 'imp'. available: imp, random$"),
        (lambda s: s["zzz"], "^unknown run 'zzz'; available: imp, random$"),
        (lambda s: s["../imp"], "^'../imp' is no name for a run; use 1 to 64 of"),
        (lambda s: s.checkpoint("zzz@1"), "^unknown run 'zzz'"),
        (lambda s: s.checkpoint("imp"), "^'imp' names a whole run; add a level, as in imp@3$"),
        (lambda s: s.checkpoint("imp@7"), "^run 'imp' has no level 7; finished: 0 to 2$"),
        (lambda s: s["imp"][3], "^run 'imp' has no level 3; finished: 0 to 2$"),
        (lambda s: s["imp"].level("middle"), "^run 'imp' has no level middle; finished: 0 to 2$"),
        (lambda s: s["imp"][-1], "^'-1' in 'imp@-1.final' is no level"),
        (lambda s: s["imp"][1, "finl"], "^'finl' in 'imp@1.finl' is no part of a level; use final"),
    ],
)
def test_a_wrong_question_is_answered_by_a_sentence(small_store, ask, message):
    with pytest.raises(UsageError, match=message):
        ask(small_store)


@pytest.mark.parametrize("number", [0, "first", "last"])
def test_a_run_without_levels(store, number):
    run = store.create("new", MANIFEST)
    assert run.levels == []
    with pytest.raises(UsageError, match=f"^run 'new' has no level {number}; finished: none$"):
        run.level(number)


def test_a_gap_in_the_levels_is_said(copy):
    layout.level_file(copy.root, "imp", 1).unlink()
    assert copy["imp"].levels == [0, 2]
    assert copy["imp"]["last"].address == "imp@2"
    with pytest.raises(UsageError, match=r"^run 'imp' has no level 1; finished: 0, 2$"):
        copy["imp"][1]


@pytest.mark.parametrize(
    "name", ["level_0001 (copy).h5", "level_0001-old.h5", "level_1_0.h5", "level_0009.h5.bak",
             ".level_0009.h5.77.ab.tmp", "level_9.h5", "level_٩.h5"]
)  # fmt: skip
def test_files_that_are_no_levels_are_passed_over(copy, name):
    folder = layout.run_folder(copy.root, "imp")
    shutil.copy(folder / "level_0001.h5", folder / name)
    assert copy["imp"].levels == [0, 1, 2]
    assert copy.runs().set_index("run").levels["imp"] == 3


def test_the_manifest_of_a_run_is_kept(store):
    run = store.create("imp", MANIFEST)
    found = run.description
    assert len(bytes.fromhex(found.pop("sha256"))) == 32
    assert found == {
        "format": "landscape-run", "version": [1, 0], "name": "imp",
        "written_by": version("landscape-workbench"), **MANIFEST,
    }  # fmt: skip
    assert run.config == RunConfig(levels=2)
    assert run.exists


def test_a_run_knows_its_settings(small_store):
    assert small_store["imp"].config == RunConfig(**SMALL)
    assert small_store["random"].config == RunConfig(**{**SMALL, "criterion": "random"})


def test_a_name_is_taken_once(store):
    store.create("imp", MANIFEST)
    before = content(store.root)
    with pytest.raises(LandscapeError, match=r"^run 'imp' exists already in "):
        store.create("imp", {**MANIFEST, "other": 1})
    assert content(store.root) == before


@pytest.mark.parametrize("name", ["../out", "A", "", "a/b"])
def test_a_run_of_a_wrong_name_is_not_made(store, name):
    with pytest.raises(UsageError, match="is no name for a run"):
        store.create(name, MANIFEST)
    assert [path.name for path in store.root.iterdir()] == ["store.json"]
    assert not (store.root.parent / "out").exists()


def test_a_damaged_run_manifest_is_named(copy):
    layout.run_manifest(copy.root, "imp").write_text("{")
    with pytest.raises(
        LandscapeError, match=r"imp/run\.json is damaged: it is no landscape-run man"
    ):
        copy["imp"].description  # noqa: B018


def test_a_finished_level_is_never_replaced(store):
    run = store.create("imp", MANIFEST)
    run.save_level(0, image(0))
    path = layout.level_file(store.root, "imp", 0)
    stamp = path.stat().st_mtime_ns
    run.save_level(0, image(0))
    assert path.stat().st_mtime_ns == stamp
    with pytest.raises(
        LandscapeError,
        match=r"level_0000\.h5 holds another level 0 already; finished levels are never replaced$",
    ):
        run.save_level(0, image(0, theta=2.0))
    assert path.read_bytes() == image(0)
    assert run.levels == [0]


def test_levels_are_in_the_order_of_their_numbers(store):
    run = store.create("imp", MANIFEST)
    for number in (10, 9, 9998, 0):
        run.save_level(number, image(number))
    assert run.levels == [0, 9, 10, 9998]
    assert (run["first"].level, run["last"].level) == (0, 9998)


def test_a_point_is_kept_once(store):
    run = store.create("imp", MANIFEST)
    point = Point(np.arange(6, dtype=np.float32))
    digest = point.digest(SPEC)
    run.save_point(digest, SPEC, point)
    run.save_point(digest, SPEC, Point(point.theta + 1))  # there already
    path = layout.object_file(store.root, digest)
    assert path.parent.name == digest[:2]
    assert path.read_bytes() == object_image(SPEC, point)
    np.testing.assert_array_equal(run.point(digest).theta, point.theta)


def test_a_missing_point_is_named(copy, small_store):
    digest = small_store["imp"].level(0).origins["init"]
    layout.object_file(copy.root, digest).unlink()
    with pytest.raises(LandscapeError, match=rf"^cannot read .*{digest}\.h5: No such file"):
        copy["imp"][1, "ticket"]
    assert copy["imp"][1].level == 1


def test_a_damaged_level_costs_that_level_only(copy):
    path = layout.level_file(copy.root, "imp", 1)
    damaged = bytearray(path.read_bytes())
    damaged[-7] ^= 4
    path.write_bytes(damaged)
    for ask in ((1, "final"), (1, "ticket"), (2, "baseline")):
        with pytest.raises(LandscapeError, match=r"level_0001\.h5 is damaged"):
            copy["imp"][ask]
    assert [copy["imp"][level].level for level in (0, 2)] == [0, 2]


def test_runs_and_results_as_tables(small_store):
    runs = small_store.runs()
    assert list(runs.run) == ["imp", "random"]
    assert list(runs.levels) == [3, 3]
    assert list(runs.criterion) == ["magnitude", "random"]
    assert len(small_store.catalog()) == len(list(layout.results(small_store.root).rglob("*.nc")))


def test_training_is_the_curve_of_one_run(small_store):
    ds = small_store["imp"].training()
    assert list(ds.run.values) == ["imp"]
    assert list(ds.level.values) == [0, 1, 2]
    trace = small_store["imp"][1].trace
    np.testing.assert_array_equal(ds.test_loss.sel(run="imp", level=1), trace.column("test_loss"))


def test_results_of_an_empty_store(store):
    with pytest.raises(
        LandscapeError, match=r"^no stored barrier result matches no condition; see"
    ):
        store.results("barrier")


def test_importing_a_store_is_light():
    script = (
        "import sys; from landscape.data_store.store import open_store; "
        "print(*[m for m in ('torch', 'xarray', 'pandas', 'h5py', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []


def test_a_level_file_under_another_levels_name_is_refused(small_store, tmp_path):
    copy = tmp_path / "store"
    shutil.copytree(small_store.root, copy)
    run = copy / "runs" / "imp"
    (run / "level_0001.h5").write_bytes((run / "level_0000.h5").read_bytes())
    with pytest.raises(LandscapeError, match=r"level_0001\.h5 holds level 0, not 1; it was copied"):
        Store(copy)["imp"].level(1)


# A store that somebody mailed


def test_a_level_of_another_run_is_refused(small_store, copy):
    """Same number, same format, a right seal: only what it belongs to is another."""
    run = copy["imp"]
    level = small_store["imp"].level(1)
    path = layout.level_file(copy.root, "imp", 1)
    message = r"level_0001\.h5 is of another run, with another network, other initial weights or ot"
    sibling = layout.level_file(copy.root, "random", 1).read_bytes()  # of the same initial weights
    beginning = replace(level, origins={**level.origins, "init": "0" * 64})
    for foreign in (
        image(1),
        sibling,
        level_image(beginning),
        level_image(replace(level, run="x")),
    ):
        path.write_bytes(foreign)
        with pytest.raises(DamagedFile, match=message):
            run.level(1)
    path.write_bytes(level_image(level))
    assert run.level(1).number == 1


def test_runs_of_the_same_settings_are_one_and_others_are_not(store):
    whole = {**MANIFEST, "spec": SPEC.to_json(), "init": "00", "data": {"digest": "11"}}
    changes = {
        "same": {},
        "longer": {"config": {**MANIFEST["config"], "levels": 7}},
        "elsewhere": {"provenance": {"created": "2027-01-01"}},
        "seed": {"config": {**MANIFEST["config"], "seed": 1}},
        "network": {"spec": ParamSpec(("v",), ((2, 3),)).to_json()},
        "weights": {"init": "01"},
        "data": {"data": {"digest": "12"}},
        "imported": {"imported": {"sources": [], "levels": ["a"]}},
        "otherwise": {"imported": {"sources": [], "levels": ["b"]}},
        "branch": {"branch": {"parent": "same@1", "mask": "preserved"}},
        "control": {"branch": {"parent": "same@1", "mask": "permuted"}},
    }
    found = {name: store.create(name, {**whole, **more}).identity for name, more in changes.items()}
    one = {name for name, identity in found.items() if identity == found["same"]}
    assert one == {"same", "longer", "elsewhere"}
    assert len(set(found.values())) == len(found) - 2
    before = store["same"].identity
    store["same"].extend(9)
    assert store["same"].identity == before


@pytest.mark.parametrize(
    "origin", ["../../../outside", "/etc/passwd", "a" * 63, "", "A" * 64, "x\0"]
)
def test_origins_that_are_no_digests_reach_nothing(copy, small_store, tmp_path, origin):
    outside = tmp_path / "outside.h5"
    outside.write_bytes(b"precious")
    level = small_store["imp"].level(1)
    forged = replace(level, origins={**level.origins, "rewind": origin})
    layout.level_file(copy.root, "imp", 1).write_bytes(level_image(forged))
    for part in ("final", "rewind", "ticket"):
        with pytest.raises(DamagedFile, match=r"does not say by digests where its level began"):
            copy["imp"][1, part]
    message = (
        r"^run 'imp' starts from .*, which is no digest of a point: it was not written by land"
    )
    with pytest.raises(DamagedFile, match=message):
        copy["imp"].point(origin)
    assert outside.read_bytes() == b"precious"


def test_a_level_that_does_not_say_where_it_began(copy, small_store):
    forged = replace(
        small_store["imp"].level(1), origins={"init": small_store["imp"].description["init"]}
    )
    layout.level_file(copy.root, "imp", 1).write_bytes(level_image(forged))
    with pytest.raises(DamagedFile, match="does not say by digests where its level began"):
        copy["imp"].level(1)


def test_a_point_that_is_another_one_is_refused(copy, small_store):
    digest = small_store["imp"].level(0).origins["rewind"]
    other = Point(np.zeros(6, np.float32))
    layout.object_file(copy.root, digest).write_bytes(object_image(SPEC, other))
    message = rf"{digest}\.h5 holds the point {other.digest(SPEC)[:12]}, not the one it is named"
    for part in ("rewind", "ticket", "init"):
        with pytest.raises(DamagedFile, match=message):
            copy["imp"][1, part]


PLACES = ("runs", "runs/imp", "runs/imp/run.json", "runs/imp/level_0001.h5", "objects")


@pytest.mark.parametrize("place", [*PLACES, "store.json", "objects/ab", "objects/ab/file"])
def test_a_store_reaches_nothing_through_links(copy, small_store, tmp_path, place):
    """What was there is moved out and linked to, so that following the link would work."""
    digest = small_store["imp"].level(0).origins["rewind"]
    place = place.replace("ab", digest[:2]).replace("file", f"{digest}.h5")
    moved = tmp_path / "moved"
    (copy.root / place).rename(moved)
    (copy.root / place).symlink_to(moved)
    before = content(moved) if moved.is_dir() else moved.read_bytes()

    def look():
        store = open_store(copy.root, create=False)
        run = Run(store.root, "imp")
        return run.description, run[1, "ticket"]

    with pytest.raises(LandscapeError, match=rf"{copy.root}/{place} is a symbolic link; a store"):
        look()
    assert (content(moved) if moved.is_dir() else moved.read_bytes()) == before


@pytest.mark.parametrize("place", ["runs", "runs/new", "objects", "objects/ab"])
def test_nothing_is_written_through_links(store, tmp_path, place):
    outside = tmp_path / "outside"
    outside.mkdir()
    link = store.root / place
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(outside)
    run = Run(store.root, "new")
    writes = [
        lambda: store.create("new", MANIFEST),
        lambda: run.save_level(0, image(0)),
        lambda: run.extend(5),
    ]
    if place.startswith("objects"):
        point = Point(np.zeros(6, np.float32))
        writes = [lambda: run.save_point("ab" * 32, SPEC, point)]
    for write in writes:
        with pytest.raises(LandscapeError, match="is a symbolic link"):
            write()
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir])
@pytest.mark.parametrize("place", PLACES[2:4])
def test_a_pipe_in_the_place_of_a_file_is_no_hang(copy, make, place):
    (copy.root / place).unlink()
    make(copy.root / place)

    def job(tell):
        with pytest.raises(LandscapeError, match=r"is no plain file|Is a directory"):
            copy.checkpoint("imp@1") if "level" in place else Run(copy.root, "imp").description
        return copy["random"][1].level

    assert children.run(job).returned() == 1


@pytest.mark.parametrize("name", ["IMP", "imp copy", "imp\n", ".imp", "-imp", "x" * 65, "ü"])
def test_a_folder_that_no_run_may_be_called_is_passed_over(copy, name):
    shutil.copytree(layout.run_folder(copy.root, "imp"), layout.runs(copy.root) / name)
    assert list(copy) == ["imp", "random"]


@pytest.mark.parametrize("create", [True, False])
def test_a_nul_in_the_path_of_a_store(tmp_path, create):
    with pytest.raises(LandscapeError, match=r"embedded null|there is no store at"):
        open_store(f"{tmp_path}/a\0b", create=create)


# How large a file may be


def test_the_limit_is_passed_down_to_every_read(small_store, monkeypatch):
    """With a limit just below each file's size that file, and no smaller one, is refused."""
    root = small_store.root
    digest = small_store["imp"].level(0).origins["rewind"]
    size = layout.level_file(root, "imp", 1).stat().st_size
    asks = {
        "level": (lambda s: s["imp"].level(1), size),
        "checkpoint": (lambda s: s.checkpoint("imp@1"), size),
        "mask": (lambda s: s["imp"][1, "mask"], size),
        "point": (
            lambda s: s["imp"].point(digest),
            layout.object_file(root, digest).stat().st_size,
        ),
        "training": (
            lambda s: s["imp"].training(),
            max(layout.level_file(root, "imp", n).stat().st_size for n in range(3)),
        ),
    }
    for ask, largest in asks.values():
        with pytest.raises(
            LandscapeError, match=rf"more than {largest - 1} is refused unless --max"
        ):
            ask(open_store(root, size_limit=largest - 1))
        ask(open_store(root, size_limit=2**20))
    assert open_store(root).size_limit == 2**32
    assert open_store(root, size_limit=7)["imp"].size_limit == 7
    assert open_store(root, size_limit=7).create("limited", MANIFEST).size_limit == 7
    shutil.rmtree(layout.run_folder(root, "limited"))


def test_a_level_that_is_there_is_compared_under_the_limit(store):
    run = store.create("imp", MANIFEST)
    run.save_level(0, image(0))
    size = layout.level_file(store.root, "imp", 0).stat().st_size
    with pytest.raises(LandscapeError, match=f"more than {size - 1} is refused"):
        Run(store.root, "imp", size - 1).save_level(0, image(0))


# Levels that follow each other


@pytest.mark.parametrize(
    ("numbers", "missing"),
    [([1], "0"), ([0, 2], "1"), ([1, 3], "0, 2"), ([0, 1, 4], "2, 3"), ([2], "0, 1")],
)
def test_a_study_with_a_gap_is_refused_by_name(store, numbers, missing):
    run = store.create("imp", MANIFEST)
    for number in numbers:
        run.save_level(number, image(number))
    message = (
        f"^run 'imp' lacks level {missing} of 0 to {numbers[-1]}: repeat the command that made it, "
        "or name the levels you mean$"
    )
    with pytest.raises(LandscapeError, match=message):
        run.unbroken_levels  # noqa: B018
    assert run.levels == numbers


@pytest.mark.parametrize("count", [0, 1, 4])
def test_levels_without_a_gap(store, count):
    run = store.create("imp", MANIFEST)
    for number in range(count):
        run.save_level(number, image(number))
    assert run.unbroken_levels == run.levels == list(range(count))


# More levels of a run


def test_a_run_is_extended_and_nothing_else_is_changed(store):
    run = store.create("imp", {**MANIFEST, "init": "00", "data": {"examples": {"train": 3}}})
    before = run.description
    run.extend(5)
    after = run.description
    assert after.pop("config") == {**before.pop("config"), "levels": 5}
    assert after.pop("sha256") != before.pop("sha256")
    assert list(after.items()) == list(before.items())
    assert run.config.levels == 5


@pytest.mark.parametrize("levels", [0, 1, 2])
def test_a_run_is_never_shortened(store, levels):
    run = store.create("imp", MANIFEST)
    path = layout.run_manifest(store.root, "imp")
    before = path.stat().st_mtime_ns, path.read_bytes()
    run.extend(levels)
    assert (path.stat().st_mtime_ns, path.read_bytes()) == before


def test_a_full_disk_leaves_the_manifest_as_it_was(store, monkeypatch):
    run = store.create("imp", MANIFEST)
    before = run.description

    def refuse(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse)
        with pytest.raises(LandscapeError, match=r"could not write .*run\.json: No space left on"):
            run.extend(9)
    assert run.description == before


# Runs that were imported

IMPORTED = {
    "config": {"task": "digits", "model": "lenet-300-100", "levels": 2},
    "imported": {"sources": [{"name": "a.pt", "sha256": "0" * 64}]},
}


def test_how_an_imported_run_was_trained_is_unknown(store):
    run = store.create("theirs", IMPORTED)
    assert run.is_imported
    message = (
        "^run 'theirs' was imported: how it was trained is unknown; train a run of its task and "
        "model under another --name$"
    )
    with pytest.raises(LandscapeError, match=message):
        run.config  # noqa: B018
    assert run.description["config"]["task"] == "digits"


def test_a_trained_run_is_not_imported(small_store):
    assert not small_store["imp"].is_imported


def test_an_imported_level_may_not_know_where_it_began(store):
    run = store.create("theirs", IMPORTED)
    run.save_level(0, image(0))
    assert run[0].level == 0
    for part in ("init", "rewind"):
        with pytest.raises(
            UsageError, match=f"^theirs@0 was imported and its {part} is unknown; of"
        ):
            run[0, part]
    with pytest.raises(UsageError, match=r"^theirs@0 was imported and its ticket is unknown"):
        run[0, "ticket"]


# Two writers


def test_of_two_that_make_a_store_at_once_both_have_it(tmp_path):
    def job(tell):
        return json.loads(layout.manifest(open_store(tmp_path / "store").root).read_text())["id"]

    ids = [ended.returned() for ended in children.together(*[job] * 4)]
    assert len(set(ids)) == 1


def test_of_two_that_make_a_run_at_once_one_does(store):
    def job(tell):
        try:
            store.create("imp", {**MANIFEST, "by": os.getpid()})
        except LandscapeError as error:
            return str(error)
        return os.getpid()

    said = [ended.returned() for ended in children.together(*[job] * 4)]
    made = [who for who in said if isinstance(who, int)]
    assert [store["imp"].description["by"]] == made
    assert sum("run 'imp' exists already" in str(sentence) for sentence in said) == 3


@pytest.mark.parametrize("entry", ["config", "spec", "data", "provenance", "imported"])
@pytest.mark.parametrize("value", [None, 3, "text", ["list"]])
def test_a_manifest_of_odd_entries_is_refused(store, entry, value):
    run = store.create("imp", {**MANIFEST, entry: value})
    message = rf"imp/run\.json says .* of its {entry}; it was not written by landscape$"
    with pytest.raises(DamagedFile, match=message):
        run.description  # noqa: B018


def test_a_manifest_without_data_knows_no_digest(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store")
    bare = store.create("bare", {"config": {}})
    stated = store.create("stated", {"config": {}, "data": {"digest": "ab"}})
    assert (bare.data_digest, stated.data_digest) == ("", "ab")
