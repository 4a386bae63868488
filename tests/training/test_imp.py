"""Iterative magnitude pruning against a naive transcription; rewinding, resuming, ending."""

from __future__ import annotations

import copy
import itertools
import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from landscape.data_store.errors import LandscapeError
from landscape.data_store.params import Array
from landscape.data_store.records import Point, RunConfig
from landscape.training.convolutional import CONV_2
from landscape.training.criteria import (
    Candidate,
    magnitude,
    magnitude_at_init,
    magnitude_largest,
    movement,
    random,
)
from landscape.training.imp import Experiment, Finished, Origin, Resume, imp
from landscape.training.loop import Tick
from landscape.training.models import build, mlp
from landscape.training.schedule import emptied, last_rate, learning_rate
from tests.support import naive
from tests.support.experiments import (
    WIDTHS,
    bits,
    doubled,
    experiment,
    level_bits,
    noisy,
    pictures,
    point_bits,
    random_mask,
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


@pytest.mark.filterwarnings("ignore:level 1. prunes all:UserWarning")  # 72 weights, 12 levels
@pytest.mark.filterwarnings("ignore:level .* prunes every path:UserWarning")
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
        assert dict(level.metrics) == {**expected, "connected": 1.0}
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


RETRAIN = ["rewind", "lr-rewind", "finetune", "continue", "reinit", "reinit-survivors"]
REWIND_STEP = 7


def retrained(retrain: str, **changes: Any) -> RunConfig:
    """Four levels in a mode of retraining, with a schedule that has something to rewind."""
    given = {"levels": 4, "rewind_step": REWIND_STEP, "lr_milestones": (10, 16), "warmup": 4}
    return config_of(retrain=retrain, **{**given, **changes})


def expected_start(
    retrain: str, ready: Experiment, before: Finished, after: Finished
) -> tuple[Point, int]:
    """Weights, buffers and step a level after the dense one begins with, less the mask."""
    trained, level = before.level.points["final"], after.level.number
    last = level == ready.config.levels - 1
    if retrain == "rewind" or (retrain == "continue" and last):
        return after.origins["rewind"], REWIND_STEP
    if retrain in ("lr-rewind", "finetune"):
        return trained, REWIND_STEP
    return (trained if retrain == "continue" else ready.redraw(level)), 0


@pytest.mark.parametrize("retrain", RETRAIN[:-1])
def test_a_level_of_each_mode_starts_at_its_weights_bit_for_bit(retrain: str) -> None:
    ready, init = experiment(retrained(retrain), module=noisy())
    levels = finished(ready, init)
    begun = starts(ready, init)
    assert begun[0][0].step == 0
    assert point_bits(begun[0][1]) == point_bits(init)
    for (tick, found, state), (before, after) in zip(
        begun[1:], itertools.pairwise(levels), strict=True
    ):
        expected, step = expected_start(retrain, ready, before, after)
        masked = Point(after.level.mask.apply(expected.theta), expected.buffers)
        assert point_bits(found) == point_bits(masked)
        rewound = expected is after.origins["rewind"]
        assert point_bits(after.level.points.get("ticket", masked)) == point_bits(masked)
        assert ("ticket" in after.level.points) == (not rewound)
        assert tick.step == step == after.level.trace.column("step")[0]
        assert not [name for name in state if name.startswith("optimizer/")]


def test_survivors_of_each_level_are_drawn_from_the_initial_weights() -> None:
    ready, init = experiment(retrained("reinit-survivors"), module=noisy())
    levels = [event.level for event in finished(ready, init)]
    for (tick, found, _), level in zip(starts(ready, init)[1:], levels[1:], strict=True):
        assert tick.step == 0
        for name, place in ready.network.spec.slices.items():
            values, original = found.theta[place], init.theta[place]
            if name in level.mask.prunable:
                kept = level.mask.layer(name)
                assert set(values[kept].tolist()) <= set(original[kept].tolist())
                assert not np.array_equal(values[kept], original[kept])
            else:
                assert bits(values) == bits(original)
        assert point_bits(found)[1:] == point_bits(init)[1:]


def test_new_initial_weights_are_independent_by_level_and_reproducible() -> None:
    ready, init = experiment(retrained("reinit"), module=noisy())
    drawn = [init, *(ready.redraw(level) for level in (1, 2, 3))]
    place = ready.network.spec.slices["fc1.weight"]
    for one, other in itertools.combinations(drawn, 2):
        assert not (one.theta[place] == other.theta[place]).any()
    assert point_bits(ready.redraw(2)) == point_bits(drawn[2])
    found = [point.theta[place] for _, point, _ in starts(ready, init)]
    for level, (theta, point) in enumerate(zip(found, drawn, strict=True)):
        kept = theta != 0
        assert np.array_equal(theta[kept], point.theta[place][kept]), level


@pytest.mark.parametrize("retrain", RETRAIN)
def test_the_rates_of_each_mode(retrain: str) -> None:
    config = retrained(retrain, eval_every=1)
    ready, init = experiment(config)
    levels = [event.level for event in finished(ready, init)]
    for level in levels:
        steps = level.trace.column("step").astype(int).tolist()
        rates = level.trace.column("learning_rate").tolist()
        if retrain == "finetune" and level.number:
            assert rates == [last_rate(config)] * (config.iterations - REWIND_STEP + 1)
            assert rates[0] == pytest.approx(0.02 * 0.1**2, rel=1e-12)
        else:
            assert rates == [learning_rate(config, step) for step in steps]
        assert steps[-1] == config.iterations


class Listening(nn.Sequential):
    """A small perceptron that remembers the examples of every training step."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
        self.seen: list[torch.Tensor] = []

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.seen.append(inputs.clone())
        outputs: torch.Tensor = super().forward(inputs)
        return outputs


@pytest.mark.parametrize("order_seed", [None, 11])
@pytest.mark.parametrize("retrain", RETRAIN)
def test_the_data_order_of_each_mode(retrain: str, order_seed: int | None) -> None:
    module, task = Listening(), blobs()
    config = retrained(retrain, seed=3, order_seed=order_seed)
    ready, init = experiment(config, module=module, task=task)
    levels = finished(ready, init)
    noise = settings(seed=3 if order_seed is None else order_seed)
    train = task.splits["train"].inputs
    expected = []
    for before, after in itertools.pairwise([None, *levels]):
        assert after is not None
        first = expected_start(retrain, ready, before, after)[1] if before else 0
        steps = range(first, config.iterations)
        expected += [train[naive.batch(noise, after.level.number, s, 60)] for s in steps]
    assert len(module.seen) == len(expected)
    assert all(torch.equal(a, b) for a, b in zip(module.seen, expected, strict=True))


def test_an_order_seed_gives_other_levels_from_the_same_weights() -> None:
    both = []
    for order_seed in (None, 5):
        ready, init = experiment(config_of(order_seed=order_seed), module=noisy())
        both.append((point_bits(init), finished(ready, init)))
    (init, plain), (same, other) = both
    assert same == init
    assert level_bits(plain[0].level) != level_bits(other[0].level)
    ready, start = experiment(config_of(order_seed=0), module=noisy())  # the run's own seed
    assert [level_bits(e.level) for e in finished(ready, start)] == [
        level_bits(e.level) for e in plain
    ]


@pytest.mark.parametrize(
    "optimizer",
    [
        {"optimizer": "sgd", "momentum": 0.9, "weight_decay": 0.01},
        {"optimizer": "adamw", "weight_decay": 0.1},
        {"optimizer": "adam", "weight_decay": 0.1},
    ],
)
@pytest.mark.parametrize("retrain", RETRAIN)
def test_trap_pruned_weights_move_in_a_mode_of_retraining(
    retrain: str, optimizer: dict[str, Any]
) -> None:
    config = retrained(retrain, init_noise=1.0, snapshots=(9, 20), eval_every=1, **optimizer)
    ready, init = experiment(config, module=noisy())
    levels = []
    masks = [event.level.mask for event in finished(ready, init)]
    for event in imp(ready, init):
        if isinstance(event, Finished):
            levels.append(event.level)
            continue
        pruned = ~masks[event.level].kept
        state = event.capture()
        assert not state["theta/"][pruned].view(np.uint32).any()
        momenta = [v for k, v in state.items() if k.startswith("opt") and v.shape == pruned.shape]
        assert not any(momentum[pruned].any() for momentum in momenta)
    for level in levels:
        assert {"final", "step-9", "step-20"} == set(level.points) - {"ticket"}
        for point in level.points.values():
            assert not point.theta[~level.mask.kept].view(np.uint32).any()


@pytest.mark.parametrize("retrain", RETRAIN)
def test_noise_is_added_to_every_start_but_the_first(retrain: str) -> None:
    config = retrained(retrain, init_noise=0.5, levels=2)
    ready, init = experiment(config, module=noisy())
    noisy_starts = starts(ready, init)
    plain, same = experiment(retrained(retrain, levels=2), module=noisy())
    plain_starts = starts(plain, same)
    assert point_bits(noisy_starts[0][1]) == point_bits(plain_starts[0][1])
    moved = noisy_starts[1][1].theta != plain_starts[1][1].theta
    mask = finished(ready, init)[1].level.mask
    assert np.array_equal(moved, mask.kept & mask.covered)
    ready, init = experiment(retrained(retrain, init_noise=0.0, levels=2), module=noisy())
    assert point_bits(starts(ready, init)[1][1]) == point_bits(plain_starts[1][1])


@pytest.mark.parametrize("retrain", RETRAIN)
def test_each_mode_resumed_at_any_evaluation_gives_the_same_bits(retrain: str) -> None:
    def begun() -> tuple[Experiment, Point]:
        config = retrained(retrain, levels=3, init_noise=0.5, lr_schedule="cosine", dropout=0.4)
        return experiment(config, module=noisy())

    ready, init = begun()
    whole, moments = [], []
    previous: Finished | None = None
    for event in imp(ready, init):
        if isinstance(event, Finished):
            whole.append(level_bits(event.level))
            previous = event
        else:
            moments.append((previous, event.level, event.capture()))
    for before, number, state in moments:
        ready, init = begun()
        if before is None:
            resume = Resume(state=state)
        else:
            resume = Resume(before.level, before.origins["rewind"], state)
        rest = [level_bits(event.level) for event in finished(ready, init, resume)]
        assert rest == whole[number:]


def test_modes_give_different_levels() -> None:
    outcomes = set()
    for retrain in RETRAIN:
        ready, init = experiment(retrained(retrain), module=noisy())
        levels = finished(ready, init)
        outcomes.add(levels[1].level.points["final"].theta.tobytes())
        dense = levels[0].level
        ready, init = experiment(retrained("rewind", levels=1), module=noisy())
        assert level_bits(dense) == level_bits(finished(ready, init)[0].level)
    assert len(outcomes) == len(RETRAIN)


@pytest.mark.parametrize("scope", ["layer", "global"])
@pytest.mark.parametrize("exclude", [("output",), ("fc",), ("fc2.weight",)])
def test_excluded_tensors_are_never_pruned(exclude: tuple[str, ...], scope: str) -> None:
    ready, init = experiment(config_of(exclude=exclude, scope=scope, iterations=4, levels=4))
    left = "fc2.weight" if exclude == ("fc",) else "fc1.weight"
    size = {"fc1.weight": 48, "fc2.weight": 24}[left]
    fraction = 0.3 if scope == "global" else FRACTIONS[left]
    levels = [event.level for event in finished(ready, init)]
    for level in levels:
        assert level.mask.prunable == (left,)
        others = [n for n in ready.network.spec.names if n != left]
        assert all(level.mask.layer(name).all() for name in others)
        assert level.mask.kept_size == size
        assert level.mask.density == size / {"fc1.weight": 48, "fc2.weight": 24}[left]
        size -= round(fraction * size)
    assert size < 30


@pytest.mark.filterwarnings("ignore:level . prunes all of 'fc2:UserWarning")  # by chance
@pytest.mark.filterwarnings("ignore:level . prunes every path:UserWarning")
@pytest.mark.parametrize("nested", [True, False])
@pytest.mark.parametrize("scope", ["layer", "global"])
@pytest.mark.parametrize("densities", ["exponential", "linear", "one-shot"])
def test_densities_are_met_by_the_levels(densities: str, scope: str, nested: bool) -> None:
    last = 1 if densities == "one-shot" else 4
    config = config_of(
        densities=densities, density=0.13, levels=last + 1, iterations=3, scope=scope, nested=nested
    )
    ready, init = experiment(config, criterion=random)
    masks = [event.level.mask for event in finished(ready, init)]
    for level, mask in enumerate(masks):
        wanted = {
            "exponential": 0.13 ** (level / last),
            "linear": 1 - 0.87 * level / last,
            "one-shot": 0.13 if level else 1.0,
        }[densities]
        if scope == "global":
            assert mask.kept_size == round(wanted * 72)
        else:
            found = [np.count_nonzero(mask.layer(n)) for n in ("fc1.weight", "fc2.weight")]
            assert found == [round(wanted * 48), round(wanted * 24)]
    inside = [after.is_within(before) for before, after in itertools.pairwise(masks)]
    assert inside[0]
    assert all(inside[1:]) == (nested or last == 1)


@pytest.mark.parametrize("criterion", [magnitude, magnitude_largest, magnitude_at_init, movement])
def test_what_may_come_back_is_judged_by_its_initial_weights(
    criterion: Callable[[Candidate], Array],
) -> None:
    config = config_of(densities="linear", density=0.3, levels=4, nested=False, scope="global")
    ready, init = experiment(config, criterion=criterion)
    levels = [event.level for event in finished(ready, init)]
    for before, after in itertools.pairwise(levels):
        final, kept = before.points["final"].theta.tolist(), before.mask.kept.tolist()
        start = init.theta.tolist()
        now = [final[i] if kept[i] else start[i] for i in range(len(final))]
        scores = {
            magnitude: [abs(w) for w in now],
            magnitude_largest: [-abs(w) for w in now],
            magnitude_at_init: [abs(w) for w in start],
            movement: np.abs(np.float32(now) - init.theta).tolist(),
        }[criterion]
        places = np.flatnonzero(after.mask.covered).tolist()
        order = sorted(places, key=lambda i: (scores[i], i))
        expected = set(order[len(order) - after.mask.kept_size :])
        assert set(np.flatnonzero(after.mask.kept & after.mask.covered).tolist()) == expected


def test_pruning_at_initialisation_leaves_the_largest_initial_weights() -> None:
    ready, init = experiment(config_of(), criterion=magnitude_at_init)
    for event in finished(ready, init):
        for name in FRACTIONS:
            kept = event.level.mask.layer(name)
            sizes = np.abs(init.theta[ready.network.spec.slices[name]])
            assert event.level.number == 0 or sizes[kept].min() >= sizes[~kept].max()


@pytest.mark.parametrize("scope", ["layer", "global"])
def test_empty_layers_are_warned_of_by_name(scope: str) -> None:
    config = settings(
        pruning_fraction=1.0, pruning_fraction_output=1.0, levels=3, iterations=3, scope=scope
    )
    ready, init = experiment(config)
    with pytest.warns(
        UserWarning, match=r"^level 1 prunes all of 'fc1.weight', 'fc2.weight'$"
    ) as told:
        levels = finished(ready, init)
    assert len(told) == 1  # not again at level 2, where they are empty already
    assert [event.level.mask.kept_size for event in levels] == [72, 0, 0]


@pytest.mark.parametrize("scope", ["layer", "global"])
def test_an_empty_layer_is_refused_on_request(scope: str) -> None:
    def small_output(candidate: Candidate) -> Array:
        return np.arange(len(candidate.theta), 0.0, -1.0)  # the last tensors go first

    config = config_of(
        densities="one-shot", density=0.02, levels=2, iterations=3, scope=scope, keep_connected=True
    )
    ready, init = experiment(config, criterion=small_output)
    with pytest.raises(
        LandscapeError,
        match=r"^level 1 would prune all of 'fc2.weight', and --keep-connected forbids it; ask for",
    ):
        finished(ready, init)


def test_a_connected_run_is_the_same_either_way() -> None:
    runs = []
    for keep_connected in (False, True):
        ready, init = experiment(config_of(keep_connected=keep_connected))
        runs.append([level_bits(event.level) for event in finished(ready, init)])
    assert runs[0] == runs[1]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"levels": 12},
        {"pruning_fraction": 0.6, "levels": 9},
        {"densities": "exponential", "density": 0.015, "levels": 7},
        {"densities": "exponential", "density": 0.015, "levels": 7, "nested": False},
        {"densities": "linear", "density": 0.015, "levels": 4},
        {"densities": "one-shot", "density": 0.015, "levels": 2},
    ],
)
def test_what_is_foreseen_is_what_training_warns_of(changes: dict[str, Any]) -> None:
    config = settings(iterations=2, **{"pruning_fraction_output": 0.15, **changes})
    ready, init = experiment(config, criterion=random)
    foreseen = emptied(config, ready.kinds, ready.first_mask(init))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        finished(ready, init)
    messages = [str(warning.message) for warning in told]
    messages = [message for message in messages if "every path" not in message]  # the scores' doing
    if foreseen is None:
        assert messages == []
    else:
        assert messages[0].startswith(f"level {foreseen[0]} prunes all of '{foreseen[1]}'")


def origin_of(ready: Experiment, *, trained: bool = True) -> Origin:
    """A branch's beginning: a random mask, other weights, and weights trained from them."""
    mask = random_mask(ready.network.spec, tuple(ready.kinds), 0.5, seed=3)
    rewind, finals = ready.redraw(50), ready.redraw(51)
    return Origin(mask, rewind, finals if trained else None)


@pytest.mark.parametrize("trained", [True, False])
@pytest.mark.parametrize("retrain", RETRAIN)
def test_a_branch_begins_at_its_origin(retrain: str, trained: bool) -> None:
    config = retrained(retrain, levels=3)
    plain, init = experiment(config, module=noisy())
    origin = origin_of(plain, trained=trained)
    ready, init = experiment(config, module=noisy(), origin=origin)
    levels = finished(ready, init)
    first, begun = levels[0].level, starts(ready, init)
    assert np.array_equal(first.mask.kept, origin.mask.kept)
    goes_on = origin.rewind if origin.trained is None else origin.trained
    expected, step = {
        "rewind": (origin.rewind, REWIND_STEP),
        "lr-rewind": (goes_on, REWIND_STEP),
        "finetune": (goes_on, REWIND_STEP),
        "continue": (goes_on, 0),
        "reinit": (ready.redraw(0), 0),
        "reinit-survivors": (begun[0][1], 0),
    }[retrain]
    masked = Point(origin.mask.apply(expected.theta), expected.buffers)
    assert point_bits(begun[0][1]) == point_bits(masked)
    assert begun[0][0].step == step
    for before, after in itertools.pairwise(levels):
        assert after.level.mask.is_within(before.level.mask)
        assert point_bits(after.origins["rewind"]) == point_bits(origin.rewind)
        assert after.level.mask.kept_size < before.level.mask.kept_size
    assert first.origins["rewind"] == origin.rewind.digest(ready.network.spec)


@pytest.mark.parametrize("retrain", RETRAIN)
def test_a_branch_is_resumed_at_any_evaluation(retrain: str) -> None:
    config = retrained(retrain, levels=2)
    origin = origin_of(experiment(config, module=noisy())[0])

    def begun() -> tuple[Experiment, Point]:
        return experiment(config, module=noisy(), origin=origin)

    ready, init = begun()
    whole, moments = [], []
    previous: Finished | None = None
    for event in imp(ready, init):
        if isinstance(event, Finished):
            whole.append(level_bits(event.level))
            previous = event
        else:
            moments.append((previous, event.level, event.capture()))
    for before, number, state in moments:
        ready, init = begun()
        rewind = before.origins["rewind"] if before else None
        resume = Resume(before.level if before else None, rewind, state)
        assert [level_bits(e.level) for e in finished(ready, init, resume)] == whole[number:]


def test_a_branch_from_a_level_retrains_that_level() -> None:
    ready, init = experiment(retrained("rewind"), module=noisy())
    levels = finished(ready, init)
    second = levels[2]
    origin = Origin(second.level.mask, second.origins["rewind"])
    again, start = experiment(retrained("rewind", levels=1), module=noisy(), origin=origin)
    # from the weights of level 2 under its mask; the data order is that of a level 0
    (_, found, _), *_ = starts(again, start)
    (_, before, _) = starts(ready, init)[2]
    assert point_bits(found) == point_bits(before)
    [branch] = finished(again, start)
    assert branch.level.trace.column("step").tolist() == second.level.trace.column("step").tolist()


@pytest.mark.parametrize("retrain", RETRAIN)
def test_convolutions_on_augmented_pictures_are_resumed(retrain: str) -> None:
    config = retrained(
        retrain, levels=2, iterations=10, augment=True, dropout=0.3, lr_schedule="cosine",
        order_seed=2, label_smoothing=0.1, lr_milestones=(),
    )  # fmt: skip

    def begun() -> tuple[Experiment, Point]:
        module = build(CONV_2, (2, 6, 8), 3, seed=0)
        return experiment(config, module=module, task=pictures())

    ready, init = begun()
    events = list(imp(ready, init))
    whole = [level_bits(e.level) for e in events if isinstance(e, Finished)]
    ready, init = begun()
    first: Finished | None = None
    for event in imp(ready, init):
        if isinstance(event, Finished):
            first = event
        elif event.level == 1 and event.step in (5, 10):
            assert first is not None
            resume = Resume(first.level, first.origins["rewind"], event.capture())
            other, start = begun()
            assert [level_bits(e.level) for e in finished(other, start, resume)] == whole[1:]
