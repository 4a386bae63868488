"""Barrier: known heights on closed forms, four definitions, both directions, refinement."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn

from landscape.analysis.barrier import ANALYSIS, BarrierSettings, barrier, stability
from landscape.analysis.barrier_error import Sample, bounds
from landscape.analysis.landscape import Examples
from landscape.analysis.network.evaluator import Evaluator
from landscape.analysis.paths import grid
from landscape.analysis.work import AtOnce
from landscape.data_store.errors import LandscapeError, UsageError
from landscape.data_store.mask import Mask
from landscape.data_store.params import ParamSpec
from landscape.data_store.records import Checkpoint
from landscape.data_store.results import load_result, save_result
from landscape.data_store.schemas.barrier import BARRIER, DEFINITIONS
from landscape.training.models import buffer_values, parameter_spec
from landscape.training.task import cross_entropy
from tests.support.examples import OnExamples, made_up
from tests.support.heights import naive_heights
from tests.support.landscapes import ClosedForm, at, double_well, quadratic

ONE = {"splits": ("train",)}
OF_TOL = {"sampling_status", "examples_at"} | {
    f"{measure}_barrier_split_{side}" for measure in ("loss", "error") for side in ("low", "high")
}
OF_REFINEMENT = {"refinement", "refined_alpha", "refined_loss", "refined_error"}


def asked(landscape, a, b, **settings) -> xr.Dataset:
    return barrier(a, b, landscape, BarrierSettings(**{**ONE, **settings}))


def found(ds, measure="loss", what="barrier", split="train"):
    """The four definitions of a result, by name."""
    values = ds[f"{measure}_{what}"].sel(split=split).isel(pair=0)
    return {d: float(values.sel(definition=d)) for d in DEFINITIONS}


def bump(height=2.0, centre=0.3217, width=0.03):
    """A Gaussian on the first coordinate, narrow and off every grid."""
    return lambda theta: height * np.exp(-0.5 * ((theta[:, 0] - centre) / width) ** 2)


def flat(theta):
    return np.full(len(theta), 0.7)


@dataclass
class BySplit:
    """A landscape for each split, and a count of the questions."""

    splits: dict[str, ClosedForm]
    asked: list[int] = field(default_factory=list)

    def per_example(self, anchors, coefficients, *, split, places=None) -> Examples:
        self.asked.append(len(coefficients))
        return self.splits[split].per_example(anchors, coefficients, split=split)


def test_a_convex_bowl_has_no_hump():
    bowl = quadratic(np.array([1.0]))
    level = asked(bowl, at(-1.0), at(1.0), points=5)
    assert level.loss.values.ravel().tolist() == [0.5, 0.125, 0.0, 0.125, 0.5]
    assert found(level) == {"lmc": 0, "deviation": 0, "over_max": 0, "increase": 0}
    slope = asked(bowl, at(0.0), at(2.0), points=5)
    assert slope.loss.values.ravel().tolist() == [0.0, 0.125, 0.5, 1.125, 2.0]
    assert found(slope) == {"lmc": 1, "deviation": 0, "over_max": 0, "increase": 2}
    assert found(slope, what="alpha_at_max") == {
        "lmc": 1,
        "deviation": found(slope, what="alpha_at_max")["deviation"],
        "over_max": 1,
        "increase": 1,
    }


@pytest.mark.parametrize("points", [3, 25, 101])
def test_a_concave_cap_is_above_its_chord_only(points):
    cap = quadratic(np.array([-1.0, -1.0]))
    ds = asked(cap, at(0.0, 0.0), at(2.0, 0.0), points=points)
    assert found(ds) == pytest.approx({"lmc": 1, "deviation": 0.5, "over_max": 0, "increase": 2})
    assert found(ds, what="alpha_at_max") == {
        "lmc": 0,
        "deviation": 0.5,
        "over_max": 0,
        "increase": 0,
    }


@pytest.mark.parametrize("points", [3, 25, 101])
@pytest.mark.parametrize("height", [0.25, 3.0])
def test_a_double_well_of_known_height(points, height):
    for a, b in ((-1.0, 1.0), (1.0, -1.0)):
        ds = asked(double_well(height), at(a, 0.3), at(b, -0.2), points=points)
        assert found(ds) == pytest.approx(dict.fromkeys(DEFINITIONS, height), rel=1e-14)
        assert found(ds, what="alpha_at_max") == dict.fromkeys(DEFINITIONS, 0.5)


def test_an_even_number_of_points_misses_the_middle_and_refinement_finds_it():
    coarse = asked(double_well(1.0), at(-1.0), at(1.0), points=4)
    assert found(coarse) == pytest.approx(dict.fromkeys(DEFINITIONS, (8 / 9) ** 2))
    fine = asked(double_well(1.0), at(-1.0), at(1.0), points=4, refine=True, tolerance=1e-6)
    assert found(fine) == pytest.approx(dict.fromkeys(DEFINITIONS, 1.0), abs=1e-6)


def test_ends_of_unequal_height():
    """``(x² - 1)²`` from -1 to 1/2: E_a = 0, E_b = 9/16, the top 1 at alpha = 2/3."""
    ds = asked(double_well(1.0), at(-1.0), at(0.5), points=4)
    want = {"lmc": 1 - 9 / 32, "over_max": 7 / 16, "increase": 1, "deviation": 1 - 2 / 3 * 9 / 16}
    assert found(ds) == pytest.approx(want)
    assert found(ds, what="alpha_at_max") == pytest.approx(dict.fromkeys(DEFINITIONS, 2 / 3))


def test_loss_and_error_are_measured_apart():
    def steps(theta):
        return np.where(np.abs(theta[:, 0]) < 0.3, 0.5, 0.125)

    ds = asked(ClosedForm(double_well(1.0).loss, steps), at(-1.0), at(1.0), points=5)
    assert ds.error.values.ravel().tolist() == [0.125, 0.125, 0.5, 0.125, 0.125]
    assert found(ds, "error") == dict.fromkeys(DEFINITIONS, 0.375)
    assert found(ds) == dict.fromkeys(DEFINITIONS, 1.0)


@pytest.mark.parametrize("points", [3, 4, 25, 101])
def test_the_grid_of_a_result(points):
    ds = asked(double_well(1.0), at(-1.0), at(0.7), points=points)
    np.testing.assert_array_equal(ds.alpha, grid(points))
    x = -1.0 + 1.7 * grid(points)
    np.testing.assert_allclose(ds.loss.values.ravel(), (x**2 - 1) ** 2, atol=1e-14)
    want = naive_heights(grid(points).tolist(), ds.loss.values.ravel().tolist())
    assert list(found(ds).values()) == pytest.approx([height for height, _ in want], abs=1e-14)
    assert "refinement" not in ds.dims


def random_form(seed):
    """A landscape without symmetry, on six coordinates."""
    rng = np.random.default_rng(seed)
    waves, phases = rng.normal(size=(6, 4)), rng.uniform(0, 6, 4)
    return ClosedForm(
        lambda theta: np.exp(np.sin(theta @ waves + phases).sum(axis=1)),
        lambda theta: np.round(10 * np.cos(theta @ waves + phases).sum(axis=1) ** 2) / 160,
    )


def net(norm=False) -> nn.Module:
    middle = [nn.BatchNorm1d(9)] if norm else []
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(70, 9), *middle, nn.Tanh(), nn.Linear(9, 4))


def near(module, seed, address=None) -> Checkpoint:
    """A checkpoint of the module with weights and statistics of its own."""
    rng = np.random.default_rng(seed)
    spec = parameter_spec(module)
    theta = rng.normal(0, 0.5, spec.size).astype(np.float32)
    buffers = {
        name: np.abs(b + rng.normal(0, 0.3, b.shape)).astype(b.dtype)
        for name, b in buffer_values(module).items()
    }
    mask = Mask.dense(spec, tuple(n for n in spec.names if n.endswith("weight")))
    return Checkpoint(spec, theta, mask, buffers, address=address or f"{seed}.pt")


def data(examples=30, seed=0):
    draws = torch.Generator().manual_seed(seed)
    inputs = torch.randn(examples, 70, generator=draws)
    return inputs, torch.randint(0, 4, (examples,), generator=draws)


def network_landscape(module, bn="interpolate") -> Evaluator:
    return Evaluator(module, {"train": data(), "test": data(seed=1)}, cross_entropy, bn=bn)


@pytest.mark.parametrize("refine", [False, True])
def test_between_equal_checkpoints_all_is_exactly_zero(refine):
    theta = np.random.default_rng(0).normal(size=6)
    for landscape, a, b in (
        (random_form(0), at(*theta, address="a"), at(*theta, address="b")),
        (network_landscape(net()), near(net(), 1, "a.pt"), near(net(), 1, "b.pt")),
        (network_landscape(net(norm=True)), near(net(norm=True), 1), near(net(norm=True), 1)),
    ):
        ds = asked(landscape, a, b, refine=refine, points=7)
        assert found(ds) == found(ds, "error") == dict.fromkeys(DEFINITIONS, 0.0)
        assert len(set(ds.loss.values.ravel())) == 1
        assert ds.distance.item() == 0.0
        assert ds.status.item() == 0


def assert_mirrored(forth: xr.Dataset, back: xr.Dataset) -> None:
    """Two results are each other's mirror image, bit for bit."""
    assert set(forth.variables) == set(back.variables)
    turned = {"loss_alpha_at_max", "error_alpha_at_max"} | OF_REFINEMENT
    for name in set(forth.data_vars) - turned:
        direction = -1 if "alpha" in forth[name].dims else 1
        assert forth[name].values.tobytes() == back[name].values[..., ::direction].tobytes(), name
    for name in ("loss_alpha_at_max", "error_alpha_at_max"):
        assert mirrored(forth[name].values, back[name].values)
    for split in range(forth.sizes["split"] if "refinement" in forth.dims else 0):
        one, other = (ds.isel(pair=0, split=split) for ds in (forth, back))
        there = np.isfinite(one.refined_alpha.values)
        assert np.array_equal(there, np.isfinite(other.refined_alpha.values))
        assert mirrored(one.refined_alpha.values[there], other.refined_alpha.values[there][::-1])
        for name in ("refined_loss", "refined_error"):
            values = one[name].values[there], other[name].values[there][::-1]
            assert values[0].tobytes() == values[1].tobytes()


