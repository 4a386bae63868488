"""Study: seven claims judged on a run of IMP and the other strategies of its store."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from landscape.block_work import Tally
from landscape.data_store import results
from landscape.data_store.errors import LandscapeError, UsageError
from landscape.data_store.schemas.barrier import DEFINITIONS
from landscape.data_store.schemas.insights import INSIGHTS
from landscape.data_store.settings import check, option, to_json
from landscape.data_store.version import own_version
from landscape.strategies import Gathered, gather, missing_command

if TYPE_CHECKING:
    import xarray as xr

    from landscape.analysis.verdict import Finding
    from landscape.data_store.store import Store
    from landscape.evidence import Evidence
    from landscape.subject import Context


_ESTIMATORS = ("none", "monte-carlo", "diagonal", "hessian", "laplace")


@dataclass(frozen=True)
class InsightsSettings:
    """What is measured and how it is judged; the fields are options of ``landscape insights``."""

    measure: str = option("error", "E, what is to stay low", choices=("loss", "error"))
    split: str = option("test", "the split on which E is judged", choices=("train", "test"))
    epsilon: float = option(
        0.02, "slack of sublevel sets, and the barrier up to which solutions are connected", min=0
    )
    reference: str = option(
        "previous",
        "whose sublevel set claim 3 speaks of: the level before, or level 0",
        choices=("previous", "dense"),
    )
    share: float = option(
        0.75, "share of the comparisons that must bear a claim out", above=0, max=1
    )
    definition: str = option("deviation", "definition of the barrier", choices=DEFINITIONS)
    points: int = option(15, "evaluated positions on each path, both ends included", min=3)
    examples: int = option(10_000, "random examples of each split, at most", min=2)
    seed: int = option(0, "seed of that choice, and of the directions of volumes", min=0)
    bn: str = option(
        "interpolate",
        "normalisation statistics on the paths",
        choices=("interpolate", "recompute", "first"),
    )
    tolerance: float = option(
        0.05, "how much a density may differ from a level's to be compared with it", above=0, max=1
    )
    volume: str = option(
        "none", "estimator of the volumes that claim 1 needs; takes long", choices=_ESTIMATORS
    )
    volume_examples: int = option(1000, "random training examples that define a volume", min=1)

    def __post_init__(self) -> None:
        check(self)


def insights(
    runs: Sequence[str], settings: InsightsSettings, context: Context, tally: Tally | None = None
) -> xr.Dataset:
    """The seven claims of Saleem et al. (2024), judged; schema ``insights``.

    Parameters
    ----------
    runs
        Names of runs of iterative magnitude pruning; several are replicates of each other.
        What to compare each with is found in the store, as `landscape.strategies.gather` says.
    settings
        What is measured and how it is judged.
    context
        The store, data and device.
    tally
        What is told how far it is.

    Every transition is a question of its own to the analysis ``sublevel``, and every volume one
    to ``volume``: stored, and asked once, so that judging anew costs nothing. A claim that lacks
    a strategy is undecided and names the command that would train it. The rules are those of
    `landscape.analysis.claims`.

    Raises `UsageError` if a run is no IMP or given twice, `LandscapeError` if replicates are of
    different networks or data.
    """
    from landscape.analysis.claims import findings
    from landscape.analysis.measured import Rule
    from landscape.evidence import evidence, measured

    began = time.perf_counter()
    store = _store(context)
    studies = [gather(store, run, settings.tolerance) for run in runs]
    _require_replicates(store, studies)
    found = evidence(studies, _inquiry(settings), context, tally or Tally())
    numbers = measured(found, settings.definition)
    rule = Rule(
        settings.measure, settings.split, settings.epsilon, settings.reference, settings.share
    )
    judged = numbers.isel(study=0)
    ds = _dataset(numbers, findings(judged, rule), rule, settings, _Commands(store, studies))
    record = _record(store, found, settings) | {
        "seconds": round(time.perf_counter() - began, 3),
        "left_out": [sentence for study in studies for sentence in study.left_out],
    }
    return results.save_result(store.root, ds, record, limit=store.size_limit)


def _store(context: Context) -> Store:
    """The store that is looked through."""
    if context.store is None:
        raise UsageError("insights are found in a store; give store=")
    return context.store


def _inquiry(settings: InsightsSettings) -> Any:
    """What the analyses are asked: not what their answers are only judged by."""
    from landscape.evidence import SPLITS, Inquiry

    names = ("measure", "definition", "points", "examples", "seed", "bn")
    own = {name: getattr(settings, name) for name in names} | {"splits": SPLITS}
    if settings.volume == "none":
        return Inquiry(own, None)
    given = {"seed": settings.seed, "bn": settings.bn, "examples": settings.volume_examples}
    return Inquiry(own, {**given, "estimators": (settings.volume,)})


def _require_replicates(store: Store, studies: Sequence[Gathered]) -> None:
    """Raise unless the runs are different ones of the same network and data."""
    names = [study.run for study in studies]
    if not names:
        raise UsageError("no run to look into; give the name of one")
    if len(set(names)) < len(names):
        raise UsageError(f"runs are {', '.join(names)}; give each once")
    first = store[names[0]].description
    for name in names[1:]:
        other = store[name].description
        for what in ("task", "model"):
            mine, theirs = (of.get("config", {}).get(what) for of in (first, other))
            if mine != theirs:
                raise LandscapeError(
                    f"run {names[0]!r} has {what} {mine!r} and run {name!r} {theirs!r}; replicates "
                    "differ in their seed only"
                )
        if store[names[0]].data_digest != store[name].data_digest:
            raise LandscapeError(
                f"runs {names[0]!r} and {name!r} were trained on different data; replicates "
                "differ in their seed only"
            )


@dataclass(frozen=True, eq=False)
class _Commands:
    """How to come by what is missing."""

    store: Store
    studies: Sequence[Gathered]

    def text(self, missing: Sequence[str]) -> str:
        """A command for each missing strategy, of the first run that lacks it."""
        return "; ".join(self._one(name) for name in missing)

    def _one(self, name: str) -> str:
        """The command for one strategy, or for the volumes."""
        if name == "volume":
            return f"landscape insights {' '.join(s.run for s in self.studies)} --volume hessian"
        lacking = [s for s in self.studies if name not in {x.strategy for x in s.solutions}]
        study = (lacking or list(self.studies))[0]
        return missing_command(study, name, self.store[study.run].config, list(self.store))


def _dataset(
    numbers: xr.Dataset,
    found: Sequence[Finding],
    rule: Any,
    settings: InsightsSettings,
    commands: _Commands,
) -> xr.Dataset:
    """The labelled result."""
    from landscape.analysis.measured import inside

    judged = numbers.isel(study=0)
    sets = {
        f"inside_{reference}": inside(judged, rule, reference)[None]
        for reference in ("previous", "dense")
    }
    claims: dict[str, Any] = {
        name: [[getattr(finding, name) for finding in found]]
        for name in ("verdict", "rule", "measured", "comparisons", "in_favour", "against",
                     "outcome", "effect", "effect_name")
    }  # fmt: skip
    claims["missing"] = [[commands.text(finding.missing) for finding in found]]
    coords = {name: values.values for name, values in numbers.coords.items()}
    coords |= {
        "claim": [finding.number for finding in found],
        "statement": [finding.statement for finding in found],
    }
    return INSIGHTS.build(
        {str(name): values for name, values in coords.items()},
        {
            **{str(name): values.values for name, values in numbers.data_vars.items()},
            **sets,
            **{name: np.array(values) for name, values in claims.items()},
            "measure": [settings.measure],
            "judged_split": [settings.split],
            "epsilon": [settings.epsilon],
            "definition": [settings.definition],
        },
    )


def _record(store: Store, found: Sequence[Evidence], settings: InsightsSettings) -> dict[str, Any]:
    """What was asked, of which checkpoints, with what."""
    records = [record for one in found for record in one.records]
    inputs: dict[str, Mapping[str, Any]] = {}
    for record in records:
        inputs |= {given["address"]: given for given in record["inputs"]}
    config = store[found[0].study.run].description["config"]
    return {
        "kind": INSIGHTS.kind,
        "schema_version": list(INSIGHTS.version),
        "inputs": list(inputs.values()),
        "task": config["task"],
        "model": config["model"],
        "settings": to_json(settings),
        "data": records[0]["data"],
        "landscape": own_version(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
