"""The density of drawn directions: integrals over the sphere that are known."""

from __future__ import annotations

import numpy as np
import pytest

from landscape.analysis.volume.proposals import Draws, Scaling, damped, diagonal_of


def test_the_density_integrates_to_one_over_any_part_of_the_circle():
    """Counts of directions in sixteen sectors against the density ``q(u)``."""
    factors = np.array([3.0, 0.5])
    z = np.random.default_rng(0).standard_normal((400_000, 2))
    u = Scaling(factors).draws(z).directions
    counts, edges = np.histogram(np.arctan2(u[:, 1], u[:, 0]), bins=16, range=(-np.pi, np.pi))
    angles = np.linspace(edges[:-1], edges[1:], 2001)
    at = np.stack([np.cos(angles), np.sin(angles)])
    density = 1 / (2 * np.pi) / np.prod(factors)
    density /= ((at / factors[:, None, None]) ** 2).sum(axis=0)
    want = np.trapezoid(density, angles, axis=0) * len(z)
    np.testing.assert_allclose(counts, want, atol=4.5 * np.sqrt(want).max())


def test_log_stretch_is_the_density_of_the_angular_gaussian():
    """``log q/p = -½ log det A - (n/2) log(u^T A^-1 u)`` with ``A = P P^T``."""
    factors = np.array([3.0, 0.5, 1.0, 7.0])
    z = np.random.default_rng(1).standard_normal((6, 4))
    proposal = Scaling(factors)
    draws = proposal.draws(z)
    got = 4 * draws.log_stretch - proposal.log_det
    want = -np.log(factors).sum() - 2 * np.log((draws.directions**2 / factors**2).sum(axis=1))
    np.testing.assert_allclose(got, want, rtol=1e-12)


def test_weights_are_equal_on_the_ellipsoid_of_the_map():
    factors = np.geomspace(0.1, 10, 30)
    draws = Scaling(factors).draws(np.random.default_rng(2).standard_normal((50, 30)))
    np.testing.assert_allclose(np.linalg.norm(draws.directions, axis=1), 1, rtol=1e-14)
    radius = 1 / np.sqrt((draws.directions**2 / factors**2).sum(axis=1))
    np.testing.assert_allclose(draws.log_weights(radius), 0.0, atol=1e-11)


def test_weights_average_to_the_volume_whatever_the_map():
    """A cube of side 2, its radius in direction u ``1 / max |u|``: 8 over ``omega_3``."""
    z = np.random.default_rng(3).standard_normal((400_000, 3))
    for factors in (np.ones(3), np.array([1.0, 1.5, 0.8])):
        proposal = Scaling(factors)
        draws = proposal.draws(z)
        weights = np.exp(draws.log_weights(1 / np.abs(draws.directions).max(axis=1)))
        got = weights.mean() * np.exp(proposal.log_det)
        assert got == pytest.approx(8 / (4 * np.pi / 3), rel=0.01)


def test_draws_of_a_map_forget_the_length_of_z():
    z = np.random.default_rng(4).standard_normal((3, 5))
    once, twice = (Draws.of(c * z, c * z * np.arange(1, 6)) for c in (1.0, 20.0))
    np.testing.assert_allclose(once.directions, twice.directions, rtol=1e-13)
    np.testing.assert_allclose(once.log_stretch, twice.log_stretch, rtol=1e-12)


def test_damped_curvatures_are_positive_and_unchanged_where_large():
    got = damped(np.array([-100.0, -1.0, 0.0, 1.0, 100.0]), 1.0)
    np.testing.assert_allclose(got, np.sqrt([10_001, 2, 1, 2, 10_001]))


def test_the_diagonal_is_exact_for_diagonal_matrices_and_unbiased_for_others():
    rng = np.random.default_rng(5)
    dense = rng.standard_normal((6, 6))
    dense += dense.T
    signs = rng.choice([-1.0, 1.0], (20_000, 6))
    assert np.array_equal(diagonal_of(signs[:2] * np.arange(6), signs[:2]), np.arange(6))
    others = np.sqrt((dense**2).sum(axis=1) - np.diag(dense) ** 2)
    error = np.abs(diagonal_of(signs @ dense, signs) - np.diag(dense))
    assert (error < 4 * others / np.sqrt(len(signs))).all()
