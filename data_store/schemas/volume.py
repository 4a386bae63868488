"""The schema of volumes: the sublevel set around a checkpoint."""

from __future__ import annotations

from landscape.data_store.schema import STATUS, TEXT, ResultSchema, Variable
from landscape.data_store.schemas.common import CHECKPOINT, COUNT, FRACTION, NATS, NUMBER

STATUSES = (
    "ok",
    "effective_sample_size_too_small",
    "censored_rays",
    "not_converged",
    "hessian_not_positive",
    "not_quadratic",
    "hessian_unusable",
    "not_defined",
    "cutoff_below_own_loss",
    "not_finite",
    "nothing_moves",
    "absent",
)
RAY_STATUSES = ("ok", "censored", "not_converged", "ends_at_not_finite", "absent")
COMPARISONS = ("ok", "other_dimension", "other_cutoff", "other_normalization", "unknown", "absent")

_C, _CE = ("checkpoint",), ("checkpoint", "estimator")
_CER = ("checkpoint", "estimator", "ray")

VOLUME = ResultSchema(
    kind="volume",
    version=(1, 0),
    coordinates={
        **CHECKPOINT,
        "normalization": Variable(_C, NUMBER, "unit of length: of filters, or Euclidean", TEXT),
        "cutoff_mode": Variable(_C, NUMBER, "what the cutoff is a value of", TEXT),
        "split": Variable(_C, NUMBER, "split of the data", TEXT),
        "estimator": Variable(("estimator",), NUMBER, "estimator of the volume", TEXT),
        "ray": Variable(("ray",), NUMBER, "number of a ray"),
    },
    variables={
        "log_volume": Variable(_CE, "nats", "log volume"),
        "log_volume_se": Variable(_CE, "nats", "standard error of the log volume"),
        "log_volume_per_dimension": Variable(_CE, "nats", "log volume per dimension"),
        "log_volume_per_dimension_se": Variable(
            _CE, "nats", "standard error of the log volume per dimension"
        ),
        "log_volume_lower_bound": Variable(
            _CE, "nats", "log volume of the part within the largest radius"
        ),
        "effective_sample_size": Variable(_CE, COUNT, "effective number of rays"),
        "censored": Variable(_CE, COUNT, "rays that do not leave within the largest radius"),
        "log_determinant": Variable(
            _CE, "nats", "log determinant of the proposal's map, or of the Hessian (laplace)"
        ),
        "log_determinant_se": Variable(_CE, "nats", "standard error of the log determinant"),
        "quadratic_gap": Variable(
            _CE, "nats", "mean log ratio of a few radii to those of the Hessian's ellipsoid"
        ),
        "damping": Variable(_CE, NUMBER, "damping against the largest eigenvalue"),
        "status": Variable(_CE, NUMBER, "what an estimate is worth", STATUS, STATUSES),
        "radius": Variable(_CER, NUMBER, "Euclidean distance to the boundary"),
        "radius_coefficient": Variable(_CER, NUMBER, "the same in lengths of the drawn direction"),
        "log_weight": Variable(_CER, "nats", "log of a ray's own estimate of the volume"),
        "ray_status": Variable(_CER, NUMBER, "what a radius is worth", STATUS, RAY_STATUSES),
        "n_parameters": Variable(_C, COUNT, "dimensions of the volume"),
        "log_unit": Variable(_C, "nats", "log Euclidean volume of the unit of volume"),
        "cutoff": Variable(_C, NUMBER, "largest loss inside, or error if by accuracy"),
        "largest_radius": Variable(_C, NUMBER, "Euclidean distance at which rays are given up"),
        "own_loss": Variable(_C, NATS, "loss of the checkpoint on these examples"),
        "own_error": Variable(_C, FRACTION, "error of the checkpoint on these examples"),
        "examples": Variable(_C, COUNT, "examples that define the sublevel set"),
    },
    samples={
        "checkpoint": ("imp@0", "imp@1", "imp@2"),
        "estimator": ("monte-carlo", "hessian"),
        "ray": (0.0, 1.0, 2.0),
    },
)
