"""The tables of tasks, models and criteria: every entry loads and is what it says."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from landscape.data_store.errors import UsageError
from landscape.data_store.mask import Mask
from landscape.data_store.records import RunConfig
from landscape.data_store.table import Table
from landscape.training.criteria import Candidate, Sight
from landscape.training.models import Model, parameter_spec
from landscape.training.network import Network
from landscape.training.registry import CRITERIA, MODELS, TASKS
from landscape.training.task import make_task

TABLES: list[Table[Any]] = [TASKS, MODELS, CRITERIA]
ENTRIES = [(table, name) for table in TABLES for name in table]


@pytest.mark.parametrize(("table", "name"), ENTRIES)
def test_an_entry_has_a_name_a_summary_a_reference_and_a_test(table: Table[Any], name: str) -> None:
    entry = table[name]
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name)
    assert 10 < len(entry.summary) < 80
    assert not entry.summary.endswith(".")
    assert re.search(r"\(\d{4}\)$", entry.reference)
    module, _, attribute = entry.target.partition(":")
    *rooms, last = module.split(".")[2:]
    test = Path(__file__).parent.joinpath(*rooms, f"test_{last}.py")
    assert re.search(rf"\b{attribute}\b", test.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", TASKS)
def test_a_task_takes_a_folder_and_a_validation_size(name: str) -> None:
    parameters = inspect.signature(TASKS.load(name)).parameters.values()
    assert [(p.name, p.default) for p in parameters] == [("data", None), ("validation_size", None)]


@pytest.mark.parametrize("name", MODELS)
def test_a_model_has_a_protocol_of_valid_settings(name: str) -> None:
    model = MODELS.load(name)
    assert isinstance(model, Model)
    assert set(model.protocol) <= {setting.name for setting in fields(RunConfig)}
    config = RunConfig(model=name, **model.protocol)
    assert {key: getattr(config, key) for key in model.protocol} == dict(model.protocol)


@pytest.mark.parametrize("name", CRITERIA)
def test_a_criterion_scores_every_weight_and_changes_nothing(name: str) -> None:
    x, y = torch.randn(9, 4, generator=torch.Generator().manual_seed(0)), torch.arange(9) % 5
    module, config = torch.nn.Linear(4, 5), RunConfig(score_epochs=1, batch_size=4)
    network = Network(module, parameter_spec(module), torch.device("cpu"))
    theta = np.random.default_rng(0).standard_normal(25).astype(np.float32)
    candidate = Candidate(
        theta,
        theta[::-1].copy(),
        Mask.dense(network.spec, ("weight",)),
        seed=0,
        level=1,
        sight=Sight(network, make_task(train=(x, y), test=(x, y)), config),
        keep={"weight": 10},
    )
    before = [candidate.theta.tobytes(), candidate.init.tobytes(), candidate.mask.kept.tobytes()]
    scores = CRITERIA.load(name)(candidate)
    assert scores.shape == (25,)
    assert np.isfinite(scores).all()
    after = [candidate.theta.tobytes(), candidate.init.tobytes(), candidate.mask.kept.tobytes()]
    assert after == before


@pytest.mark.parametrize(
    ("table", "wrong", "message"),
    [
        (TASKS, "fashion", r"unknown task 'fashion'; did you mean 'fashion-mnist'\?"),
        (MODELS, "lenet-300", r"unknown model 'lenet-300'; did you mean 'lenet-300-100'\?"),
        (CRITERIA, "magntude", r"unknown criterion 'magntude'; did you mean 'magnitude'\?"),
    ],
)
def test_an_unknown_name_gets_the_nearest(table: Table[Any], wrong: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        table.load(wrong)


def test_the_tables_are_read_without_importing_torch() -> None:
    code = "import sys, landscape.training.registry; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
