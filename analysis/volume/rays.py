"""Rays: how far from a point the loss first rises above a cutoff, for many directions at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from landscape.analysis.landscape import Landscape
from landscape.analysis.sampling import subset
from landscape.data_store.params import Array

OK, CENSORED, NOT_CONVERGED, ENDS_AT_NOT_FINITE = 0, 1, 2, 3
GROWTH = 2.0
Excess = Callable[[Array, Array], Array]

_STEP = float(np.log(GROWTH))
_LADDER = _STEP * np.arange(-40, 1)  # from the limit inwards, where nothing is known
_AROUND_GUESS = _STEP * np.arange(-3, 2)
_THREE = np.array([-1.0, 0.0, 1.0])
_FIVE = np.array([-1.0, -0.35, 0.0, 0.35, 1.0])
_QUARTERS = np.array([0.25, 0.5, 0.75])
_MOST_ROUNDS = 100
_COARSE_TOLERANCE = 0.01
_FEWEST_FOR_COARSE, _MOST_COARSE, _COARSE_SHARE = 1024, 512, 16
_SCOUTS, _SCOUT_MARGIN = 8, 0.15


@dataclass(frozen=True, eq=False)
class Radii:
    """Where rays first leave a sublevel set.

    Parameters
    ----------
    radius
        In units of each direction as given, float64 (m,); NaN unless `status` is 0 or 3.
    status
        0 known; 1 censored: inside as far as it was followed; 2 not converged; 3 known, but
        beyond it the loss is not finite.
    """

    radius: Array
    status: Array


def crossings(
    excess: Excess,
    first: Array,
    *,
    tolerance: float,
    limit: float,
    smooth: bool = True,
) -> Radii:
    """The first radius at which each ray's excess becomes positive, all rays at once.

    Works on x = log r. Each round asks a few radii of every unfinished ray:

    - without a point outside: rungs outwards from the farthest inside, each at most a factor
      `GROWTH` = 2 beyond the one before, up to `limit`;
    - without a point inside: rungs inwards from the nearest outside;
    - with both: around the root of the inverse polynomial through the up to four points next
      to the innermost change of sign; or at the quarters of the bracket, where that root is
      not inside or the last round did not halve the bracket.

    A ray is done when its bracket has ``log(outside / inside) <= tolerance``. If `smooth`, also
    when that is at most sqrt(tolerance) and the interpolated root moved by at most half the
    tolerance with the last degree added: in such a bracket a straight line errs by ``p / 8``
    tolerances for a loss that grows as r^p, so this holds it away from kinks only. The bracket is
    the innermost change of sign among all points visited, so a hump is missed only between two
    neighbouring rungs, or below the first of `first`.

    Parameters
    ----------
    excess
        Loss minus cutoff at (numbers of rays, radii), (k,) each; NaN counts as outside.
    first
        Radii to begin with, (m, q), above 0.
    tolerance
        Relative accuracy of a radius.
    limit
        Largest radius.
    smooth
        False for steps, such as an error: brackets alone decide, and the radius is the middle.

    Returns
    -------
    Radii
    """
    count = len(first)
    seen = _Seen(np.empty((count, 0)), np.empty((count, 0)))
    asked = np.log(np.minimum(first, limit))
    open_ = np.arange(count)
    width = np.full(count, np.inf)
    done = np.zeros(count, dtype=np.bool_)
    for _ in range(_MOST_ROUNDS):
        rays = np.repeat(open_, asked.shape[1])
        values = excess(rays, np.exp(asked.ravel())).reshape(asked.shape)
        seen = seen.with_points(open_, asked, values)
        inside, outside = seen.bracket()
        root, error = seen.root(smooth)
        close = (outside - inside <= np.sqrt(tolerance)) & (error <= tolerance / 2)
        narrow = (outside - inside <= tolerance) | close
        far = (inside >= np.log(limit) - 1e-12) | (outside < np.log(limit) + 2 * _LADDER[0])
        done = narrow | far
        open_ = np.flatnonzero(~done)
        if not len(open_):
            break
        slow = outside - inside > width / 2
        width = outside - inside
        asked = _next(inside, outside, root, error, slow, tolerance, np.log(limit))[open_]
    status = np.full(count, NOT_CONVERGED)
    status[narrow] = np.where(seen.ends_finite(), OK, ENDS_AT_NOT_FINITE)[narrow]
    status[inside >= np.log(limit) - 1e-12] = CENSORED
    known = np.isin(status, (OK, ENDS_AT_NOT_FINITE))
    return Radii(np.where(known, np.exp(root), np.nan), status)


def _next(
    inside: Array,
    outside: Array,
    root: Array,
    error: Array,
    slow: Array,
    tolerance: float,
    limit: float,
) -> Array:
    """The logarithms of the radii to ask next: (m, 3)."""
    width = outside - inside
    with np.errstate(invalid="ignore"):
        # Wide enough that the root lies between, narrow enough that this bracket will do.
        margin = np.minimum(np.maximum(2 * error, 0.4 * np.sqrt(tolerance)), width / 4)
        near = root[:, None] + margin[:, None] * _THREE
        near = np.clip(near, (inside + width / 50)[:, None], (outside - width / 50)[:, None])
        quarters = inside[:, None] + width[:, None] * _QUARTERS
        between = np.where((slow | ~np.isfinite(margin))[:, None], quarters, near)
        outwards = np.minimum(inside[:, None] + _STEP * np.array([0.25, 1.0, 2.0]), limit)
        inwards = outside[:, None] - _STEP * np.array([2.0, 1.0, 0.25])
        asked = np.where(np.isinf(outside)[:, None], outwards, between)
        return np.asarray(np.where(np.isinf(inside)[:, None], inwards, asked))


@dataclass(frozen=True, eq=False)
class _Seen:
    """All points visited on each ray, by increasing x; rows are filled up with x = inf."""

    x: Array
    value: Array

    def with_points(self, rays: Array, x: Array, value: Array) -> _Seen:
        """These and more points of some rays."""
        more_x = np.full((len(self.x), x.shape[1]), np.inf)
        more_value = np.full(more_x.shape, np.nan)
        more_x[rays], more_value[rays] = x, value
        all_x = np.concatenate([self.x, more_x], axis=1)
        all_value = np.concatenate([self.value, more_value], axis=1)
        order = np.argsort(all_x, axis=1, kind="stable")
        return _Seen(
            np.take_along_axis(all_x, order, axis=1), np.take_along_axis(all_value, order, axis=1)
        )

    def _crossing(self) -> Array:
        """Column of the innermost point outside; that of the first filling if there is none."""
        outside = ~(self.value <= 0)
        return np.asarray(np.where(outside.any(axis=1), outside.argmax(axis=1), self.x.shape[1]))

    def _column(self, table: Array, column: Array, missing: float) -> Array:
        """One entry of each row, `missing` where the column does not exist."""
        there = (column >= 0) & (column < table.shape[1])
        safe = np.clip(column, 0, table.shape[1] - 1)
        return np.asarray(np.where(there, table[np.arange(len(table)), safe], missing))

    def bracket(self) -> tuple[Array, Array]:
        """x of the last point inside and the first outside, -inf and inf if there is none."""
        column = self._crossing()
        return (
            self._column(self.x, column - 1, -np.inf),
            self._column(self.x, column, np.inf),
        )

    def ends_finite(self) -> Array:
        """Whether the value is finite at the first point outside."""
        return np.isfinite(self._column(self.value, self._crossing(), np.nan))

    def root(self, smooth: bool) -> tuple[Array, Array]:
        """Estimate of the crossing's x, inside the bracket, and of its error (inf: unknown)."""
        inside, outside = self.bracket()
        middle = np.where(np.isfinite(inside + outside), (inside + outside) / 2, np.nan)
        unknown = np.full(len(middle), np.inf)
        if not smooth:
            return middle, unknown
        best, error = middle, unknown
        column = self._crossing()
        xs = [self._column(self.x, column + at, np.nan) for at in (-1, 0, 1, -2)]
        values = [self._column(self.value, column + at, np.nan) for at in (-1, 0, 1, -2)]
        last = middle
        for used in ((0, 1), (0, 1, 2), (0, 1, 3), (0, 1, 2, 3)):
            found = _inverse([xs[i] for i in used], [values[i] for i in used])
            sound = np.isfinite(found) & (found >= inside) & (found <= outside)
            known = np.full(len(middle), np.inf) if len(used) == 2 else np.abs(found - last)
            error = np.where(sound, known, error)
            best = last = np.where(sound, found, best)
        return best, error


