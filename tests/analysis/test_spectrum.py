"""Spectral density and trace from random probes, on matrices whose spectrum is known."""

from __future__ import annotations

import numpy as np
import pytest

from landscape.analysis.spectrum import Axis, probed, spectral_density, trace
from tests.support.hessians import Matrix, dense


def probes(matrix, count, steps, known=None, seed=0):
    """Nodes, weights and quadratic forms of several probes."""
    known = np.zeros((0, matrix.dims)) if known is None else known
    rows = [probed(matrix, known, steps, seed=seed, number=i) for i in range(count)]
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def spectrum(size=60):
    return np.concatenate([np.random.default_rng(0).uniform(0, 1, size - 3), [20.0, 8.0, -2.0]])


def test_wrong_quadrature_weights():
    """The trap of PyHessian: weights are squares of the first entries, no others.

    With as many steps as dimensions the rule is exact: its nodes are the eigenvalues, and their
    weights the squared components of the probe, which for a diagonal matrix are 1 / d each.
    """
    values = np.array([-3.0, -1.0, 0.5, 2.0, 7.0])
    found = probed(Matrix(values), np.zeros((0, 5)), 5, seed=0, number=0)
    np.testing.assert_allclose(np.sort(found["nodes"]), values, atol=1e-12)
    np.testing.assert_allclose(found["weights"], 0.2, atol=1e-12)


@pytest.mark.parametrize("matrix", [Matrix(spectrum()), Matrix(dense(spectrum()))])
def test_moments_of_a_probe_are_those_of_its_quadratic_forms(matrix):
    """A rule of m steps is exact for polynomials up to degree 2m - 1 (Golub & Meurant 1994)."""
    steps = 6
    found = probed(matrix, np.zeros((0, matrix.dims)), steps, seed=4, number=2)
    start = np.random.default_rng([4, 2, 2]).choice([-1.0, 1.0], matrix.dims)
    power = start.copy()
    for degree in range(2 * steps):
        expected = start @ power / (start @ start)
        assert found["weights"] @ found["nodes"] ** degree == pytest.approx(expected, rel=1e-9)
        power = matrix.product(power[None])[0]
    assert found["quadratic"] == pytest.approx(start @ matrix.product(start[None])[0], rel=1e-12)


def test_the_mean_over_all_probes_is_the_trace():
    matrix = Matrix(dense(np.array([3.0, 1.0, 0.5, -2.0])))
    rows = probes(matrix, 4000, 1)
    value, error = trace(np.zeros(0), rows["quadratic"])
    assert value == pytest.approx(2.5, abs=4 * error)
    h = matrix.values
    variance = 2 * ((h**2).sum() - (np.diag(h) ** 2).sum())  # Rademacher: Avron & Toledo 2011
    assert error == pytest.approx(np.sqrt(variance / 4000), rel=0.1)


def test_the_standard_error_of_the_trace_covers_at_its_rate():
    """Student's t with 9 degrees of freedom: 90 % of intervals hold the truth."""
    matrix, wide = Matrix(dense(spectrum())), 1.833
    covered = 0
    for seed in range(300):
        value, error = trace(np.zeros(0), probes(matrix, 10, 1, seed=seed)["quadratic"])
        covered += abs(value - spectrum().sum()) <= wide * error
    assert 0.90 - 3 * 0.0173 <= covered / 300 <= 0.90 + 3 * 0.0173


def test_the_trace_of_a_diagonal_has_no_error():
    rows = probes(Matrix(spectrum()), 5, 3)
    value, error = trace(np.zeros(0), rows["quadratic"])
    assert value == pytest.approx(spectrum().sum(), rel=1e-14)
    assert error == pytest.approx(0, abs=1e-13)


def test_known_eigenpairs_are_left_out_of_the_probes():
    matrix = Matrix(dense(spectrum()))
    values, columns = np.linalg.eigh(matrix.values)
    known, vectors = values[[-1, -2, 0]], columns.T[[-1, -2, 0]]
    plain, rest = probes(matrix, 20, 30), probes(matrix, 20, 30, vectors)
    value, error = trace(known, rest["quadratic"])
    assert value == pytest.approx(spectrum().sum(), abs=4 * error)
    assert error < 0.2 * trace(np.zeros(0), plain["quadratic"])[1]
    heavy = rest["nodes"][rest["weights"] > 1e-12]
    assert heavy.min() > -1e-6
    assert heavy.max() < 1 + 1e-6


def test_known_vectors_need_not_be_eigenvectors():
    """What is left out is their span: the rule is one of P H P, whatever P is."""
    matrix, steps = Matrix(dense(spectrum())), 5
    draws = np.random.default_rng(1).standard_normal((60, 3))
    known = np.linalg.qr(draws)[0].T
    outside = np.eye(60) - known.T @ known
    left = outside @ matrix.values @ outside
    found = probed(matrix, known, steps, seed=0, number=0)
    start = outside @ np.random.default_rng([0, 2, 0]).choice([-1.0, 1.0], 60)
    for degree in range(2 * steps):
        expected = start @ np.linalg.matrix_power(left, degree) @ start / (start @ start)
        assert found["weights"] @ found["nodes"] ** degree == pytest.approx(expected, rel=1e-9)


def test_a_probe_of_which_nothing_is_left_says_so():
    found = probed(Matrix(np.arange(3.0)), np.eye(3), 4, seed=0, number=0)
    assert found["quadratic"] == 0
    assert not found["weights"].any()
    assert found["nodes"].shape == found["weights"].shape == (4,)


