"""Layout: how many examples at a time, and in which order their numbers lie in memory."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_MOST_EXAMPLES = 2_000
_FEWEST_EXAMPLES = 4
_STATISTICS_EXAMPLES = 250, 64  # of pictures, where statistics are made: most, fewest
_IN_CACHE = 2**23  # bytes of a layer's outputs that a processor's cache holds beside the rest
_IN_MEMORY = 2**28  # bytes of a layer's outputs, where they need not lie in a cache
_IN_GRAPH = 2**30  # bytes of what a backward pass keeps
_KEPT_PER_OUTPUT = 4  # tensors like a layer's outputs in the graph of a gradient's gradient


@dataclass(frozen=True)
class Layout:
    """Sizes and order of batches: a rule of network and device, so that numbers repeat.

    Parameters
    ----------
    batch_size
        Examples at a time.
    graph_size
        Examples at a time where derivatives are taken.
    statistics_size
        Examples at a time where normalisation statistics are made. These depend on it, so it
        does not depend on the device.
    channels_last
        Whether pictures lie in memory pixel by pixel, all channels of one together: on
        processors, convolutions are faster so.
    """

    batch_size: int
    graph_size: int
    statistics_size: int
    channels_last: bool

    @property
    def name(self) -> str:
        """For the record."""
        return "channels-last" if self.channels_last else "plain"

    def arranged(self, inputs: Tensor) -> Tensor:
        """A batch in this order."""
        if self.channels_last:
            return inputs.contiguous(memory_format=torch.channels_last)
        return inputs


def layout(model: nn.Module, inputs: Tensor | None, batch_size: int | None = None) -> Layout:
    """How a network's batches should be, from a pass over a few inputs.

    Batches of a convolutional network on a processor are so small that the outputs of its
    largest layer, 8 MiB at most, stay in cache; else they are up to 256 MiB. They have 4 to
    2 000 examples. Those for derivatives are limited too by a gigabyte for the graph.
    Statistics are made from up to 250 pictures at a time (2 000 other examples).

    Channels come last where that gives the same outputs; a network whose forward uses ``view``
    may fail on such inputs.

    Parameters
    ----------
    model
        In evaluation mode.
    inputs
        A few; None where there are no data.
    batch_size
        Given, it is taken.
    """
    if inputs is None:
        size = batch_size or _MOST_EXAMPLES
        return Layout(size, size, size, channels_last=False)
    sizes: list[int] = []
    with torch.no_grad(), _noted(model, sizes):
        outputs = model(inputs)
    largest, together = (max(n // len(inputs), 1) for n in (max(sizes), sum(sizes)))
    convolutional = any(isinstance(module, _CONVOLUTIONS) for module in model.modules())
    on_processor = inputs.device.type == "cpu"
    most = _IN_CACHE if convolutional and on_processor else _IN_MEMORY
    size = batch_size or min(max(most // largest, _FEWEST_EXAMPLES), _MOST_EXAMPLES)
    many, few = _STATISTICS_EXAMPLES if convolutional else (_MOST_EXAMPLES, _FEWEST_EXAMPLES)
    return Layout(
        batch_size=size,
        graph_size=max(1, min(size, _IN_GRAPH // (_KEPT_PER_OUTPUT * together))),
        statistics_size=batch_size or min(max(_IN_MEMORY // largest, few), many),
        channels_last=on_processor and _same_channels_last(model, inputs, outputs),
    )


@contextlib.contextmanager
def _noted(model: nn.Module, sizes: list[int]) -> Iterator[None]:
    """Note the bytes of everything that a module returns."""

    def note(_module: nn.Module, _inputs: object, outputs: object) -> None:
        parts = outputs if isinstance(outputs, tuple | list) else (outputs,)
        sizes.append(sum(part.nbytes for part in parts if isinstance(part, Tensor)))

    with contextlib.ExitStack() as hooks:
        for module in model.modules():
            hooks.callback(module.register_forward_hook(note).remove)
        yield


def _same_channels_last(model: nn.Module, inputs: Tensor, outputs: Tensor) -> bool:
    """Whether a network of pictures gives its outputs for them channels-last as well."""
    pictures = any(isinstance(module, nn.Conv2d) for module in model.modules())
    if not pictures or inputs.ndim != 4 or not isinstance(outputs, Tensor):
        return False
    try:
        with torch.no_grad():
            again = model(inputs.contiguous(memory_format=torch.channels_last))
    except RuntimeError:
        return False
    tolerance = 1e-3 if outputs.dtype == torch.float32 else 1e-8
    return torch.allclose(again, outputs, rtol=tolerance, atol=tolerance, equal_nan=True)
