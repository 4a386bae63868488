"""The barrier on a curve between two checkpoints that was trained to have none."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from landscape.analysis.barrier_error import Sample, bounds
from landscape.analysis.grouping import ALL_PAIRS, SUCCESSIVE
from landscape.analysis.heights import heights
from landscape.analysis.landscape import Landscape
from landscape.analysis.line import MEASURES, Line, moves
from landscape.analysis.pairs import pair_coordinates, require_same_spec
from landscape.analysis.paths import bezier as curve
from landscape.analysis.paths import grid
from landscape.analysis.registry import Analysis
from landscape.analysis.work import AtOnce, Work
from landscape.data_store.params import Array
from landscape.data_store.records import Checkpoint
from landscape.data_store.schemas.barrier import DEFINITIONS
from landscape.data_store.schemas.bezier import BEZIER
from landscape.data_store.settings import check, option

_STEPS_PER_BLOCK, _MOST_BLOCKS = 100, 20
_DECAYS, _FLOOR = (0.9, 0.999), 1e-8


@dataclass(frozen=True)
class BezierSettings:
    """How a curve is trained and sampled; the fields are options of ``landscape bezier``."""

    points: int = option(25, "evaluated positions on each path, both ends included", min=3)
    splits: tuple[str, ...] = option(
        ("train", "test"), "splits of the data to evaluate on", each_once="train,test"
    )
    bn: str = option(
        "interpolate",
        "normalisation statistics between the ends, in training and evaluation; recompute is "
        "better and makes each step as long as 5 000 examples",
        choices=("interpolate", "recompute", "first"),
    )
    pairs: str = option("successive", "between which checkpoints", choices=("successive", "all"))
    steps: int = option(2_000, "training steps of the control point", min=0)
    batch: int = option(128, "training examples per step", min=1)
    lr: float = option(1e-3, "learning rate of Adam at the start, falling to 0", above=0)
    measure: str = option("error", "what the verdict is about", choices=MEASURES)
    threshold: float = option(
        0.02, "from which barrier (lmc) on a path is not free, as a fraction or in nats", above=0
    )
    seed: int = option(0, "of parameters, minibatches and intervals", min=0)

    def __post_init__(self) -> None:
        check(self)


def bezier(
    a: Checkpoint,
    b: Checkpoint,
    landscape: Landscape,
    settings: BezierSettings | None = None,
    work: Work | None = None,
) -> xr.Dataset:
    """Loss, error and barriers on a trained curve from `a` to `b`, and on the line beside it.

    ``theta(t) = (1 - t)^2 theta_a + 2 t (1 - t) c + t^2 theta_b``. The control point c starts half
    way, where the curve is the line, and is trained to lower the mean loss over the curve:
    `trained`. A barrier on the line says that the line leaves the valley; one on the curve too,
    that no such curve through the valley was found.

    Parameters
    ----------
    a, b
        Checkpoints of one network.
    landscape
        Asked for gradients on the split ``train`` and for the losses of examples on both paths.
    settings
        The options.
    work
        Computes blocks of training steps, then one block per split.

    Returns
    -------
    xarray.Dataset
        The schema ``bezier`` with one pair. Definitions of barriers are those of `heights`, their
        intervals those of `bounds`; those of the line begin with ``line_``. `verdict` says which
        path is free. ``bend`` is ``||c - (theta_a + theta_b) / 2|| / ||theta_b - theta_a||``.

        The control point moves within the union of both masks: what is pruned in both ends stays
        +0.0 on the whole curve. Its statistics of BatchNorm are half way between the ends', so
        that under ``bn=interpolate`` they go the straight way; ``bn=recompute`` uses those that
        the data have on the curve.

        Status 1, and NaN barriers, where a loss on one of the paths is not finite.

    Raises
    ------
    LandscapeError
        If the checkpoints are of different architectures.
    UsageError
        If there is no split ``train``.

    Notes
    -----
    Cost: ``steps`` gradients of ``batch`` examples and ``2 points`` evaluations per split.
    Garipov et al. (2018), Loss surfaces, mode connectivity, and fast ensembling of DNNs,
    sections 3 and 4; Draxler et al. (2018).
    """
    settings, work = settings or BezierSettings(), work or AtOnce()
    require_same_spec(a, b)
    swap = settings.bn != "first" and b.digest < a.digest
    ends = np.stack([b.point, a.point] if swap else [a.point, b.point])
    kept = np.zeros(ends.shape[1], dtype=np.bool_)
    kept[: a.spec.size] = a.mask.kept | b.mask.kept
    work.expect(len(_blocks(settings.steps)) + len(settings.splits))
    control = trained(landscape, ends, kept, settings, work)
    anchors = np.stack([ends[0], control, ends[1]])
    columns = [
        work.block(f"split {split}", partial(_measured, landscape, anchors, split, settings, swap))
        for split in settings.splits
    ]
    coords: dict[str, Any] = {
        **pair_coordinates(a, b),
        "split": list(settings.splits),
        "t": grid(settings.points),
        "definition": list(DEFINITIONS),
    }
    variables = {name: np.array([column[name] for column in columns])[None] for name in columns[0]}
    variables["verdict"] = np.array([[_verdict(column, settings) for column in columns]])
    shape = _shape(anchors[:, : a.spec.size].astype(np.float64))
    return BEZIER.build(coords, variables | {name: [value] for name, value in shape.items()})


def trained(
    landscape: Landscape, ends: Array, kept: Array, settings: BezierSettings, work: Work
) -> Array:
    """The control point (n,) of a curve between `ends` (2, n) of low mean loss.

    Minimises ``E_t[L(theta(t))]``, t uniform on [0, 1], by Adam: each step draws one t and a
    minibatch and goes along ``2 t (1 - t) grad L(theta(t))`` on the coordinates `kept`. The
    learning rate falls to 0 by half a cosine. Draws of step k are those of ``[seed, k]``, so
    that an interrupted training goes on as it would have.

    The start is a point of symmetry: a landscape that is the same on both sides of the line
    gives no reason to leave it, and the curve stays there.
    """
    middle: Array = ends.astype(np.float64).mean(axis=0).astype(ends.dtype)
    state = {"control": middle, "mean": np.zeros_like(middle), "square": np.zeros_like(middle)}
    for steps in _blocks(settings.steps):
        name = f"steps {steps.start} to {steps.stop}"
        state = work.block(name, partial(_advanced, landscape, ends, kept, settings, steps, state))
    control: Array = state["control"]
    return control


def _blocks(steps: int) -> list[range]:
    """Training steps in blocks of 100, or twenty blocks where these would be more."""
    size = max(_STEPS_PER_BLOCK, math.ceil(steps / _MOST_BLOCKS))
    return [range(first, min(first + size, steps)) for first in range(0, steps, size)]


def _advanced(
    landscape: Landscape,
    ends: Array,
    kept: Array,
    settings: BezierSettings,
    steps: range,
    state: Mapping[str, Array],
) -> dict[str, Array]:
    """The state of training after some more steps, in the dtype of the points."""
    control, mean, square = (
        state[name].astype(np.float64) for name in ("control", "mean", "square")
    )
    for step in steps:
        slope = _slope(landscape, ends, control, step, settings)
        slope = np.where(kept, slope, 0.0)
        mean += (1.0 - _DECAYS[0]) * (slope - mean)
        square += (1.0 - _DECAYS[1]) * (slope**2 - square)
        corrected = mean / (1.0 - _DECAYS[0] ** (step + 1))
        width = np.sqrt(square / (1.0 - _DECAYS[1] ** (step + 1))) + _FLOOR
        rate = settings.lr * (1.0 + math.cos(math.pi * step / settings.steps)) / 2.0
        control -= rate * corrected / width
    found = {"control": control, "mean": mean, "square": square}
    return {name: values.astype(ends.dtype) for name, values in found.items()}


def _slope(
    landscape: Landscape, ends: Array, control: Array, step: int, settings: BezierSettings
) -> Array:
    """Gradient by the control point of the loss of a minibatch at a random t: (n,)."""
    rng = np.random.default_rng([settings.seed, step])
    t = rng.random()
    examples = landscape.examples("train")
    batch = min(settings.batch, examples)
    places = np.sort(rng.choice(examples, batch, replace=False)) if batch < examples else None
    start, middle, end = curve(np.array([t]))[0]
    theta = start * ends[0].astype(np.float64) + middle * control + end * ends[1]
    gradient = landscape.gradient(theta.astype(ends.dtype), split="train", places=places)
    slope: Array = middle * gradient
    return slope


def verdict(line: tuple[float, float], path: tuple[float, float], threshold: float) -> str:
    """Which path is free, from the 95 % intervals of the barriers (``lmc``) on line and curve.

    A path is free if its whole interval is below the threshold and has a barrier if none of it
    is: ``line is free``; ``curve is free`` where the line has a barrier; ``no free path found``
    where both have one; ``undecided`` where an interval holds the threshold or is unknown. That
    none was found does not prove that there is none: more steps may find one.

    >>> verdict((0.2, 0.3), (0.0, 0.01), 0.02)
    'curve is free'
    """
    free = [high < threshold for _, high in (line, path)]
    blocked = [low >= threshold for low, _ in (line, path)]
    if free[0]:
        return "line is free"
    if blocked[0] and free[1]:
        return "curve is free"
    return "no free path found" if all(blocked) else "undecided"


def _verdict(column: Mapping[str, Array], settings: BezierSettings) -> str:
    """The verdict of one split."""
    names = (f"{prefix}{settings.measure}_barrier" for prefix in ("line_", ""))
    line, path = (
        (float(column[f"{name}_low"][0]), float(column[f"{name}_high"][0])) for name in names
    )
    return verdict(line, path, settings.threshold)


def _measured(
    landscape: Landscape, anchors: Array, split: str, settings: BezierSettings, swap: bool
) -> dict[str, Array]:
    """The numbers of one split on the curve and on the line."""
    t = grid(settings.points)
    on_curve = Line.walk(landscape, anchors, t, split, path=curve)
    on_line = Line.walk(landscape, anchors[[0, 2]], t, split)
    column: dict[str, Any] = {"examples": on_line.examples}
    for prefix, walked in (("line_", on_line), ("", on_curve)):
        column |= _numbers(walked, prefix, swap)
        for measure, values in walked.measures.items():
            sample = Sample(None, measure == "error" and moves(anchors), seed=settings.seed)
            known = bounds(walked.alpha, values, sample)
            for name in ("se", "low", "high"):
                column[f"{prefix}{measure}_barrier_{name}"] = getattr(known, name)
    paths = np.stack([walked.curves["loss"] for walked in (on_line, on_curve)])
    column["status"] = not np.isfinite(paths).all()
    return {name: np.asarray(values) for name, values in column.items()}


def _numbers(walked: Line, prefix: str, swap: bool) -> dict[str, Array]:
    """Means and barriers of one path, from the first checkpoint to the second."""
    direction = slice(None, None, -1 if swap else 1)
    numbers = {f"{prefix}{name}": values[direction] for name, values in walked.curves.items()}
    for measure in MEASURES:
        found = heights(walked.alpha, walked.curves[measure])
        numbers[f"{prefix}{measure}_barrier"] = found[:, 0]
        if not prefix:
            numbers[f"{measure}_t_at_max"] = 1.0 - found[:, 1] if swap else found[:, 1]
    return numbers


def _shape(anchors: Array) -> dict[str, float]:
    """Length and bend of a curve over three anchors, and the distance of its ends.

    The length by Gauss's rule: exact to a few digits more than the loss has, but for a cusp.
    """
    start, control, end = anchors
    apart = float(np.linalg.norm(end - start))
    sides = np.stack([control - start, end - control])
    products = sides @ sides.T
    nodes, weights = np.polynomial.legendre.leggauss(64)
    shares = np.stack([1.0 - nodes, 1.0 + nodes], axis=1)  # twice (1 - t, t)
    speeds = np.sqrt(np.maximum(np.einsum("ki,ij,kj->k", shares, products, shares), 0.0))
    bend = float(np.linalg.norm(control - (start + end) / 2.0))
    return {
        "distance": apart,
        "length": float(weights @ speeds) / 2.0,
        "bend": bend / apart if apart > 0.0 else math.nan,
    }


def _cost(settings: BezierSettings, examples: Mapping[str, int], _checkpoints: int) -> float:
    """About how many forward passes of an example a pair takes."""
    measured = 2 * settings.points * sum(examples.get(split, 0) for split in settings.splits)
    return float(measured + 3 * settings.steps * min(settings.batch, examples.get("train", 0)))


ANALYSIS = Analysis(
    schema=BEZIER,
    settings=BezierSettings,
    compute=lambda points, settings, landscape, work: bezier(
        points[0], points[1], landscape, settings, work
    ),
    grouping=lambda settings: ALL_PAIRS if settings.pairs == "all" else SUCCESSIVE,
    cost=_cost,
    uses_loss=True,
    measures=("line_loss_barrier", "loss_barrier", "line_error_barrier", "error_barrier"),
)
