"""The schema of sublevel sets along the transitions of a run."""

from __future__ import annotations

from landscape.data_store.schema import STATUS, TEXT, ResultSchema, Variable
from landscape.data_store.schemas.barrier import DEFINITIONS
from landscape.data_store.schemas.common import FRACTION, NATS, NUMBER

POINTS = ("previous", "baseline", "rewind", "solution")
PATHS = ("previous-solution", "baseline-solution", "previous-baseline", "rewind-solution")

_T, _TS = ("transition",), ("transition", "split")
_TSO, _TSP = (*_TS, "point"), (*_TS, "path")
_TSPA, _TSPD = (*_TSP, "alpha"), (*_TSP, "definition")
_MEASURE = "in the unit of the measure: nats per example, or a fraction"

SUBLEVEL = ResultSchema(
    kind="sublevel",
    version=(1, 0),
    coordinates={
        "transition": Variable(_T, NUMBER, "from one solution to the next", TEXT),
        "run": Variable(_T, NUMBER, "run of the previous solution", TEXT),
        "level_a": Variable(_T, NUMBER, "level of the previous solution"),
        "level_b": Variable(_T, NUMBER, "level of the solution"),
        "density_a": Variable(_T, FRACTION, "density of the previous solution"),
        "density_b": Variable(_T, FRACTION, "density of the solution"),
        "split": Variable(("split",), NUMBER, "split of the data", TEXT),
        "point": Variable(("point",), NUMBER, "point of the transition", TEXT),
        "path": Variable(("path",), NUMBER, "straight path between two of the points", TEXT),
        "alpha": Variable(("alpha",), NUMBER, "position on a path, 0 its first point"),
        "definition": Variable(("definition",), NUMBER, "definition of the barrier", TEXT),
    },
    variables={
        "loss": Variable(_TSO, NATS, "loss"),
        "loss_se": Variable(_TSO, NATS, "standard error of the loss"),
        "error": Variable(_TSO, FRACTION, "error"),
        "error_se": Variable(_TSO, FRACTION, "standard error of the error"),
        "threshold": Variable(_TS, NUMBER, f"highest value inside the sublevel set, {_MEASURE}"),
        "margin": Variable(_TSO, NUMBER, f"value above the threshold, {_MEASURE}"),
        "margin_se": Variable(_TSO, NUMBER, f"paired standard error of the margin, {_MEASURE}"),
        "member": Variable(_TSO, NUMBER, "1 inside the sublevel set, 0 outside"),
        "loss_on_path": Variable(_TSPA, NATS, "loss on the path"),
        "error_on_path": Variable(_TSPA, FRACTION, "error on the path"),
        "max_loss": Variable(_TSP, NATS, "highest loss on the path"),
        "max_error": Variable(_TSP, FRACTION, "highest error on the path"),
        "loss_barrier": Variable(_TSPD, NATS, "loss barrier"),
        "error_barrier": Variable(_TSPD, FRACTION, "error barrier"),
        "barrier": Variable(_TSP, NUMBER, f"barrier that epsilon bounds, {_MEASURE}"),
        "barrier_se": Variable(_TSP, NUMBER, f"paired standard error of that barrier, {_MEASURE}"),
        "within": Variable(_TSP, NUMBER, "1 if the whole path is inside the sublevel set, else 0"),
        "connected": Variable(_TSP, NUMBER, "1 if the barrier is at most epsilon, else 0"),
        "claim_sublevel": Variable(_TS, NUMBER, "1 if the solution is inside the sublevel set"),
        "claim_connected": Variable(
            _TS, NUMBER, "1 if the path between the solutions has no barrier above epsilon"
        ),
        "distance": Variable((*_T, "path"), NUMBER, "Euclidean distance of the ends' weights"),
        "angle": Variable(
            (*_T, "path"), NUMBER, "angular distance of the ends: 0 parallel, 1 orthogonal"
        ),
        "measure": Variable(_T, NUMBER, "what is to stay low: loss or error", TEXT),
        "epsilon": Variable(_T, NUMBER, f"slack of the set and of barriers, {_MEASURE}"),
        "bounded": Variable(_T, NUMBER, "definition of the barrier that is bounded", TEXT),
        "reference": Variable(_T, NUMBER, "whose height the set has", TEXT),
        "status": Variable(
            _TSO,
            NUMBER,
            "what the membership of a point is worth",
            STATUS,
            (
                "ok",
                "within_two_standard_errors",
                "not_finite",
                "no_such_point",
                "no_reference",
                "absent",
            ),
        ),
        "path_status": Variable(
            _TSP,
            NUMBER,
            "what the barrier of a path is worth",
            STATUS,
            ("ok", "within_two_standard_errors", "not_finite", "no_such_point", "absent"),
        ),
    },
    samples={
        "transition": ("imp@0 imp@1", "imp@1 imp@2", "imp@2 imp@3"),
        "split": ("train", "test"),
        "point": POINTS,
        "path": PATHS,
        "alpha": (0.0, 0.5, 1.0),
        "definition": DEFINITIONS,
    },
)
