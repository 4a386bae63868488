"""Experiment files: what is read, what is refused and in which words, what is written."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

import landscape
from landscape.cli import run
from landscape.data_store.errors import LandscapeError, UsageError
from landscape.data_store.records import RunConfig
from landscape.data_store.store import Store
from landscape.experiment import Ask, Plant
from landscape.experiment_file import FaultyFile, complete, read_experiment
from landscape.planning import plan
from landscape.sweep_grid import Rule

WHOLE = """
name = "study"
replicates = 2
jobs = 2

[train]
task = "digits"
model = "mlp:64-20-10"
levels = 3
exclude = ["output"]
lr = 1

[quick]
iterations = 30
replicates = 1

[[variant]]
name = "random"
criterion = "random"
quick = { levels = 2 }

[[branch]]
name = "reinit"
at = [1, 2]
of = "random"
retrain = "reinit"
quick = { at = "last", mask = "permuted" }
"""
ONE = '[train]\ntask = "digits"\nmodel = "mlp:64-20-10"\n'

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """A file with this content."""

    def file(text: str) -> Path:
        path = tmp_path / "x.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return file


def test_a_file_states_a_run_its_variants_and_its_branches(write: Write) -> None:
    found = read_experiment(write(WHOLE))
    experiment = found.experiment
    assert (experiment.name, experiment.replicates, found.jobs) == ("study", 2, 2)
    assert experiment.settings["exclude"] == ["output"]
    assert experiment.variants[0].settings == {"criterion": "random"}
    branch = experiment.branches[0]
    assert (branch.name, branch.at, branch.of) == ("reinit", (1, 2), "random")
    assert branch.settings == {"retrain": "reinit"}


def test_the_quick_size_changes_what_it_says_and_no_more(write: Write) -> None:
    whole = read_experiment(write(WHOLE)).experiment
    quick = read_experiment(write(WHOLE), quick=True).experiment
    assert (quick.name, quick.replicates) == ("study-quick", 1)
    assert quick.settings == {**whole.settings, "iterations": 30}
    assert quick.variants[0].settings == {"criterion": "random", "levels": 2}
    assert quick.branches[0].at == "last"
    assert quick.branches[0].settings == {"retrain": "reinit", "mask": "permuted"}


def test_the_quick_size_leaves_out_what_it_is_false_for(write: Write) -> None:
    text = f'name = "a"\n{ONE}[quick]\n' + "".join(
        f'[[{table}]]\nname = "{table}"\n{more}quick = false\n'
        for table, more in (("variant", ""), ("branch", "at = 1\n"))
    )
    quick = read_experiment(write(text), quick=True).experiment
    assert (quick.variants, quick.branches) == ((), ())
    whole = read_experiment(write(text)).experiment
    assert [part.name for part in (*whole.variants, *whole.branches)] == ["variant", "branch"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            'name = "a"\n[train]\npruning_fration = 0.2',
            r"unknown key 'pruning_fration' in \[train\]; did you mean 'pruning_fraction'\?",
        ),
        ('nmae = "a"', r"unknown key 'nmae' in the file; did you mean 'name'\?"),
        ('name = "a"\n[trian]', r"unknown key 'trian' in the file; did you mean 'train'\?"),
        ("zzzzzz = 1", r"unknown key 'zzzzzz' in the file; known: name, replicates, jobs"),
        (
            f'name = "a"\n{ONE}[quick]\niteration = 3',
            r"unknown key 'iteration' in \[quick\]; did you mean 'iterations'\?",
        ),
        (
            f'name = "a"\n{ONE}[[branch]]\nname = "b"\nat = 1\nmsak = "dense"',
            r"unknown key 'msak' in branch 'b'; did you mean 'mask'\?",
        ),
        (
            f'name = "a"\n{ONE}[[branch]]\nname = "b"\nat = 1\nquick = {{ levls = 2 }}',
            r"unknown key 'levls' in quick of branch 'b'; did you mean 'levels'\?",
        ),
        (
            f'name = "a"\n{ONE}levels = "3"',
            r"'levels' in \[train\] is '3'; it must be a whole number",
        ),
        (
            f'name = "a"\n{ONE}levels = true',
            r"'levels' in \[train\] is True; it must be a whole number",
        ),
        (f'name = "a"\n{ONE}lr = "x"', r"'lr' in \[train\] is 'x'; it must be a number"),
        (f'name = "a"\n{ONE}nested = 1', r"'nested' in \[train\] is 1; it must be true or false"),
        (
            f'name = "a"\n{ONE}exclude = "output"',
            r"'exclude' in \[train\] is 'output'; it must be a list",
        ),
        (
            f'name = "a"\n{ONE}exclude = [1]',
            r"'exclude' in \[train\] is 1; it must be text",
        ),
        ('name = 3\n[train]\ntask = "digits"', r"'name' in the file is 3; it must be text"),
        ('name = "a"\ntrain = 3', r"'train' in the file is 3; it must be a table"),
        (f'name = "a"\nreplicates = 0\n{ONE}', r"'replicates' in the file is 0; .* at least 1"),
        (f'name = "a"\n{ONE}[[branch]]\nname = "b"', r"branch 'b' has no 'at'; give it"),
        (f'name = "a"\n{ONE}[[branch]]\nat = 1', r"\[\[branch\]\] 1 has no 'name'; give it"),
        (
            f'name = "a"\n{ONE}[[branch]]\nname = "b"\nat = 1.5',
            r"'at' in branch 'b' is 1.5; it must be a level, a list of levels, 'last' or 'each'",
        ),
        ('name = "a"', r"'name' and the \[train\] table go together"),
        (ONE, r"'name' and the \[train\] table go together"),
        ("", r"there is nothing to train"),
        ('replicates = 2\n[[branch]]\nname = "b"\nat = 1', r"replicates need a run"),
        ("name = ", r"is no TOML file: Invalid value"),
        ("x = " + "[" * 5000, r"is no TOML file"),
    ],
)
def test_what_is_wrong_is_one_sentence_that_names_the_file(
    text: str, sentence: str, write: Write
) -> None:
    with pytest.raises(UsageError, match=sentence) as caught:
        read_experiment(write(text))
    assert str(caught.value).startswith(str(write(text)))
    assert "\n" not in str(caught.value)


FAULTS = """
name = "a"
jbos = 2
[train]
task = "digits"
levels = "3"
lr = "x"
[[variant]]
nested = 1
[[branch]]
name = "b"
at = [1, "x"]
quick = { levls = 2, lr = "y" }
[[branch]]
name = "c"
at = 1.5
quick = 3
"""
SENTENCES = [
    "unknown key 'levls' in quick of branch 'b'; did you mean 'levels'?",
    "unknown key 'jbos' in the file; did you mean 'jobs'?",
    "'levels' in [train] is '3'; it must be a whole number",
    "'lr' in [train] is 'x'; it must be a number",
    "[[variant]] 1 has no 'name'; give it",
    "'nested' in [[variant]] 1 is 1; it must be true or false",
    "'at' in branch 'b' is 'x'; it must be a level, a list of levels, 'last' or 'each'",
    "'lr' in quick of branch 'b' is 'y'; it must be a number",
    "'at' in branch 'c' is 1.5; it must be a level, a list of levels, 'last' or 'each'",
    "'quick' in branch 'c' is 3; it must be a table",
]


def test_all_faults_of_a_file_are_told_a_line_each(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(FAULTS)
    with pytest.raises(FaultyFile, match="unknown key 'levls'") as caught:
        read_experiment(path)
    wanted = [f"{path}: {sentence}" for sentence in SENTENCES]
    assert str(caught.value).splitlines() == wanted
    assert run(["train", str(path)]) == 2
    assert capsys.readouterr().err.splitlines() == [f"Error: {line}" for line in wanted]


def test_what_is_no_file_of_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"there is no experiment file .*y\.toml"):
        read_experiment(tmp_path / "y.toml")
    with pytest.raises(LandscapeError, match=r"cannot read|is no plain file"):
        read_experiment(tmp_path)
    (tmp_path / "b.toml").write_bytes(b'name = "\xff"')
    with pytest.raises(UsageError, match="is not UTF-8 text"):
        read_experiment(tmp_path / "b.toml")
    (tmp_path / "c.toml").write_bytes(b"#" * (2**20 + 1))
    with pytest.raises(LandscapeError, match="has 1048577 bytes"):
        read_experiment(tmp_path / "c.toml")


def test_a_quick_size_that_is_not_there_is_refused(write: Write) -> None:
    with pytest.raises(UsageError, match=r"there is no \[quick\] table; leave out --quick"):
        read_experiment(write(f'name = "a"\n{ONE}'), quick=True)


@pytest.mark.parametrize("quick", [False, True])
def test_a_completed_file_plans_the_same_runs(quick: bool, write: Write) -> None:
    found = read_experiment(write(WHOLE), quick=quick)
    planned = plan(found.experiment)
    text = complete(found.experiment, planned, found.jobs)
    again = read_experiment(write(text))
    assert again.jobs == 2
    assert [(r.name, r.config, r.parent) for r in plan(again.experiment)] == [
        (r.name, r.config, r.parent) for r in planned
    ]
    assert complete(again.experiment, plan(again.experiment), again.jobs) == text


def test_a_completed_file_has_every_setting_with_the_protocol(write: Write) -> None:
    experiment = read_experiment(write('name = "a"\n[train]\nmodel = "conv-6"')).experiment
    table = tomllib.loads(complete(experiment, plan(experiment)))["train"]
    unset = {s.name for s in fields(RunConfig) if s.default is None}
    assert set(table) == {s.name for s in fields(RunConfig)} - unset
    assert (table["iterations"], table["pruning_fraction_conv"]) == (30_000, 0.15)


def test_text_is_written_as_toml_reads_it(write: Write) -> None:
    odd = 'a "quoted" \\ back\tslash \x7f é 😀.py:task'
    experiment = landscape_experiment(task=odd)
    text = complete(experiment, plan(experiment))
    assert tomllib.loads(text)["train"]["task"] == odd


SWEEP = """
name = "seek"
replicates = 3

