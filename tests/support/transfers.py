"""Runs of two tasks and two optimisers, their tickets trained on each other, as a dataset."""

from __future__ import annotations

import numpy as np

from landscape.data_store.schemas.training import TRAINING

DENSITY = 0.7 ** np.arange(3)
COLUMNS = ("run", "parent", "source", "source_optimizer", "target", "optimizer", "mask", "retrain")
RUNS = [
    ("a", "", "a", "sgd", "a", "sgd", "preserved", "rewind"),
    ("b", "", "b", "sgd", "b", "sgd", "preserved", "rewind"),
    ("a-adam", "", "a", "adam", "a", "adam", "preserved", "rewind"),
    ("a-to-b", "a", "a", "sgd", "b", "sgd", "preserved", "rewind"),
    ("a-to-b-2", "a2", "a", "sgd", "b", "sgd", "preserved", "rewind"),
    ("b-again", "b", "b", "sgd", "b", "sgd", "preserved", "rewind"),
    ("a-adam-to-b", "a-adam", "a", "adam", "b", "sgd", "preserved", "rewind"),
    ("a-adam-to-sgd", "a-adam", "a", "adam", "a", "sgd", "preserved", "rewind"),
    ("random-b", "a-adam", "a", "adam", "b", "sgd", "permuted", "reinit"),
    ("random-a", "a", "a", "sgd", "a", "sgd", "permuted", "reinit"),
    ("kept", "b", "b", "sgd", "b", "sgd", "preserved", "reinit"),
    ("by-layer", "b", "b", "sgd", "b", "sgd", "permuted-layers", "reinit"),
]


def example(runs=RUNS, density=DENSITY, error=None):
    """A training dataset of these runs; every run has errors of its own."""
    shape = (len(runs), len(density))
    sizes = {"run": len(runs), "level": len(density), "step": 2}
    coords = {name: [str(run[n]) for run in runs] for n, name in enumerate(COLUMNS)}
    coords |= {"level": np.arange(len(density)), "step": [0.0, 1.0], "seed": np.zeros(len(runs))}
    coords |= {"criterion": ["magnitude"] * len(runs), "strategy": ["magnitude"] * len(runs)}
    arrays = {
        name: np.zeros([sizes[dim] for dim in variable.dims])
        for name, variable in TRAINING.variables.items()
    }
    arrays["density"] = np.tile(density, (len(runs), 1))
    errors = np.linspace(0.5, 0.01, np.prod(shape)).reshape(shape)
    arrays["final_test_error"] = errors if error is None else np.asarray(error, dtype=float)
    return TRAINING.build(coords, arrays)
