"""The schema of mask overlaps."""

from __future__ import annotations

from landscape.data_store.schema import STATUS, TEXT, ResultSchema, Variable
from landscape.data_store.schemas.common import COUNT, FRACTION, NUMBER, PAIR

_PL = ("pair", "layer")

OVERLAP = ResultSchema(
    kind="overlap",
    version=(1, 0),
    coordinates={
        **PAIR,
        "layer": Variable(("layer",), NUMBER, "tensor, or 'all' of them", TEXT),
    },
    variables={
        "weights": Variable(_PL, COUNT, "prunable weights"),
        "kept_a": Variable(_PL, COUNT, "weights kept by the first mask"),
        "kept_b": Variable(_PL, COUNT, "weights kept by the second mask"),
        "kept_both": Variable(_PL, COUNT, "weights kept by both masks"),
        "jaccard": Variable(_PL, FRACTION, "Jaccard index of the kept weights"),
        "precision": Variable(_PL, FRACTION, "share of the first mask that is in the second"),
        "recall": Variable(_PL, FRACTION, "share of the second mask that is in the first"),
        "f1": Variable(_PL, FRACTION, "harmonic mean of precision and recall"),
        "expected_jaccard": Variable(
            _PL, FRACTION, "Jaccard index expected of random masks of the same layer sizes"
        ),
        "p_value": Variable(
            _PL, NUMBER, "probability of at least this overlap between such random masks"
        ),
        "log_p_value": Variable(_PL, "nats", "natural logarithm of the p-value"),
        "sign_agreement": Variable(
            _PL, FRACTION, "share of the weights kept by both that have the same sign"
        ),
        "status": Variable(
            _PL, NUMBER, "what the numbers are worth", STATUS, ("ok", "an_empty_mask", "absent")
        ),
    },
    samples={
        "pair": ("imp@0 imp@1", "imp@1 imp@2", "imp@2 imp@3"),
        "layer": ("all", "fc1.weight", "fc2.weight"),
    },
)
