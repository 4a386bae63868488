"""Gradients and Hessian products against torch's dense ones, differences and closed forms."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from landscape.analysis.network.evaluator import Evaluator
from landscape.data_store.errors import LandscapeError, UsageError
from landscape.training.task import cross_entropy, squared_error
from tests.support.lazy_inputs import Recorded


def small(*layers):
    return lambda: nn.Sequential(*[layer() for layer in layers])


smooth = small(lambda: nn.Linear(5, 4), nn.Tanh, lambda: nn.Linear(4, 3))
kinked = small(lambda: nn.Linear(5, 4), lambda: nn.ReLU(inplace=True), lambda: nn.Linear(4, 3))
normed = small(lambda: nn.Linear(5, 4), lambda: nn.BatchNorm1d(4), nn.GELU, lambda: nn.Linear(4, 3))
dropping = small(lambda: nn.Linear(5, 4), nn.Tanh, nn.Dropout, lambda: nn.Linear(4, 3))
convolution = small(
    lambda: nn.Conv2d(2, 3, 3, padding=1),
    lambda: nn.BatchNorm2d(3),
    nn.ReLU,
    lambda: nn.MaxPool2d(2),
    nn.Flatten,
    lambda: nn.Linear(12, 3),
)


class Tied(nn.Module):
    """One matrix used twice, and a parameter that is not used."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(5, 5), nn.Linear(5, 5)
        self.outer.weight = self.inner.weight
        self.unused = nn.Parameter(torch.ones(2))
        self.head = nn.Linear(5, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.tanh(self.outer(torch.tanh(self.inner(x)))))


class Attention(nn.Module):
    """Torch's fused attention, whose backward pass has no derivative of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(1, 4), nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = self.first(x[:, None, :, None])
        seen = functional.scaled_dot_product_attention(tokens, tokens, tokens)
        return self.head(seen.mean((1, 2)))


class Cube(torch.autograd.Function):
    """Without a rule for forward differentiation."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return 3 * x**2 * grad


