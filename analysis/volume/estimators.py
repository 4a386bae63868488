"""Estimators of the volume of a body from radii along random directions, each with its errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import numpy as np

from landscape.analysis.directions import filter_normalised, gaussian
from landscape.analysis.volume.bowls import log_ball
from landscape.analysis.volume.estimate import Determinant, Estimate, Trace, log_volume, pooled
from landscape.analysis.volume.preconditioner import DAMPINGS, Preconditioner, preconditioner
from landscape.analysis.volume.proposals import Draws, Proposal, Scaling, damped, diagonal_of
from landscape.analysis.volume.question import Question
from landscape.data_store.params import Array

ESTIMATORS = ("monte-carlo", "diagonal", "hessian", "laplace")
_QUADRATURE = 0.01  # nats per dimension by which fewer products may change a log determinant
_LARGEST_GAP = 0.01  # nats per dimension by which Laplace's ellipsoid may miss the body
_CHECKED = 4  # rays on which that is seen
_PILOT, _CONTROLS, _SIGNS = 1 << 32, 2 << 32, 3 << 32  # numbers of draws that are no rays
_PILOT_RAYS, _DIAGONAL_RAYS, _CONTROLS_PER_PROBE = 4, 8, 10


def monte_carlo(ask: Question) -> Estimate:
    """The estimator of the literature: ``omega_n mean(r^n)`` over plain random directions.

    Isotropic directions are uniform on the sphere, and the estimator unbiased for the volume:
    but of r^n, whose logarithm varies by far more than 1 between directions when n is large, so
    that its mean is decided by directions nobody draws. Huang et al. (2020), section 4.

    Filter-normalised directions are uniform on a product of spheres, one for each filter, where
    coordinates are measured in root mean squares of their filter; r is the distance in these
    coordinates, ``c sqrt(n)`` for the coefficient c. The mean is over directions in which every
    filter has its share of the length: no volume of the body, and comparable with itself only.

    Cost: ``rays`` radii.
    """

    def block(numbers: Array) -> dict[str, Array]:
        if not ask.filtered:
            return _cast(ask, Scaling(np.ones(ask.dims)), numbers)
        point, directions = ask.checkpoint, np.empty((len(numbers), ask.dims))
        for row, number in zip(directions, numbers, strict=True):
            z = gaussian(point.spec.size, ask.settings.seed, [number])
            whole = filter_normalised(z, point.theta, point.mask.kept, point.spec)
            row[:] = whole[0, ask.subspace.free]
        lengths = np.linalg.norm(directions, axis=1)
        found = ask.radii(directions / lengths[:, None])
        coefficient = found.radius / lengths
        return {
            "radius": found.radius,
            "radius_coefficient": coefficient,
            "ray_status": found.status,
            "log_weight": ask.dims * (np.log(coefficient) + 0.5 * np.log(ask.dims)),
            "log_weight_at_limit": ask.dims
            * (np.log(ask.body.limit / lengths) + 0.5 * np.log(ask.dims)),
        }

    rays = ask.blocks("monte-carlo", ask.ray_batches(), block)
    # Filter-normalised coefficients are in these units already; isotropic ones have unit 1.
    return pooled(rays, ask.dims, 0.0)


def diagonal(ask: Question) -> Estimate:
    """Importance sampling with directions scaled by the inverse root of the Hessian's diagonal.

    The diagonal is estimated from products with random signs, damped, the damping chosen by the
    spread of the log weights of a few rays that are not used again. Exact for any diagonal:
    only the spread suffers.

    Cost: ``probes`` Hessian products and ``rays`` radii.
    """

    def pilot() -> dict[str, Array]:
        hessian, parts = ask.hessian(), []
        for numbers in ask.probe_batches(ask.settings.probes, 4):
            signs = np.where(ask.gaussian(numbers + _SIGNS) < 0, -1.0, 1.0)
            parts.append(diagonal_of(hessian.product(signs), signs) * len(numbers))
        found = np.sum(parts, axis=0) / ask.settings.probes
        return {"factors": _diagonal_factors(ask, found)}

    factors = ask.work.block("diagonal pilot", pilot)["factors"]
    if not np.isfinite(factors).all():
        return Estimate("hessian_unusable")
    proposal = Scaling(factors)
    rays = ask.blocks("diagonal", ask.ray_batches(), partial(_cast, ask, proposal))
    return pooled(rays, ask.dims, ask.log_units, Determinant(proposal.log_det))


def _diagonal_factors(ask: Question, found: Array) -> Array:
    """Inverse roots of a damped diagonal; NaN if it is zero or not finite."""
    largest = float(np.abs(found).max())
    if not np.isfinite(largest) or largest == 0.0:
        return np.full(len(found), np.nan)
    if ask.settings.damping is not None:
        return np.asarray(damped(found, ask.settings.damping * largest) ** -0.5)
    z = ask.gaussian(np.arange(_DIAGONAL_RAYS) + _PILOT)
    tried = [damped(found, relative * largest) ** -0.5 for relative in DAMPINGS]
    spreads = [_spread(ask, Scaling(factors).draws(z)) for factors in tried]
    return np.asarray(tried[int(np.argmin(spreads))])


def curvature(ask: Question, wanted: tuple[str, ...]) -> dict[str, Estimate]:
    """The estimators ``hessian`` and ``laplace``, from the same Hessian products.

    ``hessian``: importance sampling with directions ``P z``, P close to ``H^(-1/2)`` as
    `landscape.analysis.volume.preconditioner` makes it. Where the body is the ellipsoid of its
    Hessian the weights are all equal. Their error bar holds that of ``log |det P|``.

    ``laplace``: the volume of that ellipsoid, ``omega_n (2 (cutoff - own loss))^(n/2)
    det(H)^(-1/2)``. Rejected, and computed with ``sqrt(H² + damping²)``, where H is not positive.
    Its error bar is that of the log determinant, not of the approximation: it is rejected as
    ``not_quadratic`` where the first four rays differ by more than 0.01 from the ellipsoid's in
    their mean log radius, the ``quadratic_gap``.

    Log determinants are means over the probes, with a cubic of H as control variate whose mean
    is taken over ten times as many vectors, two products each.

    Cost: about ``(8 + probes) lanczos_steps + 20 probes`` Hessian products, ``probes`` radii and
    32 for the damping.
    """
    product, settings = ask.hessian().product, ask.settings
    cast = "hessian" in wanted

    def pilot() -> dict[str, Array]:
        starts = ask.gaussian(np.arange(2 + _PILOT_RAYS) + _PILOT)
        score = partial(_spread, ask) if cast else None
        made = preconditioner(product, starts, settings.lanczos_steps, settings.damping, score)
        return {} if made is None else made.to_arrays()

    arrays = ask.work.block(f"hessian pilot {cast}", pilot)
    if not arrays:
        return {name: Estimate("hessian_unusable") for name in wanted}
    made = Preconditioner.from_arrays(arrays)

    def block(numbers: Array) -> dict[str, Array]:
        sample = made.sample(product, ask.gaussian(numbers))
        found = {**sample.terms, **(_radii(ask, sample.draws) if cast else {})}
        return {**found, "gap": _gap(ask, sample.draws, found.get("radius"), numbers)}

    batches = ask.probe_batches(settings.probes, settings.lanczos_steps)
    found = ask.blocks(f"hessian {cast}", batches, block)
    more = ask.blocks(
        "hessian controls",
        ask.probe_batches(_CONTROLS_PER_PROBE * settings.probes, 4),
        lambda numbers: made.controls(product, ask.gaussian(numbers + _CONTROLS)),
    )
    return {name: _of_curvature(name, ask, made, found, more) for name in wanted}


def _of_curvature(
    name: str,
    ask: Question,
    made: Preconditioner,
    found: Mapping[str, Array],
    more: Mapping[str, Array],
) -> Estimate:
    """One of the two estimates from the rays and probes of all blocks."""
    terms = "map" if name == "hessian" else "curvature"
    trace = Trace.of(found[terms], found[f"{terms}_control"], more[f"{terms}_control"])
    shift = float(np.mean(found[terms] - found[f"{terms}_short"]))
    known = Determinant(trace.mean, trace, shift, abs(shift) <= _QUADRATURE * ask.dims)
    gaps = found["gap"][: min(_CHECKED, ask.settings.probes)]
    if name == "hessian":
        estimate = pooled(found, ask.dims, ask.log_units, known)
        damping = made.damping / made.largest
    else:
        estimate = _laplace(ask, made, known, gaps, positive=bool((found["least"] > 0).all()))
        damping = made.curvature_damping / made.largest
    about = {"damping": damping, "quadratic_gap": float(gaps.mean())}
    return replace(estimate, numbers={**estimate.numbers, **about})


def _laplace(
    ask: Question, made: Preconditioner, known: Determinant, gaps: Array, *, positive: bool
) -> Estimate:
    """The volume of the Hessian's ellipsoid, and whether it is that of the body."""
    if not np.isfinite(known.log_det):
        return Estimate("not_finite")
    value = log_ball(ask.dims) + ask.dims / 2 * np.log(2 * ask.headroom) - ask.log_units
    numbers = {
        **log_volume(value - known.log_det / 2, known.se / 2, ask.dims),
        "log_determinant": known.log_det,
        "log_determinant_se": known.se,
    }
    if not (made.positive and positive):
        return Estimate("hessian_not_positive", numbers)
    if not known.converged:
        return Estimate("not_converged", numbers)
    quadratic = abs(gaps.mean()) <= _LARGEST_GAP
    return Estimate("ok" if quadratic else "not_quadratic", numbers)


