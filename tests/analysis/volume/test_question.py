"""What estimators ask with: draws, batches and products in the moving coordinates."""

from __future__ import annotations

import numpy as np
import pytest

from landscape.analysis.directions import gaussian
from landscape.analysis.subspace import Subspace
from landscape.analysis.volume.bowls import Bowl, log_uniform_spectrum
from landscape.analysis.volume.question import Question
from landscape.analysis.volume.rays import Body
from landscape.analysis.volume.volume import VolumeSettings
from landscape.analysis.work import AtOnce
from landscape.data_store.mask import Mask
from landscape.data_store.params import ParamSpec
from landscape.data_store.records import Checkpoint


def asked(kept, work=None, **settings):
    spec = ParamSpec(("w",), ((4, len(kept) // 4),), "float64")
    theta = np.where(kept, np.arange(1.0, len(kept) + 1), 0.0)
    checkpoint = Checkpoint(spec, theta, Mask(spec, ("w",), kept))
    bowl = Bowl(log_uniform_spectrum(len(kept), 0), theta)
    body = Body(bowl, theta, 0.1, "loss", "train", None, None, 1e-6, 1e3)
    subspace = Subspace.of(checkpoint)
    return Question(
        checkpoint,
        subspace,
        np.full(subspace.dims, 2.0),
        False,
        body,
        0.1,
        VolumeSettings(**settings),
        work or AtOnce(),
    )


@pytest.fixture
def kept():
    return np.random.default_rng(0).random(40) < 0.6


def test_draws_are_those_of_the_dense_network_masked(kept):
    """Common random numbers: equal for all masks where they keep the same weights."""
    ask = asked(kept, seed=3)
    np.testing.assert_array_equal(
        ask.gaussian(np.array([5, 9])), gaussian(40, 3, [5, 9])[:, np.flatnonzero(kept)]
    )
    assert ask.gaussian(np.arange(0)).shape == (0, kept.sum())


def test_radii_are_along_the_moving_coordinates(kept):
    ask = asked(kept)
    got = ask.radii(np.eye(ask.dims))
    want = np.sqrt(0.2 / log_uniform_spectrum(40, 0)[kept])
    np.testing.assert_allclose(got.radius, want, rtol=1e-6)


def test_the_hessian_is_that_of_the_moving_coordinates(kept):
    ask = asked(kept)
    want = np.diag(log_uniform_spectrum(40, 0)[kept])
    np.testing.assert_allclose(ask.hessian().product(np.eye(ask.dims)), want, atol=1e-12)


def test_units_are_in_logarithms(kept):
    assert asked(kept).log_units == pytest.approx(kept.sum() * np.log(2.0))


def test_batches_are_bounded_by_memory_and_complete(kept):
    ask = asked(kept, rays=600)
    batches = ask.ray_batches()
    assert [len(batch) for batch in batches] == [256, 256, 88]
    np.testing.assert_array_equal(np.concatenate(batches), np.arange(600))
    assert [len(batch) for batch in ask.batches(5, 0)] == [1] * 5
    assert [len(batch) for batch in ask.probe_batches(64, 40)] == [64]


def test_batches_are_blocks_of_work(kept):
    names = []

    class Watched(AtOnce):
        def block(self, name, compute):
            names.append(name)
            return super().block(name, compute)

    ask = asked(kept, Watched())
    found = ask.blocks("rays", ask.batches(5, 2), lambda numbers: {"twice": 2 * numbers})
    assert names == ["rays 0", "rays 2", "rays 4"]
    np.testing.assert_array_equal(found["twice"], [0, 2, 4, 6, 8])