def mirrored(one, other) -> bool:
    """Positions seen from the other end; taking one from 1 rounds at most once."""
    pairs = (one, 1 - other), (1 - one, other)
    return any(np.array_equal(*pair, equal_nan=True) for pair in pairs)


@pytest.mark.parametrize("settings", [{}, {"points": 6}, {"refine": True, "tolerance": 1e-5}])
@pytest.mark.parametrize("seed", range(4))
def test_exchanged_checkpoints_give_the_same_numbers_mirrored(seed, settings):
    theta = np.random.default_rng(seed).normal(size=(2, 6))
    a, b = (at(*row) for row in theta)
    forth, back = (asked(random_form(seed), *ends, **settings) for ends in ((a, b), (b, a)))
    assert_mirrored(forth, back)
    assert found(forth)["lmc"] > 0


@pytest.mark.parametrize("refine", [False, True])
@pytest.mark.parametrize(
    ("norm", "bn"), [(False, "interpolate"), (True, "interpolate"), (True, "recompute")]
)
def test_exchanged_networks_give_the_same_numbers_mirrored(norm, bn, refine):
    for seed in range(4):
        settings = {"bn": bn, "refine": refine, "points": 6, "splits": ("train", "test")}
        a, b = near(net(norm), seed), near(net(norm), seed + 10)
        forth, back = (
            asked(network_landscape(net(norm), bn), *ends, **settings) for ends in ((a, b), (b, a))
        )
        assert_mirrored(forth, back)


