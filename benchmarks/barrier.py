"""A 25-point line between two LeNet-300-100 on 60 000 images, loss and error.

Run with ``python -m benchmarks.barrier``. Contestants: this package's evaluator;
loss-landscapes 3.0.6 (extra ``bench``) with a metric that returns both numbers; the loop over
a DataLoader that most scripts contain; the same loop over tensors in memory.
The images are MNIST's training part if ``LANDSCAPE_DATA`` names a folder that has it, and
noise of the same shape otherwise: the time does not depend on it.
"""

from __future__ import annotations

import copy
import os
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.measure import report, side_by_side
from landscape.analysis.network.evaluator import Evaluator
from landscape.analysis.paths import grid, line
from landscape.training.models import LENET_300_100, build, initialize
from landscape.training.task import cross_entropy

POINTS = 25


def images() -> tuple[torch.Tensor, torch.Tensor]:
    """60 000 images and labels."""
    folder = os.environ.get("LANDSCAPE_DATA")
    if folder:
        from landscape.training.tasks import mnist

        splits = mnist(Path(folder), 5_000).splits
        parts = [splits["train"], splits["validation"]]
        return torch.cat([p.inputs for p in parts]), torch.cat([p.targets for p in parts])
    draws = torch.Generator().manual_seed(0)
    inputs = torch.rand(60_000, 1, 28, 28, generator=draws)
    return inputs, torch.randint(0, 10, (60_000,), generator=draws)


def network(seed: int) -> nn.Module:
    """A LeNet-300-100 at its initialisation."""
    model = build(LENET_300_100, (1, 28, 28), 10, seed)
    initialize(model, "glorot-normal", seed)
    return model.eval()


def vector(model: nn.Module) -> np.ndarray:
    """A network's weights as one vector."""
    return torch.nn.utils.parameters_to_vector(model.parameters()).detach().numpy().copy()


def interpolated(a: nn.Module, b: nn.Module, alpha: float, into: nn.Module) -> nn.Module:
    """The usual loop over parameters."""
    with torch.no_grad():
        for p, q, r in zip(a.parameters(), b.parameters(), into.parameters(), strict=True):
            r.copy_((1 - alpha) * p + alpha * q)
    return into


def main() -> None:
    """Time all contestants and check that they agree."""
    inputs, targets = images()
    a, b = network(0), network(1)
    loader = DataLoader(TensorDataset(inputs, targets), batch_size=1000)
    alphas = grid(POINTS)
    answers: dict[str, np.ndarray] = {}

    def batches_of_tensors() -> list[tuple[torch.Tensor, torch.Tensor]]:
        return [(inputs[i : i + 1000], targets[i : i + 1000]) for i in range(0, 60_000, 1000)]

    def loop(name: str, batches: object) -> None:
        model, rows = copy.deepcopy(a), []
        with torch.no_grad():
            for alpha in alphas:
                interpolated(a, b, float(alpha), model)
                loss = wrong = 0.0
                for x, y in batches:  # type: ignore[attr-defined]
                    out = model(x)
                    loss += functional.cross_entropy(out, y, reduction="sum").item()
                    wrong += (out.argmax(1) != y).sum().item()
                rows.append((loss / 60_000, wrong / 60_000))
        answers[name] = np.array(rows)

    evaluator = Evaluator(a, {"train": (inputs, targets)}, cross_entropy)
    ends = np.stack([vector(a), vector(b)])

    def ours() -> None:
        found = evaluator.evaluate(ends, line(alphas), split="train")
        answers["landscape"] = np.stack([found.loss, found.error], axis=1)

    contestants = {
        "landscape": ours,
        "loop over tensors in memory": lambda: loop("tensors", batches_of_tensors()),
        "loop over a DataLoader": lambda: loop("loader", loader),
    }
    try:
        import loss_landscapes
        from loss_landscapes.metrics.metric import Metric
    except ImportError:
        print("loss-landscapes is not installed: pip install '.[bench]'")
    else:

        class Both(Metric):  # type: ignore[misc]
            """Loss and error in one pass over all images."""

            def __call__(self, wrapper: object) -> tuple[float, float]:
                with torch.no_grad():
                    out = wrapper.forward(inputs)  # type: ignore[attr-defined]
                    loss = functional.cross_entropy(out, targets).item()
                    return loss, (out.argmax(1) != targets).float().mean().item()

        def theirs() -> None:
            found = loss_landscapes.linear_interpolation(
                a, b, Both(), steps=POINTS, deepcopy_model=True
            )
            answers["loss-landscapes"] = np.array([list(row) for row in found])

        contestants["loss-landscapes 3.0.6"] = theirs
    timings = side_by_side(contestants)
    report(__doc__.splitlines()[0], timings, ours="landscape")
    for name in ("tensors", "loader"):
        np.testing.assert_allclose(answers[name], answers["landscape"], rtol=1e-5, atol=2e-5)
    print("\nThe loops and landscape agree to 1e-5; loss-landscapes leaves out an end point.")


if __name__ == "__main__":
    main()
