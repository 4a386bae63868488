"""The volume of a minimum: of the sublevel set around a checkpoint, in its own masked subspace."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from landscape.analysis.directions import filter_scales
from landscape.analysis.grouping import EACH
from landscape.analysis.landscape import Evaluation, Landscape
from landscape.analysis.pairs import checkpoint_coordinates
from landscape.analysis.registry import Analysis
from landscape.analysis.sampling import subset
from landscape.analysis.subspace import Subspace
from landscape.analysis.volume.estimate import Estimate
from landscape.analysis.volume.estimators import ESTIMATORS, estimates, expected_blocks
from landscape.analysis.volume.question import Question
from landscape.analysis.volume.rays import Body, coarse_places
from landscape.analysis.work import AtOnce, Work
from landscape.data_store.errors import LandscapeError, UsageError
from landscape.data_store.params import Array
from landscape.data_store.records import Checkpoint
from landscape.data_store.schemas.volume import COMPARISONS, RAY_STATUSES, STATUSES, VOLUME
from landscape.data_store.settings import check, option

_PASSES_OF_A_RAY, _PASSES_OF_A_PRODUCT = 8, 8
_DEFAULT_CUTOFF = {"absolute": 0.1, "relative": 0.1, "accuracy": 0.8}
_PER_ESTIMATOR = (
    "log_volume",
    "log_volume_se",
    "log_volume_per_dimension",
    "log_volume_per_dimension_se",
    "log_volume_lower_bound",
    "effective_sample_size",
    "censored",
    "log_determinant",
    "log_determinant_se",
    "quadratic_gap",
    "damping",
)
_PER_RAY = ("radius", "radius_coefficient", "log_weight")


@dataclass(frozen=True)
class VolumeSettings:
    """How a volume is estimated; the fields are options of ``landscape volume``."""

    estimators: tuple[str, ...] = option(
        ESTIMATORS,
        "estimators, beside each other",
        choices=ESTIMATORS,
        each_once="monte-carlo,hessian",
    )
    normalization: str = option(
        "filter",
        "unit of length: the root mean square of a weight's filter, tensors of one dimension held "
        "fixed, or Euclidean in all free weights",
        choices=("filter", "isotropic"),
    )
    cutoff_mode: str = option(
        "absolute",
        "inside is a loss of at most the cutoff, of at most the cutoff above the checkpoint's own, "
        "or an accuracy of at least the cutoff",
        choices=("absolute", "relative", "accuracy"),
    )
    cutoff: float | None = option(
        None, "0.1 nats per example, or an accuracy of 0.8, unless given", above=0
    )
    rays: int = option(1000, "rays of monte-carlo and of diagonal", min=2)
    probes: int = option(
        64, "rays of hessian, which are also the probes of log-determinants", min=2
    )
    lanczos_steps: int = option(40, "Hessian products for each probe", min=3)
    damping: float | None = option(
        None, "least curvature against the largest; chosen by a few rays unless given", above=0
    )
    split: str = option("train", "split of the data")
    examples: int | None = option(None, "random examples of the split; all unless given", min=1)
    tolerance: float = option(1e-6, "relative accuracy of a radius", above=0, max=0.1)
    max_radius: float = option(
        10.0, "where rays are given up, in Euclidean norms of the weights that move", above=0
    )
    seed: int = option(0, "seed of rays, probes and examples", min=0, max=2**63 - 1)
    bn: str = option(
        "interpolate",
        "normalisation statistics off the checkpoint",
        choices=("interpolate", "recompute", "first"),
    )

    def __post_init__(self) -> None:
        check(self)
        if self.cutoff_mode == "accuracy" and self.level > 1:
            raise UsageError(f"cutoff is {self.cutoff}; an accuracy is at most 1")

    @property
    def level(self) -> float:
        """The cutoff, its mode's default unless given."""
        return _DEFAULT_CUTOFF[self.cutoff_mode] if self.cutoff is None else self.cutoff


