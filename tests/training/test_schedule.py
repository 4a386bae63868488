"""Schedules: learning rates against formulas, and the papers' ladders of densities."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from landscape.data_store.mask import Mask
from landscape.data_store.params import ParamSpec
from landscape.data_store.records import RunConfig
from landscape.training.convolutional import CONV_2, CONV_4, VGG_19
from landscape.training.models import (
    LENET_300_100,
    Model,
    build,
    parameter_spec,
    prunable_kinds,
    without,
)
from landscape.training.prune import prune
from landscape.training.residual import RESNET_20
from landscape.training.schedule import (
    emptied,
    kept_counts,
    last_rate,
    learning_rate,
    level_config,
    pruning_fractions,
    target_density,
    waypoints,
)
from tests.support import naive

KINDS = {"conv1.weight": "conv", "fc1.weight": "fc", "fc2.weight": "output"}


def test_a_constant_rate() -> None:
    config = RunConfig(lr=0.003)
    assert {learning_rate(config, step) for step in (0, 1, 999, 10**6)} == {0.003}


def test_warm_up_is_linear_and_reaches_the_rate_at_its_last_step() -> None:
    config = RunConfig(lr=0.1, warmup=10)
    rates = [learning_rate(config, step) for step in range(12)]
    assert rates == pytest.approx([0.01 * k for k in range(1, 11)] + [0.1, 0.1], rel=1e-12)
    assert rates[9] == 0.1


def test_a_milestone_is_the_first_step_of_the_smaller_rate() -> None:
    config = RunConfig(lr=0.1, lr_milestones=(20, 30), lr_gamma=0.1)
    rates = {step: learning_rate(config, step) for step in (19, 20, 29, 30, 10**6)}
    assert rates == pytest.approx({19: 0.1, 20: 0.01, 29: 0.01, 30: 1e-3, 10**6: 1e-3}, rel=1e-12)


def test_milestones_within_warm_up_act_on_the_warm_rate() -> None:
    config = RunConfig(lr=1.0, warmup=4, lr_milestones=(2,), lr_gamma=0.5)
    assert [learning_rate(config, step) for step in range(5)] == [0.25, 0.5, 0.375, 0.5, 0.5]


@given(
    st.integers(0, 60),
    st.floats(1e-6, 10),
    st.integers(0, 40),
    st.lists(st.integers(1, 50), max_size=4),
    st.floats(0.01, 2),
)
def test_any_schedule_is_the_naive_one(
    step: int, lr: float, warmup: int, milestones: list[int], gamma: float
) -> None:
    config = RunConfig(lr=lr, warmup=warmup, lr_milestones=tuple(milestones), lr_gamma=gamma)
    assert learning_rate(config, step) == pytest.approx(naive.rate(config, step), rel=1e-12)


def test_each_kind_has_its_fraction() -> None:
    config = RunConfig(
        pruning_fraction=0.2, pruning_fraction_conv=0.15, pruning_fraction_output=0.1
    )
    assert pruning_fractions(config, KINDS) == {
        "conv1.weight": 0.15,
        "fc1.weight": 0.2,
        "fc2.weight": 0.1,
    }


def test_global_scope_has_one_fraction() -> None:
    config = RunConfig(scope="global", pruning_fraction=0.3)
    assert pruning_fractions(config, KINDS) == dict.fromkeys(KINDS, 0.3)


def test_half_a_cosine_from_the_rate_to_zero() -> None:
    config = RunConfig(lr=0.4, lr_schedule="cosine", iterations=100)
    rates = {step: learning_rate(config, step) for step in (0, 25, 50, 75, 100)}
    half = math.sqrt(0.5)
    assert rates == pytest.approx(
        {0: 0.4, 25: 0.2 * (1 + half), 50: 0.2, 75: 0.2 * (1 - half), 100: 0.0}, abs=1e-15
    )
    assert rates[0] == 0.4


@given(st.integers(1, 300), st.integers(0, 100), st.floats(1e-6, 10), st.lists(st.integers(1, 300)))
def test_any_cosine_is_the_formula_after_its_warm_up(
    iterations: int, warmup: int, lr: float, milestones: list[int]
) -> None:
    config = RunConfig(
        lr=lr,
        lr_schedule="cosine",
        iterations=iterations,
        warmup=warmup,
        lr_milestones=tuple(milestones),  # of the other schedule
    )
    for step in range(iterations):
        if step < warmup:
            expected = lr * (step + 1) / warmup
        else:
            expected = lr * (1 + math.cos(math.pi * (step - warmup) / (iterations - warmup))) / 2
        assert learning_rate(config, step) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("changes", "rate"),
    [
        ({}, 0.1),
        ({"lr_milestones": (500, 750)}, 0.1 * 0.1**2),
        ({"lr_milestones": (999,), "lr_gamma": 0.5}, 0.05),
        ({"lr_milestones": (1000,)}, 0.1),  # never reached
        ({"warmup": 2000}, 0.1 * 1000 / 2000),
        ({"lr_schedule": "cosine"}, 0.05 * (1 + math.cos(math.pi * 0.95))),
        ({"lr_schedule": "cosine", "warmup": 200}, 0.05 * (1 + math.cos(math.pi * 0.95))),
    ],
)
def test_fine_tuning_goes_on_with_the_last_rate(changes: dict[str, Any], rate: float) -> None:
    config = RunConfig(lr=0.1, iterations=1000, **changes)
    assert last_rate(config) == pytest.approx(rate, rel=1e-12)
    if config.lr_schedule == "step":
        assert last_rate(config) == learning_rate(config, 999)


def test_shortcuts_have_the_fraction_of_convolutions() -> None:
    config = RunConfig(pruning_fraction_conv=0.15)
    assert pruning_fractions(config, {"s": "shortcut", "c": "conv"}) == {"s": 0.15, "c": 0.15}


def network(
    model: Model, shape: tuple[int, ...]
) -> tuple[ParamSpec, dict[str, str], dict[str, int], RunConfig]:
    """Parameters, prunable kinds, sizes of all weights and protocol of a model for ten classes."""
    with torch.device("meta"):
        module = build(model, shape, 10, seed=0)
    spec, config = parameter_spec(module), RunConfig(**model.protocol)
    everything = prunable_kinds(module)
    sizes = {name: math.prod(spec.shape(name)) for name in everything}
    return spec, without(everything, config.exclude), sizes, config


def kept(mask: Mask, counts: int | Mapping[str, int]) -> Mask:
    """Any mask with these counts."""
    after = ~mask.covered
    if isinstance(counts, int):
        after[np.flatnonzero(mask.kept & mask.covered)[:counts]] = True
        return Mask(mask.spec, mask.prunable, after)
    for name in mask.prunable:
        place = mask.spec.slices[name]
        after[np.flatnonzero(mask.layer(name))[: counts[name]] + place.start] = True
    return Mask(mask.spec, mask.prunable, after)


def ladder(model: Model, shape: tuple[int, ...], rounds: int) -> list[float]:
    """Percent of all weights that remain after each round, those never pruned included."""
    spec, kinds, sizes, config = network(model, shape)
    mask = Mask.dense(spec, tuple(kinds))
    total = sum(sizes.values())
    never = total - mask.prunable_size
    remaining = [100.0]
    for level in range(1, rounds + 1):
        mask = kept(mask, kept_counts(config, kinds, mask, level))
        remaining.append(100 * (mask.kept_size + never) / total)
    return remaining


def test_the_ladder_of_lenet() -> None:
    found = [round(percent, 1) for percent in ladder(LENET_300_100, (1, 28, 28), 19)]
    # Frankle & Carbin (2019): 51.3, 21.1, 13.5, 3.6 and 2.9 are rounds 3, 7, 9, 15 and 16
    assert [found[i] for i in (3, 7, 9, 15, 16)] == [51.3, 21.1, 13.5, 3.6, 2.9]
    assert found == [
        100.0, 80.0, 64.1, 51.3, 41.1, 32.9, 26.3, 21.1, 16.9, 13.5,
        10.8, 8.7, 7.0, 5.6, 4.5, 3.6, 2.9, 2.3, 1.9, 1.5,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("model", "printed"),
    [
        (CONV_2, {9: 13.7, 10: 11.0, 11: 8.8, 12: 7.1, 13: 5.7, 14: 4.6}),
        (CONV_4, {10: 13.4, 11: 11.1, 12: 9.2, 13: 7.7}),
        (RESNET_20, {4: 41.7, 6: 27.1, 7: 21.9, 10: 11.8}),
    ],
)
def test_the_ladders_of_the_convolutional_networks(model: Model, printed: dict[int, float]) -> None:
    found = ladder(model, (3, 32, 32), 15)
    # printed with one decimal; counting biases too would add at most 0.04
    assert {i: found[i] for i in printed} == pytest.approx(printed, abs=0.055)


def test_the_ladder_of_vgg_19_in_both_papers() -> None:
    found = ladder(VGG_19, (3, 32, 32), 30)
    # Frankle & Carbin (2019): rounds 12, 15 and 19
    assert [round(found[i], 1) for i in (12, 15, 19)] == [6.9, 3.5, 1.5]
    # Morcos et al. (2019): iterations 6 to 30, of the convolutions alone
    never = 100 * 5_120 / 20_024_000
    pruned = [100 * (1 - (percent - never) / (100 - never)) for percent in found]
    assert [round(pruned[i], 1) for i in (6, 12, 18, 24)] == [73.8, 93.1, 98.2, 99.5]
    assert round(pruned[30], 2) == 99.88


SPEC = ParamSpec(("a", "b", "c", "d"), ((40,), (15,), (7,), (3,)))
SIZES = {"a": 40, "b": 15, "c": 7}
SMALL_KINDS = {"a": "conv", "b": "fc", "c": "output"}


def dense() -> Mask:
    """Three prunable tensors and one that is none."""
    return Mask.dense(SPEC, ("a", "b", "c"))


@given(
    st.floats(0, 1),
    st.floats(0, 1),
    st.floats(0, 1),
    st.sampled_from(["layer", "global"]),
    st.integers(0, 99),
    st.integers(1, 50),
)
def test_by_rate_what_goes_is_rounded_once(
    fc: float, conv: float, output: float, scope: str, seed: int, level: int
) -> None:
    config = RunConfig(
        pruning_fraction=fc, pruning_fraction_conv=conv, pruning_fraction_output=output, scope=scope
    )
    drawn = np.random.default_rng(seed).random(65) < 0.6
    mask = Mask(SPEC, ("a", "b", "c"), drawn | ~dense().covered)
    a, b, c = drawn[:40].sum(), drawn[40:55].sum(), drawn[55:62].sum()
    counts = kept_counts(config, SMALL_KINDS, mask, level)
    if scope == "global":
        assert counts == a + b + c - round(fc * a + fc * b + fc * c)
    else:
        gone = {"a": round(conv * a), "b": round(fc * b), "c": round(output * c)}
        assert counts == {"a": a - gone["a"], "b": b - gone["b"], "c": c - gone["c"]}


def by_density(densities: str, density: float, levels: int, **changes: Any) -> RunConfig:
    """A run to a density of its last level."""
    return RunConfig(densities=densities, density=density, levels=levels, **changes)


def naive_density(densities: str, density: float, level: int, last: int) -> float:
    """Density of a level that is not the first."""
    if level == last:
        return density
    if densities in ("exponential", "multishot"):
        return math.exp(math.log(density) * level / last)
    return 1 - (1 - density) * level / last


@given(
    st.sampled_from(["exponential", "multishot", "linear", "one-shot"]),
    st.floats(1e-4, 1),
    st.integers(1, 40),
)
def test_densities_are_the_formulas(densities: str, density: float, last: int) -> None:
    last = 1 if densities == "one-shot" else last
    config = by_density(densities, density, last + 1)
    found = [target_density(config, level) for level in range(last + 1)]
    assert found[0] == 1.0
    assert found[last] == density  # to the last bit
    for level in range(1, last):
        expected = naive_density(densities, density, level, last)
        assert found[level] == pytest.approx(expected, rel=1e-12)
    assert found == sorted(found, reverse=True)


def test_by_rate_there_is_no_target() -> None:
    assert target_density(RunConfig(), 3) is None


def test_equal_factors_equal_steps_and_at_once() -> None:
    found = {
        kind: [target_density(by_density(kind, 0.0625, 5), level) for level in range(5)]
        for kind in ("exponential", "linear")
    }
    assert found["exponential"] == pytest.approx([1, 0.5, 0.25, 0.125, 0.0625], rel=1e-15)
    assert found["linear"] == [1, 0.765625, 0.53125, 0.296875, 0.0625]
    shot = by_density("one-shot", 0.0625, 2)
    assert [target_density(shot, level) for level in range(2)] == [1, 0.0625]


@pytest.mark.parametrize("nested", [True, False])
@pytest.mark.parametrize("scope", ["layer", "global"])
@pytest.mark.parametrize("densities", ["exponential", "multishot", "linear", "one-shot"])
@pytest.mark.parametrize("density", [0.47, 0.11, 0.29, 0.037, 1.0])
def test_targets_are_met_to_the_weight(
    density: float, densities: str, scope: str, nested: bool
) -> None:
    last = 1 if densities == "one-shot" else 7
    config = by_density(densities, density, last + 1, scope=scope, nested=nested)
    mask, draws = dense(), np.random.default_rng(0)
    for level in range(1, last + 1):
        wanted = naive_density(densities, density, level, last)
        counts = kept_counts(config, SMALL_KINDS, mask, level)
        mask = prune(draws.random(SPEC.size), mask, counts, nested=nested)
        if scope == "global":
            assert mask.kept_size == round(wanted * 62)
        else:
            kept_now = {name: int(mask.layer(name).sum()) for name in SIZES}
            assert kept_now == {name: round(wanted * size) for name, size in SIZES.items()}
        assert mask.layer("d").all()


def test_the_last_level_of_all_schedules_keeps_as_many() -> None:
    # 0.1 x 15 is half way: a density that is off in its last bit would round to the other side
    for density in (0.1, 0.3, 0.5, 0.7, 0.9):
        counts = [
            kept_counts(by_density(kind, density, last + 1), SMALL_KINDS, dense(), last)
            for kind, last in (("exponential", 7), ("linear", 7), ("one-shot", 1))
        ]
        assert counts[0] == counts[1] == counts[2]
        assert counts[0] == {name: round(density * size) for name, size in SIZES.items()}


def test_nested_masks_never_gain_weights_to_meet_a_target() -> None:
    sparse = kept(dense(), {"a": 4, "b": 15, "c": 0})
    layerwise = by_density("linear", 0.5, 3)
    assert kept_counts(layerwise, SMALL_KINDS, sparse, 2) == {"a": 4, "b": 8, "c": 0}
    free = by_density("linear", 0.5, 3, nested=False)
    assert kept_counts(free, SMALL_KINDS, sparse, 2) == {"a": 20, "b": 8, "c": 4}
    together = by_density("linear", 0.5, 3, scope="global")
    assert kept_counts(together, SMALL_KINDS, sparse, 2) == 19
    free = by_density("linear", 0.5, 3, scope="global", nested=False)
    assert kept_counts(free, SMALL_KINDS, sparse, 2) == 31


@given(
    st.floats(0, 1),
    st.floats(0, 1),
    st.sampled_from(["rate", "exponential", "linear", "one-shot"]),
    st.floats(0.005, 0.3),
    st.integers(2, 9),
    st.booleans(),
    st.integers(0, 9),
)
def test_the_level_that_empties_a_layer_is_foreseen(
    fc: float,
    conv: float,
    densities: str,
    density: float,
    levels: int,
    nested: bool,
    seed: int,
) -> None:
    changes: dict[str, Any] = {"pruning_fraction": fc, "pruning_fraction_conv": conv}
    if densities != "rate":
        changes |= {"densities": densities, "density": density, "nested": nested}
    levels = 2 if densities == "one-shot" else levels
    config = RunConfig(levels=levels, **changes)
    draws, mask, first = np.random.default_rng(seed), dense(), None
    for level in range(1, levels):
        counts = kept_counts(config, SMALL_KINDS, mask, level)
        after = prune(draws.random(SPEC.size), mask, counts, nested=config.nested)
        gone = [n for n in SIZES if mask.layer(n).any() and not after.layer(n).any()]
        if gone and first is None:
            first = (level, gone[0])
        mask = after
    assert emptied(config, SMALL_KINDS, dense()) == first


def test_a_layer_that_began_empty_is_not_emptied() -> None:
    config = RunConfig(pruning_fraction_conv=0.2, levels=3)
    assert emptied(config, SMALL_KINDS, kept(dense(), {"a": 0, "b": 15, "c": 7})) is None
    harder = RunConfig(pruning_fraction=1.0, levels=3)
    assert emptied(harder, SMALL_KINDS, kept(dense(), {"a": 0, "b": 15, "c": 7})) == (1, "b")


@pytest.mark.parametrize("nested", [True, False])
def test_where_layers_compete_fewer_weights_than_layers_are_foreseen(nested: bool) -> None:
    shots = {n: by_density("one-shot", n / 62, 2, scope="global") for n in (2, 3)}
    assert len(SMALL_KINDS) == 3
    assert kept_counts(shots[2], SMALL_KINDS, dense(), 1) == 2
    assert emptied(shots[2], SMALL_KINDS, dense()) == (1, None)
    assert emptied(shots[3], SMALL_KINDS, dense()) is None
    assert emptied(shots[2], SMALL_KINDS, kept(dense(), {"a": 0, "b": 15, "c": 7})) is None
    falling = by_density("linear", 2 / 62, 4, scope="global", nested=nested)
    assert emptied(falling, SMALL_KINDS, dense()) == (3, None)


def test_where_layers_compete_fractions_are_foreseen() -> None:
    config = RunConfig(scope="global", pruning_fraction=0.5, levels=20)
    left, level = dense().prunable_size, 0
    while left >= 3:
        left, level = left - round(0.5 * left), level + 1
    assert emptied(config, SMALL_KINDS, dense()) == (level, None)
    assert emptied(replace(config, levels=level), SMALL_KINDS, dense()) is None


def test_no_layer_of_lenet_is_emptied_in_its_protocol() -> None:
    spec, kinds, _, config = network(LENET_300_100, (1, 28, 28))
    assert emptied(config, kinds, Mask.dense(spec, tuple(kinds))) is None
    shot = by_density("one-shot", 1e-4, 2)
    assert emptied(shot, kinds, Mask.dense(spec, tuple(kinds))) == (1, "fc3.weight")


@pytest.mark.parametrize("scope", ["layer", "global"])
def test_singleshot_prunes_level_0(scope: str) -> None:
    config = by_density("singleshot", 0.3, 1, scope=scope)
    assert target_density(config, 0) == 0.3
    expected = {"a": 12, "b": 4, "c": 2} if scope == "layer" else 19
    assert kept_counts(config, SMALL_KINDS, dense(), 0) == expected
    sparse = kept(dense(), {"a": 3, "b": 15, "c": 0})
    assert kept_counts(config, SMALL_KINDS, sparse, 0) == (
        {"a": 3, "b": 4, "c": 0} if scope == "layer" else 18
    )
    assert emptied(config, SMALL_KINDS, dense()) is None


def test_a_layer_that_singleshot_empties_is_foreseen() -> None:
    assert emptied(by_density("singleshot", 0.05, 1), SMALL_KINDS, dense()) == (0, "c")
    together = by_density("singleshot", 2 / 62, 1, scope="global")
    assert emptied(together, SMALL_KINDS, dense()) == (0, None)


def test_a_layer_without_biases_is_not_empty() -> None:
    spec = ParamSpec(("a.weight", "a.bias", "b.weight", "b.bias"), ((40,), (4,), (20,), (2,)))
    kinds = {"a.weight": "fc", "a.bias": "fc", "b.weight": "output", "b.bias": "output"}
    whole = Mask.dense(spec, spec.names)
    for densities, level in (("singleshot", 0), ("one-shot", 1)):
        config = by_density(densities, 0.1, level + 1)
        counts = {"a.weight": 4, "a.bias": 0, "b.weight": 2, "b.bias": 0}
        assert kept_counts(config, kinds, whole, level) == counts
        assert emptied(config, kinds, whole) is None
        config = replace(config, scope="global", density=2 / 66)
        assert emptied(config, kinds, whole) is None  # two layers with weights
        config = replace(config, density=1 / 66)
        assert emptied(config, kinds, whole) == (level, None)


@given(st.integers(0, 62), st.integers(0, 62), st.integers(1, 200))
def test_waypoints_go_the_way_in_equal_factors(have: int, keep: int, rounds: int) -> None:
    mask = Mask(SPEC, ("a", "b", "c"), ~dense().covered | (np.arange(65) < have))
    found = list(waypoints(keep, mask, rounds))
    assert len(found) == rounds
    assert found[-1] == keep
    for number, count in enumerate(found[:-1], start=1):
        if have and keep:
            exact = math.exp(math.log(have) + (math.log(keep) - math.log(have)) * number / rounds)
            assert abs(count - exact) <= 0.5 + 1e-9
        else:
            assert count == keep
    assert found == sorted(found, reverse=keep < have)


def test_waypoints_of_layers_are_each_layer_s_own() -> None:
    mask = kept(dense(), {"a": 32, "b": 15, "c": 0})
    assert list(waypoints({"a": 2, "b": 15, "c": 0}, mask, 4)) == [
        {"a": 16, "b": 15, "c": 0},
        {"a": 8, "b": 15, "c": 0},
        {"a": 4, "b": 15, "c": 0},
        {"a": 2, "b": 15, "c": 0},
    ]
    assert list(waypoints(3, mask, 1)) == [3]


STRETCHED: dict[str, Any] = {"levels": 3, "iterations": 100, "last_iterations": 250}


def test_only_the_last_level_takes_other_steps() -> None:
    config = RunConfig(**STRETCHED)
    assert [level_config(config, level).iterations for level in range(3)] == [100, 100, 250]
    assert level_config(config, 1) is config
    assert level_config(replace(config, last_iterations=100), 2).iterations == 100
    alone = RunConfig(**{**STRETCHED, "levels": 1})
    assert level_config(alone, 0).iterations == 250


@pytest.mark.parametrize("last", [10, 50, 250, 400])
@pytest.mark.parametrize(
    "schedule", [{"lr_schedule": "cosine"}, {"lr_milestones": (40, 80), "warmup": 20}]
)
def test_the_schedule_of_the_last_level_is_stretched(last: int, schedule: dict[str, Any]) -> None:
    config = RunConfig(**{**STRETCHED, "last_iterations": last}, lr=0.1, **schedule)
    own = level_config(config, 2)
    for step in range(0, 100, 10):  # where both have a step
        there = step * last // 100
        if "warmup" in schedule and step < 20:
            assert learning_rate(own, there) == pytest.approx(0.1 * (there + 1) / (last / 5))
        else:
            assert learning_rate(own, there) == pytest.approx(learning_rate(config, step))


def test_a_snapshot_past_the_end_of_a_short_last_level_is_not_taken() -> None:
    config = RunConfig(**{**STRETCHED, "last_iterations": 50}, snapshots=(20, 50, 80))
    assert level_config(config, 2).snapshots == (20,)
    assert level_config(config, 1).snapshots == (20, 50, 80)
