"""First and second derivatives of a torch network's summed loss, batch by batch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from landscape.analysis.network.batches import Batch, Loss
from landscape.data_store.errors import LandscapeError

Parts = Mapping[str, Tensor]


def gradient_sum(
    model: nn.Module, weights: Parts, loss: Loss, batches: Iterable[Batch]
) -> dict[str, Tensor]:
    """Gradient of the summed loss by the weights, accumulated in float64.

    Parameters
    ----------
    model
        In evaluation mode, with the buffers of the point.
    weights
        Its parameters at the point, by name.
    loss
        Per-example loss.
    batches
        (inputs, targets).

    NaN throughout if the summed loss is not finite. Cost: a forward and a backward pass over
    the examples, about three losses. Raises `LandscapeError` if the loss does not depend on
    the weights through differentiable operations.
    """
    sums = {name: torch.zeros_like(w, dtype=torch.float64) for name, w in weights.items()}
    for inputs, targets in batches:
        leaves = _leaves(weights)
        total = _total(model, leaves, loss, inputs, targets)
        parts = torch.autograd.grad(total, tuple(leaves.values()), materialize_grads=True)
        _add(sums, parts, total)
    return sums


def hessian_product_sums(
    model: nn.Module, weights: Parts, vectors: Parts, loss: Loss, batches: Iterable[Batch]
) -> dict[str, Tensor]:
    """Hessian of the summed loss by the weights times vectors, accumulated in float64.

    ``H v = ∂/∂w ⟨∂L/∂w, v⟩`` (Pearlmutter 1994): the graph of a batch's gradient is made
    once and gone back through for each vector. Where the loss is not twice differentiable
    (ReLU, max-pooling), the derivative is that of its piece.

    Parameters
    ----------
    model, weights, loss, batches
        As for `gradient_sum`.
    vectors
        The weights' parts of m vectors, by name (m, …).

    Cost: a gradient and, for each vector, one to four more. Raises `LandscapeError` if an
    operation of the network has no second derivative.
    """
    sums = {name: torch.zeros_like(v, dtype=torch.float64) for name, v in vectors.items()}
    for inputs, targets in batches:
        _add_products(sums, model, weights, vectors, loss, inputs, targets)
    return sums


def _add_products(
    sums: Parts,
    model: nn.Module,
    weights: Parts,
    vectors: Parts,
    loss: Loss,
    inputs: Tensor,
    targets: Tensor,
) -> None:
    """One batch: a function of its own, so that its graph is gone before the next is made."""
    leaves = _leaves(weights)
    with sdpa_kernel(SDPBackend.MATH):  # the fused kernels have no second derivative
        total = _total(model, leaves, loss, inputs, targets)
        first = torch.autograd.grad(
            total, tuple(leaves.values()), create_graph=True, materialize_grads=True
        )
        if _stops_at_the_first(first):
            raise _no_second("one of its operations is differentiable once only")
        for i in range(len(next(iter(vectors.values())))):
            directions = [vectors[name][i] for name in leaves]
            rows = {name: whole[i] for name, whole in sums.items()}
            _add(rows, _product(first, leaves, directions), total)


def _leaves(weights: Parts) -> dict[str, Tensor]:
    """The weights as the variables of a new graph."""
    return {name: weight.detach().requires_grad_() for name, weight in weights.items()}


def _total(
    model: nn.Module, leaves: dict[str, Tensor], loss: Loss, inputs: Tensor, targets: Tensor
) -> Tensor:
    """Summed loss of a batch as a function of the leaves."""
    outputs = functional_call(model, leaves, (inputs,))
    total = loss(outputs, targets).sum()
    if not total.requires_grad:
        raise LandscapeError(
            "the loss has no gradient: it does not depend on the weights through "
            "differentiable operations; give a loss and a network that do"
        )
    return total


def _product(
    first: Sequence[Tensor], leaves: Parts, directions: Sequence[Tensor]
) -> Sequence[Tensor]:
    """Derivative of a gradient along one direction."""
    pairs = [(g, v) for g, v in zip(first, directions, strict=True) if g.requires_grad]
    if not pairs:  # the loss is linear
        return [torch.zeros_like(leaf) for leaf in leaves.values()]
    gradients, along = zip(*pairs, strict=True)
    try:
        return torch.autograd.grad(
            gradients, tuple(leaves.values()), along, retain_graph=True, materialize_grads=True
        )
    except RuntimeError as error:
        raise _no_second(str(error).splitlines()[0]) from error


def _no_second(why: str) -> LandscapeError:
    """What is said of a network whose Hessian would be wrong or cannot be had."""
    return LandscapeError(
        f"the network has no second derivatives: {why}; "
        "use operations that can be differentiated twice"
    )


def _stops_at_the_first(gradients: Sequence[Tensor]) -> bool:
    """True if a backward pass is cut off by ``once_differentiable``.

    Torch's error for that lies off the path to the weights: it is not reached, and what comes
    out lacks a part.
    """
    ahead = [g.grad_fn for g in gradients if g.grad_fn is not None]
    seen = set(ahead)
    while ahead:
        node = ahead.pop()
        if node.name() == "torch::autograd::Error":
            return True
        new = {after for after, _ in node.next_functions if after is not None} - seen
        seen |= new
        ahead += new
    return False


def _add(sums: Parts, parts: Sequence[Tensor], total: Tensor) -> None:
    """Add a batch's derivatives to the sums; those of a loss that is not finite are unknown."""
    known = torch.where(torch.isfinite(total.detach()), 1.0, torch.nan).double()
    for whole, part in zip(sums.values(), parts, strict=True):
        whole.add_(part.detach().double() * known)
