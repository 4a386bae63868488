"""The barrier on the straight line between two checkpoints."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from landscape.analysis.grouping import SUCCESSIVE
from landscape.analysis.landscape import Landscape
from landscape.analysis.pairs import pair_coordinates, require_same_spec
from landscape.analysis.paths import grid, line
from landscape.analysis.registry import Analysis
from landscape.data_store.errors import UsageError
from landscape.data_store.params import Array
from landscape.data_store.records import Checkpoint
from landscape.data_store.schemas.barrier import BARRIER, DEFINITIONS
from landscape.data_store.settings import check, option

_OK, _NOT_FINITE, _NOT_CONVERGED = 0, 1, 2
_MOST_ROUNDS = 40
_CURVES = ("loss", "loss_se", "error", "error_se")


@dataclass(frozen=True)
class BarrierSettings:
    """How a line is sampled; the fields are options of ``landscape barrier``."""

    points: int = option(25, "evaluated positions on each line, both ends included", min=3)
    splits: tuple[str, ...] = option(("train", "test"), "splits of the data to evaluate on")
    refine: bool = option(False, "add points around each maximum until it stops moving")
    tolerance: float = option(
        1e-3, "with --refine: what counts as moving, in nats per example or as a fraction", above=0
    )
    bn: str = option(
        "interpolate",
        "normalisation statistics between the ends",
        choices=("interpolate", "recompute", "first"),
    )

    def __post_init__(self) -> None:
        check(self)
        if not self.splits or len(set(self.splits)) < len(self.splits):
            raise UsageError(
                f"splits is {self.splits}; name one or more, each once, as in train,test"
            )


@dataclass(frozen=True, eq=False)
class Line:
    """Loss and error along one line.

    Parameters
    ----------
    alpha
        Increasing positions (k,), 0 and 1 among them.
    curves
        Values (k,) of ``loss``, ``loss_se``, ``error`` and ``error_se``.
    """

    alpha: Array
    curves: dict[str, Array]

    @classmethod
    def walk(cls, landscape: Landscape, ends: Array, alpha: Array, split: str) -> Line:
        """Evaluate the line between the rows of `ends` (2, n) at `alpha`."""
        rows = line(alpha)
        if np.array_equal(ends[0], ends[1]):
            rows[:] = 1.0, 0.0  # nothing moves, not even by rounding
        answer = landscape.evaluate(ends, rows, split=split)
        return cls(alpha, {name: getattr(answer, name) for name in _CURVES})

    def with_points(self, other: Line) -> Line:
        """The positions of both."""
        alpha = np.concatenate([self.alpha, other.alpha])
        order = np.argsort(alpha, kind="stable")
        curves = {n: np.concatenate([self.curves[n], other.curves[n]])[order] for n in _CURVES}
        return Line(alpha[order], curves)

    def at(self, chosen: Array) -> Line:
        """The positions that are `chosen` (booleans or indices)."""
        return Line(self.alpha[chosen], {n: c[chosen] for n, c in self.curves.items()})

    def reversed(self) -> Line:
        """The line walked from its other end."""
        return Line((1.0 - self.alpha)[::-1], {n: c[::-1] for n, c in self.curves.items()})


def heights(alpha: Array, values: Array) -> Array:
    """Height and position of the barrier by each definition: (4, 2), rows as `DEFINITIONS`.

    With E the values, E_a and E_b those at the ends, and maxima over the positions:

    - ``lmc``: ``max E - (E_a + E_b) / 2`` (Frankle et al. 2020, error barrier height);
    - ``deviation``: ``max [E - ((1 - alpha) E_a + alpha E_b)]``;
    - ``over_max``: ``max E - max(E_a, E_b)``, the strictest sense of "no hump";
    - ``increase``: ``max E - min(E_a, E_b)``, the maximal increase on the path. Maene et al.
      (2021) name it without a reference; ours is the lower end, so that it does not depend
      on the direction.

    None is negative. The position is the smallest at which the maximum is reached. All are
    NaN if any value is.

    >>> heights(np.array([0.0, 0.5, 1.0]), np.array([1.0, 4.0, 2.0]))[:, 0]
    array([2.5, 2.5, 2. , 3. ])
    """
    if not np.isfinite(values).all():
        return np.full((len(DEFINITIONS), 2), np.nan)
    first, last, top = values[0], values[-1], values.max()
    above = values - _chord(alpha, values)
    peak, bump = alpha[values.argmax()], alpha[above.argmax()]
    return np.array(
        [
            [top - (first + last) / 2, peak],
            [above.max(), bump],
            [top - max(first, last), peak],
            [top - min(first, last), peak],
        ]
    )


def _chord(alpha: Array, values: Array) -> Array:
    """The straight line between the end values; rounding never takes it beyond them."""
    first, last = values[0], values[-1]
    chord: Array = (1.0 - alpha) * first + alpha * last
    return np.clip(chord, min(first, last), max(first, last))


def refined(
    landscape: Landscape, ends: Array, coarse: Line, split: str, tolerance: float
) -> tuple[Line, bool]:
    """The line with points added around its maxima, and whether these came to rest.

    Each round halves the two intervals beside the maxima of E and of its deviation from the
    chord, for loss and error. It ends when two rounds in a row raised none of them by
    `tolerance` or more and no parabola through a maximum and its neighbours rises by as much
    above it. For steps, which no parabola fits, it ends after as many such rounds as the
    highest possible parabola needs. Maxima between the coarse points that are lower than
    their neighbourhood are not seen: refinement sharpens, it does not search.

    Cost: one to eight evaluations a round, seldom more than ten rounds.
    """
    fine, quiet = coarse, 0
    height = max(float(np.ptp(curve)) for curve in _targets(coarse))
    patience = 2 + math.ceil(max(0.0, math.log(height / tolerance, 4))) if height else 2
    for _ in range(_MOST_ROUNDS):
        before = _tops(fine)
        beside = _between(fine)
        if not len(beside):
            return fine, True
        fine = fine.with_points(Line.walk(landscape, ends, beside, split))
        after = _tops(fine)
        if not np.isfinite(after).all():
            return fine, False
        quiet = quiet + 1 if (after - before).max() < tolerance else 0
        if quiet == patience or (quiet >= 2 and _excess(fine) < tolerance):
            return fine, True
    return fine, False


def _targets(walked: Line) -> list[Array]:
    """The curves whose maxima are refined: loss and error, plain and above their chords."""
    known = [walked.curves[n] for n in ("loss", "error") if not np.isnan(walked.curves[n]).all()]
    return [curve for c in known for curve in (c, c - _chord(walked.alpha, c))]


def _tops(walked: Line) -> Array:
    """The maximum of every target."""
    return np.array([curve.max() for curve in _targets(walked)])


def _excess(walked: Line) -> float:
    """How far a parabola through a target's maximum and its neighbours rises above it."""
    most = 0.0
    for curve in _targets(walked):
        middle = min(max(int(curve.argmax()), 1), len(curve) - 2)
        around = slice(middle - 1, middle + 2)
        at, value = walked.alpha[around] - walked.alpha[middle], curve[around]
        slopes = np.diff(value) / np.diff(at)
        bend = (slopes[1] - slopes[0]) / (at[2] - at[0])
        if bend < 0:
            slope = slopes[0] - bend * at[0]
            top = min(max(-slope / (2 * bend), at[0]), at[2])
            most = max(most, value[1] + slope * top + bend * top**2 - curve.max())
    return most


