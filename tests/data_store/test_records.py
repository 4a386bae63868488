"""RunConfig, Trace, Point, Level and Checkpoint."""

import dataclasses
import hashlib
import json

import numpy as np
import pytest

from landscape.data_store.errors import UsageError
from landscape.data_store.mask import Mask
from landscape.data_store.params import ParamSpec
from landscape.data_store.records import TRACE_COLUMNS, Checkpoint, Level, Point, RunConfig, Trace
from landscape.data_store.settings import from_json, question, to_json

SPEC = ParamSpec(("w", "b"), ((2, 2), (2,)))
THETA = np.arange(6, dtype=np.float32)


def checkpoint(**changes):
    mask = Mask.dense(SPEC, ("w",))
    return dataclasses.replace(Checkpoint(SPEC, THETA, mask, address="imp@3.rewind"), **changes)


def test_the_defaults_are_a_valid_run():
    assert RunConfig() == RunConfig(task="digits", model="lenet-300-100", criterion="magnitude")


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"levels": 0}, "levels is 0; it must be at least 1"),
        ({"seed": -1}, "seed is -1; it must be at least 0"),
        ({"scope": "globl"}, "unknown scope 'globl'; did you mean 'global'"),
        ({"pruning_fraction": 1.5}, "pruning_fraction is 1.5; it must be at most 1"),
        ({"pruning_fraction_conv": -0.1}, "pruning_fraction_conv is -0.1; it must be at least 0"),
        ({"pruning_fraction_output": 2}, "pruning_fraction_output is 2.0; it must be at most 1"),
        ({"rewind_step": -1}, "rewind_step is -1; it must be at least 0"),
        ({"iterations": 0}, "iterations is 0; it must be at least 1"),
        ({"batch_size": 0}, "batch_size is 0; it must be at least 1"),
        ({"optimizer": "adamm"}, "unknown optimizer 'adamm'; did you mean 'adam"),
        ({"lr": 0}, "lr is 0.0; it must be above 0"),
        ({"lr": float("nan")}, "lr is nan; it must be a finite number"),
        ({"lr": "fast"}, "lr is 'fast'; it must be a finite number"),
        ({"levels": 2.0}, "levels is 2.0; it must be a whole number"),
        ({"seed": True}, "seed is True; it must be a whole number"),
        ({"validation_size": 0.5}, "validation_size is 0.5; it must be a whole number"),
        ({"snapshots": 7}, "snapshots is 7; it must be a list, each entry a whole number"),
        ({"task": None}, "task is None; it must be text"),
        ({"momentum": 1.1}, "momentum is 1.1; it must be at most 1"),
        ({"weight_decay": -1e-4}, "weight_decay is -0.0001; it must be at least 0"),
        ({"lr_gamma": 0}, "lr_gamma is 0.0; it must be above 0"),
        ({"warmup": -1}, "warmup is -1; it must be at least 0"),
        ({"initialization": "glorot"}, "unknown initialization 'glorot'; did you mean 'glorot-nor"),
        ({"validation_size": 0}, "validation_size is 0; it must be at least 1"),
        ({"max_examples": 0}, "max_examples is 0; it must be at least 1"),
        ({"eval_every": 0}, "eval_every is 0; it must be at least 1"),
        (
            {"rewind_step": 1000, "iterations": 1000},
            "rewind_step 1000 is not before the last of 1000 iterations; use a smaller step",
        ),
        (
            {"rewind_step": 5, "snapshots": (6, 5)},
            "snapshot step 5 is not between rewind_step 5 and iterations 1000",
        ),
        ({"iterations": 10, "snapshots": (10,)}, "snapshot step 10 is not between rewind_step 0"),
        ({"exclude": "output"}, "exclude is 'output'; it must be a list, each entry text"),
        ({"densities": "expo"}, "unknown densities 'expo'; did you mean 'exponential'"),
        ({"densities": "linear", "density": 0}, "density is 0.0; it must be above 0"),
        ({"densities": "linear", "density": 1.1}, "density is 1.1; it must be at most 1"),
        (
            {"density": 0.1},
            "density is 0.1, but the fractions say how the density falls; give --densities",
        ),
        (
            {"densities": "one-shot"},
            "densities is one-shot, but no density of the last level is given; give --density",
        ),
        (
            {"densities": "linear", "density": 0.1, "levels": 1},
            "levels is 1; a density of the last level needs at least 2, the dense one included",
        ),
        (
            {"nested": False},
            "without nesting, fractions of the survivors have no meaning; give --d",
        ),
        ({"nested": 0}, "nested is 0; it must be true or false"),
        ({"keep_connected": None}, "keep_connected is None; it must be true or false"),
        ({"retrain": "rewinding"}, "unknown retrain 'rewinding'; did you mean 'rewind'"),
        ({"init_noise": -0.5}, "init_noise is -0.5; it must be at least 0"),
        ({"rewind_epoch": -1}, "rewind_epoch is -1; it must be at least 0"),
        ({"lr_schedule": "cos"}, "unknown lr_schedule 'cos'; "),
        ({"dropout": 1.0}, "dropout is 1.0; it must be at most 0.99"),
        ({"dropout": -0.1}, "dropout is -0.1; it must be at least 0"),
        ({"label_smoothing": 1.0}, "label_smoothing is 1.0; it must be at most 0.99"),
        ({"augment": "yes"}, "augment is 'yes'; it must be true or false"),
        ({"order_seed": -1}, "order_seed is -1; it must be at least 0"),
        ({"norm_scale": "uniforn"}, "unknown norm_scale 'uniforn'; did you mean 'uniform'"),
        ({"prune_biases": 1}, "prune_biases is 1; it must be true or false"),
        ({"densities": "singlshot"}, "unknown densities 'singlshot'; did you mean 'singleshot'"),
        (
            {"densities": "singleshot", "levels": 1},
            "densities is singleshot, but no density of the last level is given; give --density",
        ),
        (
            {"densities": "singleshot", "density": 0.1, "levels": 2},
            "levels is 2; singleshot pruning has 1, pruned before it is trained",
        ),
        (
            {"densities": "multishot", "density": 0.1, "levels": 1},
            "levels is 1; a density of the last level needs at least 2, the dense one included",
        ),
        ({"score_examples": 0}, "score_examples is 0; it must be at least 1"),
        ({"score_rounds": 0}, "score_rounds is 0; it must be at least 1"),
        ({"score_epochs": 0}, "score_epochs is 0; it must be at least 1"),
        ({"score_lr": 0}, "score_lr is 0.0; it must be above 0"),
        ({"score_annealed": "yes"}, "score_annealed is 'yes'; it must be true or false"),
        ({"score_softmax": None}, "score_softmax is None; it must be true or false"),
        ({"last_iterations": 0}, "last_iterations is 0; it must be at least 1"),
        (
            {"rewind_step": 5, "last_iterations": 5},
            "rewind_step 5 is not before the last of 5 iterations; use a smaller step",
        ),
        (
            {"criterion": "edge-popup", "scope": "global"},
            "scope is global, but edge-popup ranks within layers; use --scope layer",
        ),
    ],
)
def test_a_setting_out_of_range_is_refused(setting, message):
    with pytest.raises(UsageError, match=f"^{message}"):
        RunConfig(**setting)


