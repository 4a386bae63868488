"""The schema of training curves."""

from __future__ import annotations

from landscape.data_store.schema import STATUS, TEXT, ResultSchema, Variable
from landscape.data_store.schemas.common import FRACTION, NATS, NUMBER

_RL, _RLS = ("run", "level"), ("run", "level", "step")

_SINCE_1_1 = {
    name: Variable(("run",), NUMBER, words, TEXT, optional=True)
    for name, words in {
        "model": "network",
        "scope": "where scores are compared: layer or global",
        "parent": "run that a branch begins at",
        "source": "task that the masks were found on",
        "source_optimizer": "optimiser that the masks were found with",
        "target": "task trained on",
        "optimizer": "optimiser trained with",
        "mask": "what a branch made of its parent's mask",
        "retrain": "what a level starts from",
    }.items()
}

TRAINING = ResultSchema(
    kind="training",
    version=(1, 1),
    coordinates={
        "run": Variable(("run",), NUMBER, "run", TEXT),
        "level": Variable(
            ("level",), NUMBER, "pruning level, 0 is dense; of branches their parent's"
        ),
        "step": Variable(("step",), "iterations", "training iteration"),
        "criterion": Variable(("run",), NUMBER, "pruning criterion", TEXT),
        "strategy": Variable(("run",), NUMBER, "how it was pruned and trained again", TEXT),
        "seed": Variable(("run",), NUMBER, "seed"),
        **_SINCE_1_1,
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
