"""Sweeps that take a blink, who carries them out, and what came of them."""

from __future__ import annotations

import shutil
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import landscape
from landscape.data_store.store import Store
from landscape.experiment import Ask, Experiment, Plant
from landscape.in_turn import in_turn
from landscape.steps import Place, Report, Reporter, Step
from landscape.sweep_grid import Rule
from landscape.sweeper import Swept, sweep

TINY: dict[str, Any] = {
    "task": "digits",
    "model": "mlp:64-20-10",
    "levels": 2,
    "iterations": 20,
    "eval_every": 20,
}
GRID = Experiment(
    "a", TINY, grid={"criterion": ("random", "magnitude")}, asks=(Ask("overlap", "overlap"),)
)
DIGITS = Experiment(
    "a",
    TINY,
    grid={"criterion": ("random", "magnitude"), "pruning_fraction": (0.2, 0.5)},
    replicates=2,
    asks=(Ask("overlap", "overlap"), Ask("line", "barrier", {"points": 5}, (0, "last"))),
)
SEEK = Experiment(
    "seek",
    {"iterations": 30, "eval_every": 30, "max_examples": 200},
    grid={
        "criterion": ("random", "magnitude"),
        "densities": ("singleshot", "multishot"),
        "density": ("planted", 0.5),
    },
    rules=(Rule({"densities": ("multishot",)}, {"levels": 3, "last_iterations": 40}),),
    plants=(Plant("circle", "circle", {"depth": 3, "width": 20, "max_examples": 200}),),
    asks=(Ask("overlap", "overlap", {"planted": True}),),
)
BLOBS = """
import torch
from landscape.training.task import make_task
def blobs():
    x, y = torch.arange(24.0).reshape(8, 3) / 24, torch.arange(8) % 2
    return make_task(train=(x, y), test=(x, y))
"""
DYING = (
    BLOBS
    + """
import os
from multiprocessing import parent_process
def dying():  # where the sweep is, it is tried before
    if parent_process() is not None:
        os._exit(9)
    return blobs()
"""
)
OF_BLOBS: dict[str, Any] = {"model": "mlp:3-4-2", "batch_size": 4}


@dataclass
class Doer:
    """An executor that remembers what it was asked to do."""

    done: list[str]

    def __call__(self, steps: Sequence[Step], place: Place, report: Reporter) -> dict[str, str]:
        self.done += [step.name for step in steps]
        return in_turn(steps, place, report)


def nothing(steps: Sequence[Step], _place: Place, _report: Reporter) -> dict[str, str]:
    """An executor for when there must be nothing to do."""
    raise AssertionError([step.name for step in steps])


def silent(_report: object) -> None:
    """A listener, or a reporter, that keeps nothing of what it hears."""


@dataclass(frozen=True)
class Study:
    """A sweep that was carried out."""

    place: Place
    swept: Swept
    done: list[str]
    heard: list[Report]


def carried_out(experiment: Experiment, folder: Path) -> Study:
    """A sweep in a new store."""
    place, doer, heard = Place(landscape.open(folder / "store"), threads=1), Doer([]), []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        swept = sweep(experiment, place, doer, heard.append)
    return Study(place, swept, doer.done, heard)


def copied(place: Place, folder: Path) -> Place:
    """A copy of a store, to be changed."""
    root = shutil.copytree(place.store.root, folder / "copy")
    return replace(place, store=Store(Path(root)))


def digests(store: Store) -> dict[str, str]:
    """The digest of every level of every run."""
    return {f"{name}@{k}": store[name][k].digest for name in store for k in store[name].levels}


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)
