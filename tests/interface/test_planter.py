"""Planted networks: the truth is the target's function; repeated, cut short, refused."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest
import torch

from landscape.brancher import branch
from landscape.data_store import layout, verify
from landscape.data_store.errors import LandscapeError, UsageError
from landscape.data_store.params import Array
from landscape.data_store.store import Run, Store, open_store
from landscape.data_store.truth import planted_density, scales
from landscape.planter import plant
from landscape.sources import model_named
from landscape.trainer import train
from landscape.training.models import build
from landscape.training.planting.targets import target
from tests.support.trained import SETTINGS

SMALL = {"width": 40, "iterations": 6, "eval_every": 3}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store."""
    return open_store(tmp_path / "store")


def outputs(run: Run, address: str, inputs: Array) -> Array:
    """What the network of a run answers at an address, in float64."""
    checkpoint = Store(run.root).checkpoint(address)
    model = run.config.model
    widths = [int(width) for width in model.removeprefix("mlp:").split("-")]
    network = build(model_named(model), (widths[0],), widths[-1], 0).double()
    tensors = checkpoint.spec.unflatten(checkpoint.theta)
    network.load_state_dict({k: torch.from_numpy(v).double() for k, v in tensors.items()})
    with torch.no_grad():
        answer: Array = network(torch.from_numpy(inputs)).numpy()
    return answer


@pytest.mark.parametrize("rule", ["paper", "code", "fast"])
@pytest.mark.parametrize("name", ["relu", "circle", "helix", "helix-released"])
@pytest.mark.parametrize("depth", [3, 4, 5, 7])
def test_the_truth_over_its_scale_is_the_target(
    store: Store, name: str, rule: str, depth: int
) -> None:
    few = f"{name}:examples=100"
    run = plant(few, store=store, name="planted", rule=rule, depth=depth, **SMALL)
    goal = target(name, depth)
    inputs = np.random.default_rng(0).uniform(-1, 1, (200, goal.widths[0]))
    found = outputs(run, "planted@0", inputs) / np.array(scales(run))
    wanted = goal(inputs)
    assert np.abs(found - wanted).max() <= 1e-5 * max(1.0, np.abs(wanted).max())
    assert run.description["planted"]["weights"] == goal.kept
    assert run[0].density == run.level(0).mask.density


def test_the_mother_has_the_ticket_in_it_and_random_weights_beside_it(store: Store) -> None:
    run = plant("circle", store=store, name="planted", **SMALL)
    ticket, mother = run[0], run[0, "init"]
    kept = ticket.mask.kept
    assert np.array_equal(ticket.theta[kept], mother.theta[kept])
    assert not ticket.theta[~kept].any()
    assert (mother.theta[~kept] != 0).all()
    assert not np.array_equal(
        mother.theta, plant("circle", store=store, name="other", seed=1, **SMALL)[0, "init"].theta
    )


def test_the_record_says_how_good_the_ticket_is(store: Store) -> None:
    run = plant("helix:noise=0,seed=2", store=store, name="planted", **SMALL)
    record = run.description["planted"]
    assert record["rescaled"]["test_loss"] == pytest.approx(2.16e-4, rel=0.1)
    assert record["rescaled"]["test_error"] is None
    assert record["floors"]["constant_loss"] == pytest.approx(0.161, abs=0.02)
    assert run.config.task == "helix:noise=0,seed=2"
    assert run.config.model == "mlp:1-40-40-40-3"


