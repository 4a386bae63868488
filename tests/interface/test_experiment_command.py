"""``landscape train`` of several runs: replicates, experiment files, and what does not fit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import landscape
from landscape.cli import run
from landscape.data_store.store import Store
from tests.support.sweeps import TINY


def words(store: Path, *more: str) -> list[str]:
    """The options of a tiny run."""
    options = [f"--{key.replace('_', '-')}={value}" for key, value in TINY.items()]
    return ["train", *options, "--store", str(store), "--quiet", *more]


def test_replicates_differ_by_their_seed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words(tmp_path / "s", "--name", "r", "--replicates", "2", "--seed", "3")) == 0
    store = landscape.open(tmp_path / "s")
    assert [(n, store[n].config.seed) for n in ("r-s3", "r-s4")] == [("r-s3", 3), ("r-s4", 4)]
    assert store["r-s3"][1].digest != store["r-s4"][1].digest
    out = capsys.readouterr().out
    assert "r-s3" in out
    assert "Next: " in out
    assert run(words(tmp_path / "one", "--name", "x", "--seed", "4")) == 0
    assert landscape.open(tmp_path / "one")["x"][1].digest == store["r-s4"][1].digest


def test_a_failed_replicate_is_named_and_the_command_exits_with_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words(tmp_path / "s", "--name", "r-s1", "--seed", "9")) == 0
    capsys.readouterr()
    assert run(words(tmp_path / "s", "--name", "r", "--replicates", "3", "--json")) == 1
    printed = capsys.readouterr()
    assert "run 'r-s1' failed: run 'r-s1' exists with seed = 9, not 1" in printed.err
    rows = json.loads(printed.out)["runs"]
    assert [bool(row["failed"]) for row in rows] == [False, True, False]
    assert landscape.open(tmp_path / "s")["r-s2"].levels == [0, 1]


def test_a_dry_run_prints_the_runs_and_makes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words(tmp_path / "s", "--name", "r", "--replicates", "2", "--dry-run")) == 0
    out = capsys.readouterr().out
    assert out.startswith("2 runs, 4 levels, 80 iterations")
    assert "r-s1" in out
    assert not (tmp_path / "s").exists()
    more = ("--name", "r", "--replicates", "2", "--dry-run", "--json")
    assert run(words(tmp_path / "s", *more)) == 0
    planned = json.loads(capsys.readouterr().out)
    assert [entry["config"]["seed"] for entry in planned] == [0, 1]


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (("--name", "r", "--quick"), "--quick is a size of an experiment file"),
        ((), "Missing option '--name'; or give an experiment, FILE.toml"),
        (("no.toml",), "there is no experiment file no.toml"),
    ],
)
def test_options_that_do_not_fit(
    more: tuple[str, ...], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words(tmp_path / "s", *more)) == 2
    assert sentence in capsys.readouterr().err


def test_a_file_with_options_over_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.toml"
    path.write_text(
        'name = "f"\n[train]\ntask = "digits"\nmodel = "mlp:64-20-10"\nlevels = 2\n'
        'iterations = 5000\n[[branch]]\nname = "b"\nat = 1\nretrain = "finetune"\n'
    )
    store = str(tmp_path / "s")
    more = ["--iterations", "30", "--eval-every", "30", "--store", store, "--quiet"]
    assert run(["train", str(path), *more]) == 0
    assert landscape.open(store)["f-b"].config.iterations == 30
    capsys.readouterr()
    assert run(["train", str(path), *more, "--no-resume"]) == 2
    assert "run 'f' exists and --no-resume was given" in capsys.readouterr().err
    assert run(["train", str(path), *more, "--levels", "1"]) == 2
    assert f"{path}: branch 'b' begins at level 1, but f has levels 0 to 0" in (
        capsys.readouterr().err
    )


def test_a_file_of_branches_takes_no_settings_of_a_run(
    tmp_path: Path, small_store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.toml"
    path.write_text('[[branch]]\nname = "b"\nof = "imp"\nat = 1\n')
    assert run(["train", str(path), "--lr", "1", "--store", str(small_store.root)]) == 2
    assert "has branches only, of runs that are stored" in capsys.readouterr().err


def test_a_file_with_analyses_says_what_asks_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.toml"
    text = (
        'name = "x"\n[train]\ntask = "digits"\nmodel = "mlp:64-20-10"\nlevels = 2\niterations = 5\n'
    )
    path.write_text(text + "[quick]\niterations = 2\n")
    words = ["train", str(path), "--quick", "--store", str(tmp_path / "s"), "--quiet"]
    assert run(words) == 0
    assert "Its analyses" not in capsys.readouterr().out
    path.write_text(path.read_text() + '[[analysis]]\nkind = "overlap"\n')
    assert run(words) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[-1] == f"Its analyses are asked by: landscape sweep {path} --quick"
    assert run([*words, "--json"]) == 0
    assert "Its analyses" not in capsys.readouterr().out
