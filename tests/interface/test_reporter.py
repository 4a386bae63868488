"""``landscape report``: one file of what is stored, the same for the same store."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from landscape.cli import run
from landscape.data_store.errors import UsageError
from landscape.data_store.store import Store, open_store
from landscape.inventory import taken
from landscape.reporter import made, report
from tests.support.pages import Document
from tests.support.reported import fill, keep

Call = Callable[..., tuple[int, str, str]]
PLOTLY = "/* plotly */"


@pytest.fixture(scope="module")
def store(small_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A copy of the small store with a result of every kind."""
    root = tmp_path_factory.mktemp("report") / "store"
    shutil.copytree(small_store.root, root)
    shutil.rmtree(root / "results", ignore_errors=True)
    fill(root)
    return Store(root)


@pytest.fixture(autouse=True)
def light(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages without the megabytes of plotly.js."""
    monkeypatch.setattr("landscape.figures.report.page.plotly_script", lambda: PLOTLY)


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], store: Store) -> Call:
    """Run the command: exit code, standard output, standard error."""

    def invoke(*arguments: object, root: Path | None = None) -> tuple[int, str, str]:
        capsys.readouterr()
        words = ["report", *map(str, arguments), "--store", str(root or store.root)]
        code = run(words)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return invoke


def test_every_section_is_there(call: Call, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    code, out, err = call("-o", path)
    assert (code, err) == (0, "")
    size = path.stat().st_size
    assert out.startswith(f"wrote {path}: 2 runs, 19 results, {size / 1e6:.1f} MB\n")
    assert "not all is stored of: Barriers" in out
    document = Document(path.read_bytes())
    sections = ["runs", "accuracy", "barriers", "sublevel", "claims", "volume", "overlap", "truth",
                "tickets", "others"]  # fmt: skip
    assert [name for name in document.ids if name in sections] == sections
    assert len(set(document.ids)) == len(document.ids)


def test_numbers_on_the_page_are_those_of_the_store(store: Store, tmp_path: Path) -> None:
    report(store, tmp_path / "r.html")
    blocks = Document((tmp_path / "r.html").read_bytes()).blocks
    table = blocks["barriers-1-numbers"]
    ds = store.results("barrier", points=5)
    at = table["columns"].index("loss_barrier[deviation]")
    for row in table["rows"]:
        one = ds.sel(pair=row[0], split=row[1], definition="deviation")
        assert row[at] == float(one["loss_barrier"])
    (trace,) = blocks["barriers-1-panels"][0]["data"]
    drawn = ds.sel(split="test", definition="lmc")
    want = drawn.isel(pair=np.argsort(-drawn["density_b"].values, kind="stable"))
    assert trace["y"] == (100 * want["error_barrier"]).values.tolist()
    assert trace["x"] == (100 * want["density_b"]).values.tolist()


def test_what_is_not_known_is_null_and_a_dash(store: Store, tmp_path: Path) -> None:
    report(store, tmp_path / "r.html")
    content = (tmp_path / "r.html").read_bytes()
    blocks = Document(content).blocks
    table = blocks["volume-1-numbers"]
    at = [table["columns"].index(name) for name in ("log_volume_per_dimension", "status")]
    row = next(row for row in table["rows"] if row[:2] == ["imp@2", "monte-carlo"])
    assert [row[i] for i in at] == [None, "cutoff below own loss"]
    trace = blocks["volume-1-panels"][0]["data"][0]
    assert trace["y"][-1] is None
    assert b"NaN" not in content


def test_the_same_store_gives_the_same_bytes(store: Store, tmp_path: Path) -> None:
    report(store, tmp_path / "a.html")
    copied = tmp_path / "elsewhere"
    shutil.copytree(store.root, copied)
    (copied / "index.sqlite").unlink(missing_ok=True)
    report(Store(copied), tmp_path / "b.html")
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_nothing_is_computed_or_changed(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a report computes nothing")

    monkeypatch.setattr("landscape.workbench.analyse", refuse)
    monkeypatch.setattr("landscape.data_store.results.save_result", refuse)
    before = {p: p.stat().st_mtime_ns for p in store.root.rglob("*") if p.is_file()}
    report(store, tmp_path / "r.html")
    after = {p: p.stat().st_mtime_ns for p in store.root.rglob("*") if p.is_file()}
    before.pop(store.root / "index.sqlite", None)
    after.pop(store.root / "index.sqlite", None)
    assert after == before


def test_runs_are_chosen_by_name_or_pattern(call: Call, tmp_path: Path) -> None:
    path = tmp_path / "r.html"
    code, out, _ = call("--run", "rand*", "-o", path, "--json")
    assert code == 0
    said = json.loads(out)
    assert (said["runs"], said["results"]) == (1, 0)
    assert said["bytes"] == path.stat().st_size
    assert "Barriers" in said["missing"]
    assert "imp" not in str(Document(path.read_bytes()).blocks["runs-1-numbers"]["rows"])


def test_quiet_prints_a_line(call: Call, tmp_path: Path) -> None:
    _, out, _ = call("-o", tmp_path / "r.html", "--quiet")
    assert len(out.splitlines()) == 1


def test_names_of_strangers_stay_text(store: Store, tmp_path: Path) -> None:
    root = tmp_path / "hostile"
    shutil.copytree(store.root, root)
    text = "</script><img src=x onerror=alert(1)>"
    keep(root, "barrier", ["imp@0", "imp@1"], task=text, model=f'"{text}', points=9)
    keep(root, "volume", [f"{text.replace(' ', '-')}.pt"], task=text, rays=9)
    report(Store(root), tmp_path / "r.html")
    document = Document((tmp_path / "r.html").read_bytes())
    assert "img" not in document.tags
    assert document.handlers == []
    assert len(document.scripts) == 2
    assert text in (tmp_path / "r.html").read_bytes().decode().replace("&lt;", "<").replace(
        "&gt;", ">"
    )


def test_an_empty_store_is_a_page_too(tmp_path: Path) -> None:
    empty = open_store(tmp_path / "empty")
    done = report(empty, tmp_path / "r.html")
    assert (done.runs, done.results) == (0, 0)
    document = Document((tmp_path / "r.html").read_bytes())
    assert "landscape train" in (tmp_path / "r.html").read_text()
    assert document.blocks == {}
    assert made(taken(empty, None)).title == "Landscape report: an empty store"


def test_a_damaged_result_is_left_out_and_named(store: Store, tmp_path: Path) -> None:
    root = tmp_path / "damaged"
    shutil.copytree(store.root, root)
    path = next((root / "results" / "volume").rglob("*.nc"))
    content = bytearray(path.read_bytes())
    content[200] ^= 1
    path.write_bytes(content)
    report(Store(root), tmp_path / "r.html")
    text = (tmp_path / "r.html").read_text()
    assert "Left out" in text
    assert path.name in text
    assert len(Document(text.encode()).blocks["volume-1-numbers"]["rows"]) == 4


def test_a_run_that_is_not_there(call: Call, store: Store, tmp_path: Path) -> None:
    code, out, err = call("--run", "nobody", "-o", tmp_path / "r.html")
    assert (code, out) == (2, "")
    assert "unknown run 'nobody'" in err
    with pytest.raises(UsageError, match="unknown run 'nobody'"):
        report(store, tmp_path / "r.html", ["nobody"])
    assert not (tmp_path / "r.html").exists()


def test_a_place_that_cannot_be_written(call: Call, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, out, err = call("-o", tmp_path / "file" / "r.html")
    assert code == 1
    assert out == ""
    assert len(err.strip().splitlines()) == 1


def test_without_plotly_nothing_is_read(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    code, out, err = call("-o", tmp_path / "r.html")
    assert (code, out) == (1, "")
    assert err == (
        "Error: a report needs plotly, which is not installed: pip install "
        "'landscape-workbench[report]'\n"
    )
    assert not (tmp_path / "r.html").exists()


@pytest.mark.slow
def test_hundreds_of_results_stay_a_page(store: Store, tmp_path: Path) -> None:
    root = tmp_path / "many"
    shutil.copytree(store.root, root)
    for i in range(150):
        keep(root, "volume", [f"gone-{i}@0"], rays=3)
    done = report(Store(root), tmp_path / "r.html")
    assert done.results == 169
    assert done.size < 2_000_000
    panel = Document((tmp_path / "r.html").read_bytes()).blocks["volume-2-panels"][0]
    assert "The first 24 of 150 lines are drawn." in panel["note"]
    assert len(panel["data"]) == 48
