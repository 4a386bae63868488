"""Surface: loss and error on a line or plane through checkpoints, cell by cell."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from landscape.analysis.axes import (
    Axes,
    checkpoint_axes,
    eigenvector_axes,
    principal_axes,
    random_axes,
)
from landscape.analysis.cells import grids_around, grids_between
from landscape.analysis.grouping import together
from landscape.analysis.landscape import Evaluation, Landscape
from landscape.analysis.pairs import checkpoint_coordinates
from landscape.analysis.plane import Plane
from landscape.analysis.registry import Analysis
from landscape.analysis.sampling import subset
from landscape.analysis.work import AtOnce, Work
from landscape.data_store.errors import UsageError
from landscape.data_store.params import Array
from landscape.data_store.records import Checkpoint
from landscape.data_store.schemas.surface import DIRECTIONS, SURFACE
from landscape.data_store.settings import check, option

_OK, _NOT_FINITE = 0, 1
_BLOCK = 128
_CURVES = ("loss", "loss_se", "error", "error_se")
_NAMED = 3


@dataclass(frozen=True)
class SurfaceSettings:
    """Where the axes point and how finely they are sampled: options of ``landscape surface``."""

    directions: str | None = option(
        None,
        "axes: random; through checkpoints, orthonormal; leading eigenvectors of the Hessian; or "
        "principal components of a trajectory. Unless given: random for one argument, checkpoints "
        "for two or three, pca for more",
        choices=DIRECTIONS,
    )
    axes: int | None = option(
        None, "1 for a slice, 2 for a plane; 1 between two checkpoints, else 2", min=1, max=2
    )
    points: tuple[int, ...] = option((25,), "cells along each axis, as 25 or 51,31", min=2)
    range: tuple[float, ...] = option(
        (),
        "where the axes run, as -1,1 or -1,1,-2,2: what they run unless given is -1,1, and around "
        "the checkpoints where these span them",
    )
    margin: float | None = option(
        None,
        "how far the axes run beyond the checkpoints that span them, as a fraction of their "
        "extent; 0.5 on a line and 0.25 in a plane unless given",
        min=0,
    )
    normalization: str = option(
        "filter",
        "random directions: each filter as long as the checkpoint's, or the whole of length 1, or "
        "Gaussian as drawn",
        choices=("filter", "unit", "none"),
    )
    measure: str = option("loss", "whose sublevel set is marked", choices=("loss", "error"))
    epsilon: float = option(
        0.1, "how far above the checkpoint at the origin still counts as in the set", min=0
    )
    cutoff: float | None = option(
        None, "height of the sublevel set, instead of that checkpoint's and epsilon", min=0
    )
    splits: tuple[str, ...] = option(
        ("train", "test"), "splits of the data to evaluate on", each_once="train,test"
    )
    examples: int | None = option(
        None, "at most so many examples of each split, drawn at random; all unless given", min=1
    )
    seed: int = option(0, "seed of random directions and examples", min=0, max=2**63 - 1)
    bn: str = option(
        "interpolate",
        "normalisation statistics between the checkpoints",
        choices=("interpolate", "recompute", "first"),
    )

    def __post_init__(self) -> None:
        check(self)
        if len(self.points) not in (1, 2):
            raise UsageError(f"points is {self.points}; give one number, or one for each axis")
        ends = zip(self.range[::2], self.range[1::2], strict=False)
        if len(self.range) not in (0, 2, 4) or any(low >= high for low, high in ends):
            raise UsageError(
                f"range is {self.range}; give two numbers, as -1,1, or two for each axis, the "
                "smaller first"
            )

    def sizes(self, axes: int) -> list[int]:
        """Cells along each of so many axes."""
        return [self.points[min(k, len(self.points) - 1)] for k in range(axes)]


def surface(
    points: Sequence[Checkpoint],
    landscape: Landscape,
    settings: SurfaceSettings | None = None,
    work: Work | None = None,
) -> xr.Dataset:
    """Loss and error on a line or plane; schema ``surface``.

    ``theta(x, y) = theta_0 + x u + y v`` with theta_0 the first checkpoint, or for ``pca`` the
    last. The directions u and v are

    - ``random``: Gaussian in the weights that the checkpoint keeps; each filter scaled to the
      length of the checkpoint's, biases and normalisation scales left alone, unless the settings
      say otherwise. Coordinates count these lengths: 1 is as far as the origin is from 0;
    - ``checkpoints``: orthonormal, through the first two or three checkpoints, so that x and y
      are Euclidean distances; with two and two axes, the second is random at right angles;
    - ``eigenvectors``: of the largest eigenvalues of the Hessian of the first split's loss in
      the weights that are kept, of length 1;
    - ``pca``: `principal_directions` of all checkpoints, of length 1.

    Every checkpoint is projected on the plane: its coordinates, how far off it lies, and its own
    loss and error. Cells at a checkpoint of the plane have exactly its numbers. A cell is a member
    of the sublevel set if its loss (or error) is at most ``threshold``: that of the checkpoint at
    the origin plus epsilon, unless the settings give a height. A cell whose loss is not finite is
    NaN with status 1, and so is its membership. Weights that no checkpoint keeps do not move, nor
    do buffers along random directions and eigenvectors.

    Parameters
    ----------
    points
        Checkpoints of one architecture.
    landscape
        Their loss.
    settings
        Directions, cells, examples.
    work
        Where blocks of up to 128 cells are computed and kept.

    Raises `UsageError` if the settings do not fit the checkpoints, `LandscapeError` if these
    are of different architectures or do not span what is asked for.

    Cost: an evaluation per split for each cell and each checkpoint; for eigenvectors Hessian
    products besides, see `leading`.

    Source: Li et al. (2018), sections 4 and 7, for random and principal directions; Goodfellow
    et al. (2015) for lines through checkpoints; Paul et al. (2023) for the sublevel set.
    """
    settings, work = settings or SurfaceSettings(), work or AtOnce()
    kind, count = _chosen(len(points), settings)
    sizes = settings.sizes(count)
    blocks = math.ceil(math.prod(sizes) / _BLOCK) + 1
    work.expect(len(settings.splits) * blocks + (kind == "eigenvectors"))
    places = {
        split: subset(landscape.examples(split), settings.examples, settings.seed)
        for split in settings.splits
    }
    axes = _axes(kind, count, points, settings, landscape, work, places)
    marks, residuals = map(np.array, zip(*map(axes.plane.projection, points), strict=True))
    grids = _grids(axes, marks, sizes, settings)
    cells = np.stack(np.meshgrid(*grids, indexing="ij"), axis=-1).reshape(-1, count)
    at_points, in_cells = {}, {}
    for split in settings.splits:
        at_points[split] = _at_points(points, landscape, split, places[split], work)
        in_cells[split] = _in_cells(axes.plane, cells, landscape, split, places[split], work)
    home = next(i for i, p in enumerate(points) if p is axes.plane.corners[0])
    shape = [len(grids[0]), len(grids[1]) if count == 2 else 1]
    variables = {
        **_stacked(in_cells, settings.splits, shape),
        **{f"point_{n}": v for n, v in _stacked(at_points, settings.splits).items()},
        **_sublevel_set(in_cells, at_points, home, settings, shape),
        "displacement": axes.plane.displacement(cells).reshape(shape),
        "point_x": marks[:, 0],
        "point_y": marks[:, 1] if count == 2 else np.zeros(len(points)),
        "point_residual": residuals,
        **_of_axes(axes),
    }
    return SURFACE.build(
        _coordinates(points, points[home], kind, settings, grids),
        {name: np.asarray(values)[None] for name, values in variables.items()},
    )


def _chosen(given: int, settings: SurfaceSettings) -> tuple[str, int]:
    """The kind of directions and the number of axes for so many checkpoints."""
    usual = "random" if given == 1 else "checkpoints" if given <= 3 else "pca"
    kind = settings.directions or usual
    between = kind in ("checkpoints", "pca")
    if between and given < 2:
        raise UsageError(
            f"directions is {kind}, which needs at least 2 checkpoints, got {given}; give more, "
            "or take random directions"
        )
    count = settings.axes or (1 if between and given == 2 else 2)
    for name, most in (("points", count), ("range", 2 * count)):
        if len(value := getattr(settings, name)) > most:
            raise UsageError(f"{name} is {value}, which is for two axes, and this is a line")
    return kind, count


def _axes(
    kind: str,
    count: int,
    points: Sequence[Checkpoint],
    settings: SurfaceSettings,
    landscape: Landscape,
    work: Work,
    places: Mapping[str, Array | None],
) -> Axes:
    """The axes of one kind."""
    if kind == "random":
        return random_axes(points[0], count, settings.normalization, settings.seed)
    if kind == "checkpoints":
        return checkpoint_axes(points, count, settings.seed)
    if kind == "pca":
        return principal_axes(points, count)
    split = settings.splits[0]
    return eigenvector_axes(
        points[0],
        count,
        landscape,
        work,
        split=split,
        places=places[split],
        seed=settings.seed,
    )


def _grids(
    axes: Axes, marks: Array, sizes: Sequence[int], settings: SurfaceSettings
) -> list[Array]:
    """Coordinates of the cells along each axis."""
    if axes.spanned and not settings.range:
        return grids_around(marks, sizes, settings.margin)
    return grids_between(marks, sizes, settings.range)


def _at_points(
    points: Sequence[Checkpoint], landscape: Landscape, split: str, places: Array | None, work: Work
) -> dict[str, Array]:
    """Loss and error of the checkpoints themselves: curves (p,)."""

    def compute() -> dict[str, Array]:
        alone = np.ones((1, 1))
        return _curves(
            [landscape.evaluate(p.point[None], alone, split=split, places=places) for p in points]
        )

    return work.block(f"points-{split}", compute)


def _in_cells(
    plane: Plane, cells: Array, landscape: Landscape, split: str, places: Array | None, work: Work
) -> dict[str, Array]:
    """Loss and error in all cells, block after block: curves (k,)."""

    def compute(block: Array) -> dict[str, Array]:
        rows = plane.coefficients(block)
        return _curves([landscape.evaluate(plane.anchors, rows, split=split, places=places)])

    parts = [
        work.block(f"cells-{split}-{start}", partial(compute, cells[start : start + _BLOCK]))
        for start in range(0, len(cells), _BLOCK)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in _CURVES}


def _curves(answers: Sequence[Evaluation]) -> dict[str, Array]:
    """The numbers of several evaluations, one after the other."""
    return {n: np.concatenate([getattr(answer, n) for answer in answers]) for n in _CURVES}


def _stacked(
    curves: Mapping[str, Mapping[str, Array]], splits: Sequence[str], shape: Sequence[int] = (-1,)
) -> dict[str, Array]:
    """Curves of the splits one above the other, with a status; what is not finite is NaN."""
    stacked = {n: np.array([curves[s][n] for s in splits]) for n in _CURVES}
    fine = np.isfinite(stacked["loss"])
    stacked = {n: np.where(fine, values, np.nan) for n, values in stacked.items()}
    stacked["status"] = np.where(fine, _OK, _NOT_FINITE)
    return {n: values.reshape(len(splits), *shape) for n, values in stacked.items()}


def _sublevel_set(
    in_cells: Mapping[str, Mapping[str, Array]],
    at_points: Mapping[str, Mapping[str, Array]],
    home: int,
    settings: SurfaceSettings,
    shape: Sequence[int],
) -> dict[str, Any]:
    """Height of the set of each split, which cells are members, and what share of them."""
    threshold, member, share = [], [], []
    for split in settings.splits:
        own = float(at_points[split][settings.measure][home]) + settings.epsilon
        threshold.append(own if settings.cutoff is None else settings.cutoff)
        values = in_cells[split][settings.measure]
        known = np.isfinite(values) & math.isfinite(threshold[-1])
        inside = values <= threshold[-1]
        member.append(np.where(known, inside, np.nan).reshape(shape))
        share.append(float(inside[known].mean()) if known.any() else math.nan)
    return {"threshold": threshold, "member": np.array(member), "member_share": share}


def _of_axes(axes: Axes) -> dict[str, Any]:
    """What a result keeps of its axes."""
    lengths = np.sqrt(np.diag(axes.plane.gram))
    return {
        "unit": lengths,
        "cosine": axes.plane.gram[0, 1] / lengths.prod() if len(lengths) == 2 else math.nan,
        "direction": list(axes.words),
        "direction_seed": list(axes.seeds[: len(lengths)]),
        "direction_digest": axes.digests,
        **axes.facts,
    }


def _coordinates(
    points: Sequence[Checkpoint],
    home: Checkpoint,
    kind: str,
    settings: SurfaceSettings,
    grids: Sequence[Array],
) -> dict[str, Any]:
    """The labels of one surface."""
    names = [p.address for p in points]
    few = len(names) <= _NAMED
    y = grids[1] if len(grids) == 2 else np.zeros(1)
    own = checkpoint_coordinates(home)
    return {
        "surface": [" ".join(names) if few else f"{names[0]} … {names[-1]} ({len(names)})"],
        **{name: own[name] for name in ("run", "level", "density")},
        "directions": [kind],
        "measure": [settings.measure],
        "split": list(settings.splits),
        "column": np.arange(len(grids[0])),
        "row": np.arange(len(y)),
        "axis": ["x", "y"][: len(grids)],
        "point": np.arange(len(points)),
        "x": grids[0][None],
        "y": y[None],
        "point_name": [names],
        "point_part": [[p.part for p in points]],
    }


def _cost(settings: SurfaceSettings, examples: Mapping[str, int], group: int) -> float:
    """About how many forward passes of one example a surface takes, eigenvectors left out."""
    cells = math.prod(settings.sizes(_chosen(group, settings)[1]))
    passes = (min(examples[s], settings.examples or examples[s]) for s in settings.splits)
    return float((cells + group) * sum(passes))


ANALYSIS = Analysis(
    schema=SURFACE,
    settings=SurfaceSettings,
    compute=lambda points, settings, landscape, work: surface(points, landscape, settings, work),
    grouping=lambda _settings: together(1, None),
    uses_loss=True,
    measures=("threshold", "member_share", "point_loss"),
    cost=_cost,
)