def _inverse(xs: list[Array], values: list[Array]) -> Array:
    """Neville's scheme for x at value 0 through points of each ray; NaN where it fails."""
    rows = list(xs)
    with np.errstate(all="ignore"):
        for order in range(1, len(rows)):
            rows = [
                (values[i + order] * rows[i] - values[i] * rows[i + 1])
                / (values[i + order] - values[i])
                for i in range(len(rows) - 1)
            ]
    return np.asarray(rows[0])


@dataclass(frozen=True, eq=False)
class Body:
    """The part of a sublevel set that is seen from its centre.

    Parameters
    ----------
    landscape
        What is asked.
    centre
        A point (n,).
    level
        Largest value inside: loss in nats per example, or error as a fraction.
    measure
        ``loss`` or ``error``.
    split
        Split of the data.
    places
        Numbers of the examples it is defined by, None for all of the split.
    coarse
        Few of these examples, to search on before all are asked; None to search on all.
    tolerance
        Relative accuracy of a radius.
    limit
        Euclidean distance at which rays are given up.
    """

    landscape: Landscape
    centre: Array
    level: float
    measure: str
    split: str
    places: Array | None
    coarse: Array | None
    tolerance: float
    limit: float

    def values(self, places: Array | None, anchors: Array, coefficients: Array) -> Array:
        """The measure at combinations of anchors."""
        answer = self.landscape.evaluate(anchors, coefficients, split=self.split, places=places)
        return answer.loss if self.measure == "loss" else answer.error

    def radii(self, directions: Array) -> Radii:
        """Euclidean distance to the boundary along unit directions (m, n), all at once.

        Rays are searched on the coarse examples first, from rungs at an eighth of the first
        rays' median radius outwards; a few are then followed on all examples to learn how far
        the coarse radii are off, and the rest begin there. Every radius has its bracket, or its
        last interpolation, from all examples; that no crossing lies nearer is known from the
        coarse ones, where rungs were visited. At the centre both agree: the coarse level is
        moved by the difference of the values there.

        Cost: about 11 radii of each ray on the coarse examples and 8 on all, asked five and
        three at a time so that a shared first layer is computed twice a ray. Without coarse
        examples, about 13 on all.
        """
        directions = directions.astype(self.centre.dtype)
        if self.coarse is None:
            return self._found(directions, self.places, self.level, self.tolerance)
        alone, centre = np.ones((1, 1)), self.centre[None]
        apart = self.values(self.coarse, centre, alone) - self.values(self.places, centre, alone)
        rough = self._found(
            directions, self.coarse, self.level + float(apart[0]), _COARSE_TOLERANCE
        )
        return self._polished(directions, rough)

    def _found(
        self, directions: Array, places: Array | None, level: float, tolerance: float
    ) -> Radii:
        """Radii on some examples from nothing: two rays over all scales, the rest from these."""
        ladder = np.broadcast_to(self.limit * np.exp(_LADDER), (min(2, len(directions)), 41))
        scouts = self._crossings(directions[:2], places, level, ladder, tolerance)
        known = scouts.radius[np.isfinite(scouts.radius)]
        guess = float(np.median(known)) if len(known) else self.limit
        rest = directions[2:]
        if not len(rest):
            return scouts
        first = np.broadcast_to(guess * np.exp(_AROUND_GUESS), (len(rest), len(_AROUND_GUESS)))
        return _joined(scouts, self._crossings(rest, places, level, first, tolerance))

    def _polished(self, directions: Array, rough: Radii) -> Radii:
        """Radii on all examples from rough ones."""
        start = np.log(np.where(np.isfinite(rough.radius), rough.radius, self.limit))
        few = min(_SCOUTS, max(2, len(directions) // 4))
        scouts = self._near(directions[:few], start[:few], _SCOUT_MARGIN)
        if len(directions) <= few:
            return scouts
        with np.errstate(invalid="ignore"):
            off = np.log(scouts.radius) - start[:few]
        off = off[np.isfinite(off)]
        shift = float(off.mean()) if len(off) else 0.0
        spread = 3 * float(off.std(ddof=1)) if len(off) > 1 else _SCOUT_MARGIN
        margin = min(max(spread, self.tolerance / 2), 0.3)
        return _joined(scouts, self._near(directions[few:], start[few:] + shift, margin))

    def _near(self, directions: Array, start: Array, margin: float) -> Radii:
        """Radii on all examples near ``exp(start)``."""
        first = np.exp(start[:, None] + margin * _FIVE)
        return self._crossings(directions, self.places, self.level, first, self.tolerance)

    def _crossings(
        self, directions: Array, places: Array | None, level: float, first: Array, tolerance: float
    ) -> Radii:
        """`crossings` of this body."""
        anchors = np.concatenate([self.centre[None], directions])

        def excess(rays: Array, radii: Array) -> Array:
            used, column = np.unique(rays, return_inverse=True)
            chosen = anchors if len(used) == len(directions) else anchors[np.append(0, used + 1)]
            coefficients = np.zeros((len(rays), len(chosen)))
            coefficients[:, 0] = 1.0
            coefficients[np.arange(len(rays)), column + 1] = radii
            return self.values(places, chosen, coefficients) - level

        smooth = self.measure == "loss"
        return crossings(excess, first, tolerance=tolerance, limit=self.limit, smooth=smooth)


def coarse_places(examples: int, count: int | None, seed: int) -> Array | None:
    """Few examples of a split to search on, nested in its `subset`; None where all are few."""
    used = examples if count is None else min(count, examples)
    if used < _FEWEST_FOR_COARSE:
        return None
    return subset(examples, min(_MOST_COARSE, used // _COARSE_SHARE), seed)


def _joined(first: Radii, second: Radii) -> Radii:
    """Radii of two batches of rays."""
    return Radii(
        np.concatenate([first.radius, second.radius]),
        np.concatenate([first.status, second.status]),
    )
