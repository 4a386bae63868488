"""Volumes of known bodies through the whole analysis; statuses; what can be compared."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from landscape.analysis.volume.bowls import Bowl, Rotation, log_ball, log_uniform_spectrum
from landscape.analysis.volume.volume import ANALYSIS, VolumeSettings, comparable, log_ratio, volume
from landscape.analysis.work import AtOnce
from landscape.data_store.errors import LandscapeError, UsageError
from landscape.data_store.mask import Mask
from landscape.data_store.params import ParamSpec
from landscape.data_store.records import Checkpoint
from landscape.data_store.schemas.volume import COMPARISONS, RAY_STATUSES, STATUSES
from tests.support.landscapes import ClosedForm, at

ALL = ("monte-carlo", "diagonal", "hessian", "laplace")
DIMS = 60


def quick(**settings):
    given = {
        "normalization": "isotropic",
        "rays": 60,
        "probes": 40,
        "lanczos_steps": 20,
        "max_radius": 1e3,
        **settings,
    }
    return VolumeSettings(**given)


def bowl_at(dims=DIMS, rotated=True, seed=0, **kwargs):
    centre = np.random.default_rng(seed).standard_normal(dims)
    rotation = Rotation.random(dims, seed) if rotated else None
    return Bowl(log_uniform_spectrum(dims, seed), centre, rotation, **kwargs)


def checkpoint(theta, kept=None, shapes=None, **kwargs):
    shapes = shapes or {"w": (4, len(theta) // 4)}
    spec = ParamSpec(tuple(shapes), tuple(shapes.values()), str(theta.dtype))
    mask = Mask.dense(spec, ("w",))
    if kept is not None:
        mask = Mask(spec, ("w",), kept)
    return Checkpoint(spec, np.where(mask.kept, theta, 0).astype(theta.dtype), mask, **kwargs)


def numbers(ds, name):
    return dict(zip(ds["estimator"].values, ds[name].values[0], strict=True))


def verdicts(ds):
    return {e: STATUSES[code] for e, code in numbers(ds, "status").items()}


@pytest.mark.parametrize("rotated", [False, True])
def test_a_quadratic_bowl(rotated):
    bowl = bowl_at(rotated=rotated)
    ds = volume(checkpoint(bowl.centre), bowl, quick())
    truth, got, se = bowl.log_volume(0.1), numbers(ds, "log_volume"), numbers(ds, "log_volume_se")
    sure = ["hessian", "laplace"] + ([] if rotated else ["diagonal"])
    for name in sure:
        assert abs(got[name] - truth) <= 4 * se[name] + 1e-4, name
        assert verdicts(ds)[name] == "ok"
        assert se[name] < 1.0
    assert verdicts(ds)["monte-carlo"] == "effective_sample_size_too_small"
    assert got["monte-carlo"] < truth - 3
    assert abs(numbers(ds, "quadratic_gap")["hessian"]) < 1e-5
    assert ds["n_parameters"].item() == DIMS
    assert ds["cutoff"].item() == 0.1
    assert ds["own_loss"].item() == pytest.approx(0.0, abs=1e-12)


def test_plain_rays_are_exact_for_a_ball():
    ball = Bowl(np.full(40, 2.0), np.ones(40))
    got = numbers(volume(checkpoint(np.ones(40)), ball, quick()), "log_volume")
    want = log_ball(40) + 20 * np.log(0.1)
    assert all(value == pytest.approx(want, abs=1e-4) for value in got.values())


def test_a_body_that_is_no_ellipsoid():
    bowl = bowl_at(bend=3.0, bent=DIMS // 2)
    ds = volume(checkpoint(bowl.centre), bowl, quick(probes=200))
    truth, got, se = bowl.log_volume(0.1), numbers(ds, "log_volume"), numbers(ds, "log_volume_se")
    assert abs(got["hessian"] - truth) <= 3 * se["hessian"]
    assert verdicts(ds)["hessian"] == "ok"
    assert got["laplace"] > truth + 3
    assert verdicts(ds)["laplace"] == "not_quadratic"
    assert numbers(ds, "quadratic_gap")["laplace"] == pytest.approx(
        (truth - got["laplace"]) / DIMS, abs=0.02
    )


def test_a_masked_bowl_is_a_bowl_of_fewer_dimensions():
    kept = np.random.default_rng(5).random(DIMS) < 0.4
    whole = Bowl(log_uniform_spectrum(DIMS, 0), np.where(kept, 1.0, 0.0))
    ds = volume(checkpoint(whole.centre, kept), whole, quick(estimators=("diagonal",)))
    few = Bowl(whole.eigenvalues[kept], np.zeros(kept.sum()))
    assert ds["n_parameters"].item() == kept.sum()
    assert ds["log_volume"].item() == pytest.approx(few.log_volume(0.1), abs=1e-3)


SHAPES = {"w": (4, 12), "bias": (4,), "scale": (8,)}


def test_filter_normalisation_holds_vectors_fixed_and_measures_in_filters():
    rng = np.random.default_rng(3)
    theta = rng.standard_normal(60)
    kept = np.ones(60, bool)
    kept[:15] = False  # the first filter and part of the second
    bowl = Bowl(log_uniform_spectrum(60, 0), np.where(kept, theta, 0.0))
    point = checkpoint(theta, kept, SHAPES)
    ds = volume(point, bowl, quick(normalization="filter"))
    moving = np.arange(15, 48)
    assert ds["n_parameters"].item() == len(moving)
    rms = [np.sqrt((theta[a:b] ** 2).mean()) for a, b in ((15, 24), (24, 36), (36, 48))]
    log_unit = float(np.log(np.repeat(rms, [9, 12, 12])).sum())
    assert ds["log_unit"].item() == pytest.approx(log_unit)
    truth = Bowl(bowl.eigenvalues[moving], np.zeros(33)).log_volume(0.1) - log_unit
    for name in ("diagonal", "hessian", "laplace"):
        assert numbers(ds, "log_volume")[name] == pytest.approx(truth, abs=0.2), name


def test_filter_normalised_rays_are_the_literatures_quantity():
    """``log mean (c ||z||)^n`` for coefficients c of directions with their filters' norms."""
    from landscape.analysis.directions import filter_normalised, gaussian

    theta = np.random.default_rng(4).standard_normal(60)
    bowl = Bowl(log_uniform_spectrum(60, 0), theta)
    point = checkpoint(theta, shapes=SHAPES)
    ds = volume(point, bowl, quick(normalization="filter", estimators=("monte-carlo",), seed=8))
    d = filter_normalised(gaussian(60, 8, range(60)), theta, np.ones(60, bool), point.spec)
    c = np.sqrt(0.2 / (d**2 @ bowl.eigenvalues))
    np.testing.assert_allclose(ds["radius_coefficient"].values[0, 0], c, rtol=1e-6)
    euclidean = c * np.linalg.norm(d, axis=1)
    np.testing.assert_allclose(ds["radius"].values[0, 0], euclidean, rtol=1e-6)
    want = log_ball(48) + np.log(np.mean((c * np.sqrt(48)) ** 48))
    assert ds["log_volume"].item() == pytest.approx(want, abs=1e-3)
    scaled = replace(point, theta=np.where(np.arange(60) < 48, 3 * theta, theta))
    steep = Bowl(np.where(np.arange(60) < 48, bowl.eigenvalues / 9, 1.0), scaled.theta)
    again = volume(
        scaled, steep, quick(normalization="filter", estimators=("monte-carlo",), seed=8)
    )
    assert again["log_volume"].item() == pytest.approx(want, abs=1e-3)  # units of the filters


