"""The command line as a user meets it: what it prints, writes, refuses, and exits with."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import click
import pytest

import landscape
from landscape.analysis.registry import ANALYSES
from landscape.cli import run
from landscape.data_store import layout
from landscape.data_store.manifest import manifest_bytes
from landscape.data_store.records import RunConfig
from landscape.data_store.store import Store
from landscape.figures.registry import FIGURES
from landscape.registry import COMMANDS
from tests.support.results import pair, place, record, saved

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    """Run the command line: exit code, standard output, standard error."""

    def invoke(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return invoke


def sentence(err: str) -> str:
    """The one line that an error is."""
    lines = [line for line in err.splitlines() if line.strip()]
    assert len(lines) == 1, err
    assert lines[0].startswith("Error: ")
    assert "Traceback" not in err
    return lines[0].removeprefix("Error: ")


def test_without_arguments_says_what_there_is(call: Call) -> None:
    code, out, err = call()
    assert (code, err) == (0, "")
    for name in (*COMMANDS, *ANALYSES):
        assert re.search(rf"^  {name} ", out, re.MULTILINE), name


@pytest.mark.parametrize("name", [*COMMANDS, *ANALYSES])
def test_every_command_has_help_for_every_option(name: str, call: Call) -> None:
    code, _, err = call(name, "--help")
    assert (code, err) == (0, "")
    from landscape.commands.analysis import command_for

    command = COMMANDS.load(name) if name in COMMANDS else command_for(name)
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{name} {parameter.name} has no help"
    assert command.help


def test_every_setting_of_a_run_is_an_option(call: Call) -> None:
    _, out, _ = call("train", "--help")
    for setting in fields(RunConfig):
        assert f"--{setting.name.replace('_', '-')}" in out


def test_train_then_everything_else(call: Call, tmp_path: Path) -> None:
    store = tmp_path / "store"
    options = ["--task", "digits", "--model", "mlp:64-20-10", "--iterations", "40"]
    code, out, err = call("train", *options, "--levels", 2, "--name", "r", "--store", store)
    assert code == 0, err
    assert "level 1 done" in err
    assert "run r" in out
    before = (store / "runs" / "r" / "level_0001.h5").read_bytes()

    code, out, _ = call("train", *options, "--levels", 3, "--name", "r", "--store", store, "--json")
    assert code == 0
    levels = json.loads(out)["levels"]
    assert [level["level"] for level in levels] == [0, 1, 2]
    assert (store / "runs" / "r" / "level_0001.h5").read_bytes() == before

    code, out, _ = call("barrier", "r", "--points", 5, "--store", store)
    assert code == 0
    for word in (
        "r@0 r@1",
        "r@1 r@2",
        "loss barrier",
        "error barrier",
        "increase",
        "train",
        "test",
    ):
        assert word in out
    code, out, _ = call("barrier", "r@0", "r@1", "--points", 5, "--store", store, "--json")
    ds = json.loads(out)
    assert ds["coords"]["pair"]["data"] == ["r@0 r@1"]
    assert len(list((store / "results" / "barrier").rglob("*.nc"))) == 2

    code, out, _ = call("overlap", "r", "--store", store)
    assert code == 0
    assert "fc1.weight" in out
    code, out, _ = call("ls", "--store", store)
    assert re.search(r"^r +digits +mlp:64-20-10", out, re.MULTILINE)
    code, out, _ = call("ls", "results", "--store", store, "--json")
    rows = json.loads(out)
    assert {row["kind"] for row in rows} == {"barrier", "overlap"}
    code, out, _ = call("show", rows[0]["id"][:8], "--store", store)
    assert code == 0
    assert rows[0]["inputs"].split()[0] in out
    for name in FIGURES:
        if name.startswith("planted"):
            continue  # nothing is planted in this run: test_overlap_command
        code, out, err = call(
            "figure", name, "--run", "r", "--out", tmp_path / "f", "--store", store, "--compute"
        )
        assert code == 0, err
        written = [Path(line.removeprefix("wrote ")) for line in out.splitlines()]
        assert {path.suffix for path in written} == {".pdf", ".png", ".txt"}
        assert all(path.stat().st_size > 300 for path in written)


@pytest.fixture(scope="module")
def four_results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with four results of two tasks, and no run."""
    root = landscape.open(tmp_path_factory.mktemp("four") / "results").root
    for level in range(3):
        saved(root, pair(f"imp@{level}"), record(level=level, settings={"points": 25 + level}))
    saved(root, pair("other"), record(run="other", task="mnist", seconds=12.3456))
    return root


