"""Figure data: what a figure draws of some runs, found in a store or computed."""

from __future__ import annotations

import importlib
import json
import math
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from landscape.analysis.grouping import EACH
from landscape.analysis.registry import ANALYSES
from landscape.command_lines import options
from landscape.data_store.catalog import Catalog
from landscape.data_store.conditions import Condition
from landscape.data_store.errors import LandscapeError, UsageError
from landscape.data_store.results import (
    load_result,
    records_of,
    result_id,
    together,
    with_record,
)
from landscape.subject import Context
from landscape.waiting import waiting
from landscape.workbench import analyse, settings_of, stored_answer

if TYPE_CHECKING:
    import xarray as xr

    from landscape.data_store.store import Run, Store
    from landscape.figures.registry import Figure

    Found = tuple[xr.Dataset, tuple[str, ...]]

# kinds of data that are read from runs and asked of no analysis, and what reads them
READERS = {
    "training": "landscape.data_store.curves:training",
    "layers": "landscape.data_store.layers:layers",
    "histograms": "landscape.data_store.histograms:histograms",
}
_INSIGHTS = "insights"
_NAMED = 3
_PLACES = {"criterion": "criterion", "densities": "densities", "target": "task"}


class MissingAnswer(LandscapeError):
    """The store lacks what a figure draws; `commands` would compute it."""

    def __init__(self, message: str, commands: list[str]) -> None:
        super().__init__(message)
        self.commands = commands


def found(
    store: Store,
    figure: Figure,
    runs: Sequence[str],
    *,
    where: Sequence[Condition] = (),
    data: Path | None = None,
) -> Found:
    """What a figure draws of these runs, as far as the store has it; nothing is computed.

    Parameters
    ----------
    store
        Where to look.
    figure
        What is to be drawn: its kind of data, and the settings it asks an analysis with.
    runs
        Names of runs, each of which is a question of its own, and addresses, which together are
        one more, or one each where the analysis is about single checkpoints.
    where
        Conditions on stored results, which choose among several settings.
    data
        A folder of data sets; only for the commands that an error names.

    Returns
    -------
    The dataset, with the ``criterion``, the schedule of ``densities`` and the task (``target``) of
    each of its runs where it has a coordinate ``run``, and the ids of the results in it.

    What was asked with the analysis's own settings, and the figure's, is taken where all of it is
    there; otherwise the one other choice of settings under which all of it is there.

    Raises `MissingAnswer` if there is none, `UsageError` if there are several.
    """
    asks = _asks(figure, runs)
    if figure.schema.kind in READERS:
        return _identified(_read(store, figure, runs))
    choices = _choices(store, figure, asks, where)
    if not choices:
        raise _missing(store, figure, asks, bool(where), data)
    if len(choices) > 1:
        raise _ambiguous(figure, runs, [settings for settings, _ in choices])
    return _identified(_placed(store, figure, choices[0][1]))


def computed(
    store: Store,
    figure: Figure,
    runs: Sequence[str],
    *,
    data: Path | None = None,
    device: str = "auto",
    quiet: bool = True,
) -> Found:
    """The same, after what is missing was computed with the analysis's own settings.

    Parameters
    ----------
    store, figure, runs, data
        As of `found`.
    device
        ``auto``, ``cpu`` or ``cuda``.
    quiet
        Whether to show no progress.

    Raises as `analyse`, and `UsageError` as `found`.
    """
    try:
        return found(store, figure, runs)
    except MissingAnswer:
        context = Context(store=store, data=data, device=device)
        parts = [_answer(figure, ask, context, quiet) for ask in _asks(figure, runs)]
        return _identified(_placed(store, figure, together(parts)))


def _answer(figure: Figure, ask: list[str], context: Context, quiet: bool) -> xr.Dataset:
    """One question of a figure, computed."""
    kind = figure.schema.kind
    with waiting(kind, quiet) as tally:
        if kind == _INSIGHTS:
            from landscape.study import InsightsSettings, insights

            return insights(ask, InsightsSettings(), context, tally)
        return analyse(kind, ask, figure.settings, context, tally)