def test_cutoffs_relative_and_absolute_agree_where_they_name_the_same_level():
    raised = ClosedForm(lambda theta: 0.05 + 0.5 * ((theta - 1) ** 2).sum(axis=1))
    point = at(1.0, 1.0, 1.0, 1.0)
    one = volume(point, raised, quick(cutoff_mode="relative", cutoff=0.05))
    other = volume(point, raised, quick(cutoff=0.1))
    want = log_ball(4) + 2 * np.log(2 * 0.05)
    for ds in (one, other):
        assert ds["cutoff"].item() == pytest.approx(0.1)
        for name, value in numbers(ds, "log_volume").items():
            assert value == pytest.approx(want, abs=1e-3), name


def test_a_cutoff_by_accuracy():
    """The error is above 0.2 beyond a distance of 2; the loss only steers the proposals."""
    steps = ClosedForm(
        lambda theta: ((theta - 1) ** 2).sum(axis=1),
        lambda theta: np.where(np.linalg.norm(theta - 1, axis=1) > 2.0, 0.3, 0.1),
    )
    ds = volume(at(1.0, 1.0, 1.0), steps, quick(cutoff_mode="accuracy"))
    assert ds["cutoff"].item() == pytest.approx(0.2)
    got = numbers(ds, "log_volume")
    for name in ("monte-carlo", "diagonal", "hessian"):
        assert got[name] == pytest.approx(log_ball(3) + 3 * np.log(2.0), abs=1e-3)
    assert verdicts(ds)["laplace"] == "not_defined"
    assert np.isnan(got["laplace"])


