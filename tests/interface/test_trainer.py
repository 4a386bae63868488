"""Training runs in a store: what is kept, what is refused, who may train, on which threads."""

from __future__ import annotations

import json
import math
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import numpy as np
import pytest
import torch

from landscape.data_store import layout
from landscape.data_store.errors import DamagedFile, LandscapeError, UsageError
from landscape.data_store.lock import holding
from landscape.data_store.manifest import manifest_bytes
from landscape.data_store.records import TRACE_COLUMNS, RunConfig
from landscape.data_store.store import Run, Store, open_store
from landscape.preparation import configure
from landscape.trainer import train
from landscape.training.imp import Finished
from landscape.training.loop import Tick
from tests.support.trained import SETTINGS, Stop, files, leftovers


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store."""
    return open_store(tmp_path / "store")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that nothing interrupted."""
    elsewhere = open_store(tmp_path_factory.mktemp("whole") / "store")
    return train(store=elsewhere, name="whole", **SETTINGS)


def test_a_run_is_its_levels_in_files(whole: Run) -> None:
    assert whole.levels == [0, 1, 2]
    assert leftovers(whole) - {".lock"} == {"run.json", "log.jsonl"}
    for number in whole.levels:
        level = whole.level(number)
        assert level.status == "done"
        assert level.trace.column("step").tolist() == ([0.0] if number == 0 else [4.0]) + [
            10.0,
            20.0,
            30.0,
            40.0,
        ]
        assert set(level.origins.values()) <= {
            path.stem for path in layout.objects(whole.root).rglob("*.h5")
        }
    kept = [whole.level(number).mask.kept_size for number in whole.levels]
    second = 768 - round(0.2 * 768), 120 - round(0.1 * 120)
    third = second[0] - round(0.2 * second[0]), second[1] - round(0.1 * second[1])
    assert kept == [768 + 120, sum(second), sum(third)]


def test_the_manifest_says_what_the_run_is(whole: Run) -> None:
    record = json.loads(layout.run_manifest(whole.root, whole.name).read_text("utf-8"))
    assert (record["format"], record["version"], record["name"]) == (
        "landscape-run",
        [1, 0],
        "whole",
    )
    assert {name: record["config"][name] for name in SETTINGS} == SETTINGS
    assert set(record["config"]) == set(RunConfig.__dataclass_fields__)
    assert record["spec"] == {
        "names": ["fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"],
        "shapes": [[12, 64], [12], [10, 12], [10]],
        "dtype": "float32",
    }
    assert record["prunable"] == {"fc1.weight": "fc", "fc2.weight": "output"}
    assert record["data"]["examples"] == {"train": 1257, "validation": 180, "test": 360}
    assert len(bytes.fromhex(record["data"]["digest"])) == 32
    assert record["provenance"]["torch"] == torch.__version__
    assert record["provenance"]["threads"] == torch.get_num_threads()
    for number in whole.levels:
        assert whole.level(number).origins["init"] == record["init"]
    init = whole.point(record["init"])
    weights = init.theta[: 12 * 64]
    assert abs(weights.std() - math.sqrt(2 / 76)) < 5 * math.sqrt(2 / 76) / math.sqrt(2 * 768)
    assert not init.theta[768:780].any()


def test_the_log_has_a_line_of_strict_json_per_evaluation(whole: Run) -> None:
    lines = layout.run_log(whole.root, whole.name).read_text("utf-8").splitlines()
    records = [json.loads(line, parse_constant=pytest.fail) for line in lines]
    traces = {number: whole.level(number).trace for number in whole.levels}
    assert len(records) == sum(len(trace.values) for trace in traces.values())
    for number, trace in traces.items():
        own = [record for record in records if record["level"] == number]
        for name in TRACE_COLUMNS:
            logged = [math.nan if r[name] is None else r[name] for r in own]
            np.testing.assert_array_equal(logged, trace.column(name))
    assert all(isinstance(record["time"], float) for record in records)


