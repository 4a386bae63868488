"""The schema of tickets: how good a level is before and after its training."""

from __future__ import annotations

from landscape.data_store.schema import STATUS, TEXT, ResultSchema, Variable
from landscape.data_store.schemas.common import CHECKPOINT, COUNT, FRACTION, NATS, NUMBER

TICKET_KINDS = ("strong", "weak")
RESCALINGS = ("none", "planted", "least-squares")

_C, _CS, _CSR = ("checkpoint",), ("checkpoint", "split"), ("checkpoint", "split", "rescale")
_CTSR = ("checkpoint", "ticket", "split", "rescale")
_WORTH = (
    "ok",
    "not_finite",
    "no_such_point",
    "no_scale",
    "not_defined",
    "output_is_zero",
    "absent",
)

TICKETS = ResultSchema(
    kind="tickets",
    version=(1, 0),
    coordinates={
        **CHECKPOINT,
        "ticket": Variable(
            ("ticket",), NUMBER, "strong, before the level's training, or weak, after it", TEXT
        ),
        "split": Variable(("split",), NUMBER, "split of the data", TEXT),
        "rescale": Variable(("rescale",), NUMBER, "what the outputs are multiplied by", TEXT),
    },
    variables={
        "loss": Variable(_CTSR, NATS, "loss"),
        "loss_se": Variable(_CTSR, NATS, "standard error of the loss"),
        "error": Variable(_CTSR, FRACTION, "error"),
        "error_se": Variable(_CTSR, FRACTION, "standard error of the error"),
        "truth_loss": Variable(_CSR, NATS, "loss of the planted ticket"),
        "truth_error": Variable(_CSR, FRACTION, "error of the planted ticket"),
        "truth_density": Variable(_C, FRACTION, "density of the planted ticket"),
        "floor_loss": Variable(_CS, NATS, "loss of one answer to everything"),
        "floor_error": Variable(_CS, FRACTION, "error of the most frequent class"),
        "collapsed_layers": Variable(_C, COUNT, "layers of which no weight is kept"),
        "constant_outputs": Variable(
            ("checkpoint", "ticket", "split"), COUNT, "outputs that are the same for all examples"
        ),
        "status": Variable(_CTSR, NUMBER, "what the numbers are worth", STATUS, _WORTH),
        "truth_status": Variable(
            _CSR, NUMBER, "what the numbers of the planted ticket are worth", STATUS, _WORTH
        ),
        "floor_status": Variable(
            _CS,
            NUMBER,
            "what the floors are worth",
            STATUS,
            ("ok", "not_finite", "not_defined", "absent"),
        ),
    },
    samples={
        "checkpoint": ("imp@0", "imp@1", "imp@2"),
        "ticket": TICKET_KINDS,
        "split": ("train", "test"),
        "rescale": RESCALINGS,
    },
)
