"""Runs side by side: the same numbers, failures that stay alone, and a clean end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import landscape
from landscape import workers
from landscape.cli import run
from landscape.data_store.store import Store
from landscape.experiment import Experiment, Offshoot, Planned, Variant
from landscape.planning import plan
from landscape.steps import Place, Report
from landscape.workers import in_turn, one_by_one, side_by_side

TINY: dict[str, Any] = {
    "task": "digits",
    "model": "mlp:64-20-10",
    "levels": 2,
    "iterations": 40,
    "eval_every": 20,
}
BRANCHES = (Offshoot("reinit", "each", None, {"retrain": "reinit"}),)


def silent(_event: object) -> None:
    """A listener that hears nothing."""


def digests(store: Store, planned: list[Planned]) -> dict[str, str]:
    """The digest of every level of some runs."""
    names = [entry.name for entry in planned]
    return {f"{n}@{level}": store[n][level].digest for n in names for level in store[n].levels}


@dataclass(frozen=True)
class Study:
    """What came of runs side by side, of which some fail: processes are slow to begin."""

    planned: list[Planned]
    store: Store
    failed: dict[str, str]
    heard: list[Report]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Two processes, and one more for that which ends with its run."""
    folder = tmp_path_factory.mktemp("study")
    (folder / "my_task.py").write_text("import os\ndef task():\n    os._exit(9)\n")
    variants = (
        Variant("dead", {"task": f"{folder / 'my_task.py'}:task"}),
        Variant("bad", {"optimizer": "sgd", "lr": 1e30}),
        Variant("thin", {"pruning_fraction": 0.9999}),
    )
    branches = (*BRANCHES, Offshoot("of-bad", 1, "bad", {}), Offshoot("of-thin", 1, "thin", {}))
    planned = plan(Experiment("a", TINY, variants, branches))
    store, heard = landscape.open(folder / "store"), list[Report]()
    failed = side_by_side(planned, Place(store), 2, heard.append)
    return Study(planned, store, failed, heard)


def test_side_by_side_gives_the_numbers_of_one_by_one(study: Study, tmp_path: Path) -> None:
    good = [run for run in study.planned if run.name not in study.failed]
    assert [run.name for run in good] == [
        "a", "a-thin", "a-reinit-0", "a-reinit-1", "a-of-thin"
    ]  # fmt: skip
    store = landscape.open(tmp_path / "one")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        assert one_by_one(good, Place(store, threads=1), lambda _: silent) == {}
    assert digests(store, good) == digests(study.store, good)
    assert len(digests(store, good)) == 7
    names = {run.name for run in good}
    heard = [report for report in study.heard if report.run in names]
    assert sum(report.what == "level" for report in heard) == 7
    assert {report.run for report in heard if report.what == "done"} == names


def test_a_run_that_fails_side_by_side_stops_only_what_begins_at_it(study: Study) -> None:
    assert set(study.failed) == {"a-dead", "a-bad", "a-of-bad"}
    assert "diverged" in study.failed["a-bad"]
    assert "level 1 of run 'a-bad', where it begins, is not there" in study.failed["a-of-bad"]


def test_a_process_that_dies_is_a_failure_of_its_run(study: Study) -> None:
    why = study.failed["a-dead"]
    assert "its process ended with exit code 9; repeat the command" in why
    assert study.store["a-reinit-1"].levels == [0]


def test_warnings_and_failures_reach_the_report(study: Study) -> None:
    told = {(report.run, report.text) for report in study.heard if report.what == "warning"}
    assert any(run == "a-thin" and "will prune all of" in text for run, text in told)
    failures = {report.run: report.text for report in study.heard if report.what == "failed"}
    assert failures == {name: study.failed[name] for name in ("a-dead", "a-bad")}


