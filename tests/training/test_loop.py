"""The training loop against plain torch, its masks after every step, and resuming anywhere."""

from __future__ import annotations

import copy
import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st
from torch import Tensor, nn

from landscape.data_store.errors import UsageError
from landscape.data_store.mask import Mask
from landscape.data_store.params import Array
from landscape.data_store.records import TRACE_COLUMNS, Point, RunConfig
from landscape.data_store.resume_file import load_resume, save_resume
from landscape.training.augment import flipped_and_cropped
from landscape.training.convolutional import CONV_2
from landscape.training.loop import LevelTraining, Tick, on_device
from landscape.training.models import build, mlp
from landscape.training.retrain import Start
from landscape.training.schedule import learning_rate
from landscape.training.task import Split, Task, cross_entropy
from tests.support import naive
from tests.support.experiments import (
    WIDTHS,
    bits,
    doubled,
    experiment,
    noisy,
    pictures,
    point_bits,
    random_mask,
    settings,
    state_bits,
)
from tests.support.runs import blobs

OPTIMIZERS: dict[str, dict[str, Any]] = {
    "adam": {"optimizer": "adam", "weight_decay": 0.0},
    "adam-decay": {"optimizer": "adam", "weight_decay": 0.02},
    "adamw": {"optimizer": "adamw", "weight_decay": 0.02},
    "sgd": {"optimizer": "sgd", "lr": 0.2, "momentum": 0.0},
    "sgd-momentum-decay": {"optimizer": "sgd", "lr": 0.1, "momentum": 0.9, "weight_decay": 5e-3},
}


def training(
    config: RunConfig,
    *,
    level: int = 0,
    density: float = 1.0,
    module: nn.Module | None = None,
    task: Task | None = None,
    rate: float | None = None,
) -> LevelTraining:
    """A level about to begin at its initial weights under a random mask."""
    ready, init = experiment(config, module=module, task=task)
    mask = random_mask(ready.network.spec, tuple(ready.kinds), density)
    start = Start(init, config.rewind_step if level else 0, rate)
    return LevelTraining(ready.network, ready.task, config, mask, start, level)


def tensor_masks(mask: Mask) -> naive.Masks:
    """The mask of each prunable tensor in its shape."""
    return {n: torch.from_numpy(mask.layer(n)).reshape(mask.spec.shape(n)) for n in mask.prunable}


def outcome(ended: LevelTraining) -> list[Any]:
    """What a training came to, to the last bit."""
    kept = {name: point_bits(point) for name, point in ended.kept_points.items()}
    return [
        point_bits(ended.network.point()),
        bits(ended.trace.values),
        kept,
        ended.step,
        ended.diverged,
        state_bits(ended.capture()),
    ]