def test_the_ends_are_the_checkpoints_own_losses():
    module = net(norm=True)
    a, b = near(module, 0), near(module, 1)
    landscape = network_landscape(module)
    ds = asked(landscape, a, b, splits=("train", "test"))
    for split in ("train", "test"):
        for end, alpha in ((a, 0.0), (b, 1.0)):
            lone = end.point[None], np.ones((1, 1))
            own = landscape.per_example(*lone, split=split)
            assert ds.loss.sel(split=split, alpha=alpha).item() == own.loss.mean()
            assert ds.error.sel(split=split, alpha=alpha).item() == own.error.mean()
            mean = landscape.evaluate(*lone, split=split).loss[0]
            assert ds.loss.sel(split=split, alpha=alpha).item() == pytest.approx(mean, rel=1e-15)


def test_first_means_the_first_in_either_direction():
    module = net(norm=True)
    landscape = network_landscape(module, "first")
    for a, b in ((near(module, 0), near(module, 1)), (near(module, 1), near(module, 0))):
        ds = asked(landscape, a, b, bn="first")
        own = landscape.per_example(a.point[None], np.ones((1, 1)), split="train").loss.mean()
        assert ds.loss.sel(alpha=0.0).item() == own
        other = landscape.per_example(b.point[None], np.ones((1, 1)), split="train").loss.mean()
        assert ds.loss.sel(alpha=1.0).item() != pytest.approx(other, rel=1e-6)


