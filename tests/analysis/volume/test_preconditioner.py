"""The preconditioner against dense matrices: it is linear, close to the inverse root, known."""

from __future__ import annotations

import numpy as np
import pytest

from landscape.analysis.volume.bowls import log_uniform_spectrum, network_spectrum
from landscape.analysis.volume.preconditioner import Deflation, Preconditioner, preconditioner


def gaussian(count, dims, seed=0):
    return np.random.default_rng([seed, dims]).standard_normal((count, dims))


def made(spectrum, steps=40, **kwargs):
    def product(rows):
        return rows * spectrum

    return preconditioner(product, gaussian(6, len(spectrum)), steps, **kwargs), product


def dense_map(one, product, z):
    """``P z`` for each row."""
    sample = one.sample(product, z)
    lengths = np.exp(sample.draws.log_stretch) * np.linalg.norm(z, axis=1)
    return lengths[:, None] * sample.draws.directions


SPECTRA = {
    "log-uniform": log_uniform_spectrum(150, 0),
    "network": network_spectrum(150, 0),
    "indefinite": np.linspace(-0.5, 2.0, 150) ** 3,
    "singular": np.maximum(np.linspace(-1.0, 2.0, 150), 0.0),
    "outliers twice": np.concatenate([np.linspace(0.5, 1, 146), [50, 50, 70, 70.0]]),
}


@pytest.mark.parametrize("name", SPECTRA)
@pytest.mark.parametrize("steps", [5, 40])
def test_the_map_is_linear_and_its_determinant_is_known(name, steps):
    """However poor P is: ``P z`` is a matrix times z, and log |det P| the probes' mean."""
    one, product = made(SPECTRA[name], steps)
    matrix = dense_map(one, product, np.eye(150))
    z = gaussian(300, 150, seed=1)
    sample = one.sample(product, z)
    want = z @ matrix
    stretch = np.log(np.linalg.norm(want, axis=1) / np.linalg.norm(z, axis=1))
    np.testing.assert_allclose(sample.draws.log_stretch, stretch, rtol=1e-6, atol=1e-7)
    unit = want / np.linalg.norm(want, axis=1, keepdims=True)
    np.testing.assert_allclose(sample.draws.directions, unit, atol=1e-6)
    log_det = np.linalg.slogdet(matrix)[1]
    got = sample.terms["map"]
    shift = abs(np.mean(got - sample.terms["map_short"]))
    assert abs(got.mean() - log_det) < 4 * got.std() / np.sqrt(300) + shift + 1e-8


@pytest.mark.parametrize("name", ["log-uniform", "network", "outliers twice"])
def test_the_map_is_the_inverse_root_of_a_positive_matrix(name):
    spectrum = SPECTRA[name]
    one, product = made(spectrum, damping=1e-9)
    matrix = dense_map(one, product, np.eye(150))
    back = (matrix * spectrum) @ matrix.T
    assert np.abs(back - np.eye(150)).max() < 5e-3
    assert one.positive
    curvature = one.sample(product, gaussian(300, 150, seed=2)).terms["curvature"]
    truth = np.log(spectrum).sum()
    assert abs(curvature.mean() - truth) < 4 * curvature.std() / np.sqrt(300) + 1e-4


@pytest.mark.parametrize("name", ["indefinite", "singular"])
def test_no_positive_curvature_is_seen(name):
    one, _ = made(SPECTRA[name])
    assert not one.positive
    assert one.curvature_damping > 0


def test_controls_have_the_mean_of_the_sample_and_take_most_of_its_variance():
    spectrum = log_uniform_spectrum(1000, 0)
    one, product = made(spectrum)
    terms = one.sample(product, gaussian(100, 1000, seed=3)).terms
    more = one.controls(product, gaussian(100, 1000, seed=3))
    for name in ("map", "curvature"):
        np.testing.assert_allclose(terms[f"{name}_control"], more[f"{name}_control"], rtol=1e-9)
        assert np.var(terms[name] - terms[f"{name}_control"]) < 0.1 * np.var(terms[name])


def test_the_damping_is_the_one_with_the_lowest_score():
    spectrum = SPECTRA["indefinite"]
    scored = []

    def score(draws):
        scored.append(draws.log_stretch.std())
        return [np.nan, 3.0, 1.0, np.nan, 2.0, 5.0, np.nan, 7.0][len(scored) - 1]

    one, _ = made(spectrum, score=score)
    assert len(scored) == 8
    assert one.damping == pytest.approx(1e-3 * one.largest)
    assert one.largest == pytest.approx(8.0, rel=1e-6)
    assert one.least == pytest.approx(-0.125, rel=1e-3)


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_a_hessian_that_is_zero_or_not_finite_makes_none(value):
    assert made(np.full(30, value))[0] is None


@pytest.mark.parametrize("dims", [1, 2, 5, 20])
def test_a_small_matrix_is_known_exactly(dims):
    spectrum = log_uniform_spectrum(dims, 0)
    one, product = made(spectrum, damping=1e-12)
    terms = one.sample(product, gaussian(4, dims, seed=5)).terms
    np.testing.assert_allclose(terms["curvature"], np.log(spectrum).sum(), atol=1e-9)
    np.testing.assert_allclose(terms["map"], -0.5 * np.log(spectrum).sum(), atol=1e-9)


def test_taken_apart_and_put_together_it_is_the_same():
    one, product = made(SPECTRA["network"])
    again = Preconditioner.from_arrays(one.to_arrays())
    z = gaussian(3, 150, seed=6)
    want, got = one.sample(product, z), again.sample(product, z)
    np.testing.assert_array_equal(got.draws.directions, want.draws.directions)
    for name, values in want.terms.items():
        np.testing.assert_array_equal(got.terms[name], values)
    assert again.positive == one.positive


def test_what_is_set_apart_are_the_outliers():
    spectrum = network_spectrum(2000, 0)
    apart = Deflation.of(lambda rows: rows * spectrum, gaussian(2, 2000), 80)
    largest = np.sort(spectrum)[-10:]
    np.testing.assert_allclose(np.sort(apart.values)[-10:], largest, rtol=1e-6)
    gram = apart.vectors @ apart.vectors.T
    np.testing.assert_allclose(gram, np.eye(len(gram)), atol=1e-12)
    rows = apart.outside(gaussian(3, 2000, seed=7))
    np.testing.assert_allclose(rows @ apart.vectors.T, 0.0, atol=1e-12)