[[plant]]
name = "circle"
target = "circle"
width = 100
quick = { width = 30 }

[[plant]]
name = "helix"
target = "helix"
quick = false

[train]
iterations = 100

[quick]
replicates = 1
iterations = 10

[grid]
criterion = ["random", "synflow"]
densities = ["singleshot", "multishot"]
density = ["planted", 0.1]
quick = { density = [0.5] }

[[when]]
densities = "multishot"
set = { levels = 11 }
quick = { levels = 3 }

[[when]]
density = [0.1, 0.5]
plant = "helix"
set = { lr = 0.1 }
quick = false

[[analysis]]
kind = "overlap"
planted = true

[[analysis]]
kind = "barrier"
name = "to-truth"
at = ["last", "last.planted"]
points = 25
quick = { points = 5 }

[[analysis]]
kind = "barrier"
at = 0
quick = false
"""


def test_a_file_states_a_sweep(write: Write) -> None:
    found = read_experiment(write(SWEEP)).experiment
    assert (found.name, found.replicates, dict(found.settings)) == ("seek", 3, {"iterations": 100})
    assert found.grid == {
        "criterion": ("random", "synflow"),
        "densities": ("singleshot", "multishot"),
        "density": ("planted", 0.1),
    }
    assert found.plants == (
        Plant("circle", "circle", {"width": 100}),
        Plant("helix", "helix", {}),
    )
    assert found.rules == (
        Rule({"densities": ("multishot",)}, {"levels": 11}),
        Rule({"density": (0.1, 0.5), "plant": ("helix",)}, {"lr": 0.1}),
    )
    assert found.asks == (
        Ask("overlap", "overlap", {"planted": True}, "each"),
        Ask("to-truth", "barrier", {"points": 25}, ("last", "last.planted")),
        Ask("barrier", "barrier", {}, (0,)),
    )


def test_the_quick_size_of_a_sweep(write: Write) -> None:
    found = read_experiment(write(SWEEP), quick=True).experiment
    assert (found.name, found.replicates, dict(found.settings)) == (
        "seek-quick", 1, {"iterations": 10}
    )  # fmt: skip
    assert list(found.grid) == ["criterion", "densities", "density"]
    assert found.grid["density"] == (0.5,)
    assert found.plants == (Plant("circle", "circle", {"width": 30}),)
    assert found.rules == (Rule({"densities": ("multishot",)}, {"levels": 3}),)
    assert [(ask.name, ask.settings) for ask in found.asks] == [
        ("overlap", {"planted": True}),
        ("to-truth", {"points": 5}),
    ]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('[grid]\ncriterion = ["random"]', r"a \[grid\] needs a name for its runs; give 'name'"),
        ('name = "a"\n[grid]', r"the \[grid\] is empty; give it lists of settings"),
        ('name = "a"\n[grid]\nquick = { lr = [1] }', r"the \[grid\] is empty; give it lists"),
        (
            f'name = "a"\n{ONE}[[plant]]\nname = "c"\ntarget = "circle"',
            r"a \[\[plant\]\] table is there for a \[grid\]; give one",
        ),
        (
            f'name = "a"\n{ONE}[[when]]\nlr = 1\nset = {{}}',
            r"a \[\[when\]\] table is there for a \[grid\]; give one",
        ),
        (
            'name = "a"\n[grid]\nlr = [1]\n[[when]]\nset = { levels = 2 }',
            r"a \[\[when\]\] table asks for nothing; put what it sets into \[train\]",
        ),
        (
            'name = "a"\n[grid]\ndensities = ["singleshot"]\n[[when]]\n'
            'densities = "singelshot"\nset = {}',
            r"unknown densities of the grid 'singelshot'; did you mean 'singleshot'\?",
        ),
        (
            'name = "a"\n[grid]\nlr = [1]\n[[plant]]\nname = "circle"\ntarget = "circle"\n'
            '[[when]]\nplant = "cirle"\nset = {}',
            r"unknown plant of the grid 'cirle'; did you mean 'circle'\?",
        ),
        (
            f'name = "a"\n{ONE}[[analysis]]\nkind = "overlp"',
            r"unknown analysis 'overlp'; did you mean 'overlap'\?",
        ),
        (
            f'name = "a"\n{ONE}[[analysis]]\nkind = "barrier"\n[[analysis]]\nkind = "barrier"',
            r"two analyses are called 'barrier'; give one of them another 'name'",
        ),
        (
            f'name = "a"\n{ONE}[[analysis]]\nkind = "barrier"\nat = "frist"',
            r"analysis 'barrier': 'frist' in 'run@frist' is no level",
        ),
        (
            f'name = "a"\n{ONE}[[analysis]]\nkind = "barrier"\nat = []',
            r"analysis 'barrier': 'at' is an empty list",
        ),
        (
            f'name = "a"\n{ONE}[[analysis]]\nkind = "barrier"\npoints = 0',
            r"analysis 'barrier': points is 0; it must be at least",
        ),
    ],
)
def test_what_is_wrong_with_a_sweep_is_one_sentence(text: str, sentence: str, write: Write) -> None:
    with pytest.raises(UsageError, match=sentence) as caught:
        read_experiment(write(text))
    assert str(caught.value).startswith(str(write(text)))
    assert "\n" not in str(caught.value)


def test_a_rule_may_be_about_a_value_of_the_other_size(write: Write) -> None:
    text = (
        'name = "a"\n[quick]\n[grid]\nlr = [1.0]\nquick = { lr = [2.0] }\n'
        "[[when]]\nlr = 1\nset = {}\n[[when]]\nlr = 2.0\nset = {}\n"
    )
    for quick in (False, True):
        assert len(read_experiment(write(text), quick=quick).experiment.rules) == 2


def test_a_list_among_the_values_of_a_rule(write: Write) -> None:
    text = 'name = "a"\n[grid]\nexclude = [["output"], []]\n[[when]]\nexclude = {}\nset = {{}}'
    for given, wanted in (
        ('["output"]', (["output"],)),
        ("[]", ([],)),
        ('[["output"], []]', (["output"], [])),
    ):
        rules = read_experiment(write(text.format(given, given))).experiment.rules
        assert rules[0].where == {"exclude": wanted}


def test_a_completed_file_asks_the_same(write: Write) -> None:
    text = f'name = "a"\n{ONE}[[analysis]]\nkind = "barrier"\nname = "x"\nat = ["last"]\npoints = 5'
    experiment = read_experiment(write(text)).experiment
    again = read_experiment(write(complete(experiment, plan(experiment)))).experiment
    assert again.asks == experiment.asks == (Ask("x", "barrier", {"points": 5}, ("last",)),)


def landscape_experiment(**settings: Any) -> Any:
    """A run with these settings."""
    from landscape.experiment import Experiment

    return Experiment("a", settings)


def manifest(store: Store, name: str) -> dict[str, Any]:
    """A run's manifest, less the time it was made at."""
    record = store[name].description
    for entry in ("sha256", "provenance"):
        record.pop(entry, None)
    return record


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--rewind-epoch", "1", "--optimizer", "sgd", "--lr-milestones", "20,30"],
        ["--densities", "linear", "--density", "0.3", "--scope", "global", "--no-nested"],
    ],
)
def test_the_printed_file_trains_the_run_of_the_command(
    options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "--model", "mlp:64-20-10", "--levels", "2", "--iterations", "40", *options]
    words += ["--name", "r", "--quiet"]
    assert run([*words, "--print-config"]) == 0
    text = capsys.readouterr().out
    (tmp_path / "r.toml").write_text(text, encoding="utf-8")
    assert run([*words, "--store", str(tmp_path / "a")]) == 0
    assert run(["train", str(tmp_path / "r.toml"), "--store", str(tmp_path / "b"), "--quiet"]) == 0
    stores = [landscape.open(tmp_path / name, create=False) for name in "ab"]
    assert manifest(stores[0], "r") == manifest(stores[1], "r")
    assert stores[0]["r"][1].digest == stores[1]["r"][1].digest


def test_the_printed_file_trains_the_branch_of_the_command(
    tmp_path: Path, small_store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    import shutil

    for name in "ab":
        shutil.copytree(small_store.root, tmp_path / name)
    words = ["branch", "imp@last", "--name", "os", "--mask", "pruned", "--mask-density", "0.3"]
    words += ["--order-seed", "7", "--quiet"]
    assert run([*words, "--store", str(tmp_path / "a"), "--print-config"]) == 0
    (tmp_path / "r.toml").write_text(capsys.readouterr().out, encoding="utf-8")
    assert run([*words, "--store", str(tmp_path / "a")]) == 0
    assert run(["train", str(tmp_path / "r.toml"), "--store", str(tmp_path / "b"), "--quiet"]) == 0
    stores = [landscape.open(tmp_path / name, create=False) for name in "ab"]
    assert manifest(stores[0], "os") == manifest(stores[1], "os")
    assert stores[0]["os"][0].digest == stores[1]["os"][0].digest
