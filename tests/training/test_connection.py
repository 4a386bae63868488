"""Whether a mask leaves a path, against reachability found step by step."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from landscape.data_store.errors import LandscapeError
from landscape.data_store.mask import Mask
from landscape.data_store.params import Array
from landscape.training.connection import connected, require_connected
from landscape.training.convolutional import CONV_2, VGG_16
from landscape.training.criteria import Sight
from landscape.training.models import build, mlp, parameter_spec, prunable_kinds
from landscape.training.network import Network
from landscape.training.residual import RESNET_20
from landscape.training.task import Task, make_task
from tests.support.experiments import CPU, noisy, pictures, random_mask, settings
from tests.support.runs import blobs


def sight_of(module: nn.Module, task: Task, **changes: Any) -> Sight:
    """The sight of a network and a task."""
    return Sight(Network(module, parameter_spec(module), CPU), task, settings(**changes))


def dense(sight: Sight, *, biases: bool = False) -> Mask:
    """The mask that keeps everything."""
    kinds = prunable_kinds(sight.network.module, biases=biases)
    return Mask.dense(sight.network.spec, tuple(kinds))


def without(mask: Mask, where: Callable[[str, Array], Array]) -> Mask:
    """The mask without the entries that a function marks in each weight tensor."""
    kept = mask.kept.copy()
    for name in mask.prunable:
        place = mask.spec.slices[name]
        gone = where(name, np.zeros(mask.spec.shape(name), dtype=bool))
        kept[place] &= ~gone.reshape(-1)
    return Mask(mask.spec, mask.prunable, kept)


def reachable(mask: Mask) -> bool:
    """Whether any output of a multilayer perceptron can be walked to from any input."""
    here: set[int] | None = None
    for name in mask.prunable:
        if name.endswith("bias"):
            continue
        kept = mask.layer(name).reshape(mask.spec.shape(name))
        starts = range(kept.shape[1]) if here is None else here
        here = {i for i in range(kept.shape[0]) for j in starts if kept[i, j]}
    return bool(here)


@pytest.mark.parametrize("biases", [True, False])
@pytest.mark.parametrize("density", [0.04, 0.08, 0.15, 0.3])
def test_a_perceptron_is_connected_if_a_walk_gets_through(density: float, biases: bool) -> None:
    sight = sight_of(mlp([6, 5, 4, 3]), blobs())
    whole = dense(sight, biases=biases)
    found = []
    for seed in range(40):
        mask = random_mask(whole.spec, whole.prunable, density, seed)
        found.append(connected(sight, mask))
        assert found[-1] == reachable(mask)
    assert 0.0 in found
    assert 1.0 in found or density < 0.1


def test_kept_biases_are_no_path() -> None:
    sight = sight_of(mlp([6, 5, 3]), blobs())
    sight.network.theta.data.fill_(1.0)
    whole = dense(sight, biases=True)
    nothing = without(whole, lambda name, gone: gone | (name == "fc1.weight"))
    assert nothing.layer("fc1.bias").all()
    assert connected(sight, nothing) == 0.0


def test_layers_that_do_not_meet_are_not_connected() -> None:
    sight = sight_of(noisy(), blobs())

    def apart(name: str, gone: Array) -> Array:
        if name == "fc1.weight":
            gone[4:] = True  # only the first four units have inputs
        else:
            gone[:, :4] = True  # only the last four have outputs
        return gone

    mask = without(dense(sight), apart)
    assert all(mask.layer(name).any() for name in mask.prunable)
    assert connected(sight, mask) == 0.0
    met = mask.kept.copy()
    met[mask.spec.slices["fc2.weight"].start] = True
    assert connected(sight, Mask(mask.spec, mask.prunable, met)) == 1.0


@pytest.mark.parametrize(
    ("model", "shape"), [(CONV_2, (2, 6, 8)), (VGG_16, (3, 32, 32)), (RESNET_20, (3, 32, 32))]
)
def test_deep_networks_are_connected_until_a_layer_is_empty(model: Any, shape: Any) -> None:
    x = torch.zeros(4, *shape)
    task = make_task(train=(x, torch.tensor([0, 1, 2, 0])), test=(x, torch.tensor([0, 1, 2, 0])))
    sight = sight_of(build(model, shape, 3, seed=0), task)
    whole = dense(sight)
    assert connected(sight, whole) == 1.0
    first, last = whole.prunable[0], whole.prunable[-1]
    for name in (first, last):
        empty = without(whole, lambda n, gone, name=name: gone | (n == name))
        assert connected(sight, empty) == 0.0
    sparse = without(whole, lambda _, gone: np.arange(gone.size).reshape(gone.shape) % 50 != 0)
    assert connected(sight, sparse) == 1.0


def test_a_shortcut_leads_past_an_empty_layer() -> None:
    x = torch.zeros(4, 3, 8, 8)
    task = make_task(train=(x, torch.tensor([0, 1, 2, 0])), test=(x, torch.tensor([0, 1, 2, 0])))
    sight = sight_of(build(RESNET_20, (3, 8, 8), 3, seed=0), task)
    whole = dense(sight)
    inner = [n for n in whole.prunable[1:-1] if "shortcut" not in n]
    past = without(whole, lambda name, gone: gone | (name in inner))
    assert connected(sight, past) == 1.0


def test_no_depth_or_sign_of_the_own_weights_matters() -> None:
    layers = [layer for _ in range(60) for layer in (nn.Linear(50, 50), nn.ReLU())]
    sight = sight_of(nn.Sequential(nn.Linear(6, 50), *layers, nn.Linear(50, 3)), blobs())
    sight.network.theta.data.fill_(-1.0)
    before = sight.network.theta.detach().clone()
    assert connected(sight, dense(sight)) == 1.0
    assert torch.equal(sight.network.theta.detach(), before)
    assert not any(m._forward_hooks for m in sight.network.module.modules())


class Normalised(nn.Sequential):
    """A network whose hidden layer is normalised by its own values: flow cannot be told."""

    def __init__(self) -> None:
        super().__init__(OrderedDict(a=nn.Linear(6, 5), norm=nn.LayerNorm(5), b=nn.Linear(5, 3)))


class Sure(nn.Sequential):
    """A network whose outputs are positive whatever comes in."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(6, 3), nn.Softmax(1))


