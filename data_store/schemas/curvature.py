"""The schema of curvatures: the Hessian at checkpoints."""

from __future__ import annotations

from landscape.data_store.schema import STATUS, TEXT, ResultSchema, Variable
from landscape.data_store.schemas.common import CHECKPOINT, COUNT, NATS, NUMBER

_C, _CR, _CG = ("checkpoint",), ("checkpoint", "rank"), ("checkpoint", "grid")
_DENSITY = "1 / (nats per example)"

CURVATURE = ResultSchema(
    kind="curvature",
    version=(1, 0),
    coordinates={
        **CHECKPOINT,
        "split": Variable(_C, NUMBER, "split of the data that the loss is a mean over", TEXT),
        "rank": Variable(
            ("rank",), NUMBER, "rank of an eigenvalue, 1 the largest, -1 the smallest"
        ),
        "grid": Variable(("grid",), NUMBER, "number of a point of the spectral density's grid"),
        "parameter": Variable(
            ("parameter",), NUMBER, "place of a weight in the flat vector", optional=True
        ),
    },
    variables={
        "eigenvalue": Variable(_CR, NATS, "eigenvalue of the Hessian"),
        "residual": Variable(_CR, NATS, "length of H v - eigenvalue v"),
        "eigenvalue_status": Variable(
            _CR,
            NUMBER,
            "what an eigenvalue is worth",
            STATUS,
            ("ok", "not_converged", "not_finite", "fewer_dimensions", "absent"),
        ),
        "eigenvector": Variable(
            ("checkpoint", "rank", "parameter"), NUMBER, "eigenvector of length 1", optional=True
        ),
        "trace": Variable(_C, NATS, "trace of the Hessian"),
        "trace_se": Variable(_C, NATS, "standard error of the trace"),
        "trace_per_dimension": Variable(_C, NATS, "mean eigenvalue"),
        "spectral_density": Variable(_CG, _DENSITY, "spectral density"),
        "spectral_density_se": Variable(_CG, _DENSITY, "standard error of the spectral density"),
        "grid_eigenvalue": Variable(_CG, NATS, "eigenvalue"),
        "linear_below": Variable(_C, NATS, "eigenvalue at which the grid becomes logarithmic"),
        "n_parameters": Variable(_C, COUNT, "free weights: the dimensions of the Hessian"),
        "examples": Variable(_C, COUNT, "examples that the loss is a mean over"),
        "status": Variable(
            _C,
            NUMBER,
            "what the numbers of a checkpoint are worth",
            STATUS,
            ("ok", "eigenvalues_not_converged", "not_finite", "no_free_weights", "absent"),
        ),
    },
    samples={
        "checkpoint": ("imp@0", "imp@1", "imp@2"),
        "rank": (1.0, 2.0, -1.0),
        "grid": (0.0, 1.0, 2.0, 3.0, 4.0),
        "parameter": (0.0, 1.0, 4.0),
    },
)
