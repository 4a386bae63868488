"""SharedLayer: combinations that leave zeros out, and responses put in a layer's place."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from landscape.analysis.network.shared_layer import combine, first_affine_layer


def in_one_vector(net):
    """The network's tensors as views of one vector, and where each of them lies."""
    named = dict(net.named_parameters()) | dict(net.named_buffers())
    named = {name: t for name, t in named.items() if t.is_floating_point()}
    ends = list(itertools.accumulate(t.numel() for t in named.values()))
    theta, places = torch.empty(ends[-1], dtype=torch.float64), {}
    for (name, tensor), end in zip(named.items(), ends, strict=True):
        places[name] = slice(end - tensor.numel(), end)
        theta[places[name]] = tensor.detach().reshape(-1).double()
        tensor.requires_grad_(False)
        tensor.data = theta[places[name]].view(tensor.shape)
    return theta, places


def made(*layers, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(*[layer() for layer in layers]).double().eval()


def plain(inputs=70):
    return made(lambda: nn.Linear(inputs, 6), nn.Tanh, lambda: nn.Linear(6, 3))


def batch(*shape, examples=5, seed=0):
    draws = torch.Generator().manual_seed(seed)
    return torch.randn(examples, *shape, generator=draws, dtype=torch.float64)


def found(net, inputs, **options):
    theta, places = in_one_vector(net)
    return first_affine_layer(net, theta, places, inputs, **options)


def test_combine_is_the_weighted_sum():
    rows = list(batch(9, examples=3))
    out = torch.full((9,), 7.0, dtype=torch.float64)
    assert combine(rows, [0.2, -1.5, 3.0], out) is out
    want = 0.2 * rows[0].numpy() - 1.5 * rows[1].numpy() + 3.0 * rows[2].numpy()
    np.testing.assert_allclose(out, want, rtol=1e-14)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_combine_leaves_rows_of_weight_zero_out(bad):
    rows = [torch.full((4,), bad), torch.tensor([1.0, -0.0, 3e-39, 2.0]), torch.full((4,), bad)]
    out = combine(rows, [0.0, 1.0, -0.0], torch.empty(4))
    assert out.numpy().tobytes() == rows[1].numpy().tobytes()
    assert combine(rows, [0.0, 0.0, 0.0], torch.full((4,), bad)).tolist() == [0.0] * 4


@pytest.mark.parametrize(
    ("layers", "shape"),
    [
        ((lambda: nn.Linear(70, 6), nn.Tanh, lambda: nn.Linear(6, 3)), (70,)),
        ((lambda: nn.Linear(70, 6, bias=False), nn.Tanh, lambda: nn.Linear(6, 3)), (70,)),
        ((lambda: nn.Linear(70, 6),), (4, 70)),
        ((lambda: nn.Conv1d(40, 3, 2, stride=2), nn.Tanh), (40, 8)),
        ((lambda: nn.Conv2d(8, 4, 3, padding="same", groups=1), nn.Tanh), (8, 5, 5)),
        ((lambda: nn.Conv2d(9, 4, 3, padding=1, padding_mode="reflect"), nn.Tanh), (9, 5, 5)),
        ((lambda: nn.Conv3d(3, 2, 3, dilation=2), nn.Tanh), (3, 5, 5, 5)),
        ((nn.Flatten, lambda: nn.Linear(80, 6), lambda: nn.ReLU(inplace=True)), (8, 10)),
    ],
)
def test_shared_outputs_are_the_networks_own(layers, shape):
    net, inputs = made(*layers), batch(*shape)
    theta, places = in_one_vector(net)
    shared = first_affine_layer(net, theta, places, inputs)
    assert shared is not None
    points = [
        theta * (1 + 0.3 * torch.randn(len(theta), generator=g, dtype=torch.float64))
        for g in (torch.Generator().manual_seed(seed) for seed in range(3))
    ]
    for weights in ((0.2, 0.5, 0.3), (1.5, 0.0, -0.5), (0.0, 1.0, 0.0)):
        combine(points, weights, theta)
        want = net(inputs).clone()
        with shared.installed(points):
            shared.record(net, inputs)
            for place in places.values():
                if shared.owns(place):
                    theta[place] = torch.nan  # not looked at
            for _ in range(2):
                shared.put(weights)
                torch.testing.assert_close(net(inputs), want, rtol=1e-12, atol=1e-12)


def test_the_layer_is_its_own_again_afterwards():
    net, inputs = plain(), batch(70)
    theta, places = in_one_vector(net)
    shared = first_affine_layer(net, theta, places, inputs)
    before = net(inputs).clone()

    def fail():
        with shared.installed([theta, theta]):
            assert "forward" in vars(net[0])
            raise RuntimeError("out of luck")

    with pytest.raises(RuntimeError, match="out of luck"):
        fail()
    assert "forward" not in vars(net[0])
    assert torch.equal(net(inputs), before)


@pytest.mark.parametrize("fails", [False, True])
def test_looking_for_it_changes_nothing(fails):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.calls = plain(), 0

        def forward(self, x):
            self.calls += 1
            if fails and self.calls == 2:
                raise RuntimeError("out of luck")
            return self.inner(x)

    net = Net()
    theta, places = in_one_vector(net)
    before = theta.clone()
    if fails:
        with pytest.raises(RuntimeError, match="out of luck"):
            first_affine_layer(net, theta, places, batch(70))
    else:
        assert first_affine_layer(net, theta, places, batch(70)) is not None
    assert torch.equal(theta, before)
    assert not any(module._forward_pre_hooks for module in net.modules())


def test_it_owns_its_weight_and_bias_only():
    net = plain()
    theta, places = in_one_vector(net)
    shared = first_affine_layer(net, theta, places, batch(70))
    owned = [name for name, place in places.items() if shared.owns(place)]
    assert owned == ["0.weight", "0.bias"]


@pytest.mark.parametrize(("inputs", "gain"), [(63, False), (64, True)])
def test_a_narrow_layer_is_passed_over_unless_asked(inputs, gain):
    assert (found(plain(inputs), batch(inputs)) is not None) is gain
    assert found(plain(inputs), batch(inputs), need_gain=False) is not None


class Odd(nn.Module):
    """A network whose forward is given."""

    def __init__(self, forward):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(70, 70), nn.Linear(70, 3)
        self.double()
        self._given = forward

    def forward(self, x):
        return self._given(self, x)


@pytest.mark.parametrize(
    "forward",
    [
        lambda net, x: net.fc2(net.fc1(net.fc1(x))),
        lambda net, x: net.fc2(net.fc1(x * net.fc2.bias[0])),
        lambda net, x: net.fc2(functional.linear(x, net.fc1.weight)),
        lambda net, x: net.fc2(net.fc1(x)) + 1e-7 * net.fc1.weight[0, 0],
        lambda net, x: net.fc2(net.fc1.forward(x)),
        lambda net, x: net.fc2(net.fc1(input=x)),
        lambda net, x: net.fc2(net.fc1(x)) * torch.nan,
        lambda net, x: x,
    ],
)
def test_what_cannot_be_shared_is_not(forward):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = Odd(forward)
    assert found(net, batch(70), need_gain=False) is None


def test_layers_of_other_kinds_are_not_shared():
    embedding = made(lambda: nn.Embedding(90, 70), nn.Flatten, lambda: nn.Linear(350, 3))
    tokens = torch.arange(25).reshape(5, 5)
    assert found(embedding, tokens, need_gain=False) is None
    transposed = made(lambda: nn.ConvTranspose1d(70, 3, 2))
    assert found(transposed, batch(70, 4), need_gain=False) is None

    class MyLinear(nn.Linear):
        def forward(self, x):
            return super().forward(x).square()

    assert found(made(lambda: MyLinear(70, 3)), batch(70), need_gain=False) is None
    assert found(made(lambda: nn.BatchNorm1d(70)), batch(70), need_gain=False) is None