class Backward(nn.Module):
    """A network that can only be differentiated backwards."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.head = nn.Linear(5, 4), nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(Cube.apply(self.inner(x)))


VECTOR, IMAGE = (5,), (2, 4, 4)
NETWORKS = {
    smooth: VECTOR,
    kinked: VECTOR,
    normed: VECTOR,
    dropping: VECTOR,
    convolution: IMAGE,
    Tied: VECTOR,
    Attention: VECTOR,
    Backward: VECTOR,
}


def data(shape, examples=17, seed=0):
    draws = torch.Generator().manual_seed(seed)
    inputs = torch.randn(examples, *shape, generator=draws, dtype=torch.float64)
    return inputs, torch.randint(0, 3, (examples,), generator=draws)


def made(factory):
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return factory().double()


def point_of(net, seed=0):
    """Weights near the initial ones, then means and positive variances."""
    rng = np.random.default_rng(seed)
    parts = [p.detach().numpy().ravel() + rng.normal(0, 0.3, p.numel()) for p in net.parameters()]
    for name, buffer in net.named_buffers():
        if buffer.is_floating_point():
            low, high = (0.5, 1.5) if "var" in name else (-0.5, 0.5)
            parts.append(rng.uniform(low, high, buffer.numel()))
    return np.concatenate(parts)


def mean_loss(net, inputs, targets, point, loss=cross_entropy):
    """The mean loss as a function of one tensor of all weights, buffers from the point."""
    parameters = dict(net.named_parameters())
    buffers = {n: b for n, b in net.named_buffers() if b.is_floating_point()}
    sizes = [t.numel() for t in (*parameters.values(), *buffers.values())]
    ends = list(itertools.accumulate(sizes))
    fixed = {
        name: torch.tensor(point[end - b.numel() : end]).view(b.shape)
        for (name, b), end in zip(buffers.items(), ends[len(parameters) :], strict=True)
    }

    def value(theta):
        pairs = zip(parameters.items(), ends, strict=False)
        parts = {n: theta[end - p.numel() : end].view(p.shape) for (n, p), end in pairs}
        outputs = torch.func.functional_call(net.eval(), {**parts, **fixed}, (inputs,))
        return loss(outputs, targets).mean()

    return value, sum(p.numel() for p in parameters.values())


@pytest.mark.parametrize("size", [4, 100])
@pytest.mark.parametrize("factory", NETWORKS)
def test_gradient_is_torchs_own(factory, size):
    net = made(factory)
    inputs, targets = data(NETWORKS[factory])
    point = point_of(net)
    value, weights = mean_loss(net, inputs, targets, point)
    want = torch.autograd.functional.jacobian(value, torch.tensor(point[:weights]))
    landscape = Evaluator(net, {"t": (inputs, targets)}, cross_entropy, batch_size=size)
    got = landscape.gradient(point, split="t")
    assert got.dtype == np.float64
    np.testing.assert_allclose(got[:weights], want, rtol=1e-10, atol=1e-12)
    assert (got[weights:] == 0).all()
    assert len(got) == len(point)


@pytest.mark.parametrize("size", [4, 100])
@pytest.mark.parametrize("factory", NETWORKS)
def test_hessian_products_are_those_of_torchs_dense_hessian(factory, size):
    net = made(factory)
    inputs, targets = data(NETWORKS[factory])
    point = point_of(net)
    value, weights = mean_loss(net, inputs, targets, point)
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        dense = torch.autograd.functional.hessian(value, torch.tensor(point[:weights])).numpy()
    vectors = np.random.default_rng(3).normal(size=(3, len(point)))
    vectors[:, weights:] = np.nan  # not looked at
    landscape = Evaluator(net, {"t": (inputs, targets)}, cross_entropy, batch_size=size)
    got = landscape.hessian_product(point, vectors, split="t")
    assert got.dtype == np.float64
    np.testing.assert_allclose(got[:, :weights], vectors[:, :weights] @ dense, rtol=1e-9, atol=1e-9)
    assert (got[:, weights:] == 0).all()
    assert np.abs(dense).max() > 0.01


@pytest.mark.parametrize("factory", [smooth, normed, Backward, Attention])
def test_hessian_products_are_central_differences_of_the_gradient(factory):
    net = made(factory)
    landscape = Evaluator(net, {"t": data(NETWORKS[factory])}, cross_entropy)
    point = point_of(net)
    step = np.random.default_rng(5).normal(size=len(point))
    step[sum(p.numel() for p in net.parameters()) :] = 0
    ahead, behind = (landscape.gradient(point + s * 1e-5 * step, split="t") for s in (1, -1))
    got = landscape.hessian_product(point, step[None], split="t")[0]
    np.testing.assert_allclose(got, (ahead - behind) / 2e-5, rtol=1e-6, atol=1e-8)


def test_gradient_is_the_slope_of_evaluate():
    net = made(normed)
    landscape = Evaluator(net, {"t": data(VECTOR)}, cross_entropy)
    point = point_of(net)
    gradient = landscape.gradient(point, split="t")
    for i in np.flatnonzero(gradient)[::7]:
        ends = np.stack([point, point])
        ends[0, i] += 1e-6
        ends[1, i] -= 1e-6
        loss = landscape.evaluate(ends, np.eye(2), split="t").loss
        assert gradient[i] == pytest.approx((loss[0] - loss[1]) / 2e-6, rel=1e-5, abs=1e-8)


def linear_regression():
    draws = np.random.default_rng(0)
    x, y = draws.normal(size=(30, 4)), draws.normal(size=(30, 1))
    net = made(lambda: nn.Linear(4, 1, bias=False))
    return net, x, y, Evaluator(net, {"t": (torch.tensor(x), torch.tensor(y))}, squared_error)


def test_least_squares_in_closed_form():
    """``L = mean (w x − y)²``: gradient ``2/n Xᵀ(Xw − y)``, Hessian ``2/n XᵀX`` everywhere."""
    _, x, y, landscape = linear_regression()
    w = np.array([0.3, -1.0, 2.0, 0.1])
    want = 2 / 30 * x.T @ (x @ w - y[:, 0])
    np.testing.assert_allclose(landscape.gradient(w, split="t"), want, rtol=1e-12)
    got = landscape.hessian_product(w, np.eye(4), split="t")
    np.testing.assert_allclose(got, 2 / 30 * x.T @ x, rtol=1e-12)


def test_a_loss_that_is_linear_has_no_curvature():
    net = made(lambda: nn.Linear(4, 1, bias=False))
    inputs = torch.randn(6, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    landscape = Evaluator(net, {"t": (inputs, torch.zeros(6, 1))}, lambda o, _t: o[:, 0])
    point = np.ones(4)
    np.testing.assert_allclose(
        landscape.gradient(point, split="t"), inputs.mean(0).numpy(), rtol=1e-12
    )
    assert (landscape.hessian_product(point, np.eye(4), split="t") == 0).all()


@pytest.mark.parametrize("lazy", [False, True])
def test_chosen_examples(lazy):
    net, places = made(smooth), np.array([11, 2, 3, 4, 2])
    inputs, targets = data(VECTOR)
    given = Recorded(inputs) if lazy else inputs
    landscape = Evaluator(net, {"t": (given, targets)}, cross_entropy, batch_size=3)
    alone = Evaluator(net, {"t": (inputs[places], targets[places])}, cross_entropy)
    point = point_of(net)
    vectors = np.random.default_rng(0).normal(size=(2, len(point)))
    got = landscape.gradient(point, split="t", places=places)
    np.testing.assert_allclose(got, alone.gradient(point, split="t"), rtol=1e-12)
    got = landscape.hessian_product(point, vectors, split="t", places=places)
    np.testing.assert_allclose(got, alone.hessian_product(point, vectors, split="t"), rtol=1e-11)


def test_recomputed_statistics_are_those_of_the_point_and_constants():
    net = made(normed)
    train, test = data(VECTOR, 40), data(VECTOR, seed=1)
    landscape = Evaluator(net, {"train": train, "test": test}, cross_entropy, bn="recompute")
    point = point_of(net)
    weights = sum(p.numel() for p in net.parameters())
    response = train[0].numpy() @ point[:20].reshape(4, 5).T + point[20:24]
    made_there = np.concatenate([point[:weights], response.mean(0), response.var(0, ddof=1)])
    plain = Evaluator(net, {"test": test}, cross_entropy)
    vectors = np.random.default_rng(0).normal(size=(2, len(point)))
    np.testing.assert_allclose(
        landscape.gradient(point, split="test"),
        plain.gradient(made_there, split="test"),
        rtol=1e-10,
        atol=1e-14,
    )
    np.testing.assert_allclose(
        landscape.hessian_product(point, vectors, split="test"),
        plain.hessian_product(made_there, vectors, split="test"),
        rtol=1e-10,
        atol=1e-13,
    )


@pytest.mark.parametrize("factory", [normed, convolution])
def test_single_precision_is_accumulated_in_double(factory):
    net = made(factory)
    inputs, targets = data(NETWORKS[factory], examples=300)
    point = point_of(net)
    double = Evaluator(net, {"t": (inputs, targets)}, cross_entropy)
    single = Evaluator(net.float(), {"t": (inputs, targets)}, cross_entropy, batch_size=16)
    want, got = (e.gradient(point, split="t") for e in (double, single))
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-6)
    assert (got != got.astype(np.float32)).any()


def test_all_is_as_before_and_answers_repeat():
    net = made(convolution)
    inputs, targets = data(IMAGE)
    landscape = Evaluator(net, {"t": (inputs, targets)}, cross_entropy, share=True)
    point, other = point_of(net), point_of(net, seed=1)
    ends = np.stack([point, other])
    rows = np.array([[1, 0], [0.5, 0.5], [0, 1], [0.2, 0.8]])
    before = landscape.evaluate(ends, rows, split="t").loss
    vectors = np.random.default_rng(0).normal(size=(2, len(point)))
    first = [
        landscape.gradient(point, split="t"),
        landscape.hessian_product(point, vectors, split="t"),
    ]
    assert landscape.evaluate(ends, rows, split="t").loss.tobytes() == before.tobytes()
    again = [
        landscape.gradient(point, split="t"),
        landscape.hessian_product(point, vectors, split="t"),
    ]
    for one, two in zip(first, again, strict=True):
        assert one.tobytes() == two.tobytes()
    assert all(p.grad is None and not p.requires_grad for p in landscape.model.parameters())
    assert all(p.grad is None and p.requires_grad for p in net.parameters())


def test_vectors_need_not_fit_at_once(monkeypatch):
    net = made(smooth)
    point = point_of(net)
    vectors = np.random.default_rng(0).normal(size=(5, len(point)))
    whole = Evaluator(net, {"t": data(VECTOR)}, cross_entropy)
    want = whole.hessian_product(point, vectors, split="t")
    monkeypatch.setattr("landscape.analysis.network.sweep._NUMBERS_IN_FLIGHT", 6 * len(point))
    assert whole.hessian_product(point, vectors, split="t").tobytes() == want.tobytes()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_loss_that_is_not_finite_has_unknown_derivatives(bad):
    net = made(kinked)
    landscape = Evaluator(net, {"t": data(VECTOR)}, cross_entropy, batch_size=5)
    point = point_of(net)
    point[3] = bad
    weights = sum(p.numel() for p in net.parameters())
    assert np.isnan(landscape.gradient(point, split="t")[:weights]).all()
    product = landscape.hessian_product(point, np.ones((2, len(point))), split="t")
    assert np.isnan(product[:, :weights]).all()


def test_one_infinite_example_is_enough():
    net = made(smooth)
    inputs, targets = data(VECTOR)
    targets[9] = 5

    def loss(outputs, targets):
        return torch.where(targets == 5, torch.inf, outputs[:, 0] ** 2)

    landscape = Evaluator(net, {"t": (inputs, targets)}, loss, batch_size=4)
    assert np.isnan(landscape.gradient(point_of(net), split="t")).all()


class Once(torch.autograd.Function):
    """Its backward pass cannot be differentiated."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return 3 * x**2 * grad