@pytest.mark.parametrize("tolerance", [1e-2, 1e-4, 1e-8])
def test_refinement_finds_a_narrow_peak_off_the_grid(tolerance):
    landscape = ClosedForm(bump(), bump(height=0.4))
    coarse = asked(landscape, at(0.0), at(1.0), tolerance=tolerance)
    fine = asked(landscape, at(0.0), at(1.0), tolerance=tolerance, refine=True)
    for measure, height in (("loss", 2.0), ("error", 0.4)):
        assert found(fine, measure) == pytest.approx(
            dict.fromkeys(DEFINITIONS, height), abs=tolerance
        )
        for position in found(fine, measure, "alpha_at_max").values():
            assert position == pytest.approx(0.3217, abs=0.03 * math.sqrt(2 * tolerance))
        assert found(coarse, measure)["lmc"] < height * 0.97
    assert fine.status.item() == 0
    for name in ("loss", "loss_se", "error", "error_se"):
        assert fine[name].values.tobytes() == coarse[name].values.tobytes()


def test_refined_points_are_on_the_curve_in_order_and_off_the_grid():
    ds = asked(ClosedForm(bump()), at(0.0), at(1.0), refine=True).isel(pair=0, split=0)
    alpha = ds.refined_alpha.values
    assert (np.diff(alpha) > 0).all()
    assert not np.isin(alpha, ds.alpha).any()
    np.testing.assert_allclose(ds.refined_loss, bump()(alpha[:, None]), rtol=1e-12)
    assert np.isnan(ds.refined_error).all()
    assert ds.refinement.values.tolist() == list(range(len(alpha)))
    assert ds.refined_loss.max() == pytest.approx(2.0, abs=1e-3)


def test_refined_points_are_padded_where_a_split_needs_fewer():
    landscape = BySplit({"train": ClosedForm(flat, flat), "test": ClosedForm(bump(), bump())})
    ds = asked(landscape, at(0.0), at(1.0), refine=True, splits=("train", "test"))
    counts = np.isfinite(ds.refined_alpha.isel(pair=0)).sum("refinement").values.tolist()
    assert 0 < counts[0] < counts[1] == ds.sizes["refinement"]
    for name in ("refined_alpha", "refined_loss", "refined_error"):
        values = ds[name].isel(pair=0, split=0).values
        assert np.isfinite(values[: counts[0]]).all()
        assert np.isnan(values[counts[0] :]).all()
    BARRIER.validate(ds)


def test_a_flat_line_stops_at_once():
    landscape = BySplit({"train": ClosedForm(flat, flat)})
    ds = asked(landscape, at(0.0), at(1.0), refine=True)
    assert landscape.asked[0] == 25
    assert len(landscape.asked) <= 3  # the line, and two rounds that find nothing
    assert sum(landscape.asked[1:]) <= 6
    assert found(ds) == found(ds, "error") == dict.fromkeys(DEFINITIONS, 0.0)
    assert ds.status.item() == 0


def test_only_the_error_may_need_refinement():
    landscape = ClosedForm(flat, bump(height=0.9))
    fine = asked(landscape, at(0.0), at(1.0), refine=True, tolerance=1e-6)
    assert found(fine, "error")["lmc"] == pytest.approx(0.9, abs=1e-6)
    assert found(fine) == dict.fromkeys(DEFINITIONS, 0.0)


