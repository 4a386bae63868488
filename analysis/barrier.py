"""The barrier on the straight line between two checkpoints."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from landscape.analysis.barrier_error import Bounds, Sample, bounds
from landscape.analysis.ends import aligned, distances, projected, repaired
from landscape.analysis.grouping import ALL_PAIRS, SUCCESSIVE
from landscape.analysis.heights import heights
from landscape.analysis.landscape import Landscape
from landscape.analysis.line import MEASURES, Line, moves, refined
from landscape.analysis.pairs import pair_coordinates, require_same_spec
from landscape.analysis.paths import grid
from landscape.analysis.registry import Analysis
from landscape.analysis.sampled_line import FIRST, Tolerance, sampled
from landscape.analysis.work import AtOnce, Work
from landscape.data_store.errors import UsageError
from landscape.data_store.params import Array
from landscape.data_store.records import Checkpoint
from landscape.data_store.schemas.barrier import BARRIER, DEFINITIONS
from landscape.data_store.settings import check, option

UNSTABLE = 0.02
_OK, _NOT_FINITE, _NOT_CONVERGED = 0, 1, 2
_REFINED = ("refined_alpha", "refined_loss", "refined_error")


@dataclass(frozen=True)
class BarrierSettings:
    """How a line is sampled; the fields are options of ``landscape barrier``."""

    points: int = option(25, "evaluated positions on each line, both ends included", min=3)
    splits: tuple[str, ...] = option(
        ("train", "test"), "splits of the data to evaluate on", each_once="train,test"
    )
    refine: bool = option(False, "add points around each maximum until it stops moving")
    tolerance: float = option(
        1e-3, "with --refine: what counts as moving, in nats per example or as a fraction", above=0
    )
    bn: str = option(
        "interpolate",
        "normalisation statistics between the ends",
        choices=("interpolate", "recompute", "first"),
    )
    pairs: str = option(
        "successive", "between which checkpoints", choices=("successive", "all"), groups=True
    )
    project: bool = option(
        False, "stay in the subspace of the weights that both masks keep", since=(1, 1)
    )
    align: str = option(
        "none",
        "put the units of one network in the order that is most like the other's first",
        choices=("none", "weights", "activations"),
        since=(1, 1),
    )
    repair: bool = option(
        False, "set the statistics of all units between the ends (REPAIR)", since=(1, 1)
    )
    tol: float | None = option(
        None,
        "evaluate only as many random examples and positions as make the 95 % half-width of "
        "every barrier at most this, in nats per example or as a fraction",
        above=0,
        since=(1, 1),
    )
    seed: int = option(
        0, "of the examples --tol takes, of intervals, of --align", min=0, since=(1, 1)
    )

    def __post_init__(self) -> None:
        check(self)
        if self.refine and self.tol is not None:
            raise UsageError(
                f"refine adds positions and tol ({self.tol:g}) leaves some out; give one of them, "
                "or more points with tol"
            )


def barrier(
    a: Checkpoint,
    b: Checkpoint,
    landscape: Landscape,
    settings: BarrierSettings | None = None,
    work: Work | None = None,
) -> xr.Dataset:
    """Loss, error and barriers on the line from `a` to `b`; schema ``barrier``.

    ``theta(alpha) = (1 - alpha) theta_a + alpha theta_b``, evaluated on whole splits, or with
    ``tol`` on as much of them as `sampled` needs. Checkpoints of different density are joined as
    the dense tensors they are; with ``project`` both are first set to 0 outside the weights that
    both masks keep (`projected`). With ``align`` the units of one end are first put in the order
    of the other's; with ``repair`` the statistics of the units between them are set.

    The ends are the checkpoints' own losses exactly, whole splits provided and nothing projected.
    Exchanging `a` and `b` gives the same numbers, bit for bit, mirrored in alpha (but under
    ``bn=first``, which asks otherwise).

    Parameters
    ----------
    a, b
        Checkpoints of one network.
    landscape
        Asked for the losses of examples on the line.
    settings
        The options.
    work
        Computes one block per split.

    Returns
    -------
    xarray.Dataset
        The schema ``barrier`` with one pair. `heights` has the definitions, `bounds` what
        ``*_barrier_se``, ``*_barrier_low`` and ``*_barrier_high`` are: how well the examples used
        tell the barrier of the population they are drawn from, also where they are all examples
        of the split. ``*_barrier_split_low`` and ``_high``, with ``tol``, are about the whole
        split. `stability` is ``stable``; `distances` are those of the ends of the line.

        A line with a non-finite loss has NaN barriers and status 1; one whose refinement did
        not come to rest has status 2.

    Raises
    ------
    LandscapeError
        If the checkpoints are of different architectures.
    UsageError
        If the landscape cannot align or repair.

    Notes
    -----
    Cost: ``points`` evaluations per split, and those of `refined`; with ``tol`` those of
    `sampled`. 16 bytes of memory per position and example.
    Source: Frankle et al. (2020), section 2, for the protocol and the rule of 2 %.
    """
    settings, work = settings or BarrierSettings(), work or AtOnce()
    require_same_spec(a, b)
    swap = settings.bn != "first" and b.digest < a.digest
    first, second = (b, a) if swap else (a, b)
    if settings.align != "none":
        second = aligned(landscape, first, second, settings.align, settings.seed)
    if settings.project:
        first, second = projected(first, second)
    if settings.repair:
        landscape = repaired(landscape, first, second)
    ends = np.stack([first.point, second.point])
    work.expect(len(settings.splits))
    measured = _measured if settings.tol is None else _sampled
    columns = [
        work.block(split, partial(measured, landscape, ends, split, settings, swap))
        for split in settings.splits
    ]
    return _dataset(a, b, settings, columns, distances(first, second))


def stability(low: float, high: float) -> float:
    """1 if the pair is stable, 0 if not, NaN if the interval of its error barrier leaves it open.

    Stable means an error barrier (``lmc``) below 2 %, where both ends are copies trained from one
    point with different SGD noise and the line has 30 evenly spaced positions: Frankle et al.
    (2020), section 2, whose word for this barrier is instability.

    >>> stability(0.003, 0.011), stability(0.19, 0.23), stability(0.015, 0.024)
    (1.0, 0.0, nan)
    """
    if high < UNSTABLE:
        return 1.0
    return 0.0 if low >= UNSTABLE else math.nan


def _measured(
    landscape: Landscape, ends: Array, split: str, settings: BarrierSettings, swap: bool
) -> dict[str, Array]:
    """The numbers of one split on all its examples."""
    alpha = grid(settings.points)
    coarse = Line.walk(landscape, ends, alpha, split)
    fine, at_rest = coarse, True
    if settings.refine and np.isfinite(coarse.curves["loss"]).all():
        fine, at_rest = refined(landscape, ends, coarse, split, settings.tolerance)
    column: dict[str, Any] = {"status": _status(fine, at_rest), "examples": fine.examples}
    column |= _heights(fine, swap)
    for measure, values in fine.measures.items():
        sample = Sample(None, measure == "error" and moves(ends), seed=settings.seed)
        column |= _limits(measure, bounds(fine.alpha, values, sample))
    walked = fine.reversed() if swap else fine
    on_grid = np.isin(walked.alpha, alpha)
    added = walked.at(~on_grid)
    column |= walked.at(on_grid).curves
    column |= {
        "refined_alpha": added.alpha,
        "refined_loss": added.curves["loss"],
        "refined_error": added.curves["error"],
    }
    return _with_verdict(column)


def _sampled(
    landscape: Landscape, ends: Array, split: str, settings: BarrierSettings, swap: bool
) -> dict[str, Array]:
    """The numbers of one split on as many of its examples as the tolerance needs."""
    assert settings.tol is not None
    tolerance = Tolerance(settings.tol, settings.seed)
    found = sampled(landscape, ends, grid(settings.points), split, tolerance)
    direction = slice(None, None, -1 if swap else 1)
    column: dict[str, Any] = {
        "status": _status(found.line),
        "examples": found.line.examples,
        "examples_at": found.examples[direction],
        "sampling_status": found.line.examples == landscape.examples(split),
        **_heights(found.line, swap),
        **{name: values[direction] for name, values in found.curves.items()},
    }
    for measure in MEASURES:
        column |= _limits(measure, found.population[measure])
        column[f"{measure}_barrier_split_low"] = found.split[measure].low
        column[f"{measure}_barrier_split_high"] = found.split[measure].high
    return _with_verdict(column)


def _status(walked: Line, at_rest: bool = True) -> int:
    """What the numbers of a line are worth."""
    if not np.isfinite(walked.curves["loss"]).all():
        return _NOT_FINITE
    return _OK if at_rest else _NOT_CONVERGED


def _heights(walked: Line, swap: bool) -> dict[str, Array]:
    """Barriers and their positions, both measures."""
    column = {}
    for measure in MEASURES:
        found = heights(walked.alpha, walked.curves[measure])
        column[f"{measure}_barrier"] = found[:, 0]
        column[f"{measure}_alpha_at_max"] = 1.0 - found[:, 1] if swap else found[:, 1]
    return column


def _limits(measure: str, known: Bounds) -> dict[str, Array]:
    """Standard error and interval of one measure's barriers."""
    name = f"{measure}_barrier"
    return {f"{name}_se": known.se, f"{name}_low": known.low, f"{name}_high": known.high}


