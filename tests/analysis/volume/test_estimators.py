"""Estimators: error bars that cover the truth, damping, costs, and a real network."""

from __future__ import annotations

import numpy as np
import pytest

from landscape.analysis.directions import gaussian, isotropic
from landscape.analysis.volume.bowls import Bowl, Rotation, log_uniform_spectrum, network_spectrum
from landscape.analysis.volume.self_test import CUTOFF, checkpoint_at
from landscape.analysis.volume.volume import VolumeSettings, volume
from landscape.data_store.schemas.volume import STATUSES


def rotated(dims, seed, spectrum=log_uniform_spectrum, **kwargs):
    centre = np.random.default_rng([seed, 9]).standard_normal(dims)
    return Bowl(spectrum(dims, seed), centre, Rotation.random(dims, seed), **kwargs)


def asked(bowl, names, **settings):
    given = {"normalization": "isotropic", "max_radius": 1e4, "cutoff": CUTOFF, **settings}
    return volume(checkpoint_at(bowl), bowl, VolumeSettings(estimators=names, **given))


def errors(seeds, names, make, **settings):
    """Errors in standard errors, and verdicts: (seeds, estimators)."""
    scores, verdicts = [], []
    for seed in seeds:
        bowl = make(seed)
        ds = asked(bowl, names, seed=seed, **settings)
        off = ds["log_volume"].values[0] - bowl.log_volume(CUTOFF)
        scores.append(off / ds["log_volume_se"].values[0])
        verdicts.append([STATUSES[code] for code in ds["status"].values[0]])
    return np.array(scores), np.array(verdicts)


def covered(scores):
    return (np.abs(scores) <= 1.96).mean(axis=0)


def test_error_bars_cover_the_truth():
    """Rotated bowls of 100 dimensions, 25 seeds; the long form has 120 of 200 dimensions."""
    scores, verdicts = errors(
        range(25), ("hessian", "laplace"), lambda s: rotated(100, s), probes=24, lanczos_steps=15
    )
    assert (covered(scores) >= 0.85).all()
    assert (verdicts == "ok").all()


@pytest.mark.slow
@pytest.mark.parametrize("spectrum", [log_uniform_spectrum, network_spectrum])
def test_error_bars_cover_the_truth_at_their_rate(spectrum):
    scores, verdicts = errors(
        range(120),
        ("hessian", "laplace"),
        lambda s: rotated(200, s, spectrum),
        probes=64,
        lanczos_steps=30,
    )
    assert (verdicts == "ok").all()
    assert (covered(scores) >= 0.90).all()
    assert (covered(scores) <= 0.99).all()  # nor are they too long
    assert (np.abs(scores.mean(axis=0)) < 0.35).all()


@pytest.mark.slow
def test_error_bars_cover_the_truth_of_bodies_that_are_no_ellipsoids():
    scores, verdicts = errors(
        range(120),
        ("hessian", "laplace"),
        lambda s: rotated(100, s, bend=3.0, bent=50),
        probes=128,
        lanczos_steps=30,
    )
    sure = verdicts[:, 0] == "ok"
    assert sure.mean() > 0.8
    assert covered(scores[sure, 0]) >= 0.9
    assert (verdicts[:, 1] == "not_quadratic").all()


@pytest.mark.parametrize("seed", range(3))
def test_plain_rays_are_far_off_and_say_so(seed):
    bowl = rotated(300, seed)
    ds = asked(bowl, ("monte-carlo", "diagonal"), rays=300, probes=30, seed=seed)
    assert (ds["log_volume"].values[0] < bowl.log_volume(CUTOFF) - 30).all()
    too_few = STATUSES.index("effective_sample_size_too_small")
    assert (ds["status"].values == too_few).all()
    assert np.isnan(ds["log_volume_se"].values).all()


def test_the_diagonal_is_exact_along_the_axes():
    bowl = Bowl(log_uniform_spectrum(300, 0), np.ones(300))
    ds = asked(bowl, ("diagonal",), rays=25, probes=3)
    assert ds["log_volume"].item() == pytest.approx(bowl.log_volume(CUTOFF), abs=1e-3)
    want = -0.5 * np.log(bowl.eigenvalues).sum()
    assert ds["log_determinant"].item() == pytest.approx(want, abs=1e-6)


