"""Batches: consecutive ones, and those of chosen examples, from memory and read lazily."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from landscape.analysis.network.batches import Data
from landscape.data_store.errors import UsageError
from tests.support.lazy_inputs import Recorded

INPUTS = torch.arange(40.0).reshape(20, 2)
TARGETS = torch.arange(20) % 3


def test_batches_are_consecutive_views():
    batches = list(Data(INPUTS, TARGETS).batches(8))
    assert [len(x) for x, _ in batches] == [len(y) for _, y in batches] == [8, 8, 4]
    assert torch.equal(torch.cat([x for x, _ in batches]), INPUTS)
    assert batches[1][0].data_ptr() == INPUTS[8:].data_ptr()


@pytest.mark.parametrize(("examples", "lengths"), [(10, [8, 2]), (8, [8]), (99, [8, 8, 4])])
def test_only_the_first_examples(examples, lengths):
    assert [len(y) for _, y in Data(INPUTS, TARGETS).batches(8, examples)] == lengths


@pytest.mark.parametrize("places", [[3], [0, 1, 2, 7, 8, 19], [5, 4, 4, 0], list(range(20))])
@pytest.mark.parametrize("size", [1, 2, 50])
def test_chosen_examples_come_in_the_order_asked(places, size):
    for inputs in (INPUTS, Recorded(INPUTS)):
        chosen = Data(inputs, TARGETS).chosen(np.array(places))
        assert len(chosen) == len(places)
        batches = list(chosen.batches(size))
        assert torch.equal(torch.cat([x for x, _ in batches]), INPUTS[places])
        assert torch.equal(torch.cat([y for _, y in batches]), TARGETS[places])


def test_what_is_lazy_stays_so():
    inputs = Recorded(INPUTS)
    chosen = Data(inputs, TARGETS).chosen(np.array([0, 1, 2, 7, 9, 10]))
    assert not chosen.in_memory
    assert inputs.asked == []
    batches = chosen.batches(4)
    next(batches)
    assert inputs.asked == [(0, 3), (7, 8)]
    next(batches)
    assert inputs.asked == [(0, 3), (7, 8), (9, 11)]


def test_a_gathered_tensor_is_in_memory():
    data = Data(INPUTS, TARGETS)
    assert data.chosen(None) is data
    assert data.chosen(np.array([1, 2])).in_memory
    assert data.has_classes
    assert not Data(INPUTS, TARGETS.float()).has_classes


def test_chosen_lazy_inputs_move():
    moved = Data(Recorded(INPUTS), TARGETS).chosen(np.array([4, 2])).inputs
    moved = moved.to(torch.device("cpu"), torch.float64)
    assert moved.is_floating_point()
    assert torch.equal(moved[0:2], INPUTS[[4, 2]].double())


@pytest.mark.parametrize(
    ("places", "message"),
    [
        (np.array([], dtype=np.int64), r"integers \(m,\) with m > 0, got int64 of shape \(0,\)"),
        (np.array([0.0, 1.0]), r"integers .*, got float64 of shape \(2,\)"),
        (np.array([True, False]), r"integers .*, got bool of shape \(2,\)"),
        (np.array([[1]]), r"got int64 of shape \(1, 1\)"),
        (np.array([0, 20]), "places go from 0 to 20; this split has the examples 0 to 19"),
        (np.array([-1, 3]), "places go from -1 to 3; this split has the examples 0 to 19"),
    ],
)
def test_numbers_that_are_no_examples(places, message):
    with pytest.raises(UsageError, match=message):
        Data(INPUTS, TARGETS).chosen(places)
