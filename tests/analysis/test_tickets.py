"""Tickets: small networks in closed form, rescaled, on their floors, and where nothing is known."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from landscape.analysis.network.evaluator import Evaluator
from landscape.analysis.tickets import ANALYSIS, TicketsSettings, companions, tickets
from landscape.analysis.work import AtOnce
from landscape.data_store.errors import LandscapeError, UsageError
from landscape.data_store.mask import Mask
from landscape.data_store.params import ParamSpec
from landscape.data_store.records import Checkpoint
from landscape.data_store.schemas.tickets import RESCALINGS, TICKETS
from landscape.training.task import cross_entropy, squared_error
from tests.support.landscapes import at, quadratic

SPEC = ParamSpec(("weight", "bias"), ((2, 2), (2,)), "float64")
X = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [-1.0, 2.0]], dtype=torch.float64)
Y = torch.tensor([[2.0, 0.0], [0.0, 1.0], [1.0, 1.0], [3.0, -1.0]], dtype=torch.float64)
CLASSES = torch.tensor([0, 1, 1, 1])
ONE = TicketsSettings(splits=("test",))
OK, NOT_FINITE, NO_POINT, NO_SCALE, NOT_DEFINED, ZERO = range(6)


def linear(weights=(1.0, 0.5, -0.5, 2.0), bias=(0.1, 0.2), *, part="final", kept=None, **metrics):
    """A checkpoint of ``y = W x + b``."""
    mask = Mask(SPEC, ("weight",), np.array([*(kept or [1] * 4), 1, 1], dtype=bool))
    theta = mask.apply(np.array([*weights, *bias]))
    named = {name.replace("_", "-"): value for name, value in metrics.items()}
    address = f"seek@3.{part}" if part != "final" else "seek@3"
    return Checkpoint(
        SPEC, theta, mask, metrics=named, address=address, level=3, part=part, home="store"
    )


def answers(checkpoint, inputs=X):
    """What the network says, by numpy."""
    w, b = checkpoint.theta[:4].reshape(2, 2), checkpoint.theta[4:]
    return inputs.numpy() @ w.T + b


def regression(test=Y, train=Y, **options):
    splits = {"train": (X, train), "test": (X, test)}
    return Evaluator(nn.Linear(2, 2).double(), splits, squared_error, **options)


def classification(test=CLASSES, train=CLASSES):
    splits = {"train": (X, train), "test": (X, test)}
    return Evaluator(nn.Linear(2, 2).double(), splits, cross_entropy)


def only(ds, name, **where):
    """One number of a dataset."""
    return ds[name].sel(**where).item()


def mse(outputs, targets=Y):
    return ((outputs - targets.numpy()) ** 2).mean()


def test_strong_is_the_ticket_and_weak_the_checkpoint_in_closed_form():
    weak, strong = linear(), linear((0.3, 0.0, 0.0, -1.0), part="ticket")
    ds = tickets(weak, regression(), strong=strong)
    assert ds["split"].values.tolist() == ["train", "test"]
    for kind, point in (("strong", strong), ("weak", weak)):
        for split in ("train", "test"):
            where = {"checkpoint": "seek@3", "ticket": kind, "split": split, "rescale": "none"}
            assert only(ds, "loss", **where) == pytest.approx(mse(answers(point)), rel=1e-14)
            each = ((answers(point) - Y.numpy()) ** 2).mean(1)
            want = each.std(ddof=1) / 2
            assert only(ds, "loss_se", **where) == pytest.approx(want, rel=1e-12)
            assert only(ds, "status", **where) == OK
            assert math.isnan(only(ds, "error", **where))


def test_classes_have_errors_too():
    point = linear((1.0, -0.5, 0.1, 0.2))
    ds = tickets(point, classification(), ONE)
    outputs = answers(point)
    where = {"checkpoint": "seek@3", "ticket": "weak", "split": "test", "rescale": "none"}
    logs = np.log(np.exp(outputs).sum(1)) - outputs[np.arange(4), CLASSES]
    wrong = outputs.argmax(1) != CLASSES.numpy()
    assert only(ds, "loss", **where) == pytest.approx(logs.mean(), rel=1e-13)
    assert only(ds, "error", **where) == wrong.mean() == 0.25
    assert only(ds, "error_se", **where) == pytest.approx(wrong.std(ddof=1) / 2)


def test_planted_rescaling_of_a_scaled_network_is_exactly_the_unscaled_one():
    scale = np.array([0.5, 8.0])
    plain = linear()
    scaled = linear(
        (plain.theta[:4].reshape(2, 2) * scale[:, None]).ravel(), plain.theta[4:] * scale
    )
    truth = replace(scaled, part="planted", metrics={"scale-0": 0.5, "scale-1": 8.0})
    for landscape in (regression(), classification()):
        got = tickets(scaled, landscape, ONE, truth=truth)
        want = tickets(plain, landscape, ONE)
        for name in ("loss", "error", "loss_se", "error_se"):
            one = got[name].sel(ticket="weak", rescale="planted").item()
            np.testing.assert_array_equal(one, want[name].sel(ticket="weak", rescale="none").item())
            if name in ("loss", "error"):
                of_truth = got[f"truth_{name}"].sel(rescale="planted").item()
                np.testing.assert_array_equal(of_truth, one)


def test_least_squares_is_the_least_loss_of_any_factors():
    ds = tickets(linear(), regression(), ONE)
    outputs, targets = answers(linear()), Y.numpy()
    factors = (targets * outputs).sum(0) / (outputs**2).sum(0)
    got = ds["loss"].sel(ticket="weak", rescale="least-squares").item()
    assert got == pytest.approx(mse(factors * outputs), rel=1e-13)
    draws = np.random.default_rng(0)
    for _ in range(100):
        assert got <= mse((factors + 0.1 * draws.standard_normal(2)) * outputs)


def test_a_network_with_one_value_per_example_is_rescaled_too():
    model = nn.Sequential(nn.Linear(2, 1, bias=False), nn.Flatten(0)).double()
    spec = ParamSpec(("0.weight",), ((1, 2),), "float64")
    point = Checkpoint(spec, np.array([2.0, 4.0]), Mask.dense(spec, ("0.weight",)))
    targets = X @ torch.tensor([1.0, 2.0], dtype=torch.float64)
    landscape = Evaluator(model, {"train": (X, targets), "test": (X, targets)}, squared_error)
    ds = tickets(point, landscape, ONE)
    losses = ds["loss"].sel(ticket="weak", split="test").values[0]
    assert losses[0] == pytest.approx((targets.numpy() ** 2).mean())
    assert losses[2] == pytest.approx(0.0, abs=1e-25)


def test_the_status_says_why_a_number_is_unknown():
    ds = tickets(linear(), classification(), ONE)
    strong, weak = (ds["status"].sel(ticket=t, split="test").values[0] for t in ds["ticket"].values)
    assert strong.tolist() == [NO_POINT] * 3
    assert weak.tolist() == [OK, NO_SCALE, NOT_DEFINED]
    np.testing.assert_array_equal(np.isnan(ds["loss"].values), ds["status"].values != OK)
    assert ds["truth_status"].values.tolist() == [[[NO_POINT] * 3]]
    assert np.isnan(ds["truth_loss"].values).all()
    assert np.isnan(ds["truth_density"].values).all()
    assert list(ds["rescale"].values) == list(RESCALINGS)


def test_outputs_that_are_zero_have_no_factor():
    silent = linear((0.0, 0.0, 1.0, 1.0), (0.0, 0.0))
    ds = tickets(silent, regression(), ONE).sel(ticket="weak", split="test")
    assert ds["status"].values[0].tolist() == [OK, NO_SCALE, ZERO]
    assert math.isnan(ds["loss"].values[0, 2])
    assert ds["loss"].values[0, 0] == pytest.approx(mse(answers(silent)))
    assert ds["constant_outputs"].values.tolist() == [1]


def test_losses_that_are_not_finite_are_unknown_with_a_status():
    wild = linear((np.inf, 0.0, 0.0, 0.0))
    truth = linear(part="planted", scale_0=1.0, scale_1=1.0)
    ds = tickets(wild, regression(), ONE, truth=truth).sel(ticket="weak", split="test")
    assert ds["status"].values[0].tolist() == [NOT_FINITE] * 3
    assert np.isnan(ds["loss"].values).all()
    assert np.isnan(ds["constant_outputs"].values).all()


def test_the_truth_is_judged_as_it_is_and_rescaled():
    truth = linear(
        (2.0, 0.0, 0.0, 0.5),
        (0.0, 0.0),
        part="planted",
        kept=[1, 0, 0, 1],
        scale_0=2.0,
        scale_1=0.5,
    )
    ds = tickets(linear(), regression(), ONE, truth=truth).sel(split="test")
    outputs, targets = answers(truth), Y.numpy()
    factors = (targets * outputs).sum(0) / (outputs**2).sum(0)
    want = [mse(outputs), mse(outputs / [2.0, 0.5]), mse(outputs * factors)]
    np.testing.assert_allclose(ds["truth_loss"].values[0], want, rtol=1e-13)
    assert ds["truth_status"].values[0].tolist() == [OK] * 3
    assert ds["truth_density"].values.tolist() == [0.5]
    planted = ds["loss"].sel(ticket="weak", rescale="planted").values[0]
    assert planted == pytest.approx(mse(answers(linear()) / [2.0, 0.5]), rel=1e-13)


def test_floors_of_a_regression_are_those_of_the_training_mean():
    test = 2 * Y + 1
    ds = tickets(linear(), regression(test=test))
    mean = Y.numpy().mean(0)
    want = [mse(mean[None]), mse(mean[None], test)]
    np.testing.assert_allclose(ds["floor_loss"].values[0], want, rtol=1e-14)
    assert np.isnan(ds["floor_error"].values).all()
    assert ds["floor_status"].values.tolist() == [[OK, OK]]


def test_floors_of_classes_are_those_of_the_training_shares():
    ds = tickets(linear(), classification(test=torch.tensor([0, 0, 1, 0])))
    shares = np.array([0.25, 0.75])  # the majority is class 1
    own, other = -(shares * np.log(shares)).sum(), -(shares[::-1] * np.log(shares)).sum()
    np.testing.assert_allclose(ds["floor_loss"].values[0], [own, other], rtol=1e-14)
    np.testing.assert_array_equal(ds["floor_error"].values[0], [0.25, 0.75])


def test_a_class_that_training_lacks_has_an_infinite_loss_on_the_floor():
    ds = tickets(linear(), classification(train=torch.zeros(4, dtype=torch.int64)), ONE)
    assert math.isnan(ds["floor_loss"].item())
    assert ds["floor_error"].item() == 0.75
    assert ds["floor_status"].item() == NOT_FINITE


@pytest.mark.parametrize(
    "train",
    [torch.tensor([0, 1, 1, 2]), torch.tensor([0, 1, 1, -100])],
    ids=["more than outputs", "ignored"],
)
def test_classes_that_are_no_output_have_no_floor(train):
    loss = nn.CrossEntropyLoss(reduction="none")
    splits = {"train": (X, train), "test": (X, CLASSES)}
    landscape = Evaluator(nn.Linear(2, 2).double(), splits, loss)
    ds = tickets(linear(), landscape, ONE)
    assert ds["floor_status"].item() == 2
    assert np.isnan([ds["floor_loss"].item(), ds["floor_error"].item()]).all()


class Two(nn.Module):
    """A network with two answers."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2).double()

    def forward(self, x):
        return self.layer(x), x


