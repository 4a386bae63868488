"""Paired: standard errors of differences between points, example by example."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from landscape.analysis.transition import Rows
from landscape.data_store.params import Array
from landscape.data_store.schemas.sublevel import PATHS


@dataclass(frozen=True, eq=False)
class Paired:
    """Values of the same examples at points, and at the peaks of paths between them.

    Parameters
    ----------
    points
        Values (m,) by name of the point.
    peaks
        Position on the path and values (m,) by name of the path.
    """

    points: dict[str, Array]
    peaks: dict[str, tuple[float, Array]]

    @classmethod
    def of(
        cls,
        known: Sequence[str],
        rows: Rows,
        places: Mapping[str, tuple[float, int]],
        ask: Callable[[Array], Array],
    ) -> Paired:
        """Ask for the rows of the known points, and for those of the peaks, once each.

        `places` has position and row of each peak, `ask` the values (k, m) of rows (k, known).
        """
        count = len(known)
        beyond = sorted({row for _, row in places.values()} - set(range(count)))
        asked = [*range(count), *beyond]
        values = ask(rows.coefficients[asked])
        of_row = dict(zip(asked, values, strict=True))
        return cls(
            dict(zip(known, values[:count], strict=True)),
            {path: (peak, of_row[row]) for path, (peak, row) in places.items()},
        )

    def barrier_se(self, definition: str) -> Array:
        """Standard errors (paths,) of the barriers of `PATHS` by one of `DEFINITIONS`.

        Of the mean over examples of the peak less what the definition compares it with; the
        place of the peak is taken as given. NaN for a path without one.
        """
        errors = np.full(len(PATHS), np.nan)
        for i, path in enumerate(PATHS):
            if path not in self.peaks:
                continue
            alpha, peak = self.peaks[path]
            a, b = (self.points[end] for end in path.split("-"))
            first, last = (a, b) if a.mean() <= b.mean() else (b, a)
            level = {
                "lmc": 0.5 * (a + b),
                "deviation": (1.0 - alpha) * a + alpha * b,
                "over_max": last,
                "increase": first,
            }[definition]
            errors[i] = standard_error(peak - level)
        return errors


def standard_error(values: Array) -> float:
    """Standard error of a mean over examples (m,); NaN of fewer than two.

    >>> standard_error(np.array([1.0, 2.0, 3.0, 4.0]))
    0.6454972243679028
    """
    return float(values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else math.nan