@pytest.fixture
def results(four_results: Path, tmp_path: Path) -> Path:
    """A copy of it for one test."""
    return Path(shutil.copytree(four_results, tmp_path / "results"))


@pytest.mark.parametrize(
    ("conditions", "runs"),
    [
        ([], "imp imp imp other"),
        (["task=mnist"], "other"),
        (["task!=mnist"], "imp imp imp"),
        (["density<0.9"], "imp imp"),
        (["density<=0.8", "density>0.7"], "imp"),
        (["density>=1"], "imp other"),
        (["points=25"], "imp"),
        (["points>5", "level<2"], "imp imp"),
        (["kind=barrier", "task=digits", "density<0.7"], "imp"),
        (["run>impa"], "other"),
        (["seconds>1e1"], "other"),
        (["inputs=other@0 other@1"], "other"),
        (["run=' OR 1=1 --"], ""),
        (["run=none"], ""),
    ],
)
def test_ls_finds_results_by_conditions(
    conditions: list[str], runs: str, call: Call, results: Path
) -> None:
    where = [word for condition in conditions for word in ("--where", condition)]
    code, out, err = call("ls", "results", *where, "--store", results, "--json")
    assert (code, err) == (0, "")
    assert sorted(row["run"] for row in json.loads(out)) == runs.split()
    assert all(row["settings"]["points"] >= 5 for row in json.loads(out))
    code, out, err = call("ls", "results", *where, "--store", results)
    assert (code, err) == (0, "")
    if runs:
        assert len(out.splitlines()) == 1 + len(runs.split())
    else:
        assert out == f"no results in {results} meet that\n"


def test_ls_prints_a_table_that_machines_can_cut(call: Call, results: Path) -> None:
    _, out, _ = call("ls", "results", "--store", results)
    head, *rows = out.splitlines()
    assert head.split() == ["id", "kind", "checkpoints", "task", "model", "seconds", "created"]
    starts = [head.index(f"  {name}") + 2 for name in ("kind", "checkpoints", "task", "model")]
    for row in rows:
        assert all(row[start - 2 : start] == "  " and row[start] != " " for start in starts)
    assert any(" 12.35  " in row for row in rows)
    assert max(map(len, rows)) == len(rows[0])


def test_ls_folds_what_a_terminal_has_no_room_for(
    results: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "60")
    run(["ls", "results", "--store", str(results)])
    lines = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out).splitlines()
    assert max(map(len, lines)) <= 60
    text = "".join(line.ljust(60) for line in lines)
    assert text.count("imp@0") >= 1
    assert len(lines) > 5


def test_ls_runs_by_conditions(call: Call, small_store: Store) -> None:
    code, out, _ = call("ls", "--where", "criterion=random", "--store", small_store.root, "--json")
    assert code == 0
    assert [row["run"] for row in json.loads(out)] == ["random"]
    code, out, _ = call("ls", "--where", "levels>7", "--store", small_store.root)
    assert (code, out) == (0, f"no runs in {small_store.root} meet that\n")


@pytest.mark.parametrize(
    ("condition", "says"),
    [
        ("modl=x", r"unknown field of results 'modl'; did you mean 'model'\? available: created, "
         r"density, density_b, id, inputs, kind, level, level_b, model, part, points, run"),
        ("settings=x", r"unknown field of results 'settings'"),
        ("density<thin", r"density is a number; 'thin' cannot be compared with it"),
        ("level=one", r"level is a number; 'one' cannot be compared with it"),
        ("density", r"'density' is no condition; write FIELD=VALUE or, with quotes, 'FIELD<VALUE'"),
        ("density<", r"'density<' is no condition"),
        ("1=1 OR task=x", r"'1=1 OR task=x' is no condition"),
        ("task=\udcff", r"task cannot be compared with '.udcff'"),
    ],
)  # fmt: skip
def test_ls_says_what_is_wrong_with_a_condition(
    condition: str, says: str, call: Call, results: Path
) -> None:
    code, out, err = call("ls", "results", "--where", condition, "--store", results)
    assert (code, out) == (2, "")
    assert re.search(says, sentence(err)), err


