"""Command lines: what they are made of, and that carrying them out gives what they tell of."""

from __future__ import annotations

import shlex
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

import landscape
from landscape.cli import run
from landscape.command_lines import (
    analysis_command,
    changed,
    questions,
    run_command,
    settings_class,
)
from landscape.data_store.settings import question
from landscape.data_store.store import Store

SMALL: dict[str, Any] = {
    "task": "digits", "model": "mlp:64-10-10", "iterations": 6, "eval_every": 3, "batch_size": 20,
}  # fmt: skip


def settings(kind: str, **given: Any) -> dict[str, Any]:
    cls = settings_class(kind)
    assert cls is not None
    return question(cls(**given))


@pytest.mark.parametrize(
    ("kind", "given", "line"),
    [
        ("barrier", {}, "landscape barrier imp"),
        ("barrier", {"points": 5}, "landscape barrier imp --points 5"),
        ("overlap", {"planted": True}, "landscape overlap imp --planted"),
        ("volume", {"estimators": ("hessian", "laplace"), "rays": 10},
         "landscape volume imp --estimators hessian,laplace --rays 10"),
        ("insights", {"epsilon": 0.01}, "landscape insights imp --epsilon 0.01"),
    ],
)  # fmt: skip
def test_only_what_is_not_the_default_is_named(kind: str, given: dict[str, Any], line: str) -> None:
    assert analysis_command(kind, ["imp"], settings(kind, **given)) == line


def test_a_setting_that_was_switched_off() -> None:
    recorded = {"planted": True, "no_such": False}
    assert analysis_command("overlap", ["a"], recorded) == (
        "landscape overlap a --planted --no-no-such"
    )


def test_what_strangers_wrote_is_quoted_for_the_shell() -> None:
    line = analysis_command("barrier", ["$(rm -rf ~)", "a;b"], {"bn": "`id` $HOME\n'x"})
    assert shlex.split(line) == [
        "landscape", "barrier", "$(rm -rf ~)", "a;b", "--bn", "`id` $HOME\n'x",
    ]  # fmt: skip
    assert "'$(rm -rf ~)' 'a;b'" in line


def test_changes_are_in_the_order_of_the_settings() -> None:
    cls = settings_class("barrier")
    assert cls is not None
    order = [field.name for field in fields(cls)]
    found = list(changed("barrier", {"zzz": 1, "bn": "first", "points": 5}))
    assert found == [*sorted(["bn", "points"], key=order.index), "zzz"]


def test_an_unknown_kind_has_no_settings() -> None:
    assert settings_class("no-such-kind") is None
    assert changed("no-such-kind", {"a": 1}) == {"a": 1}


def test_questions_are_those_that_a_run_makes() -> None:
    three = ["imp@0", "imp@1", "imp@2"]
    assert questions("barrier", three, {}) == ["imp@0 imp@1", "imp@1 imp@2"]
    assert questions("barrier", three, {"pairs": "all", "foreign": 1}) == [
        "imp@0 imp@1", "imp@0 imp@2", "imp@1 imp@2",
    ]  # fmt: skip
    assert questions("overlap", three, {"planted": True}) == three
    assert questions("barrier", three[:1], {}) == []
    assert questions("barrier", three, {"points": -1}) == ["imp@0 imp@1", "imp@1 imp@2"]


def told(store: Store, name: str) -> list[str]:
    """The words of a run's command."""
    found = store[name].description
    parent = str(found.get("branch", {}).get("parent", "")).partition("@")[0]
    config = store[parent].description["config"] if parent else None
    return shlex.split(run_command(name, found, config))[1:]


def test_carried_out_elsewhere_they_give_the_same_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here = landscape.open(tmp_path / "here")
    landscape.train(store=here, name="imp", levels=2, **SMALL)
    landscape.branch("imp@1", name="new", retrain="reinit", init_noise=0.0, store=here)
    landscape.branch("imp@0", name="once", mask="pruned", mask_density=0.3, store=here)
    landscape.plant("circle", name="mother", width=24, iterations=6, seed=3, store=here)
    landscape.branch("mother@0", name="found", mask="dense", criterion="random", levels=2,
                     densities="multishot", density=0.3, store=here)  # fmt: skip
    there = tmp_path / "there"
    for name in ("imp", "new", "once", "mother", "found"):
        assert run([*told(here, name), "--store", str(there), "--quiet"]) == 0, name
        assert Store(there)[name].identity == here[name].identity, name
    capsys.readouterr()


def test_a_branch_whose_parent_is_gone_names_all_its_settings() -> None:
    config = {**SMALL, "levels": 1, "exclude": [], "density": None, "lr_milestones": [3, 5]}
    found = {"config": config, "branch": {"parent": "gone@2", "mask": "preserved"}}
    assert run_command("b", found) == (
        "landscape branch gone@2 --name b --mask preserved --task digits --model mlp:64-10-10 "
        "--iterations 6 --eval-every 3 --batch-size 20 --levels 1 --lr-milestones 3,5"
    )


def test_an_imported_run_names_its_files() -> None:
    found = {
        "config": {"task": "mnist", "model": None, "levels": 2},
        "imported": {"sources": [{"name": "a b.pt"}, {"name": "c.pt"}]},
    }
    assert run_command("x", found) == "landscape import 'a b.pt' c.pt --name x --task mnist"
