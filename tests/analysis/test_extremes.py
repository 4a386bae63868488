"""Extreme eigenvalues of matrices whose spectrum is known."""

from __future__ import annotations

import numpy as np
import pytest

from landscape.analysis.extremes import DENSE, eigenpairs, leading
from landscape.data_store.errors import LandscapeError
from tests.support.hessians import Matrix, dense

SMALL, LARGE = 20, DENSE + 44


def spectrum(size):
    """A bulk around 0, four large values and two negative ones."""
    bulk = np.random.default_rng(0).uniform(-0.01, 0.1, size - 6)
    return np.concatenate([[9.0, 5.0, 4.9, 2.0], bulk, [-0.5, -1.0]])


MATRICES = {
    "small diagonal": (Matrix(spectrum(SMALL)), spectrum(SMALL)),
    "small dense": (Matrix(dense(spectrum(SMALL))), spectrum(SMALL)),
    "large diagonal": (Matrix(spectrum(LARGE)), spectrum(LARGE)),
    "large dense": (Matrix(dense(spectrum(LARGE))), spectrum(LARGE)),
    "negative definite": (Matrix(spectrum(LARGE) - 10), spectrum(LARGE) - 10),
    "zero": (Matrix(np.zeros(LARGE)), np.zeros(LARGE)),
    "identity": (Matrix(np.ones(LARGE)), np.ones(LARGE)),
    "rank one": (Matrix(np.eye(LARGE)[0]), np.eye(LARGE)[0]),
}


@pytest.mark.parametrize("name", MATRICES)
def test_both_ends_of_a_known_spectrum(name):
    matrix, values = MATRICES[name]
    ordered = np.sort(values)[::-1]
    found = eigenpairs(matrix, 4, 2, tolerance=1e-9)
    scale = max(abs(ordered).max(), 1e-300)
    for rank in (1, 2, 3, 4, -1, -2):
        row = found.row(rank)
        expected = ordered[rank - 1] if rank > 0 else ordered[rank]
        assert abs(found.values[row] - expected) <= 1e-9 * scale
        vector = found.vectors[row]
        error = matrix.product(vector[None])[0] - found.values[row] * vector
        assert np.linalg.norm(error) == pytest.approx(found.residuals[row], abs=1e-14 * scale)
        assert found.residuals[row] <= 1e-9 * scale
        assert vector[abs(vector).argmax()] > 0
    top = found.vectors[:4]
    np.testing.assert_allclose(top @ top.T, np.eye(4), atol=1e-12)
    assert found.settled.tolist() == [True, True]


def test_of_a_small_matrix_everything_is_known():
    found = eigenpairs(Matrix(dense(spectrum(SMALL))), 4, 2)
    assert found.whole
    np.testing.assert_allclose(found.values, np.sort(spectrum(SMALL))[::-1], atol=1e-13)
    assert not eigenpairs(Matrix(spectrum(LARGE)), 4, 2).whole


def test_ranks_beyond_the_dimensions_have_no_row():
    found = eigenpairs(Matrix(np.array([3.0, 1.0])), 4, 4)
    assert [found.row(rank) for rank in (1, 2, 3, -1, -2, -3)] == [0, 1, None, 1, 0, None]


def test_a_matrix_without_dimensions_has_no_eigenvalues():
    found = eigenpairs(Matrix(np.zeros(0)), 2, 1)
    assert found.whole
    assert found.row(1) is None


def test_no_end_needs_to_be_asked_for():
    found = eigenpairs(Matrix(spectrum(LARGE)), 1, 0)
    assert found.values.shape == (1,)
    assert found.row(-1) is None


def test_a_bound_on_the_work_is_kept_and_what_is_not_found_is_not_settled():
    values = np.concatenate([np.linspace(1.0, 1.0001, 200), np.linspace(0, 1e-4, 200)])
    asked = []

    class Counting(Matrix):
        def product(self, vectors):
            asked.append(len(vectors))
            return super().product(vectors)

    found = eigenpairs(Counting(values), 12, 2, tolerance=1e-12, restarts=2)
    assert not found.settled.any()
    assert len(found.values) < 14
    assert sum(asked) < 200


def test_single_precision_products_settle_at_the_tolerance():
    values = spectrum(LARGE)
    exact = dense(values)

    class Coarse(Matrix):
        def product(self, vectors):
            return super().product(vectors.astype(np.float32)).astype(np.float64)

    found = eigenpairs(Coarse(exact.astype(np.float32)), 4, 2, tolerance=1e-4)
    assert found.settled.all()
    np.testing.assert_allclose(found.values[:4], [9.0, 5.0, 4.9, 2.0], rtol=1e-5)
    np.testing.assert_allclose(found.values[-2:], [-0.5, -1.0], rtol=1e-5)


def test_the_same_seed_gives_the_same_bits_and_another_the_same_values():
    matrix = Matrix(dense(spectrum(LARGE)))
    one, same, other = (eigenpairs(matrix, 3, 1, seed=seed) for seed in (0, 0, 1))
    assert one.vectors.tobytes() == same.vectors.tobytes()
    assert one.vectors.tobytes() != other.vectors.tobytes()
    np.testing.assert_allclose(one.values, other.values, atol=1e-6)


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_products_that_are_not_finite_are_said(size):
    values = spectrum(size)
    values[7] = np.nan
    with pytest.raises(FloatingPointError, match="not finite"):
        eigenpairs(Matrix(values), 2, 1)


def test_leading_gives_what_a_surface_is_drawn_along():
    values, vectors = leading(Matrix(spectrum(LARGE)), 2, seed=5)
    np.testing.assert_allclose(values, [9.0, 5.0], rtol=1e-6)
    np.testing.assert_allclose(vectors, np.eye(LARGE)[:2], atol=1e-4)


def test_leading_refuses_more_than_there_are():
    with pytest.raises(LandscapeError, match="3 eigenvalues of a matrix of 2 dimensions"):
        leading(Matrix(np.array([2.0, 1.0])), 3, seed=0)


def test_leading_refuses_what_did_not_settle():
    values = np.concatenate([np.linspace(1.0, 1.0001, 200), np.linspace(0, 1e-4, 200)])
    with pytest.raises(LandscapeError, match="did not settle"):
        leading(Matrix(values), 12, seed=0, tolerance=1e-12, restarts=1)


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_products_that_are_not_symmetric_are_refused(size):
    """So does a network with an operation whose second derivative torch has wrong."""
    skewed = dense(spectrum(size))
    skewed[0] *= 3
    with pytest.raises(LandscapeError, match="not symmetric"):
        eigenpairs(Matrix(skewed), 2, 1)
