"""Sublevel sets: both halves of the claim on closed forms, thresholds, standard errors."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest

from landscape.analysis.landscape import Evaluation, Examples
from landscape.analysis.sublevel import ANALYSIS, SublevelSettings, companions, sublevel
from landscape.analysis.work import AtOnce
from landscape.data_store.errors import LandscapeError, UsageError
from landscape.data_store.mask import Mask
from landscape.data_store.params import Array, ParamSpec
from landscape.data_store.records import Checkpoint
from landscape.data_store.schemas.sublevel import PATHS, POINTS, SUBLEVEL
from tests.support.landscapes import ClosedForm, double_well, quadratic

LOSS = {"measure": "loss", "splits": ("train",), "points": 11}
SPEC = ParamSpec(("w",), ((1, 2),), "float64")


def point(*theta, kept=(1, 1), address="", level=None, part="final", home=None) -> Checkpoint:
    mask = Mask(SPEC, ("w",), np.array(kept, dtype=bool))
    return Checkpoint(
        SPEC, mask.apply(np.array(theta, dtype=float)), mask, address=address, level=level,
        part=part, home=home,
    )  # fmt: skip


def asked(landscape, a, b, ticket=None, dense=None, **settings):
    chosen = SublevelSettings(**{**LOSS, **settings})
    return sublevel(a, b, landscape, chosen, ticket=ticket, dense=dense)


def of(ds, name, label=None, split="train"):
    """One number of a result."""
    values = ds[name].isel(transition=0)
    values = values.sel(split=split) if "split" in values.dims else values
    for dim in ("point", "path"):
        values = values.sel({dim: label}) if dim in values.dims else values
    return float(values)


BOWL = quadratic(np.array([2.0, 2.0]))  # x² + y²
WELL = double_well(1.0)  # (x² − 1)²: 0 at ±1, 1 at 0


def test_in_a_bowl_a_solution_as_low_is_a_member_and_connected():
    ds = asked(BOWL, point(0.5, 0), point(0, 0.5, kept=(0, 1)), epsilon=0.1)
    assert of(ds, "threshold") == pytest.approx(0.35)
    assert of(ds, "claim_sublevel") == 1
    assert of(ds, "claim_connected") == 1
    assert of(ds, "within", "previous-solution") == 1
    assert of(ds, "max_loss", "previous-solution") == pytest.approx(0.25)


def test_in_a_bowl_a_worse_solution_is_connected_but_no_member():
    ds = asked(BOWL, point(0.5, 0), point(2, 0), epsilon=0.1)
    assert of(ds, "claim_sublevel") == 0
    assert of(ds, "claim_connected") == 1
    assert of(ds, "within", "previous-solution") == 0


def test_across_a_double_well_a_member_is_not_connected():
    ds = asked(WELL, point(-1, 0.3), point(1, 0.3, kept=(1, 0)), epsilon=0.1)
    assert of(ds, "claim_sublevel") == 1
    assert of(ds, "claim_connected") == 0
    assert of(ds, "within", "previous-solution") == 0
    assert of(ds, "barrier", "previous-solution") == pytest.approx(1.0)


def test_a_worse_solution_behind_a_hump_is_neither():
    ds = asked(WELL, point(-1, 0), point(1.5, 0), epsilon=0.1, definition="deviation")
    assert of(ds, "claim_sublevel") == 0
    assert of(ds, "claim_connected") == 0


def test_epsilon_bounds_both_halves():
    ends = point(-1, 0), point(1, 0)
    assert of(asked(WELL, *ends, epsilon=0.99), "claim_connected") == 0
    assert of(asked(WELL, *ends, epsilon=1.0), "claim_connected") == 1


def test_the_baseline_is_judged_beside_the_solution():
    """Pruning x throws (1, 0.1) to the hump at 0; retraining goes to the other well."""
    a, b = point(1, 0.1), point(-1, 0, kept=(1, 0))
    flat = asked(WELL, a, b, epsilon=0.1)
    assert of(flat, "member", "baseline") == 1
    thrown = asked(WELL, a, point(0, 0.4, kept=(0, 1)), epsilon=0.1)
    assert of(thrown, "loss", "baseline") == pytest.approx(1.0)
    assert of(thrown, "member", "baseline") == 0
    assert of(thrown, "member", "previous") == 1
    assert of(thrown, "barrier", "baseline-solution") == 0  # both lie on the ridge x = 0


def test_every_path_is_walked_between_its_own_ends():
    a, b, ticket = point(-1, 0.5), point(1, 0, kept=(1, 0)), point(0.5, 0, kept=(1, 0))
    ds = asked(WELL, a, b, ticket)
    ends = {"previous": -1, "baseline": -1, "rewind": 0.5, "solution": 1}
    for path in PATHS:
        x, y = (ends[end] for end in path.split("-"))
        along = (1 - ds.alpha) * x + ds.alpha * y
        got = ds["loss_on_path"].isel(transition=0, split=0).sel(path=path)
        np.testing.assert_allclose(got, (along**2 - 1) ** 2, atol=1e-12)
    assert of(ds, "loss", "rewind") == pytest.approx((0.25 - 1) ** 2)
    assert of(ds, "barrier", "rewind-solution") == 0
    assert (ds["status"] == 0).all()
    assert (ds["path_status"] == 0).all()


def test_definitions_are_those_of_the_barrier():
    ds = asked(WELL, point(-1, 0), point(1.5, 0), points=21)
    alpha = np.linspace(0, 1, 21)
    values = ((2.5 * alpha - 1) ** 2 - 1) ** 2
    end, top = 1.25**2, values.max()
    want = {
        "lmc": top - end / 2, "deviation": (values - alpha * end).max(),
        "over_max": top - end, "increase": top,
    }  # fmt: skip
    for definition, height in want.items():
        got = ds["loss_barrier"].sel(definition=definition, path="previous-solution")
        assert float(got.squeeze()) == pytest.approx(height, abs=1e-12)
        chosen = asked(WELL, point(-1, 0), point(1.5, 0), points=21, definition=definition)
        assert of(chosen, "barrier", "previous-solution") == pytest.approx(height, abs=1e-12)


@pytest.mark.parametrize(
    ("settings", "threshold"),
    [
        ({"reference": "previous", "epsilon": 0.5}, 0.25 + 0.5),
        ({"reference": "dense", "epsilon": 0.5}, 4.0 + 0.5),
        ({"reference": "absolute", "cutoff": 0.1, "epsilon": 0.0}, 0.1),
        ({"reference": "absolute", "cutoff": 0.1, "epsilon": 0.02}, 0.12),
        (
            {"reference": "accuracy", "cutoff": 0.97, "measure": "error", "epsilon": 0.0},
            0.03,
        ),
    ],
)
def test_the_threshold_is_the_reference_plus_epsilon(settings, threshold):
    bowl = ClosedForm(BOWL.loss, lambda theta: np.full(len(theta), 0.02))
    ds = asked(bowl, point(0.5, 0), point(0.1, 0), dense=point(2, 0), **settings)
    assert of(ds, "threshold") == pytest.approx(threshold, abs=1e-12)
    assert of(ds, "claim_sublevel") == 1


def test_the_error_is_judged_where_it_is_the_measure():
    landscape = ClosedForm(BOWL.loss, lambda theta: 0.1 * np.abs(theta[:, 0]))
    ds = asked(landscape, point(0.5, 0), point(0.9, 0), measure="error", epsilon=0.05)
    assert of(ds, "threshold") == pytest.approx(0.1)
    assert of(ds, "margin", "solution") == pytest.approx(-0.01)
    assert of(ds, "claim_sublevel") == 1
    assert of(asked(landscape, point(0.5, 0), point(0.9, 0), epsilon=0.05), "claim_sublevel") == 0


@dataclass(frozen=True)
class ManyExamples:
    """Example k has loss ``Σ (θ − shift_k)²`` and is wrong where the first weight exceeds it."""

    shifts: Array

    def examples(self, split):
        return len(self.shifts)

    def per_example(self, anchors, coefficients, *, split, places=None) -> Examples:
        theta = coefficients @ anchors
        shifts = self.shifts if places is None else self.shifts[places]
        loss = ((theta[:, None, :] - shifts[None, :, None]) ** 2).sum(axis=2)
        return Examples(loss, (theta[:, :1] > shifts[None]).astype(float))

    def evaluate(self, anchors, coefficients, *, split, places=None) -> Evaluation:
        found = self.per_example(anchors, coefficients, split=split, places=places)
        count = found.loss.shape[1]
        spread = [x.std(axis=1, ddof=1) / math.sqrt(count) for x in (found.loss, found.error)]
        return Evaluation(found.loss.mean(1), found.error.mean(1), *spread, examples=count)


def test_margins_have_paired_standard_errors():
    shifts = np.random.default_rng(3).normal(size=50)
    a, b = point(0.5, 0.2), point(0.1, -0.6, kept=(1, 0))
    ds = asked(ManyExamples(shifts), a, b, epsilon=0.01)
    by_hand = (0.1 - shifts) ** 2 + shifts**2 - (0.5 - shifts) ** 2 - (0.2 - shifts) ** 2
    assert of(ds, "margin", "solution") == pytest.approx(by_hand.mean() - 0.01)
    want = by_hand.std(ddof=1) / math.sqrt(50)
    assert of(ds, "margin_se", "solution") == pytest.approx(want)
    assert of(ds, "margin_se", "previous") == 0
    assert of(ds, "loss_se", "solution") > of(ds, "margin_se", "solution")


def test_a_margin_of_its_noise_is_said_to_be_unsure():
    shifts = np.random.default_rng(4).normal(size=20)
    ds = asked(ManyExamples(shifts), point(0.5, 0), point(0.5001, 0), epsilon=1.1e-4)
    margin, error = of(ds, "margin", "solution"), of(ds, "margin_se", "solution")
    assert abs(margin) < 2 * error
    assert of(ds, "status", "solution") == 1
    assert of(ds, "member", "solution") == float(margin <= 0)
    clear = asked(ManyExamples(shifts), point(0.5, 0), point(9.0, 0), epsilon=0.0)
    assert of(clear, "status", "solution") == 0


@pytest.mark.parametrize("definition", ["lmc", "deviation", "over_max", "increase"])
def test_barriers_have_paired_standard_errors(definition):
    """The error of a step between the ends: its peak against the ends, example by example."""
    draws = np.random.default_rng(5)
    hump = draws.uniform(0, 2, size=30)

    class Humps(ManyExamples):
        def per_example(self, anchors, coefficients, *, split, places=None):
            x = (coefficients @ anchors)[:, :1]
            loss = hump[None] * (1 - x**2) + 0.3 * (x > 0.9) * hump[None] ** 2
            return Examples(loss, np.zeros_like(loss))

    ds = asked(Humps(hump), point(-1, 0), point(1, 0), definition=definition)
    a, b = np.zeros(30), 0.3 * hump**2
    alpha = np.linspace(0, 1, 11)
    curve = (hump[None] * (1 - (2 * alpha[:, None] - 1) ** 2)).mean(axis=1)
    curve[-1] = b.mean()
    chord = alpha * b.mean()
    peak = (curve - chord if definition == "deviation" else curve).argmax()
    top = hump * (1 - (2 * alpha[peak] - 1) ** 2)
    level = {"lmc": (a + b) / 2, "deviation": alpha[peak] * b, "over_max": b, "increase": a}
    want = (top - level[definition]).std(ddof=1) / math.sqrt(30)
    assert of(ds, "barrier_se", "previous-solution") == pytest.approx(want)


def test_a_barrier_of_its_noise_is_said_to_be_unsure():
    hump = np.random.default_rng(6).normal(size=30)

    class Humps(ManyExamples):
        def per_example(self, anchors, coefficients, *, split, places=None):
            x = (coefficients @ anchors)[:, :1]
            loss = (0.1 + hump[None]) * (1 - x**2)
            return Examples(loss, np.zeros_like(loss))

    mean = 0.1 + hump.mean()
    ds = asked(Humps(hump), point(-1, 0), point(1, 0), epsilon=max(mean, 0.0) + 0.01)
    assert of(ds, "path_status", "previous-solution") == 1
    assert of(ds, "connected", "previous-solution") == 1


def test_a_subset_is_asked_about_alone_and_follows_its_seed():
    shifts = np.random.default_rng(7).normal(size=40)
    landscape = ManyExamples(shifts)
    ends = point(0.5, 0), point(0.1, 0)
    one, again, other = (
        asked(landscape, *ends, examples=10, seed=seed)["loss"] for seed in (1, 1, 2)
    )
    assert one.identical(again)
    assert not one.identical(other)
    everything = asked(landscape, *ends)["loss"]
    assert asked(landscape, *ends, examples=40)["loss"].identical(everything)


def test_without_a_ticket_the_rewind_point_is_unknown():
    ds = asked(BOWL, point(0.5, 0), point(0.1, 0))
    assert math.isnan(of(ds, "loss", "rewind"))
    assert math.isnan(of(ds, "member", "rewind"))
    assert of(ds, "status", "rewind") == 3
    assert of(ds, "path_status", "rewind-solution") == 3
    assert of(ds, "path_status", "previous-solution") == 0


@pytest.mark.parametrize("dense", [None, point(3, 1, kept=(1, 0))])
def test_without_a_dense_level_there_is_no_reference_to_it(dense):
    ds = asked(BOWL, point(0.5, 0), point(0.1, 0), dense=dense, reference="dense")
    assert math.isnan(of(ds, "threshold"))
    assert math.isnan(of(ds, "claim_sublevel"))
    assert of(ds, "status", "solution") == 4
    assert math.isnan(of(ds, "within", "previous-solution"))
    assert of(ds, "claim_connected") == 1  # the other half needs no reference
    assert of(ds, "loss", "solution") == pytest.approx(0.01)


def test_a_loss_that_is_not_finite_stays_unknown():
    cliff = ClosedForm(lambda theta: np.where(theta[:, 0] > 0.8, np.nan, 0.1))
    ds = asked(cliff, point(0, 0), point(1, 0))
    assert math.isnan(of(ds, "member", "solution"))
    assert of(ds, "status", "solution") == 2
    assert math.isnan(of(ds, "claim_connected"))
    assert of(ds, "path_status", "previous-solution") == 2
    assert math.isnan(of(ds, "max_loss", "previous-solution"))
    assert of(ds, "member", "previous") == 1


def test_an_error_that_is_not_defined_decides_nothing():
    ds = asked(BOWL, point(0, 0), point(1, 0), measure="error")
    assert math.isnan(of(ds, "claim_sublevel"))
    assert math.isnan(of(ds, "claim_connected"))
    assert (ds["path_status"].sel(path="previous-solution") == 2).all()


def test_a_transition_to_itself_is_a_member_and_connected():
    ds = asked(WELL, point(0.7, 0), point(0.7, 0), epsilon=0.0)
    assert of(ds, "claim_sublevel") == of(ds, "claim_connected") == 1
    assert of(ds, "distance", "previous-solution") == 0


def test_the_dataset_follows_its_schema_and_is_labelled():
    a = point(0.5, 0, address="imp@0", level=0, home="s")
    b = point(0.1, 0, kept=(1, 0), address="imp@1", level=1, home="s")
    ds = asked(BOWL, a, b, splits=("train", "test"))
    SUBLEVEL.validate(ds)
    assert ds.transition.values.tolist() == ["imp@0 imp@1"]
    assert ds.run.values.tolist() == ["imp"]
    assert ds.density_b.values.tolist() == [0.5]
    stated = [str(ds[name].values[0]) for name in ("measure", "bounded", "reference")]
    assert stated == ["loss", "deviation", "previous"]
    assert tuple(ds.point.values) == POINTS
    assert all(ds[name].dims[0] == "transition" for name in ds.data_vars)


def test_companions_are_the_ticket_of_the_second_and_level_0_of_the_first():
    a = point(0, 0, address="imp@2", level=2, home="s")
    b = point(0, 0, address="one-shot@0", level=0, home="s")
    outside = [point(0, 0, address=name) for name in ("a.pt", "b.pt")]
    chosen = SublevelSettings()
    assert companions([a, b], chosen) == ("one-shot@0.ticket", "imp@0")
    assert companions([outside[0], b], chosen) == ("one-shot@0.ticket",)
    assert companions(outside, chosen) == ()


@pytest.mark.parametrize("order", [0, 1])
def test_companions_are_told_apart_by_what_they_are(order):
    a, b = point(1, 0), point(0.5, 0, kept=(1, 0))
    others = [point(0.2, 0, part="ticket"), point(2, 0)]
    settings = SublevelSettings(**LOSS, reference="dense")
    ds = ANALYSIS.compute([a, b, *others[:: 1 - 2 * order]], settings, BOWL, AtOnce())
    assert of(ds, "threshold") == pytest.approx(4.02)
    assert of(ds, "loss", "rewind") == pytest.approx(0.04)
    alone = ANALYSIS.compute([a, b, None, None], settings, BOWL, AtOnce())
    assert of(alone, "status", "rewind") == 3


def test_every_split_is_a_block_that_is_announced():
    class Kept(AtOnce):
        names: list[str]
        expected = 0

        def __init__(self):
            self.names = []

        def expect(self, blocks):
            self.expected += blocks

        def block(self, name, compute):
            self.names.append(name)
            return {k: np.array(v, copy=True) for k, v in compute().items()}

    work = Kept()
    settings = SublevelSettings(measure="loss")
    sublevel(point(1, 0), point(0, 0), BOWL, settings, work=work)
    assert (work.expected, work.names) == (2, ["train", "test"])


def test_the_cost_counts_the_examples_asked_for():
    settings = SublevelSettings(points=11, splits=("train",))
    assert ANALYSIS.cost(settings, {"train": 100, "test": 50}, 2) == 48 * 100
    assert ANALYSIS.cost(SublevelSettings(points=11, examples=60), {"train": 100, "test": 50}, 2) \
        == 48 * 110  # fmt: skip


def test_another_network_is_refused():
    other = Checkpoint(
        ParamSpec(("v",), ((1, 2),), "float64"), np.zeros(2),
        Mask.dense(ParamSpec(("v",), ((1, 2),), "float64"), ("v",)),
    )  # fmt: skip
    with pytest.raises(LandscapeError, match="hold different networks"):
        asked(BOWL, point(0, 0), other)
    with pytest.raises(LandscapeError, match="hold different networks"):
        asked(BOWL, point(0, 0), point(1, 0), ticket=other)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"splits": ()}, r"splits is \(\); name one or more"),
        ({"splits": ("train", "train")}, "each once"),
        ({"reference": "absolute"}, "reference is absolute and cutoff is None"),
        ({"cutoff": 0.1}, "reference is previous and cutoff is 0.1"),
        (
            {"reference": "accuracy", "cutoff": 0.9, "measure": "loss"},
            "reference is accuracy with measure loss",
        ),
        ({"reference": "accuracy", "cutoff": 97.0}, "lies between 0 and 1"),
        ({"epsilon": -0.1}, "epsilon is -0.1; it must be at least 0"),
        ({"examples": 1}, "examples is 1; it must be at least 2"),
    ],
)
def test_settings_that_state_no_set_are_refused(settings, message):
    with pytest.raises(UsageError, match=message):
        SublevelSettings(**settings)