def unknown(ds, reason):
    assert set(verdicts(ds).values()) == {reason}
    assert np.isnan(ds["log_volume"].values).all()
    assert np.isnan(ds["log_volume_se"].values).all()
    return True


def test_a_cutoff_below_the_own_loss_has_no_volume():
    form = ClosedForm(lambda theta: 0.2 + (theta**2).sum(axis=1))
    assert unknown(volume(at(1.0, 2.0), form, quick()), "cutoff_below_own_loss")
    assert volume(at(1.0, 2.0), form, quick())["own_loss"].item() == pytest.approx(5.2)


def test_an_accuracy_above_the_own_one_has_no_volume():
    form = ClosedForm(lambda theta: theta[:, 0], lambda theta: np.full(len(theta), 0.3))
    ds = volume(at(1.0, 2.0), form, quick(cutoff_mode="accuracy"))
    assert unknown(ds, "cutoff_below_own_loss")


def test_a_loss_that_is_not_finite_has_no_volume():
    assert unknown(volume(at(1.0), ClosedForm(lambda t: t[:, 0] * np.nan), quick()), "not_finite")


def test_an_error_that_is_not_defined_has_no_volume_by_accuracy():
    form = ClosedForm(lambda theta: theta[:, 0] ** 2)
    assert unknown(volume(at(0.1), form, quick(cutoff_mode="accuracy")), "not_finite")


def test_where_nothing_moves_there_is_no_volume():
    bowl = Bowl(np.ones(8), np.zeros(8))
    ds = volume(checkpoint(np.ones(8), np.zeros(8, bool)), bowl, quick(normalization="filter"))
    assert unknown(ds, "nothing_moves")
    assert ds["n_parameters"].item() == 0


def test_a_valley_without_an_end_is_censored_with_a_lower_bound():
    """Flat in one direction of three: rays near it do not cross within the limit."""
    valley = ClosedForm(lambda theta: 0.5 * ((theta[:, 1:] - 1) ** 2).sum(axis=1))
    ds = volume(at(*np.ones(3)), valley, quick(max_radius=1.0, estimators=("monte-carlo",)))
    assert verdicts(ds)["monte-carlo"] == "censored_rays"
    assert np.isnan(ds["log_volume"].item())
    assert ds["censored"].item() == (ds["ray_status"] == RAY_STATUSES.index("censored")).sum()
    assert np.isnan(ds["radius"].values[ds["ray_status"].values == 1]).all()
    counted = np.random.default_rng(0).uniform(-1.8, 1.8, (400_000, 3))
    inside = ((counted[:, 1:] ** 2).sum(axis=1) <= 0.2) & ((counted**2).sum(axis=1) <= 3)
    want = np.log(inside.mean() * 3.6**3)
    assert ds["log_volume_lower_bound"].item() == pytest.approx(want, abs=0.5)


def test_a_saddle_has_no_laplace_volume_to_trust():
    def loss(theta):
        x = theta - 1
        return 0.5 * x[:, 0] ** 2 - 0.05 * x[:, 1] ** 2 + x[:, 1] ** 4 + 0.5 * x[:, 2] ** 2

    ds = volume(at(1.0, 1.0, 1.0), ClosedForm(loss), quick(probes=400))
    assert verdicts(ds)["laplace"] == "hessian_not_positive"
    assert verdicts(ds)["hessian"] == "ok"
    points = np.random.default_rng(0).uniform(-0.8, 0.8, (400_000, 3))
    want = np.log((loss(points + 1) <= 0.1).mean() * 1.6**3)
    assert numbers(ds, "log_volume")["hessian"] == pytest.approx(want, abs=0.15)


