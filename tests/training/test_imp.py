"""Iterative magnitude pruning against a naive transcription; rewinding, resuming, ending."""

from __future__ import annotations

import copy
import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch

from landscape.data_store.params import Array
from landscape.data_store.records import Point, RunConfig
from landscape.training.criteria import Candidate, magnitude, random
from landscape.training.imp import Experiment, Finished, Resume, imp
from landscape.training.loop import Tick
from landscape.training.models import mlp
from tests.support import naive
from tests.support.experiments import (
    WIDTHS,
    bits,
    doubled,
    experiment,
    level_bits,
    noisy,
    point_bits,
    settings,
)
from tests.support.runs import blobs

FRACTIONS = {"fc1.weight": 0.3, "fc2.weight": 0.15}


def config_of(**changes: Any) -> RunConfig:
    """Three levels that prune the hidden layer by 0.3 and the output by 0.15."""
    return settings(pruning_fraction=0.3, pruning_fraction_output=0.15, **changes)


def finished(ready: Experiment, init: Point, resume: Resume | None = None) -> list[Finished]:
    """The levels of a run."""
    return [event for event in imp(ready, init, resume) if isinstance(event, Finished)]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"rewind_step": 7},
        {"rewind_step": 5, "optimizer": "sgd", "weight_decay": 1e-3, "lr": 0.1, "warmup": 9},
        {"optimizer": "adamw", "weight_decay": 0.01, "lr_milestones": (10, 20), "seed": 3},
    ],
)
def test_a_run_is_the_naive_one(changes: dict[str, Any]) -> None:
    config, task = config_of(levels=4, **changes), doubled(blobs())
    ready, init = experiment(config, module=mlp(WIDTHS).double(), task=task)
    plain = copy.deepcopy(ready.network.module)
    levels = [event.level for event in finished(ready, init)]
    expected = naive.imp(plain, task, config, FRACTIONS)
    assert [level.number for level in levels] == [0, 1, 2, 3]
    for level, (state, masks, rows) in zip(levels, expected, strict=True):
        for name, mask in masks.items():
            assert np.array_equal(level.mask.layer(name), mask.reshape(-1).numpy())
        theta = np.concatenate([value.numpy().reshape(-1) for value in state.values()])
        np.testing.assert_allclose(level.points["final"].theta, theta, rtol=1e-8, atol=1e-12)
        np.testing.assert_allclose(level.trace.values, rows, rtol=1e-8, atol=1e-12)


def starts(ready: Experiment, init: Point) -> list[tuple[Tick, Point, dict[str, Array]]]:
    """The first tick of every level, where it stands, and the state it would capture."""
    seen: dict[int, tuple[Tick, Point, dict[str, Array]]] = {}
    for event in imp(ready, init):
        if isinstance(event, Tick) and event.level not in seen:
            seen[event.level] = (event, ready.network.point(), event.capture())
    return list(seen.values())


def test_level_0_is_dense_and_starts_at_the_initial_point() -> None:
    ready, init = experiment(config_of(levels=1, rewind_step=4), module=noisy())
    ready.network.theta.data.fill_(9.0)  # whatever the network held before
    [(tick, start, _)] = starts(ready, init)
    assert tick.step == 0
    assert point_bits(start) == point_bits(init)
    [event] = finished(ready, init)
    assert event.level.mask.kept.all()
    assert event.level.mask.density == 1.0


@pytest.mark.parametrize("rewind_step", [0, 1, 7])
def test_trap_weights_not_rewound_between_rounds(rewind_step: int) -> None:
    config = config_of(levels=4, rewind_step=rewind_step, weight_decay=0.01)
    ready, init = experiment(config, module=noisy())
    levels = finished(ready, init)
    rewind = levels[0].origins["rewind"]
    for (tick, start, state), event in zip(starts(ready, init), levels, strict=True):
        level = event.level
        assert point_bits(event.origins["init"]) == point_bits(init)
        assert point_bits(event.origins["rewind"]) == point_bits(rewind)
        assert level.origins == {
            "init": init.digest(ready.network.spec),
            "rewind": rewind.digest(ready.network.spec),
        }
        assert not [name for name in state if name.startswith("optimizer/")]
        if level.number > 0:
            expected = Point(level.mask.apply(rewind.theta), rewind.buffers)
            assert point_bits(start) == point_bits(expected)
            assert tick.step == rewind_step
            assert level.trace.column("step")[0] == rewind_step


