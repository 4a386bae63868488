"""Runs and branches whose masks ask the network: stored, resumed, and of older settings."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import landscape
from landscape.brancher import branch, branch_config
from landscape.data_store import layout, verify
from landscape.data_store.errors import UsageError
from landscape.data_store.manifest import manifest_bytes
from landscape.data_store.records import RunConfig
from landscape.data_store.settings import to_json
from landscape.data_store.store import Store, open_store
from landscape.preparation import Plan, prepare, task_of
from landscape.sources import device_named
from landscape.trainer import train
from landscape.training.criteria import Candidate
from landscape.training.prune import prune
from landscape.training.registry import CRITERIA
from tests.support.experiments import bits
from tests.support.trained import SETTINGS, Stop, files, stop_at

QUICK: dict[str, Any] = SETTINGS | {"rewind_step": 0, "iterations": 20, "score_epochs": 1}
ASKING = ["snip", "grasp", "synflow", "edge-popup"]
SIZES = {"fc1.weight": 768, "fc1.bias": 12, "fc2.weight": 120, "fc2.bias": 10}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store."""
    return open_store(tmp_path / "store")


def candidate_of(config: RunConfig, **given: Any) -> Candidate:
    """A candidate with the sight of a run."""
    task = task_of(config, None)
    ready = prepare(Plan(config), task, device_named("cpu"))
    experiment = ready.experiment
    return Candidate(seed=config.seed, init=ready.init.theta, sight=experiment.sight, **given)


@pytest.mark.parametrize("criterion", ASKING)
def test_a_singleshot_run_is_one_level_of_its_density(store: Store, criterion: str) -> None:
    protocol = {"levels": 1, "densities": "singleshot", "density": 0.1, "prune_biases": True}
    run = train(store=store, name="run", **QUICK | protocol | {"criterion": criterion})
    [number] = run.levels
    mask = run.level(number).mask
    assert {n: int(mask.layer(n).sum()) for n in mask.prunable} == {
        name: round(0.1 * size) for name, size in SIZES.items()
    }
    assert run.level(0).metrics["connected"] in (0.0, 1.0)
    assert bits(run[0, "rewind"].theta) == bits(run[0, "init"].theta)
    assert run.description["prunable"] == {
        "fc1.weight": "fc", "fc1.bias": "fc", "fc2.weight": "output", "fc2.bias": "output"
    }  # fmt: skip
    assert [
        str(found) for found in verify.check(store, verify.files(store)) if found.is_wrong
    ] == []


@pytest.mark.parametrize("criterion", ASKING)
def test_a_multishot_run_is_gone_on_with_to_the_same_bits(store: Store, criterion: str) -> None:
    protocol = {"levels": 3, "densities": "multishot", "density": 0.2, "last_iterations": 30}
    settings = QUICK | protocol | {"criterion": criterion, "prune_biases": True}
    whole = train(store=store, name="whole", **settings)
    for level, step in ((0, 10), (1, 10), (2, 30)):
        name = f"part-{level}"
        with pytest.raises(Stop):
            train(store=store, name=name, listener=stop_at(level, step), **settings)
        part = train(store=store, name=name, **settings)
        assert files(part) == files(whole)
    assert whole.level(2).trace.column("step")[-1] == 30


@pytest.mark.parametrize("criterion", ASKING)
def test_a_branch_is_pruned_by_what_the_network_says(store: Store, criterion: str) -> None:
    train(store=store, name="imp", **QUICK | {"levels": 2})
    changes = {"criterion": criterion, "seed": 4}
    run = branch("imp@1", store=store, name="b", mask="pruned", mask_density=0.25, **changes)
    parent = store["imp"].level(1)
    keep = {"fc1.weight": 192, "fc2.weight": 30}
    final = parent.points["final"]
    given = candidate_of(
        run.config, theta=final.theta, mask=parent.mask, level=2, buffers=final.buffers, keep=keep
    )
    expected = prune(CRITERIA.load(criterion)(given), parent.mask, keep)
    assert bits(run.level(0).mask.kept) == bits(expected.kept)


@pytest.mark.parametrize("criterion", ASKING)
def test_a_branch_that_begins_dense_is_pruned_before_it_is_trained(
    store: Store, criterion: str
) -> None:
    parent = train(store=store, name="imp", **QUICK | {"levels": 2})
    changes = {"criterion": criterion, "densities": "singleshot", "density": 0.3}
    run = branch("imp@1", store=store, name="b", mask="dense", **changes)
    init = parent[0, "init"].theta
    keep = {"fc1.weight": round(0.3 * 768), "fc2.weight": 36}
    dense = parent.level(0).mask
    given = candidate_of(run.config, theta=init, mask=dense, level=0, keep=keep)
    expected = prune(CRITERIA.load(criterion)(given), dense, keep)
    assert bits(run.level(0).mask.kept) == bits(expected.kept)
    assert bits(run[0, "ticket"].theta) == bits(expected.apply(init))


