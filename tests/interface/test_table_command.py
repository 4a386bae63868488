"""``landscape table``: from the store, computed if allowed, to files and to a terminal."""

from __future__ import annotations

import csv
import io
import json
import shutil
import sys

import pytest

import landscape
from landscape.cli import run
from landscape.data_store.curves import training


@pytest.fixture(scope="module")
def store(tmp_path_factory, small_store):
    """A copy of the small store that results may be added to."""
    root = tmp_path_factory.mktemp("table") / "store"
    shutil.copytree(small_store.root, root)
    shutil.rmtree(root / "results", ignore_errors=True)  # those of other tests
    (root / "index.sqlite").unlink(missing_ok=True)
    return landscape.open(root)


@pytest.fixture
def call(store, capsys):
    """Code, output and errors of ``landscape table``."""

    def called(*arguments):
        code = run(["table", *map(str, arguments), "--store", str(store.root), "--quiet"])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return called


def test_training_is_printed_as_the_python_function_gives_it(call, store):
    ds = training([store["imp"], store["random"]])
    for form in ("text", "markdown", "latex", "csv"):
        code, out, err = call("lth-accuracy", "--run", "imp", "--run", "ran*", "--format", form)
        assert (code, err) == (0, "")
        expected = landscape.table("training", ds, form)
        assert out == expected + ("" if expected.endswith("\n") else "\n")


def test_a_file_has_the_format_of_its_ending(call, tmp_path):
    begins = {".csv": "strategy,", ".tex": "% needs", ".md": "Training of imp\n", ".txt": "Train"}
    for ending, first in begins.items():
        place = tmp_path / "new" / f"table{ending}"
        assert call("training", "--run", "imp", "--out", place) == (0, f"wrote {place}\n", "")
        content = place.read_bytes().decode()
        assert content.startswith(first)
        assert content.endswith("\n")
    _, out, _ = call("training", "--run", "imp", "--out", place, "--format", "csv", "--json")
    assert json.loads(out) == {"file": str(place)}
    assert b"\r\n" in place.read_bytes()
    assert b"\r\r" not in place.read_bytes()


def test_what_the_store_lacks_is_named_with_the_command_and_nothing_is_computed(
    call, store, monkeypatch
):
    monkeypatch.setattr("landscape.figure_data.analyse", None)
    code, out, err = call("barrier", "--run", "random")
    assert (code, out) == (1, "")
    assert err.count("\n") == 1
    assert f"'landscape barrier random --store {store.root}', or give --compute" in err
    assert not (store.root / "results" / "barrier").exists()
    code, _, err = call("insights", "--run", "imp")
    assert code == 1
    assert "landscape insights imp" in err


def test_computed_once_it_is_there(call, monkeypatch):
    code, out, err = call("overlap", "--run", "imp", "--compute", "--format", "csv")
    assert (code, err) == (0, "")
    head, *rows = csv.reader(io.StringIO(out, newline=""))
    assert {row[head.index("pair")] for row in rows} == {"imp@0 imp@1", "imp@1 imp@2"}
    assert {row[head.index("layer")] for row in rows} == {"all", "fc1.weight", "fc2.weight"}
    monkeypatch.setattr("landscape.figure_data.analyse", None)
    assert call("overlap", "--run", "imp", "--format", "csv") == (0, out, "")
    _, text, _ = call("overlap", "--run", "imp")
    assert "imp@1 imp@2" in text


def test_json_has_every_number_and_the_results_it_is_of(call, store):
    assert call("overlap", "--run", "imp", "--compute")[0] == 0
    code, out, _ = call("overlap", "--run", "imp", "--json")
    assert code == 0
    said = json.loads(out)
    ds = landscape.overlap("imp", store=store)
    assert [row["jaccard"] for row in said["rows"]] == ds["jaccard"].values.ravel().tolist()
    assert len(said["results"]) == 2
    assert set(said) == {"name", "caption", "columns", "rows", "notes", "results"}
    _, out, _ = call("training", "--run", "imp", "--json", "--spread", "range")
    assert {"test_accuracy", "test_accuracy_min", "test_accuracy_max"} <= set(
        json.loads(out)["rows"][0]
    )


def test_a_terminal_gets_a_table_that_fits(call, monkeypatch, capsys):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(shutil, "get_terminal_size", lambda: shutil.os.terminal_size((70, 24)))
    code, out, _ = call("training", "--run", "imp")
    assert code == 0
    assert "Training of imp" in out
    assert max(map(len, out.splitlines())) <= 70 + len("\x1b[1m\x1b[0m")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["trainig", "--run", "imp"], "unknown table 'trainig'; did you mean 'training'"),
        (["plane", "--run", "imp"], "figure 'plane' draws surface, of which there is no table"),
        (["training", "--run", "x*"], "no run is called like 'x*'"),
        (["training", "--run", "imp", "--format", "html"], "unknown format of a table 'html'"),
        (["training", "--run", "imp", "--spread", "iqr"], "unknown spread 'iqr'"),
        (["training"], "Missing option '--run'"),
        (
            ["overlap", "--run", "imp", "--compute", "--where", "level=1"],
            "--where chooses among stored results and --compute makes new ones; give one of them",
        ),
    ],
)
def test_what_is_wrong_is_one_sentence(call, arguments, sentence):
    code, out, err = call(*arguments)
    assert (code, out) == (2, "")
    assert sentence in err
    assert err.count("\n") == 1
