"""The schema of barriers."""

from __future__ import annotations

from landscape.data_store.schema import STATUS, TEXT, ResultSchema, Variable
from landscape.data_store.schemas.common import FRACTION, NATS, NUMBER, PAIR

DEFINITIONS = ("lmc", "deviation", "over_max", "increase")

_PSA, _PSD = ("pair", "split", "alpha"), ("pair", "split", "definition")
_PSR = ("pair", "split", "refinement")

BARRIER = ResultSchema(
    kind="barrier",
    version=(1, 0),
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
        "distance": Variable(("pair",), NUMBER, "Euclidean distance of the weights"),
        "status": Variable(
            ("pair", "split"),
            NUMBER,
            "what the numbers of a split are worth",
            STATUS,
            ("ok", "not_finite_on_the_line", "refinement_not_converged", "absent"),
        ),
        "refined_alpha": Variable(_PSR, NUMBER, "position of an added point", optional=True),
        "refined_loss": Variable(_PSR, NATS, "loss at an added point", optional=True),
        "refined_error": Variable(_PSR, FRACTION, "error at an added point", optional=True),
    },
    samples={
        "pair": ("imp@0 imp@1", "imp@1 imp@2", "imp@2 imp@3"),
        "split": ("train", "test"),
        "alpha": (0.0, 0.25, 0.5, 0.75, 1.0),
        "definition": DEFINITIONS,
        "refinement": (0.0, 1.0),
    },
)