def test_without_curvature_plain_rays_are_left():
    quartic = ClosedForm(lambda theta: ((theta - 1) ** 4).sum(axis=1))
    flat = replace_product(quartic)
    ds = volume(at(1.0, 1.0), flat, quick(rays=400))
    assert verdicts(ds)["monte-carlo"] == "ok"
    assert {verdicts(ds)[n] for n in ("diagonal", "hessian", "laplace")} == {"hessian_unusable"}
    gamma = 0.9064024770554771  # of 5/4: the area of x⁴ + y⁴ <= c is 4 gamma² / Gamma(3/2) √c
    want = np.log(4 * gamma**2 / 0.8862269254527580 * np.sqrt(0.1))
    assert numbers(ds, "log_volume")["monte-carlo"] == pytest.approx(want, abs=0.05)


def replace_product(form):
    """A closed form whose Hessian at its centre is zero exactly."""

    class Flat(ClosedForm):
        def hessian_product(self, theta, vectors, *, split, places=None):
            return np.zeros_like(vectors)

    return Flat(form.loss)


def test_weights_that_are_all_zero_have_no_scale():
    with pytest.raises(LandscapeError, match="the weights that move are all 0"):
        volume(at(0.0, 0.0), ClosedForm(lambda theta: theta[:, 0] ** 2), quick())


def test_every_ray_is_kept_and_the_mean_is_over_them():
    bowl = bowl_at()
    ds = volume(checkpoint(bowl.centre), bowl, quick(rays=50, probes=30))
    assert ds.sizes["ray"] == 50
    status = ds["ray_status"].values[0]
    absent = RAY_STATUSES.index("absent")
    assert (status[:2] == 0).all()
    assert (status[2] == absent).sum() == 20
    assert (status[3] == absent).all()
    for row, name in enumerate(ALL[:3]):
        weights = ds["log_weight"].values[0, row]
        weights = weights[~np.isnan(weights)]
        mean = np.logaddexp.reduce(weights) - np.log(len(weights))
        assert mean == pytest.approx(numbers(ds, "log_volume")[name], rel=1e-12)


def test_two_runs_are_identical_and_seeds_differ():
    bowl = bowl_at()
    point = checkpoint(bowl.centre)
    one, two = (volume(point, bowl, quick(seed=3)) for _ in range(2))
    xr.testing.assert_identical(one, two)
    other = volume(point, bowl, quick(seed=4))
    assert not np.array_equal(one["radius"].values, other["radius"].values, equal_nan=True)


def test_blocks_are_announced_and_can_be_taken_up_again():
    class Kept(AtOnce):
        def __init__(self):
            self.expected, self.found, self.computed = 0, {}, 0

        def expect(self, blocks):
            self.expected += blocks

        def block(self, name, compute):
            if name not in self.found:
                self.computed += 1
                self.found[name] = compute()
            return self.found[name]

    bowl, work = bowl_at(), Kept()
    settings = quick(rays=300)
    one = volume(checkpoint(bowl.centre), bowl, settings, work)
    assert work.computed == work.expected == len(work.found)
    del work.found["diagonal 256"], work.found["hessian True 0"]
    two = volume(checkpoint(bowl.centre), bowl, settings, work)
    assert work.computed == work.expected / 2 + 2
    xr.testing.assert_identical(one, two)


@pytest.mark.parametrize("names", [("laplace",), ("hessian",), ("laplace", "monte-carlo")])
def test_estimators_can_be_asked_alone_and_in_any_order(names):
    bowl = bowl_at()
    ds = volume(checkpoint(bowl.centre), bowl, quick(estimators=names))
    assert tuple(ds["estimator"].values) == names
    whole = volume(checkpoint(bowl.centre), bowl, quick())
    for name in names:
        want = numbers(whole, "log_volume")[name]
        assert numbers(ds, "log_volume")[name] == pytest.approx(want, abs=1e-3)