def volume(
    checkpoint: Checkpoint,
    landscape: Landscape,
    settings: VolumeSettings | None = None,
    work: Work | None = None,
) -> xr.Dataset:
    """Log volume of the sublevel set around a checkpoint, by several estimators; ``volume``.

    The set is what is seen from the checkpoint: along each ray up to the first crossing of the
    cutoff. Its n dimensions are the weights that the mask keeps and all that is never pruned;
    with ``normalization=filter`` without tensors of one dimension and filters that are zero.
    Then lengths are measured in root mean squares of each filter: ``log_volume + log_unit`` is
    the Euclidean one.

    Estimators: ``monte-carlo`` is the literature's; ``diagonal`` and ``hessian`` draw the same
    volume's rays where they are long, by the Hessian's diagonal and by the Hessian, and weigh
    them; ``laplace`` is the volume of the Hessian's ellipsoid. See
    `landscape.analysis.volume.estimators`. With ``normalization=filter``, ``monte-carlo`` is
    over a product of spheres as in the literature, no volume: compare it with itself only.

    The verdict is ``status``. An estimate that its own diagnostics reject is given with the
    reason: ``effective_sample_size_too_small`` where ``(sum w)² / sum w²`` over the rays is
    below 20 or below a twentieth of their number (it is as good as surely too low then, by nobody
    knows how much: no standard error; that it is t nats too high has a probability below
    exp(-t)); ``not_converged`` where the log determinant still changes by 0.01
    nats per dimension with the last quarter of the products, or a radius is unknown;
    for a Laplace volume, ``hessian_not_positive`` where the damping decides it and
    ``not_quadratic`` where the first rays are 0.01 in log r off its ellipsoid. Without a number
    (NaN): ``censored_rays``, when a ray does not cross within ``max_radius``, since the longest
    rays decide (``log_volume_lower_bound`` is the part within it); ``cutoff_below_own_loss``;
    ``not_finite``; ``hessian_unusable``, zero or not finite; ``not_defined``, Laplace by
    accuracy; ``nothing_moves``.

    Standard errors are over rays and probes, not over examples. Errors of the radii add at most
    ``n tolerance`` nats.

    Compare log volumes only at equal n, cutoff and normalisation: `comparable`. Rays are equal
    for all checkpoints of a network and seed, before they are masked.

    Parameters
    ----------
    checkpoint
        The centre.
    landscape
        The loss.
    settings
        The options.
    work
        Where blocks are computed, one for each batch of rays or probes.

    Returns
    -------
    xarray.Dataset
        One checkpoint. Rays that an estimator does not have are NaN with ray status ``absent``.

    Raises `LandscapeError` if all moving weights are 0, so that ``max_radius`` has no unit, and
    `UsageError` if there is no such split.

    Cost: 3 to 6 loss evaluations a ray, less where the first layer is shared (`Body.radii`), and
    the Hessian products of the estimators.
    Source: Huang et al. (2020), Understanding generalization through visualizations, section 4.
    """
    settings = settings or VolumeSettings()
    examples = landscape.examples(settings.split)
    places = subset(examples, settings.examples, settings.seed)
    centre = checkpoint.point
    own = landscape.evaluate(centre[None], np.ones((1, 1)), split=settings.split, places=places)
    subspace, units = _coordinates(checkpoint, settings.normalization)
    level = _level(settings, own)
    reason = _reason(settings, own, level, subspace)
    limit = settings.max_radius * float(np.linalg.norm(subspace.restrict(centre).astype(float)))
    if reason:
        found = {name: Estimate(reason) for name in settings.estimators}
    else:
        if not limit:
            raise LandscapeError(
                "the weights that move are all 0, so max_radius has no unit; use another checkpoint"
            )
        coarse = coarse_places(examples, settings.examples, settings.seed)
        by_loss = settings.cutoff_mode != "accuracy"
        body = Body(
            landscape,
            centre,
            level,
            "loss" if by_loss else "error",
            settings.split,
            places,
            coarse,
            settings.tolerance,
            limit,
        )
        headroom = level - float(own.loss[0]) if by_loss else float("nan")
        filtered = settings.normalization == "filter"
        ask = Question(
            checkpoint, subspace, units, filtered, body, headroom, settings, work or AtOnce()
        )
        ask.work.expect(expected_blocks(ask, settings.estimators))
        found = estimates(ask, settings.estimators)
    return _dataset(
        checkpoint,
        settings,
        found,
        {
            "n_parameters": subspace.dims,
            "log_unit": float(np.log(units).sum()),
            "cutoff": level,
            "largest_radius": limit,
            "own_loss": float(own.loss[0]),
            "own_error": float(own.error[0]),
            "examples": own.examples,
        },
    )


def _coordinates(checkpoint: Checkpoint, normalization: str) -> tuple[Subspace, Array]:
    """The coordinates that move, and the unit of length of each."""
    if normalization == "isotropic":
        subspace = Subspace.of(checkpoint)
        return subspace, np.ones(subspace.dims)
    scales = filter_scales(checkpoint.theta, checkpoint.mask.kept, checkpoint.spec)
    free = np.flatnonzero(scales > 0)
    return Subspace(len(checkpoint.point), free), scales[free]


def _level(settings: VolumeSettings, own: Evaluation) -> float:
    """The largest loss inside, or error."""
    if settings.cutoff_mode == "accuracy":
        return 1.0 - settings.level
    relative = settings.cutoff_mode == "relative"
    return settings.level + (float(own.loss[0]) if relative else 0.0)


def _reason(settings: VolumeSettings, own: Evaluation, level: float, subspace: Subspace) -> str:
    """Why there is no volume, empty if there is."""
    value = float((own.error if settings.cutoff_mode == "accuracy" else own.loss)[0])
    if not np.isfinite(own.loss[0]) or np.isnan(value):
        return "not_finite"
    if value > level:
        return "cutoff_below_own_loss"
    return "" if subspace.dims else "nothing_moves"