def test_the_same_settings_give_the_same_bytes(store: Store, whole: Run) -> None:
    assert files(train(store=store, name="again", **SETTINGS)) == files(whole)
    other = train(store=store, name="other", **SETTINGS | {"seed": 1})
    assert files(other)["level_0000.h5"] != files(whole)["level_0000.h5"]


def test_snapshots_are_points_of_the_store(store: Store) -> None:
    run = train(store=store, name="run", **SETTINGS | {"snapshots": (10, 25)})
    for number in run.levels:
        level = run.level(number)
        assert list(level.points) == ["final", "step-10", "step-25"]
        stored = run[number, "step-10"]
        assert stored.theta.tobytes() == level.points["step-10"].theta.tobytes()
        assert stored.theta.tobytes() != level.points["final"].theta.tobytes()
        assert not stored.theta[~level.mask.kept].any()


def test_a_listener_hears_every_evaluation_and_level_in_order(store: Store) -> None:
    heard: list[tuple[str, int, int]] = []

    def listen(event: Tick | Finished) -> None:
        if isinstance(event, Tick):
            heard.append(("tick", event.level, event.step))
        else:
            heard.append(("finished", event.level.number, -1))
            # a level is announced when it is stored
            assert Run(store.root, "run").levels[-1] == event.level.number

    train(store=store, name="run", listener=listen, **SETTINGS | {"levels": 2})
    steps = [10, 20, 30, 40]
    assert heard == (
        [("tick", 0, step) for step in [0, *steps]]
        + [("finished", 0, -1)]
        + [("tick", 1, step) for step in [4, *steps]]
        + [("finished", 1, -1)]
    )


def test_levels_may_grow_and_shrink(store: Store, whole: Run) -> None:
    run = train(store=store, name="run", **SETTINGS | {"levels": 1})
    assert run.levels == [0]
    train(store=store, name="run", **SETTINGS)
    assert files(run) == files(whole)
    heard: list[Any] = []
    again = train(store=store, name="run", listener=heard.append, **SETTINGS | {"levels": 1})
    assert again.levels == [0, 1, 2]
    assert heard == []
    assert files(run) == files(whole)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 1}, "seed = 0, not 1"),
        ({"lr": 0.5}, r"lr = 0\.0012, not 0\.5"),
        ({"batch_size": 51}, "batch_size = 50, not 51"),
        ({"criterion": "random"}, "criterion = magnitude, not random"),
        ({"snapshots": (10,)}, r"snapshots = \[\], not \[10\]"),
        ({"model": "mlp:64-13-10"}, "model = mlp:64-12-10, not mlp:64-13-10"),
        ({"validation_size": 100}, "validation_size = None, not 100"),
        ({"max_examples": 100}, "max_examples = None, not 100"),
    ],
)
def test_other_settings_are_refused_by_name(
    whole: Run, change: dict[str, Any], message: str
) -> None:
    before = files(whole)
    with pytest.raises(UsageError, match=f"run 'whole' exists with {message}; give the same"):
        train(store=Store(whole.root), name="whole", **SETTINGS | change)
    assert files(whole) == before


def test_at_most_so_many_examples_are_trained_and_evaluated_on(store: Store, whole: Run) -> None:
    run = train(store=store, name="run", **SETTINGS | {"max_examples": 200})
    assert run.description["data"]["examples"] == {"train": 200, "validation": 180, "test": 200}
    assert run.description["data"]["digest"] != whole.description["data"]["digest"]
    assert run.level(0).metrics["test_error"] * 200 % 1 == pytest.approx(0)
    other = train(store=store, name="other", **SETTINGS | {"max_examples": 200, "seed": 1})
    assert other.description["data"] == run.description["data"]
    epochs = SETTINGS | {"max_examples": 200, "rewind_step": 0, "rewind_epoch": 2}
    assert train(store=store, name="epochs", **epochs).config.rewind_step == 8  # 4 steps of 50