def test_answers_that_are_no_tensor_are_judged_but_not_rescaled():
    splits = {"train": (X, Y), "test": (X, Y)}
    landscape = Evaluator(Two(), splits, lambda given, y: squared_error(given[0], y))
    truth = linear(part="planted", scale_0=1.0, scale_1=1.0)
    ds = tickets(linear(), landscape, ONE, truth=truth).sel(split="test")
    assert ds["status"].sel(ticket="weak").values[0].tolist() == [OK, NOT_DEFINED, NOT_DEFINED]
    assert ds["loss"].sel(ticket="weak").values[0, 0] == pytest.approx(mse(answers(linear())))
    assert np.isnan(ds["constant_outputs"].values).all()
    assert ds["floor_status"].values.tolist() == [2]


def test_more_answers_than_targets_are_not_rescaled_by_them():
    def first(outputs, targets):
        return squared_error(outputs[:, :1], targets)

    splits = {"train": (X, Y[:, :1]), "test": (X, Y[:, :1])}
    landscape = Evaluator(nn.Linear(2, 2).double(), splits, first)
    ds = tickets(linear(), landscape, ONE).sel(split="test")
    assert ds["status"].sel(ticket="weak").values[0].tolist() == [OK, NO_SCALE, NOT_DEFINED]
    assert ds["floor_status"].values.tolist() == [2]