def test_a_run_that_fails_stops_only_what_begins_at_it(tmp_path: Path) -> None:
    store = landscape.open(tmp_path / "s")
    diverging = Variant("bad", {"optimizer": "sgd", "lr": 1e30})
    branches = (Offshoot("b", 1, "bad", {}), Offshoot("c", 1, None, {}))
    planned = plan(Experiment("a", TINY, (diverging,), branches))
    failed = one_by_one(planned, Place(store, threads=1), lambda _: silent)
    assert list(failed) == ["a-bad", "a-b"]
    assert "diverged" in failed["a-bad"]
    assert "level 1 of run 'a-bad', where it begins, is not there" in failed["a-b"]
    assert store["a"].levels == [0, 1]
    assert store["a-c"].levels == [0]


def test_in_turn_gives_the_numbers_of_side_by_side(study: Study, tmp_path: Path) -> None:
    alive = [run for run in study.planned if "dead" not in run.name]
    store, heard = landscape.open(tmp_path / "turn"), list[Report]()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        failed = in_turn(alive, Place(store), heard.append)
    assert failed == {name: why for name, why in study.failed.items() if name != "a-dead"}
    good = [run for run in alive if run.name not in failed]
    assert digests(store, good) == digests(study.store, good)
    told = sorted((r.run, r.what, r.level, r.text) for r in study.heard if r.run != "a-dead")
    assert sorted((r.run, r.what, r.level, r.text) for r in heard) == told


def test_what_nobody_expected_fails_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planned = plan(Experiment("a", TINY, (Variant("v", {"seed": 1}),)))
    done = workers.carry_out

    def faulty(step: Any, place: Place, listener: Any = None) -> None:
        if step.name == "a":
            raise ZeroDivisionError("a bug")
        done(step, place, listener)

    monkeypatch.setattr(workers, "carry_out", faulty)
    store = landscape.open(tmp_path / "s")
    assert in_turn(planned, Place(store), silent) == {"a": "ZeroDivisionError: a bug"}
    assert store["a-v"].levels == [0, 1]


@pytest.mark.parametrize("error", [MemoryError(), KeyboardInterrupt(), BrokenPipeError()])
def test_what_ends_a_step_or_all_of_them(
    error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ended(*_: Any) -> None:
        raise error

    monkeypatch.setattr(workers, "carry_out", ended)
    steps, place = plan(Experiment("a", TINY)), Place(landscape.open(tmp_path / "s"))
    if isinstance(error, MemoryError):
        assert in_turn(steps, place, silent) == {"a": "out of memory; use fewer --jobs"}
    else:
        with pytest.raises(type(error)):
            in_turn(steps, place, silent)


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
    assert out.startswith("2 runs, 4 levels, 160 iterations")
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


@pytest.mark.skipif(os.name == "nt", reason="signals are another thing there")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_the_processes_end_with_the_command(how: signal.Signals, tmp_path: Path) -> None:
    store = tmp_path / "s"
    more = ("--name", "r", "--replicates", "2", "--jobs", "2", "--iterations", "1000000")
    command = [sys.executable, "-m", "landscape", *words(store, *more)]
    with subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's & ignores it
    ) as process:
        logs = [store / "runs" / f"r-s{seed}" / "run.json" for seed in (0, 1)]
        until(lambda: all(log.exists() for log in logs))
        if how is signal.SIGINT:  # a terminal sends it to all
            os.killpg(process.pid, how)
        else:
            process.send_signal(how)
        _, err = process.communicate(timeout=60)  # the pipes close when all are gone
    if how is signal.SIGINT:
        assert process.returncode == 1
        assert err.strip() == (
            "Error: interrupted; what was finished is stored, the same command goes on"
        )
    else:
        assert "Traceback" not in err
    with pytest.raises(ProcessLookupError):
        until_gone(process.pid)


def until(condition: Any, seconds: float = 60) -> None:
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def until_gone(group: int, seconds: float = 30) -> None:
    """Ask after a group of processes until it is gone, which raises."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        os.killpg(group, 0)
        time.sleep(0.1)