@pytest.mark.parametrize("threads", [30_000, 10**12])
def test_more_threads_than_a_machine_has_are_refused(store: Store, threads: int) -> None:
    most = min(1024, 8 * (os.cpu_count() or 1))
    message = f"^threads is {threads}; it must be at most {most} on this machine$"
    with pytest.raises(UsageError, match=message):
        train(store=store, name="run", threads=threads, **SETTINGS)
    assert list(store) == []


def test_a_run_from_before_there_was_a_setting_is_gone_on_with(store: Store, whole: Run) -> None:
    run = train(store=store, name="run", **SETTINGS | {"levels": 2})
    place = layout.run_manifest(store.root, "run")
    record = run.description
    identity = run.identity
    assert record["config"].pop("max_examples") is None
    known = {k: v for k, v in record.items() if k not in ("format", "version", "sha256")}
    place.write_bytes(manifest_bytes(layout.RUN_FORMAT, layout.RUN_VERSION, known))
    assert run.identity == identity
    assert run.config.max_examples is None
    train(store=store, name="run", **SETTINGS)
    assert files(run) == files(whole)
    with pytest.raises(UsageError, match="max_examples = None, not 100"):
        train(store=store, name="run", **SETTINGS | {"max_examples": 100})


DATA = """
    import torch
    from landscape import make_task

    def task():
        draws = torch.Generator().manual_seed({seed})
        x = torch.randn(80, 64, generator=draws)
        return make_task(train=(x, torch.arange(80) % 10), test=(x, torch.arange(80) % 10))
"""


