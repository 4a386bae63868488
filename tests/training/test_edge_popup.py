"""edge-popup against a transcription of its released code, one tensor at a time."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from landscape.data_store.errors import LandscapeError, UsageError
from landscape.data_store.mask import Mask
from landscape.data_store.params import Array, ParamSpec
from landscape.training.criteria import Candidate
from landscape.training.edge_popup import _subnetwork, edge_popup
from landscape.training.models import mlp
from landscape.training.prune import prune
from landscape.training.task import Task
from tests.support.candidates import candidate, regression
from tests.support.experiments import noisy
from tests.support.naive import stream
from tests.support.runs import blobs


class GetSubnet(torch.autograd.Function):
    """As in the code of Ramanujan et al.: the k highest scores are 1, the gradient goes through."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor, keep: int, eligible: Tensor) -> Tensor:
        """The choice."""
        values = scores.reshape(-1).tolist()
        places = [i for i, free in enumerate(eligible.reshape(-1).tolist()) if free]
        best = sorted(places, key=lambda i: (values[i], i))[len(places) - keep :]
        out = torch.zeros(len(values), dtype=scores.dtype)
        out[best] = 1
        return out.reshape(scores.shape)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        """Straight through."""
        return grad, None, None


def naive(given: Candidate, *, nested: bool = True) -> dict[str, Array]:
    """``|s|`` of every prunable tensor."""
    sight = given.seen("test")
    config, task, spec = sight.config, sight.task, sight.network.spec
    keep = given.keep
    assert isinstance(keep, dict)
    module = copy.deepcopy(sight.network.module).train()
    tag = (given.seed, given.level, given.round)
    frozen = {n: torch.from_numpy(v.copy()) for n, v in spec.unflatten(given.theta).items()}
    eligible = {n: torch.from_numpy(given.mask.layer(n) | (not nested)) for n in keep}
    draws = torch.Generator().manual_seed(stream(tag[0], "edge-popup", *tag[1:]))
    scores = {}
    for name in keep:
        shape = spec.shape(name)
        start = torch.zeros(shape)
        if len(shape) > 1:
            fan_in = math.prod(shape[1:])
            start.uniform_(-math.sqrt(6 / 6 / fan_in), math.sqrt(6 / 6 / fan_in), generator=draws)
        scores[name] = start.to(frozen[name].dtype).requires_grad_()
    optimizer = torch.optim.SGD(
        list(scores.values()), lr=config.score_lr, momentum=0.9, weight_decay=5e-4
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=config.score_epochs)
    train = task.splits["train"]
    for epoch in range(1, config.score_epochs + 1):
        order = torch.Generator().manual_seed(
            stream(tag[0], "edge-popup-order", *tag[1:], epoch - 1)
        )
        places = torch.randperm(len(train), generator=order).tolist()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(stream(tag[0], "edge-popup-noise", *tag[1:], epoch - 1))
            for begin in range(0, len(places), config.batch_size):
                part = places[begin : begin + config.batch_size]
                working = dict(frozen)
                for name, s in scores.items():
                    n = int(eligible[name].sum())
                    k = keep[name]
                    if config.score_annealed:
                        k = round(n * math.pow(k / n, epoch / config.score_epochs))
                    working[name] = frozen[name] * GetSubnet.apply(s.abs(), k, eligible[name])
                outputs = torch.func.functional_call(module, working, (train.inputs[part],))
                if config.score_softmax:
                    outputs = torch.softmax(outputs, 1)
                optimizer.zero_grad()
                task.loss(outputs, train.targets[part]).mean().backward()
                optimizer.step()
        schedule.step()
    return {name: s.detach().abs().reshape(-1).numpy() for name, s in scores.items()}


def asked(
    module: nn.Module, task: Task, *, part: float = 0.4, **changes: Any
) -> tuple[Candidate, dict[str, int]]:
    """A candidate in float64, and how many of each tensor's eligible weights to keep."""
    given = candidate(module.double(), task, **{"score_epochs": 4, "density": 1.0, **changes})
    counts = {n: round(part * int(given.mask.layer(n).sum())) for n in given.mask.prunable}
    return replace(given, keep=counts), counts


@pytest.mark.parametrize(
    ("module", "task", "changes"),
    [
        (mlp([6, 8, 3]), blobs(), {}),
        (mlp([6, 8, 3]), blobs(), {"biases": False}),
        (mlp([6, 8, 3]), blobs(), {"score_annealed": True, "score_lr": 0.5}),
        (mlp([6, 8, 3]), blobs(), {"score_softmax": True, "batch_size": 7}),
        (mlp([6, 8, 2]), regression(), {"score_annealed": True}),
        (mlp([6, 8, 3]), blobs(), {"density": 0.6}),
        (mlp([6, 8, 3]), blobs(), {"level": 3, "number": 2}),
    ],
)
def test_scores_are_those_of_the_transcription(
    module: nn.Module, task: Task, changes: dict[str, Any]
) -> None:
    given, _ = asked(copy.deepcopy(module), task, **changes)
    found = given.mask.spec.unflatten(edge_popup(given))
    expected = naive(given)
    assert set(expected) == set(given.mask.prunable)
    for name, values in found.items():
        want = expected.get(name)
        if want is None:
            assert not values.any()
        else:
            # what cannot be kept has no say, and is pulled nowhere in the transcription
            free = given.mask.layer(name)
            np.testing.assert_allclose(values.reshape(-1)[free], want[free], rtol=1e-9, atol=1e-12)