def _dataset(
    checkpoint: Checkpoint,
    settings: VolumeSettings,
    found: dict[str, Estimate],
    about: dict[str, float],
) -> xr.Dataset:
    """The labelled result of one checkpoint."""
    longest = max(len(one.rays.get("radius", ())) for one in found.values())
    variables: dict[str, Any] = {
        name: [[one.numbers.get(name, np.nan) for one in found.values()]] for name in _PER_ESTIMATOR
    }
    for name in _PER_RAY:
        variables[name] = [[_padded(one, name, longest, np.nan) for one in found.values()]]
    absent = RAY_STATUSES.index("absent")
    variables["ray_status"] = [
        [_padded(one, "ray_status", longest, absent) for one in found.values()]
    ]
    variables["status"] = [[STATUSES.index(one.status) for one in found.values()]]
    coords: dict[str, Any] = {
        **checkpoint_coordinates(checkpoint),
        "normalization": [settings.normalization],
        "cutoff_mode": [settings.cutoff_mode],
        "split": [settings.split],
        "estimator": list(found),
        "ray": np.arange(longest),
    }
    return VOLUME.build(coords, {**variables, **{k: [value] for k, value in about.items()}})


def _padded(one: Estimate, name: str, length: int, missing: float) -> Array:
    """An array over rays, filled up."""
    values = one.rays.get(name, np.empty(0))
    return np.concatenate([values, np.full(length - len(values), missing)])


def comparable(volumes: xr.Dataset) -> xr.DataArray:
    """Whether each checkpoint's log volume can be compared with the first one's: a status.

    ``other_dimension``, ``other_cutoff`` (or mode, split, or number of examples),
    ``other_normalization``; ``unknown`` where the dimension is NaN. Volumes of sets in spaces of
    different dimension have different units: no difference of theirs has a meaning, nor of those
    per dimension.

    Parameters
    ----------
    volumes
        Results of `volume`, joined along ``checkpoint``.
    """
    first = volumes.isel(checkpoint=0)
    dimension = volumes["n_parameters"]
    cutoff = volumes["cutoff_mode"] != first["cutoff_mode"].item()
    if first["cutoff_mode"].item() != "relative":
        cutoff = cutoff | (volumes["cutoff"] != first["cutoff"].item())
    cutoff = cutoff | (volumes["split"] != first["split"].item())
    cutoff = cutoff | (volumes["examples"] != first["examples"].item())
    reasons = {
        "other_normalization": volumes["normalization"] != first["normalization"].item(),
        "other_cutoff": cutoff,
        "other_dimension": dimension != first["n_parameters"].item(),
        "unknown": np.isnan(dimension) | bool(np.isnan(first["n_parameters"].item())),
    }
    status = xr.zeros_like(dimension, dtype=np.int8)
    for name, found in reasons.items():
        status = status.where(~found, COMPARISONS.index(name)).astype(np.int8)
    status.attrs = {
        "long_name": "whether a log volume can be compared with the first checkpoint's",
        "flag_values": np.arange(len(COMPARISONS), dtype=np.int8),
        "flag_meanings": " ".join(COMPARISONS),
    }
    return status.rename("comparison")


def log_ratio(volumes: xr.Dataset) -> xr.DataArray:
    """Log of each checkpoint's volume over the first one's, in nats: (checkpoint, estimator).

    Raises `LandscapeError` unless all are `comparable`.
    """
    status = comparable(volumes)
    for address, code in zip(volumes["checkpoint"].values, status.values, strict=True):
        if code:
            raise LandscapeError(
                f"the volumes of {volumes['checkpoint'].values[0]} and {address} cannot be "
                f"compared: {COMPARISONS[int(code)].replace('_', ' ')}; use checkpoints of equal "
                "dimension, cutoff and normalization"
            )
    ratio: xr.DataArray = volumes["log_volume"] - volumes["log_volume"].isel(
        checkpoint=0, drop=True
    )
    return ratio


def _cost(settings: VolumeSettings, examples: Mapping[str, int], _checkpoints: int) -> float:
    """About how many forward passes of an example a checkpoint takes."""
    whole = examples.get(settings.split, 0)
    used = whole if settings.examples is None else min(settings.examples, whole)
    names = set(settings.estimators)
    by_hessian = bool({"hessian", "laplace"} & names)
    rays = settings.rays * len({"monte-carlo", "diagonal"} & names)
    rays += (settings.probes + 32) * by_hessian
    products = settings.probes * ("diagonal" in names)
    products += ((8 + settings.probes) * settings.lanczos_steps + 20 * settings.probes) * by_hessian
    return float(used * (_PASSES_OF_A_RAY * rays + _PASSES_OF_A_PRODUCT * products))


def _self_test() -> xr.Dataset:
    """The table of `landscape.analysis.volume.self_test`, imported when it is asked for."""
    from landscape.analysis.volume.self_test import self_test

    return self_test()


ANALYSIS = Analysis(
    schema=VOLUME,
    settings=VolumeSettings,
    compute=lambda points, settings, landscape, work: volume(points[0], landscape, settings, work),
    grouping=lambda _settings: EACH,
    uses_loss=True,
    measures=(
        "log_volume_per_dimension",
        "log_volume_per_dimension_se",
        "effective_sample_size",
        "n_parameters",
        "status",
    ),
    cost=_cost,
    self_test=_self_test,
)
