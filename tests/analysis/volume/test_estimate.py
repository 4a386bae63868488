"""Pooling of rays: means in the log, errors that cover, verdicts, rays without an end."""

from __future__ import annotations

import numpy as np
import pytest

from landscape.analysis.volume.bowls import log_ball
from landscape.analysis.volume.estimate import Determinant, Trace, log_volume, pooled
from landscape.analysis.volume.rays import CENSORED, ENDS_AT_NOT_FINITE, NOT_CONVERGED


def rays(log_weight, **status):
    count = len(log_weight)
    codes = np.zeros(count, dtype=int)
    for place, code in status.get("codes", {}).items():
        codes[place] = code
    log_weight = np.where(np.isin(codes, (0, ENDS_AT_NOT_FINITE)), log_weight, np.nan)
    return {
        "radius": np.ones(count),
        "radius_coefficient": np.ones(count),
        "ray_status": codes,
        "log_weight": log_weight,
        "log_weight_at_limit": np.full(count, 10.0),
    }


def test_the_mean_is_over_weights_and_not_their_logarithms():
    weights = np.random.default_rng(0).random(100) + 0.5
    got = pooled(rays(np.log(weights)), 7, 2.0)
    want = log_ball(7) - 2.0 + np.log(weights.mean())
    assert got.numbers["log_volume"] == pytest.approx(want, rel=1e-13)
    assert got.numbers["log_volume_per_dimension"] == pytest.approx(want / 7, rel=1e-13)
    relative = weights / weights.mean()
    assert got.numbers["log_volume_se"] == pytest.approx(relative.std(ddof=1) / 10, rel=1e-12)
    effective = weights.sum() ** 2 / (weights**2).sum()
    assert got.numbers["effective_sample_size"] == pytest.approx(effective, rel=1e-12)
    np.testing.assert_allclose(got.rays["log_weight"], np.log(weights) + log_ball(7) - 2.0)
    assert got.status == "ok"
    assert "log_determinant" not in got.numbers


@pytest.mark.parametrize("shift", [1e5, -1e5])
def test_weights_may_be_beyond_all_numbers(shift):
    log_weight = np.random.default_rng(1).standard_normal(50) * 0.1
    plain, far = pooled(rays(log_weight), 3, 0.0), pooled(rays(log_weight + shift), 3, 0.0)
    moved = far.numbers["log_volume"] - plain.numbers["log_volume"]
    assert moved == pytest.approx(shift, rel=1e-13)
    assert far.numbers["log_volume_se"] == pytest.approx(plain.numbers["log_volume_se"])


def test_the_error_bar_covers_the_truth_at_its_rate():
    """Log weights of standard deviation ½ and 200 rays: ``E w = exp(1/8)``."""
    inside = 0
    for seed in range(400):
        draws = 0.5 * np.random.default_rng(seed).standard_normal(200)
        got = pooled(rays(draws), 1, log_ball(1)).numbers
        inside += abs(got["log_volume"] - 0.125) <= 1.96 * got["log_volume_se"]
    assert 0.92 * 400 <= inside <= 0.98 * 400


def test_an_estimate_of_few_effective_rays_is_rejected_and_given():
    one_decides = np.zeros(100)
    one_decides[3] = 50.0
    got = pooled(rays(one_decides), 5, 0.0)
    assert got.status == "effective_sample_size_too_small"
    assert got.numbers["effective_sample_size"] == pytest.approx(1.0)
    assert np.isfinite(got.numbers["log_volume"])
    assert np.isnan(got.numbers["log_volume_se"])  # nobody knows
    assert pooled(rays(np.zeros(19)), 5, 0.0).status == "effective_sample_size_too_small"
    few_of_many = np.full(1000, -50.0)
    few_of_many[:40] = 0.0
    assert pooled(rays(few_of_many), 5, 0.0).status == "effective_sample_size_too_small"
    assert pooled(rays(np.zeros(20)), 5, 0.0).status == "ok"


def test_one_censored_ray_leaves_a_bound_only():
    got = pooled(rays(np.zeros(50), codes={7: CENSORED}), 4, 0.0)
    assert got.status == "censored_rays"
    assert got.numbers["censored"] == 1
    assert "log_volume" not in got.numbers
    bound = log_ball(4) + np.log((49 + np.exp(10.0)) / 50)
    assert got.numbers["log_volume_lower_bound"] == pytest.approx(bound)
    assert np.isnan(got.rays["log_weight"][7])


def test_a_ray_that_did_not_converge_leaves_nothing():
    got = pooled(rays(np.zeros(50), codes={7: NOT_CONVERGED}), 4, 0.0)
    assert got.status == "not_converged"
    assert "log_volume" not in got.numbers
    assert "log_volume_lower_bound" not in got.numbers


def test_a_cliff_is_an_end():
    got = pooled(rays(np.zeros(50), codes={7: ENDS_AT_NOT_FINITE}), 4, 0.0)
    assert got.status == "ok"


def test_rays_that_are_probes_share_their_errors():
    """Where weight and probe cancel, the error is that of the controls alone."""
    rng = np.random.default_rng(0)
    noise, more = 1e-4 * rng.standard_normal(80), rng.standard_normal(400)
    trace = Trace.of(5.0 - noise, np.zeros(80), np.zeros(400))
    got = pooled(rays(noise), 3, 0.0, Determinant(trace.mean, trace))
    assert got.numbers["log_volume_se"] < 1e-7
    assert got.numbers["log_volume"] == pytest.approx(log_ball(3) + 5.0, abs=1e-6)
    trace = Trace.of(5.0 - noise, np.zeros(80), more)
    assert trace.mean == pytest.approx(5.0 - noise.mean() + more.sum() / 480)
    variance = np.concatenate([np.zeros(80), more]).var(ddof=1) / 480
    assert trace.se == pytest.approx(np.sqrt(variance + noise.var(ddof=1) / 80))
    got = pooled(rays(noise), 3, 0.0, Determinant(trace.mean, trace))
    assert got.numbers["log_volume_se"] == pytest.approx(np.sqrt(variance), rel=1e-3)


def test_a_shift_of_the_quadrature_is_in_the_error_and_can_reject():
    trace = Trace.of(np.zeros(50), np.zeros(50), np.zeros(10))
    got = pooled(rays(np.zeros(50)), 3, 0.0, Determinant(1.0, trace, 0.3, converged=False))
    assert got.status == "not_converged"
    assert got.numbers["log_volume_se"] == pytest.approx(0.3)
    assert got.numbers["log_determinant_se"] == pytest.approx(0.3)


def test_a_determinant_that_is_not_finite_leaves_nothing():
    got = pooled(rays(np.zeros(50)), 3, 0.0, Determinant(np.nan))
    assert got.status == "not_finite"
    assert "log_volume" not in got.numbers


def test_per_dimension():
    assert log_volume(-40.0, 2.0, 8) == {
        "log_volume": -40.0,
        "log_volume_se": 2.0,
        "log_volume_per_dimension": -5.0,
        "log_volume_per_dimension_se": 0.25,
    }
