"""``landscape figure``: the list, finding, computing, and the files it writes."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from landscape.cli import run
from landscape.data_store.store import Store, open_store
from landscape.figures.registry import FIGURES
from landscape.figures.style import WIDTHS

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def store(small_store: Store, tmp_path: Path) -> Store:
    """The small store without results, for one test."""
    shutil.copytree(small_store.root, tmp_path / "store")
    shutil.rmtree(tmp_path / "store" / "results", ignore_errors=True)
    return open_store(tmp_path / "store")


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], store: Store, tmp_path: Path) -> Call:
    """Run ``landscape figure``: exit code, standard output, standard error."""

    def invoke(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        words = [*map(str, arguments), "--store", str(store.root), "--out", str(tmp_path / "f")]
        code = run(["figure", *words])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return invoke


def files(out: str) -> dict[str, Path]:
    """What was written, by suffix."""
    return {Path(path).suffix: Path(path) for path in json.loads(out)["files"]}


def test_the_list_has_each_figure_with_its_data_and_the_command(call: Call) -> None:
    code, out, _ = call("--list")
    assert code == 0
    lines = out.splitlines()
    assert re.split("  +", lines[0]) == ["figure", "data", "made by", "what it shows"]
    assert [line.split()[0] for line in lines[1 : len(FIGURES) + 1]] == list(FIGURES)
    for words in (
        r"lth-accuracy +training +landscape train --name RUN +test accuracy against",
        r"barrier-levels +barrier +landscape barrier RUN +error and loss",
        r"barrier-matrix +barrier +landscape barrier RUN --pairs all +",
        r"planted-overlap +overlap +landscape overlap RUN --planted +",
        r"insights +insights +landscape insights RUN +the seven",
    ):
        assert re.search(f"^{words}", out, re.MULTILINE), words
    _, out, _ = call("--list", "--json")
    rows = {row["figure"]: row for row in json.loads(out)}
    assert list(rows) == list(FIGURES)
    assert rows["sublevel"]["command"] == "landscape sublevel RUN"
    assert rows["sublevel"]["reference"] == "Paul et al. 2023"


def test_what_is_missing_is_named_and_its_command_makes_the_figure_possible(
    call: Call, store: Store, tmp_path: Path
) -> None:
    code, out, err = call("overlap", "--run", "imp")
    assert (code, out) == (1, "")
    assert not (tmp_path / "f").exists()
    assert not list((store.root / "results").rglob("*.nc"))
    found = re.search(r"them with '(landscape overlap imp .*?)', or give --compute", err)
    assert found
    assert run(shlex.split(found[1])[1:]) == 0
    code, _, err = call("overlap", "--run", "imp")
    assert (code, err) == (0, "")


def test_compute_computes_what_is_missing(call: Call, store: Store, tmp_path: Path) -> None:
    code, out, err = call("overlap", "--run", "imp", "--compute")
    assert (code, err) == (0, "")
    folder = tmp_path / "f"
    assert out == "".join(f"wrote {folder}/overlap-imp.{s}\n" for s in ("pdf", "png", "txt"))
    assert len(list((store.root / "results" / "overlap").rglob("*.nc"))) == 2


def test_pdf_and_text_hold_the_ids_and_all_bytes_come_again(call: Call, tmp_path: Path) -> None:
    words = ("overlap", "--run", "imp", "--compute", "--format", "pdf,png,svg", "--json")
    code, out, err = call(*words)
    assert code == 0, err
    said = json.loads(out)
    assert len(said["results"]) == 2
    first = {suffix: path.read_bytes() for suffix, path in files(out).items()}
    assert set(first) == {".pdf", ".png", ".svg", ".txt"}
    for one in said["results"]:
        assert all(one.encode() in content for content in first.values()), one
    text = first[".txt"].decode()
    assert text == said["caption"]
    assert f"{tmp_path / 'store'}" in " ".join(text.split())
    command = text.split("Command: ")[1].split("Software:")[0]
    shutil.rmtree(tmp_path / "f")
    assert run(shlex.split(command)[1:]) == 0
    for suffix, content in first.items():
        again = (tmp_path / "f" / f"overlap-imp{suffix}").read_bytes()
        assert again == content, suffix


@pytest.mark.parametrize("width", list(WIDTHS))
def test_width_is_that_of_a_column_or_a_page(call: Call, width: str) -> None:
    _, out, _ = call("lth-accuracy", "--run", "imp", "--width", width, "--json")
    box = re.search(rb"/MediaBox \[\s*0 0 ([0-9.]+)", files(out)[".pdf"].read_bytes())
    assert box
    assert float(box[1]) == pytest.approx(72 * WIDTHS[width], abs=0.01)


def test_spread_is_that_which_was_asked_for(call: Call) -> None:
    words = ("lth-early-stop", "--run", "imp", "--run", "random", "--json")
    said = {}
    for spread in ("range", "std"):
        _, out, _ = call(*words, "--spread", spread)
        said[spread] = json.loads(out)["caption"]
    assert "least to the greatest" in " ".join(said["range"].split())
    assert "one sample standard deviation" in " ".join(said["std"].split())
    assert "--spread std" in said["std"]
    code, _, err = call("overlap", "--run", "imp", "--compute", "--spread", "std")
    assert code == 2
    assert "figure overlap draws no spread over replicates; leave --spread out" in err


def test_a_choice_of_settings_is_made_by_conditions(call: Call, store: Store) -> None:
    for points in (5, 7):
        words = ["barrier", "imp", "--points", str(points), "--store", str(store.root)]
        assert run(words) == 0
    code, _, err = call("barrier-levels", "--run", "imp")
    assert code == 2
    assert "points=5; points=7; choose one as in --where points=5" in err
    code, out, err = call("barrier-levels", "--run", "imp", "--where", "points=7", "--json")
    assert code == 0, err
    assert "points 7" in json.loads(out)["caption"]
    code, _, err = call("barrier-levels", "--run", "imp", "--where", "points=9", "--compute")
    assert code == 2
    assert "--where chooses among stored results and --compute makes new ones; give one" in err


def test_addresses_name_the_checkpoints_of_one_question(call: Call) -> None:
    code, out, err = call("overlap", "--run", "imp@0", "--run", "random@2", "--compute", "--json")
    assert code == 0, err
    assert files(out)[".pdf"].name == "overlap-imp@0-random@2.pdf"
    assert len(json.loads(out)["results"]) == 1


def test_a_level_behind_a_pattern_is_that_of_every_run(call: Call, store: Store) -> None:
    assert run(["overlap", "imp@last", "random@last", "--store", str(store.root)]) == 0
    code, out, err = call("overlap", "--run", "*@last", "--json")
    assert code == 0, err
    assert "Runs: imp, random\n" in json.loads(out)["caption"]
    assert files(out)[".pdf"].name == "overlap-all@last.pdf"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], r"no figure to draw; give its NAME or --list"),
        (["overlap"], r"no run to draw; give --run NAME"),
        (["overlop", "--run", "imp"], r"unknown figure 'overlop'; did you mean 'overlap'"),
        (["overlap", "--run", "x*"], r"no run is called like 'x\*'; there are imp, random"),
        (["overlap", "--run", "imp", "--width", "triple"], r"'triple' is not one of"),
        (["overlap", "--run", "imp", "--format", "gif", "--compute"], r"format 'gif'"),
    ],
)
def test_bad_input_is_one_sentence(call: Call, arguments: list[str], says: str) -> None:
    code, out, err = call(*arguments)
    assert (code, out) == (2, "")
    assert re.search(says, err), err