def test_a_transfer_is_judged_on_its_own_data(store: Store, tmp_path: Path) -> None:
    code = (
        "import torch\nfrom landscape.training.task import make_task\n"
        "def own():\n"
        "    x = torch.randn(90, 64, generator=torch.Generator().manual_seed(0))\n"
        "    y = torch.arange(90) % 7\n"
        "    return make_task(train=(x, y), test=(x, y), name='own')\n"
    )
    (tmp_path / "own.py").write_text(code, encoding="utf-8")
    train(store=store, name="imp", **QUICK | {"levels": 1})
    changes = {"task": f"{tmp_path}/own.py:own", "model": "mlp:64-12-7", "criterion": "snip"}
    run = branch("imp@0", store=store, name="b", mask="pruned", mask_density=0.5, **changes)
    assert run.level(0).mask.prunable == ("fc1.weight",)
    assert run.level(0).mask.kept_size == 384
    own = branch("imp@0", store=store, name="c", mask="pruned", mask_density=0.5, criterion="snip")
    assert not np.array_equal(
        own.level(0).mask.layer("fc1.weight"), run.level(0).mask.layer("fc1.weight")
    )


def test_a_branch_has_as_many_steps_as_a_level_before_the_last(store: Store) -> None:
    settings = QUICK | {"levels": 2, "last_iterations": 30, "score_rounds": 3, "prune_biases": True}
    train(store=store, name="imp", **settings)
    config = branch_config(store, "imp@1", {})
    assert (config.iterations, config.last_iterations) == (20, None)
    assert (config.score_rounds, config.prune_biases) == (3, True)


def test_levels_that_depend_on_their_number_are_not_added_to(store: Store) -> None:
    settings = QUICK | {"levels": 2, "last_iterations": 30}
    train(store=store, name="run", **settings)
    with pytest.raises(UsageError, match="exists with levels = 2, not 3"):
        train(store=store, name="run", **settings | {"levels": 3})
    assert train(store=store, name="run", **settings).levels == [0, 1]


@pytest.mark.parametrize(
    "change", [{"prune_biases": True}, {"score_rounds": 2}, {"last_iterations": 30}]
)
def test_a_run_is_not_gone_on_with_under_other_settings(
    store: Store, change: dict[str, Any]
) -> None:
    train(store=store, name="run", **QUICK | {"levels": 1})
    [(name, value)] = change.items()
    with pytest.raises(UsageError, match=rf"exists with {name} = \S+, not {value}"):
        train(store=store, name="run", **QUICK | {"levels": 1} | change)


def test_a_run_from_before_these_settings_is_gone_on_with(store: Store) -> None:
    plain = {name: value for name, value in QUICK.items() if name != "score_epochs"}
    whole = train(store=store, name="whole", **plain)
    run = train(store=store, name="run", **plain | {"levels": 1})
    late = [setting.name for setting in fields(RunConfig) if "since" in setting.metadata]
    record = run.description
    known = {k: v for k, v in record.items() if k not in ("format", "version", "sha256")}
    known["config"] = {k: v for k, v in record["config"].items() if k not in late}
    assert set(known["config"]) == set(record["config"]) - set(late) != set(record["config"])
    # its level says which run it is of; one of then says it of then
    place = layout.run_manifest(store.root, "run")
    place.write_bytes(manifest_bytes(layout.RUN_FORMAT, layout.RUN_VERSION, known))
    layout.level_file(store.root, "run", 0).unlink()
    train(store=store, name="run", **plain)
    assert to_json(run.config) == to_json(whole.config)
    for level in whole.levels:
        assert run[level].digest == whole[level].digest
        assert dict(run.level(level).metrics) == dict(whole.level(level).metrics)
    with pytest.raises(UsageError, match="prune_biases = False, not True"):
        train(store=store, name="run", **plain | {"prune_biases": True})


def test_whether_a_level_is_connected_is_shown(store: Store) -> None:
    run = train(store=store, name="run", **QUICK | {"levels": 1})
    assert landscape.open(store.root)["run"][0].metrics["connected"] == 1.0
    assert run.level(0).metrics["connected"] == 1.0
