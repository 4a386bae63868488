"""The schema of mask overlaps."""

from __future__ import annotations

from landscape.data_store.schema import STATUS, TEXT, ResultSchema, Variable
from landscape.data_store.schemas.common import COUNT, FRACTION, NUMBER, PAIR

_P, _PL = ("pair",), ("pair", "layer")
_BOTH = (("a", "first"), ("b", "second"))
_ASKED = ("ok", "not_asked_for", "absent")

_SINCE_1_1 = {
    "false_positive": Variable(_PL, COUNT, "weights kept by the first mask only", optional=True),
    "false_negative": Variable(_PL, COUNT, "weights kept by the second mask only", optional=True),
    "true_negative": Variable(_PL, COUNT, "weights kept by neither mask", optional=True),
    "expected_precision": Variable(
        _PL, FRACTION, "precision expected of random masks of the same layer sizes", optional=True
    ),
    "expected_recall": Variable(
        _PL, FRACTION, "recall expected of random masks of the same layer sizes", optional=True
    ),
    "units": Variable(_PL, COUNT, "units: output rows of a weight tensor", optional=True),
    **{
        f"units_{which}": Variable(
            _PL, COUNT, f"units with a weight kept by the {word} mask", optional=True
        )
        for which, word in _BOTH
    },
    "units_both": Variable(
        _PL, COUNT, "units with a weight kept by the first and one by the second", optional=True
    ),
    "unit_precision": Variable(
        _PL, FRACTION, "share of the first mask's units that are the second's", optional=True
    ),
    "unit_recall": Variable(
        _PL, FRACTION, "share of the second mask's units that are the first's", optional=True
    ),
    **{
        f"collapsed_{which}": Variable(
            _PL,
            NUMBER,
            f"1 where the {word} mask keeps no weight of a layer, else 0",
            optional=True,
        )
        for which, word in _BOTH
    },
    **{
        f"effective_{which}": Variable(
            _PL,
            COUNT,
            f"weights the {word} mask keeps on a path from input to output",
            optional=True,
        )
        for which, word in _BOTH
    },
    **{
        f"effective_density_{which}": Variable(
            _PL, FRACTION, f"effective density of the {word} mask", optional=True
        )
        for which, word in _BOTH
    },
    **{
        f"connected_{which}": Variable(
            _P,
            NUMBER,
            f"1 where the {word} mask leaves a path from input to output, else 0",
            optional=True,
        )
        for which, word in _BOTH
    },
    "effective_status": Variable(
        _P, NUMBER, "whether paths were looked for", STATUS, _ASKED, optional=True
    ),
    "matched_kept_both": Variable(
        _PL, COUNT, "weights kept by both masks once units are matched", optional=True
    ),
    **{
        f"matched_{share}": Variable(
            _PL, FRACTION, f"{words} once units are matched", optional=True
        )
        for share, words in (
            ("jaccard", "Jaccard index"),
            ("precision", "precision"),
            ("recall", "recall"),
            ("f1", "F1"),
        )
    },
    "matched_expected_jaccard": Variable(
        _PL, FRACTION, "mean Jaccard index of random masks once units are matched", optional=True
    ),
    "matched_p_value": Variable(
        _PL,
        NUMBER,
        "Monte-Carlo p-value of the weights kept by both once units are matched",
        optional=True,
    ),
    "matched_status": Variable(
        _P, NUMBER, "whether units were matched", STATUS, _ASKED, optional=True
    ),
}

OVERLAP = ResultSchema(
    kind="overlap",
    version=(1, 1),
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
        **_SINCE_1_1,
    },
    samples={
        "pair": ("imp@0 imp@1", "imp@1 imp@2", "imp@2 imp@3"),
        "layer": ("all", "fc1.weight", "fc2.weight"),
    },
)