def making(
    figure: Figure, ask: Sequence[str], root: Path | None = None, data: Path | None = None
) -> str:
    """The command that makes the data of a figure.

    Parameters
    ----------
    figure
        What is to be drawn.
    ask
        The runs or addresses of one question.
    root, data
        Folders of the store and of the data sets, where the command must say them.
    """
    kind = figure.schema.kind
    if kind in READERS:
        return f"landscape train --name {shlex.join(ask)}"
    words = ["landscape", kind, *ask, *options(figure.settings)]
    words += ["--data", str(data)] if data else []
    words += ["--store", str(root)] if root else []
    return shlex.join(words)


def identifiers(ds: xr.Dataset) -> tuple[str, ...]:
    """Ids of the results that a dataset was joined of; of runs, what decides their numbers.

    Raises `LandscapeError` if it carries no record.
    """
    return tuple(dict.fromkeys(r.get("identity") or result_id(r) for r in records_of(ds)))


def _identified(ds: xr.Dataset) -> Found:
    """A dataset and the ids of what is in it."""
    return ds, identifiers(ds)


def _asks(figure: Figure, runs: Sequence[str]) -> list[list[str]]:
    """The questions: one of each run, or of all for claims; of each address or all together."""
    if not runs:
        raise UsageError("no run to draw; give --run NAME")
    whole = [run for run in runs if "@" not in run]
    points = [run for run in runs if "@" in run]
    kind = figure.schema.kind
    if points and (kind in READERS or kind == _INSIGHTS):
        raise UsageError(
            f"{kind} data are read of whole runs; {points[0]!r} is a checkpoint: give "
            f"--run {points[0].partition('@')[0]}"
        )
    own = [whole] if kind == _INSIGHTS else [[run] for run in whole]
    if points and _is_of_each(figure):
        return [*own, *([point] for point in points)]
    return [*own, points] if points else own


def _is_of_each(figure: Figure) -> bool:
    """True if the analysis asks about each checkpoint by itself."""
    analysis = ANALYSES.load(figure.schema.kind)
    return analysis.grouping(settings_of(analysis, figure.settings)) is EACH


def _read(store: Store, figure: Figure, runs: Sequence[str]) -> xr.Dataset:
    """Data that runs hold themselves, with a record of each run."""
    module, _, name = READERS[figure.schema.kind].partition(":")
    chosen = [store[run] for run in runs]
    ds: xr.Dataset = getattr(importlib.import_module(module), name)(chosen)
    records = [_record(figure.schema.kind, run) for run in chosen]
    return with_record(ds, {"kind": figure.schema.kind, "results": records})


def _record(kind: str, run: Run) -> dict[str, Any]:
    """Of a run, what the record of a result says of what it is about."""
    about = run.description
    return {
        "kind": kind,
        "run": run.name,
        "identity": run.identity[:40],
        "task": about["config"]["task"],
        "model": about["config"]["model"],
        "data": about.get("data", {}),
        "landscape": about.get("written_by", ""),
    }


def _choices(
    store: Store, figure: Figure, asks: list[list[str]], where: Sequence[Condition]
) -> list[tuple[Mapping[str, Any], xr.Dataset]]:
    """Settings under which the store answers all questions: the usual alone, if it may be."""
    if figure.schema.kind == _INSIGHTS:
        return _judged(store, asks[0], where)
    if not where and (usual := _stored(store, figure, asks, figure.settings)) is not None:
        return [(figure.settings, usual)]
    rows = _rows(store, figure.schema.kind, where)
    names = {point.partition("@")[0] for ask in asks for point in ask}
    texts = dict.fromkeys(row["settings"] for row in rows if row["run"] in names)
    made: dict[str, tuple[Mapping[str, Any], xr.Dataset]] = {}
    for text in texts:
        settings = {**json.loads(text), **figure.settings}
        ds = _stored(store, figure, asks, settings)
        if ds is not None:
            made[json.dumps(settings, sort_keys=True)] = settings, ds
    return list(made.values())


def _rows(store: Store, kind: str, where: Sequence[Condition]) -> list[dict[str, Any]]:
    """The catalogue's rows of results of a kind that meet the conditions."""
    return Catalog(store.root, store.size_limit).rows(
        "results", [Condition("kind", "=", kind), *where]
    )


