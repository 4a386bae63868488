"""Running statistics of a network's normalisation layers, made anew from data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

from landscape.data_store.errors import UsageError

Norm = _BatchNorm | _InstanceNorm


def _stay() -> None:
    """The network is where it should be."""


def tracking_norms(model: nn.Module) -> list[Norm]:
    """Layers that normalise by running statistics: BatchNorm, synchronised too, InstanceNorm.

    Raises `UsageError` if a layer of another kind has buffers called ``running_…``.
    """
    norms: list[Norm] = []
    for name, module in model.named_modules():
        running = [buffer for buffer in module._buffers if buffer.startswith("running_")]
        if isinstance(module, _BatchNorm | _InstanceNorm):
            if module.running_mean is not None:
                norms.append(module)
        elif running:
            raise UsageError(
                f"bn=recompute knows BatchNorm and InstanceNorm, but layer {name!r}, a "
                f"{type(module).__name__}, has {', '.join(running)}; use bn=interpolate or bn=first"
            )
    return norms


def recompute(
    model: nn.Module,
    norms: Sequence[Norm],
    batches: Iterable[Tensor],
    arrivals: Sequence[Callable[[], None]] = (_stay,),
) -> None:
    """Set running statistics to their averages over batches, everything else as in evaluation.

    As ``torch.optim.swa_utils.update_bn``, which passes InstanceNorm over: batch number i moves
    an average by 1 / i.

    Parameters
    ----------
    model, norms
        A network in evaluation mode, and its layers with statistics.
    batches
        Inputs; gone through once.
    arrivals
        Where statistics are made: each of these moves the network to a point. All of them are
        called for every batch.
    """
    for module in norms:
        module.train()
    try:
        for number, inputs in enumerate(batches, start=1):
            for arrive in arrivals:
                arrive()
                for module in norms:
                    _expect(module, number)
                model(inputs)
    finally:
        model.eval()


def _expect(module: Norm, number: int) -> None:
    """Prepare a layer for batch number 1, 2, …"""
    if number == 1:
        module.reset_running_stats()
    assert module.num_batches_tracked is not None
    module.num_batches_tracked.fill_(number - 1)
    module.momentum = 1.0 / number