def test_the_ends_of_the_ranges_are_allowed():
    RunConfig(levels=1, pruning_fraction=0, momentum=1, iterations=1, rewind_step=0)
    RunConfig(rewind_step=8, iterations=10, snapshots=(9,), validation_size=None)


def test_a_config_survives_json():
    config = RunConfig(lr_milestones=(3, 5), snapshots=(7,), validation_size=10, lr=0.03)
    record = json.loads(json.dumps(to_json(config)))
    assert from_json(RunConfig, record) == config
    assert from_json(RunConfig, {}) == RunConfig()


def test_every_setting_of_a_density_survives_json():
    config = RunConfig(
        exclude=("output", "conv1.weight"),
        densities="exponential",
        density=0.02,
        nested=False,
        keep_connected=True,
        retrain="reinit-survivors",
        init_noise=0.5,
        rewind_epoch=2,
        lr_schedule="cosine",
        dropout=0.5,
        label_smoothing=0.1,
        augment=True,
        order_seed=9,
        norm_scale="uniform",
        prune_biases=True,
        score_examples=7,
        score_rounds=100,
        score_epochs=3,
        score_lr=0.2,
        score_annealed=True,
        score_softmax=True,
        last_iterations=9,
    )
    assert from_json(RunConfig, json.loads(json.dumps(to_json(config)))) == config
    changed = {f.name for f in dataclasses.fields(config) if getattr(config, f.name) != f.default}
    assert len(changed) == 22


def test_the_defaults_add_nothing_to_plain_iterative_pruning():
    config = RunConfig()
    assert (config.exclude, config.densities, config.density) == ((), "rate", None)
    assert (config.nested, config.keep_connected, config.retrain) == (True, False, "rewind")
    assert (config.init_noise, config.dropout, config.label_smoothing) == (0, 0, 0)
    assert (config.lr_schedule, config.augment, config.norm_scale) == ("step", False, "one")
    assert (config.rewind_epoch, config.order_seed) == (None, None)
    assert (config.prune_biases, config.score_rounds, config.last_iterations) == (False, 1, None)


def test_settings_that_came_later_are_the_defaults_of_a_run_that_has_none():
    late = {f.name: f.default for f in dataclasses.fields(RunConfig) if "since" in f.metadata}
    assert set(late) == {
        "prune_biases", "score_examples", "score_rounds", "score_epochs", "score_lr",
        "score_annealed", "score_softmax", "last_iterations",
    }  # fmt: skip
    old = {name: v for name, v in to_json(RunConfig(seed=3)).items() if name not in late}
    assert from_json(RunConfig, old) == RunConfig(seed=3)
    assert question(RunConfig(seed=3)) == old
    assert question(RunConfig(seed=3, score_rounds=2)) == {**old, "score_rounds": 2}