def test_the_rewind_point_is_level_0_after_that_many_steps() -> None:
    # an evaluation at 5, so that the dropout of the short run is that of the long one
    ready, init = experiment(config_of(levels=1, rewind_step=5), module=noisy())
    [long] = finished(ready, init)
    ready, init = experiment(config_of(levels=1, iterations=5), module=noisy())
    [short] = finished(ready, init)
    assert point_bits(long.origins["rewind"]) == point_bits(short.level.points["final"])
    assert point_bits(long.origins["rewind"]) != point_bits(init)
    assert point_bits(short.origins["rewind"]) == point_bits(init)


def test_a_rewound_level_takes_the_steps_that_are_left() -> None:
    config = config_of(levels=2, rewind_step=7)
    ready, init = experiment(config, module=noisy())
    levels = finished(ready, init)
    counts = [e.level.points["final"].buffers["norm.num_batches_tracked"] for e in levels]
    assert counts == [24, 24]  # 7 of the rewound BatchNorm and 17 more
    assert levels[1].origins["rewind"].buffers["norm.num_batches_tracked"] == 7
    assert levels[1].level.trace.column("step").tolist() == [7, 10, 15, 20, 24]


@pytest.mark.parametrize("scope", ["layer", "global"])
@pytest.mark.parametrize("criterion", [magnitude, random])
def test_masks_are_nested_with_exact_counts(criterion: Any, scope: str) -> None:
    config = config_of(levels=12, iterations=2, scope=scope)
    ready, init = experiment(config, criterion=criterion)
    masks = [event.level.mask for event in finished(ready, init)]
    sizes = {"fc1.weight": 48, "fc2.weight": 24}
    total = 72
    for before, after in itertools.pairwise(masks):
        assert after.is_within(before)
        sizes = {n: size - round(FRACTIONS[n] * size) for n, size in sizes.items()}
        total -= round(0.3 * total)
        if scope == "layer":
            assert {n: np.count_nonzero(after.layer(n)) for n in sizes} == sizes
        else:
            assert after.kept_size == total
        assert after.kept[~after.covered].all()


def test_pruned_weights_are_zero_in_every_point() -> None:
    config = config_of(snapshots=(8, 20), rewind_step=3, weight_decay=0.1, optimizer="adamw")
    ready, init = experiment(config, module=noisy())
    for event in finished(ready, init):
        assert list(event.level.points) == ["final", "step-8", "step-20"]
        for point in event.level.points.values():
            assert not point.theta[~event.level.mask.kept].view(np.uint32).any()
        assert len({str(point_bits(p)) for p in event.level.points.values()}) == 3


def test_the_criterion_is_asked_about_the_level_just_trained() -> None:
    asked: list[Candidate] = []

    def curious(candidate: Candidate) -> Array:
        asked.append(candidate)
        return magnitude(candidate)

    ready, init = experiment(config_of(seed=5), criterion=curious)
    levels = [event.level for event in finished(ready, init)]
    assert [candidate.level for candidate in asked] == [1, 2]
    assert {candidate.seed for candidate in asked} == {5}
    for candidate, level in zip(asked, levels[:-1], strict=True):
        assert bits(candidate.theta) == bits(level.points["final"].theta)
        assert bits(candidate.init) == bits(init.theta)
        assert candidate.mask is level.mask


def test_the_next_mask_is_a_function_of_the_level() -> None:
    for criterion in (magnitude, random):
        ready, init = experiment(config_of(levels=2), criterion=criterion)
        levels = [event.level for event in finished(ready, init)]
        masks = [ready.next_mask(levels[0], init).kept for _ in range(2)]
        assert np.array_equal(masks[0], masks[1])
        assert np.array_equal(masks[0], levels[1].mask.kept)


def test_the_random_control_has_other_masks_of_the_same_sizes() -> None:
    both = []
    for criterion in (magnitude, random):
        ready, init = experiment(config_of(), criterion=criterion)
        both.append([event.level.mask for event in finished(ready, init)])
    for number, (by_magnitude, by_chance) in enumerate(zip(*both, strict=True)):
        assert by_magnitude.kept_size == by_chance.kept_size
        assert np.array_equal(by_magnitude.kept, by_chance.kept) == (number == 0)