class Twice(Backward):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(Once.apply(self.inner(x)))


def test_a_network_without_second_derivatives_is_refused():
    net = made(Twice)
    landscape = Evaluator(net, {"t": data(VECTOR)}, cross_entropy)
    point = point_of(net)
    assert np.isfinite(landscape.gradient(point, split="t")).all()
    with pytest.raises(LandscapeError, match=r"no second derivatives: .*; use operations that can"):
        landscape.hessian_product(point, np.ones((1, len(point))), split="t")


def test_a_loss_without_a_gradient_is_refused():
    net = made(smooth)
    landscape = Evaluator(
        net, {"t": data(VECTOR)}, lambda o, t: (o.argmax(1) != t).to(torch.float64)
    )
    point = point_of(net)
    with pytest.raises(LandscapeError, match="the loss has no gradient: it does not depend on"):
        landscape.gradient(point, split="t")
    with pytest.raises(LandscapeError, match="the loss has no gradient"):
        landscape.hessian_product(point, np.ones((1, len(point))), split="t")


def test_wrong_questions():
    net = made(smooth)
    landscape = Evaluator(net, {"t": data(VECTOR)}, cross_entropy)
    point = point_of(net)
    with pytest.raises(UsageError, match="no split 'test'; this task has t"):
        landscape.gradient(point, split="test")
    with pytest.raises(LandscapeError, match=r"anchors of shape \(1, 38\) do not fit"):
        landscape.gradient(point[:-1], split="t")
    with pytest.raises(LandscapeError, match=r"vectors of shape \(39,\) do not fit .*\(any, 39\)"):
        landscape.hessian_product(point, point, split="t")
    with pytest.raises(UsageError, match="places go from 0 to 17"):
        landscape.gradient(point, split="t", places=np.array([0, 17]))


