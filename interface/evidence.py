"""Evidence: what the analyses say of runs of IMP and of the strategies to compare them with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from landscape.block_work import Tally
from landscape.data_store import results
from landscape.data_store.schema import STATUS, TEXT
from landscape.data_store.schemas.insights import MEASURED
from landscape.data_store.schemas.sublevel import PATHS, POINTS
from landscape.strategies import IMP, Gathered, Solution, rank
from landscape.workbench import analyse

if TYPE_CHECKING:
    import xarray as xr

    from landscape.data_store.params import Array
    from landscape.subject import Context

SPLITS = ("train", "test")
WITH_VOLUME = (IMP, "reinit")

_OK, _NOT_FINITE = 0, 1
_AS_IT_IS = ("loss", "loss_se", "error", "error_se", "barrier_se", "distance", "angle")


@dataclass(frozen=True)
class Inquiry:
    """What the analyses are asked.

    Parameters
    ----------
    sublevel
        Settings of every transition.
    volume
        Settings of every volume; None asks for none.
    """

    sublevel: Mapping[str, Any]
    volume: Mapping[str, Any] | None


@dataclass(frozen=True, eq=False)
class Evidence:
    """What was measured of one run and the strategies beside it.

    Parameters
    ----------
    study
        The run and its solutions.
    transitions
        One case of a sublevel dataset for each solution.
    volumes
        One case of a volume dataset for each address that was asked about.
    records
        The records of the results these come from.
    """

    study: Gathered
    transitions: Mapping[Solution, xr.Dataset]
    volumes: Mapping[str, xr.Dataset]
    records: Sequence[Mapping[str, Any]]


def evidence(
    studies: Sequence[Gathered], inquiry: Inquiry, context: Context, tally: Tally
) -> list[Evidence]:
    """Ask about every transition of the studies, and about volumes if they are wanted.

    Each is a question of its own to the workbench: stored, and asked once. `tally` counts all.
    """
    tally.questions = sum(len(study.solutions) for study in studies)
    if inquiry.volume is not None:
        tally.questions += sum(len(_addresses(study)) for study in studies)
    return [_of_one(study, inquiry, context, tally) for study in studies]


def _of_one(study: Gathered, inquiry: Inquiry, context: Context, tally: Tally) -> Evidence:
    """The evidence about one run."""
    transitions: dict[Solution, xr.Dataset] = {}
    volumes: dict[str, xr.Dataset] = {}
    records: list[Mapping[str, Any]] = []
    for chain in chains(study.solutions):
        points = [chain[0].previous, *(solution.address for solution in chain)]
        ds = analyse("sublevel", points, inquiry.sublevel, context, _part_of(tally))
        transitions |= {solution: ds.isel(transition=i) for i, solution in enumerate(chain)}
        records += _records(ds)
    if inquiry.volume is not None:
        addresses = _addresses(study)
        ds = analyse("volume", addresses, inquiry.volume, context, _part_of(tally))
        volumes = {address: ds.isel(checkpoint=i) for i, address in enumerate(addresses)}
        records += _records(ds)
    return Evidence(study, transitions, volumes, records)


def chains(solutions: Sequence[Solution]) -> Iterator[list[Solution]]:
    """The solutions in lists in which each is the previous solution of the next."""
    chain: list[Solution] = []
    for solution in sorted(solutions, key=lambda s: (rank(s.strategy), s.level)):
        if chain and solution.previous != chain[-1].address:
            yield chain
            chain = []
        chain.append(solution)
    if chain:
        yield chain


def _part_of(whole: Tally) -> Tally:
    """A tally of some of the questions that tells the whole one."""
    before = whole.answered

    def pass_on(part: Tally) -> None:
        whole.answered = before + part.answered
        for name in ("blocks", "finished", "kept", "computed", "seconds", "began", "expected"):
            setattr(whole, name, getattr(part, name))
        whole.listener(whole)

    return Tally(pass_on)


def _addresses(study: Gathered) -> list[str]:
    """The addresses whose volumes are compared."""
    own = [s.address for s in study.solutions if s.strategy in WITH_VOLUME]
    return [f"{study.run}@0", *own]


def _records(ds: xr.Dataset) -> list[Mapping[str, Any]]:
    """The records of the results that a dataset was joined of."""
    record = results.record_of(ds)
    return list(record["results"]) if "results" in record else [record]


def measured(found: Sequence[Evidence], definition: str) -> xr.Dataset:
    """The measured part of an insights dataset: a replicate for each run.

    Parameters
    ----------
    found
        The evidence about each run.
    definition
        Which definition of the barrier is entered.
    """
    import xarray as xr

    strategies = {s.strategy for one in found for s in one.study.solutions}
    labels: dict[str, list[Any]] = {
        "study": [" ".join(one.study.run for one in found)],
        "replicate": [one.study.run for one in found],
        "strategy": sorted(strategies, key=rank),
        "level": sorted({float(k) for one in found for k in one.study.densities}),
        "split": list(SPLITS),
        "point": list(POINTS),
        "path": list(PATHS),
    }
    arrays = {name: _empty(name, labels) for name in MEASURED}
    for r, one in enumerate(found):
        for solution, case in one.transitions.items():
            at = (
                0,
                r,
                labels["strategy"].index(solution.strategy),
                labels["level"].index(solution.level),
            )
            _put(arrays, at, solution, case.sel(split=list(SPLITS), definition=definition))
            _put_volume(arrays, at, one.volumes.get(solution.address))
        dense = (0, r, labels["strategy"].index(IMP), labels["level"].index(0.0))
        _put_dense(arrays, dense, one)
    return xr.Dataset(
        {
            name: (variable.dims, arrays[name], variable.attributes())
            for name, variable in MEASURED.items()
        },
        {name: ((name,), values) for name, values in labels.items()},
    )


def _empty(name: str, labels: Mapping[str, Sequence[Any]]) -> Array:
    """An array of a measured variable in which nothing is known."""
    variable = MEASURED[name]
    shape = tuple(len(labels[dim]) for dim in variable.dims)
    if variable.dtype == TEXT:
        return np.full(shape, "", dtype=object)
    if variable.dtype == STATUS:
        unknown = "not_trained" if name == "status" else "absent"
        return np.full(shape, variable.flags.index(unknown), dtype=np.int8)
    return np.full(shape, np.nan)


def _put(
    arrays: Mapping[str, Array], at: tuple[int, ...], solution: Solution, case: xr.Dataset
) -> None:
    """Enter one transition."""
    arrays["previous"][at], arrays["solution"][at] = solution.previous, solution.address
    arrays["density"][at] = solution.density
    for name in (*_AS_IT_IS, "loss_barrier", "error_barrier"):
        arrays[name][at] = case[name].values
    finite = np.isfinite(case["loss"].sel(point="solution").values).all()
    arrays["status"][at] = _OK if finite else _NOT_FINITE


def _put_dense(arrays: Mapping[str, Array], at: tuple[int, ...], one: Evidence) -> None:
    """Enter level 0 of the run: where its first transition began."""
    address = f"{one.study.run}@0"
    first = next(s for s in one.transitions if s.strategy == IMP and s.previous == address)
    case = one.transitions[first].sel(split=list(SPLITS), point="previous")
    arrays["solution"][at] = address
    arrays["density"][at] = one.study.densities[0]
    place: Any = (*at, slice(None), POINTS.index("solution"))
    for name in ("loss", "loss_se", "error", "error_se"):
        arrays[name][place] = case[name].values
    finite = np.isfinite(case["loss"].values).all()
    arrays["status"][at] = _OK if finite else _NOT_FINITE
    _put_volume(arrays, at, one.volumes.get(address))


def _put_volume(arrays: Mapping[str, Array], at: tuple[int, ...], case: xr.Dataset | None) -> None:
    """Enter one volume, by the one estimator that was asked for."""
    if case is None:
        return
    one = case.isel(estimator=0)
    for name in ("log_volume_per_dimension", "log_volume_per_dimension_se"):
        arrays[name][at] = float(one[name])
    arrays["dimensions"][at] = float(one["n_parameters"])
    arrays["volume_status"][at] = int(one["status"])
