"""Bézier: a curve that stays in a valley the line leaves, and one that finds none."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn

from landscape.analysis.barrier_error import Sample, bounds
from landscape.analysis.bezier import ANALYSIS, BezierSettings, bezier, verdict
from landscape.analysis.heights import heights
from landscape.analysis.landscape import Examples
from landscape.analysis.line import Line
from landscape.analysis.network.evaluator import Evaluator
from landscape.analysis.paths import bezier as curve
from landscape.analysis.paths import grid
from landscape.data_store.blocks import Blocks
from landscape.data_store.errors import LandscapeError, UsageError
from landscape.data_store.mask import Mask
from landscape.data_store.params import ParamSpec
from landscape.data_store.records import Checkpoint
from landscape.data_store.schemas.barrier import DEFINITIONS
from landscape.data_store.schemas.bezier import BEZIER
from landscape.training.models import buffer_values, parameter_spec
from landscape.training.task import cross_entropy
from tests.support.landscapes import at

EXAMPLES = 40


@dataclass(eq=False)
class Formula:
    """A loss by a formula with its gradient, for examples that differ by a constant.

    The error is that of the formula's loss above 1/2, but of one example in a hundred.
    """

    loss: object
    slope: object
    asked: list = field(default_factory=list)

    def examples(self, split):
        return EXAMPLES

    def per_example(self, anchors, coefficients, *, split, places=None):
        loss = self.loss(coefficients @ anchors)
        hardness = np.linspace(0.0, 1.0, EXAMPLES)
        wrong = np.repeat((loss > 0.5)[:, None] * 1.0, EXAMPLES, axis=1)
        return Examples(loss[:, None] + hardness, wrong)

    def gradient(self, theta, *, split, places=None):
        assert split == "train"
        self.asked.append((theta, places))
        return self.slope(theta)


def ring() -> Formula:
    """``(|θ|² − 1)²``: a valley along the unit circle, a hump of 1 in its middle."""
    return Formula(
        lambda theta: ((theta**2).sum(axis=1) - 1) ** 2,
        lambda theta: 4 * ((theta**2).sum() - 1) * theta,
    )


def wall() -> Formula:
    """A ridge of height 1 along x = 0, everywhere: nothing leads around it."""
    return Formula(
        lambda theta: np.exp(-8 * theta[:, 0] ** 2),
        lambda theta: np.array([-16 * theta[0] * np.exp(-8 * theta[0] ** 2), 0.0]),
    )


def on_circle(degrees) -> Checkpoint:
    angle = math.radians(degrees)
    return at(math.cos(angle), math.sin(angle))


def asked(landscape, a, b, **settings) -> xr.Dataset:
    chosen = {"splits": ("train",), "steps": 400, "lr": 0.05, "batch": 8, "measure": "loss"}
    return bezier(a, b, landscape, BezierSettings(**{**chosen, **settings}))


def lmc(ds, name="loss") -> float:
    return ds[f"{name}_barrier"].sel(definition="lmc").item()


def test_around_a_ring_there_is_a_path_where_the_line_has_a_barrier():
    ds = asked(ring(), on_circle(20), on_circle(150))
    middle = math.cos(math.radians(65)) ** 2  # of the chord between them, by |θ|²
    assert lmc(ds, "line_loss") == pytest.approx((middle - 1) ** 2, abs=1e-9)
    # the best parabola is nearly the circle
    assert lmc(ds) < 0.02 < 0.6 < lmc(ds, "line_loss")
    assert ds.verdict.item() == "curve is free"
    assert ds.bend.item() > 0.5
    assert ds.distance.item() < ds.length.item() < math.radians(130) * 1.05
    assert ds.status.item() == 0


def best_parabola(degrees: float) -> float:
    """The lowest mean loss of a symmetric parabola between two points of the ring, by search."""
    half = math.radians(degrees) / 2
    t = (np.arange(2000) + 0.5) / 2000
    rows = curve(t)
    means = []
    for height in np.linspace(0.0, 4.0, 801):
        ends = np.array([[-math.sin(half), math.cos(half)], [math.sin(half), math.cos(half)]])
        theta = rows @ np.stack([ends[0], [0.0, height], ends[1]])
        means.append((((theta**2).sum(axis=1) - 1) ** 2).mean())
    return min(means)


def test_the_curve_is_the_best_parabola():
    ds = asked(ring(), on_circle(30), on_circle(150), steps=1500, points=201)
    mean = np.trapezoid(ds.loss.values.ravel() - 0.5, ds.t.values)
    assert mean == pytest.approx(best_parabola(120), abs=2e-4)


def test_through_a_wall_there_is_none():
    ds = asked(wall(), at(-1.0, 0.3), at(1.0, -0.3))
    assert lmc(ds, "line_loss") > 0.9
    assert lmc(ds) > 0.9
    assert ds.verdict.item() == "no free path found"


def test_where_the_line_is_free_nothing_is_to_be_found():
    ds = asked(ring(), on_circle(20), on_circle(30))
    assert ds.verdict.item() == "line is free"


def test_the_verdict_may_be_about_the_error():
    ds = asked(ring(), on_circle(20), on_circle(150), measure="error")
    assert lmc(ds, "line_error") == 1.0
    assert lmc(ds, "error") == 0.0
    # of 40 examples none is wrong on the curve; that leaves more than 2 % open
    assert ds.verdict.item() == "undecided"
    ds = asked(ring(), on_circle(20), on_circle(150), measure="error", threshold=0.3)
    assert ds.verdict.item() == "curve is free"


@pytest.mark.parametrize(
    ("line", "path", "words"),
    [
        ((0.0, 0.01), (0.5, 0.6), "line is free"),
        ((0.02, 0.03), (0.0, 0.019), "curve is free"),
        ((0.3, 0.4), (0.02, 0.05), "no free path found"),
        ((0.01, 0.03), (0.0, 0.01), "undecided"),
        ((0.3, 0.4), (0.01, 0.03), "undecided"),
        ((math.nan, math.nan), (0.0, 0.0), "undecided"),
        ((0.3, 0.4), (math.nan, math.nan), "undecided"),
    ],
)
def test_the_rule_of_the_verdict(line, path, words):
    assert verdict(line, path, 0.02) == words


def test_untrained_the_curve_is_the_line():
    ds = asked(ring(), on_circle(20), on_circle(150), steps=0)
    np.testing.assert_allclose(ds.loss, ds.line_loss, atol=1e-14)
    assert ds.bend.item() == pytest.approx(0.0, abs=1e-15)
    assert ds.length.item() == pytest.approx(ds.distance.item())


def test_numbers_are_those_of_the_two_paths():
    landscape, a, b = ring(), on_circle(20), on_circle(150)
    ds = asked(landscape, a, b, points=9)
    first, second = sorted((a, b), key=lambda c: c.digest)
    rows = Line.walk(landscape, np.stack([first.point, second.point]), grid(9), "train")
    mine = slice(None, None, 1 if first is a else -1)
    np.testing.assert_array_equal(ds.line_loss.values.ravel(), rows.curves["loss"][mine])
    want = bounds(grid(9), rows.loss, Sample(None, bounded=False))
    np.testing.assert_array_equal(ds.line_loss_barrier_high.values.ravel(), want.high)
    own = heights(grid(9), ds.loss.values.ravel())
    np.testing.assert_allclose(ds.loss_barrier.values.ravel(), own[:, 0], atol=1e-12)
    np.testing.assert_allclose(ds.loss_t_at_max.values.ravel()[0], own[0, 1])
    assert ds.loss.values.ravel()[[0, -1]] == pytest.approx([0.5, 0.5])


def test_exchanged_ends_give_the_same_numbers_mirrored():
    a, b = on_circle(20), on_circle(150)
    forth, back = asked(ring(), a, b), asked(ring(), b, a)
    for name in ("loss", "line_loss", "error", "loss_se"):
        assert forth[name].values.tobytes() == back[name].values[..., ::-1].tobytes()
    for name in ("loss_barrier", "line_loss_barrier", "loss_barrier_high", "length", "bend"):
        assert forth[name].values.tobytes() == back[name].values.tobytes()
    position = forth.loss_t_at_max.values
    assert (position == 1 - back.loss_t_at_max.values).all() or (
        1 - position == back.loss_t_at_max.values
    ).all()


def test_parameters_and_minibatches_are_drawn_by_the_seed():
    drawn = []
    for seed in (0, 0, 1):
        landscape = ring()
        asked(landscape, on_circle(20), on_circle(150), steps=30, seed=seed)
        drawn.append(np.array([places for _, places in landscape.asked]))
    assert drawn[0].shape == (30, 8)
    assert all(len(set(places)) == 8 for places in drawn[0])
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert (drawn[0] != drawn[2]).any()
    whole = ring()
    asked(whole, on_circle(20), on_circle(150), steps=3, batch=1000)
    assert [places for _, places in whole.asked] == [None] * 3


def naive_adam(landscape, a, b, settings) -> np.ndarray:
    """Step by step as it is written, number by number."""
    control = [(x + y) / 2 for x, y in zip(a, b, strict=True)]
    first, second = [0.0] * len(a), [0.0] * len(a)
    for step in range(settings.steps):
        rng = np.random.default_rng([settings.seed, step])
        t = rng.random()
        theta = [
            (1 - t) ** 2 * x + 2 * t * (1 - t) * c + t**2 * y
            for x, c, y in zip(a, control, b, strict=True)
        ]
        slope = landscape.slope(np.array(theta))
        rate = settings.lr * (1 + math.cos(math.pi * step / settings.steps)) / 2
        for i in range(len(a)):
            g = 2 * t * (1 - t) * slope[i]
            first[i] = 0.9 * first[i] + 0.1 * g
            second[i] = 0.999 * second[i] + 0.001 * g * g
            m, v = first[i] / (1 - 0.9 ** (step + 1)), second[i] / (1 - 0.999 ** (step + 1))
            control[i] -= rate * m / (math.sqrt(v) + 1e-8)
    return np.array(control)


def test_training_is_adam_as_it_is_written():
    a, b = sorted((on_circle(20), on_circle(150)), key=lambda c: c.digest)
    settings = BezierSettings(splits=("train",), steps=130, lr=0.05, batch=8)
    control = naive_adam(ring(), a.theta, b.theta, settings)
    ds = bezier(a, b, ring(), settings)
    middle = (a.theta + b.theta) / 2
    want = np.linalg.norm(control - middle) / np.linalg.norm(a.theta - b.theta)
    assert ds.bend.item() == pytest.approx(want, rel=1e-9)


SPEC = ParamSpec(("w",), ((1, 4),), "float64")


def test_what_both_masks_prune_stays_zero():
    """A landscape that pulls every coordinate: the third is pruned in both, the second in one."""
    masks = [
        Mask(SPEC, ("w",), np.array(kept, dtype=bool)) for kept in ((1, 1, 0, 1), (1, 0, 0, 1))
    ]
    ends = [
        Checkpoint(SPEC, mask.apply(np.array([x, 1.0, 1.0, -1.0])), mask)
        for x, mask in zip((-1.0, 1.0), masks, strict=True)
    ]
    seen = []

    def slope(theta):
        seen.append(theta)
        return theta - 5.0

    landscape = Formula(lambda theta: ((theta - 5.0) ** 2).sum(axis=1), slope)
    asked(landscape, *ends, steps=50)
    last = seen[-1]
    assert last[1] > 0.0
    for theta in seen:
        assert theta[2] == 0.0
        assert not np.signbit(theta[2])


class Kept:
    """Blocks in a store, and a count of those computed."""

    def __init__(self, blocks):
        self.blocks, self.computed, self.expected = blocks, [], 0

    def expect(self, blocks):
        self.expected += blocks

    def block(self, name, compute):
        found = self.blocks.read(name)
        if found is None:
            self.computed.append(name)
            self.blocks.write(name, dict(compute()))
        return self.blocks.read(name)


def test_an_interrupted_training_goes_on_to_the_same_bit(tmp_path):
    a, b = on_circle(20), on_circle(150)
    settings = BezierSettings(splits=("train", "test"), steps=250, lr=0.05, batch=8)
    whole = bezier(a, b, ring(), settings)
    broken = ring()
    broken.slope = Failing(broken.slope, after=150)
    work = Kept(Blocks(tmp_path, "ab" * 20))
    with pytest.raises(KeyboardInterrupt):
        bezier(a, b, broken, settings, work)
    assert work.computed == ["steps 0 to 100", "steps 100 to 200"]
    again = ring()
    resumed = bezier(a, b, again, settings, Kept(Blocks(tmp_path, "ab" * 20)))
    xr.testing.assert_identical(resumed, whole)
    assert len(again.asked) == 150
    assert work.expected == 3 + 2


class Failing:
    """A function that is interrupted."""

    def __init__(self, function, after):
        self.function, self.left = function, after

    def __call__(self, theta):
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        return self.function(theta)


def test_between_equal_checkpoints_all_is_zero():
    ds = asked(ring(), on_circle(20), replace(on_circle(20), address="b"), steps=20, lr=1e-12)
    assert ds.line_loss_barrier.values.tolist() == [[[0.0] * 4]]
    assert math.isnan(ds.bend.item())
    assert ds.distance.item() == 0.0


def test_a_loss_that_is_no_number_makes_the_split_unknown():
    broken = Formula(lambda theta: theta[:, 0] * np.nan, lambda theta: theta * np.nan)
    ds = asked(broken, on_circle(20), on_circle(150), steps=5)
    assert ds.status.item() == 1
    assert ds.status.attrs["flag_meanings"].split()[1] == "not_finite_on_a_path"
    assert np.isnan(ds.loss_barrier.values).all()
    assert ds.verdict.item() == "undecided"


def net() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(8, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Linear(12, 3))


def near(module, seed) -> Checkpoint:
    rng = np.random.default_rng(seed)
    spec = parameter_spec(module)
    theta = rng.normal(0, 0.7, spec.size).astype(np.float32)
    prunable = tuple(n for n in spec.names if n.endswith("weight"))
    buffers = {n: np.abs(b + 0.1).astype(b.dtype) for n, b in buffer_values(module).items()}
    return Checkpoint(spec, theta, Mask.dense(spec, prunable), buffers, address=f"{seed}.pt")


@pytest.mark.parametrize("bn", ["interpolate", "recompute", "first"])
def test_on_a_network_the_curve_is_lower_than_the_line(bn):
    module = net()
    draws = torch.Generator().manual_seed(0)
    inputs = torch.randn(200, 8, generator=draws)
    targets = inputs[:, :3].argmax(1)
    landscape = Evaluator(module, {"train": (inputs, targets)}, cross_entropy, bn=bn)
    a, b = near(module, 0), near(module, 1)
    ds = asked(landscape, a, b, steps=60, bn=bn, batch=64, points=5)
    assert ds.loss.mean() < ds.line_loss.mean()
    assert ds.status.item() == 0
    for t in (0.0, 1.0) if bn != "first" else (0.0,):
        end = a if t == 0.0 else b
        own = landscape.per_example(end.point[None], np.ones((1, 1)), split="train")
        assert ds.loss.sel(t=t).item() == own.loss.mean()


def test_a_result_follows_its_schema():
    ds = asked(ring(), on_circle(20), on_circle(150), steps=3)
    BEZIER.validate(ds)
    assert set(ds.variables) == {*BEZIER.coordinates, *BEZIER.variables}
    assert ds.definition.values.tolist() == list(DEFINITIONS)


def test_different_architectures_are_refused():
    with pytest.raises(LandscapeError, match="hold different networks"):
        asked(ring(), at(0.0, 0.0), at(0.0))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"points": 2}, "points is 2; it must be at least 3"),
        ({"lr": 0.0}, "lr is 0.0; it must be above 0"),
        ({"measure": "los"}, "unknown measure 'los'; did you mean 'loss'"),
        ({"splits": ()}, r"splits is \(\); name one or more, each once, as in train,test"),
    ],
)
def test_settings_that_are_refused(wrong, message):
    with pytest.raises(UsageError, match=message):
        BezierSettings(**wrong)


def test_the_entry_of_the_table():
    settings = BezierSettings(pairs="all", splits=("train",), steps=2)
    points = [on_circle(20), on_circle(150), on_circle(300)]
    assert len(ANALYSIS.grouping(settings).split(points)) == 3
    assert len(ANALYSIS.grouping(BezierSettings()).split(points)) == 2
    examples = {"train": 50_000, "test": 10_000}
    assert ANALYSIS.cost(BezierSettings(), examples, 2) == 50 * 60_000 + 3 * 2_000 * 128
