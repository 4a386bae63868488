"""``landscape insights`` as a user meets it: from a lone run to verdicts by its own advice."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from landscape.cli import run
from landscape.data_store.store import Store, open_store
from landscape.trainer import train

Call = Callable[..., tuple[int, str, str]]
SMALL = {
    "task": "digits", "model": "mlp:64-10-10", "levels": 3, "iterations": 30, "eval_every": 30,
    "batch_size": 50,
}  # fmt: skip
QUICK = ("--points", "5", "--examples", "2000", "--quiet")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store with the run ``imp`` and one that is left out of its comparisons."""
    made = open_store(tmp_path_factory.mktemp("insights") / "store")
    train(store=made, name="imp", **SMALL)
    train(store=made, name="imp-longer", **{**SMALL, "iterations": 40, "criterion": "random"})
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


def verdicts(out: str) -> dict[str, str]:
    """The verdict of each claim in the first table."""
    found = re.findall(r"^(\d) +(holds|does not hold|undecided) ", out, re.MULTILINE)
    return dict(found)


def advice(out: str) -> list[str]:
    """The commands that would decide a claim, once each."""
    found = re.findall(r"^ +to decide: (.+)$", out, re.MULTILINE)
    return list(dict.fromkeys(found))


def test_following_its_advice_leaves_only_the_volumes_open(call: Call) -> None:
    code, out, err = call("insights", "imp", *QUICK)
    assert (code, err) == (0, "")
    assert list(verdicts(out)) == ["1", "2", "3", "4", "5", "6", "7"]
    assert {verdicts(out)[n] for n in "134567"} == {"undecided"}
    assert "Not compared:\n   imp-longer: its iterations is 40, not 30" in out
    commands = advice(out)
    assert len(commands) == 6  # five strategies and the volumes
    for line in commands:
        if " --volume " in line:
            continue
        code, _, err = call(*shlex.split(line)[1:], "--quiet")
        assert (code, err) == (0, ""), line
    code, out, err = call("insights", "imp", *QUICK)
    assert (code, err) == (0, "")
    assert advice(out) == ["landscape insights imp --volume hessian"]
    assert all(f"{n}  measured: " in out for n in range(1, 8))
    assert out.count("rule: holds if in at least 75%") == 7
    assert "Next: landscape figure insights --run imp" in out


def test_levels_are_a_table_of_every_strategy(call: Call, store: Store) -> None:
    code, out, _ = call("insights", "imp", "--levels", *QUICK)
    assert code == 0
    rows = [line for line in out.splitlines() if re.match(r"^[012] +\d+\.\d\d %", line)]
    dense = next(line for line in rows if line.startswith("0"))
    assert re.search(r"100\.00 % +imp ", dense)
    error = store.checkpoint("imp@2").metrics["test_error"]
    (own,) = [line for line in rows if line.startswith("2") and " imp " in line]
    assert f" {100 * error:.2f} %" in own
    assert re.search(r"\b(yes|no)\b +(yes|no)$", own)


def test_json_is_the_dataset(call: Call) -> None:
    code, out, err = call("insights", "imp", "--json", *QUICK)
    assert (code, err) == (0, "")
    ds = json.loads(out)
    assert ds["dims"]["claim"] == 7
    assert len(ds["data_vars"]["verdict"]["data"][0]) == 7
    assert ds["coords"]["replicate"]["data"] == ["imp"]


def test_settings_reach_the_judges(call: Call) -> None:
    _, out, _ = call("insights", "imp", "--share", "0.5", "--measure", "loss", *QUICK)
    assert "rule: holds if in at least 50% of the comparisons" in out
    assert "barrier of the test loss" in out


def test_it_is_listed_and_shown(call: Call) -> None:
    call("insights", "imp", *QUICK)
    code, out, err = call("ls", "results", "--where", "kind=insights", "--json")
    assert (code, err) == (0, "")
    row = json.loads(out)[0]
    assert row["run"] == "imp"
    code, out, err = call("show", row["id"])
    assert (code, err) == (0, "")
    assert "insights" in out


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("imp-longer",), 2, "run 'imp-longer' is of strategy 'random'; give the run of iterative"),
        (("nobody",), 2, "unknown run 'nobody'"),
        (("imp", "--share", "0"), 2, "share is 0.0; it must be above 0"),
        (("imp", "--volume", "hesian"), 2, "unknown volume 'hesian'; did you mean 'hessian'"),
        ((), 2, "Missing argument 'RUN…'"),
    ],
)
def test_wrong_use_is_one_sentence(
    call: Call, arguments: tuple[str, ...], code: int, message: str
) -> None:
    got, out, err = call("insights", *arguments)
    assert (got, out) == (code, "")
    assert message in err
    assert len(err.strip().splitlines()) == 1


def test_there_must_be_a_store(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["insights", "imp", "--store", str(tmp_path / "none")]) == 1
    assert "there is no store at" in capsys.readouterr().err
