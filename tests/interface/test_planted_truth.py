"""Planted truth: a ticket of two weights in a small network, its numbers by hand."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from landscape.data_store.params import Array
from landscape.data_store.records import TRACE_COLUMNS, Point
from landscape.planted_truth import Truth
from landscape.preparation import Plan, configure, prepare, task_of
from landscape.training.planting.chain import chain
from landscape.training.planting.plant import plant
from landscape.training.planting.targets import target

SETTINGS = {
    "task": "relu:examples=200,noise=0",
    "model": "mlp:1-5-1",
    "initialization": "scaled-normal",
    "prune_biases": True,
    "iterations": 5,
}


@pytest.fixture
def truth() -> Truth:
    """max(x, 0), which has two weights and no biases, in a network of ten and six."""
    config = configure(dict(SETTINGS))
    task = task_of(config, None)
    ready = prepare(Plan(config), task, torch.device("cpu"))
    network = ready.experiment.network
    links = chain(network.module, task.input_shape)
    hidden = plant(target("relu", 3).layers, network.spec, links, ready.init.theta)
    mother = Point(hidden.theta, ready.init.buffers)
    return Truth(network, links, hidden, mother, ready.experiment.task, config)


def split(truth: Truth, name: str) -> tuple[Array, Array]:
    """Inputs and labels of a split, (examples,)."""
    found = truth.task.splits[name]
    return found.inputs.numpy()[:, 0], found.targets.numpy().reshape(-1)


def test_the_record_counts_the_ticket_and_says_where_it_is(truth: Truth) -> None:
    record = truth.record()
    names = ["fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"]
    assert record["kinds"] == dict(zip(names, ["fc"] * 2 + ["output"] * 2, strict=True))
    assert record["outputs"] == ["fc2.weight", "fc2.bias"]
    assert record["kept"] == dict(zip(names, [1, 0, 1, 0], strict=True))
    assert record["sizes"] == {"fc1.weight": 5, "fc2.weight": 5}
    assert (record["weights"], record["density"]) == (2, 0.2)
    unit = record["units"][0][0]
    tensors = truth.network.spec.unflatten(truth.mother.theta)
    first, second = tensors["fc1.weight"][unit, 0], tensors["fc2.weight"][0, unit]
    assert record["factors"] == [[pytest.approx(first)], [pytest.approx(first * second)]]
    assert record["scale"] == record["factors"][-1]
    assert record["units"][1] == [0]


def test_the_level_is_the_ticket_alone_and_begins_at_the_mother(truth: Truth) -> None:
    level, kept = truth.level(), truth.hidden.kept
    assert (level.number, kept.sum()) == (0, 2)
    assert np.array_equal(level.mask.kept, kept)
    assert set(level.points) == {"final"}
    assert np.array_equal(level.points["final"].theta, np.where(kept, truth.mother.theta, 0))
    assert level.trace.values.shape == (0, len(TRACE_COLUMNS))
    digest = truth.mother.digest(truth.network.spec)
    assert level.origins == {"init": digest, "rewind": digest}
    assert math.isnan(level.metrics["early_stop_step"])
    assert level.metrics["connected"] == 1


@pytest.mark.parametrize("name", ["train", "test"])
def test_losses_are_of_the_ticket_and_over_its_scale_none_are_left(truth: Truth, name: str) -> None:
    x, y = split(truth, name)
    scale = float(truth.hidden.scale[0])
    assert abs(scale - 1) > 0.01
    wanted = np.square(scale * np.maximum(x, 0) - y).mean()
    assert truth.level().metrics[f"{name}_loss"] == pytest.approx(wanted, rel=1e-5)
    assert truth.record()["rescaled"][f"{name}_loss"] == pytest.approx(0, abs=1e-12)


def test_the_ranks_of_hidden_weights_are_plain_numbers(truth: Truth) -> None:
    hiding = truth.record()["hiding"]
    assert len(hiding["layers"]) == 2
    assert json.loads(json.dumps(hiding)) == hiding
