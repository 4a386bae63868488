"""What of a sweep is done: the steps whose results the store does not have."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields, replace
from typing import TYPE_CHECKING

from landscape.branch_settings import BranchSettings
from landscape.data_store.address import Address
from landscape.data_store.errors import LandscapeError
from landscape.data_store.records import RunConfig
from landscape.data_store.settings import to_json
from landscape.data_store.store import Run, Store
from landscape.experiment import Planned, Planting, Question
from landscape.plant_settings import PlantSettings
from landscape.steps import Place, Step
from landscape.subject import Context
from landscape.training.batches import Batches
from landscape.workbench import stored_answer

if TYPE_CHECKING:
    import xarray

_OF_MASK = tuple(setting.name for setting in fields(BranchSettings))
_OF_PLANT = tuple(setting.name for setting in fields(PlantSettings))


def undone(
    steps: Iterable[Step], place: Place, answers: dict[str, xarray.Dataset] | None = None
) -> list[Step]:
    """The steps whose results the store does not have, in their order.

    That is also a step that needs another one of them. Answers that are found are put into
    `answers`, by the names of their questions.
    """
    left: list[Step] = []
    names: set[str] = set()
    for step in steps:
        waits = step.parent is not None and step.parent[0] in names
        if waits or not is_done(step, place, answers):
            left.append(step)
            names.add(step.name)
    return left


def is_done(step: Step, place: Place, answers: dict[str, xarray.Dataset] | None = None) -> bool:
    """True if the store has what a step makes, by these settings; False where that is unsure."""
    try:
        if isinstance(step, Planned):
            return _is_trained(step, place.store)
        if isinstance(step, Planting):
            return _is_planted(step, place.store)
        assert isinstance(step, Question)
        found = _stored(step, place)
    except LandscapeError:  # what does it again will say why
        return False
    if found is not None and answers is not None:
        answers[step.name] = found
    return found is not None


def _stored(question: Question, place: Place) -> xarray.Dataset | None:
    """The stored answer to a question."""
    name, level = question.parent
    if level not in Run(place.store.root, name, place.store.size_limit).levels:
        return None
    context = Context(place.store, question.task, question.model, place.data, place.device)
    return stored_answer(question.ask.kind, question.points, question.ask.settings, context)


def _is_trained(planned: Planned, store: Store) -> bool:
    """True if a run has all its levels, by these settings, and did not diverge."""
    run = Run(store.root, planned.name, store.size_limit)
    last = planned.config.levels - 1
    if not run.exists or run.is_imported or not set(range(last + 1)) <= set(run.levels):
        return False
    own = replace(run.config, levels=planned.config.levels)
    if to_json(own) != to_json(_in_steps(planned.config, run)):
        return False
    return _begins_there(planned, run, store) and run.level(last).status == "done"


def _in_steps(config: RunConfig, run: Run) -> RunConfig:
    """The settings with the rewind point in steps, as a run states it."""
    if config.rewind_epoch is None:
        return config
    examples = int(run.description["data"]["examples"]["train"])
    step = config.rewind_epoch * Batches(examples, config.batch_size).per_epoch
    return replace(config, rewind_step=step, rewind_epoch=None)


def _begins_there(planned: Planned, run: Run, store: Store) -> bool:
    """True if a stored run begins at the level that it is planned to begin at, as it is now."""
    branch = run.description.get("branch")
    if branch is None or planned.parent is None:
        return branch is None and planned.parent is None
    name, level = planned.parent
    given = {k: planned.settings[k] for k in _OF_MASK if planned.settings.get(k) is not None}
    stated = {k: branch.get(k) for k in _OF_MASK}
    return (
        branch.get("parent") == f"{name}@{level}"
        and stated == to_json(BranchSettings(**given))
        and branch.get("digest")
        == Run(store.root, name, store.size_limit).checkpoint(Address(name, level)).digest
    )


def _is_planted(planting: Planting, store: Store) -> bool:
    """True if a run holds this planted network."""
    from landscape.planter import mother_config

    run = Run(store.root, planting.name, store.size_limit)
    if not run.exists or run.levels != [0]:
        return False
    record = run.description.get("planted", {})
    given = {k: v for k, v in planting.settings.items() if k in _OF_PLANT and v is not None}
    wanted = to_json(PlantSettings(**given))
    if "@" not in planting.target:  # an address may be written in several ways
        wanted["target"] = planting.target
    config = mother_config(planting.target, store=store, **planting.settings)
    same = all(record.get(name) == value for name, value in wanted.items())
    return same and to_json(run.config) == to_json(config)
