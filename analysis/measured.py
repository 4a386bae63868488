"""Measured: the numbers of a study as arrays over runs and levels, and the sets they lie in."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import xarray as xr

from landscape.data_store.params import Array

IMP = "imp"
_BETWEEN = "previous-solution"


@dataclass(frozen=True)
class Rule:
    """By what the claims are judged.

    Parameters
    ----------
    measure, split
        E: ``loss`` or ``error``, on this split.
    epsilon
        Slack of sublevel sets, and the barrier up to which solutions are connected.
    reference
        Whose sublevel set solutions shall stay in: the run's level before (``previous``), or
        its level 0 (``dense``).
    share
        The share of comparisons that must bear a claim out.
    """

    measure: str = "error"
    split: str = "test"
    epsilon: float = 0.02
    reference: str = "previous"
    share: float = 0.75

    @property
    def words(self) -> str:
        """E in words."""
        return f"{self.split} {self.measure}"

    def number(self, value: float) -> str:
        """A value of E as text: errors in percent."""
        return _percent(value) if self.measure == "error" else f"{value:.3g}"


@dataclass(frozen=True, eq=False)
class Measured:
    """The measured part of an insights dataset, without its ``study`` dimension.

    Every array is (replicate, level), NaN where a strategy has no solution.
    """

    ds: xr.Dataset
    rule: Rule
    empty: Array = field(init=False)

    def __post_init__(self) -> None:
        shape = (self.ds.sizes["replicate"], self.ds.sizes["level"])
        object.__setattr__(self, "empty", np.full(shape, np.nan))

    def has(self, strategy: str) -> bool:
        """True if some solution of a strategy is known, after level 0."""
        known = np.isfinite(self.values("distance", strategy, path=_BETWEEN))
        return bool(known.any())

    def lacks(self, *strategies: str) -> tuple[str, ...]:
        """Those of the strategies that have no solution."""
        return tuple(strategy for strategy in strategies if not self.has(strategy))

    def values(self, name: str, strategy: str, **labels: str) -> Array:
        """One variable of one strategy at labels of its other dimensions."""
        if strategy not in self.ds["strategy"].values:
            return self.empty
        found = self.ds[name].sel({"strategy": strategy, **labels})
        return found.transpose("replicate", "level").values.astype(np.float64)

    def height(self, strategy: str, point: str) -> tuple[Array, Array]:
        """E of a point of each transition, and its standard error."""
        name, split = self.rule.measure, self.rule.split
        return (
            self.values(name, strategy, point=point, split=split),
            self.values(f"{name}_se", strategy, point=point, split=split),
        )

    def quality(self, strategy: str) -> tuple[Array, Array]:
        """Test error of each solution (the loss where there is no error), and its standard error.

        On the split of the rule if there is no test split.
        """
        split = "test" if "test" in self.ds["split"].values else self.rule.split
        name = "error" if np.isfinite(self.ds["error"].values).any() else "loss"
        return (
            self.values(name, strategy, point="solution", split=split),
            self.values(f"{name}_se", strategy, point="solution", split=split),
        )

    def volume(self, strategy: str) -> tuple[Array, Array]:
        """Log volume per dimension, and its standard error; NaN where it is not worth using."""
        is_sound = self.values("volume_status", strategy) == 0
        volume = self.values("log_volume_per_dimension", strategy)
        error = self.values("log_volume_per_dimension_se", strategy)
        return np.where(is_sound, volume, np.nan), np.where(is_sound, error, np.nan)

    def barrier(self, strategy: str, path: str) -> tuple[Array, Array]:
        """Barrier of E on a path, and its standard error."""
        split = self.rule.split
        return (
            self.values(f"{self.rule.measure}_barrier", strategy, path=path, split=split),
            self.values("barrier_se", strategy, path=path, split=split),
        )

    def reference(self, reference: str) -> tuple[Array, Array]:
        """E whose sublevel set is asked about, by level: of the level before, or of level 0."""
        if reference == "previous":
            return self.height(IMP, "previous")
        values, errors = self.height(IMP, "solution")
        return tuple(np.where(self.ds["level"] > 0, x[:, :1], np.nan) for x in (values, errors))  # type: ignore[return-value]

    def above(self, strategy: str, reference: str) -> tuple[Array, Array]:
        """How far E of each solution lies above the threshold, and its standard error."""
        values, errors = self.height(strategy, "solution")
        base, base_errors = self.reference(reference)
        return values - base - self.rule.epsilon, np.hypot(errors, base_errors)


def inside(ds: xr.Dataset, rule: Rule, reference: str) -> Array:
    """Membership of every solution: 1 in the sublevel set, 0 out of it, NaN unknown.

    Returns
    -------
    Array
        (replicate, strategy, level, split): ``E(solution) <= E(reference) + epsilon``, the
        reference being the run's level before or its level 0, on each split.
    """
    columns = []
    for strategy in ds["strategy"].values.tolist():
        per_split = []
        for split in ds["split"].values.tolist():
            asked = Rule(rule.measure, split, rule.epsilon, reference, rule.share)
            margin, _ = Measured(ds, asked).above(strategy, reference)
            per_split.append(np.where(np.isnan(margin), np.nan, margin <= 0))
        columns.append(np.stack(per_split, axis=-1))
    return np.stack(columns, axis=1)


def _percent(value: float) -> str:
    """A fraction in percent."""
    return f"{100 * value:.2f} %"
