"""experiments/: every file plans; slowly, every quick size is trained to its end on real data."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

import landscape
from landscape.agenda import agenda
from landscape.cli import run
from landscape.experiment_file import complete, read_experiment
from landscape.planning import plan

ROOT = Path(__file__).resolve().parent.parent
FILES = sorted((ROOT / "experiments").glob("*.toml"))
NAMES = [path.stem for path in FILES]
SWEEPS = {"plant-n-seek"}
_QUICK_STEPS = {"plant-n-seek": 4e5}  # of networks of 5 000 weights, eight times as fast


def test_there_is_one_for_each_study_of_the_papers() -> None:
    assert NAMES == [
        "insights-resnet-20",
        "insights-vgg-16",
        "lth-conv-2",
        "lth-conv-4",
        "lth-conv-6",
        "lth-lenet",
        "lth-resnet-18",
        "lth-vgg-19",
        "one-ticket-cifar10ab",
        "one-ticket-matrix",
        "one-ticket-optimisers",
        "plant-n-seek",
    ]


@pytest.mark.parametrize("quick", [False, True], ids=["whole", "quick"])
@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_every_file_plans(path: Path, quick: bool) -> None:
    experiment = read_experiment(path, quick=quick).experiment
    planned = plan(experiment)
    assert experiment.name == path.stem + ("-quick" if quick else "")
    assert len(planned) > 1
    steps = sum(r.config.iterations * r.config.levels for r in planned)
    assert steps < _QUICK_STEPS.get(path.stem, 1e4) or not quick


@pytest.mark.parametrize("path", [p for p in FILES if p.stem not in SWEEPS], ids=lambda p: p.stem)
def test_every_file_is_complete_when_printed(path: Path, tmp_path: Path) -> None:
    experiment = read_experiment(path).experiment
    planned = plan(experiment)
    whole = tmp_path / "whole.toml"
    whole.write_text(complete(experiment, planned), encoding="utf-8")
    again = plan(read_experiment(whole).experiment)
    assert [(r.name, r.config, r.parent) for r in again] == [
        (r.name, r.config, r.parent) for r in planned
    ]


def test_the_papers_protocols() -> None:
    def first(name: str) -> landscape.RunConfig:
        return plan(read_experiment(ROOT / "experiments" / f"{name}.toml").experiment)[0].config

    lenet = first("lth-lenet")
    assert (lenet.iterations, lenet.batch_size, lenet.lr) == (50_000, 60, 1.2e-3)
    assert (lenet.pruning_fraction, lenet.pruning_fraction_output) == (0.2, 0.1)
    conv = first("lth-conv-6")
    assert (conv.iterations, conv.lr, conv.pruning_fraction_conv) == (30_000, 3e-4, 0.15)
    vgg = first("lth-vgg-19")
    assert (vgg.iterations, vgg.warmup, vgg.lr, vgg.scope) == (112_480, 10_000, 0.1, "global")
    resnet = first("lth-resnet-18")
    assert (resnet.iterations, resnet.warmup, resnet.lr) == (30_000, 20_000, 0.03)
    ticket = first("one-ticket-cifar10ab")
    assert (ticket.batch_size, ticket.lr, ticket.rewind_epoch, ticket.levels) == (512, 0.1, 1, 31)
    insights = first("insights-resnet-20")
    assert (insights.batch_size, insights.lr, insights.norm_scale) == (128, 0.1, "uniform")


def test_the_protocol_of_planted_tickets() -> None:
    path = ROOT / "experiments" / "plant-n-seek.toml"
    whole = agenda(read_experiment(path).experiment)
    assert (len(whole.plantings), len(whole.runs)) == (30, 3 * 6 * 2 * 5 * 10)
    assert {(p.settings["depth"], p.settings["width"]) for p in whole.plantings} == {(5, 100)}
    configs = {run.name: run.config for run in whole.runs}
    once = configs["plant-n-seek-s3-circle-synflow-singleshot-d0.01"]
    assert (once.levels, once.iterations, once.density, once.seed) == (1, 2820, 0.01, 3)
    several = configs["plant-n-seek-s0-helix-grasp-multishot-d0.5"]
    assert (several.levels, several.iterations, several.last_iterations) == (11, 1410, 2820)
    learnt = configs["plant-n-seek-s0-relu-edge-popup-multishot-d0.1"]
    assert (learnt.levels, learnt.densities, learnt.score_annealed) == (1, "singleshot", True)
    assert configs["plant-n-seek-s0-relu-edge-popup-singleshot-d0.1"].score_annealed is False
    for config in (once, several, learnt):
        assert (config.optimizer, config.lr, config.batch_size) == ("adam", 1e-3, 32)
        assert (config.prune_biases, config.initialization) == (True, "scaled-normal")
        assert config.nested is False
    assert {(q.ask.kind, q.ask.at) for q in whole.questions} == {
        ("tickets", ("last",)),
        ("overlap", ("last",)),
    }


@pytest.mark.slow
@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_every_quick_size_runs_to_its_end(
    path: Path, data_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    planned = plan(read_experiment(path, quick=True).experiment)
    for task in {entry.config.task for entry in planned} - {"circle", "relu", "helix"}:
        folder = task if task.endswith("mnist") else "cifar-10"
        if not any((data_folder / folder).glob("*")):
            pytest.skip(f"no {folder} in {data_folder}")
    store = tmp_path / "store"
    words = ["sweep", str(path), "--quick", "--quiet"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a part of CIFAR-10 is enough here
        code = run([*words, "--data", str(data_folder), "--store", str(store)])
    assert code == 0, capsys.readouterr().err
    kept = landscape.open(store)
    assert all(kept[r.name].levels == list(range(r.config.levels)) for r in planned)