@pytest.mark.parametrize("make", [Normalised, Sure])
def test_what_cannot_be_told_is_unknown(make: Callable[[], nn.Module]) -> None:
    sight = sight_of(make(), blobs())
    whole = dense(sight)
    nothing = Mask(whole.spec, whole.prunable, ~whole.covered)
    for mask in (whole, nothing):
        assert np.isnan(connected(sight, mask))


def test_inputs_that_are_no_real_numbers_are_unknown() -> None:
    x, y = torch.zeros(4, 6, dtype=torch.int64), torch.tensor([0, 1, 2, 0])
    sight = sight_of(mlp([6, 5, 3]), make_task(train=(x, y), test=(x, y)))
    assert np.isnan(connected(sight, dense(sight)))


def test_normalisation_by_the_batch_does_not_fail() -> None:
    module = nn.Sequential(
        nn.Linear(6, 5), nn.BatchNorm1d(5, track_running_stats=False), nn.Linear(5, 3)
    )
    sight = sight_of(module, blobs())
    assert np.isnan(connected(sight, dense(sight)))


def masks(sight: Sight) -> dict[str, Mask]:
    """Masks that lose more and more."""
    whole = dense(sight, biases=True)

    def apart(name: str, gone: Array) -> Array:
        if name == "fc1.weight":
            gone[4:] = True
        elif name == "fc2.weight":
            gone[:, :4] = True
        return gone

    without_biases = without(whole, lambda name, gone: gone | name.endswith("bias"))
    cut = without(without_biases, apart)
    empty = without(cut, lambda name, gone: gone | (name == "fc2.weight"))
    return {"whole": whole, "weights": without_biases, "cut": cut, "empty": empty}


PATH, LAYER = "every path from input to output", "all of 'fc2.weight'"


@pytest.mark.parametrize(
    ("before", "after", "lost"),
    [
        ("whole", "whole", ""),
        ("whole", "weights", ""),  # biases are no layer
        ("whole", "cut", PATH),
        ("weights", "cut", PATH),
        ("whole", "empty", LAYER),  # the path is lost with it
        ("cut", "empty", LAYER),
        ("cut", "cut", ""),
        ("empty", "empty", ""),
    ],
)
def test_what_a_level_loses_is_told_once(before: str, after: str, lost: str) -> None:
    sight = sight_of(mlp([6, 8, 3]), blobs())
    strict = sight_of(mlp([6, 8, 3]), blobs(), keep_connected=True)
    found = masks(sight)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        require_connected(sight, 4, found[before], found[after])
    assert [str(warning.message) for warning in told] == (
        [f"level 4 prunes {lost}"] if lost else []
    )
    if lost:
        message = f"^level 4 would prune {lost}, and --keep-connected forbids it; ask for fewer"
        with pytest.raises(LandscapeError, match=message):
            require_connected(strict, 4, found[before], found[after])
    else:
        require_connected(strict, 4, found[before], found[after])


def test_pictures_have_their_own_shape() -> None:
    sight = sight_of(build(CONV_2, (2, 6, 8), 3, seed=0), pictures())
    assert connected(sight, dense(sight)) == 1.0
