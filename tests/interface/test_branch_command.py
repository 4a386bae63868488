"""``landscape branch`` as a user meets it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from landscape.branch_settings import BranchSettings
from landscape.brancher import branch
from landscape.cli import run
from landscape.commands.branch import command
from landscape.data_store.records import RunConfig
from landscape.data_store.store import Store, open_store
from landscape.trainer import train
from tests.support.trained import SETTINGS, files

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store with the run ``imp``; every test makes branches of its own names."""
    made = open_store(tmp_path_factory.mktemp("command") / "store")
    train(store=made, name="imp", **SETTINGS)
    return made


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], store: Store) -> Call:
    """Run the command line on the store: exit code, standard output, standard error."""

    def invoke(name: str, *arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = run([name, *map(str, arguments), "--store", str(store.root)])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return invoke


def test_every_setting_is_an_option() -> None:
    options = {option for parameter in command.params for option in parameter.opts}
    for cls in (BranchSettings, RunConfig):
        for setting in fields(cls):
            assert "--" + setting.name.replace("_", "-") in options


def test_it_trains_what_the_function_trains(call: Call, store: Store) -> None:
    code, out, err = call(
        "branch", "imp@2", "--name", "cli", "--mask", "pruned", "--mask-density", "0.2",
        "--retrain", "lr-rewind", "--levels", "2", "--quiet",
    )  # fmt: skip
    assert (code, err) == (0, "")
    assert "landscape barrier imp@2 cli@0" in out
    twin: dict[str, Any] = {"mask": "pruned", "mask_density": 0.2, "retrain": "lr-rewind"}
    made = branch("imp@2", store=store, name="twin", levels=2, **twin)
    own = files(store["cli"])
    assert {name: own[name] for name in own} == files(made)
    assert store["cli"].identity == made.identity


def test_json_is_the_levels(call: Call) -> None:
    code, out, _ = call("branch", "imp@2", "--name", "json", "--json", "--quiet")
    assert code == 0
    printed = json.loads(out)
    assert printed["run"] == "json"
    assert [level["level"] for level in printed["levels"]] == [0]


def test_analyses_compare_it_with_its_parent(call: Call) -> None:
    assert call("branch", "imp@2", "--name", "noise", "--order-seed", 1, "--quiet")[0] == 0
    for name in ("barrier", "overlap"):
        code, out, err = call(name, "imp@2", "noise@0", "--quiet")
        assert code == 0, err
        assert "noise@0" in out
    code, out, _ = call("overlap", "imp@2", "noise@0", "--json", "--quiet")
    assert code == 0


def test_ls_and_show_say_where_it_begins(call: Call) -> None:
    assert call("branch", "imp@1", "--name", "listed", "--quiet")[0] == 0
    _, out, _ = call("ls", "--json")
    rows = {row["run"]: row["parent"] for row in json.loads(out)}
    assert rows["imp"] == ""
    assert rows["listed"] == "imp@1"
    _, out, _ = call("ls")
    assert "begins at" in out
    assert "dense" in out
    _, out, _ = call("ls", "--where", "parent=imp@1", "--json")
    assert [row["run"] for row in json.loads(out)] == ["listed"]
    _, out, _ = call("show", "listed")
    assert re.search(r"^begins at +imp@1\nmask +preserved$", out, re.MULTILINE), out


def test_verify_finds_nothing_wrong(call: Call) -> None:
    assert call("branch", "imp@2", "--name", "right", "--mask", "permuted", "--quiet")[0] == 0
    code, out, err = call("verify", "--quiet")
    assert code == 0, out + err


def test_repeating_it_is_going_on(call: Call, store: Store) -> None:
    arguments = ("imp@2", "--name", "again", "--quiet")
    assert call("branch", *arguments)[0] == 0
    before = files(store["again"])
    assert call("branch", *arguments)[0] == 0
    assert files(store["again"]) == before
    assert call("branch", *arguments, "--levels", 2)[0] == 0
    assert store["again"].levels == [0, 1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("imp", "--name", "b"), "'imp' names no level; give one, as in imp@3"),
        (("imp@9", "--name", "b"), "run 'imp' has no level 9; finished: 0 to 2"),
        (("imp@2", "--name", "imp"), "'imp' is the run it begins at; give the branch another name"),
        (("im@2", "--name", "imp"), "'imp' is the run it begins at; give the branch another name"),
        (("imp@2", "--name", "b", "--mask", "prune"), "unknown mask 'prune'; did you mean"),
        (
            ("imp@2", "--name", "b", "--mask", "pruned"),
            "--mask pruned and --mask-density go togeth",
        ),
        (("imp@2", "--name", "b", "--rewind-step", 40), "rewind_step 40 is not before the last"),
        (
            ("imp@2", "--name", "b", "--pruning-fraction", 1.5),
            "pruning_fraction is 1.5; it must be",
        ),
        (("imp@2", "--name", "b", "--task", "mnist", "--data", "/nowhere"), "/nowhere"),
        (("imp@2", "--name", "No"), "'No' is no name for a run"),
    ],
)
def test_wrong_questions_are_one_sentence(
    call: Call, store: Store, arguments: tuple[object, ...], message: str
) -> None:
    before = list(store)
    code, out, err = call("branch", *arguments, "--quiet")
    assert code != 0
    assert out == ""
    lines = [line for line in err.splitlines() if line.strip()]
    assert len(lines) == 1, err
    assert lines[0].startswith("Error: ")
    assert message in lines[0]
    assert list(store) == before


def test_without_a_store_there_is_no_parent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run(["branch", "imp@2", "--name", "b", "--store", str(tmp_path / "none")])
    assert code != 0
    assert "there is no store at" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()