def _stored(
    store: Store, figure: Figure, asks: list[list[str]], settings: Mapping[str, Any]
) -> xr.Dataset | None:
    """The answers to all questions if the store has them."""
    parts = []
    for ask in asks:
        part = stored_answer(figure.schema.kind, ask, settings, Context(store=store))
        if part is None:
            return None
        parts.append(part)
    return together(parts)


def _judged(
    store: Store, runs: list[str], where: Sequence[Condition]
) -> list[tuple[Mapping[str, Any], xr.Dataset]]:
    """Verdicts on these runs, of each choice of settings the last; the usual alone, if it may be.

    A later verdict knows more runs to compare with.
    """
    from landscape.data_store.settings import to_json
    from landscape.study import InsightsSettings

    names = [store[run].name for run in runs]
    last: dict[str, xr.Dataset] = {}
    for row in _rows(store, _INSIGHTS, where):  # by the time they were made
        ds = load_result(store.root / row["path"], root=store.root, limit=store.size_limit)
        if ds["replicate"].values.tolist() == names:
            last[json.dumps(json.loads(row["settings"]), sort_keys=True)] = ds
    usual = json.dumps(to_json(InsightsSettings()), sort_keys=True)
    if not where and usual in last:
        last = {usual: last[usual]}
    return [(json.loads(text), ds) for text, ds in last.items()]


def _missing(
    store: Store, figure: Figure, asks: list[list[str]], chosen: bool, data: Path | None
) -> MissingAnswer:
    """What is missing, and the commands that compute it."""
    lacking = asks
    if figure.schema.kind != _INSIGHTS and not chosen:
        lacking = [ask for ask in asks if _stored(store, figure, [ask], figure.settings) is None]
    commands = [making(figure, ask, _said(store.root), data) for ask in lacking]
    return MissingAnswer(
        f"the store lacks the {figure.schema.kind} data that figure {figure.name} draws of "
        f"{_some([' '.join(ask) for ask in lacking])}{' and that meet --where' * chosen}; compute "
        f"them with {_some([repr(command) for command in commands])}, or give --compute",
        commands,
    )


def _said(root: Path) -> Path | None:
    """A store's folder, if a command must say it."""
    return None if root == Path("landscape-store") else root


def _some(words: Sequence[str]) -> str:
    """A list in words, cut short where it is long."""
    more = f" and {len(words) - _NAMED} more" if len(words) > _NAMED else ""
    return ", ".join(words[:_NAMED]) + more


def _ambiguous(
    figure: Figure, runs: Sequence[str], choices: Sequence[Mapping[str, Any]]
) -> UsageError:
    """What tells several choices of settings apart."""
    names = sorted({name for settings in choices for name in settings})
    apart = [n for n in names if len({repr(settings.get(n)) for settings in choices}) > 1]
    told = sorted(" ".join(f"{n}={_word(settings.get(n))}" for n in apart) for settings in choices)
    first = next((word for word in told[0].split() if word.rpartition("=")[2].isdigit()), "")
    return UsageError(
        f"the store has {figure.schema.kind} data of {_some(runs)} under {len(choices)} choices of "
        f"settings: {'; '.join(told)}; choose one as in --where {first or told[0].split()[0]}"
    )


def _word(value: Any) -> str:
    """A setting as a condition would say it."""
    return json.dumps(value, separators=(",", ":")) if not isinstance(value, str) else value


def _placed(store: Store, figure: Figure, ds: xr.Dataset) -> xr.Dataset:
    """A dataset with the criterion, schedule and task of each of its runs, where it names them.

    And with the metrics of its checkpoints that the figure draws beside it.
    """
    if "run" not in ds.coords:
        return ds
    names: Iterable[str] = ds["run"].values.tolist()
    settings = {run: store[run].description.get("config", {}) for run in set(names)}
    about = [settings[run] for run in names]
    for name, setting in _PLACES.items():
        words = [str(config.get(setting) or "").partition(":")[0] for config in about]
        ds = ds.assign_coords({name: (ds["run"].dims, words)})
    for metric in figure.beside:
        known = [_metric(store, address, metric) for address in ds["checkpoint"].values.tolist()]
        ds = ds.assign_coords({metric: ("checkpoint", known)})
    return ds


def _metric(store: Store, address: str, metric: str) -> float:
    """A metric of a level at the address of its final weights, NaN at any other."""
    return store.checkpoint(address).metrics.get(metric, math.nan)