def test_an_early_end_gives_the_whole_measure():
    found = probed(Matrix(np.array([1.0, 1, 1, 2, 2])), np.zeros((0, 5)), 4, seed=0, number=0)
    for value, share in ((1, 0.6), (2, 0.4)):
        at = abs(found["nodes"] - value) < 1e-9
        assert found["weights"][at].sum() == pytest.approx(share)
    assert found["weights"].sum() == pytest.approx(1)


def test_products_that_are_not_finite_are_said():
    with pytest.raises(FloatingPointError, match="not finite"):
        probed(Matrix(np.array([1.0, np.inf])), np.zeros((0, 2)), 2, seed=0, number=0)


AXIS = Axis.over(np.array([-0.1, 10.0]), points=400, width=0.2, linear=1e-3)


def test_the_grid_is_linear_around_zero_and_logarithmic_beyond():
    assert AXIS.scale == pytest.approx(0.01)
    steps = np.diff(AXIS.eigenvalue)
    near = abs(AXIS.eigenvalue[1:]) < 0.1 * AXIS.scale
    assert np.ptp(steps[near]) < 0.02 * steps[near].mean()
    far = AXIS.eigenvalue[:-1] > 30 * AXIS.scale
    ratios = (AXIS.eigenvalue[1:] / AXIS.eigenvalue[:-1])[far]
    assert np.ptp(ratios) < 1e-4
    assert AXIS.eigenvalue[0] < -0.1
    assert AXIS.eigenvalue[-1] > 10.0
    assert len(AXIS.eigenvalue) == 400


def test_a_spectrum_of_zeros_has_a_grid_around_zero():
    axis = Axis.over(np.zeros(3), points=11, width=0.2, linear=1e-3)
    assert axis.eigenvalue[5] == pytest.approx(0, abs=1e-18)
    assert axis.eigenvalue[0] == -axis.eigenvalue[-1] < 0


def naive_density(axis, atoms, nodes, weights, dims):
    """The definition, term by term."""
    total = np.zeros(len(axis.eigenvalue))
    for g, x in enumerate(axis.eigenvalue):
        place = np.arcsinh(x / axis.scale)
        terms = [(atom, 1 / dims) for atom in atoms]
        share = (dims - len(atoms)) / dims / len(nodes)
        terms += [(v, share * w) for v, w in zip(nodes.flat, weights.flat, strict=True)]
        for value, mass in terms:
            off = (place - np.arcsinh(value / axis.scale)) / axis.width
            bump = np.exp(-(off**2) / 2) / np.sqrt(2 * np.pi) / axis.width
            total[g] += mass * bump / np.sqrt(x**2 + axis.scale**2)
    return total


def test_the_density_is_its_definition():
    rng = np.random.default_rng(0)
    nodes, weights = rng.uniform(-0.1, 5, (3, 7)), rng.random((3, 7))
    weights /= weights.sum(axis=1, keepdims=True)
    atoms = np.array([10.0, 8.0])
    found, _ = spectral_density(AXIS, atoms, nodes, weights, dims=20)
    np.testing.assert_allclose(found, naive_density(AXIS, atoms, nodes, weights, 20), rtol=1e-12)


def test_the_standard_error_of_the_density_is_that_of_the_probes():
    rng = np.random.default_rng(0)
    nodes, weights = rng.uniform(-0.1, 5, (5, 7)), np.full((5, 7), 1 / 7)
    _, error = spectral_density(AXIS, np.zeros(0), nodes, weights, dims=20)
    each = [
        spectral_density(AXIS, np.zeros(0), nodes[i : i + 1], weights[i : i + 1], 20)[0]
        for i in range(5)
    ]
    np.testing.assert_allclose(error, np.std(each, axis=0, ddof=1) / np.sqrt(5), atol=1e-15)
    assert np.isnan(spectral_density(AXIS, np.zeros(0), nodes[:1], weights[:1], 20)[1]).all()


@pytest.mark.parametrize("known", [0, 3, 60])
def test_the_density_of_a_known_spectrum(known):
    """It integrates to 1, and its integral up to any eigenvalue is the share of those below."""
    matrix = Matrix(dense(spectrum()))
    values, columns = np.linalg.eigh(matrix.values)
    order = np.argsort(-values)
    atoms, vectors = values[order[:known]], columns.T[order[:known]]
    rows = probes(matrix, 200, 30, vectors)
    axis = Axis.over(values, points=800, width=0.05, linear=1e-2)
    density, error = spectral_density(axis, atoms, rows["nodes"], rows["weights"], 60)
    below = np.cumsum(np.diff(axis.eigenvalue, prepend=0) * (density + np.roll(density, 1)) / 2)
    below -= below[0]
    assert below[-1] == pytest.approx(1, abs=1e-3)
    for cut in (-0.5, 2.0, 12.0):
        share = np.interp(cut, axis.eigenvalue, below)
        assert share == pytest.approx((values < cut).mean(), abs=0.01 if known < 3 else 1e-3)
    assert np.isfinite(error).all()


def test_the_density_of_a_wide_bulk_is_flat_in_the_middle():
    size = 2000
    matrix = Matrix(np.linspace(0, 1, size))
    rows = probes(matrix, 10, 40)
    axis = Axis.over(np.array([0.0, 1.0]), points=400, width=0.2, linear=1e-2)
    density, _ = spectral_density(axis, np.zeros(0), rows["nodes"], rows["weights"], size)
    inside = (axis.eigenvalue > 0.1) & (axis.eigenvalue < 0.5)
    np.testing.assert_allclose(density[inside], 1.0, atol=0.1)
