"""The workbench: one question about checkpoints, asked once, answered with its provenance."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from landscape.analysis.registry import ANALYSES, Analysis
from landscape.data_store import results
from landscape.data_store.errors import UsageError, unknown
from landscape.data_store.files import SIZE_LIMIT
from landscape.data_store.records import Checkpoint
from landscape.data_store.settings import to_json
from landscape.subject import Context, Subject

if TYPE_CHECKING:
    import xarray

    from landscape.analysis.evaluator import Evaluator
    from landscape.subject import Source

Answered = Callable[[int, int], None]


def analyse(
    kind: str,
    points: Sequence[Source],
    settings: Mapping[str, Any],
    context: Context,
    answered: Answered | None = None,
) -> xarray.Dataset:
    """Ask one analysis about checkpoints, answering from the store where it can.

    Parameters
    ----------
    kind
        A name of the table of analyses.
    points
        Addresses, paths, checkpoints, state dicts or modules. A run alone stands for its
        finished levels. More points than the analysis takes at once are asked about in turn.
    settings
        Fields of the analysis's settings; those not given have their defaults.
    context
        Store, task, model, data, device.
    answered
        Called with (answers so far, questions in all).

    Each question is kept as a result of its own. One asked before, about the same weights,
    data, network, settings and schema version, is read from the store.

    Raises `UsageError` for names, settings and addresses that do not exist, `LandscapeError`
    for files that cannot be read or do not fit.
    """
    analysis = ANALYSES.load(kind)
    chosen = _settings(analysis, settings)
    subject = Subject(context, needs_network=analysis.uses_loss)
    checkpoints = subject.checkpoints(points)
    if len(checkpoints) < analysis.arity:
        raise UsageError(
            f"{kind} needs at least {analysis.arity} checkpoints, got {len(checkpoints)}; give "
            "RUN@LEVEL addresses or files, or a run with more finished levels"
        )
    questions = _Questions(kind, analysis, chosen, subject)
    last = len(checkpoints) - analysis.arity + 1
    parts = []
    for i in range(last):
        parts.append(questions.answer(checkpoints[i : i + analysis.arity]))
        if answered:
            answered(i + 1, last)
    return results.together(parts)


def _settings(analysis: Analysis, given: Mapping[str, Any]) -> Any:
    """The analysis's settings with the given fields; None leaves a default."""
    names = [setting.name for setting in fields(analysis.settings)]
    for name in given:
        if name not in names:
            raise unknown("setting", name, names)
    return analysis.settings(
        **{k: tuple(v) if isinstance(v, list) else v for k, v in given.items() if v is not None}
    )


class _Questions:
    """One analysis with one choice of settings, asked about group after group."""

    def __init__(self, kind: str, analysis: Analysis, settings: Any, subject: Subject) -> None:
        self._kind, self._analysis = kind, analysis
        self._settings, self._subject = settings, subject
        self._bn = str(getattr(settings, "bn", "interpolate"))
        self._landscape: Evaluator | None = None

    def answer(self, group: list[Checkpoint]) -> xarray.Dataset:
        """The result for one group of checkpoints, stored or computed."""
        question = self._question(group)
        root = self._root(group)
        if root is not None:
            name = results.result_id(question)
            stored = results.find_result(root, self._kind, name, limit=self._size_limit)
            if stored is not None:
                return _relabelled(stored, group)
        began = time.perf_counter()
        if self._analysis.uses_loss:
            self._landscape = self._subject.landscape(self._bn, group)
        ds = self._analysis.compute(group, self._settings, self._landscape)
        record = question | self._circumstances(question, time.perf_counter() - began)
        if root is None:
            return results.with_record(ds, record)
        return results.save_result(root, ds, record, limit=self._size_limit)

    def _root(self, group: list[Checkpoint]) -> Path | None:
        """The store a result is kept in: the one given, or the checkpoints' own."""
        if self._subject.context.store is not None:
            return self._subject.context.store.root
        homes = [c.home for c in group if c.home is not None]
        return Path(homes[0]) if homes else None

    @property
    def _size_limit(self) -> int:
        """Largest file that is read."""
        store = self._subject.context.store
        return SIZE_LIMIT if store is None else store.size_limit

    def _question(self, group: list[Checkpoint]) -> dict[str, Any]:
        """What is asked: the part of a record that decides the answer, and how it is called."""
        question: dict[str, Any] = {
            "kind": self._kind,
            "schema_version": list(self._analysis.schema.version),
            "inputs": [_input(c) for c in group],
            "task": self._subject.task_name,
            "model": self._subject.model_name,
            "settings": to_json(self._settings),
        }
        if self._analysis.uses_loss:
            data, _, network = self._subject.data_digest(group, self._bn).partition("/")
            question["data"] = {"digest": data, "network": network}
        return question

    def _circumstances(self, question: dict[str, Any], seconds: float) -> dict[str, Any]:
        """When, where and with what an answer was computed."""
        record: dict[str, Any] = {"seconds": round(seconds, 3)}
        if self._landscape is None:
            created = datetime.now(UTC).isoformat(timespec="seconds")
            return record | {"landscape": version("landscape-workbench"), "created": created}
        from landscape.provenance import provenance

        examples = {name: len(split.inputs) for name, split in self._landscape.splits.items()}
        record["data"] = question["data"] | {"examples": examples}
        record["batch_size"] = self._landscape.batch_size
        return record | provenance(self._landscape.device)


def _input(checkpoint: Checkpoint) -> dict[str, Any]:
    """What a record keeps of one checkpoint."""
    density = checkpoint.density
    return {
        "address": checkpoint.address,
        "digest": checkpoint.digest,
        "run": checkpoint.run,
        "level": checkpoint.level,
        "part": checkpoint.part,
        "density": density if density == density else None,
    }


def _relabelled(stored: xarray.Dataset, group: list[Checkpoint]) -> xarray.Dataset:
    """A stored answer under the addresses it was asked for now."""
    if "pair" not in stored.dims:
        return stored
    from landscape.analysis.pairs import pair_coordinates

    fresh = stored.copy()
    for name, values in pair_coordinates(group[0], group[1]).items():
        attrs = fresh[name].attrs
        fresh = fresh.assign_coords({name: ("pair", values)})
        fresh[name].attrs = attrs
    return results.with_record(fresh, results.record_of(stored))