def test_other_data_are_refused(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "data.py"
    settings = SETTINGS | {"task": f"{path}:task"}
    path.write_text(dedent(DATA.format(seed=0)))
    run = train(store=store, name="run", **settings)
    before = files(run)
    path.write_text(dedent(DATA.format(seed=12345)))
    with pytest.raises(LandscapeError, match=r"run 'run' was begun on other data .*\(digest "):
        train(store=store, name="run", **settings | {"levels": 4})
    assert files(run) == before
    path.write_text(dedent(DATA.format(seed=0)))
    assert train(store=store, name="run", **settings | {"levels": 4}).levels == [0, 1, 2, 3]


def edit_manifest(run: Run, change: Callable[[dict[str, Any]], None]) -> None:
    """Rewrite a run's manifest as another machine might have written it."""
    path = layout.run_manifest(run.root, run.name)
    record = json.loads(path.read_text("utf-8"))
    change(record)
    known = {k: v for k, v in record.items() if k not in ("format", "version", "sha256")}
    path.write_bytes(manifest_bytes(layout.RUN_FORMAT, layout.RUN_VERSION, known))


@pytest.mark.parametrize(
    ("part", "value", "message"),
    [
        ("cpu_capability", "AVX3000", "was begun with torch .* and AVX3000; going on with"),
        ("torch", "1.0.0", "was begun with torch 1.0.0 and"),
    ],
)
def test_another_processor_or_torch_is_warned_of(
    store: Store, whole: Run, part: str, value: str, message: str
) -> None:
    run = train(store=store, name="run", **SETTINGS | {"levels": 1})
    edit_manifest(run, lambda record: record["provenance"].update({part: value}))
    with pytest.warns(UserWarning, match=message):
        train(store=store, name="run", **SETTINGS)
    assert files(run) == files(whole)


def test_other_initial_weights_are_refused(store: Store) -> None:
    run = train(store=store, name="run", **SETTINGS | {"levels": 1})
    edit_manifest(run, lambda record: record.update({"init": "0" * 64}))
    with pytest.raises(LandscapeError, match="run 'run' began from other weights than torch"):
        train(store=store, name="run", **SETTINGS)


def test_a_run_that_another_process_trains_is_refused(store: Store) -> None:
    code = """
        import sys
        from pathlib import Path
        from landscape.data_store.store import Run
        from landscape.data_store.lock import holding
        with holding(Run(Path(sys.argv[1]), "run")):
            print("held", flush=True)
            sys.stdin.read()
    """
    arguments = [sys.executable, "-c", dedent(code), str(store.root)]
    with subprocess.Popen(
        arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        who = f"process {holder.pid} on {socket.gethostname()}"
        with pytest.raises(LandscapeError, match=f"run 'run' is being written by {who}; wait"):
            train(store=store, name="run", **SETTINGS)
        assert not Run(store.root, "run").exists
        other = train(store=store, name="other", **SETTINGS | {"levels": 1})
        assert other.levels == [0]
        holder.stdin.close()
    assert train(store=store, name="run", **SETTINGS | {"levels": 1}).levels == [0]


def end_inside(run: Run, how: type[BaseException]) -> None:
    """Hold the lock, find it held, and end."""
    us = f"'run' is being written by process {os.getpid()} on"
    with holding(run):
        assert ".holder" in leftovers(run)
        with pytest.raises(LandscapeError, match=us), holding(run):
            pass
        raise how


@pytest.mark.parametrize("how", [Stop, KeyboardInterrupt])
def test_the_lock_ends_with_its_holder(store: Store, how: type[BaseException]) -> None:
    run = Run(store.root, "run")
    with pytest.raises(how):
        end_inside(run, how)
    assert ".holder" not in leftovers(run)
    with holding(run):
        pass


def test_a_folder_that_cannot_be_locked_is_named(store: Store) -> None:
    layout.runs(store.root).write_text("in the way")
    with pytest.raises(LandscapeError, match=r"cannot lock .*/runs/run/\.lock: .*write access"):
        train(store=store, name="run", **SETTINGS)


IMPORTED = {
    "config": {"task": "digits", "model": "mlp:64-12-10", "levels": 1},
    "imported": {"sources": [{"name": "theirs.pt", "sha256": "0" * 64}]},
}


def test_an_imported_run_is_not_gone_on_with(store: Store) -> None:
    run = store.create("theirs", IMPORTED)
    before = run.description
    message = r"^run 'theirs' was imported: how it was trained is unknown; .* under another --name$"
    with pytest.raises(LandscapeError, match=message):
        train(store=store, name="theirs", **SETTINGS)
    assert run.description == before
    assert run.levels == []


def test_a_manifest_of_a_newer_version_is_not_gone_on_with(store: Store) -> None:
    path = layout.run_manifest(store.root, "run")
    path.parent.mkdir(parents=True)
    newer = manifest_bytes(layout.RUN_FORMAT, (2, 0), {"name": "run", "written_by": "5.0"})
    path.write_bytes(newer)
    with pytest.raises(LandscapeError, match=r"run\.json is of format version 2 .* landscape 5\.0"):
        train(store=store, name="run", **SETTINGS)
    assert path.read_bytes() == newer


def test_the_size_limit_holds_in_training_and_is_no_damage(store: Store, whole: Run) -> None:
    """Nothing is moved aside because somebody chose a small --max-size."""
    run = train(store=store, name="run", **SETTINGS | {"levels": 2})
    before = files(run)
    for limit in (len(before["level_0001.h5"]) - 1, 3500):  # stored, and unpacked
        with pytest.raises(LandscapeError, match=f"more than {limit} is refused unless --max-size"):
            train(store=Store(store.root, limit), name="run", **SETTINGS)
    assert files(run) == before
    assert not (store.root / "damaged").exists()
    assert train(store=Store(store.root, 10**6), name="run", **SETTINGS).size_limit == 10**6
    assert files(run) == files(whole)


@pytest.mark.parametrize("levels", [1, 3])
def test_a_diverged_level_is_kept_and_said_every_time(store: Store, levels: int) -> None:
    wild = SETTINGS | {"optimizer": "sgd", "lr": 1e30, "levels": levels}
    for _ in range(2):
        with pytest.raises(
            LandscapeError,
            match="level 0 of run 'run' diverged: its loss was not finite at step 10; its curve",
        ):
            train(store=store, name="run", **wild)
        run = Run(store.root, "run")
        assert run.levels == [0]
        assert run.level(0).status == "diverged"
        assert run.level(0).trace.column("step").tolist() == [0.0, 10.0]


INFINITE = """
    import math
    from landscape.training import tasks
    from landscape.training.task import Task, cross_entropy

    def loss(outputs, targets):
        return cross_entropy(outputs, targets) * math.inf

    def task():
        return Task("infinite", tasks.digits().splits, loss)
"""


def test_an_infinite_loss_is_logged_as_strict_json(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "infinite.py"
    path.write_text(dedent(INFINITE))
    with pytest.raises(LandscapeError, match=r"level 0 of run 'run' diverged: .* at step 0"):
        train(store=store, name="run", **SETTINGS | {"task": f"{path}:task"})
    [line] = layout.run_log(store.root, "run").read_text("utf-8").splitlines()
    assert json.loads(line, parse_constant=pytest.fail)["test_loss"] is None
    trace = Run(store.root, "run").level(0).trace
    assert trace.column("test_loss").tolist() == [math.inf]


def threads_in(store: Store, name: str, **settings: Any) -> set[int]:
    """The thread counts that a run trains with."""
    counts: set[int] = set()

    def listen(_event: Tick | Finished) -> None:
        counts.add(torch.get_num_threads())

    train(store=store, name=name, listener=listen, **SETTINGS | settings)
    return counts


def test_threads_are_recorded_kept_and_put_back(store: Store) -> None:
    before = torch.get_num_threads()
    asked = before + 1
    short = {"iterations": 5, "eval_every": 5}  # two threads on tiny arrays are slow
    assert threads_in(store, "run", levels=1, threads=asked, **short) == {asked}
    assert torch.get_num_threads() == before
    assert Run(store.root, "run").description["provenance"]["threads"] == asked
    # gone on with under its own
    assert threads_in(store, "run", levels=2, **short) == {asked}
    assert threads_in(store, "run", levels=3, threads=before, **short) == {asked}
    assert torch.get_num_threads() == before
    assert threads_in(store, "other", levels=1, **short) == {before}
    assert Run(store.root, "other").description["provenance"]["threads"] == before


@pytest.mark.parametrize(
    "change",
    [
        {"provenance": {}},
        {"provenance": {"torch": "2", "cpu_capability": "AVX2", "threads": 30_000}},
        {"provenance": {"torch": "2", "cpu_capability": "AVX2", "threads": 0}},
        {"provenance": {"torch": "2", "cpu_capability": "AVX2", "threads": True}},
        {"provenance": {"torch": "2", "cpu_capability": None, "threads": 1}},
        {"provenance": {"torch": 2, "cpu_capability": "AVX2", "threads": 1}},
        {"data": {"digest": 3}},
        {"data": {}},
        {"init": None},
    ],
)
def test_a_manifest_that_nobody_wrote_is_refused(store: Store, change: dict[str, Any]) -> None:
    """Thousands of threads would end the process."""
    train(store=store, name="run", **SETTINGS | {"levels": 1})
    edit_manifest(Run(store.root, "run"), lambda record: record.update(change))
    before = torch.get_num_threads()
    with pytest.raises(DamagedFile, match="the manifest of run 'run' is incomplete, or says"):
        train(store=store, name="run", **SETTINGS | {"levels": 2})
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("threads", [0, -2])
def test_no_threads_are_refused(store: Store, threads: int) -> None:
    with pytest.raises(UsageError, match=f"threads is {threads}; it must be at least 1"):
        train(store=store, name="run", threads=threads, **SETTINGS)
    assert list(store) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lr": math.nan}, "lr is nan; it must be a finite number"),
        ({"lr": math.inf}, "lr is inf; it must be a finite number"),
        ({"lr": -0.1}, r"lr is -0\.1; it must be above 0"),
        ({"lr": 0.0}, r"lr is 0\.0; it must be above 0"),
        ({"lr": "fast"}, "lr is 'fast'; it must be a finite number"),
        ({"iterations": -5}, "iterations is -5; it must be at least 1"),
        ({"iterations": 2.5}, r"iterations is 2\.5; it must be a whole number"),
        ({"iterations": "40"}, "iterations is '40'; it must be a whole number"),
        ({"levels": 0}, "levels is 0; it must be at least 1"),
        ({"levels": True}, "levels is True; it must be a whole number"),
        ({"seed": -1}, "seed is -1; it must be at least 0"),
        ({"pruning_fraction": 1.5}, r"pruning_fraction is 1\.5; it must be at most 1"),
        ({"pruning_fraction": math.nan}, "pruning_fraction is nan; it must be a finite"),
        ({"weight_decay": math.inf}, "weight_decay is inf; it must be a finite number"),
        ({"snapshots": (1.5,)}, r"snapshots is \(1\.5,\); it must be a list, each entry a whole"),
        ({"snapshots": (4,)}, "snapshot step 4 is not between rewind_step 4 and iterations 40"),
        ({"rewind_step": 40}, "rewind_step 40 is not before the last of 40 iterations"),
        ({"validation_size": 0}, "validation_size is 0; it must be at least 1"),
        ({"task": 5}, "task is 5; it must be text"),
        ({"optimizer": "adm"}, r"unknown optimizer 'adm'; did you mean 'adam'\?"),
        ({"task": "digts"}, r"unknown task 'digts'; did you mean 'digits'\?"),
        ({"model": "lenet-300"}, r"unknown model 'lenet-300'; did you mean 'lenet-300-100'\?"),
        ({"criterion": "magntude"}, r"unknown criterion 'magntude'; did you mean 'magnitude'\?"),
        ({"iteration": 5}, r"unknown setting 'iteration'; did you mean 'iterations'\?"),
        ({"device": "gpu"}, "unknown device 'gpu'; use auto, cpu or cuda"),
        ({"name": "No Good"}, "'No Good' is no name for a run"),
        ({"model": "mlp:60-10"}, "mlp:60-10 takes 60 inputs to 10 outputs; the task has 64 and 10"),
        ({"model": "mlp:64"}, "'mlp:64' is no multilayer perceptron"),
    ],
)
def test_wrong_settings_are_refused_before_anything_is_stored(
    store: Store, change: dict[str, Any], message: str
) -> None:
    arguments = {"name": "run", **SETTINGS, **change}
    with pytest.raises(UsageError, match=message):
        train(store=store, **arguments)
    assert list(store) == []
    assert not list(store.root.rglob("run.json"))


def test_a_model_with_nothing_to_prune_is_refused(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "norm.py"
    path.write_text("from torch import nn\ndef model():\n    return nn.BatchNorm2d(1)\n")
    with pytest.raises(UsageError, match="has no linear or convolution layer to prune"):
        train(store=store, name="run", **SETTINGS | {"model": f"{path}:model"})
    assert list(store) == []


def test_settings_go_before_the_protocol_and_that_before_the_defaults() -> None:
    config = configure({"model": "conv-2", "lr": 0.5, "levels": None, "lr_milestones": [3, 4]})
    assert config.lr == 0.5
    assert config.iterations == 20_000
    assert config.pruning_fraction_conv == 0.1
    assert config.levels == RunConfig.levels
    assert config.lr_milestones == (3, 4)
    assert configure({}).iterations == 50_000  # the default model's


def test_the_network_outside_is_not_touched(store: Store) -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    train(store=store, name="run", **SETTINGS | {"levels": 1})
    assert torch.equal(torch.get_rng_state(), before)


def test_frozen_parameters_are_refused(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "frozen.py"
    path.write_text(
        "from torch import nn\n"
        "def model():\n"
        "    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))\n"
        "    net[1].bias.requires_grad_(False)\n"
        "    return net\n"
    )
    with pytest.raises(UsageError, match=r"parameter '1.bias' of model .* is frozen"):
        train(store=store, name="run", **SETTINGS | {"model": f"{path}:model"})
    assert list(store) == []


def test_a_validation_size_for_somebody_elses_task_is_refused(store: Store) -> None:
    with pytest.raises(UsageError, match=r"validation_size is 5, but my\.py:task makes its own"):
        train(store=store, name="run", **SETTINGS | {"task": "my.py:task", "validation_size": 5})
