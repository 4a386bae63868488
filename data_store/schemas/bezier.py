"""The schema of curved paths between two checkpoints."""

from __future__ import annotations

from landscape.data_store.schema import STATUS, TEXT, ResultSchema, Variable
from landscape.data_store.schemas.barrier import DEFINITIONS
from landscape.data_store.schemas.common import COUNT, FRACTION, NATS, NUMBER, PAIR

_P, _PS = ("pair",), ("pair", "split")
_PST, _PSD = ("pair", "split", "t"), ("pair", "split", "definition")


def _on(where: str, prefix: str) -> dict[str, Variable]:
    """Loss, error and barriers on one path."""
    found: dict[str, Variable] = {}
    for measure, units in (("loss", NATS), ("error", FRACTION)):
        name = f"{prefix}{measure}"
        height = f"{measure} barrier on {where}"
        found |= {
            name: Variable(_PST, units, f"{measure} on {where}"),
            f"{name}_se": Variable(_PST, units, f"standard error of the {measure} on {where}"),
            f"{name}_barrier": Variable(_PSD, units, height),
            f"{name}_barrier_se": Variable(_PSD, units, f"standard error of the {height}"),
            f"{name}_barrier_low": Variable(_PSD, units, f"lower end, 95 % interval, {height}"),
            f"{name}_barrier_high": Variable(_PSD, units, f"upper end, 95 % interval, {height}"),
        }
    return found


BEZIER = ResultSchema(
    kind="bezier",
    version=(1, 0),
    coordinates={
        **PAIR,
        "split": Variable(("split",), NUMBER, "split of the data", TEXT),
        "t": Variable(("t",), NUMBER, "parameter of the path, 0 the first checkpoint"),
        "definition": Variable(("definition",), NUMBER, "definition of the barrier", TEXT),
    },
    variables={
        **_on("the curve", ""),
        **_on("the line", "line_"),
        "loss_t_at_max": Variable(_PSD, NUMBER, "parameter of the loss barrier's maximum"),
        "error_t_at_max": Variable(_PSD, NUMBER, "parameter of the error barrier's maximum"),
        "verdict": Variable(_PS, NUMBER, "which path has no barrier", TEXT),
        "examples": Variable(_PS, COUNT, "examples the barriers are measured on"),
        "distance": Variable(_P, NUMBER, "Euclidean distance of the weights"),
        "length": Variable(_P, NUMBER, "length of the curve"),
        "bend": Variable(
            _P, NUMBER, "distance of the control point from the middle of the ends, by theirs"
        ),
        "status": Variable(
            _PS,
            NUMBER,
            "what the numbers of a split are worth",
            STATUS,
            ("ok", "not_finite_on_a_path", "absent"),
        ),
    },
    samples={
        "pair": ("imp@0 imp@1", "imp@1 imp@2", "imp@2 imp@3"),
        "split": ("train", "test"),
        "t": (0.0, 0.25, 0.5, 0.75, 1.0),
        "definition": DEFINITIONS,
    },
)
