"""Estimate: the log volume that rays and their weights give, its error, and what it is worth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from scipy.special import logsumexp

from landscape.analysis.volume.bowls import log_ball
from landscape.analysis.volume.rays import CENSORED, ENDS_AT_NOT_FINITE, OK
from landscape.data_store.params import Array

FEWEST_EFFECTIVE, SMALLEST_SHARE = 20.0, 0.05
TOO_FEW = "effective_sample_size_too_small"


@dataclass(frozen=True, eq=False)
class Estimate:
    """The answer of one estimator.

    Parameters
    ----------
    numbers
        Scalars by the names of the schema's variables; those left out are NaN.
    rays
        Arrays over rays by name, possibly none.
    """

    status: str
    numbers: Mapping[str, float] = field(default_factory=dict)
    rays: Mapping[str, Array] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Trace:
    """A mean over probes with a control variate: each probe's residual, mean, error."""

    residual: Array
    mean: float
    control_variance: float

    @classmethod
    def of(cls, values: Array, control: Array, more: Array) -> Trace:
        """From the probes' values and controls, and more controls."""
        residual, controls = values - control, np.concatenate([control, more])
        spread = float(controls.var(ddof=1) / len(controls)) if len(controls) > 1 else np.nan
        return cls(residual, float(residual.mean() + controls.mean()), spread)

    @property
    def se(self) -> float:
        """Standard error of the mean."""
        return float(np.sqrt(_variance_of_mean(self.residual) + self.control_variance))


def _variance_of_mean(values: Array) -> float:
    """Variance of the mean of independent values; NaN for a single one."""
    return float(values.var(ddof=1) / len(values)) if len(values) > 1 else float("nan")


@dataclass(frozen=True, eq=False)
class Determinant:
    """What is known of ``log |det P|`` of a proposal.

    Parameters
    ----------
    log_det
        Its value.
    trace
        The mean over probes it comes from, if it is no exact one.
    shift
        By how much it changes with the last quarter of the products.
    converged
        Whether that is little.
    """

    log_det: float
    trace: Trace | None = None
    shift: float = 0.0
    converged: bool = True

    @property
    def se(self) -> float:
        """Its error: statistical and of the quadrature."""
        return float(np.hypot(self.trace.se, self.shift)) if self.trace else 0.0


def pooled(
    found: Mapping[str, Array], dims: int, log_units: float, proposal: Determinant | None = None
) -> Estimate:
    """``log omega_n + log |det P| - log_units + log mean exp(log_weight)``, with its error.

    By the delta method: the error is that of the mean over rays of ``w / mean(w)`` plus the
    ray's own estimate of the log determinant, where rays are its probes. NaN where too few rays
    decide: the mean of weights is unbiased, so that its logarithm exceeds the truth by t nats
    with a probability of at most exp(-t), but may be below it by any amount.

    Parameters
    ----------
    found
        ``radius``, ``radius_coefficient``, ``ray_status``, ``log_weight`` and
        ``log_weight_at_limit``, (k,) each.
    dims
        Dimension n.
    log_units
        Log volume of the unit of volume.
    proposal
        Of the directions; None for uniform ones.
    """
    known = proposal or Determinant(0.0)
    constant = log_ball(dims) + known.log_det - log_units
    status = found["ray_status"]
    rays = {name: found[name] for name in ("radius", "radius_coefficient", "ray_status")}
    rays["log_weight"] = found["log_weight"] + constant
    numbers = {"censored": float(np.count_nonzero(status == CENSORED))}
    if proposal:
        numbers |= {"log_determinant": known.log_det, "log_determinant_se": known.se}
    if not np.isfinite(constant):
        return Estimate("not_finite", numbers, rays)
    if not np.isin(status, (OK, ENDS_AT_NOT_FINITE, CENSORED)).all():
        return Estimate("not_converged", numbers, rays)
    weights = np.where(status == CENSORED, found["log_weight_at_limit"], found["log_weight"])
    bound = constant + float(logsumexp(weights)) - float(np.log(len(weights)))
    numbers["log_volume_lower_bound"] = bound
    if numbers["censored"]:
        return Estimate("censored_rays", numbers, rays)
    relative = np.exp(weights - weights.max())
    relative /= relative.mean()
    effective = float(len(relative) / np.square(relative).mean())
    numbers["effective_sample_size"] = effective
    influence = relative if known.trace is None else relative + known.trace.residual
    variance = _variance_of_mean(influence) + known.shift**2
    variance += known.trace.control_variance if known.trace else 0.0
    verdict = _verdict(effective, len(relative), known.converged)
    # The spread among weights that one of them decides says nothing of those never drawn.
    se = float("nan") if verdict == TOO_FEW else float(np.sqrt(variance))
    return Estimate(verdict, {**numbers, **log_volume(bound, se, dims)}, rays)


def log_volume(value: float, se: float, dims: int) -> dict[str, float]:
    """A log volume and its error, also per dimension."""
    return {
        "log_volume": value,
        "log_volume_se": se,
        "log_volume_per_dimension": value / dims,
        "log_volume_per_dimension_se": se / dims,
    }


def _verdict(effective: float, rays: int, converged: bool) -> str:
    """What an estimate is worth by its own diagnostics."""
    if not converged:
        return "not_converged"
    enough = effective >= FEWEST_EFFECTIVE and effective >= SMALLEST_SHARE * rays
    return "ok" if enough else TOO_FEW