def test_a_peak_above_a_steep_chord_is_refined_too():
    """The maximum is an end; only the deviation from the chord has a peak inside."""

    def hill(theta):
        return 10 * theta[:, 0] + bump(height=0.5, width=0.05)(theta)

    ds = asked(ClosedForm(hill), at(0.0), at(1.0), refine=True, tolerance=1e-6, points=11)
    assert found(ds)["deviation"] == pytest.approx(0.5, abs=1e-6)
    assert found(ds, what="alpha_at_max")["deviation"] == pytest.approx(0.3217, abs=1e-4)
    assert found(ds)["lmc"] == pytest.approx(5.0)


def test_a_peak_without_a_top_does_not_converge():
    def pole(theta):
        return -np.log(np.abs(theta[:, 0] - 0.3217))

    landscape = BySplit({"train": ClosedForm(pole), "test": ClosedForm(flat)})
    ds = asked(landscape, at(0.0), at(1.0), refine=True, splits=("train", "test"))
    assert ds.status.values.tolist() == [[2, 0]]
    meanings = ds.status.attrs["flag_meanings"].split()
    assert meanings[2] == "refinement_not_converged"
    assert np.isfinite(ds.loss_barrier.values).all()
    assert len(landscape.asked) < 50
    assert_mirrored(ds, asked(landscape, at(1.0), at(0.0), refine=True, splits=("train", "test")))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("refine", [False, True])
def test_one_unknown_loss_makes_the_split_unknown_and_no_other(bad, refine):
    def hole(theta):
        return np.where(np.abs(theta[:, 0] - 0.5) < 0.01, bad, 1.0)

    landscape = BySplit({"train": ClosedForm(hole), "test": ClosedForm(bump())})
    ds = asked(landscape, at(0.0), at(1.0), refine=refine, splits=("train", "test"))
    assert ds.status.values.tolist() == [[1, 0]]
    assert ds.status.attrs["flag_meanings"].split()[1] == "not_finite_on_the_line"
    assert np.isnan(list(found(ds).values())).all()
    assert np.isnan(list(found(ds, what="alpha_at_max").values())).all()
    assert found(ds, split="test")["lmc"] > 1
    assert np.isfinite(ds.loss.sel(split="train", alpha=0.0)).all()


def test_an_unknown_loss_met_by_refinement_counts():
    def hole(theta):
        values = bump()(theta)
        return np.where(values > 1.9, np.nan, values)

    coarse = asked(ClosedForm(hole), at(0.0), at(1.0))
    assert coarse.status.item() == 0
    fine = asked(ClosedForm(hole), at(0.0), at(1.0), refine=True)
    assert fine.status.item() == 1
    assert np.isnan(list(found(fine).values())).all()
    assert fine.loss.values.tobytes() == coarse.loss.values.tobytes()


def test_a_line_that_is_unknown_has_nothing_to_refine_and_is_kept(tmp_path):
    ds = asked(ClosedForm(lambda theta: theta[:, 0] * np.nan), at(0.0), at(1.0), refine=True)
    assert ds.sizes["refinement"] == 0
    assert ds.status.item() == 1
    record = {"kind": "barrier", "schema_version": [1, 0], "inputs": [], "settings": {}}
    stored = save_result(tmp_path, ds, record)
    xr.testing.assert_equal(stored, ds)
    xr.testing.assert_identical(load_result(next(tmp_path.rglob("*.nc"))), stored)


def test_distance_is_euclidean_over_the_weights():
    ds = asked(quadratic(np.ones(2)), at(1.0, 2.0), at(4.0, 6.0))
    assert ds.distance.item() == 5.0
    module = net(norm=True)
    a, b = near(module, 0), near(module, 1)
    want = math.sqrt(sum((float(x) - float(y)) ** 2 for x, y in zip(a.theta, b.theta, strict=True)))
    got = asked(network_landscape(module), a, b).distance.item()
    assert got == pytest.approx(want, rel=1e-12)  # in float64, and without the statistics


