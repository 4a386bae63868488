"""A landscape on a line whose losses are known example by example."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from landscape.analysis.landscape import Examples
from landscape.data_store.params import Array


@dataclass(eq=False)
class OnExamples:
    """Tables of loss and error at positions of the line between two points.

    Parameters
    ----------
    alpha
        The positions (k,); only these can be asked for.
    loss, error
        Values (k, examples).
    asked
        What was asked for: positions and examples of every call.
    """

    alpha: Array
    loss: Array
    error: Array
    asked: list[tuple[Array, Array]] = field(default_factory=list)

    def examples(self, split: str) -> int:
        """How many columns the tables have."""
        return int(self.loss.shape[1])

    def per_example(
        self, anchors: Array, coefficients: Array, *, split: str, places: Array | None = None
    ) -> Examples:
        """The rows at the second anchor's coefficients."""
        rows = np.searchsorted(self.alpha, coefficients[:, 1])
        assert (self.alpha[rows] == coefficients[:, 1]).all()
        columns = np.arange(self.examples(split)) if places is None else places
        self.asked.append((coefficients[:, 1], columns))
        return Examples(self.loss[np.ix_(rows, columns)], self.error[np.ix_(rows, columns)])

    @property
    def evaluations(self) -> int:
        """How many losses of an example were asked for."""
        return sum(len(alpha) * len(columns) for alpha, columns in self.asked)


def made_up(kind: str, alpha: Array, examples: int, seed: int = 0) -> OnExamples:
    """Losses and errors of one shape on a line, each example by its own draws.

    ``zero``: a flat line, whose highest point is noise; ``independent``: the same without
    anything common to the positions; ``plateau``: a hump with a flat top; ``peak``: one top;
    ``rare``: a hump made by one example in fifty; ``still``: nothing changes; ``step``: half of
    the line is higher.
    """
    rng = np.random.default_rng([seed, examples])
    hardness, own = rng.exponential(size=examples), rng.normal(size=(6, examples))
    waves = np.stack([np.sin((i + 1) * np.pi * alpha) for i in range(6)], axis=1) @ own
    noise = rng.normal(size=(len(alpha), examples))
    hump, half = np.sin(np.pi * alpha)[:, None] ** 2, (alpha > 0.5)[:, None] * 1.0
    top = ((alpha > 0.2) & (alpha < 0.8))[:, None] * 1.0
    scale, chance = 1.0 + rng.exponential(size=examples), rng.random(examples)
    tables = {
        "zero": (hardness + 0.2 * waves, 0.1 + 0 * hump, 0.95),
        "independent": (hardness + 0.3 * noise, 0.1 + 0 * hump, 0.0),
        "plateau": (hardness + top * (1 + 0.8 * own[0]) + 0.1 * noise, 0.1 + 0.6 * top, 0.8),
        "peak": (hardness + hump * scale + 0.1 * waves, 0.1 + 0.5 * hump, 0.8),
        "rare": (0.01 * hardness + hump * scale * (chance < 0.02), 0.001 + 0.01 * hump, 0.9),
        "still": (hardness + 0 * hump, 0.05 + 0 * hump, 1.0),
        "step": (hardness + 0.3 * half * own[0] ** 2, 0.1 + 0.1 * half, 0.9),
    }
    loss, share, common = tables[kind]
    keeps = rng.random(noise.shape) < common
    wrong = np.where(keeps, rng.random(examples), rng.random(noise.shape)) < share
    return OnExamples(alpha, loss, wrong.astype(np.float64))