def test_normalisation_and_dropout_are_those_of_training() -> None:
    given, _ = asked(noisy(), blobs())
    network = given.seen("test").network
    network.set_buffers(given.buffers)
    found = given.mask.spec.unflatten(edge_popup(given))
    for name, want in naive(given).items():
        np.testing.assert_allclose(found[name].reshape(-1), want, rtol=1e-8, atol=1e-11)


def test_pruned_weights_may_come_back_where_masks_are_not_nested() -> None:
    given, _ = asked(mlp([6, 8, 3]), blobs(), density=0.6)
    sight = given.seen("test")
    free = replace(sight.config, nested=False, densities="linear", density=0.5)
    given = replace(given, sight=replace(sight, config=free))
    found = given.mask.spec.unflatten(edge_popup(given))
    for name, want in naive(given, nested=False).items():
        np.testing.assert_allclose(found[name].reshape(-1), want, rtol=1e-9, atol=1e-12)


def test_biases_begin_at_zero_and_never_move() -> None:
    given, _ = asked(mlp([6, 8, 3]), blobs(), score_lr=1.0)
    found = given.mask.spec.unflatten(edge_popup(given))
    assert not found["fc1.bias"].any()
    assert not found["fc2.bias"].any()
    assert (found["fc1.weight"] != 0).all()


def test_the_mask_it_leads_to_lowers_the_loss() -> None:
    given, counts = asked(mlp([6, 40, 3]), blobs(), part=0.5, score_epochs=10, biases=False)
    mask = prune(edge_popup(given), given.mask, counts)
    sight = given.seen("test")
    losses = []
    for kept in (mask, given.mask):
        theta = torch.from_numpy(kept.apply(given.theta))
        sight.network.theta.data.copy_(theta)
        losses.append(sight.network.evaluate(sight.task.splits["test"], sight.task)[0])
    assert losses[0] < 0.5 * losses[1]  # without any training of the weights


def test_it_is_a_function_of_the_candidate_and_leaves_the_network_alone() -> None:
    given, _ = asked(noisy(), blobs())
    network = given.seen("test").network
    before, state = copy.deepcopy(network.module.state_dict()), torch.random.get_rng_state()
    theta = given.theta.copy()
    scores = edge_popup(given)
    assert np.array_equal(scores, edge_popup(given))
    assert all(torch.equal(v, before[k]) for k, v in network.module.state_dict().items())
    assert torch.equal(torch.random.get_rng_state(), state)
    assert np.array_equal(given.theta, theta)
    for other in (replace(given, seed=9), replace(given, level=2), replace(given, round=1)):
        assert not np.allclose(edge_popup(other), scores)


def test_in_float32_too() -> None:
    given = candidate(mlp([6, 8, 3]), blobs(), score_epochs=2)
    counts = {n: int(given.mask.layer(n).sum()) // 2 for n in given.mask.prunable}
    scores = edge_popup(replace(given, keep=counts))
    assert scores.shape == given.theta.shape
    assert np.isfinite(scores).all()


@pytest.mark.parametrize("seed", range(20))
def test_what_works_is_what_would_be_kept(seed: int) -> None:
    draws = np.random.default_rng(seed)
    spec = ParamSpec(("a", "b", "c"), ((4, 5), (6,), (7,)), "float64")
    # few different values: many ties
    scores = draws.integers(-2, 3, spec.size) / 2
    kept = draws.random(spec.size) < 0.7
    kept[spec.slices["c"]] = True
    mask = Mask(spec, ("a", "b"), kept)
    counts = {n: int(draws.integers(0, mask.layer(n).sum() + 1)) for n in ("a", "b")}
    places = {n: torch.from_numpy(np.flatnonzero(mask.layer(n))) for n in ("a", "b")}
    found = _subnetwork(torch.from_numpy(scores), mask, places, counts).numpy()
    assert np.array_equal(found != 0, prune(np.abs(scores), mask, counts).kept)


def test_annealing_ends_with_what_is_kept_and_an_empty_tensor_stays_so() -> None:
    given, counts = asked(mlp([6, 8, 3]), blobs(), score_annealed=True)
    emptied = {**counts, "fc1.bias": 0}
    scores = edge_popup(replace(given, keep=emptied))
    assert np.isfinite(scores).all()
    kept = given.mask.kept.copy()
    kept[given.mask.spec.slices["fc2.bias"]] = False
    less = replace(given, mask=Mask(given.mask.spec, given.mask.prunable, kept))
    assert np.isfinite(edge_popup(replace(less, keep={**counts, "fc2.bias": 0}))).all()


def test_layers_must_not_compete() -> None:
    given, _ = asked(mlp([6, 8, 3]), blobs())
    with pytest.raises(UsageError, match=r"^edge-popup ranks within layers; use --scope layer$"):
        edge_popup(replace(given, keep=20))


def test_it_must_know_how_many_to_keep() -> None:
    given, _ = asked(mlp([6, 8, 3]), blobs())
    with pytest.raises(
        LandscapeError, match=r"^edge-popup learns which weights to keep, and was not"
    ):
        edge_popup(replace(given, keep=None))