def _with_verdict(column: Mapping[str, Any]) -> dict[str, Array]:
    """The numbers of a split with what they say about stability."""
    limits = (float(column[f"error_barrier_{side}"][0]) for side in ("low", "high"))
    whole = {**column, "stable": stability(*limits)}
    return {name: np.asarray(values) for name, values in whole.items()}


def _dataset(
    a: Checkpoint,
    b: Checkpoint,
    settings: BarrierSettings,
    columns: Sequence[dict[str, Array]],
    apart: Mapping[str, float],
) -> xr.Dataset:
    """The labelled result of one pair."""
    coords: dict[str, Any] = {
        **pair_coordinates(a, b),
        "split": list(settings.splits),
        "alpha": grid(settings.points),
        "definition": list(DEFINITIONS),
    }
    if settings.refine:
        longest = max(len(column["refined_alpha"]) for column in columns)
        coords["refinement"] = np.arange(longest)
        columns = [_padded(column, longest) for column in columns]
    names = [name for name in columns[0] if settings.refine or name not in _REFINED]
    variables = {name: np.array([column[name] for column in columns])[None] for name in names}
    return BARRIER.build(coords, variables | {name: [value] for name, value in apart.items()})


def _padded(column: dict[str, Array], length: int) -> dict[str, Array]:
    """A column with its added points filled up with NaN."""
    missing = (0, length - len(column["refined_alpha"]))
    return column | {
        name: np.pad(column[name], missing, constant_values=np.nan) for name in _REFINED
    }


def _cost(settings: BarrierSettings, examples: Mapping[str, int], _checkpoints: int) -> float:
    """About how many forward passes of an example a pair takes."""
    passes = 0.0
    for split in settings.splits:
        whole = examples.get(split, 0)
        first = whole if settings.tol is None else min(FIRST, whole)
        passes += settings.points * first + (whole - first)
    return passes


ANALYSIS = Analysis(
    schema=BARRIER,
    settings=BarrierSettings,
    compute=lambda points, settings, landscape, work: barrier(
        points[0], points[1], landscape, settings, work
    ),
    grouping=lambda settings: ALL_PAIRS if settings.pairs == "all" else SUCCESSIVE,
    cost=_cost,
    uses_loss=True,
    measures=("loss_barrier", "error_barrier", "examples", "stable"),
)
