"""Target: a small sparse network that is known to compute a function, the ticket to plant.

Three of Fischer & Burkholz (2022): `relu` on a line, the classes of `circle` in the plane, and
`helix`, three outputs of one variable; and any function of one variable. A depth counts layers of
neurons, input and output included, so a ticket of depth d has d - 1 weight matrices.

References
----------
J. Fischer, R. Burkholz, "Plant 'n' Seek: Can You Find the Winning Ticket?", ICLR 2022, section 4
and appendix; sizes by the construction of the authors' code.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from landscape.data_store.errors import UsageError, unknown
from landscape.data_store.params import Array
from landscape.training.planting.piecewise import (
    Block,
    Function,
    Layer,
    alternating,
    extended,
    piecewise_linear,
    require_knots,
    univariate_layers,
)

NAMES = ("relu", "circle", "helix", "helix-released")

_LOGIT_SLOPES = np.array([5.0, 10.0, 20.0, 40.0])
_LOGIT_OFFSETS = np.array([0.0, -1.0, -6.0, -20.0])
_LAST_BOUNDARY = 0.7  # of x₁² + x₂²: classes change at 0.2, 0.5 and 0.7


@dataclass(frozen=True, eq=False)
class Target:
    """A network of linear layers with ReLU between them, the last layer linear.

    Parameters
    ----------
    name
        What it computes.
    layers
        Pairs of weight (out, in) and bias (out,), float64, from the input on. A parameter that is
        not zero is part of the ticket.

    Examples
    --------
    >>> import numpy as np
    >>> ticket = target("circle", 5)
    >>> ticket.widths, ticket.kept, round(ticket.density(100), 5)
    ((2, 4, 2, 20, 4), 108, 0.00524)
    >>> int(ticket(np.array([[0.1, 0.2]])).argmax())
    0
    """

    name: str
    layers: tuple[Layer, ...]

    def __post_init__(self) -> None:
        for array in (array for layer in self.layers for array in layer):
            array.setflags(write=False)

    @property
    def depth(self) -> int:
        """Layers of neurons, input and output included."""
        return len(self.layers) + 1

    @property
    def widths(self) -> tuple[int, ...]:
        """Neurons of every layer, input and output included."""
        return (self.layers[0][0].shape[1], *(len(bias) for _, bias in self.layers))

    @property
    def hidden_widths(self) -> tuple[int, ...]:
        """Neurons of the hidden layers."""
        return self.widths[1:-1]

    @property
    def kept(self) -> int:
        """Number of weights that are not zero; biases do not count."""
        return sum(int(np.count_nonzero(weight)) for weight, _ in self.layers)

    @property
    def kept_biases(self) -> int:
        """Number of biases that are not zero."""
        return sum(int(np.count_nonzero(bias)) for _, bias in self.layers)

    def density(self, width: int) -> float:
        """`kept` over the weights of a dense network of this depth, all hidden layers `width` wide.

        Raises `UsageError` if the ticket does not fit into it.
        """
        if width < max(self.hidden_widths):
            raise UsageError(
                f"the ticket {self.name} of depth {self.depth} has a layer of "
                f"{max(self.hidden_widths)} units, width is {width}; give at least that many"
            )
        widths = [self.widths[0], *[width] * (self.depth - 2), self.widths[-1]]
        dense = sum(a * b for a, b in pairwise(widths))
        return self.kept / dense

    def __call__(self, x: Array) -> Array:
        """Outputs (m, out) at inputs (m, in)."""
        for weight, bias in self.layers[:-1]:
            x = np.maximum(x @ weight.T + bias, 0)
        weight, bias = self.layers[-1]
        return np.asarray(x @ weight.T + bias)


def relu(x: Array) -> Array:
    """max(x, 0), elementwise."""
    return np.maximum(x, 0)


def helix(x: Array) -> Array:
    """(y cos y, y sin y, y) / 8π at y = 5π + 3πx: x (m,) -> (m, 3), within [-1, 1] for |x| <= 1."""
    y = 5 * np.pi + 3 * np.pi * x
    return np.stack([y * np.cos(y), y * np.sin(y), y], 1) / (8 * np.pi)


def circle_logits(x: Array) -> Array:
    """(5g, 10g - 1, 20g - 6, 40g - 20) at g = x₁² + x₂²: x (m, 2) -> (m, 4).

    The largest one changes at g = 0.2, 0.5 and 0.7.
    """
    return np.asarray(np.square(x).sum(1)[:, None] * _LOGIT_SLOPES + _LOGIT_OFFSETS)


def target(name: str, depth: int, *, knots: int | None = None) -> Target:
    """The ticket of a function of the paper at a depth.

    Parameters
    ----------
    name
        ``relu`` (a path of weights 1), ``circle``, ``helix``, or ``helix-released``: the helix as
        the authors' code counts it, where rounding noise of about 1e-16 in the weights of the
        affine third output is part of the ticket.
    depth
        Layers of neurons, input and output included; at least 3.
    knots
        Of the piecewise-linear pieces: for a helix in all, 30 if None; for a circle per coordinate,
        10 if None. From depth 6 on the two coordinates of a circle share twice as many.

    Returns
    -------
    Target
        Exact for relu. Circle: accuracy 0.960, 0.990, 0.990, 0.987, 0.998 at depths 3, 4, 5, 6, 10;
        helix: mean squared error 2.16e-4 (x uniform on [-1, 1], default knots).

    Raises `UsageError` for an unknown name, a depth below 3, too few knots, or knots of relu.

    Examples
    --------
    >>> [target("relu", depth).kept for depth in (3, 5)]
    [2, 4]
    >>> [target(name, 5).kept for name in ("helix", "helix-released")]
    [95, 120]
    """
    if name not in NAMES:
        raise unknown("target", name, NAMES)
    _require_depth(name, depth)
    if name == "relu":
        if knots is not None:
            raise UsageError(f"target relu has no knots, got {knots}; leave knots out")
        return Target(name, tuple((np.ones((1, 1)), np.zeros(1)) for _ in range(depth - 1)))
    if name == "circle":
        return Target(name, _circle_layers(depth, 10 if knots is None else knots))
    count = 30 if knots is None else knots
    clean = name == "helix"
    return Target(name, univariate_layers(helix, name, depth, (-1.0, 1.0), count, clean=clean))


def univariate(
    function: Function,
    name: str,
    depth: int,
    *,
    low: float = -1.0,
    high: float = 1.0,
    knots: int = 30,
) -> Target:
    """The ticket of any function of one variable: it joins equidistant knots by straight lines.

    Weights of less than 1e-9 of their output's largest one are rounding noise and become zero, and
    a hidden unit that no output reads is left out; a function that is affine between some knots
    has fewer units than knots.

    Parameters
    ----------
    function
        From values (m,) to (m,) or (m, outputs), written with numpy. It is also evaluated one
        distance of knots above `high`, for the slope behind the last knot.
    name
        For printing and errors.
    depth
        Layers of neurons, input and output included; at least 3. Depth 3 is the piecewise-linear
        block, 4 has a unit φ(x - low) before it, each further one adds a layer of identities.
    low, high
        Range of the variable; below `low` the ticket says nothing about the function.
    knots
        Number of knots on [low, high], at least 2.

    Returns
    -------
    Target
        Equal to the function at the knots up to rounding, within max |f''| (Δ²/8) between them.

    Raises `UsageError` for a depth below 3, fewer than two knots, an empty range, or a function
    that fails, gives another shape, or is not finite.

    Examples
    --------
    >>> import numpy as np
    >>> square = univariate(np.square, "square", 5, knots=11)
    >>> square.widths
    (1, 1, 11, 1, 1)
    >>> round(float(square(np.array([[0.6]]))[0, 0]), 12)
    0.36
    """
    _require_depth(name, depth)
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise UsageError(f"the range of {name} is {low} to {high}; give finite numbers, low < high")
    return Target(name, univariate_layers(function, name, depth, (low, high), knots, clean=True))


def _require_depth(name: str, depth: int) -> None:
    """Refuse a network without a hidden layer."""
    if depth < 3:
        raise UsageError(
            f"the depth of {name} is {depth}; give at least 3, input and output layer included"
        )


def _circle_layers(depth: int, count: int) -> tuple[Layer, ...]:
    """Fold the plane into a narrow sector, square two coordinates, add them up for each class."""
    require_knots("circle", count, 3)
    square = [_square_block((-1.0 if depth == 3 else 0.0, 1.0), count, depth)] * 2
    if depth == 3:
        return _side_by_side(square, [(0,), (1,)])
    split = np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1]])
    layers: list[Layer] = [(split, np.zeros(4))]
    if depth == 4:
        return *layers, *_side_by_side(square, [(0, 1), (2, 3)])
    layers.append((np.array([[1.0, 1, 0, 0], [0, 0, 1, 1]]), np.zeros(2)))
    if depth == 5:
        return *layers, *_side_by_side(square, [(0,), (1,)])
    mirrors, angle = _mirrors(depth - 5)
    # the part along the axis spans [0, √2]; that across it shrinks with the angle, and counts only
    # as far as the last class boundary
    along, across = math.sqrt(2), math.sin(angle) * math.sqrt(_LAST_BOUNDARY) + 0.01
    n_along = min(math.ceil(along / (along + across) * 2 * count), 2 * count - 3)
    blocks = [
        _square_block((0.0, along), n_along, depth),
        _square_block((0.0, across), 2 * count - n_along, depth),
    ]
    return *layers, *mirrors, *_side_by_side(blocks, [(0,), (1, 2)])


def _mirrors(count: int) -> tuple[list[Layer], float]:
    """Layers of three units that fold a sector at its middle axis, and the last axis' angle.

    Of a point seen along the axis and across it, the next layer sees the mirrored one, its part
    across being the sum of the units φ(u) and φ(-u).
    """
    layers: list[Layer] = []
    point, angle = np.eye(2), math.pi / 2
    for _ in range(count):
        angle /= 2
        c, s = math.cos(angle), math.sin(angle)
        layers.append((np.array([[c, s], [s, -c], [-s, c]]) @ point, np.zeros(3)))
        point = np.array([[c, s, s], [s, -c, -c]])
    return layers, angle


def _square_block(span: tuple[float, float], count: int, depth: int) -> Block:
    """x² by straight lines; the last sign as the authors set it, -1 up to depth 4 and then +1."""
    knots, signs = np.linspace(*span, count), alternating(count)
    signs[-1] = -1 if depth <= 4 else 1
    return piecewise_linear(knots, np.square(extended(knots))[:, None], signs)


def _side_by_side(blocks: Sequence[Block], reads: Sequence[tuple[int, ...]]) -> tuple[Layer, Layer]:
    """Blocks that each read the sum of some inputs, and the classes' logits of their sum."""
    weight = np.zeros((sum(len(block[1]) for block in blocks), 1 + max(map(max, reads))))
    start = 0
    for (inner, *_), places in zip(blocks, reads, strict=True):
        weight[start : start + len(inner), places] = inner
        start += len(inner)
    outer = np.concatenate([block[2][0] for block in blocks])
    constant = sum(float(block[3][0]) for block in blocks)
    hidden = weight, np.concatenate([block[1] for block in blocks])
    return hidden, (np.outer(_LOGIT_SLOPES, outer), _LOGIT_SLOPES * constant + _LOGIT_OFFSETS)
