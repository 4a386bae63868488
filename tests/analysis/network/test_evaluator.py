"""Evaluator: losses between anchors against a naive loop over single examples."""

from __future__ import annotations

import copy
import math
import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations, prune

from landscape.analysis.network import sweep as sweep_module
from landscape.analysis.network.evaluator import Evaluator
from landscape.analysis.paths import grid, line
from landscape.data_store.errors import LandscapeError, UsageError
from landscape.training.task import cross_entropy, squared_error
from tests.support.lazy_inputs import Recorded

LONE = np.ones((1, 1))
BETWEEN = np.array(
    [[1, 0], [0, 1], [0.5, 0.5], [0.3, 0.7], [1.5, -0.5], [-0.5, 1.5], [0.2, 0.3], [0, 0]]
)
AMONG = np.array([[0.2, 0.3, 0.5], [1.5, -1, 0.5], [0, 1, 0], [0.5, 0.5, 0], [1, 1, -1]])


def mlp() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(80, 7), nn.ReLU(), nn.Linear(7, 4))


def without_bias() -> nn.Module:
    return nn.Sequential(nn.Linear(80, 7, bias=False), nn.Tanh(), nn.Linear(7, 4))


def affine() -> nn.Module:
    return nn.Linear(80, 4)


def conv_with_norm() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 5, 3, padding=1),
        nn.BatchNorm2d(5),
        nn.ReLU(),
        nn.Conv2d(5, 3, 3, stride=2),
        nn.BatchNorm2d(3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(12, 4),
    )


def wide_conv() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(8, 4, 3, padding=1, padding_mode="circular"),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(64, 4),
    )


def norm_first() -> nn.Module:
    return nn.Sequential(nn.BatchNorm1d(80), nn.Linear(80, 7), nn.ReLU(), nn.Linear(7, 4))


def norm_after() -> nn.Module:
    return nn.Sequential(nn.Linear(80, 7), nn.BatchNorm1d(7), nn.ReLU(), nn.Linear(7, 4))


def in_place() -> nn.Module:
    return nn.Sequential(nn.Linear(80, 7), nn.ReLU(inplace=True), nn.Linear(7, 4))


def hooked() -> nn.Module:
    net = in_place()
    net[0].register_forward_hook(lambda _module, _inputs, outputs: 2 * outputs)
    return net


def overridden() -> nn.Module:
    net = in_place()
    net[0].forward = lambda inputs: inputs[:, :7]
    return net


def pruned() -> nn.Module:
    net = in_place()
    prune.l1_unstructured(net[0], "weight", 0.5)
    return net


def weight_norm() -> nn.Module:
    net = in_place()
    net[0] = parametrizations.weight_norm(net[0])
    return net


class Net(nn.Module):
    """Two layers of 80 and a head, for all the ways to call them."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2, self.head = nn.Linear(80, 80), nn.Linear(80, 80), nn.Linear(80, 4)
        self.fc1.weight.data *= 0.3
        self.fc2.weight.data *= 0.3


class Scaled(Net):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(80))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.tanh(self.fc1(x * self.scale)))


class ScaledInside(Net):
    """The scale belongs to a module that is never called."""

    def __init__(self) -> None:
        super().__init__()
        self.scales = nn.ParameterList([torch.ones(80)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.tanh(self.fc1(x * self.scales[0])))


class Twice(Net):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.tanh(self.fc1(torch.tanh(self.fc1(x)))))


class Tied(Net):
    def __init__(self) -> None:
        super().__init__()
        self.fc2.weight = self.fc1.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.tanh(self.fc2(torch.tanh(self.fc1(x)))))


class Functional(Net):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = functional.linear(x, self.fc1.weight, self.fc1.bias)
        return self.head(torch.tanh(self.fc2(torch.tanh(hidden))))


class Beside(Net):
    """The layer that is called first is not the first of the parameters."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.tanh(self.fc2(x) + functional.linear(x, self.fc1.weight)))


class Reading(Net):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.tanh(self.fc1(x) / self.fc1.weight.norm()))


class Glancing(Net):
    """Reads the first layer too faintly to show in the outputs' leading digits."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.tanh(self.fc1(x))) + 1e-5 * self.fc1.weight[0, :4]


class Fixed(Net):
    """A buffer that is not part of the state dict."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("signs", torch.tensor([1.0, -1.0, 1.0, -1.0]), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.tanh(self.fc1(x))) * self.signs


FLAT, IMAGE, DEEP = (80,), (2, 6, 6), (8, 4, 4)

# network: shape of an input, is the first layer shared by itself, can it be shared at all
NETWORKS = {
    mlp: ((2, 40), True, True),
    without_bias: (FLAT, True, True),
    affine: (FLAT, True, True),
    norm_after: (FLAT, True, True),
    in_place: (FLAT, True, True),
    Beside: (FLAT, True, True),
    wide_conv: (DEEP, True, True),
    conv_with_norm: (IMAGE, False, True),
    norm_first: (FLAT, False, False),
    Scaled: (FLAT, False, False),
    ScaledInside: (FLAT, False, False),
    Fixed: (FLAT, False, False),
    Twice: (FLAT, False, False),
    Tied: (FLAT, False, False),
    Functional: (FLAT, False, False),
    Reading: (FLAT, False, False),
    Glancing: (FLAT, False, False),
    hooked: (FLAT, False, False),
    overridden: (FLAT, False, False),
    pruned: (FLAT, False, False),
    weight_norm: (FLAT, False, False),
}


