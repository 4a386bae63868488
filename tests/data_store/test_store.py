"""Store and Run: opening, naming, looking up, and never losing what is finished."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

from landscape.data_store import layout
from landscape.data_store.atomic import TEMPORARY
from landscape.data_store.errors import LandscapeError, UsageError
from landscape.data_store.level_file import level_image, object_image
from landscape.data_store.mask import Mask
from landscape.data_store.params import ParamSpec
from landscape.data_store.records import TRACE_COLUMNS, Level, Point, RunConfig, Trace
from landscape.data_store.settings import to_json
from landscape.data_store.store import Run, Store, open_store
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
    assert record == {"format": "landscape-store", "version": [1, 0]}
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
    rest = store.root / f".store.json.{process.pid}.00ff{TEMPORARY}"
    rest.touch()
    open_store(store.root)
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
         "is of format version 2; this version reads up to 1: update landscape$"),
        ('{"format": "landscape-run", "version": [1, 0]}', "says 'landscape-run'; expected 'land"),
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
    layout.manifest(store.root).write_text('{"format": "landscape-store", "version": [1, 7]}')
    assert open_store(store.root) == store


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
    assert run.description == {
        "format": "landscape-run", "version": [1, 0], "name": "imp", **MANIFEST,
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
    run.save_point(digest, object_image(SPEC, point))
    run.save_point(digest, b"never written")
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