def test_ls_names_damaged_files_and_lists_the_rest(call: Call, results: Path) -> None:
    path = place(results, record(level=1, settings={"points": 26}))
    path.write_bytes(path.read_bytes()[:-1])
    for _ in range(2):
        code, out, err = call("ls", "results", "--store", results, "--json")
        assert code == 0
        assert len(json.loads(out)) == 3
        assert re.fullmatch(
            rf"Warning: left out: {path} is damaged or no result: .*; see 'landscape verify'\n", err
        )
    _, out, err = call("ls", "--store", results)
    assert str(path) in err
    _, out, err = call("ls", "results", "--store", results, "--quiet")
    assert err == ""
    small = call("ls", "results", "--store", results, "--max-size", "1kB")
    assert "more than 1000 is refused unless --max-size allows it" in small[2]


def test_show_describes_a_result(call: Call, results: Path) -> None:
    said = record(run="other", task="mnist", seconds=12.3456)
    path = place(results, said)
    code, out, _ = call("show", path.stem[:12], "--store", results)
    assert code == 0
    for line in (r"id +" + path.stem, r"kind +barrier", r"inputs +other@0, other@1", r"  points +5",
                 r"density +100\.00 %", r"seconds +12\.3456", r"landscape +0\.1\.0"):  # fmt: skip
        assert re.search(f"^{line}$", out, re.MULTILINE), line
    _, out, _ = call("show", path.stem, "--store", results, "--json")
    shown = json.loads(out)
    assert {name: shown[name] for name in said} == said
    assert shown["path"] == path.relative_to(results).as_posix()
    assert call("show", "x" + path.stem[1:], "--store", results)[0] == 2


def test_show_asks_for_more_of_an_id_that_begins_several(call: Call, tmp_path: Path) -> None:
    root = landscape.open(tmp_path / "store").root
    begins: dict[str, int] = {}
    for level in range(2000):  # two of a thousand ids begin with the same four digits
        start = place(root, record(level=level)).stem[:4]
        if start in begins:
            break
        begins[start] = level
    for number in (begins[start], level):
        saved(root, pair(), record(level=number))
    code, _, err = call("show", start, "--store", root)
    assert code == 2
    assert sentence(err) == f"'{start}' begins 2 results; give more of the id"


def test_what_a_stranger_wrote_commands_no_terminal(call: Call, tmp_path: Path) -> None:
    root = landscape.open(tmp_path / "store").root
    said = record(task="[/bold]\x1b[2J\nx", model="[red]α", layers={"a": 3}, density="x" * 9)
    path = saved(root, pair(), said)
    for arguments in (["ls", "results"], ["show", path.stem]):
        code, out, _ = call(*arguments, "--store", root)
        assert code == 0
        assert "\x1b" not in out
        assert r"[/bold]\x1b[2J\nx" in out
        assert "[red]α" in out


def test_show_describes_runs_levels_and_files(call: Call, small_store: Store) -> None:
    code, out, _ = call("show", "imp@1", "--store", small_store.root)
    assert code == 0
    assert re.search(r"^density +81\.35 %$", out, re.MULTILINE)
    assert re.search(r"^parts +.*baseline.*step-40", out, re.MULTILINE)
    _, out, _ = call("show", "imp@1", "--json", "--store", small_store.root)
    assert json.loads(out)["kept"] == small_store["imp"][1].mask.kept_size
    code, out, _ = call("show", "imp", "--store", small_store.root)
    assert code == 0
    assert "iterations" in out
    assert "test acc." in out
    file = small_store.root / "runs" / "imp" / "level_0001.h5"
    code, out, _ = call("show", file)
    assert code == 0
    assert small_store["imp"][1].digest in out


