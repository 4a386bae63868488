"""Scaled draws: moments against their formulas, the order of draws, and what is left alone."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from landscape.data_store.errors import UsageError
from landscape.training.models import mlp
from landscape.training.planting.mother import draw_scaled

WIDTHS = [300, 400, 500, 200]
SCHEMES = ("scaled-normal", "scaled-uniform")
# Standard errors: of a variance from m draws sqrt(2 / m) of it (normal; less if uniform). The
# fewest weights are 100 000, the fewest biases 200 in 60 networks; five of them are allowed.
WEIGHT_TOLERANCE, BIAS_TOLERANCE = 5 * math.sqrt(2 / 1e5), 5 * math.sqrt(2 / 12_000)


def drawn(model: nn.Module, scheme: str, seed: int) -> dict[str, np.ndarray]:
    """The tensors of a network after a draw."""
    draw_scaled(model, scheme, torch.Generator().manual_seed(seed))
    return {
        name: p.detach().numpy().astype(np.float64).copy() for name, p in model.named_parameters()
    }


@pytest.mark.parametrize("scheme", SCHEMES)
def test_weights_have_variance_two_over_fan_in(scheme: str) -> None:
    tensors = drawn(mlp(WIDTHS), scheme, 0)
    for layer, fan_in in enumerate(WIDTHS[:-1], start=1):
        weight = tensors[f"fc{layer}.weight"]
        assert weight.var() == pytest.approx(2 / fan_in, rel=WEIGHT_TOLERANCE)
        assert abs(weight.mean()) < 5 * math.sqrt(2 / fan_in / weight.size)


@pytest.mark.parametrize(("scheme", "share"), [("scaled-normal", 1.0), ("scaled-uniform", 1 / 3)])
def test_biases_have_the_product_of_the_scales(scheme: str, share: float) -> None:
    networks = [drawn(mlp(WIDTHS), scheme, seed) for seed in range(60)]
    numerator = 2 if scheme == "scaled-normal" else 6
    scale = 1.0
    for layer, fan_in in enumerate(WIDTHS[:-1], start=1):
        scale *= math.sqrt(numerator / fan_in)
        biases = np.concatenate([tensors[f"fc{layer}.bias"] for tensors in networks])
        assert biases.var() == pytest.approx(share * scale**2, rel=BIAS_TOLERANCE)
        assert abs(biases.mean()) < 5 * scale / math.sqrt(biases.size)


def test_uniform_draws_fill_their_interval_and_normal_ones_pass_it() -> None:
    bound = math.sqrt(6 / 300)
    uniform = drawn(mlp(WIDTHS), "scaled-uniform", 0)["fc1.weight"]
    assert 0.999 * bound < np.abs(uniform).max() <= bound * (1 + 1e-6)
    # a histogram of ten bins of 12 000 draws each: within five standard errors
    counts, _ = np.histogram(uniform, bins=10, range=(-bound, bound))
    assert np.abs(counts - 12_000).max() < 5 * math.sqrt(12_000)
    normal = drawn(mlp(WIDTHS), "scaled-normal", 0)["fc1.weight"] / math.sqrt(2 / 300)
    assert np.mean(np.abs(normal) < 1) == pytest.approx(0.6827, abs=5 * 0.4655 / math.sqrt(1.2e5))
    assert np.abs(normal).max() > 3.5


@pytest.mark.parametrize("scheme", SCHEMES)
def test_biases_of_networks_with_convolutions_begin_at_six_hundredths(scheme: str) -> None:
    """Product of sqrt(2 / fan_in), fan-in with the kernel, times the VGG code's 0.06."""
    numerator, share = (2, 1.0) if scheme == "scaled-normal" else (6, 1 / 3)
    network = nn.Sequential(
        nn.Conv2d(3, 400, 3), nn.ReLU(), nn.Conv2d(400, 300, 1), nn.Flatten(), nn.Linear(300, 200)
    )
    networks = [drawn(network, scheme, seed) for seed in range(60)]
    scale = 0.06
    for name, fan_in in [("0", 27), ("2", 400), ("4", 300)]:
        scale *= math.sqrt(numerator / fan_in)
        biases = np.concatenate([tensors[f"{name}.bias"] for tensors in networks])
        assert biases.var() == pytest.approx(share * scale**2, rel=BIAS_TOLERANCE)
        weights = networks[0][f"{name}.weight"]
        assert weights.var() == pytest.approx(2 / fan_in, rel=5 * math.sqrt(2 / weights.size))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_draws_are_a_function_of_the_generator_alone(scheme: str) -> None:
    first, again = mlp(WIDTHS), mlp(WIDTHS)
    one, two, other = drawn(first, scheme, 7), drawn(again, scheme, 7), drawn(again, scheme, 8)
    assert all(np.array_equal(one[name], two[name]) for name in one)
    assert not any(np.array_equal(one[name], other[name]) for name in one)


def test_the_global_generator_is_not_used() -> None:
    network = mlp([3, 4, 2])
    state = torch.random.get_rng_state()
    drawn(network, "scaled-normal", 0)
    drawn(network, "scaled-uniform", 0)
    assert torch.equal(state, torch.random.get_rng_state())


def test_layers_without_bias_still_count_in_the_product() -> None:
    network = nn.Sequential(nn.Linear(50, 400, bias=False), nn.Linear(400, 100_000))
    biases = drawn(network, "scaled-normal", 0)["1.bias"]
    assert biases.var() == pytest.approx(2 / 50 * 2 / 400, rel=5 * math.sqrt(2 / 1e5))


def test_normalisation_is_left_as_it_is() -> None:
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2))
    tensors = drawn(network, "scaled-normal", 0)
    assert tensors["1.weight"].tolist() == [1] * 4
    assert tensors["1.bias"].tolist() == [0] * 4


def test_an_unknown_scheme_is_refused() -> None:
    with pytest.raises(UsageError, match="unknown scheme 'scaled-norml'; did you mean 'scaled-nor"):
        draw_scaled(mlp([2, 2]), "scaled-norml", torch.Generator())