def _between(walked: Line) -> Array:
    """The midpoints of the intervals beside every target's maximum."""
    alpha = walked.alpha
    middles = set()
    for curve in _targets(walked):
        peak = int(curve.argmax())
        for left in (peak - 1, peak):
            if 0 <= left < len(alpha) - 1:
                middles.add((alpha[left] + alpha[left + 1]) / 2)
    return np.array(sorted(middles.difference(alpha.tolist())))


def barrier(
    a: Checkpoint,
    b: Checkpoint,
    landscape: Landscape,
    settings: BarrierSettings | None = None,
) -> xr.Dataset:
    """Loss, error and barriers on the line from `a` to `b`; schema ``barrier``.

    ``theta(alpha) = (1 - alpha) theta_a + alpha theta_b``, evaluated on whole splits. The
    ends are the checkpoints' own losses exactly. Exchanging `a` and `b` gives the same
    numbers, bit for bit, mirrored in alpha (but under ``bn=first``, which asks otherwise).

    A line with a non-finite loss has NaN barriers and status 1; one whose refinement did
    not come to rest has status 2.

    Raises `LandscapeError` if the checkpoints are of different architectures.

    Cost: ``points`` evaluations per split, and those of `refined`.
    Source: Frankle et al. (2020), section 2, for the protocol; `heights` for definitions.
    """
    settings = settings or BarrierSettings()
    require_same_spec(a, b)
    swap = settings.bn != "first" and b.digest < a.digest
    ends = np.stack([b.point, a.point] if swap else [a.point, b.point])
    alpha = grid(settings.points)
    columns: list[dict[str, Any]] = []
    for split in settings.splits:
        coarse = Line.walk(landscape, ends, alpha, split)
        finite = bool(np.isfinite(coarse.curves["loss"]).all())
        fine, at_rest = coarse, True
        if settings.refine and finite:
            fine, at_rest = refined(landscape, ends, coarse, split, settings.tolerance)
        status = _NOT_FINITE if not np.isfinite(fine.curves["loss"]).all() else _OK
        columns.append(_column(fine, alpha, swap, status if at_rest or status else _NOT_CONVERGED))
    return _dataset(a, b, settings, alpha, columns)


