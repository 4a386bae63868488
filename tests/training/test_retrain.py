"""What a level starts from, mode by mode, against the points it is made of."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from landscape.data_store.mask import Mask
from landscape.data_store.params import Array, ParamSpec
from landscape.data_store.records import Point, RunConfig
from landscape.training.retrain import Known, Start, start
from landscape.training.schedule import last_rate
from tests.support.experiments import bits, point_bits

SPEC = ParamSpec(("w", "bias", "v", "head"), ((300, 4), (300,), (50, 10), (100,)))
PRUNABLE = ("w", "v")
LEVELS = 5


def point(seed: int) -> Point:
    """Random weights, of a spread of its own in each tensor and point, and a buffer."""
    draws = np.random.default_rng(seed)
    theta = draws.standard_normal(SPEC.size).astype(np.float32)
    for scale, name in enumerate(SPEC.names, start=1):
        theta[SPEC.slices[name]] *= scale * seed
    return Point(theta, {"mean": draws.standard_normal(3).astype(np.float32)})


INIT, REWIND, TRAINED = point(1), point(2), point(3)
KNOWN = Known(INIT, REWIND, TRAINED, redraw=lambda level: point(100 + level))


def mask_of(density: float = 0.3, seed: int = 0) -> Mask:
    """A random mask over `PRUNABLE`."""
    dense = Mask.dense(SPEC, PRUNABLE)
    return Mask(
        SPEC, PRUNABLE, (np.random.default_rng(seed).random(SPEC.size) < density) | ~dense.covered
    )


def config_of(retrain: str = "rewind", **changes: Any) -> RunConfig:
    """Five levels of a hundred steps, rewound to step 7, whose rate ends at 0.001."""
    return RunConfig(
        retrain=retrain,
        levels=LEVELS,
        **{"iterations": 100, "rewind_step": 7, "lr": 0.1, "lr_milestones": (50, 80), **changes},
    )


def begun(level: int = 2, mask: Mask | None = None, known: Known = KNOWN, **changes: Any) -> Start:
    """Where a level begins."""
    return start(config_of(**changes), level, mask or mask_of(), known)


@pytest.mark.parametrize(
    ("retrain", "level", "expected", "step"),
    [
        ("rewind", 1, REWIND, 7),
        ("rewind", LEVELS - 1, REWIND, 7),
        ("lr-rewind", 1, TRAINED, 7),
        ("lr-rewind", LEVELS - 1, TRAINED, 7),
        ("finetune", 1, TRAINED, 7),
        ("finetune", LEVELS - 1, TRAINED, 7),
        ("continue", 1, TRAINED, 0),
        ("continue", LEVELS - 2, TRAINED, 0),
        ("continue", LEVELS - 1, REWIND, 7),  # the reset at the end
        ("reinit", 1, point(101), 0),
        ("reinit", LEVELS - 1, point(104), 0),
    ],
)
def test_weights_buffers_and_step(retrain: str, level: int, expected: Point, step: int) -> None:
    begin = begun(level, retrain=retrain)
    assert point_bits(begin.point) == point_bits(expected)
    assert begin.step == step


@pytest.mark.parametrize(
    "retrain", ["rewind", "lr-rewind", "continue", "reinit", "reinit-survivors"]
)
def test_all_but_fine_tuning_follow_the_schedule(retrain: str) -> None:
    assert begun(retrain=retrain).rate is None


@pytest.mark.parametrize("schedule", ["step", "cosine"])
def test_fine_tuning_has_the_last_rate(schedule: str) -> None:
    rate = begun(retrain="finetune", lr_schedule=schedule).rate
    assert rate == last_rate(config_of("finetune", lr_schedule=schedule))
    if schedule == "step":
        assert rate == pytest.approx(0.1 * 0.1**2, rel=1e-12)


@pytest.mark.parametrize("retrain", ["lr-rewind", "finetune", "continue"])
def test_without_trained_weights_the_rewind_point_stands_for_them(retrain: str) -> None:
    known = Known(INIT, REWIND, None, KNOWN.redraw)
    assert point_bits(begun(retrain=retrain, known=known).point) == point_bits(REWIND)


def layer(begin: Start, name: str) -> Array:
    """The start weights of one tensor."""
    values: Array = begin.point.theta[SPEC.slices[name]]
    return values


def test_survivors_weights_are_resampled_within_each_tensor() -> None:
    mask = mask_of()
    begin = begun(mask=mask, retrain="reinit-survivors")
    assert begin.step == 0
    assert begin.point.theta.dtype == INIT.theta.dtype
    for name in PRUNABLE:
        kept = mask.layer(name)
        survivors = INIT.theta[SPEC.slices[name]][kept]
        values = layer(begin, name)
        assert set(values.tolist()) <= set(survivors.tolist())
        # with replacement: n draws of n values reach 1 - 1/e of them
        reached = len(set(values[kept].tolist())) / len(survivors)
        assert abs(reached - (1 - 1 / math.e)) < 5 / math.sqrt(len(survivors)) / 2
        assert abs(values.mean() - survivors.mean()) < 5 * survivors.std() / math.sqrt(len(values))
        assert np.mean(values[kept] == survivors) < 0.1
    for name in ("bias", "head"):
        assert bits(layer(begin, name)) == bits(INIT.theta[SPEC.slices[name]])
    buffers = begin.point.buffers
    assert {n: bits(b) for n, b in buffers.items()} == {n: bits(b) for n, b in INIT.buffers.items()}


def test_the_resample_is_of_the_survivors_distribution() -> None:
    # the survivors are the large ones: a fresh draw would put half its weights in the gap
    dense = Mask.dense(SPEC, PRUNABLE)
    mask = Mask(SPEC, PRUNABLE, (np.abs(INIT.theta) > 1) | ~dense.covered)
    begin = begun(mask=mask, retrain="reinit-survivors")
    assert np.abs(layer(begin, "w")).min() > 1
    assert {float(s) for s in np.sign(layer(begin, "w"))} == {-1.0, 1.0}


def test_an_empty_tensor_has_no_survivors_to_draw_from() -> None:
    mask = mask_of(density=-1)
    begin = begun(mask=mask, retrain="reinit-survivors")
    assert point_bits(begin.point) == point_bits(INIT)


def test_draws_are_functions_of_seed_and_level() -> None:
    for changes in ({"retrain": "reinit-survivors"}, {"init_noise": 1.0}):
        first = begun(2, **changes).point
        assert point_bits(begun(2, **changes).point) == point_bits(first)
        for other in (begun(3, **changes).point, begun(2, seed=1, **changes).point):
            assert np.mean(other.theta[:1200] == first.theta[:1200]) < 0.05


@pytest.mark.parametrize("sigma", [0.5, 3.0])
@pytest.mark.parametrize("retrain", ["rewind", "lr-rewind", "reinit"])
def test_noise_has_the_stated_deviation(retrain: str, sigma: float) -> None:
    quiet, noisy = begun(retrain=retrain), begun(retrain=retrain, init_noise=sigma)
    assert (noisy.step, noisy.rate) == (quiet.step, quiet.rate)
    assert noisy.point.theta.dtype == np.float32
    assert point_bits(noisy.point)[1:] == point_bits(quiet.point)[1:]
    for name in PRUNABLE:
        added = layer(noisy, name).astype(float) - layer(quiet, name)
        deviation = sigma * INIT.theta[SPEC.slices[name]].astype(float).std()
        n = added.size
        assert abs(added.mean()) < 5 * deviation / math.sqrt(n)
        assert abs(added.std() - deviation) < 5 * deviation / math.sqrt(2 * n)
        assert abs(np.corrcoef(added, layer(quiet, name))[0, 1]) < 5 / math.sqrt(n)
    for name in ("bias", "head"):
        assert bits(layer(noisy, name)) == bits(layer(quiet, name))


@pytest.mark.parametrize("retrain", ["rewind", "finetune"])
def test_no_noise_is_no_change(retrain: str) -> None:
    assert begun(retrain=retrain, init_noise=0.0).point is (
        REWIND if retrain == "rewind" else TRAINED
    )


def test_the_known_points_are_left_alone() -> None:
    before = [point_bits(p) for p in (INIT, REWIND, TRAINED)]
    for retrain in ("rewind", "lr-rewind", "finetune", "continue", "reinit", "reinit-survivors"):
        begun(retrain=retrain, init_noise=2.0).point.theta[:] = 0
    assert [point_bits(p) for p in (INIT, REWIND, TRAINED)] == before
