"""``landscape sweep``: what it prints, stores and refuses, and what it exits with."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import landscape
from landscape.cli import run
from landscape.commands import sweep_tables
from landscape.forecast import Forecast

FILE = """
name = "a"
replicates = 2
[train]
task = "digits"
model = "mlp:64-20-10"
levels = 2
iterations = 20
eval_every = 20
[quick]
iterations = 10
[grid]
criterion = ["random", "magnitude"]
lr = [0.1, LR]
quick = { criterion = ["random"] }
[[analysis]]
kind = "overlap"
"""
SEEK = """
name = "seek"
[[plant]]
name = "circle"
target = "circle"
depth = 3
width = 20
max_examples = 100
[train]
max_examples = 100
iterations = 20
eval_every = 20
[grid]
densities = ["singleshot"]
density = ["planted", 0.5]
criterion = ["magnitude"]
[[analysis]]
kind = "tickets"
"""

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Call:
    """Sweep a file of this text in this process, unless said: exit code, output, errors."""

    def invoke(text: str, *options: str) -> tuple[int, str, str]:
        path = tmp_path / "x.toml"
        path.write_text(text)
        capsys.readouterr()
        here = [] if {"--jobs", "--scheduler"} & {*options} else ["--jobs", "1"]
        code = run(["sweep", str(path), "--store", str(tmp_path / "s"), *here, *options])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return invoke


def good(lr: str = "0.2") -> str:
    """The file with this second learning rate."""
    return FILE.replace("LR", lr)


def test_a_dry_run_prints_the_plan_and_makes_nothing(call: Call, tmp_path: Path) -> None:
    code, out, err = call(good(), "--dry-run")
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == "8 runs (0 done), 8 answers (0 done); 16 levels, 320 iterations"
    assert len(out.splitlines()) == 11
    assert out.splitlines()[1].split()[-1] == "answers"
    assert out.splitlines()[2].endswith("0 of 1")
    assert re.search(
        r"not known.* 8 of the steps |of 8 steps it is not known", out.splitlines()[10]
    )
    assert "a-s1-magnitude-lr0.2" in out
    assert not (tmp_path / "s").exists()
    code, out, _ = call(good(), "--dry-run", "--quick", "--json")
    plan = json.loads(out)
    assert [entry["run"] for entry in plan["runs"]] == [
        f"a-quick-s{seed}-random-lr{lr}" for seed in (0, 1) for lr in (0.1, 0.2)
    ]
    assert {entry["done"] for entry in plan["runs"]} == {False}
    assert plan["seconds"]["known"] > 0
    assert (plan["seconds"]["jobs"], plan["seconds"]["unknown_steps"]) == (1, 4)
    assert plan["answers"][0] == {
        "name": "a-quick-s0-random-lr0.1 overlap",
        "points": ["a-quick-s0-random-lr0.1"],
        "done": False,
    }


@pytest.mark.parametrize(
    ("ahead", "jobs", "sentence"),
    [
        (Forecast(0, 0, 0), 2, "There is nothing left to do."),
        (Forecast(0.5, 0.5, 0), 2, "It will take less than a second, 2 steps at a time."),
        (Forecast(600, 60, 0), 2, "It will take about 5 min, 2 steps at a time."),
        (
            Forecast(600, 60, 8),
            1,
            "It will take more than 10 min, 1 step at a time: of 8 steps it is not known, since "
            "none like them was done yet.",
        ),
        (
            Forecast(0.5, 0.5, 8),
            2,
            "How long it will take is not known: none like 8 of the steps was done yet, and the "
            "others take less than a second.",
        ),
    ],
)
def test_how_long_it_will_take(ahead: Forecast, jobs: int, sentence: str) -> None:
    assert sweep_tables._time(ahead, jobs) == sentence


def test_a_sweep_prints_its_progress_its_tables_and_where_things_are(
    call: Call, tmp_path: Path
) -> None:
    code, out, err = call(good())
    assert (code, err) == (0, "")
    blocks = out.split("\n\n")
    assert blocks[0].startswith("last level of each run: mean over replicates (least to greatest)")
    assert blocks[1].startswith("overlap: mean over replicates (least to greatest), layer all")
    rows = [line.split() for line in blocks[0].splitlines()[2:]]
    assert [row[:3] for row in rows] == [
        [criterion, lr, "2"] for criterion in ("random", "magnitude") for lr in ("0.1", "0.2")
    ]
    store = landscape.open(tmp_path / "s")
    errors = [store[f"a-s{seed}-random-lr0.1"].level(1).metrics["test_error"] for seed in (0, 1)]
    low, high = sorted(f"{100 * error:.2f}" for error in errors)
    assert f"{50 * sum(errors):.2f} % ({low} to {high})" in blocks[0]
    assert blocks[2].startswith("All steps are done; this took ")
    assert f"Runs a-… are stored in {tmp_path / 's'}" in blocks[2]
    assert "In Python: landscape.sweep(" in blocks[2]

    code, again, err = call(good(), "--quiet")
    assert (code, err) == (0, "")
    assert without_time(again) == without_time(out)
    code, out, _ = call(good(), "--dry-run")
    assert out.startswith("8 runs (8 done), 8 answers (8 done)")
    assert out.splitlines()[2].endswith("done")
    assert out.splitlines()[-1] == "There is nothing left to do."


def without_time(out: str) -> list[str]:
    """What a sweep prints, but for how long it took."""
    return [line for line in out.splitlines() if not line.startswith("All steps are done; ")]


def test_json_has_the_cells_and_nothing_else(call: Call) -> None:
    code, out, _ = call(good(), "--json", "--quiet", "--quick", "--jobs", "2")
    record: dict[str, Any] = json.loads(out)
    assert code == 0
    assert len(record["runs"]) == 4
    assert (record["failed"], record["missing"]) == ({}, [])
    cells = record["cells"]["last level of each run"]
    assert [cell["place"] for cell in cells] == [
        {"criterion": "random", "lr": 0.1},
        {"criterion": "random", "lr": 0.2},
    ]
    assert cells[0]["measures"]["density"]["known"] == 2
    assert len(record["cells"]["overlap"]) == 2


def test_what_failed_is_listed_and_the_exit_code_says_so(call: Call) -> None:
    text = good("1e30").replace("levels = 2", 'levels = 2\noptimizer = "sgd"')
    code, out, err = call(text)
    assert code == 1
    assert "a-s0-random-lr1e30: failed: level 0 of run 'a-s0-random-lr1e30' diverged" in err
    failed = out[out.index("failed") :].split("\n\n")[0].splitlines()[1:]
    assert [line.split()[0] for line in failed] == [
        f"a-s{seed}-{criterion}-lr1e30" for seed in (0, 1) for criterion in ("random", "magnitude")
    ]
    last = err.strip().splitlines()[-1]
    assert last.startswith("Error: ")
    assert "8 steps of the sweep failed, first 'a-s0-random-lr1e30': level 0 of run" in last
    assert last.endswith("the others are stored, the same command tries again")


def test_planted_networks(call: Call, tmp_path: Path) -> None:
    code, out, err = call(SEEK, "--dry-run", "--json")
    assert code == 0, err
    plan = json.loads(out)
    assert [entry["name"] for entry in plan["planted"]] == ["seek-circle"]
    assert [entry["config"]["density"] for entry in plan["runs"]] == ["planted", 0.5]
    code, out, err = call(SEEK, "--dry-run")
    assert out.startswith("1 planted network (0 done), 2 runs (0 done), 2 answers (0 done); 2 lev")
    code, out, err = call(SEEK)
    assert code == 0, err
    assert err == ""
    assert "asked_density" in out
    assert "loss, strong" in out
    _, out, _ = call(SEEK, "--dry-run")
    assert out.startswith("1 planted network (1 done), 2 runs (2 done), 2 answers (2 done); 2 lev")


def test_branches_of_a_stored_run(call: Call, tmp_path: Path) -> None:
    store = landscape.open(tmp_path / "s")
    settings: dict[str, Any] = {"task": "digits", "model": "mlp:64-20-10", "iterations": 10}
    landscape.train(store=store, name="old", levels=1, **settings)
    code, out, err = call('[[branch]]\nname = "b"\nof = "old"\nat = 0\nretrain = "reinit"\n')
    assert code == 0, err
    assert store["b"].levels == [0]
    assert f"Runs are stored in {tmp_path / 's'}." in out


@pytest.mark.parametrize(
    ("text", "options", "sentence"),
    [
        (
            good().replace("criterion = [", "criteron = [", 1),
            (),
            "unknown key 'criteron' in [grid]",
        ),
        (good().replace("0.1, 0.2", ""), (), "lr in the grid is an empty list"),
        (good().replace('name = "a"\n', ""), (), "a [grid] needs a name"),
        (good().replace("[quick]\niterations = 10\n", ""), ("--quick",), "no [quick] table"),
        (good().replace("levels = 2", "levels = 1"), (), "needs at least 2 checkpoints of a run"),
        (good().replace('task = "digits"', 'task = "digts"'), (), "did you mean 'digits'?"),
        (good().replace("mlp:64", "mlp:65"), ("--dry-run",), "mlp:65-20-10 takes 65 inputs"),
    ],
)
def test_bad_files_are_one_sentence_that_names_the_file(
    text: str, options: tuple[str, ...], sentence: str, call: Call, tmp_path: Path
) -> None:
    code, out, err = call(text, *options)
    assert code in (1, 2)
    assert out == ""
    assert len(err.splitlines()) == 1
    assert err.startswith(f"Error: {tmp_path / 'x.toml'}: ")
    assert sentence in err
    assert not (tmp_path / "s").exists()


def test_several_faults_are_a_line_each(call: Call) -> None:
    code, _, err = call('name = "a"\nnmae = 3\n[grid]\nlr = 3\n')
    assert code == 2
    assert len(err.splitlines()) == 2


def test_train_says_which_command_a_grid_is_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.toml"
    path.write_text(good())
    assert run(["train", str(path), "--store", str(tmp_path / "s")]) == 2
    wanted = f"Error: {path} has a [grid]; landscape sweep {path} trains its runs\n"
    assert capsys.readouterr().err == wanted
