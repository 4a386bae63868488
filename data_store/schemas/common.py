"""What several schemas share: units, and the labels of checkpoints, of pairs, of runs by level."""

from __future__ import annotations

from landscape.data_store.schema import TEXT, Variable

NATS, FRACTION, COUNT, NUMBER = "nats per example", "fraction", "count", "1"

PAIR = {
    "pair": Variable(("pair",), NUMBER, "pair of checkpoints", TEXT),
    "run": Variable(("pair",), NUMBER, "run of the first checkpoint", TEXT),
    "level_a": Variable(("pair",), NUMBER, "level of the first checkpoint"),
    "level_b": Variable(("pair",), NUMBER, "level of the second checkpoint"),
    "density_a": Variable(("pair",), FRACTION, "density of the first checkpoint"),
    "density_b": Variable(("pair",), FRACTION, "density of the second checkpoint"),
}

CHECKPOINT = {
    "checkpoint": Variable(("checkpoint",), NUMBER, "checkpoint", TEXT),
    "run": Variable(("checkpoint",), NUMBER, "run of the checkpoint", TEXT),
    "level": Variable(("checkpoint",), NUMBER, "level of the checkpoint"),
    "density": Variable(("checkpoint",), FRACTION, "density of the checkpoint"),
}

MASKS = {
    "run": Variable(("run",), NUMBER, "run", TEXT),
    "level": Variable(("level",), NUMBER, "pruning level, 0 is dense; of branches their parent's"),
    "layer": Variable(("layer",), NUMBER, "tensor that may be pruned", TEXT),
    "strategy": Variable(("run",), NUMBER, "how it was pruned and trained again", TEXT),
    "task": Variable(("run",), NUMBER, "task", TEXT),
    "model": Variable(("run",), NUMBER, "network", TEXT),
    "scope": Variable(("run",), NUMBER, "where scores are compared: layer or global", TEXT),
    "seed": Variable(("run",), NUMBER, "seed"),
}