def _column(fine: Line, alpha: Array, swap: bool, status: int) -> dict[str, Any]:
    """The numbers of one split."""
    column: dict[str, Any] = {"status": status}
    for measure in ("loss", "error"):
        found = heights(fine.alpha, fine.curves[measure])
        column[f"{measure}_barrier"] = found[:, 0]
        column[f"{measure}_alpha_at_max"] = 1.0 - found[:, 1] if swap else found[:, 1]
    walked = fine.reversed() if swap else fine
    on_grid = np.isin(walked.alpha, alpha)
    column |= walked.at(on_grid).curves
    added = walked.at(~on_grid)
    return column | {
        "refined_alpha": added.alpha,
        "refined_loss": added.curves["loss"],
        "refined_error": added.curves["error"],
    }


def _dataset(
    a: Checkpoint,
    b: Checkpoint,
    settings: BarrierSettings,
    alpha: Array,
    columns: Sequence[dict[str, Any]],
) -> xr.Dataset:
    """The labelled result of one pair."""
    coords: dict[str, Any] = {
        **pair_coordinates(a, b),
        "split": list(settings.splits),
        "alpha": alpha,
        "definition": list(DEFINITIONS),
    }
    names = [n for n in columns[0] if not n.startswith("refined_")]
    if settings.refine:
        longest = max(len(column["refined_alpha"]) for column in columns)
        coords["refinement"] = np.arange(longest)
        for column in columns:
            for name in ("refined_alpha", "refined_loss", "refined_error"):
                padding = np.full(longest - len(column[name]), np.nan)
                column[name] = np.concatenate([column[name], padding])
        names += ["refined_alpha", "refined_loss", "refined_error"]
    variables = {name: np.array([column[name] for column in columns])[None] for name in names}
    apart = b.theta.astype(np.float64) - a.theta.astype(np.float64)
    return BARRIER.build(coords, {**variables, "distance": [float(np.linalg.norm(apart))]})


ANALYSIS = Analysis(
    schema=BARRIER,
    settings=BarrierSettings,
    compute=lambda points, settings, landscape, _work: barrier(
        points[0], points[1], landscape, settings
    ),
    grouping=lambda _settings: SUCCESSIVE,
    uses_loss=True,
    measures=("loss_barrier", "error_barrier"),
)
