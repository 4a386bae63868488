"""Outputs: a network's answers as numbers, and what a loss makes of any answers."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from landscape.analysis.landscape import Examples
from landscape.analysis.network.batches import Batch, Data, Loss
from landscape.analysis.network.tally import Rows
from landscape.data_store.errors import LandscapeError
from landscape.data_store.params import Array


def judgement(loss: Loss, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor | None]:
    """Loss of each example in float64, and whether its class is wrong; None without classes."""
    wrong = None if targets.is_floating_point() else outputs.argmax(1) != targets
    return loss(outputs, targets).double(), wrong


def output_shape(model: nn.Module, inputs: Tensor) -> tuple[int, ...] | None:
    """Shape of the answer to one of some examples; None if it is no row of a tensor."""
    with torch.no_grad():
        answer: object = model(inputs)
    if not isinstance(answer, Tensor) or answer.shape[:1] != inputs.shape[:1]:
        return None
    return tuple(answer.shape[1:])


def outputs(model: nn.Module, batches: Iterable[Batch]) -> Array:
    """Answers to all examples where the network is: float64 (examples, …).

    Raises `LandscapeError` for a network that answers with anything but a tensor.
    """
    parts: list[Tensor] = []
    with torch.no_grad():
        for inputs, _ in batches:
            answer: object = model(inputs)
            if not isinstance(answer, Tensor):
                raise LandscapeError(
                    f"the network answers with a {type(answer).__name__}; a tensor with a row per "
                    "example is needed where outputs are rescaled"
                )
            parts.append(answer.double().cpu())
    rows: Array = torch.cat(parts).numpy()
    return rows


def judged(loss: Loss, given: Array, data: Data, dtype: torch.dtype, batch_size: int) -> Examples:
    """Loss and error of each example if the answers were `given` (k, examples, …).

    They are rounded to `dtype` first, as the network's are.

    Raises `LandscapeError` for answers to another number of examples.
    """
    if given.ndim < 2 or given.shape[1] != len(data):
        raise LandscapeError(
            f"outputs of shape {given.shape} do not fit the split; expected (any, {len(data)}, …)"
        )
    tally, device = Rows(len(given), len(data)), data.targets.device
    with torch.no_grad():
        for number, answers in enumerate(given):
            for start in range(0, len(data), batch_size):
                place = slice(start, start + batch_size)
                some = torch.tensor(answers[place], dtype=dtype, device=device)
                tally.add(number, start, *judgement(loss, some, data.targets[place]))
    return tally.examples()
