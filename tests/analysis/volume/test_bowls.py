"""Known volumes, known by other means: closed forms, plain counting, derivatives."""

from __future__ import annotations

import numpy as np
import pytest

from landscape.analysis.volume.bowls import (
    Bowl,
    Rotation,
    log_ball,
    log_uniform_spectrum,
    network_spectrum,
)


def losses(bowl, points):
    """The formula at points (k, n), without anchors."""
    y = points - bowl.centre
    y = y if bowl.rotation is None else bowl.rotation.forward(y)
    halves = 0.5 * bowl.eigenvalues * y**2
    s = halves.sum(axis=1)
    return s + bowl.bend * s * halves[:, : bowl.bent].sum(axis=1)


def made(dims=12, rotated=True, bend=3.0, seed=0):
    rng = np.random.default_rng(seed)
    rotation = Rotation.random(dims, seed) if rotated else None
    return Bowl(
        log_uniform_spectrum(dims, seed), rng.standard_normal(dims), rotation, bend, dims // 3
    )


@pytest.mark.parametrize(("dims", "volume"), [(1, 2.0), (2, np.pi), (3, 4 * np.pi / 3)])
def test_balls(dims, volume):
    assert np.exp(log_ball(dims)) == pytest.approx(volume, rel=1e-14)


@pytest.mark.parametrize("dims", [1, 2, 7, 100])
def test_a_rotation_is_orthogonal_and_undone(dims):
    rotation = Rotation.random(dims, 3)
    turned = rotation.forward(np.eye(dims))
    np.testing.assert_allclose(turned @ turned.T, np.eye(dims), atol=1e-13)
    np.testing.assert_allclose(rotation.back(turned), np.eye(dims), atol=1e-13)


def test_a_rotation_leaves_no_axis_near_another():
    """A few Householder reflections would: the diagonal of H would still know the spectrum."""
    turned = Rotation.random(500, 0).forward(np.eye(500))
    assert np.abs(turned).max() < 0.3
    eigenvalues = log_uniform_spectrum(500, 0)
    diagonal = (turned**2) @ eigenvalues
    assert diagonal.std() < 0.15 * eigenvalues.std()


@pytest.mark.parametrize("bowl", [made(), made(rotated=False), made(bend=0.0)])
def test_evaluate_is_the_formula(bowl):
    rng = np.random.default_rng(5)
    anchors, coefficients = rng.standard_normal((3, 12)), rng.standard_normal((6, 3))
    got = bowl.evaluate(anchors, coefficients, split="train")
    np.testing.assert_allclose(got.loss, losses(bowl, coefficients @ anchors), rtol=1e-10)
    assert np.isnan(got.error).all()
    alone = bowl.per_example(anchors, coefficients, split="train")
    np.testing.assert_array_equal(alone.loss[:, 0], got.loss)
    assert bowl.examples("train") == 1


@pytest.mark.parametrize("bowl", [made(), made(rotated=False)])
def test_derivatives_are_those_of_the_formula(bowl):
    rng = np.random.default_rng(6)
    theta = bowl.centre + 0.3 * rng.standard_normal(12)
    v, h = rng.standard_normal((2, 12)), 1e-5
    for direction in v:
        ends = losses(bowl, np.array([theta + h * direction, theta - h * direction]))
        slope = (ends[0] - ends[1]) / (2 * h)
        assert bowl.gradient(theta, split="train") @ direction == pytest.approx(slope, rel=1e-6)
    differences = [
        bowl.gradient(theta + h * d, split="train") - bowl.gradient(theta - h * d, split="train")
        for d in v
    ]
    got = bowl.hessian_product(theta, v, split="train")
    np.testing.assert_allclose(got, np.array(differences) / (2 * h), rtol=1e-6, atol=1e-6)
    at_rest = bowl.hessian_product(bowl.centre, np.eye(12), split="train")
    np.testing.assert_allclose(np.linalg.eigvalsh(at_rest), np.sort(bowl.eigenvalues), rtol=1e-10)


@pytest.mark.parametrize("bend", [0.0, 5.0, 50.0])
def test_volumes_by_counting(bend):
    """Three dimensions, two million points in a box."""
    bowl = Bowl(np.array([1.0, 2.0, 5.0]), np.zeros(3), None, bend, 1)
    half = np.sqrt(0.2 / bowl.eigenvalues)
    points = np.random.default_rng(0).uniform(-1, 1, (2_000_000, 3)) * half
    share = (losses(bowl, points) <= 0.1).mean()
    counted = np.log(share * np.prod(2 * half))
    assert bowl.log_volume(0.1) == pytest.approx(
        counted, abs=4 * np.sqrt((1 - share) / share / 2e6)
    )


def test_a_bend_that_is_tiny_changes_nothing():
    plain, bent = made(bend=0.0), made(bend=1e-9)
    assert bent.log_volume(0.1) == pytest.approx(plain.log_volume(0.1), abs=1e-7)
    assert made(bend=3.0).log_volume(0.1) < plain.log_volume(0.1) - 0.1


def test_the_papers_numbers():
    """``n = 20 … 10 000``, lambda log-uniform: ``½ sum log(0.2 / lambda) + log omega_n``."""
    bowl = Bowl(np.full(5, 4.0), np.zeros(5))
    want = np.log(8 * np.pi**2 / 15) + 2.5 * np.log(0.2 / 4)
    assert bowl.log_volume(0.1) == pytest.approx(want, rel=1e-14)


@pytest.mark.parametrize("spectrum", [log_uniform_spectrum, network_spectrum])
def test_spectra_are_positive_and_of_a_seed(spectrum):
    drawn = spectrum(1000, 4)
    np.testing.assert_array_equal(drawn, spectrum(1000, 4))
    assert not np.array_equal(drawn, spectrum(1000, 5))
    assert drawn.min() > 0
    assert (drawn > 0.5).sum() == (1000 if spectrum is log_uniform_spectrum else 10)
