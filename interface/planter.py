"""Planter: a network with a ticket hidden in it, as a run whose level 0 is the truth."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from landscape.brancher import derived
from landscape.data_store.address import check_run_name, parse_address
from landscape.data_store.errors import LandscapeError, UsageError, unknown
from landscape.data_store.level_file import level_image
from landscape.data_store.lock import holding
from landscape.data_store.params import Array
from landscape.data_store.records import Level, Point, RunConfig
from landscape.data_store.settings import to_json
from landscape.data_store.store import Run, Store
from landscape.plant_settings import PlantSettings
from landscape.planted_truth import Truth
from landscape.preparation import Plan, configure, describe, prepare, task_of
from landscape.provenance import provenance
from landscape.sources import FUNCTION, device_named, is_factory, model_named
from landscape.training.models import build
from landscape.training.planting.chain import chain
from landscape.training.planting.plant import plant as hide
from landscape.training.planting.target_data import floors
from landscape.training.planting.targets import NAMES
from landscape.training.planting.targets import target as built

# Fischer & Burkholz (2022), appendix A: networks, training and pruning of planted tickets.
PROTOCOL: Mapping[str, Any] = {
    "levels": 1,
    "initialization": "scaled-normal",
    "prune_biases": True,
    "scope": "global",
    "score_examples": 40,
    "iterations": 2820,  # ten epochs of 9 000 examples
    "batch_size": 32,
    "optimizer": "adam",
    "lr": 1e-3,
    "eval_every": 282,
}
_FIXED: Mapping[str, Any] = {"levels": 1, "densities": "rate", "density": None}
Layers = Sequence[tuple[Array, Array | None]]


@dataclass(frozen=True, eq=False)
class Ticket:
    """What is planted.

    Parameters
    ----------
    name
        Of the target, or the address it was found at.
    layers
        Weight and bias of each layer, zero where the ticket has none.
    config
        Settings of the network it is planted in, and of runs that begin there.
    """

    name: str
    layers: Layers
    config: RunConfig


def plant(
    target: str,
    *,
    store: Store,
    name: str,
    data: str | Path | None = None,
    device: str = "auto",
    **settings: Any,
) -> Run:
    """Hide a ticket in a network that is drawn at random, and keep both as a run.

    The run's level 0 is the truth: its mask keeps the ticket's non-zero weights and biases, its
    final weights are the ticket's, and ``RUN@0.init`` is the network with the ticket in it. A run
    that is trained ``--from`` it begins there, dense, and has the ticket as its part ``planted``.

    Parameters
    ----------
    target
        ``relu``, ``circle``, ``helix`` or ``helix-released``, whose data are made by the task of
        that name, with its options, as ``circle:noise=0.1,seed=3``; ``FILE.py:NAME``, a function
        of one variable; or ``RUN@LEVEL`` of the store, a ticket that was found there, to be
        planted in a wider network of its kind.
    store, name
        Where to keep it. Repeated with the same settings it is what is there.
    data
        Folder of data sets.
    device
        What its first losses are computed on.
    settings
        Fields of `PlantSettings`, and of `RunConfig` for the network, its initial weights (from
        ``seed``) and the runs that begin at it. The rest is Fischer & Burkholz's protocol, or of a
        ticket that was found its run's.

    Raises
    ------
    UsageError
        For an unknown target or setting, a network too narrow or too shallow for the ticket, or
        with layers in which nothing can be planted.
    LandscapeError
        If a run of this name holds something else, or the disk refuses.

    Notes
    -----
    The function of the ticket is that of the target once its outputs are divided by the record's
    ``scale``. Source: Fischer & Burkholz (2022), section 3.
    """
    check_run_name(name)
    place = device_named(device)
    how, others = _split(settings)
    folder = Path(data) if data else None
    if _is_address(target):
        ticket = _found(target, store, how, others, folder)
    else:
        ticket = _made(target, how, others)
    task = task_of(ticket.config, folder)
    ready = prepare(Plan(ticket.config), task, place)
    network = ready.experiment.network
    links = chain(network.module, task.input_shape)
    hidden = hide(ticket.layers, network.spec, links, ready.init.theta, rule=how.rule)
    mother = Point(hidden.theta, ready.init.buffers)
    truth = Truth(network, links, hidden, mother, ready.experiment.task, ticket.config)
    description = describe(
        Plan(ticket.config), replace(ready, init=mother), task, provenance(place)
    )
    found = {"target": ticket.name, **to_json(how), **truth.record(), "floors": floors(task)}
    description["planted"] = _plain(found)
    return _keep(store, name, description, truth.level(), mother)


def mother_config(target: str, *, store: Store | None, **settings: Any) -> RunConfig:
    """The settings of a planted network, before it is planted; no data are read.

    Parameters and errors as `plant`; the store is needed for a ticket that was found there.
    """
    how, others = _split(settings)
    if not _is_address(target):
        return _made(target, how, others).config
    if store is None:
        raise UsageError(f"{target} is an address in a store; give --store")
    return _found_config(target, store, how, others)


def _is_address(target: str) -> bool:
    """True for ``RUN@LEVEL``, not for a file or a target's options."""
    return "@" in target and ":" not in target