@pytest.mark.parametrize(("level", "rewind_step"), [(0, 0), (2, 0), (2, 7)])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_level_is_masked_training_step_by_step(
    optimizer: str, level: int, rewind_step: int
) -> None:
    config = settings(
        iterations=100,
        eval_every=9,
        warmup=12,
        lr_milestones=(50, 80),
        lr_gamma=0.3,
        rewind_step=rewind_step,
        **OPTIMIZERS[optimizer],
    )
    task = doubled(blobs())
    ours = training(config, level=level, density=0.6, module=mlp(WIDTHS).double(), task=task)
    plain = copy.deepcopy(ours.network.module)
    for _ in ours.run():
        pass
    rows, _ = naive.train(plain, tensor_masks(ours.mask), task, config, level)
    expected = torch.cat([p.detach().reshape(-1) for p in plain.parameters()]).numpy()
    np.testing.assert_allclose(ours.network.point().theta, expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(ours.trace.values, rows, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_single_precision_stays_within_rounding(optimizer: str) -> None:
    config = settings(iterations=100, **OPTIMIZERS[optimizer])
    ours = training(config, level=1, density=0.6)
    plain = copy.deepcopy(ours.network.module)
    for _ in ours.run():
        pass
    naive.train(plain, tensor_masks(ours.mask), blobs(), config, 1)
    expected = torch.cat([p.detach().reshape(-1) for p in plain.parameters()]).numpy()
    apart = np.linalg.norm(ours.network.point().theta - expected) / np.linalg.norm(expected)
    assert apart < 1e-6


def test_batch_norm_is_trained_as_plain_torch_does() -> None:
    module = noisy().double()
    module.drop.p = 0.0  # its noise has streams of its own
    # Adam would blow up the rounding in the gradient of the bias before the normalisation
    config, task = settings(iterations=60, **OPTIMIZERS["sgd-momentum-decay"]), doubled(blobs())
    ours = training(config, level=1, density=0.6, module=module, task=task)
    plain = copy.deepcopy(module)
    for _ in ours.run():
        pass
    rows, _ = naive.train(plain, tensor_masks(ours.mask), task, config, 1)
    np.testing.assert_allclose(ours.trace.values, rows, rtol=1e-8)
    for name, value in plain.state_dict().items():
        ours_now = ours.network.module.state_dict()[name]
        np.testing.assert_allclose(ours_now.numpy(), value.numpy(), rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("module", [mlp, noisy])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_trap_pruned_weights_revived_by_momentum_or_weight_decay(
    optimizer: str, module: Any
) -> None:
    config = settings(iterations=100, eval_every=1, **OPTIMIZERS[optimizer])
    ours = training(config, level=1, density=0.4, module=mlp(WIDTHS) if module is mlp else noisy())
    pruned, seen = ~ours.mask.kept, 0
    assert pruned.sum() > 20
    for tick in ours.run():
        state = tick.capture()
        # the bit pattern +0.0, which is not that of -0.0
        assert not state["theta/"][pruned].view(np.uint32).any()
        assert ours.network.theta.grad is not None
        assert not ours.network.theta.grad.numpy()[pruned].any()
        momenta = [v for name, v in state.items() if v.shape == pruned.shape and "opt" in name]
        assert len(momenta) == (0 if tick.step == 0 else MOMENTA[optimizer])
        assert not any(momentum[pruned].any() for momentum in momenta)
        seen += 1
    assert seen == 101


MOMENTA = {"adam": 2, "adam-decay": 2, "adamw": 2, "sgd": 0, "sgd-momentum-decay": 1}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_trap_negative_weights_frozen(optimizer: str) -> None:
    ours = training(settings(**OPTIMIZERS[optimizer]), level=1, density=0.6)
    before = ours.network.point().theta
    for _ in ours.run():
        pass
    moved = ours.network.point().theta - before
    kept = ours.mask.kept & ours.mask.covered
    for sign in (before < 0, before > 0):
        signed = moved[kept & sign]
        assert len(signed) > 5
        assert np.mean(signed != 0) > 0.9  # a unit that never fires has no gradient
        assert (signed < 0).any()
        assert (signed > 0).any()


def test_the_start_is_the_point_given_under_the_mask() -> None:
    config = settings()
    ready, init = experiment(config, module=noisy())
    mask = random_mask(ready.network.spec, tuple(ready.kinds), 0.5)
    init.buffers["norm.running_mean"][:] = 3.0
    ready.network.theta.data.fill_(9.0)  # whatever was there before
    first = next(LevelTraining(ready.network, ready.task, config, mask, Start(init), 1).run())
    expected = Point(mask.apply(init.theta), init.buffers)
    assert point_bits(ready.network.point()) == point_bits(expected)
    assert first.step == 0
    assert not [name for name in first.capture() if name.startswith("optimizer/")]


def expected_steps(first: int, last: int, every: int) -> list[int]:
    """Where evaluations are due."""
    return [k for k in range(first, last + 1) if k in (first, last) or k % every == 0]


@effort(max_examples=30, deadline=None)
@given(st.integers(1, 30), st.integers(1, 12), st.integers(0, 25), st.integers(0, 2))
def test_rows_are_at_the_start_at_every_multiple_and_at_the_end(
    iterations: int, every: int, rewind: int, level: int
) -> None:
    config = settings(
        iterations=iterations, eval_every=every, rewind_step=min(rewind, iterations - 1)
    )
    ours = training(config, level=level)
    ticks = list(ours.run())
    first = config.rewind_step if level else 0
    assert [tick.step for tick in ticks] == expected_steps(first, iterations, every)
    assert ours.trace.column("step").tolist() == [tick.step for tick in ticks]
    assert ours.step == iterations


def test_a_tick_is_the_new_row() -> None:
    ours = training(settings(), level=2)
    ticks = list(ours.run())
    assert np.array([tick.row for tick in ticks]).tobytes() == ours.trace.values.tobytes()
    assert {tick.level for tick in ticks} == {2}
    assert len(ticks[0].row) == len(TRACE_COLUMNS)
    assert math.isnan(ticks[0].row[TRACE_COLUMNS.index("train_loss")])


def test_the_recorded_rate_is_that_of_the_next_step() -> None:
    config = settings(
        iterations=20, eval_every=4, warmup=8, lr_milestones=(12,), rewind_step=6, lr=0.08
    )
    ours = training(config, level=1)
    list(ours.run())
    rates = dict(zip(ours.trace.column("step"), ours.trace.column("learning_rate"), strict=True))
    assert rates == pytest.approx({6: 0.07, 8: 0.08, 12: 0.008, 16: 0.008, 20: 0.008}, rel=1e-12)


def test_a_step_of_gradient_descent_has_the_scheduled_length() -> None:
    config = settings(
        iterations=30, eval_every=1, optimizer="sgd", momentum=0.0, warmup=10, lr_milestones=(20,)
    )
    ours = training(config, module=mlp(WIDTHS).double(), task=doubled(blobs()))
    before = ours.network.point().theta
    for tick in ours.run():
        if tick.step == 0:
            continue
        after = ours.network.point().theta
        assert ours.network.theta.grad is not None
        step = naive.rate(config, tick.step - 1) * ours.network.theta.grad.numpy()
        np.testing.assert_allclose(before - after, step, rtol=1e-6, atol=1e-12)
        before = after


@pytest.mark.parametrize("level", [0, 1])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_captured_state_goes_on_with_the_same_bits(
    optimizer: str, level: int, tmp_path: Path
) -> None:
    config = settings(
        iterations=26,
        eval_every=5,  # in the middle of an epoch
        snapshots=(8, 13),
        rewind_step=6,
        lr_milestones=(12,),
        **OPTIMIZERS[optimizer],
    )

    def begun() -> LevelTraining:
        return training(config, level=level, density=0.6, module=noisy())

    whole = begun()
    states = [tick.capture() for tick in whole.run()]
    assert len(states) == (7 if level == 0 else 6)
    for number, state in enumerate(states):
        path = tmp_path / f"{number}.h5"
        save_resume(path, level, state)
        for stored in (state, load_resume(path, level)):
            assert stored is not None
            before = state_bits(stored)
            again = begun()
            assert again.fits(stored)
            again.restore(stored)
            torch.manual_seed(number)  # no generator state is part of it
            list(again.run())
            assert outcome(again) == outcome(whole)
            assert state_bits(stored) == before


def test_a_restored_state_is_the_state() -> None:
    config = settings(snapshots=(8,), rewind_step=6, optimizer="sgd")
    ours = training(config, module=noisy())
    for tick in ours.run():
        state = tick.capture()
        again = training(config, module=noisy())
        again.restore(state)
        assert again.step == tick.step
        assert state_bits(again.capture()) == state_bits(state)


WRONG_STATES = {
    "nothing in it": lambda state: state.clear(),
    "no step": lambda state: state.pop("step"),
    "no trace": lambda state: state.pop("trace"),
    "no weights": lambda state: state.pop("theta/"),
    "no buffer": lambda state: state.pop("buffer//norm.running_mean"),
    "no moment": lambda state: state.pop("optimizer/exp_avg"),
    "a stranger": lambda state: state.update(other=np.zeros(3)),
    "another optimiser's": lambda state: state.update({"optimizer/momentum_buffer": np.zeros(3)}),
    "short weights": lambda state: state.update({"theta/": state["theta/"][:-1]}),
    "short moments": lambda state: state.update({"optimizer/exp_avg": np.zeros(1, np.float32)}),
    "long moments": lambda state: state.update({"optimizer/exp_avg_sq": np.zeros(10**6, "f4")}),
    "moments of a matrix": lambda state: state.update(
        {"optimizer/exp_avg": state["optimizer/exp_avg"][:, None]}
    ),
    "double moments": lambda state: state.update(
        {"optimizer/exp_avg": state["optimizer/exp_avg"].astype("f8")}
    ),
    "many steps": lambda state: state.update(step=np.array([8, 8])),
    "half a step": lambda state: state.update(step=np.array([8.5])),
    "a step before the first": lambda state: state.update(step=np.array([-1])),
    "a step after the last": lambda state: state.update(step=np.array([25])),
    "a trace of a line": lambda state: state.update(trace=state["trace"][0]),
    "a trace of seven columns": lambda state: state.update(trace=state["trace"][:, :7]),
    "a trace of integers": lambda state: state.update(trace=np.zeros((3, 8), np.int64)),
    "a short snapshot": lambda state: state.update({"theta/step-8": np.zeros(3, np.float32)}),
    "a snapshot without buffers": lambda state: state.update({"theta/step-8": state["theta/"]}),
}


@pytest.mark.parametrize("wrong", WRONG_STATES)
def test_a_state_that_does_not_fit_is_known(wrong: str) -> None:
    """Its arrays would be read, and written, beyond their end."""
    ours = training(settings(), module=noisy())
    state = [tick.capture() for tick in ours.run()][-2]
    again = training(settings(), module=noisy())
    assert again.fits(state)
    WRONG_STATES[wrong](state)
    assert not again.fits(state)


def test_a_state_of_another_level_or_network_does_not_fit() -> None:
    state = [tick.capture() for tick in training(settings()).run()][2]
    assert training(settings()).fits(state)
    assert not training(settings(), module=noisy()).fits(state)
    assert not training(settings(optimizer="sgd")).fits(state)
    assert not training(settings(rewind_step=20), level=1).fits(state)


def test_a_state_captured_at_divergence_has_ended() -> None:
    config = settings(optimizer="sgd", lr=1e30)
    ours = training(config)
    *_, last = ours.run()
    again = training(config)
    again.restore(last.capture())
    assert again.diverged
    assert list(again.run()) == []
    assert outcome(again) == outcome(ours)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_state_captured_on_a_gpu_goes_on_there(optimizer: str) -> None:
    config, gpu = settings(**OPTIMIZERS[optimizer]), torch.device("cuda")

    def begun() -> LevelTraining:
        ready, init = experiment(config)
        network = type(ready.network)(ready.network.module, ready.network.spec, gpu)
        mask = random_mask(network.spec, tuple(ready.kinds), 0.6)
        task = on_device(ready.task, network)
        return LevelTraining(network, task, config, mask, Start(init), 1)

    whole = begun()
    states = [tick.capture() for tick in whole.run()]
    again = begun()
    again.restore(states[2])
    list(again.run())
    np.testing.assert_allclose(again.network.point().theta, whole.network.point().theta, rtol=1e-4)


def test_noise_is_a_function_of_the_seed_and_leaves_the_global_generator_alone() -> None:
    outcomes = []
    for global_seed in (1, 2):
        ours = training(settings(), module=noisy())
        torch.manual_seed(global_seed)
        before = torch.get_rng_state()
        for _ in ours.run():
            assert torch.equal(torch.get_rng_state(), before)
        outcomes.append(outcome(ours))
    assert outcomes[0] == outcomes[1]
    other = training(settings(seed=1), module=noisy())
    list(other.run())
    assert outcome(other) != outcomes[0]


def dropped(config: RunConfig, level: int) -> list[tuple[bool, ...]]:
    """What dropout removes in every step of a level."""
    seen: list[tuple[bool, ...]] = []

    def listen(drop: nn.Module, _inputs: object, outputs: Tensor) -> None:
        if drop.training:
            seen.append(tuple((outputs == 0).reshape(-1).tolist()))

    module = nn.Sequential(nn.Dropout(0.5), nn.Linear(6, 3))
    module[0].register_forward_hook(listen)
    list(training(config, level=level, module=module).run())
    return seen


def test_noise_has_a_stream_per_seed_level_and_interval() -> None:
    first = dropped(settings(), level=1)
    assert len(first) == len(set(first)) == 24
    assert dropped(settings(lr=0.5), level=1) == first
    for config, level in ((settings(), 2), (settings(seed=1), 1)):
        assert not set(dropped(config, level)) & set(first)
    # a level that starts later has the noise of the intervals that are left
    assert dropped(settings(rewind_step=10), level=1) == first[10:]


def test_dropout_is_on_in_training_and_off_in_evaluation() -> None:
    modes: list[tuple[bool, bool]] = []
    module = noisy()
    module.drop.register_forward_hook(
        lambda drop, _inputs, _outputs: modes.append((drop.training, torch.is_grad_enabled()))
    )
    list(training(settings(iterations=4, eval_every=2), module=module).run())
    # at 0, 2 and 4 validation and test; two steps before each later one
    evaluated, stepped = [(False, False)] * 2, [(True, True)] * 2
    assert modes == evaluated + stepped + evaluated + stepped + evaluated


def test_evaluations_do_not_influence_training() -> None:
    ends = []
    for every in (1, 7, 100):
        ours = training(settings(eval_every=every), level=1, density=0.5)
        list(ours.run())
        ends.append(point_bits(ours.network.point()))
    assert ends[0] == ends[1] == ends[2]


def test_a_task_without_validation_has_no_early_stop() -> None:
    whole = blobs()
    splits = {name: whole.splits[name] for name in ("train", "test")}
    ours = training(settings(), task=Task("two", splits))
    list(ours.run())
    assert not ours.diverged
    assert np.isnan(ours.trace.column("validation_loss")).all()
    assert np.isfinite(ours.trace.column("test_loss")).all()
    assert ours.trace.early_stop_row is None


def test_a_regression_is_trained_without_errors() -> None:
    draws = torch.Generator().manual_seed(0)
    inputs = torch.randn(60, 6, generator=draws)
    split = Split(inputs, inputs @ torch.randn(6, 3, generator=draws))

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs - targets).square().mean(1)

    ours = training(settings(iterations=200), task=Task("r", {"train": split, "test": split}, loss))
    list(ours.run())
    assert not ours.diverged
    assert np.isnan(ours.trace.column("test_error")).all()
    assert np.isnan(ours.trace.column("train_error")).all()
    losses = ours.trace.column("test_loss")
    assert losses[-1] < losses[0] / 3


def test_divergence_ends_the_level_at_the_next_evaluation() -> None:
    ours = training(settings(optimizer="sgd", lr=1e30), level=1, density=0.5)
    ticks = list(ours.run())
    assert ours.diverged
    assert [tick.step for tick in ticks] == [0, 5]
    assert np.isfinite(ours.trace.column("test_loss")[0])
    assert not np.isfinite(ours.trace.column("test_loss")[-1])


@pytest.mark.parametrize("split", ["validation", "test"])
def test_one_loss_that_is_not_finite_is_divergence(split: str) -> None:
    task = blobs()
    task.splits[split].inputs[0, 0] = math.inf
    ours = training(settings(), task=task)
    assert [tick.step for tick in ours.run()] == [0]
    assert ours.diverged


def test_a_training_loss_that_is_not_finite_is_divergence() -> None:
    task = blobs()

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        values = nn.functional.cross_entropy(outputs, targets, reduction="none")
        return values * math.inf if outputs.requires_grad else values

    def frozen(outputs: Tensor, targets: Tensor) -> Tensor:
        values = loss(outputs, targets)
        return values.detach() + 0 * outputs.sum() if outputs.requires_grad else values

    ours = training(settings(), task=Task("t", task.splits, frozen))
    assert [tick.step for tick in ours.run()] == [0, 5]
    assert ours.trace.column("train_loss")[-1] == math.inf
    assert ours.diverged


def test_the_early_stop_is_the_first_smallest_validation_loss() -> None:
    task = blobs()
    task.splits["validation"].targets[:] = task.splits["validation"].targets.roll(1)
    ours = training(settings(iterations=100, lr=0.002), task=task)
    list(ours.run())
    losses = ours.trace.column("validation_loss").tolist()
    best = 0
    for row, loss in enumerate(losses):
        if loss < losses[best]:
            best = row
    assert ours.trace.early_stop_row == best
    assert 0 < best < len(losses) - 1


def test_of_equal_validation_losses_the_first_is_the_early_stop() -> None:
    ours = training(settings(optimizer="sgd", lr=1e-30, momentum=0.0))
    list(ours.run())
    assert len(set(ours.trace.column("validation_loss").tolist())) == 1
    assert ours.trace.early_stop_row == 0


def batches(config: RunConfig, level: int) -> list[list[int]]:
    """The examples of every step of a level, as the loss sees them."""
    seen: list[list[int]] = []

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        if outputs.requires_grad:
            seen.append([int(i) for i in targets[:, 0].tolist()])
        return (outputs - targets).square().mean(1) / 1e6

    inputs = torch.randn(60, 6, generator=torch.Generator().manual_seed(0))
    split = Split(inputs, torch.arange(60.0)[:, None].expand(60, 3))
    list(training(config, level=level, task=Task("t", {"train": split, "test": split}, loss)).run())
    return seen


def test_every_example_comes_once_an_epoch_in_the_order_of_its_stream() -> None:
    config = settings(iterations=14, eval_every=3, seed=4)
    seen = batches(config, level=2)
    assert [len(b) for b in seen] == [16, 16, 16, 12] * 3 + [16, 16]
    for epoch in range(3):
        whole = list(itertools.chain(*seen[4 * epoch : 4 * epoch + 4]))
        assert sorted(whole) == list(range(60))
        assert whole == naive.order(4, 2, epoch, 60)
    assert seen[:4] != seen[4:8]


def test_the_order_is_a_function_of_seed_and_level() -> None:
    first = batches(settings(seed=4), level=2)
    assert batches(settings(seed=4, eval_every=7, lr=0.5, optimizer="sgd"), level=2) == first
    assert batches(settings(seed=5), level=2) != first
    assert batches(settings(seed=4), level=3) != first


def test_a_rewound_level_enters_the_order_at_the_rewind_step() -> None:
    whole = batches(settings(), level=1)
    assert batches(settings(rewind_step=6), level=1) == whole[6:]
    assert len(batches(settings(rewind_step=6), level=0)) == 24  # level 0 begins at the start


def test_a_batch_larger_than_the_data_is_all_of_them() -> None:
    seen = batches(settings(batch_size=1000, iterations=3), level=0)
    assert [sorted(b) for b in seen] == [list(range(60))] * 3


def test_snapshots_are_the_weights_after_that_many_steps() -> None:
    config = settings(snapshots=(3, 8), rewind_step=2, eval_every=4)
    ours = training(config, module=noisy())
    list(ours.run())
    assert list(ours.kept_points) == ["step-2", "step-3", "step-8"]
    # the noise of an interval begins at its evaluation, so end where the long run evaluated
    shorter = training(settings(iterations=8, eval_every=4), module=noisy())
    list(shorter.run())
    assert point_bits(ours.kept_points["step-8"]) == point_bits(shorter.network.point())
    assert ours.kept_points["step-3"].buffers["norm.num_batches_tracked"] == 3


def test_moving_a_task_keeps_its_content() -> None:
    task, network = blobs(), experiment(settings())[0].network
    moved = on_device(task, network)
    assert moved.digest == task.digest
    assert moved.loss is task.loss
    assert moved.splits.keys() == task.splits.keys()


def test_running_on_after_the_end_does_nothing() -> None:
    ours = training(settings())
    ticks: list[Tick] = list(ours.run())
    before: Array = ours.network.point().theta
    assert list(ours.run()) == []
    assert bits(ours.network.point().theta) == bits(before)
    assert len(ours.trace.values) == len(ticks)


def test_a_start_says_the_step_and_the_rate() -> None:
    config = settings(
        iterations=20,
        eval_every=4,
        optimizer="sgd",
        momentum=0.0,
        lr_milestones=(12,),
        rewind_step=6,
    )
    ours = training(config, level=1, rate=0.003)
    before = ours.network.point().theta
    for tick in ours.run():
        assert dict(zip(TRACE_COLUMNS, tick.row, strict=True))["learning_rate"] == 0.003
    assert ours.trace.column("step").tolist() == [6, 8, 12, 16, 20]
    assert not np.array_equal(ours.network.point().theta, before)


def test_a_constant_rate_is_that_of_every_step() -> None:
    plain = training(settings(lr=0.003), level=1, density=0.5)
    given = training(
        settings(lr=0.5, warmup=3, lr_schedule="cosine"), level=1, density=0.5, rate=0.003
    )
    for ours in (plain, given):
        list(ours.run())
    assert outcome(given) == outcome(plain)


def test_the_steps_of_a_cosine_have_its_length() -> None:
    config = settings(
        iterations=30, eval_every=1, optimizer="sgd", momentum=0.0, warmup=5, lr_schedule="cosine"
    )
    ours = training(config, module=mlp(WIDTHS).double(), task=doubled(blobs()))
    before = ours.network.point().theta
    for tick in ours.run():
        if tick.step == 0:
            continue
        after = ours.network.point().theta
        assert ours.network.theta.grad is not None
        k = tick.step - 1
        rate = 0.02 * (k + 1) / 5 if k < 5 else 0.01 * (1 + math.cos(math.pi * (k - 5) / 25))
        step = rate * ours.network.theta.grad.numpy()
        np.testing.assert_allclose(before - after, step, rtol=1e-6, atol=1e-12)
        before = after
    rates = ours.trace.column("learning_rate").tolist()
    assert rates == [learning_rate(config, step) for step in range(31)]
    assert rates[-1] == 0.0


def smoothed(smoothing: float) -> Any:
    """Cross-entropy against targets that give `smoothing` to all classes alike, one by one."""

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        losses = []
        for row, target in zip(outputs, targets.tolist(), strict=True):
            total = row.exp().sum().log()
            wanted = [
                smoothing / len(row) + (1 - smoothing) * (k == target) for k in range(len(row))
            ]
            losses.append(sum(w * (total - row[k]) for k, w in enumerate(wanted)))
        return torch.stack(losses)

    return loss


@pytest.mark.parametrize("smoothing", [0.1, 0.6])
def test_label_smoothing_is_the_naive_formula(smoothing: float) -> None:
    task = doubled(blobs())
    given = training(
        settings(label_smoothing=smoothing), module=mlp(WIDTHS).double(), task=task, density=0.6
    )
    own = Task(task.name, task.splits, smoothed(smoothing))
    by_hand = training(settings(), module=mlp(WIDTHS).double(), task=own, density=0.6)
    for ours in (given, by_hand):
        list(ours.run())
    np.testing.assert_allclose(
        given.network.point().theta, by_hand.network.point().theta, rtol=1e-9, atol=1e-12
    )
    np.testing.assert_allclose(
        given.trace.column("train_loss"), by_hand.trace.column("train_loss"), rtol=1e-9
    )
    # what is judged is not smoothed
    loss, _ = naive.judged(given.network.module, task.splits["test"])
    assert given.trace.column("test_loss")[-1] == pytest.approx(loss, rel=1e-9)


def test_smoothing_of_another_loss_is_refused() -> None:
    task = blobs()
    other = Task("t", task.splits, lambda outputs, targets: 2 * cross_entropy(outputs, targets))
    with pytest.raises(
        UsageError, match=r"label_smoothing is 0\.1, but task 't' is not judged by cross-entropy"
    ):
        training(settings(label_smoothing=0.1), task=other)
    training(settings(), task=other)


class Listening(nn.Module):
    """A linear network on pictures that remembers what it was trained and judged on."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(96, 3)
        self.seen: dict[bool, list[Tensor]] = {True: [], False: []}

    def forward(self, inputs: Tensor) -> Tensor:
        self.seen[self.training].append(inputs.clone())
        outputs: Tensor = self.fc(inputs.flatten(1))
        return outputs


@pytest.mark.parametrize("order_seed", [None, 7])
def test_augmented_batches_are_those_of_the_order_moved(order_seed: int | None) -> None:
    task, module = pictures(), Listening()
    config = settings(augment=True, seed=4, order_seed=order_seed, rewind_step=3)
    ours = training(config, level=2, task=task, module=module)
    list(ours.run())
    batches_seen = module.seen[True]
    assert len(batches_seen) == 21
    noise = 4 if order_seed is None else order_seed
    for step, inputs in enumerate(batches_seen, start=3):
        chosen = naive.batch(settings(seed=noise), 2, step, 60)
        plain = task.splits["train"].inputs[chosen]
        assert torch.equal(inputs, flipped_and_cropped(plain, noise, 2, step))
        assert not torch.equal(inputs, plain)
    held_out = [task.splits[name].inputs for name in ("validation", "test")]
    for number, inputs in enumerate(module.seen[False]):
        assert torch.equal(inputs, held_out[number % 2])


def test_an_order_seed_moves_the_noise_and_nothing_else() -> None:
    first = batches(settings(seed=4), level=2)
    assert batches(settings(seed=9, order_seed=4), level=2) == first
    assert batches(settings(seed=4, order_seed=4), level=2) == first
    assert batches(settings(seed=4, order_seed=5), level=2) != first
    dropout = dropped(settings(seed=4), level=1)
    assert dropped(settings(seed=9, order_seed=4), level=1) == dropout
    assert dropped(settings(seed=4, order_seed=9), level=1) == dropped(settings(seed=9), level=1)
    assert not set(dropped(settings(seed=9), level=1)) & set(dropout)
    starts = [
        point_bits(training(settings(seed=4, order_seed=order)).network.point())
        for order in (None, 4, 9)
    ]
    assert starts[0] == starts[1] == starts[2]


def test_dropout_of_the_settings_is_that_of_the_layers() -> None:
    seen: list[float] = []
    module = build(CONV_2, (2, 6, 8), 3, seed=0)

    def listen(drop: nn.Module, inputs: tuple[Tensor, ...], outputs: Tensor) -> None:
        if drop.training:
            alive = inputs[0] != 0
            seen.append(float((outputs[alive] == 0).float().mean()))
            kept = outputs[alive & (outputs != 0)] / inputs[0][alive & (outputs != 0)]
            assert torch.allclose(kept, torch.tensor(1 / 0.6))

    module.get_submodule("fc1_dropout").register_forward_hook(listen)
    list(training(settings(dropout=0.4, iterations=6), task=pictures(), module=module).run())
    assert len(seen) == 6
    assert abs(sum(seen) / 6 - 0.4) < 0.02


@pytest.mark.parametrize("level", [0, 1])
@pytest.mark.parametrize(
    "changes",
    [
        {"augment": True},
        {"augment": True, "dropout": 0.4, "order_seed": 3},
        {"lr_schedule": "cosine", "warmup": 7, "label_smoothing": 0.2},
        {"augment": True, "dropout": 0.2, "lr_schedule": "cosine", "optimizer": "sgd"},
    ],
)
def test_everything_that_is_drawn_is_resumed(changes: dict[str, Any], level: int) -> None:
    config = settings(iterations=12, eval_every=5, rewind_step=2, snapshots=(7,), **changes)

    def begun() -> LevelTraining:
        module = build(CONV_2, (2, 6, 8), 3, seed=0)
        return training(config, level=level, density=0.6, module=module, task=pictures())

    whole = begun()
    for state in [tick.capture() for tick in whole.run()]:
        again = begun()
        again.restore(state)
        list(again.run())
        assert outcome(again) == outcome(whole)


def test_a_constant_rate_is_resumed() -> None:
    config = settings(lr=0.5, optimizer="sgd", lr_milestones=(10,))
    whole = training(config, level=1, rate=0.01)
    states = [tick.capture() for tick in whole.run()]
    again = training(config, level=1, rate=0.01)
    again.restore(states[2])
    list(again.run())
    assert outcome(again) == outcome(whole)
