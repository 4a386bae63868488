"""From settings to an experiment: steps of epochs, what is drawn, what a run must agree with."""

from __future__ import annotations

import itertools
import math
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from landscape.data_store.errors import UsageError
from landscape.data_store.records import RunConfig
from landscape.data_store.store import Store, open_store
from landscape.preparation import Plan, configure, given, prepare, require_same, resolved
from landscape.trainer import carry_out, train
from landscape.training import tasks
from landscape.training.models import current_point
from tests.support.experiments import CPU, bits
from tests.support.trained import SETTINGS


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store."""
    return open_store(tmp_path / "store")


def plan(**changes: Any) -> Plan:
    """The plan of a small run."""
    return Plan(configure({**SETTINGS, **changes}))


def test_what_is_given_is_what_is_not_none() -> None:
    assert given({"lr": 0.5, "seed": None, "snapshots": [5, 6]}) == {"lr": 0.5, "snapshots": (5, 6)}
    with pytest.raises(UsageError, match=r"unknown setting 'sede'; did you mean 'seed'\?"):
        given({"sede": None})


def test_a_cosine_has_no_milestones() -> None:
    message = (
        r"^lr_milestones is \(5, 7\), but a cosine has no milestones; leave them out, or give "
        "--lr-schedule step$"
    )
    with pytest.raises(UsageError, match=message):
        configure({**SETTINGS, "lr_schedule": "cosine", "lr_milestones": (5, 7)})


@pytest.mark.parametrize("model", ["vgg-19", "resnet-20"])
def test_a_protocols_milestones_give_way_to_a_cosine(model: str) -> None:
    protocol = configure({"model": model})
    assert protocol.lr_milestones
    for more in ({}, {"lr_milestones": []}):
        config = configure({"model": model, "lr_schedule": "cosine", **more})
        assert config == replace(protocol, lr_schedule="cosine", lr_milestones=())


def test_milestones_that_a_cosine_passed_over_are_no_other_setting(store: Store) -> None:
    settings = {**SETTINGS, "levels": 1, "lr_schedule": "cosine"}
    stated = Plan(RunConfig(**settings, lr_milestones=(5,)))
    place = {"data": None, "device": "auto", "threads": None, "listener": None}
    run = carry_out(stated, store=store, name="run", **place)
    assert run.config.lr_milestones == (5,)
    assert train(store=store, name="run", **{**settings, "levels": 2}).levels == [0, 1]
    with pytest.raises(UsageError, match=r"exists with lr_milestones = \[5\], not \[\]"):
        train(store=store, name="run", **{**settings, "lr_schedule": "step"})


@pytest.mark.parametrize("batch_size", [60, 61, 1257, 5000])
@pytest.mark.parametrize("epochs", [0, 1, 3])
def test_an_epoch_is_its_steps(batch_size: int, epochs: int) -> None:
    asked = plan(
        rewind_step=0, rewind_epoch=epochs, batch_size=batch_size, iterations=100, eval_every=50
    )
    config = resolved(asked, tasks.digits()).config
    assert config.rewind_epoch is None
    assert config.rewind_step == epochs * math.ceil(1257 / batch_size)


def test_an_epoch_is_one_pass_of_the_data_order(store: Store) -> None:
    run = train(store=store, name="run", **SETTINGS | {
        "rewind_step": 0, "rewind_epoch": 1, "batch_size": 50, "levels": 2})  # fmt: skip
    assert run.config.rewind_step == 26
    assert run.level(1).trace.column("step")[0] == 26
    again = train(store=store, name="run", **SETTINGS | {
        "rewind_step": 0, "rewind_epoch": 1, "batch_size": 50, "levels": 2})  # fmt: skip
    assert again.levels == [0, 1]


def test_a_plan_in_steps_is_left_alone() -> None:
    asked = plan()
    assert resolved(asked, tasks.digits()) is asked


def test_steps_and_epochs_at_once_are_refused() -> None:
    with pytest.raises(UsageError, match=r"^rewind_step is 4 and rewind_epoch 1; give one$"):
        resolved(plan(rewind_epoch=1), tasks.digits())


def test_an_epoch_past_training_is_refused(store: Store) -> None:
    with pytest.raises(UsageError, match="rewind_step 52 is not before the last of 40 iterations"):
        train(store=store, name="run", **SETTINGS | {"rewind_step": 0, "rewind_epoch": 2})
    assert list(store) == []


def test_preparing_is_a_function_of_plan_and_data() -> None:
    task = tasks.digits()
    first, again = (prepare(plan(), task, CPU) for _ in range(2))
    spec = first.experiment.network.spec
    assert first.init.digest(spec) == again.init.digest(spec)
    assert first.data_digest == task.digest
    assert prepare(plan(seed=1), task, CPU).init.digest(spec) != first.init.digest(spec)
    assert prepare(plan(order_seed=1), task, CPU).init.digest(spec) == first.init.digest(spec)
    module = first.experiment.network.module
    assert bits(current_point(module, spec).theta) == bits(first.init.theta)


def test_every_level_is_redrawn_otherwise() -> None:
    ready = prepare(plan(), tasks.digits(), CPU)
    place = ready.experiment.network.spec.slices["fc1.weight"]
    points = [ready.init, *(ready.experiment.redraw(level) for level in range(3))]
    for one, other in itertools.combinations(points, 2):
        assert not (one.theta[place] == other.theta[place]).any()
    again = ready.experiment.redraw(1)
    assert bits(again.theta) == bits(points[2].theta)
    spread = math.sqrt(2 / (64 + 12))  # Glorot's
    for point in points:
        assert abs(point.theta[place].std() / spread - 1) < 5 / math.sqrt(2 * 768)


def test_what_is_excluded_is_not_prunable() -> None:
    ready = prepare(plan(exclude=("output",)), tasks.digits(), CPU)
    assert dict(ready.experiment.kinds) == {"fc1.weight": "fc"}


def test_pictures_are_needed_to_augment_them(tmp_path: Path, store: Store) -> None:
    path = tmp_path / "rows.py"
    path.write_text(
        "import torch\nfrom landscape.training.task import make_task\n"
        "x, y = torch.randn(60, 6), torch.arange(60) % 3\n"
        "def task():\n    return make_task(train=(x, y), test=(x, y))\n"
    )
    with pytest.raises(UsageError, match="augment"):
        train(store=store, name="run", augment=True, **SETTINGS | {
            "task": f"{path}:task", "model": "mlp:6-8-3"})  # fmt: skip
    assert list(store) == []


@pytest.mark.parametrize("changes", [
    {"pruning_fraction": 1.0}, {"densities": "linear", "density": 1e-4},
])  # fmt: skip
def test_a_layer_that_will_be_empty_is_warned_of_or_refused(changes: dict[str, Any]) -> None:
    task = tasks.digits()
    with pytest.warns(UserWarning, match=r"^level \d will prune all of 'fc[12]\.weight'; --keep-c"):
        prepare(plan(**changes), task, CPU)
    message = r"^level \d would prune all of 'fc[12]\.weight', and --keep-connected forbids it; ask"
    with pytest.raises(UsageError, match=message):
        prepare(plan(keep_connected=True, **changes), task, CPU)


def test_a_layer_that_competition_must_empty_is_warned_of_or_refused() -> None:
    changes = {"scope": "global", "pruning_fraction": 0.99}
    with pytest.warns(UserWarning, match=r"^level 2 will prune all of at least one layer; --keep"):
        prepare(plan(**changes), tasks.digits(), CPU)
    with pytest.raises(UsageError, match=r"^level 2 would prune all of at least one layer, and"):
        prepare(plan(keep_connected=True, **changes), tasks.digits(), CPU)


def test_what_leaves_weights_everywhere_is_not_warned_of() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        prepare(plan(), tasks.digits(), CPU)


def test_levels_may_grow_and_shrink(store: Store) -> None:
    run = train(store=store, name="run", **SETTINGS | {"levels": 1})
    for levels in (1, 2, 9):
        require_same(run, plan(levels=levels))


FIXED: list[dict[str, Any]] = [
    {"retrain": "continue"},
    {"densities": "linear", "density": 0.5},
    {"densities": "exponential", "density": 0.5},
]


@pytest.mark.parametrize("changes", FIXED)
@pytest.mark.parametrize("levels", [2, 4])
def test_levels_that_decide_the_levels_may_not_grow(
    store: Store, changes: dict[str, Any], levels: int
) -> None:
    run = train(store=store, name="run", **SETTINGS | changes)
    before = run.description
    with pytest.raises(UsageError, match=f"^run 'run' exists with levels = 3, not {levels}; give"):
        train(store=store, name="run", **SETTINGS | changes | {"levels": levels})
    assert run.description == before
    assert run.levels == [0, 1, 2]
    assert train(store=store, name="run", **SETTINGS | changes).levels == [0, 1, 2]


@pytest.mark.parametrize(("name", "value"), [
    ("lr", 0.5), ("seed", 1), ("retrain", "finetune"), ("order_seed", 3), ("exclude", ("output",)),
    ("snapshots", (10,)), ("criterion", "random"), ("keep_connected", True),
])  # fmt: skip
def test_other_settings_are_named(store: Store, name: str, value: Any) -> None:
    run = train(store=store, name="run", **SETTINGS | {"levels": 1})
    with pytest.raises(UsageError, match=f"^run 'run' exists with {name} = .*, not .*; give the "):
        require_same(run, plan(**{name: value}))


def test_the_protocol_gives_way_to_what_is_given() -> None:
    config = configure({"model": "lenet-300-100", "lr": 0.25})
    assert (config.lr, config.iterations) == (0.25, 50_000)
    assert configure({"model": "mlp:4-2"}) == RunConfig(model="mlp:4-2")


def test_no_random_state_is_touched() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    prepare(plan(), tasks.digits(), CPU).experiment.redraw(2)
    assert torch.equal(torch.get_rng_state(), before)
