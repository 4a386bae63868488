"""Running statistics: which layers have them, and that they are averages over batches."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from landscape.analysis.network.normalisation import recompute, tracking_norms
from landscape.data_store.errors import UsageError

TRACKING = {
    lambda: nn.BatchNorm1d(3): (3,),
    lambda: nn.BatchNorm2d(3): (3, 4, 4),
    lambda: nn.BatchNorm3d(3): (3, 2, 2, 2),
    lambda: nn.SyncBatchNorm(3): (3, 4, 4),
    lambda: nn.InstanceNorm1d(3, track_running_stats=True): (3, 6),
    lambda: nn.InstanceNorm2d(3, affine=True, track_running_stats=True): (3, 4, 4),
}
OTHERS = [
    lambda: nn.BatchNorm1d(3, track_running_stats=False),
    lambda: nn.InstanceNorm1d(3),
    lambda: nn.GroupNorm(1, 3),
    lambda: nn.LayerNorm(3),
]


class RunningMax(nn.Module):
    """A normalisation of somebody's own."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("running_max", torch.ones(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x / self.running_max


def batches(shape, sizes=(5, 4, 4)):
    draws = torch.Generator().manual_seed(0)
    return [2 * torch.randn(size, *shape, generator=draws) + 1 for size in sizes]


@pytest.mark.parametrize("make", TRACKING)
def test_statistics_are_means_over_batches(make):
    layer, seen = make().eval(), batches(TRACKING[make])
    norms = tracking_norms(nn.Sequential(nn.Identity(), layer))
    assert norms == [layer]
    layer.running_mean += 17
    recompute(layer, norms, seen)
    axes = (0, *range(2, seen[0].ndim))
    rows = [batch.double().numpy() for batch in seen]
    means = [row.mean(axes) for row in rows]
    if isinstance(layer, nn.InstanceNorm1d | nn.InstanceNorm2d):  # variance of each example
        spatial = axes[1:]
        variances = [row.var(spatial, ddof=1).mean(0) for row in rows]
    else:
        variances = [row.var(axes, ddof=1) for row in rows]
    np.testing.assert_allclose(layer.running_mean, np.mean(means, axis=0), rtol=1e-5)
    np.testing.assert_allclose(layer.running_var, np.mean(variances, axis=0), rtol=1e-5)
    assert not layer.training


@pytest.mark.parametrize("make", OTHERS)
def test_layers_without_statistics_have_nothing_to_recompute(make):
    assert tracking_norms(nn.Sequential(make())) == []


def test_other_layers_stay_in_evaluation():
    seen = []

    class Watching(nn.Dropout):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(self.training)
            return super().forward(x)

    net = nn.Sequential(nn.BatchNorm1d(3), Watching()).eval()
    recompute(net, tracking_norms(net), batches((3,)))
    assert seen == [False] * 3
    assert not any(module.training for module in net.modules())


def test_after_an_exception_the_network_is_in_evaluation():
    net = nn.Sequential(nn.BatchNorm1d(3)).eval()
    with pytest.raises(ValueError, match="expected 2D or 3D input"):
        recompute(net, tracking_norms(net), [torch.ones(2, 3, 4, 5)])
    assert not any(module.training for module in net.modules())


def test_statistics_of_unknown_kinds_are_refused():
    with pytest.raises(
        UsageError,
        match=r"knows BatchNorm and InstanceNorm, but layer '1', a RunningMax, has running_max; "
        "use bn=interpolate or bn=first",
    ):
        tracking_norms(nn.Sequential(nn.Linear(3, 3), RunningMax()))
