"""landscape plant, and train --from: what is printed, stored and refused, through the program."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from landscape.cli import run
from landscape.data_store.store import Store, open_store

SHORT = ["--iterations", "6", "--quiet"]


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store with a planted circle; tests add runs of their own names."""
    root = tmp_path_factory.mktemp("planted") / "store"
    words = ["plant", "circle:examples=200", "--width", "30", "--name", "circle"]
    assert run([*words, "--iterations", "6", "--eval-every", "6", "--store", str(root)]) == 0
    return open_store(root, create=False)


def landscape(store: Store, *words: str) -> int:
    """The exit status of a command on a store."""
    return run([*words, "--store", str(store.root)])


def test_it_prints_where_the_ticket_lies_and_how_good_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = str(tmp_path / "store")
    assert run(["plant", "helix", "--name", "h", "--store", store]) == 0
    printed = capsys.readouterr().out
    assert "95 weights are the ticket's, density 0.004657" in printed
    assert "fc2.weight" in printed
    assert "landscape train --from h " in printed
    assert run(["show", "h@0", "--store", store]) == 0
    assert "mask, planted, target" in capsys.readouterr().out
    assert run(["show", "h", "--store", store]) == 0
    assert "95 weights are the ticket's, density 0.004657" in capsys.readouterr().out
    assert run(["plant", "helix", "--name", "h", "--store", store, "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["weights"], record["depth"], record["rule"]) == (95, 5, "paper")


def test_a_run_begins_at_it_dense_and_ends_at_its_density(planted: Store) -> None:
    words = ["train", "--from", "circle", "--criterion", "synflow", "--schedule", "multishot"]
    words += ["--levels", "3", "--density", "planted", "--name", "seek", *SHORT]
    assert landscape(planted, *words) == 0
    seek, truth = planted["seek"], planted["circle"][0]
    assert seek[0].density == 1.0
    assert np.array_equal(seek[0, "init"].theta, planted["circle"][0, "init"].theta)
    assert seek[2].mask.kept_size == truth.mask.kept_size
    assert seek[2, "planted"].mask.kept_size == truth.mask.kept_size


def test_singleshot_prunes_before_it_trains(planted: Store) -> None:
    words = ["train", "--from", "circle", "--criterion", "snip", "--schedule", "singleshot"]
    words += ["--density", "0.2", "--name", "once", "--replicates", "2", *SHORT]
    assert landscape(planted, *words) == 0
    runs = [planted["once-s0"], planted["once-s1"]]
    assert [run.config.seed for run in runs] == [0, 1]
    for one in runs:
        assert one.levels == [0]
        assert one[0].density == pytest.approx(0.2, abs=1e-3)


def test_a_branch_may_have_the_planted_density_too(planted: Store) -> None:
    words = ["branch", "circle@0", "--mask", "dense", "--densities", "exponential"]
    words += ["--density", "planted", "--levels", "2", "--no-prune-biases", "--name", "b", *SHORT]
    assert landscape(planted, *words) == 0
    assert planted["b"][1].mask.kept_size == 108


def test_what_comes_next_is_said(planted: Store, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", "--from", "circle", "--name", "next", "--levels", "1", *SHORT]
    assert landscape(planted, *words) == 0
    assert "Next: landscape tickets next    landscape overlap next --pl" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--from", "once", "--density", "some"], "'some' is no number and not planted"),
        (["--from", "nowhere"], "unknown run 'nowhere'"),
        (["--density", "planted", "--schedule", "linear", "--levels", "3"], "no planted network"),
        (["--from", "circle", "--quick"], "--from circle goes with --name and settings"),
    ],
)
def test_what_cannot_be_begun_is_one_sentence(
    planted: Store, words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = list(planted)
    assert landscape(planted, "train", "--name", "bad", *words) != 0
    told = capsys.readouterr().err
    assert sentence in told
    assert "Traceback" not in told
    assert list(planted) == before


def test_nothing_planted_is_said(small_store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert landscape(small_store, "train", "--from", "imp", "--name", "bad") != 0
    assert "nothing is planted in run 'imp'; train one --from" in capsys.readouterr().err
    assert landscape(small_store, "overlap", "imp", "--planted") != 0
    assert "nothing planted" in capsys.readouterr().err
