"""The schema of histograms: initial weights that survive, by layer and level."""

from __future__ import annotations

from landscape.data_store.schema import STATUS, ResultSchema, Variable
from landscape.data_store.schemas.common import COUNT, FRACTION, MASKS, NUMBER

_BINS = ("run", "level", "layer", "bin")

HISTOGRAMS = ResultSchema(
    kind="histograms",
    version=(1, 0),
    coordinates={**MASKS, "bin": Variable(("bin",), NUMBER, "bin, from the smallest weights up")},
    variables={
        "centre": Variable(("layer", "bin"), NUMBER, "initial weight in the middle of a bin"),
        "count": Variable(_BINS, COUNT, "initial weights that survive"),
        "probability_density": Variable(
            _BINS, "per unit of weight", "density of the initial weights that survive"
        ),
        "density": Variable(("run", "level"), FRACTION, "fraction of prunable weights kept"),
        "status": Variable(
            ("run", "level"),
            NUMBER,
            "how the level ended, or why there is no histogram",
            STATUS,
            ("ok", "diverged", "absent", "no_initial_weights"),
        ),
    },
    samples={
        "run": ("imp-a", "imp-b"),
        "level": (0.0, 1.0, 2.0),
        "layer": ("fc1.weight", "fc2.weight"),
        "bin": (0.0, 1.0, 2.0, 3.0),
    },
)
