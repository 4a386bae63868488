"""Sublevel sets: whether a transition stays in one, and whether straight paths stay low."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from landscape.analysis.grouping import SUCCESSIVE
from landscape.analysis.heights import heights
from landscape.analysis.landscape import Landscape
from landscape.analysis.paired import Paired, standard_error
from landscape.analysis.pairs import pair_coordinates, require_same_spec
from landscape.analysis.paths import grid
from landscape.analysis.registry import Analysis
from landscape.analysis.sampling import subset
from landscape.analysis.transition import DENSE, Rows, Transition
from landscape.analysis.work import AtOnce, Work
from landscape.data_store.errors import UsageError
from landscape.data_store.params import Array
from landscape.data_store.records import Checkpoint
from landscape.data_store.schemas.barrier import DEFINITIONS
from landscape.data_store.schemas.sublevel import PATHS, POINTS, SUBLEVEL
from landscape.data_store.settings import check, option

SURE = 2.0  # standard errors beyond which a difference is taken to be one

_OK, _UNSURE, _NOT_FINITE, _NO_POINT, _NO_REFERENCE = range(5)
_MEASURES = ("loss", "error")


@dataclass(frozen=True)
class SublevelSettings:
    """What the sublevel set is; the fields are options of ``landscape sublevel``."""

    measure: str = option("error", "what is to stay low", choices=_MEASURES)
    epsilon: float = option(
        0.02, "how far above the reference still counts: nats per example, or a fraction", min=0
    )
    reference: str = option(
        "previous",
        "the set's height without epsilon: of the previous solution, of level 0, or --cutoff as "
        "a value or as an accuracy",
        choices=("previous", DENSE, "absolute", "accuracy"),
    )
    cutoff: float | None = option(None, "with --reference absolute or accuracy: its height", min=0)
    definition: str = option(
        "deviation", "definition of the barrier that epsilon bounds", choices=DEFINITIONS
    )
    points: int = option(25, "evaluated positions on each path, both ends included", min=3)
    splits: tuple[str, ...] = option(
        ("train", "test"), "splits of the data to evaluate on", each_once="train,test"
    )
    examples: int | None = option(None, "random examples of each split; all unless given", min=2)
    seed: int = option(0, "seed of that choice", min=0)
    bn: str = option(
        "interpolate",
        "normalisation statistics on the paths; first: those of the previous solution, everywhere",
        choices=("interpolate", "recompute", "first"),
    )

    def __post_init__(self) -> None:
        check(self)
        needs_cutoff = self.reference in ("absolute", "accuracy")
        if needs_cutoff != (self.cutoff is not None):
            raise UsageError(
                f"reference is {self.reference} and cutoff is {self.cutoff}; a cutoff goes with "
                "--reference absolute or accuracy, and they with a cutoff"
            )
        if self.reference == "accuracy" and (self.measure != "error" or self.cutoff > 1):  # type: ignore[operator]
            raise UsageError(
                f"reference is accuracy with measure {self.measure} and cutoff {self.cutoff}; an "
                "accuracy goes with --measure error and lies between 0 and 1, as 0.97"
            )


def sublevel(
    a: Checkpoint,
    b: Checkpoint,
    landscape: Landscape,
    settings: SublevelSettings | None = None,
    *,
    ticket: Checkpoint | None = None,
    dense: Checkpoint | None = None,
    work: Work | None = None,
) -> xr.Dataset:
    """Membership and connectedness of a transition from `a` to `b`; schema ``sublevel``.

    With E the measure and L, L' the solutions `a` and `b`, P = m' ⊙ L the baseline, and
    threshold = reference + epsilon (the reference is E(L) unless the settings say otherwise):

    - a point is a *member* if ``E(point) <= threshold``: asked of L, P, the rewind point, L';
    - a path is *within* the set if ``max E <= threshold`` on it;
    - a path is *connected* if its barrier, by the definition of the settings, is at most
      epsilon.

    The two halves of the claim are ``claim_sublevel`` (L' is a member) and ``claim_connected``
    (L and L' are connected). They are reported separately: neither implies the other. P is
    seldom a member, which contradicts neither half.

    Parameters
    ----------
    a, b
        Previous solution and solution.
    ticket
        The rewind point under the mask of `b`, None if unknown.
    dense
        Level 0 of the run of `a`; it serves as reference only if it is dense.
    work
        Where the splits are computed, one block each.

    A margin within two of its standard errors (paired: the examples are the same) has status
    1; what needs an unknown point, or a reference that is not there, is NaN.

    Raises `LandscapeError` if the checkpoints are of different architectures.

    Cost: ``4 points - 3`` evaluations per split in one question, and up to nine by example.
    Source: Paul et al. (2023), definitions 2.2 and 2.4, as restated in later work; Frankle et
    al. (2020) for the barrier; `landscape.analysis.heights` for its definitions.
    """
    settings, work = settings or SublevelSettings(), work or AtOnce()
    for other in (b, ticket, dense):
        if other is not None:
            require_same_spec(a, other)
    transition = Transition.between(a, b, ticket, dense if settings.reference == DENSE else None)
    work.expect(len(settings.splits))
    columns = [
        work.block(split, lambda split=split: _column(transition, landscape, settings, split))  # type: ignore[misc]
        for split in settings.splits
    ]
    return _dataset(a, b, settings, transition, columns)


def _column(
    transition: Transition, landscape: Landscape, settings: SublevelSettings, split: str
) -> dict[str, Array]:
    """The numbers of one split."""
    alpha, anchors, known = grid(settings.points), transition.anchors, transition.known
    rows = Rows.of(transition, alpha)
    chosen = subset(landscape.examples(split), settings.examples, settings.seed)
    answer = landscape.evaluate(anchors, rows.coefficients, split=split, places=chosen)
    values = {name: getattr(answer, name) for name in ("loss", "error", "loss_se", "error_se")}
    column = _at_points(known, values)
    peaks: dict[str, Array] = {}
    for measure in _MEASURES:
        walked, peaks[measure] = _on_paths(rows, alpha, measure, values[measure])
        column |= walked

    def by_example(coefficients: Array) -> Array:
        found = landscape.per_example(anchors, coefficients, split=split, places=chosen)
        return np.asarray(getattr(found, settings.measure), dtype=np.float64)

    which = DEFINITIONS.index(settings.definition)
    at = _places(rows, alpha, peaks[settings.measure][:, which])
    sample = Paired.of(known, rows, at, by_example)
    column["barrier"] = column[f"{settings.measure}_barrier"][:, which]
    column["barrier_se"] = sample.barrier_se(settings.definition)
    column |= _membership(known, values[settings.measure], sample, settings)
    return column | _connection(rows, column, settings)


def _places(rows: Rows, alpha: Array, peaks: Array) -> dict[str, tuple[float, int]]:
    """Position and row of the peak of each path that has one."""
    return {
        path: (float(peak), int(rows.at[path][int(np.flatnonzero(alpha == peak)[0])]))
        for path, peak in zip(PATHS, peaks, strict=True)
        if path in rows.at and not math.isnan(peak)
    }


def _at_points(known: Sequence[str], values: Mapping[str, Array]) -> dict[str, Array]:
    """Values (k,) by row as values (points,) of `POINTS`, NaN where one is unknown."""
    places = [known.index(p) if p in known else None for p in POINTS]
    return {
        name: np.array([math.nan if i is None else rows[i] for i in places])
        for name, rows in values.items()
    }


def _on_paths(
    rows: Rows, alpha: Array, measure: str, values: Array
) -> tuple[dict[str, Array], Array]:
    """Curve, maximum and barriers on each path of one measure; and where these are reached."""
    curve = np.full((len(PATHS), len(alpha)), np.nan)
    found = np.full((len(PATHS), len(DEFINITIONS), 2), np.nan)
    for i, path in enumerate(PATHS):
        if path in rows.at:
            curve[i] = values[rows.at[path]]
            found[i] = heights(alpha, curve[i])
    walked = {
        f"{measure}_on_path": curve,
        f"max_{measure}": curve.max(axis=1),
        f"{measure}_barrier": found[:, :, 0],
    }
    return walked, found[:, :, 1]


def _membership(
    known: Sequence[str], values: Array, sample: Paired, settings: SublevelSettings
) -> dict[str, Array]:
    """Threshold, margins, members and status of the points of one split."""
    reference, of_examples = _reference(known, values, sample, settings)
    threshold = reference + settings.epsilon
    margin, error = np.full((2, len(POINTS)), np.nan)
    status = np.full(len(POINTS), _NO_POINT, dtype=np.int8)
    for i, point in enumerate(POINTS):
        if point not in known:
            continue
        margin[i] = values[known.index(point)] - threshold
        error[i] = standard_error(sample.points[point] - of_examples)
        if math.isnan(values[known.index(point)]):
            status[i] = _NOT_FINITE
        elif math.isnan(reference):
            status[i] = _NO_REFERENCE
        else:
            status[i] = _UNSURE if abs(margin[i]) < SURE * error[i] else _OK
    return {
        "threshold": np.array(threshold),
        "margin": margin,
        "margin_se": error,
        "member": _yes_or_no(margin, 0.0),
        "status": status,
    }


def _reference(
    known: Sequence[str], values: Array, sample: Paired, settings: SublevelSettings
) -> tuple[float, Array | float]:
    """The height of the set without epsilon, and by example where it is a point's."""
    if settings.reference == "absolute":
        assert settings.cutoff is not None
        return settings.cutoff, settings.cutoff
    if settings.reference == "accuracy":
        assert settings.cutoff is not None
        return 1.0 - settings.cutoff, 1.0 - settings.cutoff
    if settings.reference not in known:
        return math.nan, math.nan
    return float(values[known.index(settings.reference)]), sample.points[settings.reference]


def _connection(
    rows: Rows, column: Mapping[str, Array], settings: SublevelSettings
) -> dict[str, Array]:
    """Whether each path stays in the set, and whether it has no barrier above epsilon."""
    barrier, error = column["barrier"], column["barrier_se"]
    status = np.where(np.isnan(barrier), _NOT_FINITE, _OK).astype(np.int8)
    status[np.abs(barrier - settings.epsilon) < SURE * error] = _UNSURE
    status[[path not in rows.at for path in PATHS]] = _NO_POINT
    within = _yes_or_no(column[f"max_{settings.measure}"], float(column["threshold"]))
    connected = _yes_or_no(barrier, settings.epsilon)
    return {"within": within, "connected": connected, "path_status": status}


def _yes_or_no(values: Array, bound: float) -> Array:
    """1 where a value is at most the bound, 0 where it is above, NaN where one is unknown."""
    known = np.isfinite(values) & np.isfinite(bound)
    return np.where(known, (values <= bound).astype(np.float64), np.nan)


def _dataset(
    a: Checkpoint,
    b: Checkpoint,
    settings: SublevelSettings,
    transition: Transition,
    columns: Sequence[Mapping[str, Array]],
) -> xr.Dataset:
    """The labelled result of one transition."""
    coords: dict[str, Any] = pair_coordinates(a, b)
    coords["transition"] = coords.pop("pair")
    coords |= {
        "split": list(settings.splits),
        "point": list(POINTS),
        "path": list(PATHS),
        "alpha": grid(settings.points),
        "definition": list(DEFINITIONS),
    }
    variables = {name: np.stack([c[name] for c in columns])[None] for name in columns[0]}
    distance, angle = transition.distances()
    solution, between = POINTS.index("solution"), PATHS.index("previous-solution")
    return SUBLEVEL.build(
        coords,
        {
            **variables,
            "claim_sublevel": variables["member"][:, :, solution],
            "claim_connected": variables["connected"][:, :, between],
            "distance": distance[None],
            "angle": angle[None],
            "measure": [settings.measure],
            "epsilon": [settings.epsilon],
            "bounded": [settings.definition],
            "reference": [settings.reference],
        },
    )


def companions(group: Sequence[Checkpoint], _settings: SublevelSettings) -> tuple[str, ...]:
    """Where the rewind point of the second and the dense level of the first would be found."""
    a, b = group
    tickets = (f"{b.run}@{b.level}.ticket",) if b.run and b.level is not None else ()
    return (*tickets, f"{a.run}@0") if a.run else tickets


def _compute(
    points: Sequence[Checkpoint | None],
    settings: SublevelSettings,
    landscape: Landscape,
    work: Work,
) -> xr.Dataset:
    """The transition between the first two points, the others being its companions."""
    a, b, *others = points
    assert a is not None
    assert b is not None
    known = [other for other in others if other is not None]
    ticket = next((other for other in known if other.part == "ticket"), None)
    dense = next((other for other in known if other.part != "ticket"), None)
    return sublevel(a, b, landscape, settings, ticket=ticket, dense=dense, work=work)


def _cost(settings: SublevelSettings, examples: Mapping[str, int], _points: int) -> float:
    """About how many forward passes of one example a transition takes."""
    most = math.inf if settings.examples is None else settings.examples
    asked = sum(min(examples.get(split, 0), most) for split in settings.splits)
    return (len(PATHS) * (settings.points - 1) + 2 * len(POINTS)) * asked


ANALYSIS = Analysis(
    schema=SUBLEVEL,
    settings=SublevelSettings,
    compute=_compute,
    grouping=lambda _settings: SUCCESSIVE,
    uses_loss=True,
    measures=("claim_sublevel", "claim_connected", "member", "barrier"),
    companions=companions,
    cost=_cost,
)