def test_float32_checkpoints():
    bowl = bowl_at()
    point = checkpoint(bowl.centre.astype(np.float32))
    same = replace_centre(bowl, point.theta.astype(np.float64))
    ds = volume(point, same, quick(estimators=("hessian",)))
    assert verdicts(ds)["hessian"] == "ok"
    assert ds["log_volume"].item() == pytest.approx(
        bowl.log_volume(0.1), abs=4 * ds["log_volume_se"].item() + 0.01
    )


def replace_centre(bowl, centre):
    return Bowl(bowl.eigenvalues, centre, bowl.rotation)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"estimators": ()}, "name one or more"),
        ({"estimators": ("laplace", "laplace")}, "each once"),
        ({"estimators": ("huang",)}, "unknown estimators 'huang'"),
        ({"cutoff_mode": "accuracy", "cutoff": 1.5}, "an accuracy is at most 1"),
        ({"tolerance": 0.0}, "tolerance is 0.0; it must be above 0"),
    ],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(UsageError, match=message):
        VolumeSettings(**settings)


def three():
    """Three results, joined: of equal dimension, twice."""
    parts = []
    for i in range(3):
        bowl = bowl_at(seed=i, dims=40 if i < 2 else 36)
        point = checkpoint(bowl.centre, address=f"imp@{i}")
        parts.append(volume(point, bowl, quick(estimators=("laplace", "hessian"), probes=25)))
    return xr.concat(parts, "checkpoint", data_vars="all")


def test_volumes_of_unequal_dimension_are_flagged_and_refused():
    volumes = three()
    status = comparable(volumes)
    assert [COMPARISONS[i] for i in status.values] == ["ok", "ok", "other_dimension"]
    assert status.attrs["flag_meanings"].split() == list(COMPARISONS)
    with pytest.raises(LandscapeError, match="imp@0 and imp@2 cannot be compared: other dimension"):
        log_ratio(volumes)
    ratio = log_ratio(volumes.isel(checkpoint=[0, 1]))
    want = bowl_at(40, seed=1).log_volume(0.1) - bowl_at(40, seed=0).log_volume(0.1)
    np.testing.assert_allclose(ratio.values[1], want, atol=0.5)
    np.testing.assert_array_equal(ratio.values[0], 0.0)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("cutoff", 0.2, "other_cutoff"),
        ("cutoff_mode", "relative", "other_cutoff"),
        ("split", "test", "other_cutoff"),
        ("examples", 5.0, "other_cutoff"),
        ("normalization", "filter", "other_normalization"),
        ("n_parameters", np.nan, "unknown"),
    ],
)
def test_volumes_of_other_kinds_are_flagged(name, value, reason):
    volumes = three().isel(checkpoint=[0, 1]).copy(deep=True)
    values = volumes[name].values.astype(object)
    values[1] = value
    volumes[name] = ("checkpoint", values.astype(type(value)))
    assert [COMPARISONS[i] for i in comparable(volumes).values] == ["ok", reason]


def test_levels_of_a_relative_cutoff_may_differ():
    volumes = three().isel(checkpoint=[0, 1]).copy(deep=True)
    volumes["cutoff_mode"] = ("checkpoint", ["relative", "relative"])
    volumes["cutoff"] = ("checkpoint", [0.11, 0.13])
    assert not comparable(volumes).values.any()


def test_the_table_of_known_answers_is_at_hand():
    assert ANALYSIS.self_test is not None


def test_the_cost_is_known_before():
    """Half the examples cost half; Laplace alone casts few rays and the same products."""
    whole = ANALYSIS.cost(VolumeSettings(), {"train": 1000, "test": 10}, 1)
    assert ANALYSIS.cost(VolumeSettings(examples=500), {"train": 1000}, 1) == whole / 2
    plain = ANALYSIS.cost(VolumeSettings(estimators=("monte-carlo",)), {"train": 1000}, 1)
    assert plain == 8 * 1000 * 1000
    laplace = ANALYSIS.cost(VolumeSettings(estimators=("laplace",)), {"train": 1000}, 1)
    assert laplace == 8 * 1000 * (72 * 40 + 20 * 64 + 96)
