"""Tally: what is kept of the losses of points on batches, as sums or one by one."""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from landscape.analysis.landscape import Evaluation, Examples
from landscape.analysis.network.batches import Data
from landscape.data_store.params import Array


class Tally(Protocol):
    """Where the losses and mistakes of a batch go."""

    def add(self, point: int, start: int, losses: Tensor, wrong: Tensor | None, /) -> None:
        """Note the examples from `start` on at one point: float64 (b,), bool (b,)."""
        ...


class Sums:
    """Sums of losses, of their squares and of mistakes at each point.

    Parameters
    ----------
    points
        How many there are.
    device
        Where the sums are kept.
    """

    def __init__(self, points: int, device: torch.device) -> None:
        self._sums = torch.zeros((points, 3), dtype=torch.float64, device=device)

    def add(self, point: int, _start: int, losses: Tensor, wrong: Tensor | None, /) -> None:
        """Add a batch to the sums of one point."""
        mistakes = torch.zeros_like(losses[0]) if wrong is None else wrong.sum().double()
        self._sums[point] += torch.stack([losses.sum(), losses.dot(losses), mistakes])

    def evaluation(self, data: Data) -> Evaluation:
        """Means and standard errors."""
        sums, examples = self._sums.cpu().numpy(), len(data)
        loss = sums[:, 0] / examples
        finite = np.isfinite(loss)
        spread = np.maximum(sums[:, 1] - examples * np.where(finite, loss, 0.0) ** 2, 0.0)
        error = np.where(finite & data.has_classes, sums[:, 2] / examples, np.nan)
        freedom = examples - 1 if examples > 1 else math.nan
        return Evaluation(
            loss=np.where(finite, loss, np.nan),
            error=error,
            loss_se=np.where(finite, np.sqrt(spread / freedom / examples), np.nan),
            error_se=np.sqrt(error * (1.0 - error) / freedom),
            examples=examples,
        )


class Rows:
    """Loss and mistake of each example at each point.

    Parameters
    ----------
    points, examples
        How many there are.
    """

    def __init__(self, points: int, examples: int) -> None:
        self._loss: Array = np.full((points, examples), np.nan)
        self._error: Array = np.full((points, examples), np.nan)

    def add(self, point: int, start: int, losses: Tensor, wrong: Tensor | None, /) -> None:
        """Keep a batch of one point."""
        place = slice(start, start + len(losses))
        self._loss[point, place] = losses.cpu().numpy()
        if wrong is not None:
            self._error[point, place] = wrong.cpu().numpy()

    def examples(self) -> Examples:
        """All of them; NaN where the loss is not finite."""
        finite = np.isfinite(self._loss)
        return Examples(
            loss=np.where(finite, self._loss, np.nan), error=np.where(finite, self._error, np.nan)
        )
