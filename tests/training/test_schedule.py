"""Schedules: warm-up and milestones against a transcription, fractions by kind and scope."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landscape.data_store.records import RunConfig
from landscape.training.schedule import learning_rate, pruning_fractions
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