def _gap(ask: Question, draws: Draws, radius: Array | None, numbers: Array) -> Array:
    """``log(r / sqrt(2 headroom / u^T H u))`` of the very first rays, NaN for all others: (m,)."""
    gaps = np.full(len(numbers), np.nan)
    few = np.flatnonzero(numbers < _CHECKED)
    if len(few) and np.isfinite(ask.headroom):
        u = draws.directions[few]
        seen = ask.radii(u).radius if radius is None else radius[few]
        with np.errstate(invalid="ignore", divide="ignore"):
            bend = (u * ask.hessian().product(u)).sum(axis=1)
            gaps[few] = np.log(seen) - 0.5 * np.log(2 * ask.headroom / bend)
    return gaps


def _radii(ask: Question, draws: Draws) -> dict[str, Array]:
    """Radii and log weights along drawn directions."""
    found = ask.radii(draws.directions)
    return {
        "radius": found.radius,
        "radius_coefficient": found.radius,
        "ray_status": found.status,
        "log_weight": draws.log_weights(found.radius),
        "log_weight_at_limit": draws.log_weights(np.full(len(found.radius), ask.body.limit)),
    }


def _cast(ask: Question, proposal: Proposal, numbers: Array) -> dict[str, Array]:
    """The rays of these numbers by a proposal."""
    return _radii(ask, proposal.draws(ask.gaussian(numbers)))