@pytest.mark.parametrize("refine", [False, True])
def test_a_result_follows_its_schema(refine):
    ds = asked(double_well(1.0), at(-1.0, address="a.pt"), at(1.0, address="b.pt"), refine=refine)
    BARRIER.validate(ds)
    wanted = {**BARRIER.coordinates, **BARRIER.variables}
    assert set(wanted) - set(ds.variables) == OF_TOL | (set() if refine else OF_REFINEMENT)
    for name, variable in ds.variables.items():
        assert variable.attrs["units"] == wanted[str(name)].units
        assert variable.attrs["long_name"]
    assert ds.loss.attrs["units"] == ds.loss_barrier.attrs["units"] == "nats per example"
    assert ds.error.attrs["units"] == ds.error_barrier.attrs["units"] == "fraction"
    assert ds.pair.values.tolist() == ["a.pt b.pt"]
    assert ds.density_a.values.tolist() == [1.0]
    assert np.isnan(ds.level_a.values).all()


def test_the_curve_carries_its_standard_errors():
    module = net()
    landscape = network_landscape(module)
    a, b = near(module, 0), near(module, 1)
    ds = asked(landscape, a, b, points=3)
    middle = landscape.evaluate(np.stack([a.point, b.point]), np.full((1, 2), 0.5), split="train")
    assert ds.loss_se.sel(alpha=0.5).item() == pytest.approx(middle.loss_se[0], rel=1e-6)
    assert ds.error_se.sel(alpha=0.5).item() == pytest.approx(middle.error_se[0], rel=1e-6)


def test_different_architectures_are_refused_with_both_shapes():
    a = at(0.0, 0.0, address="a.pt")
    b = at(0.0, 0.0, 0.0, address="b.pt")
    message = r"a\.pt and b\.pt hold different networks .*'w' is \(1, 2\) .* and \(1, 3\) in"
    with pytest.raises(LandscapeError, match=message):
        asked(double_well(1.0), a, b)
    named = replace(a, spec=ParamSpec(("v",), ((1, 2),), "float64"), address="c.pt")
    with pytest.raises(LandscapeError, match=r"'w' of shape \(1, 2\) is not in the second"):
        asked(double_well(1.0), a, named)


def test_settings_that_are_refused():
    for wrong, message in (
        ({"points": 2}, "points is 2; it must be at least 3"),
        ({"points": 25.0}, "points is 25.0; it must be a whole number"),
        ({"tolerance": 0.0}, "tolerance is 0.0; it must be above 0"),
        ({"tol": 0.0}, "tol is 0.0; it must be above 0"),
        ({"tol": 0.1, "refine": True}, r"refine adds positions and tol \(0.1\) leaves some out"),
        ({"pairs": "al"}, "unknown pairs 'al'; did you mean 'all'"),
        ({"align": "weight"}, "unknown align 'weight'; did you mean 'weights'"),
        ({"bn": "frist"}, "unknown bn 'frist'; did you mean 'first'"),
        ({"splits": ()}, r"splits is \(\); name one or more, each once, as in train,test"),
        ({"splits": ("test", "test")}, r"splits is \('test', 'test'\); name one or more, each"),
    ):
        with pytest.raises(UsageError, match=message):
            BarrierSettings(**wrong)


def test_settings_have_defaults():
    default = barrier(at(-1.0), at(1.0), double_well(1.0))
    assert default.sizes == {"pair": 1, "split": 2, "alpha": 25, "definition": 4}
    assert default.split.values.tolist() == ["train", "test"]
    entry = ANALYSIS.compute([at(-1.0), at(1.0)], BarrierSettings(), double_well(1.0), AtOnce())
    xr.testing.assert_identical(entry, default)


def test_between_all_pairs_or_successive_ones():
    points = [at(float(x)) for x in range(4)]
    grouped = {
        pairs: ANALYSIS.grouping(BarrierSettings(pairs=pairs)).split(points)
        for pairs in ("successive", "all")
    }
    assert [len(groups) for groups in grouped.values()] == [3, 6]
    assert grouped["all"][1] == [points[0], points[2]]


PRUNED = Mask(ParamSpec(("w",), ((1, 2),), "float64"), ("w",), np.array([True, False]))


