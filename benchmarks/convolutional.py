"""A 25-point line between two ResNet-20 with BatchNorm on 10 000 CIFAR-size images.

Run with ``python -m benchmarks.convolutional [IMAGES] [ROUNDS]``. Contestants: this package's
evaluator (loss, error and their standard errors); loss-landscapes 3.0.6 (extra ``bench``) with a
metric that returns loss and error of the same tensors; and, as a yardstick, what the machine does
of matrix products in the same rounds. The images are noise: the time does not depend on them.

loss-landscapes leaves out the first end and never moves BatchNorm's buffers. They are equal in
these networks, so that the values must agree at the other end.
"""

from __future__ import annotations

import sys
import time

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from benchmarks.measure import report, side_by_side
from landscape.analysis.network.evaluator import Evaluator
from landscape.analysis.paths import grid, line
from landscape.training.models import build, initialize
from landscape.training.residual import RESNET_20
from landscape.training.task import cross_entropy

POINTS = 25
SHAPE = (3, 32, 32)
SIDES = (512, 1024, 2048)


def network(seed: int) -> nn.Module:
    """A ResNet-20 at its initialisation."""
    model = build(RESNET_20, SHAPE, 10, seed)
    initialize(model, "kaiming-normal", seed)
    return model.eval()


def point(model: nn.Module) -> np.ndarray:
    """Weights, then BatchNorm's statistics."""
    floats = [b for b in model.buffers() if b.is_floating_point()]
    tensors = [t.detach().reshape(-1) for t in (*model.parameters(), *floats)]
    return torch.cat(tensors).numpy()


def operations(model: nn.Module) -> int:
    """Multiplications and additions of convolutions and linear layers for one image."""
    counts: list[int] = []

    def note(module: nn.Module, _inputs: object, outputs: torch.Tensor) -> None:
        places = outputs[0].numel() // outputs.shape[1]
        counts.append(2 * module.get_parameter("weight").numel() * places)

    layers = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    hooks = [layer.register_forward_hook(note) for layer in layers]
    with torch.no_grad():
        model(torch.zeros(1, *SHAPE))
    for hook in hooks:
        hook.remove()
    return sum(counts)


class MatrixProducts:
    """The fastest that products of square matrices have gone in any round, in operations a second.

    Parameters
    ----------
    sides
        Of the matrices.
    """

    def __init__(self, sides: tuple[int, ...]) -> None:
        self._matrices = [torch.rand(side, side) for side in sides]
        self.rate = 0.0

    def __call__(self) -> None:
        """One round."""
        for matrix in self._matrices:
            for _ in range(3):
                began = time.perf_counter()
                matrix @ matrix
                seconds = time.perf_counter() - began
                self.rate = max(self.rate, 2 * len(matrix) ** 3 / seconds)


def main(images: int = 10_000, rounds: int = 3) -> None:
    """Time all contestants and check that they agree."""
    draws = torch.Generator().manual_seed(0)
    inputs = torch.rand(images, *SHAPE, generator=draws)
    targets = torch.randint(0, 10, (images,), generator=draws)
    a, b = network(0), network(1)
    evaluator = Evaluator(a, {"test": (inputs, targets)}, cross_entropy)
    ends = np.stack([point(a), point(b)])
    answers: dict[str, np.ndarray] = {}

    def ours() -> None:
        found = evaluator.evaluate(ends, line(grid(POINTS)), split="test")
        answers["landscape"] = np.stack([found.loss, found.error], axis=1)

    products = MatrixProducts(SIDES)
    contestants = {"landscape": ours, "matrix products": products}
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
    timings = side_by_side(contestants, rounds)
    report(__doc__.splitlines()[0], timings, ours="landscape")
    done = operations(a) * images * POINTS
    fastest = done / min(timings["landscape"].seconds)
    print(f"\n{images} images, batches of {evaluator.batch_size}, {evaluator.layout}")
    print(
        f"{fastest / 1e9:.0f} GFLOP/s in convolutions, {fastest / products.rate:.0%} of the "
        f"{products.rate / 1e9:.0f} GFLOP/s of matrix products (the fastest round of each)"
    )
    if "loss-landscapes" in answers:
        np.testing.assert_allclose(
            answers["loss-landscapes"][-1], answers["landscape"][-1], rtol=1e-3, atol=1e-3
        )
        print(
            "Both agree to 1e-3 where both have a value; loss-landscapes leaves out an end point."
        )


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:3]))