def _spread(ask: Question, draws: Draws) -> float:
    """Standard deviation of the log weights; infinite if a radius is unknown."""
    weights = draws.log_weights(ask.radii(draws.directions).radius)
    return float(weights.std()) if np.isfinite(weights).all() else float("inf")


def expected_blocks(ask: Question, names: tuple[str, ...]) -> int:
    """How many blocks the estimators are made of."""
    rays = len(ask.ray_batches())
    steps, probes = ask.settings.lanczos_steps, ask.settings.probes
    count = rays * ("monte-carlo" in names) + (1 + rays) * ("diagonal" in names)
    if {"hessian", "laplace"} & set(names):
        count += 1 + len(ask.probe_batches(probes, steps))
        count += len(ask.probe_batches(_CONTROLS_PER_PROBE * probes, 4))
    return count


def estimates(ask: Question, names: tuple[str, ...]) -> dict[str, Estimate]:
    """The answers of the named estimators, in their order."""
    found: dict[str, Estimate] = {}
    by_hessian = tuple(name for name in names if name in ("hessian", "laplace"))
    if not np.isfinite(ask.headroom) and "laplace" in by_hessian:
        found["laplace"] = Estimate("not_defined")
        by_hessian = tuple(name for name in by_hessian if name != "laplace")
    if "monte-carlo" in names:
        found["monte-carlo"] = monte_carlo(ask)
    if "diagonal" in names:
        found["diagonal"] = diagonal(ask)
    if by_hessian:
        found |= curvature(ask, by_hessian)
    return {name: found[name] for name in names}
