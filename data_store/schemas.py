"""The schemas of every kind of result: what analyses write and figures read."""

from __future__ import annotations

from landscape.data_store.schema import STATUS, TEXT, ResultSchema, Variable

NATS, FRACTION, COUNT, NUMBER = "nats per example", "fraction", "count", "1"

DEFINITIONS = ("lmc", "deviation", "over_max", "increase")

_PAIR = {
    "pair": Variable(("pair",), NUMBER, "pair of checkpoints", TEXT),
    "run": Variable(("pair",), NUMBER, "run of the first checkpoint", TEXT),
    "level_a": Variable(("pair",), NUMBER, "level of the first checkpoint"),
    "level_b": Variable(("pair",), NUMBER, "level of the second checkpoint"),
    "density_a": Variable(("pair",), FRACTION, "density of the first checkpoint"),
    "density_b": Variable(("pair",), FRACTION, "density of the second checkpoint"),
}
_PSA, _PSD = ("pair", "split", "alpha"), ("pair", "split", "definition")
_PSR = ("pair", "split", "refinement")

BARRIER = ResultSchema(
    kind="barrier",
    version=(1, 0),
    coordinates={
        **_PAIR,
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

_PL = ("pair", "layer")

OVERLAP = ResultSchema(
    kind="overlap",
    version=(1, 0),
    coordinates={
        **_PAIR,
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

_RL, _RLS = ("run", "level"), ("run", "level", "step")

TRAINING = ResultSchema(
    kind="training",
    version=(1, 0),
    coordinates={
        "run": Variable(("run",), NUMBER, "run", TEXT),
        "level": Variable(("level",), NUMBER, "pruning level, 0 is dense"),
        "step": Variable(("step",), "iterations", "training iteration"),
        "criterion": Variable(("run",), NUMBER, "pruning criterion", TEXT),
        "seed": Variable(("run",), NUMBER, "seed"),
    },
    variables={
        "density": Variable(_RL, FRACTION, "fraction of prunable weights kept"),
        "learning_rate": Variable(_RLS, NUMBER, "learning rate"),
        "train_loss": Variable(_RLS, NATS, "training loss over the minibatches since the last row"),
        "train_error": Variable(
            _RLS, FRACTION, "training error over the minibatches since the last row"
        ),
        "validation_loss": Variable(_RLS, NATS, "validation loss"),
        "validation_error": Variable(_RLS, FRACTION, "validation error"),
        "test_loss": Variable(_RLS, NATS, "test loss"),
        "test_error": Variable(_RLS, FRACTION, "test error"),
        "early_stop_step": Variable(
            _RL, "iterations", "early-stop iteration: the smallest validation loss"
        ),
        "early_stop_test_error": Variable(_RL, FRACTION, "test error at the early-stop iteration"),
        "final_train_loss": Variable(
            _RL, NATS, "loss of the final weights on the whole train split"
        ),
        "final_train_error": Variable(
            _RL, FRACTION, "error of the final weights on the whole train split"
        ),
        "final_test_loss": Variable(_RL, NATS, "test loss of the final weights"),
        "final_test_error": Variable(_RL, FRACTION, "test error of the final weights"),
        "status": Variable(
            _RL, NUMBER, "how the level ended", STATUS, ("ok", "diverged", "absent")
        ),
    },
    samples={
        "run": ("imp-a", "imp-b", "random"),
        "level": (0.0, 1.0, 2.0),
        "step": (0.0, 100.0, 200.0),
    },
)

SCHEMAS = {schema.kind: schema for schema in (BARRIER, OVERLAP, TRAINING)}
