"""Sweep: a network's losses at many points, point by point or all points on each batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial

import torch
from torch import Tensor

from landscape.analysis.network.batches import Batch, Loss
from landscape.analysis.network.flat_network import FlatNetwork, exchange
from landscape.analysis.network.outputs import judgement
from landscape.analysis.network.shared_layer import SharedLayer
from landscape.analysis.network.tally import Tally

_NUMBERS_IN_FLIGHT = 2**26  # numbers of points held at once: 256 MiB in float32
_SHARE_OF_FREE_MEMORY = 4  # a quarter of what an accelerator has left

Row = Sequence[float]
Batches = Callable[[], Iterable[Batch]]


def numbers_in_flight(device: torch.device, dtype: torch.dtype) -> int:
    """How many numbers of prepared points may be held at once: 2²⁶, or by a GPU's free memory.

    It decides how often batches are gone through, and no result.
    """
    if device.type != "cuda":
        return _NUMBERS_IN_FLIGHT
    free, _ = torch.cuda.mem_get_info(device)
    return int(free) // _SHARE_OF_FREE_MEMORY // dtype.itemsize


class Sweep:
    """Losses and mistakes of a network at combinations of anchors, into a tally.

    Parameters
    ----------
    network, loss
        What is evaluated.
    settle
        Makes normalisation statistics, where they are not those of a point: called with
        functions, each of which moves the network to a point in whose place they are written.
    points, rows
        Anchors on the device, and their coefficients at each point.
    buffers
        As for `FlatNetwork.move`.
    tally
        Where the losses go.
    """

    def __init__(
        self,
        network: FlatNetwork,
        loss: Loss,
        settle: Callable[[Sequence[Callable[[], None]]], None],
        points: Sequence[Tensor],
        rows: Sequence[Row],
        buffers: str,
        tally: Tally,
    ) -> None:
        self._network, self._loss, self._settle = network, loss, settle
        self._points, self._rows, self._buffers, self._tally = points, rows, buffers, tally

    def one_by_one(self, batches: Batches) -> None:
        """Point after point, each on all batches: only the network itself is held."""
        for number, row in enumerate(self._rows):
            self._move(row)
            self._settle([lambda: None])
            start = 0
            for inputs, targets in batches():
                self._note(number, start, inputs, targets)
                start += len(targets)

    def together(self, batches: Batches, shared: SharedLayer | None) -> None:
        """Batch after batch, as many points on each as may be held: each batch is made once.

        Where the first layer is shared, its response is computed once per anchor and batch.
        """
        tensors, places = self._network.tensors, self._network.places
        own = [t for n, t in tensors.items() if shared is None or not shared.owns(places[n])]
        numbers = max(sum(tensor.numel() for tensor in own), 1)
        most = numbers_in_flight(self._network.theta.device, self._network.dtype)
        at_once = max(1, most // numbers)
        for first in range(0, len(self._rows), at_once):
            group = range(first, min(first + at_once, len(self._rows)))
            with _restored(own):
                self._group(group, batches(), shared, own)

    def _group(
        self,
        group: range,
        batches: Iterable[Batch],
        shared: SharedLayer | None,
        own: Sequence[Tensor],
    ) -> None:
        """Some points on each batch."""
        prepared = [self._prepared(self._rows[number], own, len(group) > 1) for number in group]
        self._settle([partial(exchange, own, values) for values in prepared])
        with nullcontext() if shared is None else shared.installed(self._points):
            start = 0
            for inputs, targets in batches:
                if shared is not None:
                    shared.record(self._network.model, inputs)
                for number, values in zip(group, prepared, strict=True):
                    exchange(own, values)
                    if shared is not None:
                        shared.put(self._rows[number])
                    self._note(number, start, inputs, targets)
                start += len(targets)

    def _prepared(self, row: Row, own: Sequence[Tensor], copied: bool) -> list[Tensor]:
        """The network's own tensors at one point."""
        self._move(row)
        return [tensor.data.clone() if copied else tensor.data for tensor in own]

    def _move(self, row: Row) -> None:
        """Take the network to one point."""
        self._network.move(self._points, row, buffers=self._buffers)

    def _note(self, number: int, start: int, inputs: Tensor, targets: Tensor) -> None:
        """Losses and mistakes of one batch where the network is."""
        outputs = self._network.model(inputs)
        self._tally.add(number, start, *judgement(self._loss, outputs, targets))


@contextmanager
def _restored(tensors: Sequence[Tensor]) -> Iterator[None]:
    """Tensors have their own memory again afterwards."""
    own = [tensor.data for tensor in tensors]
    try:
        yield
    finally:
        exchange(tensors, own)
