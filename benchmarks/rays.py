"""1 000 isotropic rays to where the loss of a LeNet-300-100 reaches a cutoff, on 10 000 images.

Run with ``python -m benchmarks.rays``. Contestants: this package, whose cost is that of its
batches of 62 rays; and a ray after the other by doubling and bisection to the same accuracy, a
forward pass over tensors in memory for every radius, as other volume code does it. Both are timed
on part of the rays, one contestant after the other in each round, and scaled to 1 000.

The network is trained for 600 steps first: on MNIST if ``LANDSCAPE_DATA`` names a folder that has
it, and on a random linear rule over noise of the same shape otherwise.
"""

from __future__ import annotations

import copy
import os
import statistics
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from benchmarks.measure import machine
from landscape.analysis.directions import gaussian
from landscape.analysis.network.evaluator import Evaluator
from landscape.analysis.volume.rays import OK, Body, coarse_places
from landscape.data_store.params import Array
from landscape.training.models import LENET_300_100, build, initialize
from landscape.training.task import cross_entropy

EXAMPLES, RAYS, TOLERANCE, RISE = 10_000, 1000, 1e-6, 0.1
BATCH, BISECTED, ROUNDS = 62, 2, 5


def images() -> tuple[torch.Tensor, torch.Tensor]:
    """10 000 images and labels."""
    folder = os.environ.get("LANDSCAPE_DATA")
    if folder:
        from landscape.training.tasks import mnist

        split = mnist(Path(folder), 5_000).splits["test"]
        return split.inputs[:EXAMPLES], split.targets[:EXAMPLES]
    draws = torch.Generator().manual_seed(0)
    inputs = torch.rand(EXAMPLES, 1, 28, 28, generator=draws)
    rule = torch.randn(784, 10, generator=draws)
    return inputs, (inputs.flatten(1) @ rule).argmax(1)


def trained(inputs: torch.Tensor, targets: torch.Tensor) -> nn.Module:
    """A LeNet-300-100 after 600 steps of Adam."""
    model = build(LENET_300_100, (1, 28, 28), 10, 0)
    initialize(model, "glorot-normal", 0)
    optimizer = torch.optim.Adam(model.parameters(), lr=1.2e-3)
    for step in range(600):
        batch = torch.arange(step * 60, step * 60 + 60) % len(inputs)
        optimizer.zero_grad()
        functional.cross_entropy(model(inputs[batch]), targets[batch]).backward()
        optimizer.step()
    return model.eval()


def directions(size: int, first: int, count: int) -> Array:
    """Unit vectors."""
    drawn = gaussian(size, 0, range(first, first + count))
    unit: Array = (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)
    return unit


def bisected(
    model: nn.Module, centre: Array, u: Array, level: float, data: tuple[torch.Tensor, ...]
) -> float:
    """The radius of one ray: doubling from a hundredth of the weights' norm, then bisection."""
    inputs, targets = data

    def loss(radius: float) -> float:
        point = torch.from_numpy(centre + np.float32(radius) * u)
        nn.utils.vector_to_parameters(point, model.parameters())
        with torch.no_grad():
            parts = [
                functional.cross_entropy(model(x), y, reduction="sum").item()
                for x, y in zip(inputs.split(1000), targets.split(1000), strict=True)
            ]
        return sum(parts) / len(targets)

    low, high = 0.0, float(np.linalg.norm(centre)) / 100
    while loss(high) <= level:
        low, high = high, 2 * high
    while high - low > TOLERANCE * high:
        middle = (low + high) / 2
        low, high = (middle, high) if loss(middle) <= level else (low, middle)
    return (low + high) / 2


def main() -> None:
    """Time both, check that they agree, print seconds for 1 000 rays."""
    data = images()
    model = trained(*data)
    centre = nn.utils.parameters_to_vector(model.parameters()).detach().numpy().copy()
    evaluator = Evaluator(model, {"train": data}, cross_entropy)
    own = evaluator.evaluate(centre[None], np.ones((1, 1)), split="train").loss[0]
    level, limit = float(own) + RISE, 10 * float(np.linalg.norm(centre))
    coarse = coarse_places(EXAMPLES, None, 0)
    body = Body(evaluator, centre, level, "loss", "train", None, coarse, TOLERANCE, limit)
    scratch, ours, theirs, apart = copy.deepcopy(model), [], [], []
    for number in range(ROUNDS):
        start = time.perf_counter()
        found = body.radii(directions(len(centre), number * BATCH, BATCH))
        ours.append((time.perf_counter() - start) * RAYS / BATCH)
        assert (found.status == OK).all()
        start = time.perf_counter()
        rows = directions(len(centre), number * BATCH, BISECTED)
        radii = [bisected(scratch, centre, u, level, data) for u in rows]
        theirs.append((time.perf_counter() - start) * RAYS / BISECTED)
        apart += [abs(r / f - 1) for r, f in zip(radii, found.radius, strict=False)]
    print(machine())
    print(f"loss {own:.3f} + {RISE}, tolerance {TOLERANCE:g}; radii agree within {max(apart):.1e}")
    ratio = statistics.median(t / o for o, t in zip(ours, theirs, strict=True))
    print(f"batches of {BATCH} rays {statistics.median(ours):8.0f} s for {RAYS} rays")
    print(f"ray by ray         {statistics.median(theirs):8.0f} s for {RAYS} rays")
    print(
        f"ratio (median of {ROUNDS} rounds) {ratio:.1f}, least "
        f"{min(t / o for o, t in zip(ours, theirs, strict=True)):.1f}"
    )


if __name__ == "__main__":
    main()