def _split(settings: Mapping[str, Any]) -> tuple[PlantSettings, dict[str, Any]]:
    """The settings of planting, and those of the run."""
    own = {field.name for field in fields(PlantSettings)}
    given = {key: value for key, value in settings.items() if value is not None}
    mine = {key: value for key, value in given.items() if key in own}
    for name, only in _FIXED.items():
        if given.get(name, only) != only:
            raise UsageError(
                f"{name} is {given[name]}, but a planted network is one level that nothing is "
                "trained on; give it to landscape train --from"
            )
    return PlantSettings(**mine), {k: v for k, v in given.items() if k not in own}


def _made(text: str, how: PlantSettings, settings: Mapping[str, Any]) -> Ticket:
    """A ticket that is built, and the settings of the paper's networks around it."""
    head, colon, options = text.partition(":")
    if head in NAMES:
        found = built(head, how.depth, **_knots(how))
        task = head.removesuffix("-released") + colon + options
    elif is_factory(text):
        from landscape.sources import function_named
        from landscape.training.planting.targets import univariate

        name, function = text, function_named(text)
        found = univariate(function, name, how.depth, **_knots(how))
        task = FUNCTION + text
    else:
        raise unknown("target", text, NAMES)
    widths = [found.widths[0], *[how.width] * (how.depth - 2), found.widths[-1]]
    model = "mlp:" + "-".join(map(str, widths))
    config = configure({**PROTOCOL, "task": task, "model": model, **settings})
    return Ticket(text, found.layers, config)


def _knots(how: PlantSettings) -> dict[str, int]:
    """The number of knots, if it is given."""
    return {} if how.knots is None else {"knots": how.knots}


def _found(
    address: str,
    store: Store,
    how: PlantSettings,
    settings: Mapping[str, Any],
    data: Path | None,
) -> Ticket:
    """A ticket of a stored level, and its run's settings for a wider network."""
    config = _found_config(address, store, how, settings)
    place = parse_address(address)
    run = store[place.run]
    checkpoint, own = run.checkpoint(place), run.config
    task = task_of(own, data)
    network = build(model_named(own.model), task.input_shape, task.outputs, own.seed)
    tensors = checkpoint.spec.unflatten(checkpoint.mask.apply(checkpoint.theta))
    layers = [
        (tensors[link.weight], None if link.bias is None else tensors[link.bias])
        for link in chain(network, task.input_shape)
    ]
    return Ticket(checkpoint.address, layers, config)


def _found_config(
    address: str, store: Store, how: PlantSettings, settings: Mapping[str, Any]
) -> RunConfig:
    """Settings of a run around a wider network than that of a ticket."""
    if how.knots is not None:
        raise UsageError(f"knots is {how.knots}, but {address} is no target; leave it out")
    if "model" not in settings:
        raise UsageError(
            f"{address} is to be planted in a wider network; give its --model, with as many layers"
        )
    unset = {"rewind_step": 0, "initialization": PROTOCOL["initialization"]}
    return derived(store[parse_address(address).run].config, {**unset, **settings})


def _keep(store: Store, name: str, description: dict[str, Any], level: Level, mother: Point) -> Run:
    """The run in the store, made whole if it was begun; refused if the name is another's."""
    run = Run(store.root, name, store.size_limit)
    with holding(run):
        if run.exists:
            old = run.description
            for entry in ("config", "spec", "init", "data", "planted"):
                if old.get(entry) != _plain(description[entry]):
                    raise LandscapeError(
                        f"run {name!r} exists and is not this planted network: its {entry} "
                        "differs; give another --name"
                    )
        else:
            run = store.create(name, description)
        spec = level.mask.spec
        run.save_point(level.origins["init"], spec, mother)
        if 0 not in run.levels:
            run.save_level(0, level_image(replace(level, run=run.identity)))
    return run


def _plain(value: Any) -> Any:
    """A part of a manifest as it is once it was written: no tuples, no NaN."""
    return json.loads(json.dumps(value), parse_constant=lambda _: None)
