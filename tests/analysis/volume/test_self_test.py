"""The table of known answers: its shape, and the bar it holds the estimators to."""

from __future__ import annotations

import numpy as np
import pytest

from landscape.analysis.volume.self_test import CASES, CUTOFF, Case, checkpoint_at, self_test


def test_the_table():
    cases = (Case(20, "log-uniform", "rotated"), Case(20, "network", "axes", bend=0.3))
    table = self_test(cases, rays=50, probes=30)
    assert dict(table.sizes) == {"bowl": 2, "estimator": 4}
    assert list(table["bowl"].values) == [
        "20 log-uniform rotated quadratic",
        "20 network axes bend 0.3",
    ]
    truth = cases[0].bowl(0).log_volume(CUTOFF) / 20
    assert table["truth"].values[0] == pytest.approx(truth)
    by_hessian = table.sel(estimator="hessian")
    assert (np.abs(by_hessian["error"]) <= 3 * by_hessian["error_se"] + 1e-4).all()
    assert list(table["verdict"].sel(estimator="laplace").values) == ["ok", "not_quadratic"]


def test_the_cases_cover_what_they_should():
    assert {case.dims for case in CASES} == {20, 100, 1000, 10_000}
    assert {(case.spectrum, case.orientation) for case in CASES} == {
        ("log-uniform", "axes"),
        ("log-uniform", "rotated"),
        ("network", "rotated"),
    }
    assert any(case.bend for case in CASES)


def test_a_checkpoint_at_the_lowest_point():
    bowl = Case(20, "log-uniform", "rotated").bowl(1)
    point = checkpoint_at(bowl)
    own = bowl.evaluate(point.point[None], np.ones((1, 1)), split="train").loss[0]
    assert own == pytest.approx(0.0, abs=1e-12)


@pytest.mark.slow
def test_the_best_estimator_is_right_and_the_literatures_says_that_it_is_not():
    """The table as the command prints it."""
    table = self_test()
    best, plain = table.sel(estimator="hessian"), table.sel(estimator="monte-carlo")
    large = table["n_parameters"].values >= 1000
    assert (np.abs(best["error"].values[large]) <= 0.01).all()
    sure = best["verdict"].values == "ok"
    off = np.abs(best["error"].values) - 3 * best["error_se"].values
    assert (off[sure] <= 1e-5).all()
    assert sure[["bend" not in name for name in table["bowl"].values]].all()
    assert (np.abs(plain["error"].values[large]) > 0.15).all()
    assert (plain["verdict"].values[table["n_parameters"].values >= 100] != "ok").all()
    for name in table["estimator"].values:
        one = table.sel(estimator=name)
        trusted = one["verdict"].values == "ok"
        wrong = np.abs(one["error"].values) > 4 * one["error_se"].values + 1e-5
        assert not (trusted & wrong).any(), name