def test_a_noisy_loss_has_no_derivative():
    net = made(smooth)
    landscape = Evaluator(
        net, {"t": data(VECTOR)}, lambda o, t: cross_entropy(o, t) * (1 + torch.rand(len(t)))
    )
    with pytest.raises(LandscapeError, match="the loss is noisy: two passes"):
        landscape.gradient(point_of(net), split="t")


def test_a_hessian_that_is_not_symmetric_is_refused_by_what_is_known_to_cause_it():
    draws = torch.Generator().manual_seed(0)
    x = torch.randn(50, 6, dtype=torch.float64, generator=draws)
    y = torch.randint(3, (50,), generator=draws)
    layer = nn.utils.parametrizations.weight_norm(nn.Linear(6, 8))
    net = nn.Sequential(layer, nn.Tanh(), nn.Linear(8, 3)).double()
    with torch.no_grad():
        for weight in net.parameters():
            weight.copy_(torch.randn(weight.shape, dtype=torch.float64, generator=draws))

    def loss(outputs, targets):
        return nn.functional.cross_entropy(outputs, targets, reduction="none")

    landscape = Evaluator(net, {"train": (x, y)}, loss)
    theta = np.concatenate([p.detach().numpy().ravel() for p in net.parameters()])
    with pytest.raises(LandscapeError, match="Hessian of this network is not symmetric: u'Hv is"):
        landscape.hessian_product(theta, np.ones((1, len(theta))), split="train")
