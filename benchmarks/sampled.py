"""A 25-point barrier between two ResNet-20 on 50 000 images: ``--tol 0.02`` and all of them.

Run with ``python -m benchmarks.sampled``; half an hour on two cores, nearly all of it the whole
data's. Both networks are trained quickly from the same weights with different minibatches, on
made-up pictures of ten kinds in noise, a tenth of them with a wrong label. Printed: seconds of
the processor (of all its cores, so that other programs do not count), evaluations of an example,
and the barriers by both with their interval.
"""

from __future__ import annotations

import copy
import sys
import time

import numpy as np
import torch
import xarray as xr
from torch import nn
from torch.nn import functional

from benchmarks.measure import Timing, report
from landscape.analysis.barrier import BarrierSettings, barrier
from landscape.analysis.network.evaluator import Evaluator
from landscape.data_store.mask import Mask
from landscape.data_store.records import Checkpoint
from landscape.training.models import (
    buffer_values,
    build,
    current_point,
    initialize,
    parameter_spec,
)
from landscape.training.residual import RESNET_20
from landscape.training.task import cross_entropy

EXAMPLES, POINTS, TOL = 50_000, 25, 0.02
COMMON_STEPS, OWN_STEPS, BATCH = 60, 240, 64


def pictures(examples: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures of CIFAR's size: one of ten smooth patterns each, moved and in noise."""
    draws = torch.Generator().manual_seed(0)
    coarse = torch.randn(10, 3, 8, 8, generator=draws)
    patterns = functional.interpolate(coarse, size=(32, 32), mode="bilinear")
    kinds = torch.randint(0, 10, (examples,), generator=draws)
    inputs = torch.randn(examples, 3, 32, 32, generator=draws)
    moves = torch.randint(-4, 5, (examples,), generator=draws)
    for move in range(-4, 5):
        chosen = moves == move
        inputs[chosen] += 0.5 * patterns.roll(move, dims=3)[kinds[chosen]]
    wrong = torch.rand(examples, generator=draws) < 0.1
    anything = torch.randint(0, 10, (examples,), generator=draws)
    return inputs, torch.where(wrong, anything, kinds)


def train(
    model: nn.Module, data: tuple[torch.Tensor, torch.Tensor], steps: int, seed: int
) -> nn.Module:
    """The network after some steps of SGD with momentum on minibatches of its own."""
    inputs, targets = data
    draws = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 2 * steps)
    model.train()
    for _ in range(steps):
        places = torch.randint(0, len(inputs), (BATCH,), generator=draws)
        optimizer.zero_grad()
        functional.cross_entropy(model(inputs[places]), targets[places]).backward()
        optimizer.step()
        schedule.step()
    return model.eval()


def checkpoint(model: nn.Module, address: str) -> Checkpoint:
    """A network as a dense checkpoint."""
    spec = parameter_spec(model)
    prunable = tuple(n for n, s in zip(spec.names, spec.shapes, strict=True) if len(s) > 1)
    return Checkpoint(
        spec,
        current_point(model, spec).theta,
        Mask.dense(spec, prunable),
        buffer_values(model),
        address=address,
    )


class Counted:
    """A landscape, and how many losses of an example it was asked for."""

    def __init__(self, landscape: Evaluator) -> None:
        self.landscape, self.evaluations = landscape, 0
        self.examples = landscape.examples

    def per_example(self, anchors, coefficients, *, split, places=None):  # type: ignore[no-untyped-def]
        """The landscape's answer."""
        answer = self.landscape.per_example(anchors, coefficients, split=split, places=places)
        self.evaluations += answer.loss.size
        return answer


def main() -> None:
    """Time both and compare their barriers."""
    examples = int(sys.argv[1]) if len(sys.argv) > 1 else EXAMPLES
    data = pictures(examples)
    model = build(RESNET_20, (3, 32, 32), 10, 0)
    initialize(model, "kaiming-normal", 0)
    train(model, data, COMMON_STEPS, seed=0)
    ends = [train(copy.deepcopy(model), data, OWN_STEPS, seed) for seed in (1, 2)]
    a, b = (checkpoint(end, address) for end, address in zip(ends, "ab", strict=True))
    evaluator = Evaluator(model, {"train": data}, cross_entropy)
    few = evaluator.per_example  # the first question also tries the network: it belongs to neither
    few(np.stack([a.point, b.point]), np.eye(2), split="train", places=np.arange(1000))
    timings: dict[str, Timing] = {}
    found: dict[str, xr.Dataset] = {}
    counts: dict[str, int] = {}
    for name, tol in ((f"--tol {TOL:g}", TOL), ("all examples", None)):
        landscape = Counted(evaluator)
        settings = BarrierSettings(points=POINTS, splits=("train",), tol=tol)
        began = time.process_time()
        found[name] = barrier(a, b, landscape, settings)  # type: ignore[arg-type]
        timings[name] = Timing((time.process_time() - began,))
        counts[name] = landscape.evaluations
        print(f"{name}: {timings[name].median:.0f} s, {counts[name]:,} evaluations", flush=True)
    report(__doc__.splitlines()[0], timings, ours=f"--tol {TOL:g}")
    part, whole = found.values()
    print(f"\nexamples used with --tol: {part.examples.item():,.0f} of {examples:,}\n")
    compare(part, whole)


def compare(part: xr.Dataset, whole: xr.Dataset) -> None:
    """Print the barriers by both, and whether the interval holds."""
    print("| barrier | --tol | interval | all examples | held |\n|---|---:|---:|---:|---|")
    for measure in ("loss", "error"):
        for definition in part.definition.values:
            one, other = (ds.sel(definition=definition) for ds in (part, whole))
            low, high = (one[f"{measure}_barrier_split_{s}"].item() for s in ("low", "high"))
            exact = other[f"{measure}_barrier"].item()
            print(
                f"| {measure} {definition} | {one[f'{measure}_barrier'].item():.4f} "
                f"| {low:.4f}–{high:.4f} | {exact:.4f} | {low <= exact <= high} |"
            )


if __name__ == "__main__":
    main()
