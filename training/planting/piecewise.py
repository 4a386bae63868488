"""Piecewise-linear functions as networks: straight lines between knots, a hidden unit for each.

References
----------
J. Fischer, R. Burkholz, "Plant 'n' Seek: Can You Find the Winning Ticket?", ICLR 2022, appendix;
signs and first outer weight by the authors' code.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from landscape.data_store.errors import UsageError
from landscape.data_store.params import Array

Function = Callable[[Array], Array]
Layer = tuple[Array, Array]  # weight and bias
Block = tuple[Array, Array, Array, Array]  # weight and bias of the units, outer weight and bias

# below this share of an output's largest weight a weight is rounding noise of an affine piece
_NOISE = 1e-9


def piecewise_linear(knots: Array, values: Array, signs: Array) -> Block:
    """One hidden layer that joins values at knots by straight lines.

    Hidden unit j is φ(p_j (x - s_j)). With slopes μ_j = (f_{j+1} - f_j) / (s_{j+1} - s_j), the
    outer weights are a_j = μ_j - μ_{j-1} for j >= 2 and a_1 = μ_1 + Σ_{j >= 2, p_j = -1} a_j, the
    outer bias is f_1 - Σ_j a_j φ(p_j (s_1 - s_j)). (The paper's appendix prints a_1 = μ_1, which
    holds only if no p_j is -1; the sum is from the authors' code.)

    Parameters
    ----------
    knots
        s (N,), increasing, at least two.
    values
        f (N + 1, outputs) at the knots and one more step beyond the last, as long as the first.
    signs
        p (N,), +1 or -1; the first is +1. Right of the first knot they do not change the function.

    Returns
    -------
    tuple
        Weights (N, 1) and biases (N,) of the units, outer weights (outputs, N), biases (outputs,).

    Raises `UsageError` for knots or signs that are not as above.
    """
    if len(knots) < 2 or not (np.diff(knots) > 0).all():
        raise UsageError(f"lines join two or more increasing knots, got {knots.tolist()!r:.80}")
    if signs[0] != 1 or not (np.abs(signs) == 1).all():
        raise UsageError(
            f"signs must be +1 or -1, the first +1, got {np.asarray(signs).tolist()!r:.80}"
        )
    slopes = np.diff(values, axis=0) / np.diff(extended(knots))[:, None]
    outer = np.diff(slopes, axis=0, prepend=0.0)
    outer[0] = slopes[0] + outer[signs == -1].sum(0)
    weight, bias = signs[:, None].astype(float), -signs * knots
    constant = values[0] - np.maximum(signs * (knots[0] - knots), 0) @ outer
    return weight, bias, outer.T.copy(), constant


def univariate_layers(
    function: Function,
    name: str,
    depth: int,
    span: tuple[float, float],
    count: int,
    *,
    clean: bool,
) -> tuple[Layer, ...]:
    """A unit that makes the variable positive, the block, and identities that keep it so.

    Parameters
    ----------
    function, name
        As of `function_values`.
    depth
        Layers of neurons, input and output included; at least 3. At 3 there is the block alone.
    span
        Range of the variable, the lower end first.
    count
        Equidistant knots on it, at least two.
    clean
        Make weights of less than 1e-9 of their output's largest one zero, and leave out units that
        no output reads.

    Raises `UsageError` for fewer than two knots, or as `function_values`.
    """
    require_knots(name, count, 2)
    low, high = span
    start = low if depth == 3 else 0.0
    knots = np.linspace(start, start + (high - low), count)
    values = function_values(function, name, extended(knots) + (low - start))
    block = piecewise_linear(knots, values, alternating(count))
    weight, bias, outer, constant = _cleaned(block) if clean else block
    if depth == 3:
        return (weight, bias), (outer, constant)
    # identities pass only what is not negative
    lift = 0.0 if depth == 4 else max(0.0, math.ceil(-values[:-1].min()))
    layers = [(np.ones((1, 1)), np.array([-low])), (weight, bias), (outer, constant + lift)]
    outputs = len(constant)
    layers += [(np.eye(outputs), np.zeros(outputs)) for _ in range(depth - 4)]
    return *layers[:-1], (layers[-1][0], layers[-1][1] - lift)


def function_values(function: Function, name: str, x: Array) -> Array:
    """A function's values at x (m,) as float64 (m, outputs).

    Raises `UsageError` if it fails, gives another shape than (m,) or (m, outputs), or a value that
    is not finite.
    """
    try:
        values = np.asarray(function(x), dtype=np.float64)
    except Exception as error:
        raise UsageError(
            f"the function {name} fails on an array of shape {x.shape}: {type(error).__name__}: "
            f"{str(error).splitlines()[0] if str(error) else ''}; write it with numpy, from (m,) "
            "to (m,) or (m, outputs)"
        ) from error
    if values.ndim not in (1, 2) or len(values) != len(x) or values.size == 0:
        raise UsageError(
            f"the function {name} gave shape {values.shape} for {len(x)} values; expected "
            f"({len(x)},) or ({len(x)}, outputs)"
        )
    values = values.reshape(len(x), -1)
    wrong = np.flatnonzero(~np.isfinite(values).all(1))
    if wrong.size:
        at, worst = x[wrong[0]], values[wrong[0]][~np.isfinite(values[wrong[0]])][0]
        raise UsageError(
            f"the function {name} is {worst} at x = {at:.4g}; it must be finite from "
            f"{x.min():.4g} to {x.max():.4g}"
        )
    return values


def require_knots(name: str, knots: int, least: int) -> None:
    """Refuse fewer knots than the construction has room for."""
    if knots < least:
        raise UsageError(f"the number of knots of {name} is {knots}; give at least {least}")


def extended(knots: Array) -> Array:
    """The knots and one more, a first step beyond the last."""
    return np.append(knots, knots[-1] + (knots[1] - knots[0]))


def alternating(count: int) -> Array:
    """Signs +1, -1, +1, …"""
    return np.where(np.arange(count) % 2 == 0, 1.0, -1.0)


def _cleaned(block: Block) -> Block:
    """The block without rounding noise in its outer weights, and without units nobody reads."""
    weight, bias, outer, constant = block
    kept = np.abs(outer) > _NOISE * np.abs(outer).max(1, keepdims=True)
    outer = np.where(kept, outer, 0.0)
    read = kept.any(0)
    read[0] |= not read.any()  # a layer has at least one unit
    return weight[read], bias[read], outer[:, read], constant