def data(shape=FLAT, examples=21, classes=4, seed=0):
    draws = torch.Generator().manual_seed(seed)
    inputs = torch.randn(examples, *shape, generator=draws)
    return inputs, torch.randint(0, classes, (examples,), generator=draws)


def made(factory, dtype=torch.float32, seed=0) -> nn.Module:
    """A network whose weights do not depend on, or touch, the global generator."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return factory().to(dtype)


def names(net) -> list[str]:
    """Names of the tensors that a point holds, in its order."""
    buffers = [n for n, b in net.named_buffers() if b.is_floating_point()]
    return [n for n, _ in net.named_parameters()] + [n for n in buffers if n in net.state_dict()]


def moving(net) -> list[torch.Tensor]:
    """The tensors that a point holds, in its order."""
    return [
        net.get_parameter(n) if n in dict(net.named_parameters()) else net.get_buffer(n)
        for n in names(net)
    ]


def anchors(net, j=2, seed=0):
    """Points that have little in common but positive variances, (j, n)."""
    rng = np.random.default_rng(seed)
    parts = []
    for name, tensor in zip(names(net), moving(net), strict=True):
        shape = (j, tensor.numel())
        if "running_mean" in name:
            parts.append(rng.normal(0, 0.3, shape))
        elif "running_var" in name:
            parts.append(rng.uniform(0.8, 1.2, shape))
        else:
            parts.append(tensor.detach().numpy().reshape(-1) * rng.uniform(-2, 2, shape))
    return np.concatenate(parts, axis=1).astype(str(tensor.dtype).removeprefix("torch."))


def placed(net, point) -> nn.Module:
    """An own copy of the network at a point, its tensors set one by one."""
    own, start = copy.deepcopy(net).eval(), 0
    with torch.no_grad():
        for tensor in moving(own):
            values = torch.from_numpy(point[start : start + tensor.numel()].copy())
            tensor.copy_(values.reshape(tensor.shape))
            start += tensor.numel()
    assert start == len(point)
    return own


def naive(net, inputs, targets, loss=cross_entropy):
    """Loss and mistake of each example, one at a time, in float64 (examples,)."""
    dtype = next(net.parameters()).dtype
    losses, wrong = [], []
    with torch.no_grad():
        for x, y in zip(inputs, targets, strict=True):
            outputs = net(x[None].to(dtype) if x.is_floating_point() else x[None])
            losses.append(float(loss(outputs, y[None])))
            wrong.append(int(outputs.argmax()) != int(y))
    return np.array(losses), np.array(wrong, dtype=float)


def naive_line(net, ends, rows, inputs, targets):
    """Mean losses and errors at ``rows @ ends``, point by point; no error without a loss."""
    points = (rows @ ends.astype(np.float64)).astype(ends.dtype)
    each = [naive(placed(net, point), inputs, targets) for point in points]
    loss, error = (np.array([values[i].mean() for values in each]) for i in (0, 1))
    return loss, np.where(np.isnan(loss), np.nan, error)


def same_bits(one, other) -> bool:
    fields = ("loss", "error", "loss_se", "error_se")
    return all(getattr(one, f).tobytes() == getattr(other, f).tobytes() for f in fields)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("share", [None, True, False])
@pytest.mark.parametrize("factory", NETWORKS)
def test_equals_one_example_at_a_time(factory, share, dtype):
    shape, shared, can_be_shared = NETWORKS[factory]
    net = made(factory, dtype)
    with torch.no_grad():  # else torch's pruning makes it impossible to copy
        reference = made(factory, dtype)
    inputs, targets = data(shape)
    landscape = Evaluator(
        net, {"test": (inputs, targets)}, cross_entropy, batch_size=8, share=share
    )
    ends = anchors(net)
    got = landscape.evaluate(ends, BETWEEN, split="test")
    loss, error = naive_line(reference, ends, BETWEEN, inputs, targets)
    tolerance = 1e-6 if dtype == torch.float32 else 1e-12
    np.testing.assert_allclose(got.loss, loss, rtol=tolerance)
    np.testing.assert_array_equal(got.error, error)
    assert got.loss.dtype == got.error.dtype == np.float64
    assert got.examples == 21
    assert landscape.shares_first_layer == {None: shared, True: can_be_shared, False: False}[share]
    assert np.nanmax(loss) - np.nanmin(loss) > 0.01


@pytest.mark.parametrize("factory", [mlp, norm_after, Tied])
@pytest.mark.parametrize(
    ("j", "rows"), [(1, [[1.0]]), (1, [[0.5], [-2.0], [1.0]]), (3, AMONG), (3, AMONG[:2])]
)
def test_any_number_of_anchors_and_points(factory, j, rows):
    net, rows = made(factory, torch.float64), np.array(rows)
    inputs, targets = data(NETWORKS[factory][0])
    points = anchors(net, j)
    got = Evaluator(net, {"t": (inputs, targets)}, cross_entropy).evaluate(points, rows, split="t")
    loss, error = naive_line(net, points, rows, inputs, targets)
    np.testing.assert_allclose(got.loss, loss, rtol=1e-12)
    np.testing.assert_array_equal(got.error, error)


def test_no_points_have_no_losses():
    net = made(mlp)
    landscape = Evaluator(net, {"t": data(NETWORKS[mlp][0])}, cross_entropy)
    got = landscape.evaluate(anchors(net), np.zeros((0, 2)), split="t")
    assert got.loss.shape == got.error.shape == got.loss_se.shape == (0,)


def test_points_need_not_fit_at_once(monkeypatch):
    net = made(mlp)
    splits = {"t": data(NETWORKS[mlp][0])}
    whole = Evaluator(net, splits, cross_entropy).evaluate(anchors(net), BETWEEN, split="t")
    monkeypatch.setattr(sweep_module, "_NUMBERS_IN_FLIGHT", 3 * 39)
    parts = Evaluator(net, splits, cross_entropy).evaluate(anchors(net), BETWEEN, split="t")
    assert same_bits(whole, parts)


def test_a_narrow_first_layer_is_shared_only_if_asked():
    net = made(lambda: nn.Sequential(nn.Linear(63, 5), nn.ReLU(), nn.Linear(5, 4)))
    for share, shared in ((None, False), (True, True)):
        landscape = Evaluator(net, {"t": data((63,))}, cross_entropy, share=share)
        landscape.evaluate(anchors(net), BETWEEN, split="t")
        assert landscape.shares_first_layer is shared


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("share", [None, True, False])
@pytest.mark.parametrize("factory", NETWORKS)
def test_trap_an_endpoint_is_not_the_checkpoint(factory, share, dtype):
    net = made(factory, dtype)
    splits = {"t": data(NETWORKS[factory][0])}
    ends = anchors(net)
    walk = Evaluator(net, splits, cross_entropy, share=share)
    walked = walk.evaluate(ends, line(grid(7)), split="t")
    for end, at in ((0, 0), (1, -1)):
        for landscape in (walk, Evaluator(net, splits, cross_entropy, share=False)):
            alone = landscape.evaluate(ends[end : end + 1], LONE, split="t")
            assert (alone.loss[0], alone.error[0]) == (walked.loss[at], walked.error[at])
            assert (alone.loss_se[0], alone.error_se[0]) == (
                walked.loss_se[at],
                walked.error_se[at],
            )


@pytest.mark.parametrize(
    ("widths", "examples", "batch_size", "dtype"),
    [
        ((121, 7, 39, 8), 75, 1, torch.float32),
        ((114, 1, 12, 3), 113, 10, torch.float32),
        ((111, 32, 38, 4), 56, 1, torch.float32),
        ((78, 31, 32, 6), 67, 78, torch.float64),
        ((126, 23, 3, 3), 128, 45, torch.float64),
        ((100, 38, 27, 3), 82, 1, torch.float64),
    ],
)
def test_endpoints_do_not_depend_on_where_tensors_lie_in_memory(
    widths, examples, batch_size, dtype
):
    """These sizes lay at odd addresses, for which matrix products round otherwise."""
    a, b, c, d = widths
    layers = nn.Linear(a, b), nn.ReLU(), nn.Linear(b, c), nn.ReLU(), nn.Linear(c, d)
    net = made(lambda: nn.Sequential(*layers), dtype)
    for seed in range(3):
        splits = {"t": data((a,), examples, d, seed)}
        landscape = Evaluator(net, splits, cross_entropy, batch_size=batch_size)
        ends = anchors(net, seed=seed)
        walked = landscape.evaluate(ends, line(grid(4)), split="t")
        assert landscape.shares_first_layer
        alone = [landscape.evaluate(ends[i : i + 1], LONE, split="t").loss[0] for i in (0, 1)]
        assert [walked.loss[0], walked.loss[-1]] == alone


@pytest.mark.parametrize("factory", [mlp, conv_with_norm, Tied])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("bad_end", [0, 1])
def test_a_checkpoint_is_not_touched_by_the_other_ends_infinities(factory, bad, bad_end):
    net = made(factory)
    splits = {"t": data(NETWORKS[factory][0])}
    ends = anchors(net)
    ends[bad_end] = bad
    got = Evaluator(net, splits, cross_entropy, share=True).evaluate(ends, line(grid(5)), split="t")
    good = 1 - bad_end
    alone = Evaluator(net, splits, cross_entropy).evaluate(ends[good : good + 1], LONE, split="t")
    assert (got.loss[-good], got.error[-good]) == (alone.loss[0], alone.error[0])
    rest = np.delete(got.loss, -good)
    assert np.isnan(rest).all()
    assert np.isnan(np.delete(got.error, -good)).all()


@pytest.mark.parametrize("factory", [mlp, conv_with_norm, Tied])
def test_two_calls_give_identical_numbers(factory):
    net = made(factory)
    splits = {"t": data(NETWORKS[factory][0])}
    first, second = (Evaluator(net, splits, cross_entropy, share=True) for _ in range(2))
    answers = [e.evaluate(anchors(net), BETWEEN, split="t") for e in (first, first, second)]
    assert same_bits(answers[0], answers[1])
    assert same_bits(answers[0], answers[2])


def test_a_broken_first_checkpoint_does_not_decide_what_is_shared():
    net = made(Tied)
    splits = {"t": data()}
    landscape = Evaluator(net, splits, cross_entropy, share=True)
    broken = anchors(net)
    broken[:] = np.nan
    assert np.isnan(landscape.evaluate(broken, BETWEEN, split="t").loss[:-1]).all()
    broken[1] = anchors(net)[1]
    landscape.evaluate(broken, BETWEEN, split="t")
    whole = landscape.evaluate(anchors(net), BETWEEN, split="t")
    plain = Evaluator(net, splits, cross_entropy, share=False)
    assert same_bits(whole, plain.evaluate(anchors(net), BETWEEN, split="t"))


@pytest.mark.parametrize("factory", [mlp, conv_with_norm, Scaled])
def test_batch_sizes_do_not_matter_beyond_rounding(factory):
    net = made(factory)
    splits = {"t": data(NETWORKS[factory][0], examples=50)}
    answers = [
        Evaluator(net, splits, cross_entropy, batch_size=size, share=True).evaluate(
            anchors(net), BETWEEN, split="t"
        )
        for size in (1, 7, 50, 4000)
    ]
    for answer in answers[1:]:
        np.testing.assert_allclose(answer.loss, answers[0].loss, rtol=1e-6)
        np.testing.assert_array_equal(answer.error, answers[0].error)


def test_batches_are_laid_out_by_the_network():
    options = {
        f: Evaluator(made(f), {"t": data(NETWORKS[f][0])}, cross_entropy) for f in (mlp, wide_conv)
    }
    assert {f: e.layout for f, e in options.items()} == {mlp: "plain", wide_conv: "channels-last"}
    assert options[mlp].batch_size == 2_000
    assert Evaluator(made(mlp), {}, cross_entropy, batch_size=7).batch_size == 7


@pytest.mark.parametrize("factory", [conv_with_norm, wide_conv, mlp])
@pytest.mark.parametrize("share", [None, True])
def test_endpoints_are_bit_by_bit_those_of_the_plain_network(factory, share):
    """The plain network, that is, on batches of the same size and layout."""
    net = made(factory)
    inputs, targets = data(NETWORKS[factory][0], examples=50)
    landscape = Evaluator(net, {"t": (inputs, targets)}, cross_entropy, batch_size=16, share=share)
    ends = anchors(net)
    got = landscape.per_example(ends, line(grid(5)), split="t").loss
    last = landscape.layout == "channels-last"
    form = torch.channels_last if last else torch.contiguous_format
    for end, k in ((0, 0), (1, -1)):
        own = placed(net, ends[end])
        with torch.no_grad():
            losses = [
                cross_entropy(own(x.contiguous(memory_format=form)), y)
                for x, y in zip(inputs.split(16), targets.split(16), strict=True)
            ]
        assert got[k].tobytes() == torch.cat(losses).double().numpy().tobytes()


def test_integer_inputs():
    net = made(lambda: nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(20, 4)))
    draws = torch.Generator().manual_seed(0)
    inputs = torch.randint(0, 9, (21, 5), generator=draws)
    targets = torch.randint(0, 4, (21,), generator=draws)
    landscape = Evaluator(net, {"t": (inputs, targets)}, cross_entropy, share=True)
    got = landscape.evaluate(anchors(net), BETWEEN, split="t")
    loss, error = naive_line(net, anchors(net), BETWEEN, inputs, targets)
    np.testing.assert_allclose(got.loss, loss, rtol=1e-6)
    np.testing.assert_array_equal(got.error, error)
    assert not landscape.shares_first_layer


def test_a_float32_network_takes_float64_data():
    inputs, targets = data()
    net = made(in_place)
    single, double = (
        Evaluator(net, {"t": (x, targets)}, cross_entropy).evaluate(anchors(net), LINE, split="t")
        for x in (inputs, inputs.double())
    )
    assert same_bits(single, double)


LINE = line(grid(5))


def test_standard_errors_are_those_of_the_mean_over_examples():
    net = made(in_place, torch.float64)
    inputs, targets = data(examples=40)
    ends = anchors(net)
    got = Evaluator(net, {"t": (inputs, targets)}, cross_entropy).evaluate(ends, LINE, split="t")
    for k, point in enumerate(LINE @ ends):
        losses, wrong = naive(placed(net, point), inputs, targets)
        assert got.loss_se[k] == pytest.approx(losses.std(ddof=1) / math.sqrt(40), rel=1e-10)
        assert got.error_se[k] == pytest.approx(wrong.std(ddof=1) / math.sqrt(40), rel=1e-12)


def test_one_example_has_no_standard_error():
    net = made(in_place)
    got = Evaluator(net, {"t": data(examples=1)}, cross_entropy).evaluate(
        anchors(net), LINE, split="t"
    )
    assert np.isfinite(got.loss).all()
    assert np.isnan(got.loss_se).all()
    assert np.isnan(got.error_se).all()


def test_regression_has_no_error():
    net = made(in_place, torch.float64)
    inputs, _ = data()
    targets = torch.linspace(-1, 1, 84, dtype=torch.float64).reshape(21, 4)
    landscape = Evaluator(net, {"t": (inputs, targets)}, squared_error)
    ends = anchors(net)
    got = landscape.evaluate(ends, LINE, split="t")
    want = [
        np.mean([((placed(net, p)(x[None].double()) - y) ** 2).mean().item() for x, y in pairs])
        for p in LINE @ ends
        for pairs in [list(zip(inputs, targets, strict=True))]
    ]
    np.testing.assert_allclose(got.loss, want, rtol=1e-12)
    assert np.isnan(got.error).all()
    assert np.isnan(got.error_se).all()
    assert np.isfinite(got.loss_se).all()


def test_a_loss_that_is_not_finite_is_nan_and_spoils_no_other():
    net = made(in_place)
    splits = {"t": data()}
    points = anchors(net, 3)
    points[2] = 1e30  # finite weights, infinite logits
    rows = np.array([[1.0, 0, 0], [0.5, 0.5, 0], [0.5, 0.4, 0.1], [0, 0, 1], [0, 1, 0]])
    got = Evaluator(net, splits, cross_entropy).evaluate(points, rows, split="t")
    fine = Evaluator(net, splits, cross_entropy).evaluate(
        points[:2], rows[[0, 1, 4], :2], split="t"
    )
    for field in ("loss", "error", "loss_se", "error_se"):
        values = getattr(got, field)
        assert np.isnan(values[[2, 3]]).all()
        assert values[[0, 1, 4]].tobytes() == getattr(fine, field).tobytes()


def test_one_infinite_example_is_enough():
    net = made(in_place)

    def loss(outputs, targets):
        return torch.where(targets == 4, torch.inf, outputs[:, 0] ** 2)

    inputs, targets = data()
    targets[13] = 4
    got = Evaluator(net, {"t": (inputs, targets)}, loss).evaluate(anchors(net), LINE, split="t")
    assert np.isnan(got.loss).all()
    assert np.isnan(got.error).all()


def test_losses_of_the_first_examples():
    net = made(norm_after)
    inputs, targets = data(examples=30)
    landscape = Evaluator(net, {"train": (inputs, targets)}, cross_entropy, batch_size=4)
    point = anchors(net)[1]
    want, _ = naive(placed(net, point), inputs, targets)
    for examples, length in ((16, 16), (1, 1), (99, 30)):
        got = landscape.losses(point, split="train", examples=examples)
        assert got.dtype == np.float64
        np.testing.assert_allclose(got, want[:length], rtol=2e-6)


@pytest.mark.parametrize("share", [None, True, False])
@pytest.mark.parametrize("factory", [mlp, conv_with_norm, Tied])
def test_each_example_alone(factory, share):
    net = made(factory, torch.float64)
    inputs, targets = data(NETWORKS[factory][0])
    landscape = Evaluator(net, {"t": (inputs, targets)}, cross_entropy, batch_size=8, share=share)
    ends = anchors(net)
    got = landscape.per_example(ends, BETWEEN, split="t")
    assert got.loss.shape == got.error.shape == (len(BETWEEN), 21)
    assert got.loss.dtype == got.error.dtype == np.float64
    for k, point in enumerate(BETWEEN @ ends):
        losses, wrong = naive(placed(net, point), inputs, targets)
        np.testing.assert_allclose(got.loss[k], losses, rtol=1e-11)
        np.testing.assert_array_equal(got.error[k], wrong)
    means = landscape.evaluate(ends, BETWEEN, split="t")
    np.testing.assert_allclose(got.loss.mean(1), means.loss, rtol=1e-14)
    np.testing.assert_array_equal(got.error.mean(1), means.error)
    np.testing.assert_allclose(got.loss.std(1, ddof=1) / math.sqrt(21), means.loss_se, rtol=1e-6)


CHOSEN = np.array([20, 3, 4, 5, 3, 0, 17, 9, 10, 11])


@pytest.mark.parametrize("bn", ["interpolate", "recompute", "first"])
@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("factory", [mlp, conv_with_norm, norm_after, Tied])
def test_chosen_examples_are_the_whole_split_of_another(factory, lazy, bn):
    net = made(factory)
    train, (inputs, targets) = data(NETWORKS[factory][0], 30, seed=1), data(NETWORKS[factory][0])
    given = Recorded(inputs) if lazy else inputs
    options = {"bn": bn, "batch_size": 4}
    splits = {"train": train, "t": (given, targets)}
    landscape = Evaluator(net, splits, cross_entropy, **options)
    splits = {"train": train, "t": (inputs[CHOSEN], targets[CHOSEN])}
    alone = Evaluator(net, splits, cross_entropy, **options)
    ends = anchors(net)
    got = landscape.evaluate(ends, BETWEEN, split="t", places=CHOSEN)
    assert same_bits(got, alone.evaluate(ends, BETWEEN, split="t"))
    assert got.examples == 10
    rows = landscape.per_example(ends, BETWEEN, split="t", places=CHOSEN)
    assert rows.loss.tobytes() == alone.per_example(ends, BETWEEN, split="t").loss.tobytes()
    all_rows = landscape.per_example(ends, BETWEEN, split="t")
    np.testing.assert_allclose(rows.loss, all_rows.loss[:, CHOSEN], rtol=1e-5)
    np.testing.assert_array_equal(rows.error, all_rows.error[:, CHOSEN])


def test_one_chosen_example_is_enough():
    net = made(mlp)
    landscape = Evaluator(net, {"t": data((2, 40))}, cross_entropy)
    got = landscape.evaluate(anchors(net), BETWEEN, split="t", places=np.array([5]))
    want = landscape.per_example(anchors(net), BETWEEN, split="t")
    np.testing.assert_allclose(got.loss, want.loss[:, 5], rtol=1e-5)
    assert np.isnan(got.loss_se).all()


def test_noise_is_found_whatever_is_chosen():
    landscape = Evaluator(made(batch_statistics), {"t": data()}, cross_entropy)
    with pytest.raises(LandscapeError, match="the loss is noisy: two batch sizes"):
        landscape.evaluate(
            anchors(made(batch_statistics)), LINE, split="t", places=np.array([1, 2])
        )


def test_each_example_of_a_regression_has_no_error():
    net = made(in_place)
    targets = torch.linspace(-1, 1, 84).reshape(21, 4)
    landscape = Evaluator(net, {"t": (data()[0], targets)}, squared_error)
    got = landscape.per_example(anchors(net), LINE, split="t")
    assert np.isfinite(got.loss).all()
    assert np.isnan(got.error).all()


def test_each_example_without_a_finite_loss_is_nan_alone():
    net = made(in_place)
    inputs, targets = data()
    targets[13] = 4

    def loss(outputs, targets):
        return torch.where(targets == 4, torch.inf, outputs[:, 0] ** 2)

    got = Evaluator(net, {"t": (inputs, targets)}, loss).per_example(anchors(net), LINE, split="t")
    for values in (got.loss, got.error):
        assert np.isnan(values[:, 13]).all()
        assert np.isfinite(np.delete(values, 13, axis=1)).all()


def test_how_many_examples():
    landscape = Evaluator(made(in_place), {"a": data(), "b": data(examples=7)}, cross_entropy)
    assert [landscape.examples(split) for split in "ab"] == [21, 7]
    with pytest.raises(UsageError, match="no split 'c'; this task has a, b"):
        landscape.examples("c")


@pytest.mark.parametrize("bn", ["interpolate", "recompute"])
@pytest.mark.parametrize("share", [None, False])
@pytest.mark.parametrize("factory", [mlp, norm_after, conv_with_norm, Tied])
def test_lazy_inputs_give_the_numbers_of_tensors(factory, share, bn):
    net = made(factory)
    inputs, targets = data(NETWORKS[factory][0], 30)
    got, want = (
        Evaluator(
            net, {"train": (x, targets)}, cross_entropy, batch_size=8, share=share, bn=bn
        ).evaluate(anchors(net), BETWEEN, split="train")
        for x in (Recorded(inputs), inputs)
    )
    assert same_bits(got, want)


@pytest.mark.parametrize("factory", [mlp, conv_with_norm])
def test_a_lazy_batch_is_read_once_for_all_points(factory, monkeypatch):
    net = made(factory)
    inputs, targets = data(NETWORKS[factory][0], 30)
    lazy = Recorded(inputs)
    landscape = Evaluator(net, {"t": (lazy, targets)}, cross_entropy, batch_size=8)
    landscape.evaluate(anchors(net), LONE[:, [0, 0]], split="t")  # probes
    lazy.asked.clear()
    whole = landscape.evaluate(anchors(net), BETWEEN, split="t")
    assert lazy.asked == [(0, 8), (8, 16), (16, 24), (24, 30)]
    lazy.asked.clear()
    monkeypatch.setattr(sweep_module, "_NUMBERS_IN_FLIGHT", 4 * landscape.size)
    parts = landscape.evaluate(anchors(net), BETWEEN, split="t")
    assert same_bits(whole, parts)
    assert len(lazy.asked) in (4, 8)  # points with a shared first layer are smaller


def fingerprint(net):
    """Values, modes, gradients, hooks and attributes of a network."""
    state = {n: (t.numpy().tobytes(), t.data_ptr()) for n, t in net.state_dict().items()}
    parts = [
        (
            name,
            module.training,
            [h for kind in vars(module) if kind.endswith("hooks") for h in vars(module)[kind]],
            sorted(vars(module)),
        )
        for name, module in net.named_modules()
    ]
    flags = {n: (p.requires_grad, p.grad, id(p)) for n, p in net.named_parameters()}
    return state, parts, flags


@pytest.mark.parametrize("bn", ["interpolate", "recompute", "first"])
@pytest.mark.parametrize("factory", [mlp, conv_with_norm, hooked, Tied])
def test_trap_the_callers_model_is_mutated(factory, bn):
    net = made(factory)
    net[0].train() if isinstance(net, nn.Sequential) else None
    next(net.parameters()).requires_grad_(False)
    splits = {"train": data(NETWORKS[factory][0])}
    before, inputs = fingerprint(net), splits["train"][0].clone()
    landscape = Evaluator(net, splits, cross_entropy, bn=bn, share=True)
    landscape.evaluate(anchors(net), BETWEEN, split="train")
    landscape.losses(anchors(net)[0], split="train", examples=3)
    assert fingerprint(net) == before
    assert torch.equal(splits["train"][0], inputs)


class Fragile(nn.Module):
    """Fails at its n-th forward pass from now."""

    left = math.inf

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.norm, self.fc2 = nn.Linear(80, 7), nn.BatchNorm1d(7), nn.Linear(7, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.norm(self.fc1(x))
        Fragile.left -= 1
        if Fragile.left < 0:
            raise RuntimeError("out of luck")
        return self.fc2(torch.relu(hidden))


@pytest.mark.parametrize("bn", ["interpolate", "recompute"])
@pytest.mark.parametrize("passes", [0, 1, 3, 4, 5, 6, 9, 14])
def test_after_an_exception_all_is_as_before(passes, bn, monkeypatch):
    net = made(Fragile)
    splits = {"train": data()}
    want = Evaluator(net, splits, cross_entropy, bn=bn).evaluate(
        anchors(net), BETWEEN, split="train"
    )
    before = fingerprint(net)
    landscape = Evaluator(net, splits, cross_entropy, bn=bn)
    monkeypatch.setattr(Fragile, "left", passes)
    with pytest.raises(RuntimeError, match="out of luck"):
        landscape.evaluate(anchors(net), BETWEEN, split="train")
    monkeypatch.setattr(Fragile, "left", math.inf)
    assert fingerprint(net) == before
    assert same_bits(landscape.evaluate(anchors(net), BETWEEN, split="train"), want)


def test_global_random_numbers_are_left_alone():
    net = made(conv_with_norm)
    splits = {"train": data(IMAGE)}
    torch.manual_seed(3)
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    for bn in ("interpolate", "recompute"):
        landscape = Evaluator(net, splits, cross_entropy, bn=bn, share=True)
        landscape.evaluate(anchors(net), BETWEEN, split="train")
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.array_equal(np.random.get_state()[1], states[1])
    assert random.getstate() == states[2]


class Dropping(Net):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(functional.dropout(torch.tanh(self.fc1(x)), 0.5, training=True))


def batch_statistics() -> nn.Module:
    return nn.Sequential(
        nn.Linear(80, 7), nn.BatchNorm1d(7, track_running_stats=False), nn.Linear(7, 4)
    )


def random_loss(outputs, targets):
    return cross_entropy(outputs, targets) + torch.rand(len(targets))


@pytest.mark.parametrize(
    ("factory", "loss", "what"),
    [
        (Dropping, cross_entropy, "two passes"),
        (batch_statistics, cross_entropy, "two batch sizes"),
        (in_place, random_loss, "two passes"),
    ],
)
@pytest.mark.parametrize("examples", [21, 300])
def test_a_noisy_loss_is_refused_every_time(factory, loss, what, examples):
    net = made(factory)
    landscape = Evaluator(net, {"t": data(examples=examples)}, loss)
    broken = anchors(net)
    broken[0] = np.nan
    for ends in (anchors(net), anchors(net), broken):
        with pytest.raises(LandscapeError, match=f"the loss is noisy: {what} over the same"):
            landscape.evaluate(ends, LINE, split="t")


@pytest.mark.parametrize(
    ("loss", "shape"),
    [
        (lambda o, t: cross_entropy(o, t).mean(), r"\(\)"),
        (lambda o, t: cross_entropy(o, t).mean().reshape(1), r"\(1,\)"),
        (lambda o, t: o.square(), r"\(21, 4\)"),
    ],
)
def test_a_loss_that_is_not_per_example_is_refused_every_time(loss, shape):
    net = made(in_place)
    landscape = Evaluator(net, {"t": data()}, loss)
    for _ in range(2):
        with pytest.raises(UsageError, match=f"returned shape {shape} for a batch of 21; it must"):
            landscape.evaluate(anchors(net), LINE, split="t")


def test_wrong_questions():
    net = made(in_place)
    landscape = Evaluator(net, {"train": data(), "test": data()}, cross_entropy)
    points = anchors(net)
    assert landscape.size == points.shape[1]
    with pytest.raises(UsageError, match="no split 'validation'; this task has train, test"):
        landscape.evaluate(points, LINE, split="validation")
    for wrong in (points[:, :-1], points[0]):
        with pytest.raises(LandscapeError, match=r"anchors of shape \(.*expected \(any, 599\)"):
            landscape.evaluate(wrong, LINE, split="test")
    for rows in (np.ones((3, 3)), np.ones(2)):
        with pytest.raises(LandscapeError, match=r"coefficients of shape .* do not fit 2 anchors"):
            landscape.evaluate(points, rows, split="test")
    with pytest.raises(
        UsageError, match="bn is 'frozen'; use one of interpolate, recompute, first"
    ):
        Evaluator(net, {}, cross_entropy, bn="frozen")
    norm = made(norm_after)
    with pytest.raises(UsageError, match="bn=recompute needs a train split"):
        Evaluator(norm, {"test": data()}, cross_entropy, bn="recompute").evaluate(
            anchors(norm), LINE, split="test"
        )


@pytest.mark.parametrize("factory", [norm_after, conv_with_norm])
def test_first_takes_the_statistics_of_the_first_anchor(factory):
    net = made(factory, torch.float64)
    inputs, targets = data(NETWORKS[factory][0])
    ends = anchors(net)
    landscape = Evaluator(net, {"t": (inputs, targets)}, cross_entropy, bn="first", share=True)
    got = landscape.evaluate(ends, LINE, split="t")
    points = LINE @ ends
    weights = sum(p.numel() for p in net.parameters())
    points[:, weights:] = ends[0, weights:]
    want = [naive(placed(net, point), inputs, targets)[0].mean() for point in points]
    np.testing.assert_allclose(got.loss, want, rtol=1e-12)
    assert landscape.shares_first_layer


def recomputed(net, point, batches):
    """The network at a point with statistics from training batches, as torch's recipe has it."""
    own = placed(net, point)
    norms = [m for m in own.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    with torch.no_grad():
        for batch in batches:
            own(batch)
    return own.eval()


@pytest.mark.parametrize("factory", [norm_first, norm_after, conv_with_norm])
def test_recompute_equals_a_naive_recomputation(factory):
    net = made(factory, torch.float64)
    train, test = data(NETWORKS[factory][0], 36), data(NETWORKS[factory][0], seed=1)
    landscape = Evaluator(
        net, {"train": train, "test": test}, cross_entropy, bn="recompute", batch_size=12
    )
    ends = anchors(net)
    got = landscape.evaluate(ends, LINE, split="test")
    batches = train[0].double().split(12)
    want = [naive(recomputed(net, p, batches), *test)[0].mean() for p in LINE @ ends]
    np.testing.assert_allclose(got.loss, want, rtol=1e-12)
    assert not landscape.shares_first_layer
    kept = Evaluator(net, {"test": test}, cross_entropy).evaluate(ends, LINE, split="test")
    assert (np.abs(kept.loss - got.loss) > 1e-4).all()


def test_recompute_sees_the_first_5000_training_examples():
    net = made(lambda: nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)), torch.float64)
    inputs, targets = data((3,), 6_000, classes=2)
    inputs = inputs.double()
    inputs[5_000:] += 100.0
    landscape = Evaluator(
        net, {"train": (inputs, targets)}, cross_entropy, bn="recompute", batch_size=5_000
    )
    point = anchors(net)[0]
    weight, bias, gain, shift = point[:6].reshape(2, 3), point[6:8], point[8:10], point[10:12]
    response = inputs.numpy() @ weight.T + bias
    seen = response[:5_000]
    logits = (response - seen.mean(0)) / np.sqrt(seen.var(0, ddof=1) + 1e-5) * gain + shift
    losses = np.logaddexp.reduce(logits, axis=1) - logits[np.arange(6_000), targets]
    got = landscape.losses(point, split="train", examples=6_000)
    np.testing.assert_allclose(got, losses, rtol=1e-10)