@pytest.mark.parametrize("damping", [1e-1, 1e-6])
def test_any_damping_gives_the_same_volume(damping):
    """The map is worse and the density still exact: only the spread suffers."""
    bowl = rotated(8, 0)
    ds = asked(bowl, ("diagonal", "hessian"), rays=4000, probes=400, damping=damping)
    off = np.abs(ds["log_volume"].values[0] - bowl.log_volume(CUTOFF))
    assert (off <= 4 * ds["log_volume_se"].values[0] + 1e-4).all()
    assert ds["damping"].values[0, 1] == pytest.approx(damping)


def test_too_few_products_are_seen():
    """Four products cannot resolve a condition of 10⁴: rejected, or right within its error."""
    bowl = rotated(400, 0, lambda n, _seed: np.geomspace(1e-4, 1.0, n))
    ds = asked(bowl, ("hessian", "laplace"), probes=30, lanczos_steps=4)
    assert (ds["status"].values != STATUSES.index("ok")).all()


def test_the_cost_is_as_stated():
    asked_for = {"products": 0, "points": 0}

    class Counted(Bowl):
        def hessian_product(self, theta, vectors, **kwargs):
            asked_for["products"] += len(vectors)
            return super().hessian_product(theta, vectors, **kwargs)

        def evaluate(self, anchors, coefficients, **kwargs):
            asked_for["points"] += len(coefficients)
            return super().evaluate(anchors, coefficients, **kwargs)

    plain = rotated(500, 0)
    bowl = Counted(plain.eigenvalues, plain.centre, plain.rotation)
    asked(bowl, ("hessian", "laplace"), probes=50, lanczos_steps=40)
    assert asked_for["products"] <= (8 + 50) * 40 + 20 * 50 + 4
    asked_for["points"] = 0
    asked(bowl, ("monte-carlo",), rays=400)
    assert asked_for["points"] < 15 * 400


def test_a_small_network():
    """Trained, float32: every radius is known and lies on the boundary."""
    torch = pytest.importorskip("torch")
    from landscape.analysis.network.evaluator import Evaluator
    from landscape.data_store.mask import Mask
    from landscape.data_store.params import ParamSpec
    from landscape.data_store.records import Checkpoint

    torch.manual_seed(0)
    inputs = torch.randn(300, 6)
    targets = (inputs[:, 0] * inputs[:, 1] > 0).long()
    model = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2))
    loss = torch.nn.functional.cross_entropy
    trainer = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(400):
        trainer.zero_grad()
        loss(model(inputs), targets).backward()
        trainer.step()
    named = {n: p.detach().numpy() for n, p in model.named_parameters()}
    spec = ParamSpec(tuple(named), tuple(p.shape for p in named.values()), "float32")
    point = Checkpoint(spec, spec.flatten(named), Mask.dense(spec, ("0.weight", "2.weight")))
    evaluator = Evaluator(
        model,
        {"train": (inputs, targets)},
        lambda outputs, wanted: loss(outputs, wanted, reduction="none"),
    )
    for normalization, dims in (("isotropic", 74), ("filter", 64)):
        settings = VolumeSettings(
            normalization=normalization, rays=60, probes=24, lanczos_steps=12, cutoff=0.3
        )
        ds = volume(point, evaluator, settings)
        assert ds["n_parameters"].item() == dims
        for row in (0, 1, 2):
            known = np.isfinite(ds["radius"].values[0, row])
            assert known.sum() == [60, 60, 24][row]
        if normalization == "isotropic":
            u = isotropic(gaussian(74, 0, range(60)), np.ones(74, bool))
            radius = ds["radius"].values[0, 0]
            edge = (point.theta + radius[:, None] * u).astype(np.float32)
            losses = evaluator.evaluate(edge, np.eye(60), split="train").loss
            np.testing.assert_allclose(losses, 0.3, rtol=1e-4)
