"""Tickets: how good a level is right after pruning (strong) and after its training (weak)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

import numpy as np
import xarray as xr

from landscape.analysis.grouping import EACH
from landscape.analysis.landscape import Examples, Landscape, Rescalable
from landscape.analysis.pairs import checkpoint_coordinates, require_same_spec
from landscape.analysis.registry import Analysis
from landscape.analysis.rescaling import least_squares, planted_scale, require_scale_fits
from landscape.analysis.work import AtOnce, Work
from landscape.data_store.errors import UsageError
from landscape.data_store.mask import Mask
from landscape.data_store.params import Array
from landscape.data_store.records import Checkpoint
from landscape.data_store.schemas.tickets import RESCALINGS, TICKET_KINDS, TICKETS
from landscape.data_store.settings import check, option

_SAME = 16.0  # roundings by which outputs that are called constant may differ

_OK, _NOT_FINITE, _NO_POINT, _NO_SCALE, _NOT_DEFINED, _ZERO = range(6)
_FLOOR_NOT_DEFINED = 2
_NUMBERS = ("loss", "error", "loss_se", "error_se")


class _Network(Landscape, Rescalable, Protocol):
    """What tickets are judged by."""


@dataclass(frozen=True)
class TicketsSettings:
    """On what tickets are judged; the fields are options of ``landscape tickets``."""

    splits: tuple[str, ...] = option(
        ("train", "test"), "splits of the data to evaluate on", each_once="train,test"
    )
    bn: str = option(
        "interpolate",
        "normalisation statistics: the checkpoint's own (interpolate, first), or recomputed",
        choices=("interpolate", "recompute", "first"),
    )

    def __post_init__(self) -> None:
        check(self)


def tickets(
    checkpoint: Checkpoint,
    landscape: Landscape,
    settings: TicketsSettings | None = None,
    *,
    strong: Checkpoint | None = None,
    truth: Checkpoint | None = None,
    work: Work | None = None,
) -> xr.Dataset:
    """Loss and error of a level before and after its training; schema ``tickets``.

    The *strong* ticket is the weights that a level is trained from under its mask, the *weak* one
    what training made of them. Each is judged with its outputs f as they are (rescale ``none``),
    divided by the scale of the planted ticket, output by output (``planted``: a planted ticket is
    its target only then), and multiplied by ``sum(y f) / sum(f²)`` (``least-squares``; once over
    the whole split, where the paper's code does it batch by batch).

    Beside them: the same of the planted ticket; what an answer that does not look at the input
    reaches, which is the most frequent class of the train split and the task's loss of the
    logarithms of its class shares, or the loss of its mean target; the layers that keep no weight;
    and the outputs that do not depend on the input.

    Parameters
    ----------
    checkpoint
        The weak ticket, as a rule the final weights of a level.
    landscape
        The loss; `Rescalable`.
    settings
        On what.
    strong
        What the level was trained from, None if unknown.
    truth
        The planted ticket, its mask limited to what was pruned here, with its scale as metrics
        ``scale-0``, ``scale-1``, …; None if nothing was planted.
    work
        Where the splits are computed, one block each.

    Returns
    -------
    xarray.Dataset
        One checkpoint. NaN with a status: a point that is not known; ``planted`` without a scale;
        ``least-squares`` of classes, of an output that is 0 for all examples (every factor is as
        good), and where outputs and targets do not correspond; a loss that is not finite. Outputs
        are constant if they differ by 16 roundings of the largest at most.

    Raises `LandscapeError` if the checkpoints are of different architectures or the scale is of
    another number of outputs, `UsageError` if there is no such split or the landscape does not
    tell its outputs.

    Cost: two evaluations per split of each of the three points.
    Source: Fischer and Burkholz (2022), Plant 'n' Seek, section 4 and their code.
    """
    settings, work = settings or TicketsSettings(), work or AtOnce()
    for other in (strong, truth):
        if other is not None:
            require_same_spec(checkpoint, other)
    if not isinstance(landscape, Rescalable):
        raise UsageError(
            "this landscape does not tell the outputs of its network, which tickets are judged by; "
            "give one of a network, as the Evaluator is"
        )
    network = cast("_Network", landscape)
    scale = None if truth is None else planted_scale(truth.metrics)
    points = {**dict(zip(TICKET_KINDS, (strong, checkpoint), strict=True)), "truth": truth}

    def column(split: str) -> dict[str, Array]:
        found = [_judged(point, network, split, scale) for point in points.values()]
        together = {name: np.stack([one[name] for one in found]) for name in found[0]}
        return together | _floors(network, split)

    work.expect(len(settings.splits))
    columns = [work.block(name, lambda name=name: column(name)) for name in settings.splits]  # type: ignore[misc]
    return _dataset(checkpoint, truth, settings.splits, columns)


def _judged(
    point: Checkpoint | None, landscape: _Network, split: str, scale: Array | None
) -> dict[str, Array]:
    """The numbers of one point on one split, over the rescalings."""
    found = {name: np.full(len(RESCALINGS), np.nan) for name in _NUMBERS}
    if point is None:
        nowhere = np.full(len(RESCALINGS), _NO_POINT, dtype=np.int8)
        return {**found, "status": nowhere, "constant_outputs": np.array(np.nan)}
    outputs = None
    if landscape.output_shape is not None:
        outputs = landscape.outputs(point.point, split=split)
    factors = [_planted(outputs, scale), _least_squares(outputs, landscape.targets(split))]
    _note(found, 0, landscape.per_example(point.point[None], np.ones((1, 1)), split=split))
    for place, (factor, _) in enumerate(factors, start=1):
        if outputs is not None and factor is not None:
            _note(found, place, landscape.judged(_rescaled(outputs, factor), split=split))
    status = np.array([_OK, *(reason for _, reason in factors)], dtype=np.int8)
    status[(status == _OK) & ~np.isfinite(found["loss"])] = _NOT_FINITE
    constant = _constants(outputs, float(np.finfo(point.theta.dtype).eps))
    return {**found, "status": status, "constant_outputs": np.array(constant)}


def _planted(outputs: Array | None, scale: Array | None) -> tuple[Array | None, int]:
    """One over the scale, or why it is unknown."""
    if scale is None:
        return None, _NO_SCALE
    if outputs is None:
        return None, _NOT_DEFINED
    require_scale_fits(scale, _flat(outputs).shape[1])
    return 1.0 / scale, _OK


def _least_squares(outputs: Array | None, targets: Array) -> tuple[Array | None, int]:
    """The factors nearest to the targets, or why there are none."""
    if outputs is None or targets.dtype.kind != "f":
        return None, _NOT_DEFINED
    if _flat(outputs).shape != _flat(targets).shape:
        return None, _NOT_DEFINED
    if (_flat(outputs) == 0).all(axis=0).any():
        return None, _ZERO
    return least_squares(_flat(outputs), _flat(targets)), _OK


def _flat(values: Array) -> Array:
    """A row of numbers for each example, (m, o)."""
    return values.reshape(len(values), -1)


def _rescaled(outputs: Array, factors: Array) -> Array:
    """Outputs (m, …) times factors, as answers (1, m, …)."""
    with np.errstate(invalid="ignore", over="ignore"):
        rescaled: Array = (_flat(outputs) * factors).reshape(1, *outputs.shape)
    return rescaled


def _note(found: Mapping[str, Array], place: int, examples: Examples) -> None:
    """Means over the examples of one point, and their standard errors."""
    for name, values in (("loss", examples.loss[0]), ("error", examples.error[0])):
        spread = values.std(ddof=1) if len(values) > 1 else math.nan
        found[name][place] = values.mean()
        found[f"{name}_se"][place] = spread / math.sqrt(len(values))


def _constants(outputs: Array | None, rounding: float) -> float:
    """How many outputs are the same for all examples; NaN if some are unknown or not finite."""
    if outputs is None or not np.isfinite(outputs).all():
        return math.nan
    largest = np.abs(_flat(outputs)).max(axis=0)
    spread = np.ptp(_flat(outputs), axis=0)
    return float(np.count_nonzero(spread <= _SAME * rounding * largest))


def _floors(landscape: _Network, split: str) -> dict[str, Array]:
    """Loss and error of the answer that knows the train split and no input."""
    seen, targets = landscape.targets("train"), landscape.targets(split)
    shape = landscape.output_shape
    loss, error, status = math.nan, math.nan, _FLOOR_NOT_DEFINED
    answer = None if shape is None else _one_answer(seen, shape)
    if answer is not None and shape is not None:
        if seen.dtype.kind != "f":
            error = float(np.mean(targets != answer.argmax()))
        same = np.broadcast_to(answer.reshape(shape), (1, len(targets), *shape))
        loss = float(landscape.judged(same, split=split).loss.mean())
        status = _OK if math.isfinite(loss) else _NOT_FINITE
    return {
        "floor_loss": np.array(loss),
        "floor_error": np.array(error),
        "floor_status": np.array(status, dtype=np.int8),
    }


def _one_answer(seen: Array, shape: tuple[int, ...]) -> Array | None:
    """Logarithms of the class shares, or the mean target; None if answers are something else."""
    if seen.dtype.kind == "f":
        mean: Array = _flat(seen).mean(axis=0, dtype=np.float64)
        return mean if mean.size == math.prod(shape) else None
    if seen.ndim != 1 or len(shape) != 1 or seen.min() < 0 or seen.max() >= shape[0]:
        return None
    with np.errstate(divide="ignore"):
        logarithms: Array = np.log(np.bincount(seen, minlength=shape[0]) / len(seen))
    return logarithms


def _collapsed(mask: Mask) -> int:
    """How many prunable tensors keep nothing; a bias is no layer."""
    layers = (name for name in mask.prunable if len(mask.spec.shape(name)) > 1)
    return sum(not mask.layer(name).any() for name in layers)


def _dataset(
    checkpoint: Checkpoint,
    truth: Checkpoint | None,
    splits: Sequence[str],
    columns: Sequence[Mapping[str, Array]],
) -> xr.Dataset:
    """The labelled result of one checkpoint."""
    whole = {name: np.stack([column[name] for column in columns]) for name in columns[0]}
    by_point = {name: np.moveaxis(whole[name], 0, 1) for name in (*_NUMBERS, "status")}
    kinds = len(TICKET_KINDS)
    variables: dict[str, Any] = {name: values[None, :kinds] for name, values in by_point.items()}
    for name in ("loss", "error", "status"):
        variables[f"truth_{name}"] = by_point[name][None, kinds]
    variables["constant_outputs"] = whole["constant_outputs"].T[None, :kinds]
    for name in ("floor_loss", "floor_error", "floor_status"):
        variables[name] = whole[name][None]
    variables["truth_density"] = [math.nan if truth is None else truth.density]
    variables["collapsed_layers"] = [_collapsed(checkpoint.mask)]
    coords: dict[str, Any] = {
        **checkpoint_coordinates(checkpoint),
        "ticket": list(TICKET_KINDS),
        "split": list(splits),
        "rescale": list(RESCALINGS),
    }
    return TICKETS.build(coords, variables)


def companions(group: Sequence[Checkpoint], _settings: TicketsSettings) -> tuple[str, ...]:
    """Where what the level was trained from, and what was planted, would be found."""
    one = group[0]
    if not one.run or one.level is None:
        return ()
    return tuple(f"{one.run}@{one.level}.{part}" for part in ("ticket", "planted"))


def _compute(
    points: Sequence[Checkpoint | None],
    settings: TicketsSettings,
    landscape: Landscape,
    work: Work,
) -> xr.Dataset:
    """The tickets of the first point, the others being its companions."""
    weak, *others = points
    assert weak is not None
    known = {other.part: other for other in others if other is not None}
    return tickets(
        weak, landscape, settings,
        strong=known.get("ticket"), truth=known.get("planted"), work=work,
    )  # fmt: skip


def _cost(settings: TicketsSettings, examples: Mapping[str, int], _points: int) -> float:
    """Forward passes of one example: the losses and the outputs of three points."""
    return 6.0 * sum(examples.get(split, 0) for split in settings.splits)


ANALYSIS = Analysis(
    schema=TICKETS,
    settings=TicketsSettings,
    compute=_compute,
    grouping=lambda _settings: EACH,
    uses_loss=True,
    measures=("error", "loss", "truth_error", "truth_loss"),
    companions=companions,
    cost=_cost,
)
