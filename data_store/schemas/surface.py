"""The schema of slices and planes through a loss."""

from __future__ import annotations

from landscape.data_store.schema import STATUS, TEXT, ResultSchema, Variable
from landscape.data_store.schemas.common import FRACTION, NATS, NUMBER

DIRECTIONS = ("random", "checkpoints", "eigenvectors", "pca")

_CELL = ("surface", "split", "column", "row")
_MARK, _SEEN = ("surface", "point"), ("surface", "split", "point")
_AXIS = ("surface", "axis")
_FLAGS = ("ok", "not_finite", "absent")
_WORTH = "what the numbers are worth"

SURFACE = ResultSchema(
    kind="surface",
    version=(1, 0),
    coordinates={
        "surface": Variable(("surface",), NUMBER, "line or plane", TEXT),
        "run": Variable(("surface",), NUMBER, "run of the checkpoint at the origin", TEXT),
        "level": Variable(("surface",), NUMBER, "level of the checkpoint at the origin"),
        "density": Variable(("surface",), FRACTION, "density of the checkpoint at the origin"),
        "directions": Variable(("surface",), NUMBER, "how the axes were chosen", TEXT),
        "measure": Variable(("surface",), NUMBER, "what the sublevel set is of", TEXT),
        "split": Variable(("split",), NUMBER, "split of the data", TEXT),
        "column": Variable(("column",), NUMBER, "number of a cell along the first axis"),
        "row": Variable(("row",), NUMBER, "number of a cell along the second axis"),
        "axis": Variable(("axis",), NUMBER, "axis", TEXT),
        "point": Variable(("point",), NUMBER, "number of a checkpoint"),
        "x": Variable(("surface", "column"), NUMBER, "first coordinate of a cell"),
        "y": Variable(("surface", "row"), NUMBER, "second coordinate of a cell, 0 on a line"),
        "point_name": Variable(_MARK, NUMBER, "address of a checkpoint", TEXT),
        "point_part": Variable(_MARK, NUMBER, "what a checkpoint is of its level", TEXT),
    },
    variables={
        "loss": Variable(_CELL, NATS, "loss"),
        "loss_se": Variable(_CELL, NATS, "standard error of the loss"),
        "error": Variable(_CELL, FRACTION, "error"),
        "error_se": Variable(_CELL, FRACTION, "standard error of the error"),
        "member": Variable(_CELL, NUMBER, "1 inside the sublevel set, 0 outside"),
        "status": Variable(_CELL, NUMBER, _WORTH, STATUS, _FLAGS),
        "displacement": Variable(
            ("surface", "column", "row"),
            NUMBER,
            "Euclidean distance of the weights from the origin's",
        ),
        "threshold": Variable(
            ("surface", "split"),
            NUMBER,
            "highest value inside the sublevel set, in the unit of the measure",
        ),
        "member_share": Variable(
            ("surface", "split"), FRACTION, "share of the known cells inside the sublevel set"
        ),
        "point_x": Variable(_MARK, NUMBER, "first coordinate of a checkpoint's projection"),
        "point_y": Variable(_MARK, NUMBER, "second coordinate of a checkpoint's projection"),
        "point_residual": Variable(_MARK, NUMBER, "Euclidean distance from the projection"),
        "point_loss": Variable(_SEEN, NATS, "loss of the checkpoint itself"),
        "point_loss_se": Variable(_SEEN, NATS, "standard error of the checkpoint's loss"),
        "point_error": Variable(_SEEN, FRACTION, "error of the checkpoint itself"),
        "point_error_se": Variable(_SEEN, FRACTION, "standard error of the checkpoint's error"),
        "point_status": Variable(_SEEN, NUMBER, _WORTH, STATUS, _FLAGS),
        "unit": Variable(_AXIS, NUMBER, "Euclidean length of one unit of the coordinate"),
        "cosine": Variable(("surface",), NUMBER, "cosine of the angle between the axes"),
        "direction": Variable(_AXIS, NUMBER, "where the axis points", TEXT),
        "direction_seed": Variable(
            _AXIS, NUMBER, "seed and number of a random direction, else empty", TEXT
        ),
        "direction_digest": Variable(
            _AXIS, NUMBER, "SHA-256 of one unit's displacement, float64 bytes", TEXT
        ),
        "eigenvalue": Variable(_AXIS, NUMBER, "curvature along the eigenvector", optional=True),
        "explained_variance": Variable(
            _AXIS, FRACTION, "share of the trajectory's variance", optional=True
        ),
    },
    samples={
        "surface": ("imp@1 imp@2.baseline imp@2",),
        "split": ("train", "test"),
        "column": (0.0, 1.0, 2.0, 3.0),
        "row": (0.0, 1.0, 2.0),
        "axis": ("x", "y"),
        "point": (0.0, 1.0, 2.0),
    },
)
