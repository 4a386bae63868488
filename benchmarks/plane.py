"""A 51 × 51 plane through three LeNet-300-100 on 10 000 images, loss and error.

Run with ``python -m benchmarks.plane [SIDE] [ROUNDS]``. Contestants: this package's evaluator on
the whole plane; loss-landscapes 3.0.6 (extra ``bench``) on 7 × 7 cells of it, with a metric that
returns loss and error of the same tensors in one pass; and the loop over cells and batches in
memory that most scripts contain, on as many. Times are per cell, whose cost does not depend on
how many there are. The images are noise: the time does not depend on them.
"""

from __future__ import annotations

import copy
import sys

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from benchmarks.measure import machine, side_by_side
from landscape.analysis.network.evaluator import Evaluator
from landscape.training.models import LENET_300_100, build, initialize
from landscape.training.task import cross_entropy

IMAGES = 10_000
CELLS = 7  # a side, for those that are slow
BATCH = 1_000


def network(seed: int) -> nn.Module:
    """A LeNet-300-100 at its initialisation."""
    model = build(LENET_300_100, (1, 28, 28), 10, seed)
    initialize(model, "glorot-normal", seed)
    return model.eval()


def plane(side: int) -> np.ndarray:
    """Coefficients (side², 3) of the corner and the two ends of a plane's axes, all included."""
    along = np.linspace(0.0, 1.0, side)
    u, v = (axis.ravel() for axis in np.meshgrid(along, along, indexing="ij"))
    return np.stack([1.0 - u - v, u, v], axis=1)


def main(side: int = 51, rounds: int = 3) -> None:
    """Time all contestants and check that they agree."""
    draws = torch.Generator().manual_seed(0)
    inputs = torch.rand(IMAGES, 1, 28, 28, generator=draws)
    targets = torch.randint(0, 10, (IMAGES,), generator=draws)
    networks = [network(seed) for seed in range(3)]
    vectors = [torch.nn.utils.parameters_to_vector(m.parameters()).detach() for m in networks]
    corners = np.stack([vector.numpy() for vector in vectors])
    evaluator = Evaluator(networks[0], {"test": (inputs, targets)}, cross_entropy)
    answers: dict[str, np.ndarray] = {}

    def ours() -> None:
        found = evaluator.evaluate(corners, plane(side), split="test")
        answers["landscape"] = np.stack([found.loss, found.error], axis=1)

    def loop() -> None:
        model, rows = copy.deepcopy(networks[0]), []
        with torch.no_grad():
            for row in plane(CELLS):
                moved = sum(float(c) * vector for c, vector in zip(row, vectors, strict=True))
                torch.nn.utils.vector_to_parameters(moved, model.parameters())
                loss = wrong = 0.0
                for x, y in zip(inputs.split(BATCH), targets.split(BATCH), strict=True):
                    out = model(x)
                    loss += functional.cross_entropy(out, y, reduction="sum").item()
                    wrong += (out.argmax(1) != y).sum().item()
                rows.append((loss / IMAGES, wrong / IMAGES))
        answers["loop"] = np.array(rows)

    contestants = {"landscape": ours, "loop over tensors in memory": loop}
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
            found = loss_landscapes.planar_interpolation(
                *networks, Both(), steps=CELLS, deepcopy_model=True
            )
            answers["loss-landscapes"] = np.array(found)

        contestants["loss-landscapes 3.0.6"] = theirs
    timings = side_by_side(contestants, rounds)
    cells = dict.fromkeys(contestants, CELLS**2) | {"landscape": side**2}
    print(f"\n{__doc__.splitlines()[0]}\n{machine()}; medians of {rounds} interleaved rounds\n")
    print("| | cells | ms per cell | ratio to ours |\n|---|---:|---:|---:|")
    mine = timings["landscape"].median / side**2
    for name, timing in timings.items():
        each = timing.median / cells[name]
        print(f"| {name} | {cells[name]} | {1e3 * each:.3g} | {each / mine:.2f} |")
    check(evaluator, corners, answers)


def check(evaluator: Evaluator, corners: np.ndarray, answers: dict[str, np.ndarray]) -> None:
    """The same numbers, where the same cells were computed."""
    found = evaluator.evaluate(corners, plane(CELLS), split="test")
    mine = np.stack([found.loss, found.error], axis=1)
    np.testing.assert_allclose(answers["loop"], mine, rtol=1e-5, atol=2e-4)
    if "loss-landscapes" in answers:  # its first cell is one step along the second axis
        step = np.array([[1.0 - 1.0 / CELLS, 0.0, 1.0 / CELLS]])
        first = evaluator.evaluate(corners, step, split="test")
        theirs = answers["loss-landscapes"][0, 0]
        np.testing.assert_allclose(theirs, [first.loss[0], first.error[0]], rtol=1e-4, atol=2e-4)
    print("\nAll agree to 1e-4 where they have the same cells.")


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:3]))