def test_metrics_are_those_of_the_final_weights() -> None:
    ready, init = experiment(config_of(), module=noisy())
    for event in finished(ready, init):
        level = event.level
        ready.network.set(level.points["final"])
        expected = {}
        for name in ("train", "validation", "test"):
            loss, error = ready.network.evaluate(ready.task.splits[name], ready.task)
            naive_loss, naive_error = naive.judged(ready.network.module, ready.task.splits[name])
            assert (loss, error) == (pytest.approx(naive_loss, rel=1e-5), naive_error)
            expected |= {f"{name}_loss": loss, f"{name}_error": error}
        losses = level.trace.column("validation_loss").tolist()
        expected["early_stop_step"] = level.trace.column("step")[losses.index(min(losses))]
        assert dict(level.metrics) == expected
        assert level.metrics["test_loss"] == level.trace.column("test_loss")[-1]
        assert level.status == "done"


def test_resumed_after_any_level_it_gives_the_same_bits() -> None:
    config = config_of(levels=4, rewind_step=3)
    ready, init = experiment(config, module=noisy())
    whole = finished(ready, init)
    for number, event in enumerate(whole[:-1]):
        ready, init = experiment(config, module=noisy())
        resume = Resume(event.level, event.origins["rewind"])
        rest = finished(ready, init, resume)
        expected = [level_bits(later.level) for later in whole[number + 1 :]]
        assert [level_bits(later.level) for later in rest] == expected


def test_resumed_after_the_last_level_it_does_nothing() -> None:
    ready, init = experiment(config_of())
    *_, last = finished(ready, init)
    assert list(imp(ready, init, Resume(last.level, last.origins["rewind"]))) == []


@pytest.mark.parametrize("changes", [{}, {"rewind_step": 7, "snapshots": (11, 16)}])
def test_resumed_at_any_evaluation_it_gives_the_same_bits(changes: dict[str, Any]) -> None:
    config = config_of(**changes)
    ready, init = experiment(config, module=noisy())
    whole, moments = [], []
    previous: Finished | None = None
    for event in imp(ready, init):
        if isinstance(event, Finished):
            whole.append(level_bits(event.level))
            previous = event
        else:
            moments.append((previous, event.level, event.capture()))
    for before, number, state in moments:
        ready, init = experiment(config, module=noisy())
        if before is None:
            resume = Resume(state=state)
        else:
            resume = Resume(before.level, before.origins["rewind"], state)
        rest = [level_bits(event.level) for event in finished(ready, init, resume)]
        assert rest == whole[number:]


def test_a_run_ends_with_the_level_that_diverged() -> None:
    ready, init = experiment(config_of(optimizer="sgd", lr=1e30, rewind_step=10, levels=5))
    *ticks, last = imp(ready, init)
    assert isinstance(last, Finished)
    assert all(isinstance(tick, Tick) for tick in ticks)
    assert last.level.status == "diverged"
    assert last.level.number == 0
    assert last.level.trace.column("step").tolist() == [0, 5]
    assert not math.isfinite(last.level.metrics["test_loss"])
    assert point_bits(last.origins["rewind"]) == point_bits(init)  # it never got to step 10


def test_a_later_level_that_diverges_is_kept_and_the_last() -> None:
    def fatal(candidate: Candidate) -> Array:
        ready.task.splits["test"].inputs[:] = torch.nan
        return magnitude(candidate)

    ready, init = experiment(config_of(levels=5), criterion=fatal)
    levels = [event.level for event in finished(ready, init)]
    assert [(level.number, level.status) for level in levels] == [(0, "done"), (1, "diverged")]
    assert levels[1].mask.density < 1
    assert levels[1].metrics["early_stop_step"] == 0.0


def test_the_same_experiment_twice_gives_the_same_bits() -> None:
    ready, init = experiment(config_of(), module=noisy())
    first = [level_bits(event.level) for event in finished(ready, init)]
    assert [level_bits(event.level) for event in finished(ready, init)] == first
    other, start = experiment(config_of(seed=1), module=noisy())
    assert [level_bits(event.level) for event in finished(other, start)] != first
