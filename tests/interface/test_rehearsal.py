"""Rehearsal: failures of late runs are found before the first is trained."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest

from landscape.data_store.errors import LandscapeError, UsageError
from landscape.experiment import Experiment, Offshoot, Variant
from landscape.planning import plan
from landscape.rehearsal import rehearse

TINY: dict[str, Any] = {"task": "digits", "model": "mlp:64-20-10", "levels": 3}
OTHER = """
import torch
from landscape.training.task import make_task
def task():
    x, y = torch.zeros(8, INPUTS), torch.arange(8) % CLASSES
    return make_task(train=(x, y), test=(x, y))
def model():
    return torch.nn.Sequential(torch.nn.Linear(64, 20), torch.nn.ReLU(), torch.nn.Linear(20, 10))
"""


def file(folder: Path, inputs: int, classes: int) -> str:
    """A task of these sizes."""
    path = folder / f"my_{inputs}_{classes}.py"
    path.write_text(OTHER.replace("INPUTS", str(inputs)).replace("CLASSES", str(classes)))
    return f"{path}:task"


def branch(name: str, **settings: Any) -> Experiment:
    """A run of LeNet on the digits and one branch of it."""
    own = {**TINY, "model": "lenet-300-100"}
    return Experiment("a", own, branches=(Offshoot(name, 1, None, settings),))


def test_what_fits_passes_in_silence(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rehearse(plan(branch("b", task=file(tmp_path, 64, 4))), None)


def test_a_ticket_that_does_not_fit_its_target(tmp_path: Path) -> None:
    planned = plan(branch("b", task=file(tmp_path, 32, 4)))
    with pytest.raises(UsageError, match=r"a@1 does not fit the network .*'fc1.weight'"):
        rehearse(planned, None)


def test_a_network_that_does_not_take_the_inputs(tmp_path: Path) -> None:
    variant = Variant("v", {"task": file(tmp_path, 32, 4)})
    with pytest.raises(LandscapeError, match="takes 64 inputs to 10 outputs"):
        rehearse(plan(Experiment("a", TINY, (variant,))), None)


def test_data_that_are_not_there(tmp_path: Path) -> None:
    variant = Variant("v", {"task": "mnist", "model": "lenet-300-100"})
    with pytest.raises(LandscapeError, match="missing"):
        rehearse(plan(Experiment("a", TINY, (variant,))), tmp_path / "missing")


def test_a_layer_that_must_not_be_emptied() -> None:
    variant = Variant("v", {"pruning_fraction": 0.999, "keep_connected": True})
    with pytest.raises(UsageError, match="keep-connected forbids it"):
        rehearse(plan(Experiment("a", {**TINY, "levels": 5}, (variant,))), None)
