"""A line on as many examples, and at as many positions, as its barriers need."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from landscape.analysis.barrier_error import LEVEL, Bounds, Sample, bounds, lead, objective
from landscape.analysis.landscape import Landscape
from landscape.analysis.line import Line, moves
from landscape.analysis.sampling import added
from landscape.data_store.params import Array
from landscape.data_store.schemas.barrier import DEFINITIONS

FIRST = 1_000
_GROWTH = 4
_MARGIN = 0.9  # the half-width that is planned for, as a share of the one asked for
_WORTH_ALL = 0.8  # a subset larger than this share of the split gives way to the split
_DROPPING = 0.1  # the share of the doubt spent on positions that are no longer evaluated
_CHECKS = 2 / 3  # the share of the remaining doubt that each check spends
_SLACK = 0.05  # by how much of the tolerance a position left out might be higher


@dataclass(frozen=True)
class Tolerance:
    """How well barriers shall be known.

    Parameters
    ----------
    tol
        Half-width of the 95 % intervals for the barriers of the whole split: nats per example for
        the loss, a fraction for the error.
    seed
        Of the order in which examples are taken.
    """

    tol: float
    seed: int


@dataclass(frozen=True, eq=False)
class SampledLine:
    """What was evaluated of a line, and how well its barriers are known.

    Parameters
    ----------
    line
        The positions that could be a maximum, and the ends: all on the same examples.
    curves
        Means and standard errors at all positions asked for (k,), as `Line.curves`; each of the
        examples evaluated there.
    examples
        How many examples were evaluated at each position (k,).
    split
        By measure, the intervals for the barriers of the whole split; their standard errors are
        those against the population.
    population
        By measure, the intervals for the population that the split is a sample of.
    """

    line: Line
    curves: dict[str, Array]
    examples: Array
    split: dict[str, Bounds]
    population: dict[str, Bounds]


def sampled(
    landscape: Landscape, ends: Array, alpha: Array, split: str, tolerance: Tolerance
) -> SampledLine:
    """The line at `alpha` on random examples, until its barriers are known to a tolerance.

    1. All positions are evaluated on the first 1 000 examples of a random order.
    2. From their variances follows how many examples the intervals need. The subset grows to that
       number, at most fourfold at a time. After each step a position is left out if it is, with
       confidence, at most ``tol / 20`` above the best one, and so cannot matter.
    3. There the half-width of the interval of every barrier (both measures, all definitions) is
       compared with ``tol``. If one is wider a larger number follows from it, and so on, up to all
       examples.

    The examples are the same at all positions and subsets are nested, so that none is evaluated
    twice. The intervals are those of `bounds` with the correction ``(N - m) / (N - 1)`` for a
    subset of a finite split; a quantity by which a position left out might be higher is added to
    their upper limits.

    They hold with 95 %, whenever the search stops: the 5 % are shared out among what is done. Of
    4.5 % the first check of the width spends two thirds, the second two thirds of the rest, and
    so on; leaving positions out spends 0.5 %, at step s ``1 / (s (s + 1))`` of them.

    Cost: ``1 000 k`` evaluations of an example, and those of the few positions left on the
    number of examples needed. A non-finite loss ends the search.
    """
    search = _Search(landscape, ends, alpha, split, tolerance)
    search.grow(min(FIRST, search.whole))
    planned = search.needed()
    while search.is_finite and search.line.examples < search.whole:
        if search.line.examples >= planned:
            if search.half_width() <= tolerance.tol:
                break
            search.checks += 1
            planned = max(search.needed(), search.line.examples + 1)
        search.drop()
        search.grow(min(planned, _GROWTH * search.line.examples))
    return search.found()


@dataclass(eq=False)
class _Search:
    """The state of `sampled`: the line so far, and what was left out on the way."""

    landscape: Landscape
    ends: Array
    alpha: Array
    split: str
    tolerance: Tolerance
    line: Line = field(init=False)
    checks: int = 0
    steps: int = 0
    slack: dict[tuple[str, str], float] = field(default_factory=dict)
    left_out: list[Line] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.whole = self.landscape.examples(self.split)
        nothing = np.empty((len(self.alpha), 0))
        self.line = Line(self.alpha, nothing, nothing)

    @property
    def is_finite(self) -> bool:
        """Whether all losses so far are numbers."""
        return bool(np.isfinite(self.line.loss).all())

    def sample(self, measure: str, level: float, *, whole: bool = True) -> Sample:
        """What is known of the examples of a measure."""
        bounded = measure == "error" and moves(self.ends)
        return Sample(self.whole if whole else None, bounded, level, self.tolerance.seed)

    def grow(self, count: int) -> None:
        """Evaluate the positions left on further examples, `count` in all or the whole split."""
        before = self.line.examples
        count = self.whole if count > _WORTH_ALL * self.whole else count
        places = added(self.whole, before, count, self.tolerance.seed)
        further = Line.walk(self.landscape, self.ends, self.line.alpha, self.split, places=places)
        self.line = self.line.with_examples(further) if before else further

    def half_width(self) -> float:
        """Half the widest interval of a barrier, of the measures that are defined."""
        widths = [known.high - known.low for known in self.intervals(whole=True).values()]
        return float(np.nanmax(widths)) / 2

    def needed(self) -> int:
        """How many examples would bring the widest interval within the tolerance."""
        examples = self.line.examples
        if examples == self.whole or not self.is_finite:
            return self.whole
        wide = self.half_width()
        if wide <= self.tolerance.tol:
            return examples
        share = (_MARGIN * self.tolerance.tol / wide) ** 2
        return int(1.0 / (1.0 / self.whole + share * (1.0 / examples - 1.0 / self.whole))) + 1

    def drop(self) -> None:
        """Leave out the positions that cannot matter for any barrier."""
        self.steps += 1
        doubt = (1.0 - LEVEL) * _DROPPING / (self.steps * (self.steps + 1))
        kept = np.isin(self.line.alpha, (0.0, 1.0))
        limits = {}
        for measure, values in self.line.measures.items():
            if np.isnan(values).all():
                continue
            sample = self.sample(measure, 1.0 - doubt, whole=False)  # holds for the split too
            for name in DEFINITIONS:
                best, limit = lead(objective(name, self.line.alpha), values, sample)
                kept |= limit > _SLACK * self.tolerance.tol
                kept[best] = True
                limits[measure, name] = limit
        for key, limit in limits.items():
            above = max(0.0, float(limit[~kept].max(initial=0.0)))
            self.slack[key] = self.slack.get(key, 0.0) + above
        self.left_out.append(self.line.at(~kept))
        self.line = self.line.at(kept)

    def intervals(self, *, whole: bool) -> dict[str, Bounds]:
        """The intervals of both measures, for the whole split or for its population."""
        doubt = (1.0 - LEVEL) * (1.0 - _DROPPING) * _CHECKS * (1.0 - _CHECKS) ** self.checks
        found = {}
        for measure, values in self.line.measures.items():
            known = bounds(self.line.alpha, values, self.sample(measure, 1.0 - doubt, whole=whole))
            slack = np.array([self.slack.get((measure, name), 0.0) for name in DEFINITIONS])
            found[measure] = replace(known, high=known.high + slack)
        return found

    def found(self) -> SampledLine:
        """The answer."""
        curves = {name: np.full(len(self.alpha), np.nan) for name in self.line.curves}
        examples = np.zeros(len(self.alpha), dtype=np.int64)
        for part in (*self.left_out, self.line):
            places = np.searchsorted(self.alpha, part.alpha)
            examples[places] = part.examples
            for name, values in part.curves.items():
                curves[name][places] = values
        return SampledLine(
            self.line,
            curves,
            examples,
            self.intervals(whole=True),
            self.intervals(whole=False),
        )
