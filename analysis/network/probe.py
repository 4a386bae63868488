"""A loss is tried before it is believed: a noisy one looks like a barrier."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch import Tensor, nn

from landscape.analysis.network.batches import Batch, Loss
from landscape.data_store.errors import LandscapeError, UsageError
from landscape.data_store.params import Array

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


def require_symmetric(vectors: Array, products: Array, dtype: torch.dtype) -> None:
    """Raise `LandscapeError` if products (2, n) of vectors (2, n) are of no symmetric matrix.

    A Hessian is symmetric; where an operation's second derivative is wrong, as that of torch 2.13's
    weight normalisation, what comes out is not.
    """
    one, other = float(vectors[0] @ products[1]), float(vectors[1] @ products[0])
    lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(products[::-1], axis=1)
    tolerance = 1e-3 if dtype == torch.float32 else 1e-6
    if abs(one - other) > tolerance * float(lengths.max()):
        raise LandscapeError(
            f"the Hessian of this network is not symmetric: u'Hv is {one:.6g} and v'Hu "
            f"{other:.6g}; one of its operations (torch's weight_norm is known for it) has a "
            "wrong second derivative: write that operation in plain ones"
        )


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
