"""Lanczos against dense eigenvalues: matrix functions, quadrature, spaces that end early."""

from __future__ import annotations

import numpy as np
import pytest

from landscape.analysis.lanczos import krylov, on_sphere


def matrix(eigenvalues, seed=0):
    """A symmetric matrix with these eigenvalues, and its eigenvectors in columns."""
    rng = np.random.default_rng(seed)
    vectors = np.linalg.qr(rng.standard_normal((len(eigenvalues),) * 2))[0]
    return (vectors * eigenvalues) @ vectors.T, vectors


def starts(count, size, seed=1):
    return np.random.default_rng(seed).standard_normal((count, size))


@pytest.mark.parametrize("steps", [40, 60])
def test_functions_are_exact_when_the_space_is_everything(steps):
    eigenvalues = np.geomspace(0.1, 10, 40)
    dense, vectors = matrix(eigenvalues)
    z = starts(3, 40)
    space = krylov(lambda rows: rows @ dense, z, steps)
    inverse_root = (vectors * eigenvalues**-0.5) @ vectors.T
    np.testing.assert_allclose(space.applied(lambda h: h**-0.5), z @ inverse_root, atol=1e-9)
    logarithm = (vectors * np.log(eigenvalues)) @ vectors.T
    want = np.einsum("mi,ij,mj->m", z, logarithm, z)
    np.testing.assert_allclose(space.forms(np.log), want, rtol=1e-9)


def test_polynomials_below_the_degree_are_exact():
    """``g(H) z`` for degree k - 1 and ``z^T g(H) z`` for 2 k - 1, and not one more."""
    dense, _ = matrix(np.linspace(-1, 3, 30))
    z, k = starts(2, 30), 4
    space = krylov(lambda rows: rows @ dense, z, k)

    def power(p):
        return z @ np.linalg.matrix_power(dense, p)

    np.testing.assert_allclose(space.applied(lambda h: h ** (k - 1)), power(k - 1), rtol=1e-9)
    assert not np.allclose(space.applied(lambda h: h**k), power(k), rtol=1e-3)
    exact = (z * power(2 * k - 1)).sum(axis=1)
    np.testing.assert_allclose(space.forms(lambda h: h ** (2 * k - 1)), exact, rtol=1e-9)
    beyond = (z * power(2 * k)).sum(axis=1)
    assert not np.allclose(space.forms(lambda h: h ** (2 * k)), beyond, rtol=1e-6)


def test_the_basis_stays_orthonormal_where_plain_lanczos_loses_it():
    eigenvalues = np.concatenate([np.linspace(1, 2, 195), [1e3, 2e3, 3e3, 4e3, 1e5]])
    space = krylov(lambda rows: rows * eigenvalues, starts(1, 200), 80)
    gram = space.basis[0] @ space.basis[0].T
    np.testing.assert_allclose(gram, np.eye(80), atol=1e-12)


def test_a_space_that_ends_early_is_filled_with_what_has_no_weight():
    eigenvalues = np.repeat([1.0, 2.0, 5.0], 10)
    dense, _ = matrix(eigenvalues)
    z = starts(2, 30)
    space = krylov(lambda rows: rows @ dense, z, 12)
    for nodes, weights in zip(space.nodes, space.weights, strict=True):
        heavy = weights > 1e-12
        np.testing.assert_allclose(np.unique(nodes[heavy].round(9)), [1, 2, 5])
    assert np.isfinite(space.forms(np.log)).all()
    want = np.einsum("mi,ij,mj->m", z, dense @ dense, z)
    np.testing.assert_allclose(space.forms(np.square), want, rtol=1e-12)


def test_rows_end_each_by_itself():
    eigenvalues = np.arange(1.0, 9.0)
    z = np.ones((2, 8))
    z[0, 2:] = 0.0
    space = krylov(lambda rows: rows * eigenvalues, z, 8)
    np.testing.assert_allclose(space.forms(np.log), [np.log(2), np.log(eigenvalues).sum()])


def test_one_step_is_the_rayleigh_quotient():
    space = krylov(lambda rows: rows * np.array([1.0, 3.0]), np.array([[1.0, 1.0]]), 1)
    np.testing.assert_allclose(space.nodes, [[2.0]])
    np.testing.assert_allclose(space.applied(lambda h: h), [[2.0, 2.0]])


def test_what_is_set_apart_stays_apart():
    """Eigenvalues 0 and 70 outside [0.5, 1] would come back from rounding within 30 steps."""
    spectrum = np.concatenate([[0.0, 70.0], np.linspace(0.5, 1.0, 98)])
    apart = np.eye(100)[:2]
    z = starts(2, 100)
    z[:, :2] = 0.0
    space = krylov(lambda rows: rows * spectrum, z, 60, apart)
    assert np.abs(space.basis @ apart.T).max() < 1e-14
    assert space.nodes.min() > 0.499
    assert space.nodes.max() < 1.001


def test_shortened_is_what_fewer_steps_give():
    dense, _ = matrix(np.linspace(1, 9, 20))
    long = krylov(lambda rows: rows @ dense, starts(2, 20), 9).shortened(4)
    short = krylov(lambda rows: rows @ dense, starts(2, 20), 4)
    np.testing.assert_allclose(long.nodes, short.nodes)
    np.testing.assert_allclose(long.forms(np.log), short.forms(np.log))


def test_a_product_that_is_not_finite_is_nan_in_its_row_alone():
    def product(rows):
        image = rows * np.arange(1.0, 7.0)
        image[1] = np.nan
        return image

    space = krylov(product, starts(3, 6), 4)
    assert np.isnan(space.nodes[1]).all()
    assert np.isnan(space.forms(np.log)[1])
    assert np.isfinite(space.forms(np.log)[[0, 2]]).all()


@pytest.mark.parametrize(
    ("spectrum", "steps"), [(np.geomspace(1, 100, 400), 30), (np.linspace(-2, 2, 400), 10)]
)
def test_quadrature_of_probes_covers_the_trace(spectrum, steps):
    """The mean over 40 probes is within 2 of its own standard errors in 9 of 10 repetitions."""

    def function(h):
        return np.log(h) if spectrum[0] > 0 else np.square(h)

    truth, inside = function(spectrum).sum(), 0
    for seed in range(1000, 1200):
        z = on_sphere(starts(40, 400, seed))
        forms = krylov(lambda rows: rows * spectrum, z, steps).forms(function)
        inside += abs(forms.mean() - truth) <= 2 * forms.std(ddof=1) / np.sqrt(40)
    assert inside >= 180


def test_probes_on_the_sphere_have_no_error_for_the_identity():
    z = on_sphere(starts(5, 17))
    np.testing.assert_allclose((z * z).sum(axis=1), 17, rtol=1e-14)