def test_the_seed_of_the_noise_is_the_run_s_unless_given():
    assert RunConfig(seed=5).noise_seed == 5
    assert RunConfig(seed=5, order_seed=0).noise_seed == 0
    assert RunConfig(seed=5, order_seed=7).noise_seed == 7


@pytest.mark.parametrize("densities", ["exponential", "multishot", "linear", "one-shot"])
def test_a_density_of_one_and_two_levels_are_allowed(densities):
    RunConfig(densities=densities, density=1, levels=2)
    RunConfig(densities=densities, density=1e-9, levels=2, nested=False)
    RunConfig(densities="singleshot", density=1e-9, levels=1, nested=False)


def test_a_config_refuses_an_unknown_setting():
    with pytest.raises(UsageError, match="unknown setting 'lrr'; did you mean 'lr'"):
        from_json(RunConfig, {"lrr": 0.1})


def trace(validation_loss):
    values = np.full((len(validation_loss), len(TRACE_COLUMNS)), np.nan)
    values[:, 0] = 100 * np.arange(len(validation_loss))
    values[:, TRACE_COLUMNS.index("validation_loss")] = validation_loss
    return Trace(values)


def test_columns_by_name():
    assert list(trace([3.0, 1.0]).column("step")) == [0, 100]
    assert list(trace([3.0, 1.0]).column("validation_loss")) == [3, 1]


@pytest.mark.parametrize(
    ("loss", "row"),
    [
        ([3, 1, 2], 1),
        ([3, 1, 1], 1),
        ([np.nan, 2, 1, np.inf], 2),
        ([0.0, np.nan], 0),
        ([np.nan, np.nan], None),
        ([np.inf, np.nan], None),
        ([], None),
    ],
)
def test_early_stop_is_the_first_smallest_validation_loss(loss, row):
    assert trace(loss).early_stop_row == row


def test_a_points_digest_sees_spec_weights_and_buffers():
    other = ParamSpec(("w", "c"), SPEC.shapes)
    point = Point(THETA, {"bn.mean": np.zeros(2)})
    digests = {
        point.digest(SPEC),
        point.digest(other),
        Point(THETA + 1, point.buffers).digest(SPEC),
        Point(THETA).digest(SPEC),
        Point(THETA, {"bn.mean": np.ones(2)}).digest(SPEC),
        Point(THETA, {"bn.var": np.zeros(2)}).digest(SPEC),
    }
    assert len(digests) == 6
    assert point.digest(SPEC) == Point(THETA.copy(), dict(point.buffers)).digest(SPEC)


def test_a_level_is_done_unless_it_says_otherwise():
    level = Level(0, Mask.dense(SPEC, ("w",)), {"final": Point(THETA)}, trace([]), {}, {})
    assert level.status == "done"


def test_a_checkpoint_of_a_store_knows_its_run():
    assert checkpoint(home="store").run == "imp"
    assert checkpoint(home="store", address="a.b-c@first").run == "a.b-c"


def test_a_foreign_checkpoint_has_no_run():
    assert checkpoint(address="mail@home.pt").run == ""


def test_density_is_the_masks():
    kept = np.array([True, False, False, True, True, True])
    assert checkpoint(mask=Mask(SPEC, ("w",), kept)).density == 0.5


def test_the_point_is_weights_and_floating_buffers():
    ckpt = checkpoint(
        buffers={
            "mean": np.array([[7.0], [8.0]], np.float32),
            "num_batches_tracked": np.array(3),
            "var": np.array(9.0),
        }
    )
    assert ckpt.point.dtype == np.float32
    assert list(ckpt.point) == [0, 1, 2, 3, 4, 5, 7, 8, 9]
    assert list(checkpoint().point) == list(THETA)


def test_the_digest_is_what_an_analysis_sees():
    base = checkpoint()
    kept = np.array([True, False, True, True, True, True])
    seen = [
        base,
        checkpoint(theta=THETA + 1),
        checkpoint(mask=Mask(SPEC, ("w",), kept)),
        checkpoint(mask=Mask.dense(SPEC, ())),
        checkpoint(buffers={"mean": np.zeros(2)}),
        checkpoint(buffers={"mean": np.ones(2)}),
        checkpoint(spec=ParamSpec(("v", "b"), SPEC.shapes)),
    ]
    assert len({ckpt.digest for ckpt in seen}) == len(seen)
    unseen = checkpoint(address="other.pt", level=7, home="x", metrics={"test_loss": 1.0})
    assert unseen.digest == base.digest


def test_the_digest_of_a_checkpoint_is_fixed():
    parts = [
        SPEC.digest.encode(),
        b"<f4(6,)" + THETA.tobytes(),
        b"w",
        b"|u1(1,)\xf0",
        b"n",
        b"<i8()" + (3).to_bytes(8, "little"),
    ]
    want = hashlib.sha256(b"".join(part + b"\0" for part in parts)).hexdigest()
    assert checkpoint(buffers={"n": np.array(3)}).digest == want
