"""Radii against closed forms: quadratics, humps, steps, cliffs, rays without an end."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest

from landscape.analysis.landscape import Evaluation
from landscape.analysis.sampling import subset
from landscape.analysis.volume.rays import (
    CENSORED,
    ENDS_AT_NOT_FINITE,
    NOT_CONVERGED,
    OK,
    Body,
    coarse_places,
    crossings,
)
from tests.support.landscapes import ClosedForm


def found(excess, guess=1.0, count=1, tolerance=1e-8, limit=1e3, **kwargs):
    """Radii of rays that all begin at rungs around a guess."""
    first = np.tile(guess * 2.0 ** np.arange(-3, 2), (count, 1))
    return crossings(excess, first, tolerance=tolerance, limit=limit, **kwargs)


@pytest.mark.parametrize("guess", [1e-6, 0.3, 900.0])
@pytest.mark.parametrize("power", [1.0, 2.0, 5.0])
def test_powers_from_any_guess(guess, power):
    scale = np.geomspace(1e-3, 1e2, 40)
    asked = []

    def excess(rays, radii):
        asked.append(len(rays))
        return (radii / scale[rays]) ** power - 1.0

    got = found(excess, guess, 40)
    np.testing.assert_allclose(got.radius, scale, rtol=1e-8)
    assert (got.status == OK).all()
    if guess == 0.3:
        assert sum(asked) < 40 * 35


@pytest.mark.parametrize("tolerance", [1e-2, 1e-4, 1e-10])
def test_the_error_is_within_the_tolerance(tolerance):
    rng = np.random.default_rng(0)
    a, b = rng.random((2, 200)) + 0.01

    def excess(rays, radii):
        return a[rays] * radii**2 + b[rays] * radii**4 + 0.1 * np.sin(radii) - 1.0

    got = found(excess, 1.0, 200, tolerance)
    wiggle = tolerance * got.radius
    rays = np.arange(200)
    assert (excess(rays, got.radius - wiggle) < 0).all()
    assert (excess(rays, got.radius + wiggle) > 0).all()


def test_the_first_crossing_counts():
    """A hump from 1 to 2, then low again until 8: rungs at factors of 2 see it."""

    def excess(_rays, radii):
        hump = (radii > 1.0) & (radii < 2.5)
        return np.where(hump | (radii > 8.0), 1.0, -1.0)

    for guess in (0.5, 1.0, 4.0):
        got = found(excess, guess, smooth=False)
        np.testing.assert_allclose(got.radius, 1.0, rtol=1e-8)


def test_a_hump_thinner_than_a_rung_is_missed_as_stated():
    def excess(_rays, radii):
        return np.where(((radii > 1.4) & (radii < 1.41)) | (radii > 8.0), 1.0, -1.0)

    np.testing.assert_allclose(found(excess, 4.0, smooth=False).radius, 8.0, rtol=1e-8)


def test_steps_are_bracketed():
    edges = np.geomspace(0.1, 10, 30)

    def excess(rays, radii):
        return np.floor(4 * radii / edges[rays]) / 4 - 0.9

    got = found(excess, 1.0, 30, tolerance=1e-6, smooth=False)
    np.testing.assert_allclose(got.radius, edges, rtol=1e-6)


def test_a_kink_is_within_the_bracket_that_is_verified():
    def excess(_rays, radii):
        return np.where(radii < 1.0, -1e-3, 1e6 * (radii - 1.0) - 1e-3)

    for guess in np.linspace(0.6, 1.4, 41):
        got = found(excess, guess, tolerance=1e-8)
        np.testing.assert_allclose(got.radius, 1 + 1e-9, rtol=1e-4)


def test_a_ray_without_an_end_is_censored_and_has_no_radius():
    def excess(rays, radii):
        return np.where(rays == 0, radii - 2.0, -1.0 / radii)

    got = found(excess, 1.0, 2, limit=50.0)
    assert got.status.tolist() == [OK, CENSORED]
    assert np.isnan(got.radius[1])


def test_a_crossing_just_inside_the_limit_is_found():
    got = found(lambda _rays, radii: radii - 49.999, 1.0, limit=50.0)
    np.testing.assert_allclose(got.radius, 49.999, rtol=1e-8)
    got = found(lambda _rays, radii: radii - 50.001, 1.0, limit=50.0)
    assert got.status.tolist() == [CENSORED]


def test_beyond_a_cliff_the_loss_is_not_finite():
    def excess(_rays, radii):
        return np.where(radii < 3.0, -1.0, np.nan)

    got = found(excess)
    assert got.status.tolist() == [ENDS_AT_NOT_FINITE]
    np.testing.assert_allclose(got.radius, 3.0, rtol=1e-8)


def test_a_centre_on_the_boundary_does_not_converge():
    got = found(lambda _rays, radii: radii)
    assert got.status.tolist() == [NOT_CONVERGED]
    assert np.isnan(got.radius[0])


def test_rays_are_independent_of_their_company():
    scale = np.geomspace(1e-2, 10, 12)

    def excess(rays, radii):
        return np.exp(radii / scale[rays]) - 5.0

    together = found(excess, 1.0, 12).radius
    for i in range(12):
        alone = found(lambda _rays, radii, s=scale[i]: np.exp(radii / s) - 5.0).radius
        assert alone[0] == together[i]


def body(landscape, centre, level=0.1, coarse=None, **kwargs):
    settings = {"measure": "loss", "tolerance": 1e-8, "limit": 100.0, **kwargs}
    return Body(landscape, centre, level, split="train", places=None, coarse=coarse, **settings)


def unit(count, dims, seed=0):
    rows = np.random.default_rng(seed).standard_normal((count, dims))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_radii_of_a_bowl():
    eigenvalues = np.geomspace(1, 100, 15)
    centre = np.arange(15.0)
    bowl = ClosedForm(lambda theta: 0.5 * ((theta - centre) ** 2 * eigenvalues).sum(axis=1))
    u = unit(50, 15)
    got = body(bowl, centre).radii(u)
    np.testing.assert_allclose(got.radius, np.sqrt(0.2 / (u**2 @ eigenvalues)), rtol=1e-8)
    for few in (1, 2, 3):
        alone = body(bowl, centre).radii(u[:few])
        np.testing.assert_allclose(alone.radius, got.radius[:few], rtol=1e-8)


def test_radii_by_accuracy():
    """Error 0.05 times the distance, in steps of 0.01."""
    form = ClosedForm(
        lambda theta: np.linalg.norm(theta, axis=1),
        lambda theta: np.floor(5 * np.linalg.norm(theta, axis=1)) / 100,
    )
    got = body(form, np.zeros(4), 0.2, measure="error", tolerance=1e-6).radii(unit(6, 4))
    np.testing.assert_allclose(got.radius, 4.2, rtol=1e-6)


@dataclass(frozen=True)
class Many:
    """A bowl for each of many examples, of random steepness: the mean loss is a bowl too."""

    steepness: np.ndarray
    asked: list = field(default_factory=list)

    def examples(self, split):
        return len(self.steepness)

    def evaluate(self, anchors, coefficients, *, split, places=None):
        used = self.steepness if places is None else self.steepness[places]
        self.asked.append((len(used), len(coefficients)))
        theta = (coefficients @ anchors).astype(np.float64)
        loss = used.mean() * (theta**2).sum(axis=1)
        nothing = np.full(len(theta), np.nan)
        return Evaluation(loss, nothing, nothing, nothing, len(used))


def test_few_examples_search_and_all_decide():
    many = Many(np.random.default_rng(0).lognormal(size=20_000))
    coarse = coarse_places(20_000, None, 0)
    got = body(many, np.zeros(9), coarse=coarse).radii(unit(64, 9))
    np.testing.assert_allclose(got.radius, np.sqrt(0.1 / many.steepness.mean()), rtol=1e-8)
    full = sum(points for size, points in many.asked if size == 20_000)
    assert full < 64 * 8
    assert {size for size, _ in many.asked} == {20_000, 512}


def test_float32_centres_are_asked_in_float32():
    many = Many(np.ones(3000))
    asked = []

    @dataclass(frozen=True)
    class Watched(Many):
        def evaluate(self, anchors, coefficients, **kwargs):
            asked.append(anchors.dtype)
            return super().evaluate(anchors, coefficients, **kwargs)

    got = body(Watched(many.steepness), np.zeros(9, np.float32), tolerance=1e-5).radii(unit(5, 9))
    np.testing.assert_allclose(got.radius, np.sqrt(0.1), rtol=1e-5)
    assert set(asked) == {np.dtype(np.float32)}


def test_coarse_places_are_few_and_nested_in_the_subset():
    assert coarse_places(1000, None, 0) is None
    assert coarse_places(60_000, 1000, 0) is None
    assert len(coarse_places(1600, None, 0)) == 100
    assert len(coarse_places(60_000, None, 0)) == 512
    assert set(coarse_places(60_000, 4000, 7)) <= set(subset(60_000, 4000, 7))
