"""Connection: whether a mask leaves a network a path from its input to its output."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from landscape.data_store.errors import LandscapeError
from landscape.data_store.mask import Mask
from landscape.data_store.params import Array
from landscape.data_store.records import Point
from landscape.training.criteria import Sight
from landscape.training.models import is_bias
from landscape.training.network import Network

_NAN = float("nan")
_SUMS = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d
_NORMS = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d


def connected(sight: Sight, mask: Mask) -> float:
    """1 if some output can depend on the input under a mask, 0 if none can, NaN if unknown.

    All kept weights 1, all biases 0, all inputs 1, statistics of BatchNorm 0 and 1: the flow that
    arrives is positive if and only if there is a path of kept weights, as the score of Tanaka et
    al. (2020) is. What a linear or convolution layer gives is reduced to whether it is positive, so
    that no depth overflows.

    It is believed only if flow arrives with all weights and none does without any, which
    normalisation by the layer's own values, for one, does not grant: then it is NaN, as for inputs
    that are no real numbers.

    Cost: a forward pass of six examples.
    """
    if not sight.task.splits["train"].inputs.is_floating_point():
        return _NAN
    trial = Network(copy.deepcopy(sight.network.module), sight.network.spec, sight.network.device)
    trial.module.eval()
    for module in trial.module.modules():
        if isinstance(module, _SUMS):
            module.register_forward_hook(_whether)
        elif isinstance(module, _NORMS):
            module.reset_running_stats()
    ones = np.ones(mask.spec.size, dtype=mask.spec.dtype)
    for name, place in mask.spec.slices.items():
        ones[place] = 0 if is_bias(name) else 1
    some, every, none = (
        _arrives(trial, theta, sight.task.input_shape)
        for theta in (mask.apply(ones), ones, 0 * ones)
    )
    return float(some > 0) if every > 0 and none == 0 and np.isfinite(some) else _NAN


def _whether(_module: nn.Module, _inputs: Any, outputs: Tensor) -> Tensor:
    """1 where anything arrives."""
    return (outputs > 0).to(outputs)


@torch.inference_mode()
def _arrives(trial: Network, theta: Array, shape: tuple[int, ...]) -> float:
    """The sum of what a network gives for an input of ones."""
    trial.set(Point(theta))
    # two examples: normalisation by the batch refuses one
    inputs = torch.ones((2, *shape), dtype=trial.theta.dtype, device=trial.device)
    return float(trial.module(inputs).sum())


def require_connected(sight: Sight, level: int, before: Mask, after: Mask) -> None:
    """Warn of a level that leaves layers empty, or else the network without a path.

    A layer is empty without weights, whatever becomes of its biases. Raises `LandscapeError`
    instead if ``keep_connected`` forbids it.
    """
    layers = [name for name in after.prunable if not is_bias(name)]
    empty = [n for n in layers if before.layer(n).any() and not after.layer(n).any()]
    if empty:
        lost = f"all of {', '.join(map(repr, empty))}"
    elif connected(sight, after) == 0 and connected(sight, before) != 0:
        lost = "every path from input to output"
    else:
        return
    if sight.config.keep_connected:
        raise LandscapeError(
            f"level {level} would prune {lost}, and --keep-connected forbids it; ask for "
            "fewer levels or a higher density, or prune by layer"
        )
    warnings.warn(f"level {level} prunes {lost}", UserWarning, stacklevel=2)
