"""The schema of insights: seven claims about a study, and what they were judged by."""

from __future__ import annotations

from landscape.data_store.schema import STATUS, TEXT, ResultSchema, Variable
from landscape.data_store.schemas.common import COUNT, FRACTION, NATS, NUMBER
from landscape.data_store.schemas.sublevel import PATHS, POINTS
from landscape.data_store.schemas.volume import STATUSES as VOLUME_STATUSES

_S, _SC = ("study",), ("study", "claim")
_SR, _SRSL = ("study", "replicate"), ("study", "replicate", "strategy", "level")
_AT, _ON = (*_SRSL, "split", "point"), (*_SRSL, "split", "path")

MEASURED = {
    "density": Variable(_SRSL, FRACTION, "fraction of prunable weights kept"),
    "previous": Variable(_SRSL, NUMBER, "previous solution", TEXT),
    "solution": Variable(_SRSL, NUMBER, "solution", TEXT),
    "loss": Variable(_AT, NATS, "loss"),
    "loss_se": Variable(_AT, NATS, "standard error of the loss"),
    "error": Variable(_AT, FRACTION, "error"),
    "error_se": Variable(_AT, FRACTION, "standard error of the error"),
    "loss_barrier": Variable(_ON, NATS, "loss barrier"),
    "error_barrier": Variable(_ON, FRACTION, "error barrier"),
    "barrier_se": Variable(_ON, NUMBER, "standard error of the barrier of the measure"),
    "distance": Variable((*_SRSL, "path"), NUMBER, "Euclidean distance of the ends' weights"),
    "angle": Variable(
        (*_SRSL, "path"), NUMBER, "angular distance of the ends: 0 parallel, 1 orthogonal"
    ),
    "log_volume_per_dimension": Variable(
        _SRSL, "nats", "log volume of the minimum per dimension of its subspace"
    ),
    "log_volume_per_dimension_se": Variable(
        _SRSL, "nats", "standard error of the log volume per dimension, over rays"
    ),
    "dimensions": Variable(_SRSL, COUNT, "dimensions of the volume"),
    "volume_status": Variable(_SRSL, NUMBER, "what the volume is worth", STATUS, VOLUME_STATUSES),
    "status": Variable(
        _SRSL,
        NUMBER,
        "what is known of a solution",
        STATUS,
        ("ok", "not_finite", "not_trained", "absent"),
    ),
}

INSIGHTS = ResultSchema(
    kind="insights",
    version=(1, 0),
    coordinates={
        "study": Variable(_S, NUMBER, "runs of the study", TEXT),
        "claim": Variable(("claim",), NUMBER, "number of the claim"),
        "statement": Variable(("claim",), NUMBER, "what is claimed", TEXT),
        "replicate": Variable(
            ("replicate",), NUMBER, "run that the others are compared with", TEXT
        ),
        "strategy": Variable(("strategy",), NUMBER, "how masks and weights were found", TEXT),
        "level": Variable(("level",), NUMBER, "level of the run with the same density"),
        "split": Variable(("split",), NUMBER, "split of the data", TEXT),
        "point": Variable(("point",), NUMBER, "point of the transition", TEXT),
        "path": Variable(("path",), NUMBER, "straight path between two of the points", TEXT),
    },
    variables={
        **MEASURED,
        "inside_previous": Variable(
            (*_SRSL, "split"),
            NUMBER,
            "1 inside the sublevel set of the run's level before, 0 outside",
        ),
        "inside_dense": Variable(
            (*_SRSL, "split"), NUMBER, "1 inside the sublevel set of the run's level 0, 0 outside"
        ),
        "verdict": Variable(_SC, NUMBER, "holds, does not hold or undecided", TEXT),
        "rule": Variable(_SC, NUMBER, "by which rule", TEXT),
        "measured": Variable(_SC, NUMBER, "by which numbers", TEXT),
        "missing": Variable(_SC, NUMBER, "what is missing for a verdict", TEXT),
        "comparisons": Variable(_SC, COUNT, "comparisons made"),
        "in_favour": Variable(_SC, COUNT, "comparisons that bear the claim out"),
        "against": Variable(_SC, COUNT, "comparisons that contradict the claim"),
        "outcome": Variable(
            (*_SC, "replicate", "level"),
            FRACTION,
            "share of the comparisons at a level that bear the claim out",
        ),
        "effect": Variable((*_SC, "replicate"), NUMBER, "the claim's headline number by run"),
        "effect_name": Variable(_SC, NUMBER, "what the headline number is", TEXT),
        "measure": Variable(_S, NUMBER, "what is judged: loss or error", TEXT),
        "judged_split": Variable(_S, NUMBER, "the split it is judged on", TEXT),
        "epsilon": Variable(_S, NUMBER, "slack of sublevel sets and barriers"),
        "definition": Variable(_S, NUMBER, "definition of the barrier", TEXT),
    },
    samples={
        "study": ("imp-a imp-b",),
        "claim": (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0),
        "replicate": ("imp-a", "imp-b"),
        "strategy": ("imp", "one-shot", "finetune", "random", "largest-first", "reinit"),
        "level": (0.0, 1.0, 2.0, 3.0),
        "split": ("train", "test"),
        "point": POINTS,
        "path": PATHS,
    },
)