def test_json_has_null_for_nan(call: Call, small_store: Store) -> None:
    network = "mlp:64-20-10"
    path = small_store.root.parent / "zero.pt"
    import torch

    zeros = {
        n: torch.zeros(s)
        for n, s in zip(
            small_store["imp"][0].spec.names, small_store["imp"][0].spec.shapes, strict=True
        )
    }
    torch.save(zeros, path)
    code, out, err = call(
        "overlap", path, path, "--model", network, "--task", "digits", "--json",
        "--store", small_store.root,
    )  # fmt: skip
    assert code == 0, err
    assert json.loads(out)["data_vars"]["jaccard"]["data"][0][0] is None


def test_foreign_files_with_their_own_network_and_task(call: Call, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    (tmp_path / "my_net.py").write_text(
        "from torch import nn\n"
        "def build():\n"
        "    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))\n"
    )
    (tmp_path / "my_data.py").write_text(
        "import torch, landscape\n"
        "def task():\n"
        "    x, y = torch.randn(64, 4, generator=torch.Generator().manual_seed(0)), "
        "torch.arange(64) % 3\n"
        "    return landscape.make_task(train=(x, y), test=(x[:20], y[:20]))\n"
    )
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    a = {f"module.{k}": v + 0.1 for k, v in net.state_dict().items()}
    torch.save({"state_dict": a, "epoch": 3}, tmp_path / "a.pt")
    save_file(dict(net.state_dict()), tmp_path / "b.safetensors")
    own = ["--model", f"{tmp_path}/my_net.py:build", "--task", f"{tmp_path}/my_data.py:task"]
    code, out, err = call(
        "barrier", tmp_path / "a.pt", tmp_path / "b.safetensors", *own, "--points", 3,
        "--store", tmp_path / "store",
    )  # fmt: skip
    assert code == 0, err
    assert "loss barrier" in out


@pytest.mark.parametrize(
    ("arguments", "expected", "says"),
    [
        (["barier"], 2, r"unknown command 'barier'; did you mean 'barrier'\?"),
        (
            ["train", "--name", "x", "--task", "mnits"],
            2,
            r"unknown task 'mnits'; did you mean 'mnist'",
        ),
        (["train", "--name", "x", "--model", "lenet"], 2, r"unknown model 'lenet'; did you mean"),
        (["train", "--name", "x", "--criterion", "magntude"], 2, r"did you mean 'magnitude'\?"),
        (
            ["train", "--name", "x", "--scope", "lay"],
            2,
            r"unknown scope 'lay'; did you mean 'layer'",
        ),
        (["train", "--name", "x", "--lr", "-1"], 2, r"lr is -1.0; it must be above 0"),
        (["train", "--name", "x", "--lr", "nan"], 2, r"lr is nan"),
        (["train", "--name", "x", "--levels", "0"], 2, r"levels is 0; it must be at least 1"),
        (["train", "--name", "x", "--levels", "two"], 2, r"'two' is not a valid int"),
        (["train", "--name", "../x"], 2, r"is no name for a run"),
        (["train"], 2, r"Missing option '--name'"),
        (["train", "--name", "x", "--levls", "3"], 2, r"--levls.*--levels"),
        (["train", "--name", "x", "--device", "tpu-9"], 2, r"unknown device 'tpu-9'"),
        (["barrier", "imp@0", "imp@9"], 2, r"run 'imp' has no level 9; finished: 0 to 2"),
        (["barrier", "imp@0", "ipm@1"], 2, r"unknown run 'ipm'; did you mean 'imp'"),
        (["barrier", "imp@0", "imp@x"], 2, r"'x' in 'imp@x' is no level"),
        (["barrier", "imp@0.fnal", "imp@1"], 2, r"'fnal' in 'imp@0.fnal' is no part"),
        (["barrier", "imp@0.baseline", "imp@1"], 2, r"imp@0 has no baseline"),
        (["barrier", "imp@0"], 2, r"needs at least 2 checkpoints, got 1"),
        (["barrier", "imp", "--points", "2"], 2, r"points is 2; it must be at least 3"),
        (["barrier", "imp", "--splits", "tset"], 2, r"tset.*test"),
        (["barrier", "imp", "--bn", "mean"], 2, r"unknown bn 'mean'"),
        (["barrier", "nowhere.pt", "imp@0"], 2, r"nowhere\.pt"),
        (["show", "imp@1.step-7"], 2, r"keeps no step-7; snapshots of this run: step-40"),
        (["ls", "rnus"], 2, r"unknown list 'rnus'; did you mean 'runs'"),
        (
            ["figure", "barier", "--run", "imp"],
            2,
            r"unknown figure 'barier'; did you mean 'barrier-",
        ),
        (["figure", "lth-accuracy", "--run", "imp", "--format", "gif"], 2, r"gif"),
    ],
)
def test_bad_input_is_one_sentence(
    arguments: list[str], expected: int, says: str, call: Call, small_store: Store
) -> None:
    before = sorted(path for path in small_store.root.rglob("*") if path.suffix in (".h5", ".json"))
    if arguments[0] != "barier":
        arguments = [*arguments, "--store", str(small_store.root)]
    code, out, err = call(*arguments)
    assert re.search(says, sentence(err)), err
    assert (code, out) == (expected, "")
    after = sorted(path for path in small_store.root.rglob("*") if path.suffix in (".h5", ".json"))
    assert after == before


def test_bad_stores_are_one_sentence(call: Call, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("x")
    code, _, err = call("ls", "--store", file)
    assert code == 1
    assert "is a file; give a folder" in sentence(err)
    code, _, err = call("ls", "--store", tmp_path / "none")
    assert "there is no store at" in sentence(err)
    newer = landscape.open(tmp_path / "newer").root / "store.json"
    newer.write_bytes(manifest_bytes(layout.STORE_FORMAT, (9, 0), {"written_by": "7.0"}))
    code, _, err = call("ls", "--store", newer.parent)
    assert code == 1
    assert re.search(
        r"is of format version 9 and this version reads up to 1: it needs landscape 7\.0; update",
        sentence(err),
    )


def test_damaged_and_foreign_files_are_one_sentence(
    call: Call, tmp_path: Path, small_store: Store
) -> None:
    whole = (small_store.root / "runs" / "imp" / "level_0000.h5").read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    for name, content, says in (
        ("cut.h5", whole[:-7], "damaged"),
        ("flipped.h5", bytes(flipped), "damaged"),
        ("text.h5", b"hello", "is not a landscape-level file"),
    ):
        (tmp_path / name).write_bytes(content)
        code, _, err = call("show", tmp_path / name)
        assert code == 1
        assert says in sentence(err)


def test_interrupted_training_says_how_to_go_on(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import landscape.trainer

    keep = landscape.trainer._Keeper.keep

    def stop(self: object, event: object) -> None:
        keep(self, event)  # type: ignore[arg-type]
        if getattr(event, "level", None) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(landscape.trainer._Keeper, "keep", stop)
    options = ["--task", "digits", "--model", "mlp:64-20-10", "--iterations", 40, "--levels", 3]
    code, _, err = call("train", *options, "--name", "r", "--store", tmp_path / "s", "--quiet")
    assert code == 1
    assert "the same command goes on" in sentence(err)
    monkeypatch.undo()
    code, _, err = call("train", *options, "--name", "r", "--store", tmp_path / "s", "--quiet")
    assert (code, err) == (0, "")


def test_divergence_is_said_kept_and_exits_1(call: Call, tmp_path: Path) -> None:
    options = ["--task", "digits", "--model", "mlp:64-20-10", "--iterations", 200, "--lr", 1e30]
    command = ["train", *options, "--optimizer", "sgd", "--name", "r", "--store", tmp_path / "s"]
    for _ in range(2):
        code, _, err = call(*command, "--quiet")
        assert code == 1
        assert re.search(r"level 0 of run 'r' diverged.*smaller --lr", sentence(err))
    _, out, _ = call("ls", "--store", tmp_path / "s")
    assert "diverged" in out
    assert len(landscape.open(tmp_path / "s")["r"][0].trace.values) >= 1


def test_no_resume_refuses_an_existing_run(call: Call, small_store: Store) -> None:
    code, _, err = call("train", "--name", "imp", "--no-resume", "--store", small_store.root)
    assert code == 2
    assert "exists and --no-resume was given" in sentence(err)
