"""``landscape verify``: what it prints, what it exits with, and that it changes nothing."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import landscape
from landscape.cli import run
from landscape.data_store import layout
from landscape.data_store.lock import holding
from landscape.data_store.store import Run, Store, open_store
from tests.support.trained import SETTINGS

Call = Callable[..., tuple[int, str, str]]

pytestmark = pytest.mark.filterwarnings("default")  # the command line prints them


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store with a run, results and a catalogue."""
    store = open_store(tmp_path_factory.mktemp("verify") / "store")
    landscape.train(store=store, name="run", **SETTINGS)
    landscape.barrier("run", store=store, points=3)
    store.runs()
    return store


@pytest.fixture
def store(made: Store, tmp_path: Path) -> Store:
    """A copy that a test may change."""
    return Store(Path(shutil.copytree(made.root, tmp_path / "copy")))


@pytest.fixture
def verify(store: Store, capsys: pytest.CaptureFixture[str]) -> Call:
    """Run ``landscape verify``: exit code, standard output, standard error."""

    def invoke(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = run(["verify", "--store", str(store.root), *map(str, arguments)])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return invoke


def snapshot(root: Path) -> dict[str, tuple[int, int, bytes]]:
    """Times of change and content of everything in a folder."""
    return {
        str(path): (
            path.lstat().st_mtime_ns,
            path.lstat().st_ctime_ns,
            path.read_bytes() if path.is_file() else b"",
        )
        for path in [root, *root.rglob("*")]
    }


def harm(store: Store) -> dict[str, Path]:
    """Do to a store what may be done to one."""
    paths = {
        "cut": layout.level_file(store.root, "run", 1),
        "foreign": store.root / "notes.txt",
        "result": next(layout.results(store.root).rglob("*.nc")),
    }
    for path in (paths["cut"], paths["result"]):
        path.write_bytes(path.read_bytes()[:-1])
    paths["foreign"].write_text("mine")
    return paths


def test_a_store_where_all_is_right(store: Store, verify: Call) -> None:
    count = sum(path.is_file() for path in store.root.rglob("*"))
    assert verify() == (0, f"checked {count} files: nothing wrong\n", "")
    code, out, err = verify("--json")
    assert (code, err) == (0, "")
    assert json.loads(out) == {"files": count, "wrong": 0, "findings": []}


def test_what_is_wrong_has_a_line_each_and_nothing_is_changed(store: Store, verify: Call) -> None:
    paths = harm(store)
    layout.index(store.root).unlink()  # asking the catalogue would make it again
    before = snapshot(store.root)
    code, out, err = verify()
    assert (code, err) == (1, "")
    *lines, last = out.splitlines()
    assert last.endswith("files: 3 wrong")
    assert len(lines) == 3
    assert [line.split()[0] for line in lines] == sorted(map(str, paths.values()))
    assert f"{paths['cut']} is damaged: its content does not match its SHA-256; " in out
    assert "repeat 'landscape train --name run …'" in out
    assert "repeat the analysis 'landscape barrier …'" in out
    assert verify("--json", "--quiet")[0] == 1
    assert snapshot(store.root) == before


def test_json_says_the_same(store: Store, verify: Call) -> None:
    paths = harm(store)
    code, out, _ = verify("--json")
    told = json.loads(out)
    assert (code, told["wrong"]) == (1, 3)
    assert {row["path"] for row in told["findings"]} == {str(path) for path in paths.values()}
    assert all(row["wrong"] and row["done"] is None for row in told["findings"])
    assert all(row["problem"] and row["remedy"] for row in told["findings"])


def test_repair_moves_aside_and_the_commands_make_it_again(store: Store, verify: Call) -> None:
    before = {path: path.read_bytes() for path in layout.run_folder(store.root, "run").glob("*.h5")}
    answer = landscape.barrier("run", store=store, points=3)
    paths = harm(store)
    code, out, _ = verify("--repair")
    assert code == 1
    for path in paths.values():
        place = store.root / "damaged" / path.relative_to(store.root)
        assert place.exists()
        assert f"moved to {place}; " in out
        assert not path.exists()
    code, out, _ = verify()
    assert code == 1
    assert out.splitlines()[0].startswith(f"{paths['cut']} is missing; repeat 'landscape train")
    landscape.train(store=store, name="run", **SETTINGS)
    assert {path: path.read_bytes() for path in before} == before
    assert verify()[0] == 0
    assert landscape.barrier("run", store=store, points=3).equals(answer)


def test_repair_of_what_is_only_left_over_exits_with_zero(store: Store, verify: Call) -> None:
    left = layout.run_folder(store.root, "run") / ".run.json.00000000.1.0123abcd.tmp"
    left.touch()
    os.utime(left, (0, 0))
    code, out, _ = verify()
    assert code == 0
    assert f"{left} is what a killed process left unfinished; " in out
    assert out.endswith("nothing wrong\n")
    assert left.exists()
    assert verify("--repair")[0] == 0
    assert not left.exists()
    code, out, _ = verify()
    assert (code, out.count("\n")) == (0, 1)


def test_a_run_that_is_being_written_is_not_repaired(store: Store, verify: Call) -> None:
    paths = harm(store)
    with holding(Run(store.root, "run")):
        code, out, _ = verify("--repair")
    assert code == 1
    assert f"left as it is: run 'run' is being written by process {os.getpid()}" in out
    assert paths["cut"].exists()
    assert not paths["result"].exists()


@pytest.mark.parametrize("content", [None, "", "{}", '{"format": "landscape-run"}'])
def test_a_store_whose_own_manifest_is_gone_or_damaged_is_still_verified(
    store: Store, verify: Call, content: str | None
) -> None:
    path = layout.manifest(store.root)
    if content is None:
        path.unlink()
    else:
        path.write_text(content)
    code, out, _ = verify()
    assert code == 1
    assert out.splitlines()[0].startswith(str(path))
    assert "files: 1 wrong" in out
    assert verify("--repair")[0] == 1
    assert verify()[0] == 0


def test_where_there_is_no_store_that_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["verify", "--store", str(tmp_path / "nowhere")]) == 1
    assert "there is no store at" in capsys.readouterr().err
    assert not (tmp_path / "nowhere").exists()


def test_names_of_files_do_not_steer_the_terminal(store: Store, verify: Call) -> None:
    (store.root / "a\x1b[31m\nb").touch()
    (store.root / os.fsdecode(b"c\xff")).touch()
    code, out, _ = verify()
    assert code == 1
    assert len(out.splitlines()) == 3
    assert "\\x1b[31m\\nb is no file of a store" in out
    assert "c\\udcff is no file of a store" in out
    assert verify("--json")[0] == 1


def test_the_largest_file_is_an_option(store: Store, verify: Call) -> None:
    code, out, _ = verify("--max-size", "2kB")
    assert code == 1
    assert "more than 2000 is refused unless --max-size allows it" in out


def test_progress_is_shown_on_a_terminal_only_and_not_when_quiet(
    store: Store, verify: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich: a terminal
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    assert "verifying" in verify()[2]
    assert verify("--quiet")[2] == ""