def test_recompute_leaves_no_small_batch_at_the_end():
    net = made(lambda: nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)), torch.float64)
    inputs, targets = data((3,), 41, classes=2)
    landscape = Evaluator(
        net, {"train": (inputs, targets)}, cross_entropy, bn="recompute", batch_size=20
    )
    point = anchors(net)[0]
    batches = inputs.double().split([14, 14, 13])  # not 20, 20 and a lone one without a variance
    want = naive(recomputed(net, point, batches), inputs, targets)[0]
    got = landscape.losses(point, split="train", examples=41)
    np.testing.assert_allclose(got, want, rtol=1e-12)


@pytest.mark.parametrize("bn", ["interpolate", "recompute", "first"])
def test_the_number_of_batches_is_never_interpolated(bn):
    net = made(norm_after)
    net[1].num_batches_tracked.fill_(17)
    landscape = Evaluator(net, {"train": data()}, cross_entropy, bn=bn)
    assert landscape.size == 567 + 32 + 14 + 14
    landscape.evaluate(anchors(net), LINE, split="train")
    counted = landscape.model[1].num_batches_tracked
    assert counted.dtype == torch.int64
    assert int(counted) == (1 if bn == "recompute" else 17)
    assert int(net[1].num_batches_tracked) == 17


@pytest.mark.parametrize("bn", ["interpolate", "recompute", "first"])
def test_trap_a_barrier_from_batchnorm_buffers(bn):
    """Weights and statistics scaled by c compute the same function, but not in between.

    With s = (1 - alpha) + alpha c, a unit's response is s times the first's. Interpolated
    statistics divide it by the root of (1 - alpha) + alpha c², those of the first anchor by
    1, recomputed ones by s.
    """
    c, alpha = 4.0, grid(9)
    net = nn.Sequential(nn.Linear(3, 2, bias=False), nn.BatchNorm1d(2, eps=1e-13)).double()
    inputs, targets = data((3,), 50, classes=2)
    weight = np.array([[1.0, -0.5, 0.3], [0.2, 0.8, -1.0]])
    response = inputs.double().numpy() @ weight.T
    mean, variance = response.mean(0), response.var(0, ddof=1)
    gain, shift = np.array([1.5, 0.7]), np.array([0.1, -0.2])
    ends = np.stack(
        [
            np.concatenate([scale * weight.ravel(), gain, shift, scale * mean, scale**2 * variance])
            for scale in (1.0, c)
        ]
    )
    s = (1 - alpha) + alpha * c
    spread = {"interpolate": np.sqrt((1 - alpha) + alpha * c**2), "first": 1.0, "recompute": s}[bn]
    centre = 1.0 if bn == "first" else s
    logits = [
        (k * response - m * mean) / np.sqrt(variance) / d * gain + shift
        for k, m, d in np.broadcast(s, centre, spread)
    ]
    want = [
        np.mean(np.logaddexp.reduce(rows, axis=1) - rows[np.arange(50), targets]) for rows in logits
    ]
    landscape = Evaluator(net, {"train": (inputs, targets)}, cross_entropy, bn=bn)
    got = landscape.evaluate(ends, line(alpha), split="train").loss
    np.testing.assert_allclose(got, want, rtol=1e-11)
    if bn == "recompute":
        np.testing.assert_allclose(got, got[0], rtol=1e-11)  # no barrier where there is none
    if bn == "interpolate":
        assert got[0] == pytest.approx(got[-1], rel=1e-11)
        assert abs(got[4] - got[0]) > 0.01  # an artefact of the buffers
    if bn == "first":
        assert abs(got[-1] - got[0]) > 0.01
