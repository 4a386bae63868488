"""MaskedHessian: the submatrix of the kept weights, whatever lies outside them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse.linalg import eigsh

from landscape.analysis.masked_hessian import MaskedHessian
from landscape.analysis.subspace import Subspace
from landscape.data_store.errors import LandscapeError
from tests.support.hessians import Bowls, bowl, dense, pruned

N = 12
KEPT = np.random.default_rng(1).random(N) < 0.6
H = dense(np.linspace(-1.0, 4.0, N))


def masked(landscape, kept=KEPT, **options):
    point = pruned(kept)
    return MaskedHessian(landscape, point.point, Subspace.of(point), **options)


def test_products_are_those_of_the_submatrix():
    hessian = masked(bowl(H))
    assert hessian.dims == KEPT.sum()
    found = hessian.product(np.eye(hessian.dims))
    np.testing.assert_allclose(found, H[np.ix_(KEPT, KEPT)], rtol=0, atol=1e-15)


def test_the_operator_multiplies_vectors_and_columns():
    operator = masked(bowl(H)).operator()
    part, columns = H[np.ix_(KEPT, KEPT)], np.random.default_rng(0).random((KEPT.sum(), 3))
    np.testing.assert_allclose(operator @ columns, part @ columns, atol=1e-14)
    np.testing.assert_allclose(operator @ columns[:, 0], part @ columns[:, 0], atol=1e-14)
    found = eigsh(operator, k=2, which="LA", return_eigenvectors=False)
    np.testing.assert_allclose(np.sort(found), np.linalg.eigvalsh(part)[-2:], atol=1e-12)


def test_buffers_take_no_part():
    point = pruned(KEPT, buffers=4)
    whole = np.full((N + 4, N + 4), 7.0)
    whole[:N, :N] = H
    hessian = MaskedHessian(bowl(whole), point.point, Subspace.of(point))
    np.testing.assert_allclose(
        hessian.product(np.eye(hessian.dims)), H[np.ix_(KEPT, KEPT)], atol=1e-15
    )


def test_the_loss_is_a_mean_over_the_examples_asked_for():
    landscape = Bowls(np.stack([H, 3 * H, -9 * H]))
    places = np.array([0, 1])
    found = masked(landscape, places=places).product(np.eye(KEPT.sum()))
    np.testing.assert_allclose(found, 2 * H[np.ix_(KEPT, KEPT)], atol=1e-14)
    assert landscape.asked == [(places, KEPT.sum())]


def test_answers_are_float64_also_of_a_float32_loss():
    class Coarse(Bowls):
        def hessian_product(self, theta, vectors, *, split, places=None):
            assert vectors.dtype == np.float64
            return super().hessian_product(theta, vectors, split=split).astype(np.float32)

    found = masked(Coarse(H[None])).product(np.ones((2, KEPT.sum()), dtype=np.float32))
    assert found.dtype == np.float64


@pytest.mark.parametrize("shape", [(N,), (1, N), (KEPT.sum(),)])
def test_vectors_of_another_shape_are_refused(shape):
    with pytest.raises(LandscapeError, match=r"do not fit the subspace; expected \(any, "):
        masked(bowl(H)).product(np.ones(shape))
