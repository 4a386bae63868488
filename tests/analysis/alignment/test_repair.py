"""REPAIR: measured statistics are those between the endpoints', and the ends stay as they are."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from landscape.analysis.alignment.repair import channel_statistics, repair
from landscape.data_store.errors import LandscapeError, UsageError
from landscape.training.models import build
from landscape.training.registry import MODELS

SHAPES = {"resnet-20": (3, 8, 8), "vgg-16": (3, 16, 16), "small": (2, 6, 6)}


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def small(seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(2, 5, 3, bias=False), nn.BatchNorm2d(5), nn.ReLU(), nn.Flatten(),
        nn.Linear(80, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3),
    )  # fmt: skip


def network(name: str, seed: int) -> nn.Module:
    """A network whose statistics are not those of the data, and whose scales have both signs."""
    model = small(seed) if name == "small" else build(MODELS.load(name), SHAPES[name], 10, seed)
    rng = torch.Generator().manual_seed(seed + 100)
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    for norm in norms:
        nn.init.uniform_(norm.weight, 0.5, 1.5, generator=rng)
        nn.init.uniform_(norm.bias, -0.5, 0.5, generator=rng)
        norm.momentum = None
    with torch.no_grad():
        model.train()(drawn(30, *SHAPES[name], seed=seed))
        for norm in norms:
            norm.running_mean += 0.2 * torch.rand(norm.running_mean.shape, generator=rng)
            norm.running_var *= 0.5 + torch.rand(norm.running_var.shape, generator=rng)
            norm.weight[0] *= -1 if seed else 1
    return model.eval()


def between(a: nn.Module, b: nn.Module, alpha: float) -> nn.Module:
    """The network at (1 - alpha) a + alpha b, buffers too."""
    model, other = copy.deepcopy(a), b.state_dict()
    model.load_state_dict(
        {
            n: torch.lerp(x, other[n], alpha) if x.is_floating_point() else x
            for n, x in a.state_dict().items()
        }
    )
    return model


def outputs_of_norms(model: nn.Module, inputs: Tensor) -> dict[str, Tensor]:
    """What each BatchNorm layer returns for all inputs at once: (channels, observations)."""
    seen = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.register_forward_hook(
                lambda _m, _i, out, name=name: seen.update(
                    {name: out.double().transpose(0, 1).flatten(1)}
                )
            )
    with torch.no_grad():
        model(inputs)
    return seen


@pytest.mark.parametrize("sizes", [[50], [20, 20, 10], [1] * 50])
def test_statistics_are_those_of_all_outputs_at_once(sizes: list[int]) -> None:
    model, inputs = network("small", 0), drawn(50, 2, 6, 6)
    found = channel_statistics(model, torch.split(inputs, sizes))
    expected = outputs_of_norms(copy.deepcopy(model), inputs)
    assert list(found) == list(expected) == ["1", "5"]
    for name, values in expected.items():
        torch.testing.assert_close(found[name].mean, values.mean(1), rtol=0, atol=1e-6)
        std = values.std(1, correction=0)
        torch.testing.assert_close(found[name].std, std, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "name", ["small", "resnet-20", pytest.param("vgg-16", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("alpha", [0.5, 0.2])
def test_measured_statistics_are_the_interpolated_ones(name: str, alpha: float) -> None:
    a, b = network(name, 0), network(name, 1)
    inputs = drawn(40, *SHAPES[name])
    batches = torch.split(inputs, 16)
    ends = [channel_statistics(net, batches) for net in (a, b)]
    model = between(a, b, alpha)
    before = outputs_of_norms(copy.deepcopy(model), inputs)
    assert repair(model, *ends, alpha, batches) == {}
    after = outputs_of_norms(model, inputs)
    first = next(iter(before))
    expected = (1 - alpha) * ends[0][first].std + alpha * ends[1][first].std
    assert (before[first].std(1, correction=0) - expected).abs().max() > 0.05
    for layer, values in after.items():
        mean, std = (
            (1 - alpha) * x + alpha * y
            for x, y in (
                (ends[0][layer].mean, ends[1][layer].mean),
                (ends[0][layer].std, ends[1][layer].std),
            )
        )
        torch.testing.assert_close(values.mean(1), mean, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(values.std(1, correction=0), std, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["small", "resnet-20"])
@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_the_ends_compute_what_they_did(name: str, alpha: float) -> None:
    a, b = network(name, 0).double(), network(name, 1).double()
    batches = torch.split(drawn(40, *SHAPES[name]).double(), 16)
    ends = [channel_statistics(net, batches) for net in (a, b)]
    model = between(a, b, alpha)
    repair(model, *ends, alpha, batches)
    others = drawn(20, *SHAPES[name], seed=5).double()  # not the data it was set on
    with torch.no_grad():
        torch.testing.assert_close(model(others), (b if alpha else a)(others), rtol=1e-9, atol=1e-9)


def test_with_exact_statistics_it_is_bn_recompute() -> None:
    inputs = drawn(64, 2, 6, 6).double()

    def recomputed(model: nn.Module) -> nn.Module:
        """Running statistics of the data, layer by layer as in one training pass."""
        for module in model.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                module.reset_running_stats()
                module.momentum, module.eps = None, 1e-12
                with torch.no_grad():
                    module.weight.abs_()
        model.train()
        with torch.no_grad():
            model(inputs)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                n = 64 * 16 if isinstance(module, nn.BatchNorm2d) else 64
                module.running_var *= (n - 1) / n  # torch keeps the unbiased variance
        return model.eval()

    a, b = (recomputed(network("small", seed).double()) for seed in (0, 1))
    ends = [channel_statistics(net, [inputs]) for net in (a, b)]
    model, expected = between(a, b, 0.5), recomputed(between(a, b, 0.5))
    repair(model, *ends, 0.5, [inputs])
    with torch.no_grad():
        torch.testing.assert_close(model(inputs), expected(inputs), rtol=1e-9, atol=1e-9)


def test_only_norms_are_changed_and_modes_are_put_back() -> None:
    a, b = network("small", 0), network("small", 1)
    batches = [drawn(40, 2, 6, 6)]
    ends = [channel_statistics(net, batches) for net in (a, b)]
    model = between(a, b, 0.5)
    model[1].train()
    before = copy.deepcopy(model.state_dict())
    repair(model, *ends, 0.5, batches)
    changed = {n for n, x in model.state_dict().items() if not torch.equal(x, before[n])}
    assert changed == {
        f"{layer}.{tensor}"
        for layer in (1, 5)
        for tensor in ("weight", "bias", "running_mean", "running_var")
    }
    assert model[1].training
    assert not model[5].training
    assert not model[1]._forward_pre_hooks


def test_a_channel_that_is_constant_gets_its_mean_and_is_counted() -> None:
    a, b = network("small", 0), network("small", 1)
    with torch.no_grad():
        a[0].weight[2] = -b[0].weight[2]  # they cancel at one half
        a[1].weight[3] = -b[1].weight[3]
        for net in (a, b):
            net[0].weight[4] = 0  # constant in both: nothing is to be set
    batches = [drawn(40, 2, 6, 6)]
    ends = [channel_statistics(net, batches) for net in (a, b)]
    model = between(a, b, 0.5)
    assert repair(model, *ends, 0.5, batches) == {"1": 2}
    found, mean = channel_statistics(model, batches), (ends[0]["1"].mean + ends[1]["1"].mean) / 2
    torch.testing.assert_close(found["1"].mean, mean, rtol=1e-5, atol=1e-5)
    assert found["1"].std[[2, 3, 4]].max() < 1e-6
    assert all(torch.isfinite(x).all() for x in model.state_dict().values())


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(3)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.norm(x))


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (nn.Sequential(nn.Linear(3, 2)), "Sequential has no BatchNorm layer"),
        (nn.Sequential(nn.Linear(3, 2), nn.LayerNorm(2)), "has no BatchNorm layer"),
        (nn.Sequential(nn.BatchNorm1d(3, affine=False)), "layer '0' has no scale and shift"),
        (nn.Sequential(nn.BatchNorm1d(3, track_running_stats=False)), "no running statistics"),
        (Twice(), "layer 'norm' is called 2 times; REPAIR needs"),
    ],
)
def test_networks_that_cannot_be_repaired_are_refused(model: nn.Module, words: str) -> None:
    batches = [drawn(8, 3)]
    with pytest.raises(UsageError, match=words):
        channel_statistics(model, batches)
    with pytest.raises(UsageError, match=words):
        repair(model, {}, {}, 0.5, batches)


@pytest.mark.parametrize("alpha", [-0.1, 1.1, float("nan")])
def test_alpha_outside_is_refused(alpha: float) -> None:
    with pytest.raises(UsageError, match=r"alpha is .*; REPAIR is for networks between two others"):
        repair(network("small", 0), {}, {}, alpha, [drawn(8, 2, 6, 6)])


def test_statistics_of_other_layers_and_no_data_are_refused() -> None:
    model, batches = network("small", 0), [drawn(8, 2, 6, 6)]
    with pytest.raises(LandscapeError, match="of the layers none; this network has 1, 5"):
        repair(model, {}, {}, 0.5, batches)
    with pytest.raises(LandscapeError, match="there is no batch of inputs"):
        channel_statistics(model, [])
    with pytest.raises(LandscapeError, match="an activation at '1' is not finite"):
        channel_statistics(model, [batches[0] * float("inf")])
