"""Case measures: which numbers of an analysis stand in its table, and what says they are good."""

from __future__ import annotations

from collections.abc import Mapping

from landscape.case_tables import Cases, Measure, Status

_DEFINITION = {"definition": "lmc"}
_SOLUTION = {"point": "solution"}
_BETWEEN = {"path": "previous-solution"}
_ERRORS = "± is one standard error over the examples."

CASES: Mapping[str, Cases] = {
    "barrier": Cases(
        "Barriers on the straight line between checkpoints",
        {"pair": "checkpoints", "split": "split"},
        (
            Measure("run", "run", is_detail=True),
            Measure("level_a", "first level", is_detail=True),
            Measure("level_b", "second level", is_detail=True),
            Measure("density_a", "first density", is_detail=True, may_be_unknown=True),
            Measure("density_b", "weights kept", may_be_unknown=True),
            Measure("error_barrier", "error barrier", "error_barrier_se", at=_DEFINITION),
            Measure("loss_barrier", "loss barrier", "loss_barrier_se", at=_DEFINITION),
            Measure("stable", "stable", is_answer=True, may_be_unknown=True),
            Measure("distance", "distance"),
            Measure("examples", "examples"),
        ),
        (Status("status"), Status("sampling_status", "sampling")),
        (
            "The barrier is the maximum on the line minus the mean of the ends (lmc); stable is an "
            "error barrier below 2 %, unknown where its interval holds that.",
            _ERRORS,
        ),
    ),
    "overlap": Cases(
        "Overlap of the weights that two masks keep",
        {"pair": "masks", "layer": "layer"},
        (
            Measure("run", "run", is_detail=True),
            Measure("density_a", "first density", is_detail=True, may_be_unknown=True),
            Measure("density_b", "second density", is_detail=True, may_be_unknown=True),
            Measure("weights", "weights"),
            Measure("kept_a", "kept by first"),
            Measure("kept_b", "by second"),
            Measure("kept_both", "by both"),
            Measure("jaccard", "Jaccard"),
            Measure("expected_jaccard", "by chance"),
            Measure("precision", "precision"),
            Measure("recall", "recall"),
            Measure("f1", "F1", is_detail=True),
            Measure("p_value", "p-value", is_detail=True),
            Measure("log_p_value", "log p-value"),
            Measure("sign_agreement", "same sign", may_be_unknown=True),
        ),
        (Status("status"),),
        ("By chance is the Jaccard index expected of random masks of the same layer sizes.",),
    ),
    "sublevel": Cases(
        "Sublevel sets along the transitions of a run",
        {"transition": "transition", "split": "split"},
        (
            Measure("run", "run", is_detail=True),
            Measure("density_b", "weights kept", may_be_unknown=True),
            Measure("measure", "measure", is_detail=True),
            Measure("reference", "reference", is_detail=True),
            Measure("epsilon", "epsilon", is_detail=True),
            Measure("threshold", "threshold"),
            Measure("margin", "solution above it", "margin_se", at=_SOLUTION),
            Measure("member", "inside", at=_SOLUTION, is_answer=True),
            Measure(
                "margin", "baseline above it", "margin_se", at={"point": "baseline"},
                name="baseline_margin", may_be_unknown=True,
            ),
            Measure(
                "member", "baseline inside", at={"point": "baseline"}, name="baseline_member",
                is_answer=True, may_be_unknown=True,
            ),
            Measure("barrier", "barrier", "barrier_se", at=_BETWEEN),
            Measure("connected", "connected", at=_BETWEEN, is_answer=True),
            Measure("within", "path inside", at=_BETWEEN, is_answer=True),
        ),
        (Status("status", "solution", _SOLUTION), Status("path_status", "path", _BETWEEN)),
        (
            "The barrier is that of the straight path from the previous solution to the next.",
            "± is one standard error, paired by example.",
        ),
        ("measure", "reference", "epsilon"),
    ),
    "volume": Cases(
        "Volume of the sublevel set around checkpoints",
        {"checkpoint": "checkpoint", "estimator": "estimator"},
        (
            Measure("run", "run", is_detail=True),
            Measure("density", "weights kept", may_be_unknown=True),
            Measure("n_parameters", "dimensions"),
            Measure("cutoff", "cutoff"),
            Measure("own_loss", "own loss", is_detail=True),
            Measure("log_volume", "log volume", "log_volume_se"),
            Measure(
                "log_volume_per_dimension", "per dimension", "log_volume_per_dimension_se"
            ),
            Measure("log_unit", "log unit", is_detail=True),
            Measure("effective_sample_size", "effective rays", may_be_unknown=True),
            Measure("censored", "censored rays", may_be_unknown=True),
            Measure("examples", "examples"),
        ),
        (Status("status"),),
        (
            "Logarithms are natural, in the unit of volume of each checkpoint's normalisation.",
            "± is one standard error over the rays.",
        ),
        ("split", "normalization", "cutoff_mode"),
    ),
    "curvature": Cases(
        "Hessian of the loss within the mask, at checkpoints",
        {"checkpoint": "checkpoint"},
        (
            Measure("run", "run", is_detail=True),
            Measure("split", "split", is_detail=True),
            Measure("density", "weights kept", may_be_unknown=True),
            Measure("n_parameters", "dimensions"),
            Measure(
                "eigenvalue", "largest eigenvalue", "residual", "residual", {"rank": 1.0},
                "largest_eigenvalue",
            ),
            Measure(
                "eigenvalue", "smallest eigenvalue", "residual", "residual", {"rank": -1.0},
                "smallest_eigenvalue",
            ),
            Measure("trace", "trace", "trace_se"),
            Measure("trace_per_dimension", "mean eigenvalue"),
            Measure("examples", "examples"),
        ),
        (
            Status("status"),
            Status("eigenvalue_status", "largest", {"rank": 1.0}),
            Status("eigenvalue_status", "smallest", {"rank": -1.0}),
        ),
        (
            "± is the residual of an eigenvalue, which bounds its error, and one standard error "
            "of the trace.",
        ),
        ("split",),
    ),
    "tickets": Cases(
        "Tickets before and after their training",
        {"checkpoint": "checkpoint", "ticket": "ticket", "split": "split", "rescale": "outputs"},
        (
            Measure("run", "run", is_detail=True),
            Measure("criterion", "criterion"),
            Measure("densities", "schedule"),
            Measure("target", "task"),
            Measure("density", "weights kept", may_be_unknown=True),
            Measure("loss", "loss", "loss_se"),
            Measure("error", "error", "error_se"),
            Measure("truth_loss", "loss of truth", may_be_unknown=True),
            Measure("truth_error", "error of truth", may_be_unknown=True),
            Measure("floor_loss", "loss floor", may_be_unknown=True),
            Measure("floor_error", "error floor", may_be_unknown=True),
        ),
        (Status("status"),),
        (
            "Outputs are multiplied by 1 (none), by the scale of the planted ticket, or by what "
            "fits best.",
            "The floor is the best that one answer to everything reaches.",
            _ERRORS,
        ),
    ),
}  # fmt: skip
