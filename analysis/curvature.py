"""The Hessian of the loss at a checkpoint, in the weights that its mask leaves free."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from landscape.analysis.extremes import Eigenpairs, eigenpairs, solved_whole
from landscape.analysis.grouping import EACH
from landscape.analysis.landscape import Landscape
from landscape.analysis.masked_hessian import MaskedHessian
from landscape.analysis.pairs import checkpoint_coordinates
from landscape.analysis.registry import Analysis
from landscape.analysis.sampling import subset
from landscape.analysis.spectrum import Axis, probed, spectral_density, trace
from landscape.analysis.subspace import Subspace
from landscape.analysis.work import Work
from landscape.data_store.errors import UsageError
from landscape.data_store.params import Array
from landscape.data_store.records import Checkpoint
from landscape.data_store.schemas.curvature import CURVATURE
from landscape.data_store.settings import check, option

_LOSSES_PER_PRODUCT = 3.0  # what a Hessian product costs, for perceptrons; convolutions take more

_OK, _NOT_CONVERGED, _NOT_FINITE, _NONE = 0, 1, 2, 3  # flags of both statuses


@dataclass(frozen=True)
class CurvatureSettings:
    """What is asked of a Hessian; the fields are options of ``landscape curvature``."""

    eigenvalues: int = option(10, "largest eigenvalues to find", min=1)
    smallest: int = option(2, "smallest (most negative) eigenvalues to find", min=0)
    probes: int = option(10, "random probes of the trace and of the spectral density", min=2)
    steps: int = option(80, "Lanczos steps of each probe: Hessian products", min=1)
    split: str = option("train", "split of the data to evaluate on")
    examples: int | None = option(
        None, "examples of the split to use, a random subset; all if not given", min=1
    )
    tolerance: float = option(
        1e-4, "greatest residual of an eigenvalue, relative to the largest of them", above=0
    )
    restarts: int = option(100, "restarts at most in the search for eigenvalues", min=1)
    grid: int = option(400, "points of the spectral density", min=2)
    width: float = option(
        0.2, "smoothing of the density: relative, or in units of where its grid is linear", above=0
    )
    linear: float = option(
        1e-3, "where the grid becomes linear, relative to the largest eigenvalue", above=0
    )
    vectors: bool = option(False, "keep the eigenvectors")
    seed: int = option(0, "seed of the subset, the probes and the first vectors", min=0)
    bn: str = option(
        "interpolate",
        "normalisation statistics: the checkpoint's own (interpolate, first), or recomputed",
        choices=("interpolate", "recompute", "first"),
    )

    def __post_init__(self) -> None:
        check(self)
        widest = 2 * (np.arcsinh(1 / self.linear) + 5 * self.width)
        if widest / (self.grid - 1) > self.width:
            raise UsageError(
                f"a grid of {self.grid} points is coarser than a width of {self.width:g}; it needs "
                f"{int(widest / self.width) + 2} points, or a greater width"
            )

    @property
    def ranks(self) -> list[int]:
        """Ranks of the eigenvalues in falling order: 1, 2, … from the top, …, -2, -1."""
        return [*range(1, self.eigenvalues + 1), *range(-self.smallest, 0)]


def curvature(
    checkpoint: Checkpoint,
    landscape: Landscape,
    settings: CurvatureSettings,
    work: Work,
) -> xr.Dataset:
    """Eigenvalues, trace and spectral density of the Hessian at a checkpoint; schema ``curvature``.

    ``H = d² loss / d theta²`` of the mean loss over a split, or a random subset of it, in the d
    weights that the mask keeps and all that is never pruned: the submatrix of their rows and
    columns (`MaskedHessian`). Pruned weights and buffers stay as they are.

    The largest and the smallest eigenvalues, by sign, come with their residuals ``|H v - λ v|``:
    an eigenvalue lies within that distance (`eigenpairs`). The largest, once settled, are taken
    out of what random probes look at, which makes the trace and the density sharper: `trace`,
    `spectral_density`. Up to 256 weights, or four for each eigenvalue asked for, all of it is
    exact, and the standard errors are 0.

    The density's grid and smoothing are those of `Axis`: linear within ``linear_below`` of 0 and
    logarithmic beyond on both sides. It integrates to 1 over ``grid_eigenvalue``.

    Parameters
    ----------
    checkpoint
        Where. Its mask decides the dimensions.
    landscape
        The loss.
    settings
        What to ask.
    work
        A block for the eigenvalues and one for each probe.

    Returns
    -------
    xarray.Dataset
        One checkpoint. Eigenvectors, if kept, are of length 1, their largest entry positive,
        with the place of each weight in the flat vector as ``parameter``. NaN with a status:
        eigenvalues beyond d, all numbers if a Hessian product is not finite or d is 0. Of
        eigenvalues that did not converge, those found are given: they may skip one.

    Raises `UsageError` if there is no such split, `LandscapeError` if the products are not those
    of a symmetric matrix: torch has some second derivatives wrong.

    Cost: d Hessian products, or the searches of `eigenpairs` (100 to 300 products for the ten
    largest and two smallest, as a rule) and ``probes × steps``. A Hessian product takes as long as
    about four losses. Memory: ``steps + 3 × eigenvalues`` vectors of d float64.
    Source: Ghorbani, Krishnan and Xiao (2019), An investigation into neural net optimization via
    Hessian eigenvalue density.
    """
    count = landscape.examples(settings.split)
    places = subset(count, settings.examples, settings.seed)
    subspace = Subspace.of(checkpoint)
    hessian = MaskedHessian(landscape, checkpoint.point, subspace, settings.split, places)
    if not subspace.dims:
        found = _unknown(settings, _NONE)
    else:
        try:
            found = _measured(hessian, settings, work)
        except FloatingPointError:
            found = _unknown(settings, _NOT_FINITE)
    found["n_parameters"] = subspace.dims
    found["examples"] = count if places is None else len(places)
    coords: dict[str, Any] = {
        **checkpoint_coordinates(checkpoint),
        "split": [settings.split],
        "rank": settings.ranks,
        "grid": np.arange(settings.grid),
    }
    vectors = found.pop("eigenvector", None)
    if settings.vectors:
        coords["parameter"] = subspace.free
        unknown = np.full((len(settings.ranks), subspace.dims), np.nan)
        found["eigenvector"] = unknown if vectors is None else vectors
    return CURVATURE.build(
        coords, {name: np.asarray(values)[None] for name, values in found.items()}
    )


def _measured(hessian: MaskedHessian, settings: CurvatureSettings, work: Work) -> dict[str, Any]:
    """The variables of one checkpoint, without its dimension."""
    whole = solved_whole(hessian.dims, settings.eigenvalues, settings.smallest)
    probes = 0 if whole else settings.probes
    work.expect(1 + probes)
    pairs = Eigenpairs(**work.block("eigenvalues", lambda: _pairs(hessian, settings)))
    known = len(pairs.values) if whole else int(pairs.ends[0]) * bool(pairs.settled[0])
    values, vectors = pairs.values[:known], pairs.vectors[:known]
    rules = [
        work.block(
            f"probe {number}",
            partial(probed, hessian, vectors, settings.steps, seed=settings.seed, number=number),
        )
        for number in range(probes)
    ]
    nodes, weights, quadratics = (
        np.array([rule[name] for rule in rules]) for name in ("nodes", "weights", "quadratic")
    )
    axis = Axis.over(
        np.concatenate([pairs.values, nodes[weights > 0]]),
        points=settings.grid,
        width=settings.width,
        linear=settings.linear,
    )
    density, density_se = spectral_density(axis, values, nodes, weights, hessian.dims)
    total, error = trace(values, quadratics)
    return {
        **_ranked(pairs, settings),
        "trace": total,
        "trace_se": error,
        "trace_per_dimension": total / hessian.dims,
        "spectral_density": density,
        "spectral_density_se": density_se,
        "grid_eigenvalue": axis.eigenvalue,
        "linear_below": axis.scale,
        "status": _OK if pairs.settled.all() else _NOT_CONVERGED,
    }


def _pairs(hessian: MaskedHessian, settings: CurvatureSettings) -> dict[str, Array]:
    """The block of the eigenvalues."""
    pairs = eigenpairs(
        hessian,
        settings.eigenvalues,
        settings.smallest,
        seed=settings.seed,
        tolerance=settings.tolerance,
        restarts=settings.restarts,
    )
    return dict(vars(pairs))


def _ranked(pairs: Eigenpairs, settings: CurvatureSettings) -> dict[str, Array]:
    """The variables over the ranks, NaN where a rank has no eigenvalue."""
    ranks = settings.ranks
    values, residuals = np.full(len(ranks), np.nan), np.full(len(ranks), np.nan)
    vectors = np.full((len(ranks) if settings.vectors else 0, pairs.vectors.shape[1]), np.nan)
    status = np.zeros(len(ranks), dtype=np.int8)
    for i, rank in enumerate(ranks):
        row = pairs.row(rank)
        if not pairs.settled[0 if rank > 0 else 1]:
            status[i] = _NOT_CONVERGED
        elif row is None:
            status[i] = _NONE
        if row is not None:
            values[i], residuals[i] = pairs.values[row], pairs.residuals[row]
            if settings.vectors:
                vectors[i] = pairs.vectors[row]
    ranked = {"eigenvalue": values, "residual": residuals, "eigenvalue_status": status}
    return ranked | ({"eigenvector": vectors} if settings.vectors else {})


def _unknown(settings: CurvatureSettings, status: int) -> dict[str, Any]:
    """The variables of a checkpoint that has no Hessian, or of which it is not finite."""
    names = ("trace", "trace_se", "trace_per_dimension", "linear_below")
    curves = ("spectral_density", "spectral_density_se", "grid_eigenvalue")
    ranks = len(settings.ranks)
    return {
        "eigenvalue": np.full(ranks, np.nan),
        "residual": np.full(ranks, np.nan),
        "eigenvalue_status": np.full(ranks, status, dtype=np.int8),
        **dict.fromkeys(names, np.nan),
        **{name: np.full(settings.grid, np.nan) for name in curves},
        "status": status,
    }


def _cost(settings: CurvatureSettings, examples: Mapping[str, int], _checkpoints: int) -> float:
    """Forward passes of one example: the products with random probes, and those of a search."""
    products = settings.probes * settings.steps + 20 * (settings.eigenvalues + settings.smallest)
    whole = examples.get(settings.split, 0)
    return float(_LOSSES_PER_PRODUCT * products * min(settings.examples or whole, whole))


ANALYSIS = Analysis(
    schema=CURVATURE,
    settings=CurvatureSettings,
    compute=lambda points, settings, landscape, work: curvature(
        points[0], landscape, settings, work
    ),
    grouping=lambda _settings: EACH,
    uses_loss=True,
    cost=_cost,
    measures=("eigenvalue", "trace", "trace_se", "n_parameters"),
)
