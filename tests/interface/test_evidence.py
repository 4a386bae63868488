"""Evidence: chains of questions, one count of them, and numbers that end up in their places."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from landscape.block_work import Tally
from landscape.brancher import branch
from landscape.data_store.store import Store, open_store
from landscape.evidence import Inquiry, chains, evidence, measured
from landscape.strategies import Solution, gather
from landscape.subject import Context
from landscape.trainer import train
from landscape.workbench import analyse

SMALL = {
    "task": "digits", "model": "mlp:64-8-10", "levels": 3, "iterations": 20, "eval_every": 20,
    "batch_size": 50,
}  # fmt: skip
ASKED = {"splits": ("train", "test"), "points": 5, "examples": 100, "definition": "lmc"}


def solution(strategy, level, previous, address):
    return Solution(strategy, level, previous, address, 0.5)


def test_successive_solutions_make_one_chain():
    found = list(
        chains(
            [
                solution("reinit", 2, "imp@1", "r2@0"),
                solution("imp", 2, "imp@1", "imp@2"),
                solution("reinit", 1, "imp@0", "r1@0"),
                solution("imp", 1, "imp@0", "imp@1"),
                solution("imp", 4, "imp@3", "imp@4"),
            ]
        )
    )
    assert [[s.address for s in chain] for chain in found] == [
        ["imp@1", "imp@2"], ["imp@4"], ["r1@0"], ["r2@0"]
    ]  # fmt: skip
    assert list(chains([])) == []


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    made = open_store(tmp_path_factory.mktemp("evidence") / "store")
    train(store=made, name="imp", **SMALL)
    train(store=made, name="random", **{**SMALL, "criterion": "random", "levels": 2})
    branch("imp@2", store=made, name="reinit", retrain="reinit")
    return made


@pytest.fixture(scope="module")
def found(store: Store):
    heard: list[tuple[int, int]] = []
    tally = Tally(lambda t: heard.append((t.answered, t.questions)))
    studies = [gather(store, "imp", 0.05)]
    (one,) = evidence(studies, Inquiry(ASKED, None), Context(store), tally)
    return one, heard


def test_all_questions_are_counted_together(found):
    _, heard = found
    assert {questions for _, questions in heard} == {4}
    answered = [n for n, _ in heard]
    assert answered == sorted(answered)
    assert answered[-1] == 4


def test_every_solution_has_its_transition(found):
    one, _ = found
    assert {s.address for s in one.transitions} == {"imp@1", "imp@2", "random@1", "reinit@0"}
    for known, case in one.transitions.items():
        assert str(case["transition"].values) == f"{known.previous} {known.address}"
    assert len(one.records) == 4


def test_numbers_are_in_their_places(found):
    one, _ = found
    ds = measured([one], "lmc").isel(study=0, replicate=0)
    assert ds.strategy.values.tolist() == ["imp", "random", "reinit"]
    assert ds.level.values.tolist() == [0, 1, 2]
    for known, case in one.transitions.items():
        at = ds.sel(strategy=known.strategy, level=known.level)
        assert str(at["solution"].values) == known.address
        assert str(at["previous"].values) == known.previous
        assert float(at["density"]) == known.density
        assert int(at["status"]) == 0
        for name in ("loss", "error", "error_se"):
            np.testing.assert_array_equal(at[name].values, case[name].values)
        barrier = case["error_barrier"].sel(definition="lmc")
        np.testing.assert_array_equal(at["error_barrier"].values, barrier.values)
        np.testing.assert_array_equal(at["distance"].values, case["distance"].values)


def test_level_0_is_where_the_first_transition_began(found, store):
    one, _ = found
    dense = measured([one], "lmc").isel(study=0, replicate=0).sel(strategy="imp", level=0)
    first = next(case for s, case in one.transitions.items() if s.address == "imp@1")
    assert str(dense["solution"].values) == "imp@0"
    assert float(dense["density"]) == 1.0
    np.testing.assert_array_equal(
        dense["error"].sel(point="solution"), first["error"].sel(point="previous")
    )
    assert np.isnan(dense["error"].sel(point="baseline")).all()
    assert np.isnan(dense["distance"]).all()


def test_what_was_not_trained_is_unknown(found):
    one, _ = found
    ds = measured([one], "lmc").isel(study=0, replicate=0)
    absent = ds.sel(strategy="random", level=2)
    assert int(absent["status"]) == 2
    assert str(absent["solution"].values) == ""
    assert np.isnan(absent["error"]).all()
    assert (ds["volume_status"] == len(ds["volume_status"].attrs["flag_values"]) - 1).all()


def test_a_loss_that_is_not_finite_is_said(found):
    one, _ = found
    broken = {s: c.copy(deep=True) for s, c in one.transitions.items()}
    for case in broken.values():
        case["loss"].loc[{"point": "solution"}] = np.nan
    from dataclasses import replace

    ds = measured([replace(one, transitions=broken)], "lmc").isel(study=0, replicate=0)
    assert int(ds["status"].sel(strategy="imp", level=1)) == 1


def test_volumes_are_asked_of_the_run_and_of_new_weights(store: Store, tmp_path: Path):
    volume = {"estimators": ("monte-carlo",), "rays": 4, "examples": 50, "cutoff": 50.0}
    tally = Tally()
    studies = [gather(store, "imp", 0.05)]
    (one,) = evidence(studies, Inquiry(ASKED, volume), Context(store), tally)
    assert list(one.volumes) == ["imp@0", "imp@1", "imp@2", "reinit@0"]
    assert tally.questions == 8
    ds = measured([one], "lmc").isel(study=0, replicate=0)
    for strategy, level, address in (("imp", 0, "imp@0"), ("reinit", 2, "reinit@0")):
        at, case = ds.sel(strategy=strategy, level=level), one.volumes[address].isel(estimator=0)
        np.testing.assert_array_equal(
            at["log_volume_per_dimension"], case["log_volume_per_dimension"]
        )
        assert float(at["dimensions"]) == float(case["n_parameters"])
        assert int(at["volume_status"]) == int(case["status"])
    same = [float(ds["dimensions"].sel(strategy=s, level=2)) for s in ("imp", "reinit")]
    assert same[0] == same[1]


@pytest.mark.parametrize(
    ("first", "last", "path"),
    [
        ("imp@1", "imp@2", "previous-solution"),
        ("imp@2.baseline", "imp@2", "baseline-solution"),
        ("imp@1", "imp@2.baseline", "previous-baseline"),
        ("imp@2.ticket", "imp@2", "rewind-solution"),
    ],
)
def test_a_transition_agrees_with_the_barrier_between_the_same_points(store, first, last, path):
    """Another analysis, asked about the stored parts of the level."""
    plain = {"points": 5, "splits": ("test",)}
    other = analyse("barrier", [first, last], plain, Context(store)).isel(pair=0)
    ours = analyse("sublevel", ["imp@1", "imp@2"], plain, Context(store)).isel(transition=0)
    ours = ours.sel(path=path)
    np.testing.assert_allclose(ours["loss_on_path"], other["loss"], rtol=1e-5)
    np.testing.assert_allclose(ours["loss_barrier"], other["loss_barrier"], atol=1e-5)
    np.testing.assert_allclose(ours["distance"], other["distance"], rtol=1e-6)