@pytest.mark.parametrize("turned", [False, True])
def test_inside_the_sparser_subspace_the_line_is_another(turned):
    """A wall at y > 1/2: the dense end lies behind it, its projection does not."""
    wall = ClosedForm(lambda theta: np.where(theta[:, 1] > 0.5, 3.0, 0.0) + theta[:, 0] ** 2)
    dense, sparse = at(-1.0, 2.0), replace(at(1.0, 0.0), mask=PRUNED)
    pair = (sparse, dense) if turned else (dense, sparse)
    free, inside = (asked(wall, *pair, points=5, project=p) for p in (False, True))
    assert found(free)["increase"] == 3.0
    assert inside.loss.values.ravel().tolist() == [1.0, 0.25, 0.0, 0.25, 1.0]
    assert found(inside) == dict.fromkeys(DEFINITIONS, 0.0)
    assert free.distance.item() == pytest.approx(math.sqrt(8))
    assert inside.distance.item() == inside.shared_distance.item() == 2.0
    assert free.shared_distance.item() == 2.0


def test_of_one_density_projection_changes_nothing():
    a, b = (replace(at(x, 0.0), mask=PRUNED) for x in (-1.0, 1.0))
    plain, inside = (asked(double_well(1.0), a, b, project=p) for p in (False, True))
    xr.testing.assert_identical(plain, inside)


class Turnable(ClosedForm):
    """A landscape that is the same at -theta, and knows it."""

    def aligned(self, a, b, how, seed):
        assert how == "activations"
        near = np.linalg.norm(a.theta - b.theta) <= np.linalg.norm(a.theta + b.theta)
        return b if near else replace(b, theta=-b.theta)

    def repaired(self, a, b):
        return ClosedForm(lambda theta: 0.5 * self.loss(theta))


def test_aligned_ends_have_no_barrier_between_them():
    landscape, a, b = Turnable(double_well(1.0).loss), at(-1.0), at(0.9)
    assert found(asked(landscape, a, b))["lmc"] > 0.9
    near = asked(landscape, a, b, align="activations")
    assert found(near)["over_max"] == 0.0
    assert near.distance.item() == pytest.approx(0.1)
    assert near.loss.values[0, 0, [0, -1]] == pytest.approx([0.0, (0.81 - 1) ** 2])
    assert_mirrored(near, asked(landscape, b, a, align="activations"))


def test_repaired_points_are_those_of_another_landscape():
    landscape = Turnable(double_well(1.0).loss)
    assert found(asked(landscape, at(-1.0), at(1.0), repair=True))["lmc"] == 0.5


def test_a_landscape_without_units_refuses_both():
    for settings in ({"align": "weights"}, {"repair": True}):
        with pytest.raises(UsageError, match="but this landscape"):
            asked(double_well(1.0), at(-1.0), at(1.0), **settings)


def test_stable_is_below_two_percent_with_the_whole_interval():
    assert stability(0.0, 0.0199) == 1.0
    assert stability(0.0, 0.02) != stability(0.0, 0.02)
    assert stability(0.02, 0.02) == stability(0.5, 0.6) == 0.0
    assert math.isnan(stability(0.01, 0.03))
    assert math.isnan(stability(math.nan, math.nan))


@pytest.mark.parametrize(
    ("share", "verdict"), [(0.0, 1.0), (0.01, 1.0), (0.02, math.nan), (0.1, 0.0)]
)
def test_the_verdict_of_a_pair(share, verdict):
    """The middle of the line gets a share of 20 000 examples wrong that the ends get right."""
    alpha = grid(5)
    wrong = np.zeros((5, 20_000))
    wrong[2, : int(share * 20_000)] = 1.0
    ds = asked(OnExamples(alpha, wrong, wrong), at(0.0), at(1.0), points=5)
    assert found(ds, "error")["lmc"] == pytest.approx(share)
    np.testing.assert_equal(ds.stable.item(), verdict)


def test_standard_errors_and_intervals_are_those_of_the_examples():
    landscape = made_up("peak", grid(9), 400)
    ds = asked(landscape, at(0.0), at(1.0), points=9)
    for measure in ("loss", "error"):
        values = getattr(landscape, measure)
        want = bounds(grid(9), values, Sample(None, measure == "error"))
        for name in ("se", "low", "high"):
            got = ds[f"{measure}_barrier_{name}"].values.ravel()
            np.testing.assert_array_equal(got, getattr(want, name))
    assert ds.examples.item() == 400


