"""Planted truth: a ticket in the network it is hidden in, as a level and as a record."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from landscape.data_store.mask import Mask
from landscape.data_store.records import TRACE_COLUMNS, Level, Point, RunConfig, Trace
from landscape.data_store.truth import divided
from landscape.training.connection import connected
from landscape.training.criteria import Sight
from landscape.training.models import prunable_kinds
from landscape.training.network import Network
from landscape.training.planting.chain import Link
from landscape.training.planting.hiding import hiding
from landscape.training.planting.plant import Planted
from landscape.training.task import Task


@dataclass(frozen=True, eq=False)
class Truth:
    """A ticket and the network it is hidden in, described.

    Parameters
    ----------
    network, links
        The network, and its layers.
    hidden
        What was written into it, and where.
    mother
        The network with the ticket in it.
    task
        The data it is judged on, on the network's device.
    config
        Settings of the network, and of runs that begin there.
    """

    network: Network
    links: Sequence[Link]
    hidden: Planted
    mother: Point
    task: Task
    config: RunConfig

    @property
    def kinds(self) -> dict[str, str]:
        """What the weights and biases of the network are."""
        kinds = prunable_kinds(self.network.module)
        found = {}
        for link in self.links:
            found[link.weight] = kinds[link.weight]
            if link.bias is not None:
                found[link.bias] = kinds[link.weight]
        return {name: found[name] for name in self.network.spec.names if name in found}

    @property
    def outputs(self) -> list[str]:
        """The tensors of the output layer."""
        last = self.links[-1]
        return [name for name in (last.weight, last.bias) if name is not None]

    @property
    def mask(self) -> Mask:
        """The ticket's weights and biases."""
        return Mask(self.network.spec, tuple(self.kinds), self.hidden.kept)

    @property
    def sight(self) -> Sight:
        """The network and the data."""
        return Sight(self.network, self.task, self.config)

    @property
    def ticket(self) -> Point:
        """The ticket alone."""
        return Point(self.mask.apply(self.mother.theta), self.mother.buffers)

    def level(self) -> Level:
        """The level that holds it; nothing was trained."""
        digest = self.mother.digest(self.network.spec)
        return Level(
            number=0,
            mask=self.mask,
            points={"final": self.ticket},
            trace=Trace(np.empty((0, len(TRACE_COLUMNS)))),
            metrics=self._losses(self.ticket)
            | {"early_stop_step": math.nan, "connected": connected(self.sight, self.mask)},
            origins={"init": digest, "rewind": digest},
        )

    def record(self) -> dict[str, Any]:
        """Where the ticket lies, how well it is hidden, and how good it is."""
        weights = [link.weight for link in self.links]
        kept = {name: int(np.count_nonzero(self.mask.layer(name))) for name in self.kinds}
        sizes = {name: len(self.mask.layer(name)) for name in weights}
        found = sum(kept[name] for name in weights)
        return {
            "kinds": self.kinds,
            "outputs": self.outputs,
            "kept": kept,
            "sizes": sizes,
            "weights": found,
            "density": found / sum(sizes.values()),  # of the weights alone, as the paper counts
            "units": [units.tolist() for units in self.hidden.units],
            "factors": [factors.tolist() for factors in self.hidden.factors],
            "scale": self.hidden.scale.tolist(),
            "hiding": self._hiding(),
            "rescaled": self._losses(self._rescaled()),
        }

    def _hiding(self) -> dict[str, Any]:
        """How the ticket's weights rank among those of their layers."""
        spec = self.network.spec
        found = hiding(spec, self.links, self.mother.theta, self.hidden.kept)
        columns = {key: value for key, value in vars(found).items() if key != "found_globally"}
        rows = zip(*(list(column) for column in columns.values()), strict=True)
        layers = [dict(zip(columns, map(_number, row), strict=True)) for row in rows]
        return {"layers": layers, "found_globally": found.found_globally}

    def _rescaled(self) -> Point:
        """The ticket with its outputs divided by their factors."""
        spec, scale = self.network.spec, self.hidden.scale
        theta = divided(spec, self.ticket.theta, self.outputs, scale)
        return Point(theta, self.mother.buffers)

    def _losses(self, point: Point) -> dict[str, float]:
        """Loss and error of a point on every split."""
        self.network.set(point)
        found: dict[str, float] = {}
        for name, split in self.task.splits.items():
            loss, error = self.network.evaluate(split, self.task)
            found |= {f"{name}_loss": loss, f"{name}_error": error}
        return found


def _number(value: Any) -> Any:
    """A number of NumPy as Python's."""
    return value.item() if hasattr(value, "item") else value
