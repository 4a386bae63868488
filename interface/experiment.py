"""Experiment: what one file states: a run with variants and branches, or a grid of runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from landscape.data_store.records import RunConfig
from landscape.sweep_grid import Rule


@dataclass(frozen=True)
class Variant:
    """A run of its own, with some settings changed."""

    name: str
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class Offshoot:
    """Runs that begin at levels of another: a control or a transfer.

    Parameters
    ----------
    name
        Its part of the runs' names.
    at
        A level, ``"last"``, ``"each"`` or a list of levels.
    of
        The variant it begins at, None for the experiment's own run, ``"each"`` for that and every
        variant, whose name is then part of the runs' names. Without a run of its own, a run of the
        store.
    settings
        Fields of `BranchSettings` and `RunConfig`.
    """

    name: str
    at: int | str | tuple[int, ...]
    of: str | None
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class Plant:
    """A network with a ticket hidden in it, at which every combination of the grid begins.

    Parameters
    ----------
    name
        Its part of the runs' names.
    target
        What `landscape.planter.plant` takes.
    settings
        Fields of `PlantSettings`, and of `RunConfig` for the network.
    """

    name: str
    target: str
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Ask:
    """An analysis that is asked about every run.

    Parameters
    ----------
    name
        What its results are called.
    kind
        A name of the table of analyses.
    settings
        Fields of its settings.
    at
        Levels of the run, as in ``RUN@LEVEL.PART``: ``"each"`` for all of them, or a list of
        numbers and of texts as ``"last.planted"``.
    """

    name: str
    kind: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    at: str | tuple[int | str, ...] = "each"


@dataclass(frozen=True)
class Experiment:
    """What an experiment file states, or the options of one command.

    Parameters
    ----------
    name
        Of the run, and the beginning of every other run's name; None if it has no run of its own
        but branches of runs that the store has.
    settings
        Fields of `RunConfig` that are not the model's protocol.
    variants, branches
        What belongs to it.
    replicates
        How many times all of it is trained, from seeds one apart; None for once, without a seed
        in the names.
    grid, rules
        Settings and their values, every combination of which is a run; and what follows from them,
        as `landscape.sweep_grid.cells` has it. With a grid there is no other run.
    plants
        Where every combination begins; planted anew in every replicate.
    asks
        What is asked about every run by ``landscape sweep``.
    """

    name: str | None
    settings: Mapping[str, Any] = field(default_factory=dict)
    variants: tuple[Variant, ...] = ()
    branches: tuple[Offshoot, ...] = ()
    replicates: int | None = None
    grid: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    rules: tuple[Rule, ...] = ()
    plants: tuple[Plant, ...] = ()
    asks: tuple[Ask, ...] = ()


@dataclass(frozen=True)
class Planting:
    """A planted network of one replicate; parameters as `Plant`, `name` of the run.

    Parameters
    ----------
    plant
        Name of the `Plant`.
    parent
        It begins at no other run.
    """

    name: str
    plant: str
    target: str
    settings: Mapping[str, Any]
    parent: None = None


@dataclass(frozen=True)
class Planned:
    """One run of an experiment.

    Parameters
    ----------
    name
        Of the run.
    config
        Its settings, as far as they are known before data are read and networks are planted.
    settings
        What `landscape.train` or `landscape.branch` is given; a density may be `PLANTED`.
    parent
        Run and level it begins at, None for a run that begins dense.
    place
        Where it is in the experiment: values of the grid by setting, and ``plant``; or its
        ``variant`` and ``branch``.
    """

    name: str
    config: RunConfig
    settings: Mapping[str, Any]
    parent: tuple[str, int] | None = None
    place: Mapping[str, Any] = field(default_factory=dict)

    @property
    def beginning(self) -> str | None:
        """The level it begins at, as ``RUN@LEVEL``."""
        return None if self.parent is None else f"{self.parent[0]}@{self.parent[1]}"


@dataclass(frozen=True)
class Question:
    """An analysis asked about one run.

    Parameters
    ----------
    name
        The run, and what the analysis is called.
    ask
        The analysis.
    points
        Addresses that it is asked about.
    parent
        The run and its last level, without which it is not asked.
    task, model
        Names that lead to somebody's code, which a store never runs; None where the run says.
    """

    name: str
    ask: Ask
    points: tuple[str, ...]
    parent: tuple[str, int]
    task: str | None = None
    model: str | None = None
