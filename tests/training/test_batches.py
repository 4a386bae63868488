"""Batches: every example once an epoch, and no batch of one where normalisation refuses it."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from landscape.data_store.errors import UsageError
from landscape.training.batches import Batches, batches
from landscape.training.loop import LevelTraining
from landscape.training.retrain import Start
from landscape.training.task import Task, make_task
from tests.support.experiments import bits, experiment, noisy, settings


def task(examples: int, shape: tuple[int, ...] = (6,)) -> Task:
    """Noise in three classes."""
    inputs = torch.randn(examples, *shape, generator=torch.Generator().manual_seed(0))
    pair = (inputs, torch.arange(examples) % 3)
    return make_task(train=pair, test=pair)


def convolution() -> nn.Module:
    """A network whose normalisation sees one pixel of 3 × 3, four of 4 × 4."""
    average = [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), *average, nn.Linear(4, 3))


@given(st.integers(3, 200), st.integers(3, 50), st.booleans(), st.integers(0, 3))
def test_an_epoch_has_every_example_once(n: int, size: int, shares: bool, epoch: int) -> None:
    shares = shares and n % size == 1 and n > size
    found = Batches(n, size, shares)
    steps = range(epoch * found.per_epoch, (epoch + 1) * found.per_epoch)
    places = [found.place(step) for step in steps]
    assert [number for number, _ in places] == [epoch] * -(-n // size)
    taken = [list(range(n))[place] for _, place in places]
    assert list(itertools.chain.from_iterable(taken)) == list(range(n))
    assert shares or [len(batch) for batch in taken[:-1]] == [size] * (found.per_epoch - 1)
    if shares:
        assert [len(batch) for batch in taken[-2:]] == [size - 1, 2]


@pytest.mark.parametrize(
    ("network", "shape", "shares"),
    [
        (noisy, (6,), True),
        (lambda: nn.Linear(6, 3), (6,), False),
        (convolution, (2, 3, 3), True),
        (convolution, (2, 4, 4), False),
    ],
    ids=["BatchNorm of vectors", "no BatchNorm", "maps of one pixel", "maps of four"],
)
def test_one_is_borrowed_only_where_one_is_refused(
    network: type[nn.Module], shape: tuple[int, ...], shares: bool
) -> None:
    assert batches(network(), task(33, shape), 16) == Batches(33, 16, shares)
    assert batches(network(), task(34, shape), 16) == Batches(34, 16)
    assert batches(network(), task(32, shape), 16) == Batches(32, 16)


def test_trying_changes_nothing() -> None:
    network = noisy()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    state = torch.get_rng_state()
    network.eval()
    batches(network, task(33), 16)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert not network.training


@pytest.mark.parametrize(("examples", "size"), [(33, 2), (33, 1), (1, 16), (3, 2)])
def test_a_batch_of_one_that_is_left_is_refused(examples: int, size: int) -> None:
    message = (
        f"^batch_size is {size} and leaves a batch of one of {examples} training examples, of which"
    )
    with pytest.raises(UsageError, match=message):
        batches(noisy(), task(examples), size)
    assert batches(nn.Linear(6, 3), task(examples), size) == Batches(examples, size)


def test_an_epoch_that_leaves_one_is_trained_on() -> None:
    config = settings(iterations=6, batch_size=16, eval_every=3, dropout=0.3)
    ready, init = experiment(config, module=noisy(), task=task(33))
    mask = ready.first_mask(init)
    training = LevelTraining(ready.network, ready.task, config, mask, Start(init), 0)
    seen = []
    hook = ready.network.module.register_forward_pre_hook(
        lambda module, inputs: seen.append(len(inputs[0])) if module.training else None
    )
    list(training.run())
    hook.remove()
    assert seen == [16, 15, 2] * 2
    assert ready.network.point().buffers["norm.num_batches_tracked"] == 6


def test_the_batches_of_other_networks_are_the_slices_they_were() -> None:
    config = settings(iterations=6, batch_size=16)
    ready, init = experiment(config, task=task(33))
    training = LevelTraining(
        ready.network, ready.task, config, ready.first_mask(init), Start(init), 0
    )
    found = [training._batch(step)[0] for step in range(3)]
    order = training._order[1]
    for number, inputs in enumerate(found):
        wanted = ready.task.splits["train"].inputs[order[16 * number : 16 * (number + 1)]]
        assert bits(inputs.numpy()) == bits(wanted.numpy())
