"""Cases: what a dataset is about, drawn against the weights remaining."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from landscape.figures.report.parts import Line

if TYPE_CHECKING:
    import xarray as xr

Numbers = NDArray[np.float64]

MOST_NAMES = 24
MOST_POINTS = 5000
NAMED = 5
NAME = "line"  # the coordinate that says what a case is called


@dataclass(frozen=True, eq=False)
class Cases:
    """The cases of a dataset: transitions, checkpoints …

    Parameters
    ----------
    labels
        What each is called in full.
    names
        What its line is called.
    groups
        Cases of one name and group are joined, from dense to sparse, unless two have the same
        density.
    density
        Fraction of the weights kept; NaN where it is not known.
    """

    labels: Sequence[str]
    names: Sequence[str]
    groups: Sequence[str]
    density: Numbers

    @classmethod
    def of(cls, ds: xr.Dataset, along: str, density: str) -> Cases:
        """The cases of `ds` along a dimension; a coordinate ``line`` names their lines."""
        runs = ds["run"].values.astype(np.str_).tolist()
        names = ds[NAME].values.astype(np.str_).tolist() if NAME in ds.coords else runs
        labels = ds[along].values.astype(np.str_).tolist()
        return cls(labels, names, runs, np.asarray(ds[density].values, dtype=float))

    def lines(
        self,
        values: Any,
        said: Callable[[float], str],
        *,
        low: Any = None,
        high: Any = None,
        status: Any = None,
        suffix: str = "",
        reference: bool = False,
    ) -> list[Line]:
        """One line per name and group.

        Parameters
        ----------
        values, low, high
            The numbers and the ends of their bars, (case,), as they are drawn.
        said
            A number as text, with its unit.
        status
            Words of warning about each number, empty where there are none.
        suffix
            Added to the names.
        reference
            As `Line` has it.
        """
        found = []
        for name, group in self._drawn():
            rows = self._rows(name, group)
            low_here, high_here = (
                () if ends is None else np.asarray(ends, dtype=float)[rows].tolist()
                for ends in (low, high)
            )
            hover = [
                self._hover(row, values, said, low, high, status, name + suffix) for row in rows
            ]
            found.append(
                Line(
                    name=name + suffix,
                    x=(100 * self.density[rows]).tolist(),
                    y=np.asarray(values, dtype=float)[rows].tolist(),
                    hover=hover,
                    low=low_here,
                    high=high_here,
                    doubtful=() if status is None else [bool(status[row]) for row in rows],
                    joined=len(set(self.density[rows].tolist())) == len(rows),
                    reference=reference,
                )
            )
        return found

    def note(self, values: Any, status: Any = None) -> str:
        """A sentence about what `lines` does not draw; empty if that is nothing."""
        names = list(dict.fromkeys(self.names))
        sentences = []
        if len(names) > MOST_NAMES:
            sentences.append(f"The first {MOST_NAMES} of {len(names)} lines are drawn.")
        if len(self.labels) > MOST_POINTS:
            sentences.append(f"The first {MOST_POINTS} of {len(self.labels)} points are drawn.")
        drawn = np.asarray(values, dtype=float)
        unknown = np.flatnonzero(~np.isfinite(drawn) | ~(self.density > 0))
        if len(unknown):
            listed = [self._unknown(row, status) for row in unknown[:NAMED].tolist()]
            more = f" and {len(unknown) - NAMED} more" if len(unknown) > NAMED else ""
            sentences.append(
                f"Not known, so not drawn: {len(unknown)} of {len(drawn)}: "
                f"{'; '.join(listed)}{more}."
            )
        if status is not None:
            doubtful = sum(bool(word) for word in np.asarray(status)[np.isfinite(drawn)])
            if doubtful:
                sentences.append(f"Drawn open, with a warning in the numbers: {doubtful}.")
        return " ".join(sentences)

    def _unknown(self, row: int, status: Any) -> str:
        """What is said of a case that is not drawn."""
        word = "" if status is None else str(status[row])
        if not self.density[row] > 0:
            word = word or "no density above 0"
        return f"{self.labels[row]} ({word})" if word else self.labels[row]

    def _drawn(self) -> Iterator[tuple[str, str]]:
        """Names and groups of the lines, in order of appearance."""
        names = list(dict.fromkeys(self.names))[:MOST_NAMES]
        pairs = dict.fromkeys(zip(self.names, self.groups, strict=True))
        return (pair for pair in pairs if pair[0] in names)

    def _rows(self, name: str, group: str) -> list[int]:
        """The cases of a line, from dense to sparse, without those of no density."""
        rows = [
            row
            for row, pair in enumerate(zip(self.names, self.groups, strict=True))
            if pair == (name, group) and self.density[row] > 0 and row < MOST_POINTS
        ]
        return sorted(rows, key=lambda row: -float(self.density[row]))

    def _hover(
        self,
        row: int,
        values: Any,
        said: Callable[[float], str],
        low: Any,
        high: Any,
        status: Any,
        name: str,
    ) -> str:
        """What is said of a point."""
        text = said(float(values[row]))
        if low is not None and high is not None and np.isfinite(low[row]):
            text += f" ({said(float(low[row]))} to {said(float(high[row]))})"
        lines = [name, self.labels[row], f"{100 * self.density[row]:.4g} % of weights: {text}"]
        if status is not None and status[row]:
            lines.append(str(status[row]))
        return "\n".join(dict.fromkeys(lines))


def percent(value: float) -> str:
    """A number that is in percent already.

    >>> percent(97.984)
    '97.98 %'
    """
    return f"{value:.4g} %"


def plain(value: float) -> str:
    """A number without a unit.

    >>> plain(0.123456)
    '0.1235'
    """
    return f"{value:.4g}"
