"""The schema of barriers."""

from __future__ import annotations

from landscape.data_store.schema import STATUS, TEXT, ResultSchema, Variable
from landscape.data_store.schemas.common import COUNT, FRACTION, NATS, NUMBER, PAIR

DEFINITIONS = ("lmc", "deviation", "over_max", "increase")

_P, _PS = ("pair",), ("pair", "split")
_PSA, _PSD = ("pair", "split", "alpha"), ("pair", "split", "definition")
_PSR = ("pair", "split", "refinement")


def _limits(measure: str, units: str, of: str, prefix: str) -> dict[str, Variable]:
    """The two ends of an interval for a barrier."""
    return {
        f"{measure}_barrier_{prefix}{side}": Variable(
            _PSD,
            units,
            f"{word} end of the 95 % interval for the {measure} barrier of {of}",
            optional=True,
        )
        for side, word in (("low", "lower"), ("high", "upper"))
    }


_UNITS = {"loss": NATS, "error": FRACTION}
_SINCE_1_1 = {
    name: variable
    for measure, units in _UNITS.items()
    for name, variable in {
        f"{measure}_barrier_se": Variable(
            _PSD, units, f"standard error of the {measure} barrier", optional=True
        ),
        **_limits(measure, units, "what the split is a sample of", ""),
        **_limits(measure, units, "the whole split", "split_"),
    }.items()
} | {
    "examples": Variable(_PS, COUNT, "examples the barriers are measured on", optional=True),
    "examples_at": Variable(_PSA, COUNT, "examples evaluated at a position", optional=True),
    "sampling_status": Variable(
        _PS,
        NUMBER,
        "whether a part of the examples sufficed for the tolerance",
        STATUS,
        ("ok", "took_all_examples", "absent"),
        optional=True,
    ),
    "stable": Variable(
        _PS,
        NUMBER,
        "error barrier (lmc) below 2 %: 1 yes, 0 no, unknown where the interval holds 2 %",
        optional=True,
    ),
    "angular_distance": Variable(
        _P, NUMBER, "angle of the weights both masks keep, in right angles", optional=True
    ),
    "shared_distance": Variable(
        _P, NUMBER, "Euclidean distance of the weights both masks keep", optional=True
    ),
    "sign_agreement": Variable(
        _P, FRACTION, "share of the weights both masks keep that have the same sign", optional=True
    ),
}

BARRIER = ResultSchema(
    kind="barrier",
    version=(1, 1),
    coordinates={
        **PAIR,
        "split": Variable(("split",), NUMBER, "split of the data", TEXT),
        "alpha": Variable(("alpha",), NUMBER, "position on the line, 0 the first checkpoint"),
        "definition": Variable(("definition",), NUMBER, "definition of the barrier", TEXT),
        "refinement": Variable(("refinement",), NUMBER, "number of an added point", optional=True),
    },
    variables={
        "loss": Variable(_PSA, NATS, "loss on the line"),
        "loss_se": Variable(_PSA, NATS, "standard error of the loss"),
        "error": Variable(_PSA, FRACTION, "error on the line"),
        "error_se": Variable(_PSA, FRACTION, "standard error of the error"),
        "loss_barrier": Variable(_PSD, NATS, "loss barrier"),
        "error_barrier": Variable(_PSD, FRACTION, "error barrier"),
        "loss_alpha_at_max": Variable(_PSD, NUMBER, "position of the loss barrier's maximum"),
        "error_alpha_at_max": Variable(_PSD, NUMBER, "position of the error barrier's maximum"),
        "distance": Variable(_P, NUMBER, "Euclidean distance of the weights"),
        "status": Variable(
            _PS,
            NUMBER,
            "what the numbers of a split are worth",
            STATUS,
            ("ok", "not_finite_on_the_line", "refinement_not_converged", "absent"),
        ),
        "refined_alpha": Variable(_PSR, NUMBER, "position of an added point", optional=True),
        "refined_loss": Variable(_PSR, NATS, "loss at an added point", optional=True),
        "refined_error": Variable(_PSR, FRACTION, "error at an added point", optional=True),
        **_SINCE_1_1,
    },
    samples={
        "pair": ("imp@0 imp@1", "imp@1 imp@2", "imp@2 imp@3"),
        "split": ("train", "test"),
        "alpha": (0.0, 0.25, 0.5, 0.75, 1.0),
        "definition": DEFINITIONS,
        "refinement": (0.0, 1.0),
    },
)