def test_layers_without_a_weight_and_outputs_without_an_input_are_counted():
    gone = linear(kept=[False] * 4, bias=(1.0, 2.0))
    half = linear(kept=[True, True, False, False], part="ticket")
    ds = tickets(gone, regression(), ONE, strong=half).sel(split="test")
    assert ds["collapsed_layers"].values.tolist() == [1]
    assert ds["constant_outputs"].values[0].tolist() == [1, 2]
    assert ds["density"].values.tolist() == [0.0]
    # a constant output becomes the mean of its target
    best = mse(Y.numpy().mean(0)[None])
    assert ds["loss"].sel(ticket="weak", rescale="least-squares").item() == pytest.approx(best)


def test_biases_are_no_layers():
    kept = np.array([True] * 4 + [False, False])
    mask = Mask(SPEC, ("weight", "bias"), kept)
    point = replace(linear(), mask=mask, theta=mask.apply(linear().theta))
    assert tickets(point, regression(), ONE)["collapsed_layers"].item() == 0


def test_labels_are_those_of_the_checkpoint():
    ds = tickets(linear(kept=[True, False, True, False]), regression(), ONE)
    got = [ds[name].item() for name in ("checkpoint", "run", "level", "density")]
    assert got == ["seek@3", "seek", 3.0, 0.5]
    TICKETS.validate(ds)


