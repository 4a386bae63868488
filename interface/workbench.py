"""The workbench: one question about checkpoints, asked once, answered with its provenance."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from landscape.analysis.paths import line
from landscape.analysis.registry import ANALYSES, Analysis
from landscape.block_work import BlockWork, Tally
from landscape.data_store import results
from landscape.data_store.blocks import Blocks
from landscape.data_store.errors import UsageError, unknown
from landscape.data_store.files import SIZE_LIMIT
from landscape.data_store.records import Checkpoint
from landscape.data_store.settings import question as asked
from landscape.data_store.version import own_version
from landscape.subject import Context, Subject

if TYPE_CHECKING:
    import xarray

    from landscape.analysis.grouping import Grouping, Groups
    from landscape.analysis.network.evaluator import Evaluator
    from landscape.subject import Source


# how much is evaluated to say how long a question will take
_PROBED_POINTS, _PROBED_EXAMPLES, _PROBED_SECONDS = 8, (32, 256, 4096), 0.2


def analyse(
    kind: str,
    points: Sequence[Source],
    settings: Mapping[str, Any],
    context: Context,
    tally: Tally | None = None,
) -> xarray.Dataset:
    """Ask one analysis about checkpoints, answering from the store where it can.

    Parameters
    ----------
    kind
        A name of the table of analyses.
    points
        Addresses, paths, checkpoints, state dicts or modules. A run alone stands for its
        finished levels. The analysis's grouping makes questions of them.
    settings
        Fields of the analysis's settings; those not given have their defaults.
    context
        Store, task, model, data, device.
    tally
        What is told how far it is.

    Each question is kept as a result of its own. One asked before, about the same weights,
    data, network, settings and schema version, is read from the store. The finished blocks of
    one that was interrupted are there too.

    Raises `UsageError` for names, settings and addresses that do not exist, `LandscapeError`
    for files that cannot be read or do not fit.
    """
    tally = tally or Tally()
    questions, groups = _asked(kind, points, settings, context, tally)
    tally.questions = len(groups)
    parts = []
    for group in groups:
        tally.ask()
        parts.append(questions.answer(group))
        tally.answer()
    return results.together(parts)


def stored_answer(
    kind: str, points: Sequence[Source], settings: Mapping[str, Any], context: Context
) -> xarray.Dataset | None:
    """What `analyse` answers, if the store has all of it; None if it does not.

    Nothing is computed. Parameters and errors as `analyse`.
    """
    questions, groups = _asked(kind, points, settings, context, Tally())
    parts = []
    for group in groups:
        stored = questions.stored(group)
        if stored is None:
            return None
        parts.append(stored)
    return results.together(parts)


def _asked(
    kind: str,
    points: Sequence[Source],
    settings: Mapping[str, Any],
    context: Context,
    tally: Tally,
) -> tuple[_Questions, Groups]:
    """An analysis with its settings, and the groups of checkpoints it is asked about."""
    analysis = ANALYSES.load(kind)
    chosen = settings_of(analysis, settings)
    subject = Subject(context, needs_network=analysis.needs_landscape(chosen))
    groups = _groups(kind, analysis.grouping(chosen), subject.checkpoints(points))
    return _Questions(kind, analysis, chosen, subject, tally), groups


def _groups(kind: str, grouping: Grouping, points: Sequence[Checkpoint]) -> Groups:
    """The questions that checkpoints make; raises `UsageError` if there are too few or many."""
    if len(points) < grouping.least:
        raise UsageError(
            f"{kind} needs at least {grouping.least} checkpoint{'s' * (grouping.least > 1)}, got "
            f"{len(points)}; give RUN@LEVEL addresses or files, or a run with more finished levels"
        )
    if grouping.most is not None and len(points) > grouping.most:
        raise UsageError(
            f"{kind} takes at most {grouping.most} checkpoints, got {len(points)}; give "
            "RUN@LEVEL addresses or files"
        )
    return grouping.split(points)


def settings_of(analysis: Analysis, given: Mapping[str, Any]) -> Any:
    """The analysis's settings with the given fields; None leaves a default.

    Raises `UsageError` for a field that it has not, or a value that breaks a rule.
    """
    names = [setting.name for setting in fields(analysis.settings)]
    for name in given:
        if name not in names:
            raise unknown("setting", name, names)
    return analysis.settings(
        **{k: tuple(v) if isinstance(v, list) else v for k, v in given.items() if v is not None}
    )


class _Questions:
    """One analysis with one choice of settings, asked about group after group."""

    def __init__(
        self, kind: str, analysis: Analysis, settings: Any, subject: Subject, tally: Tally
    ) -> None:
        self._kind, self._analysis = kind, analysis
        self._settings, self._subject = settings, subject
        self._tally = tally
        self._needs_landscape = analysis.needs_landscape(settings)
        self._bn = str(getattr(settings, "bn", "interpolate"))
        self._landscape: Evaluator | None = None

    def answer(self, group: list[Checkpoint]) -> xarray.Dataset:
        """The result for one group of checkpoints, stored or computed."""
        companions = self._companions(group)
        known = [c for c in companions if c is not None]
        question = self._question(group, companions)
        root = self._root(group)
        blocks = None
        if root is not None:
            stored = self._stored(root, question, [*group, *known])
            if stored is not None:
                return stored
            blocks = Blocks(root, results.result_id(question), self._size_limit)
        began = time.perf_counter()
        if self._needs_landscape:
            self._landscape = self._subject.landscape(self._bn, [*group, *known])
            self._estimate(self._landscape, group)
        work = BlockWork(blocks, self._tally)
        points = [*group, *companions]
        ds = self._analysis.compute(points, self._settings, self._landscape, work)
        record = question | self._circumstances(question, time.perf_counter() - began)
        if root is None or blocks is None:
            return results.with_record(ds, record)
        saved = results.save_result(root, ds, record, limit=self._size_limit)
        blocks.clear()
        return saved

    def stored(self, group: list[Checkpoint]) -> xarray.Dataset | None:
        """The result for one group of checkpoints if the store has it."""
        companions, root = self._companions(group), self._root(group)
        if root is None:
            return None
        known = [c for c in companions if c is not None]
        return self._stored(root, self._question(group, companions), [*group, *known])

    def _companions(self, group: list[Checkpoint]) -> list[Checkpoint | None]:
        """What a group is asked about with; None for what the store does not have."""
        addresses = self._analysis.companions(group, self._settings)
        return self._subject.companions(group, addresses)

    def _stored(
        self, root: Path, question: dict[str, Any], points: list[Checkpoint]
    ) -> xarray.Dataset | None:
        """The stored answer to a question, under the addresses it is asked with now."""
        name = results.result_id(question)
        stored = results.find_result(root, self._kind, name, limit=self._size_limit)
        return None if stored is None else _relabelled(stored, points)

    def _estimate(self, landscape: Evaluator, group: list[Checkpoint]) -> None:
        """Tell how long the question will take, from a short probe, where its cost is known."""
        if self._analysis.cost is None:
            return
        splits = {name: len(split.inputs) for name, split in landscape.splits.items()}
        passes = self._analysis.cost(self._settings, splits, len(group))
        self._tally.expected = passes * _seconds_per_example(landscape, group)
        self._tally.listener(self._tally)

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

    def _question(
        self, group: list[Checkpoint], companions: Sequence[Checkpoint | None]
    ) -> dict[str, Any]:
        """What is asked: the part of a record that decides the answer, and how it is called."""
        question: dict[str, Any] = {
            "kind": self._kind,
            "schema_version": list(self._analysis.schema.version),
            "inputs": [_input(c) for c in group],
            "task": self._subject.task_name,
            "model": self._subject.model_name,
            "settings": asked(self._settings),
        }
        if companions:
            question["companions"] = [c and _input(c) for c in companions]
        if self._needs_landscape:
            data, _, network = self._subject.data_digest(group, self._bn).partition("/")
            question["data"] = {"digest": data, "network": network}
        return question

    def _circumstances(self, question: dict[str, Any], seconds: float) -> dict[str, Any]:
        """When, where and with what an answer was computed."""
        record: dict[str, Any] = {"seconds": round(seconds, 3)}
        if self._landscape is None:
            created = datetime.now(UTC).isoformat(timespec="seconds")
            return record | {"landscape": own_version(), "created": created}
        from landscape.provenance import provenance

        examples = {name: len(split.inputs) for name, split in self._landscape.splits.items()}
        record["data"] = question["data"] | {"examples": examples}
        record["batch_size"] = self._landscape.batch_size
        record["layout"] = self._landscape.layout
        return record | provenance(self._landscape.device)


def _seconds_per_example(landscape: Evaluator, group: Sequence[Checkpoint]) -> float:
    """How long one forward pass of one example takes, from a few points of a line."""
    split = next(iter(landscape.splits))
    anchors = np.stack([group[0].point, group[-1].point])
    rows = line(np.linspace(0.0, 1.0, _PROBED_POINTS))
    each = 0.0
    for number, count in enumerate(_PROBED_EXAMPLES):  # more are truer, as long as it is quick
        places = np.arange(min(count, landscape.examples(split)))
        began = time.perf_counter()
        landscape.evaluate(anchors, rows, split=split, places=places)
        spent = time.perf_counter() - began
        each = spent / (len(places) * len(rows))
        if number and spent > _PROBED_SECONDS:  # the first is slower: the network is tried
            break
    return each


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


def _relabelled(stored: xarray.Dataset, points: list[Checkpoint]) -> xarray.Dataset:
    """A stored answer under the addresses it was asked for now: a group's, then companions'."""
    from landscape.analysis.pairs import checkpoint_coordinates, pair_coordinates

    if "pair" in stored.dims:
        along, labels = "pair", pair_coordinates(points[0], points[1])
    elif "checkpoint" in stored.dims:
        along, labels = "checkpoint", checkpoint_coordinates(points[0])
    elif "transition" in stored.dims:
        along, labels = "transition", pair_coordinates(points[0], points[1])
        labels["transition"] = labels.pop("pair")
    else:
        return stored
    labels = {k: values for k, values in labels.items() if not np.array_equal(stored[k], values)}
    if not labels:
        return stored
    fresh = stored.copy()
    for name, values in labels.items():
        attrs = fresh[name].attrs
        fresh = fresh.assign_coords({name: (along, values)})
        fresh[name].attrs = attrs
    return results.with_record(fresh, results.record_of(stored))
