"""Layout: batch sizes from the sizes of layers, and which networks take channels last."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from landscape.analysis.network.layout import layout


def convolutions(width=16, flatten=None):
    return nn.Sequential(
        nn.Conv2d(3, width, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(width, 4, 3, padding=1),
        flatten or nn.Flatten(),
        nn.LazyLinear(10),
    )


class View(nn.Module):
    """Flattens what lies in memory as it usually does, and nothing else."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.view(len(x), -1)


class Ordered(nn.Module):
    """Depends on the order in memory."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.as_strided((len(x), x[0].numel()), (x[0].numel(), 1))


def initialised(net, inputs):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net.eval()(inputs)
    return net


def pictures(side=32, examples=2):
    return torch.rand(examples, 3, side, side, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("width", "side", "size"),
    [(16, 32, 128), (64, 32, 32), (32, 16, 256), (64, 128, 4), (3, 8, 2_000)],
)
def test_outputs_of_the_largest_layer_stay_in_cache(width, side, size):
    """8 MiB over 4 bytes · width · side², but 4 to 2 000 examples."""
    for examples in (1, 2, 5):
        net = initialised(convolutions(width), pictures(side))
        assert layout(net, pictures(side, examples)).batch_size == size


def test_other_networks_have_large_batches():
    net = nn.Sequential(nn.Linear(784, 300), nn.ReLU(), nn.Linear(300, 10)).eval()
    assert layout(net, torch.zeros(2, 784)).batch_size == 2_000
    wide = nn.Linear(10, 2**20).eval()
    assert layout(wide, torch.zeros(2, 10)).batch_size == 64  # 256 MiB / 4 MiB


def test_derivatives_have_a_gigabyte():
    net = nn.Sequential(nn.Linear(1, 2**16), *[nn.ReLU() for _ in range(14)]).eval()
    got = layout(net, torch.zeros(2, 1))
    assert got.batch_size == 1_024
    # 15 layers and the network itself return 256 KiB per example, kept four times
    assert got.graph_size == 2**30 // (4 * 16 * 2**18) == 64


def test_statistics_do_not_depend_on_the_cache():
    sizes = {}
    for side in (8, 32, 128, 256):
        net = initialised(convolutions(64), pictures(side))
        sizes[side] = layout(net, pictures(side)).statistics_size
    assert sizes == {8: 250, 32: 250, 128: 64, 256: 64}
    assert layout(nn.Linear(5, 5).eval(), torch.zeros(2, 5)).statistics_size == 2_000


def test_a_size_that_is_given_is_taken():
    net = initialised(convolutions(), pictures())
    got = layout(net, pictures(), batch_size=7)
    assert (got.batch_size, got.graph_size, got.statistics_size) == (7, 7, 7)
    assert layout(net, None, batch_size=7).batch_size == 7
    assert layout(net, None).batch_size == 2_000


@pytest.mark.parametrize(
    ("flatten", "last"), [(nn.Flatten(), True), (View(), False), (Ordered(), False)]
)
def test_channels_come_last_where_that_changes_nothing(flatten, last):
    inputs = pictures(8)
    net = initialised(convolutions(flatten=flatten), inputs)
    got = layout(net, inputs)
    assert got.channels_last is last
    assert got.name == ("channels-last" if last else "plain")
    arranged = got.arranged(inputs)
    assert torch.equal(arranged, inputs)
    assert arranged.is_contiguous(memory_format=torch.channels_last) is last
    assert (arranged.data_ptr() == inputs.data_ptr()) is not last


@pytest.mark.parametrize(
    ("net", "inputs"),
    [
        (nn.Conv1d(3, 4, 2), torch.zeros(2, 3, 8)),
        (nn.Conv2d(3, 4, 2), torch.zeros(3, 8, 8)),
        (nn.Sequential(nn.Flatten(), nn.Linear(192, 2)), torch.zeros(2, 3, 8, 8)),
    ],
)
def test_other_inputs_lie_as_they_are(net, inputs):
    got = layout(net.eval(), inputs)
    assert got.name == "plain"
    assert got.arranged(inputs) is inputs


def test_the_network_is_as_before():
    net = initialised(convolutions(), pictures())
    before = {name: t.clone() for name, t in net.state_dict().items()}
    layout(net, pictures())
    assert all(torch.equal(t, before[name]) for name, t in net.state_dict().items())
    assert not any(module._forward_hooks for module in net.modules())


def test_what_a_network_returns_may_be_a_tuple():
    got = layout(nn.LSTM(4, 8).eval(), torch.zeros(2, 3, 4))
    assert got.batch_size == 2_000
    assert not got.channels_last