def test_other_networks_are_refused():
    other = at(1.0, 2.0, address="other@0")
    for role in ("strong", "truth"):
        with pytest.raises(LandscapeError, match="seek@3 and other@0 hold different networks"):
            tickets(linear(), regression(), ONE, **{role: other})


def test_a_scale_for_other_outputs_is_refused():
    truth = linear(part="planted", scale_0=1.0)
    with pytest.raises(LandscapeError, match="a scale for 1 outputs and the network has 2"):
        tickets(linear(), regression(), ONE, truth=truth)


def test_a_landscape_without_outputs_is_refused():
    with pytest.raises(UsageError, match="this landscape does not tell the outputs of its netw"):
        tickets(linear(), quadratic(np.ones(6)), ONE)


@pytest.mark.parametrize("splits", [(), ("test", "test")])
def test_splits_are_named_once(splits):
    with pytest.raises(UsageError, match="name one or more, each once, as in train,test"):
        TicketsSettings(splits=splits)


def test_an_unknown_split_is_refused():
    with pytest.raises(UsageError, match="there is no split 'validation'"):
        tickets(linear(), regression(), TicketsSettings(splits=("validation",)))


def test_the_companions_are_what_it_was_trained_from_and_what_was_planted():
    assert companions([linear()], ONE) == ("seek@3.ticket", "seek@3.planted")
    assert companions([replace(linear(), home=None)], ONE) == ()
    assert companions([replace(linear(), level=None)], ONE) == ()


@pytest.mark.parametrize("known", [(True, True), (True, False), (False, True), (False, False)])
def test_companions_are_taken_for_what_they_are(known):
    strong = linear((1.0, 1.0, 1.0, 1.0), part="ticket") if known[0] else None
    truth = linear(part="planted", scale_0=1.0, scale_1=1.0) if known[1] else None
    landscape = regression()
    got = ANALYSIS.compute([linear(), strong, truth], ONE, landscape, AtOnce())
    assert got.identical(tickets(linear(), landscape, ONE, strong=strong, truth=truth))


class Counted:
    """Work that counts its blocks and gives back those it has."""

    def __init__(self, kept):
        self.kept, self.expected = kept, 0

    def expect(self, blocks):
        self.expected += blocks

    def block(self, name, compute):
        if name not in self.kept:
            self.kept[name] = dict(compute())
        return self.kept[name]


def test_a_split_is_a_block():
    work = Counted({})
    first = tickets(linear(), regression(), work=work)
    assert (work.expected, sorted(work.kept)) == (2, ["test", "train"])
    again = tickets(linear(), regression(), work=Counted(work.kept))
    assert again.identical(first)


def test_the_cost_is_two_passes_for_each_point_and_split():
    examples = {"train": 900, "test": 100}
    assert ANALYSIS.cost(TicketsSettings(), examples, 1) == 6000
    assert ANALYSIS.cost(ONE, examples, 1) == 600
