"""A loss is tried before it is believed: a noisy one looks like a barrier."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from landscape.analysis.batches import Batch, Loss
from landscape.data_store.errors import LandscapeError, UsageError

Batches = Callable[[int], Iterable[Batch]]


def finite_losses(
    model: nn.Module, loss: Loss, batches: Batches, size: int, dtype: torch.dtype
) -> bool:
    """Whether all losses of a few examples are finite.

    Parameters
    ----------
    model
        In evaluation mode.
    batches
        The examples, in batches of the size that it is called with.
    size
        The larger of the two sizes that are tried.
    dtype
        Of the network: its rounding is no noise.

    Raises `LandscapeError` if two passes over the examples, or batches of half the size, differ:
    the loss is then no function of the weights. Raises `UsageError` if it is not one number per
    example.
    """
    first, again, parted = (
        _losses(model, loss, batches(s)) for s in (size, size, math.ceil(size / 2))
    )
    tolerance = 1e-4 if dtype == torch.float32 else 1e-8
    for other, what in ((again, "two passes"), (parted, "two batch sizes")):
        if not torch.allclose(first, other, rtol=tolerance, atol=tolerance, equal_nan=True):
            raise LandscapeError(
                f"the loss is noisy: {what} over the same {len(other)} examples gave "
                f"{first.mean().item():.6g} and {other.mean().item():.6g}; the network "
                "must be deterministic and treat examples independently in evaluation mode"
            )
    return bool(torch.isfinite(first).all())


def _losses(model: nn.Module, loss: Loss, batches: Iterable[Batch]) -> Tensor:
    """Loss of each example."""
    parts = []
    for inputs, targets in batches:
        parts.append(loss(model(inputs), targets))
        if parts[-1].shape != targets.shape[:1]:
            raise UsageError(
                f"the loss returned shape {tuple(parts[-1].shape)} for a batch of "
                f"{len(targets)}; it must return one number per example"
            )
    return torch.cat(parts).double()