def test_standard_errors_are_unknown_where_the_barrier_is():
    landscape = made_up("peak", grid(9), 50)
    landscape.loss[3, 3] = np.nan
    ds = asked(landscape, at(0.0), at(1.0), points=9)
    assert ds.status.item() == 1
    assert np.isnan(ds.loss_barrier_se.values).all()


def test_a_tolerance_takes_a_part_of_the_examples_and_says_so():
    landscape = made_up("peak", grid(9), 12_000)
    settings = {"points": 9, "tol": 0.05, "seed": 3}
    ds = asked(Turned(landscape), at(0.0), at(1.0), **settings)
    assert 1_000 < ds.examples.item() < 12_000
    assert ds.sampling_status.item() == 0
    assert ds.examples_at.values.max() == ds.examples.item()
    for measure in ("loss", "error"):
        height = ds[f"{measure}_barrier"]
        low, high = (ds[f"{measure}_barrier_split_{side}"] for side in ("low", "high"))
        assert ((high - low) / 2 <= 0.05).all()
        assert ((low <= height) & (height <= high)).all()
        assert (ds[f"{measure}_barrier_high"] > high).all()  # of the population
    BARRIER.validate(ds)
    assert_mirrored(ds, asked(Turned(landscape), at(1.0), at(0.0), **settings))


@dataclass
class Turned:
    """A landscape whose tables are along the line from the lower point to the higher."""

    tables: OnExamples

    def examples(self, split):
        return self.tables.examples(split)

    def per_example(self, anchors, coefficients, *, split, places=None):
        way = slice(None, None, -1 if anchors[0, 0] > anchors[1, 0] else 1)
        return self.tables.per_example(anchors, coefficients[:, way], split=split, places=places)


def test_a_tolerance_that_takes_all_examples_says_so():
    landscape = made_up("peak", grid(9), 2_000)
    ds = asked(landscape, at(0.0), at(1.0), points=9, tol=1e-6)
    whole = asked(landscape, at(0.0), at(1.0), points=9)
    assert ds.sampling_status.item() == 1
    assert ds.sampling_status.attrs["flag_meanings"].split()[1] == "took_all_examples"
    np.testing.assert_allclose(ds.loss_barrier, whole.loss_barrier, rtol=1e-12)
    np.testing.assert_allclose(ds.loss_barrier_split_low, whole.loss_barrier, atol=1e-12)


def test_a_network_on_a_part_of_its_data():
    module = net()
    splits = {"train": data(4000), "test": data(60, seed=1)}
    landscape = Evaluator(module, splits, cross_entropy)
    a, b = near(module, 0), near(module, 1)
    settings = {"splits": ("train", "test"), "points": 7}
    whole, part = (asked(landscape, a, b, tol=tol, **settings) for tol in (None, 0.15))
    assert part.examples.values[0, 0] < 4000
    assert part.examples.values[0, 1] == 60
    np.testing.assert_allclose(part.loss_barrier, whole.loss_barrier, atol=0.15)
    assert_mirrored(part, asked(landscape, b, a, tol=0.15, **settings))


def test_blocks_are_splits_and_those_kept_are_not_computed_again():
    landscape = BySplit({"train": double_well(1.0), "test": double_well(2.0)})
    settings = BarrierSettings(refine=True, points=4)
    work = Kept()
    first = barrier(at(-1.0), at(1.0), landscape, settings, work)
    landscape.asked.clear()
    xr.testing.assert_identical(barrier(at(-1.0), at(1.0), landscape, settings, work), first)
    assert landscape.asked == []
    assert list(work.kept) == ["train", "test"]


class Kept(AtOnce):
    """Blocks are kept."""

    def __init__(self):
        self.kept = {}

    def block(self, name, compute):
        if name not in self.kept:
            self.kept[name] = dict(compute())
            assert all(isinstance(v, np.ndarray) for v in self.kept[name].values())
        return self.kept[name]


def test_the_cost_counts_examples_at_positions():
    examples = {"train": 50_000, "test": 10_000}
    assert ANALYSIS.cost(BarrierSettings(), examples, 2) == 25 * 60_000
    assert ANALYSIS.cost(BarrierSettings(splits=("test",), points=30), examples, 2) == 300_000
    assert ANALYSIS.cost(BarrierSettings(tol=0.02), examples, 2) < 25 * 60_000 / 8
