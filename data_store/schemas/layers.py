"""The schema of layer densities: how many weights of each layer the masks of a run keep."""

from __future__ import annotations

from landscape.data_store.schema import STATUS, ResultSchema, Variable
from landscape.data_store.schemas.common import COUNT, FRACTION, MASKS, NUMBER

LAYERS = ResultSchema(
    kind="layers",
    version=(1, 0),
    coordinates=MASKS,
    variables={
        "layer_density": Variable(
            ("run", "level", "layer"), FRACTION, "fraction of a layer's weights kept"
        ),
        "layer_size": Variable(("run", "layer"), COUNT, "weights of a layer, kept or not"),
        "density": Variable(("run", "level"), FRACTION, "fraction of prunable weights kept"),
        "status": Variable(
            ("run", "level"), NUMBER, "how the level ended", STATUS, ("ok", "diverged", "absent")
        ),
    },
    samples={
        "run": ("imp-a", "imp-b"),
        "level": (0.0, 1.0, 2.0),
        "layer": ("fc1.weight", "fc2.weight", "fc3.weight"),
    },
)
