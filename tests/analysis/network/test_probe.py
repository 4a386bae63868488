"""The probe: losses that are believed, and those that are not."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from landscape.analysis.network.batches import Data
from landscape.analysis.network.probe import finite_losses
from landscape.data_store.errors import LandscapeError, UsageError
from landscape.training.task import cross_entropy


def probe(model=None, loss=cross_entropy, size=8, dtype=torch.float32, examples=20):
    draws = torch.Generator().manual_seed(0)
    data = Data(torch.randn(examples, 6, generator=draws), torch.arange(examples) % 3)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = model or nn.Linear(6, 3)
    return finite_losses(model.eval(), loss, data.batches, size, dtype)


@pytest.mark.parametrize("size", [1, 2, 8, 20, 50])
def test_a_function_of_weights_and_example_is_believed(size):
    assert probe(size=size) is True


def test_infinite_losses_are_told_of():
    assert probe(loss=lambda o, t: torch.where(t == 1, torch.inf, o[:, 0])) is False
    assert probe(loss=lambda o, t: o[:, 0] * torch.nan) is False


def test_chance_is_refused():
    with pytest.raises(LandscapeError, match="noisy: two passes over the same 20 examples gave"):
        probe(loss=lambda o, t: o[:, 0] + torch.rand(len(t)))


@pytest.mark.parametrize("size", [2, 8, 20])
def test_examples_that_depend_on_each_other_are_refused(size):
    with pytest.raises(LandscapeError, match="noisy: two batch sizes over the same 20 examples"):
        probe(loss=lambda o, t: cross_entropy(o, t) + o.mean(), size=size)


@pytest.mark.parametrize(("dtype", "refused"), [(torch.float32, False), (torch.float64, True)])
def test_rounding_of_the_networks_dtype_is_no_noise(dtype, refused):
    passes = iter(range(100))

    def loss(outputs, targets):
        return cross_entropy(outputs, targets) + 1e-6 * next(passes)

    if refused:
        with pytest.raises(LandscapeError, match="the loss is noisy"):
            probe(loss=loss, dtype=dtype)
    else:
        assert probe(loss=loss, dtype=dtype)


def test_one_number_per_example():
    with pytest.raises(UsageError, match=r"returned shape \(\) for a batch of 8; it must return"):
        probe(loss=lambda o, t: cross_entropy(o, t).mean())