def test_a_function_of_a_file_is_planted(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "waves.py"
    file.write_text(
        dedent("""
            import numpy as np

            def waves(x):
                return np.stack([np.sin(3 * x), np.cos(2 * x)], axis=1)
        """)
    )
    run = plant(f"{file}:waves", store=store, name="planted", **SMALL)
    assert run.config.task == f"target:{file}:waves"
    assert run.description["planted"]["rescaled"]["test_loss"] < 1e-3
    followed = branch("planted@0", store=store, name="seek", mask="dense", iterations=4)
    assert followed[0].density == 1.0


def test_a_found_ticket_is_planted_in_a_wider_network(store: Store) -> None:
    found = train(store=store, name="imp", **SETTINGS)
    wide = "mlp:64-40-30-10"
    widths = found.config.model
    run = plant("imp@2", store=store, name="wide", model="mlp:64-30-10", iterations=5)
    inputs = np.random.default_rng(0).uniform(0, 1, (50, 64))
    ticket = outputs(found, "imp@2", inputs)
    assert np.allclose(outputs(run, "wide@0", inputs) / np.array(scales(run)), ticket, atol=1e-5)
    assert run.config.task == found.config.task
    assert run.config.iterations == 5
    assert widths != run.config.model
    with pytest.raises(UsageError, match="layers"):
        plant("imp@2", store=store, name="deep", model=wide)
    with pytest.raises(UsageError, match=r"width|units|narrow"):
        plant("imp@2", store=store, name="narrow", model="mlp:64-3-10")
    with pytest.raises(UsageError, match=r"^imp@2 is to be planted in a wider network; give its"):
        plant("imp@2", store=store, name="no-model")
    with pytest.raises(UsageError, match=r"^knots is 9, but imp@2 is no target; leave it out"):
        plant("imp@2", store=store, name="knots", knots=9, model="mlp:64-30-10")


def test_planted_again_it_is_what_is_there(store: Store) -> None:
    run = plant("circle", store=store, name="planted", **SMALL)
    before = {path: path.read_bytes() for path in store.root.rglob("*") if path.is_file()}
    assert plant("circle", store=store, name="planted", **SMALL) == run
    assert {p: p.read_bytes() for p in store.root.rglob("*") if p.is_file()} == before
    assert not [f for f in verify.check(store, verify.files(store)) if f.is_wrong]


def test_one_cut_short_is_made_whole(store: Store) -> None:
    run = plant("circle", store=store, name="planted", **SMALL)
    path = layout.level_file(store.root, "planted", 0)
    content = path.read_bytes()
    path.unlink()
    plant("circle", store=store, name="planted", **SMALL)
    assert path.read_bytes() == content
    assert run[0].density < 1


@pytest.mark.parametrize("changed", [{"seed": 1}, {"rule": "code"}, {"depth": 6}, {"lr": 0.1}])
def test_another_under_its_name_is_refused(store: Store, changed: dict[str, object]) -> None:
    plant("circle", store=store, name="planted", **SMALL)
    with pytest.raises(LandscapeError, match=r"^run 'planted' exists and is not this planted netw"):
        plant("circle", store=store, name="planted", **{**SMALL, **changed})


def test_a_planted_run_is_not_trained(store: Store) -> None:
    run = plant("circle", store=store, name="planted", **SMALL)
    with pytest.raises(
        UsageError, match=r"^run 'planted' is a planted network; give another --nam"
    ):
        train(store=store, name="planted", **vars(run.config))


@pytest.mark.parametrize(
    ("target_name", "settings", "message"),
    [
        ("circel", {}, r"^unknown target 'circel'; did you mean 'circle'\?"),
        ("circle", {"width": 5}, "20"),
        ("circle", {"depth": 2}, "^depth is 2; it must be at least 3"),
        ("circle", {"itertions": 2}, r"^unknown setting 'itertions'; did you mean 'iterations'\?"),
        ("helix", {"model": "mlp:1-50-3"}, "layers"),
        ("helix", {"levels": 5}, "^levels is 5, but a planted network is one level"),
        ("helix", {"density": 0.5}, r"^density is 0\.5, but a planted network is one level"),
        ("nowhere.py:f", {}, "^there is no file nowhere.py"),
        ("imp@3", {"model": "mlp:2-3-4"}, "^unknown run 'imp'"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(
    store: Store, target_name: str, settings: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        plant(target_name, store=store, name="planted", **settings)
    assert list(store) == []


def test_a_network_with_normalisation_is_refused(store: Store, tmp_path: Path) -> None:
    train(store=store, name="imp", **SETTINGS)
    file = tmp_path / "net.py"
    file.write_text(
        dedent("""
            from torch import nn

            def normed():
                hidden = [nn.Flatten(), nn.Linear(64, 30), nn.BatchNorm1d(30), nn.ReLU()]
                return nn.Sequential(*hidden, nn.Linear(30, 10))
        """)
    )
    with pytest.raises(UsageError, match="BatchNorm"):
        plant("imp@1", store=store, name="normed", model=f"{file}:normed")
    assert list(store) == ["imp"]


def test_the_planted_density_counts_what_is_pruned(store: Store) -> None:
    run = plant("circle", store=store, name="planted", width=100)
    assert planted_density(run, prune_biases=False) == pytest.approx(108 / 20_600)
    record = run.description["planted"]
    everything = sum(record["kept"].values()) / run[0].mask.prunable_size
    assert planted_density(run, prune_biases=True) == pytest.approx(everything)
    without = planted_density(run, prune_biases=False, exclude=("output",))
    assert without == pytest.approx((108 - 80) / 20_200)
    seek = branch("planted@0", store=store, name="seek", mask="dense", iterations=3, eval_every=3)
    assert planted_density(seek, prune_biases=False) == pytest.approx(108 / 20_600)
